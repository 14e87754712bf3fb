"""Three families of errors, sorted by what the caller should do (PROTOCOL §11).

A `Violation` is recorded against the peer that caused it and never retried; an
`Unavailable` is retried; a `Refused` stops this party and tells a person. Adapters
translate every foreign exception into one of them.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What `tally` returns to the shell; documented in the README and kept stable."""

    OK = 0
    INTERNAL = 1  # a defect of ours: please report it
    USAGE = 2  # the command line itself is wrong (Typer's own code)
    VIOLATION = 3  # somebody broke the protocol, and is named
    REFUSED = 4  # our own rules or settings say no
    UNAVAILABLE = 5  # a chain, store or service did not answer; try again


class TallyError(Exception):
    """Everything this project raises on purpose."""

    exit_code = ExitCode.INTERNAL

    def __reduce__(self) -> tuple[object, ...]:
        """Comes back whole from another process: by itself pickle would call the class with its message."""
        return _revived, (type(self), self.args, dict(vars(self)))


class Violation(TallyError):
    """A peer broke the protocol.

    `clause` is the paragraph of PROTOCOL.md that was broken; `culprit` names the party,
    or is None where only a fault of the round is proven. Never holds a secret.
    """

    exit_code = ExitCode.VIOLATION

    def __init__(
        self,
        clause: str,
        problem: str,
        *,
        culprit: bytes | None = None,
        expected: object = None,
        found: object = None,
    ) -> None:
        self.clause = clause
        self.problem = problem
        self.culprit = culprit
        self.expected = expected
        self.found = found
        details = "" if expected is None else f": expected {_show(expected)}, found {_show(found)}"
        blamed = "" if culprit is None else f" (by 0x{culprit.hex()})"
        super().__init__(f"{clause} {problem}{blamed}{details}")

    @property
    def for_logs(self) -> dict[str, str]:
        """Clause, problem and culprit alone: what was found may be part of a sealed sum."""
        culprit = "nobody can be named" if self.culprit is None else f"0x{self.culprit.hex()}"
        return {"clause": self.clause, "problem": self.problem, "culprit": culprit}


class Malformed(Violation):
    """A leaf of a payload breaks a rule that anyone can check (PROTOCOL §4.3).

    `leaf` is its index in the payload's tree, `rule` a stable short name.
    """

    def __init__(self, leaf: int, rule: str, *, expected: object = None, found: object = None) -> None:
        self.leaf = leaf
        self.rule = rule
        super().__init__("§4.3", f"leaf {leaf} breaks rule {rule}", expected=expected, found=found)


class ProofFailed(Violation):
    """A submission proof or an opening does not verify."""


class Unavailable(TallyError):
    """Something outside did not answer, or not yet; the same call may succeed later."""

    exit_code = ExitCode.UNAVAILABLE


class Refused(TallyError):
    """Our own rules say no; a person has to change something before a retry helps."""

    exit_code = ExitCode.REFUSED


class LedgerRejected(Refused):
    """The contract refused a call: `rule` is its custom error's name, `values` its arguments."""

    def __init__(self, rule: str, values: tuple[object, ...] = ()) -> None:
        self.rule = rule
        self.values = values
        super().__init__(f"the ledger refused the call: {rule}({', '.join(map(_show, values))})")


def _revived(kind: type[TallyError], args: tuple[object, ...], details: dict[str, object]) -> TallyError:
    error = kind.__new__(kind, *args)
    vars(error).update(details)
    return error


def _show(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
