"""Who is killed, and in which studies."""

from __future__ import annotations

from collections.abc import Mapping

from .killed import Scenario
from .killed_aggregators import AGGREGATORS
from .killed_nodes import NODE

PARTIES: dict[str, Mapping[str, Scenario]] = {"node": NODE, "aggregator": AGGREGATORS}
