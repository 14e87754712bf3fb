"""`tally`: one command for hospitals, aggregators, auditors and first-time visitors.

Only the group that is asked for is imported: a hospital's `tally node status` waits for no web
framework, and an aggregator's machine needs no training framework. A group whose packages are not
installed is still listed, and says what to install.
"""

from __future__ import annotations

import importlib
import sys
from types import MappingProxyType
from typing import Final

import typer

from federation.exits import not_installed, told_plainly

GROUPS: Final = MappingProxyType(
    {
        "demo": "deploy.demo",
        "node": "node.__main__",
        "aggregator": "aggregator.__main__",
        "audit": "deploy.audit",
        "ask": "deploy.ask",
        "dispute": "deploy.dispute",
        "bond": "deploy.bond",
        "keys": "deploy.keys",
        "study": "deploy.study",
        "roster": "deploy.roster",
        "preflight": "deploy.preflight",
        "contract": "deploy.contract_commands",
        "store": "deploy.store",
        "bench": "deploy.bench",
        "devnet": "deploy.devnet_commands",
    }
)
_ANYTHING: Final = {"allow_extra_args": True, "ignore_unknown_options": True}


def application(wanted: str) -> typer.Typer:
    """The command with the group `wanted`, or with all of them where there is no such group."""
    app = typer.Typer(
        name="tally",
        help="Blockchain-audited secure aggregation for hospitals.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_always_a_group)
    for name in [wanted] if wanted in GROUPS else GROUPS:
        _add(app, name)
    return app


def _always_a_group() -> None: ...


def _add(app: typer.Typer, name: str) -> None:
    """The group's commands are there, or one in their place that says which package of others is missing."""
    try:
        app.add_typer(importlib.import_module(GROUPS[name]).app, name=name)
    except ImportError as error:
        absent = not_installed(error)
        if absent is None:
            raise

        @app.command(name, help=f"Not here: {absent}", context_settings=dict(_ANYTHING))
        @told_plainly()
        def stub() -> None:
            raise absent


def main() -> None:
    """The console script."""
    application(sys.argv[1] if len(sys.argv) > 1 else "")()


if __name__ == "__main__":
    main()
