"""`tally`: one command for hospitals, aggregators, auditors and first-time visitors.

Only the group that is asked for is imported: a hospital's `tally node status` waits for no web
framework, and an aggregator's machine needs no training framework.
"""

from __future__ import annotations

import importlib
import sys
from types import MappingProxyType
from typing import Final

import typer

GROUPS: Final = MappingProxyType(
    {
        "demo": "deploy.demo",
        "node": "node.__main__",
        "aggregator": "aggregator.__main__",
        "audit": "deploy.audit",
        "keys": "deploy.keys",
        "study": "deploy.study",
        "contract": "deploy.contract_commands",
        "devnet": "deploy.devnet_commands",
    }
)


def application(wanted: str) -> typer.Typer:
    """The command with the group `wanted`, or with all of them where there is no such group."""
    app = typer.Typer(
        name="tally",
        help="Blockchain-audited secure aggregation for hospitals.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name in [wanted] if wanted in GROUPS else GROUPS:
        app.add_typer(importlib.import_module(GROUPS[name]).app, name=name)
    return app


def main() -> None:
    """The console script."""
    application(sys.argv[1] if len(sys.argv) > 1 else "")()


if __name__ == "__main__":
    main()
