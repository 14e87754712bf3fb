"""What was checked, how it stands, and what to do about it: a line a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TypeVar

from federation.errors import ExitCode, TallyError, Unavailable

Found = TypeVar("Found")


class State(Enum):
    """How one check stands."""

    OK = "ok"
    WARNING = "warning"  # it will run, and a person should know
    FAILED = "failed"
    UNCHECKED = "unchecked"  # something that it rests on has failed


class Doubt(Exception):
    """Nothing is broken, but a person should look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One check; `todo` is empty where it is fine."""

    check: str
    state: State
    said: str
    todo: str = ""
    code: ExitCode = ExitCode.OK

    def for_machines(self) -> dict[str, str]:
        """Names and states stay as they are once published."""
        fields = asdict(self)
        return {"check": self.check, "state": self.state.value, "said": fields["said"], "todo": self.todo}


@dataclass(slots=True)
class Checks:
    """The checks made so far; a check that fails never stops the next one."""

    lines: list[Line] = field(default_factory=list)

    def ask(
        self, check: str, question: Callable[[], Found], said: Callable[[Found], str] = str, *, todo: str = ""
    ) -> Found | None:
        """What was found, and a line that says so; None with a line that says why there is nothing."""
        try:
            found = question()
        except Doubt as doubt:
            self.lines.append(Line(check=check, state=State.WARNING, said=str(doubt), todo=todo))
        except TallyError as error:
            code = ExitCode.UNAVAILABLE if isinstance(error, Unavailable) else ExitCode.REFUSED
            failed = Line(check=check, state=State.FAILED, said=str(error), todo=todo, code=code)
            self.lines.append(failed)
        else:
            self.lines.append(Line(check=check, state=State.OK, said=said(found)))
            return found
        return None

    def leave_out(self, *checks: str, because: str) -> None:
        """These rest on something that is not there."""
        self.lines += [Line(check=check, state=State.UNCHECKED, said=because) for check in checks]

    @property
    def exit_code(self) -> ExitCode:
        """OK if nothing failed; UNAVAILABLE if trying again may be all that it takes; else REFUSED."""
        codes = {line.code for line in self.lines if line.state is State.FAILED}
        if not codes:
            return ExitCode.OK
        return ExitCode.UNAVAILABLE if codes == {ExitCode.UNAVAILABLE} else ExitCode.REFUSED
