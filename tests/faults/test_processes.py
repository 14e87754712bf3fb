"""Killed by the operating system, in a real process on a real chain, at a step of its own: nothing shows.

One step of each kind here (some 3 s each, after 10 s of setting up); `make faults` takes all of them.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..seams import Step
from .hardships import HARDSHIPS, can_be_befallen
from .processes import Played, Theatre, killed_at, theatre
from .sockets import can_be_cut_off, listening, outlet

MIDDLE = "in the middle of"
NODE = (
    Step("Submit", "commit_update", MIDDLE),
    Step("Share", "line shared", MIDDLE),
    Step("Publish", "block 1", MIDDLE),
)
AGGREGATOR = (Step("PostTotal", "post_total", MIDDLE), Step("Finish", "block 2", MIDDLE))
ENDS = {"node": 0, "aggregator": -signal.SIGTERM}  # a node ends with the study; a service is told to


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("processes")) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(stage: Theatre) -> dict[str, Played]:
    return {daemon: stage.play(daemon) for daemon in ("node", "aggregator")}


@pytest.mark.parametrize("daemon", ["node", "aggregator"])
def test_an_undisturbed_round_leaves_the_same_each_time(
    daemon: str, stage: Theatre, undisturbed: dict[str, Played]
) -> None:
    assert (undisturbed[daemon].kills, undisturbed[daemon].code) == (0, ENDS[daemon])
    assert stage.play(daemon).left == undisturbed[daemon].left


@pytest.mark.parametrize(
    ("daemon", "step"), [*(("node", step) for step in NODE), *(("aggregator", step) for step in AGGREGATOR)]
)
def test_a_process_killed_at_a_step_leaves_what_an_undisturbed_one_does(
    daemon: str, step: Step, stage: Theatre, undisturbed: dict[str, Played]
) -> None:
    assert step in undisturbed[daemon].steps
    killed = killed_at(stage, daemon, undisturbed[daemon], step)
    assert not killed.wrong, killed


def test_no_file_is_written_that_the_matrix_in_memory_does_not_know(undisturbed: dict[str, Played]) -> None:
    written = {step.what for step in undisturbed["node"].steps}
    files = {what for what in written if what.startswith("file ")}
    decisive = {"openings", "values", "share", "model", "bookmark", "journal.sqlite"}
    assert files == {f"file {name}" for name in (*decisive, "node.jsonl")}  # the last: its log
    served = {step.what for step in undisturbed["aggregator"].steps}
    assert {what for what in served if what.startswith(("file ", "line "))} == {
        "file bookmark",
        "file aggregator.jsonl",
    }


def test_a_node_listens_nowhere_while_it_takes_part_in_a_round(stage: Theatre) -> None:
    """Asked of the kernel again and again; that the question can be answered otherwise, a service shows."""
    found: dict[str, set[str]] = {"node": set(), "aggregator": set()}
    asked: dict[str, int] = {"node": 0, "aggregator": 0}
    for daemon in found:

        def watch(pid: int, daemon: str = daemon) -> None:
            found[daemon] |= listening(pid)
            asked[daemon] += 1

        assert stage.play(daemon, watch=watch).code == ENDS[daemon]
    assert found["node"] == set()
    assert found["aggregator"]
    assert min(asked.values()) > 2


@pytest.mark.skipif(not can_be_cut_off(), reason="this kernel lets us make no network namespace")
def test_a_node_takes_part_where_nothing_from_outside_can_reach_it(
    stage: Theatre, undisturbed: dict[str, Played], tmp_path: Path
) -> None:
    """A network with no interface but loopback, and one way out, to the chain."""
    inside: set[str] = set()

    def watch(pid: int) -> None:
        devices = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
        inside.add(",".join(sorted(line.partition(":")[0].strip() for line in devices)))

    port = urlsplit(stage.devnet.url).port
    assert port is not None
    with outlet(tmp_path / "outlet", port) as path:
        played = stage.play("node", outlet=path, watch=watch)
    assert (played.kills, played.code) == (0, ENDS["node"]), played.words
    assert played.left == undisturbed["node"].left
    assert any("lo" in devices and "eth" not in devices for devices in inside), inside


@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_what_befalls_a_machine_costs_a_word_with_people_and_nothing_else(
    hardship: str, stage: Theatre, undisturbed: dict[str, Played]
) -> None:
    """A disk stops the daemon, which names the file; once that is mended, it goes on. No clock matters."""
    if "disk" in hardship and not can_be_befallen():
        pytest.skip("this kernel lets us mount nothing")
    played = stage.play("node", hardship=hardship)
    assert played.code == ENDS["node"], played.words
    assert played.left == undisturbed["node"].left
    assert played.refusals == ("disk" in hardship)
    if "disk" in hardship:
        assert "cannot be written" in played.words or "journal" in played.words
        assert "Traceback" not in played.words


@pytest.mark.skipif(not can_be_cut_off(), reason="this kernel lets us make no network namespace")
def test_a_chain_that_is_away_for_hours_is_waited_for(
    stage: Theatre, undisturbed: dict[str, Played], tmp_path: Path
) -> None:
    """Away from one hospital, from its commit on, for two hours of block time."""
    shut, began = threading.Event(), 0.0

    def watch(_: int) -> None:
        nonlocal began
        if not began and "after commit_update" in stage.trace.read_text():
            shut.set()
            began = time.monotonic()
            stage.devnet.advance(7_200)
        elif began and time.monotonic() > began + 1:
            shut.clear()

    port = urlsplit(stage.devnet.url).port
    assert port is not None
    with outlet(tmp_path / "outlet", port, shut) as path:
        played = stage.play("node", outlet=path, watch=watch)
    assert began
    assert (played.kills, played.code) == (0, ENDS["node"]), played.words
    assert "retrying" in played.words
    assert played.left == undisturbed["node"].left
