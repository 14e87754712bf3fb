"""Why a round ended as it did, in one sentence for people (PROTOCOL §10.8).

Pure functions of what the ledger holds, so that every member reads the same sentence. Only the codes of
those who are left out stand elsewhere, in a total's header: whoever has read them passes them in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, assert_never

from .events import Fault, FaultProven, Reason, RoundAbandoned, RoundTainted, StudyId, Timestamp
from .members import Address, Member, show_address
from .rounds import Abandoned, Finished, Overdue, Round, Study, Tainted
from .wire import Code, Exclusion

Calls = Callable[[Address], str]  # what a sentence calls an account

_END_OF_TIME: Final = Timestamp(1 << 62)  # an ended round's phase is the same at any time from its end on
_FAULTS: Final = {
    Fault.SUM: "leaf {leaf} of it is not the sum of its members' leaves",
    Fault.LEAF: "leaf {leaf} of {member}'s update breaks the suite's rules",
    Fault.HEADER: "the header of {member} is not the one that is due",
    Fault.PROOF: "the submission proof of {member} cannot pass",
}
_OPENED: Final = "it counts as opened and is never opened again"


def called_by(roster: Mapping[Address, Member]) -> Calls:
    """Names of the roster; with the address where several bear one, it alone where none can be printed."""
    bearers = Counter(member.name for member in roster.values())

    def call(account: Address) -> str:
        address, member = show_address(account), roster.get(account)
        # Whoever enrolled it chose the name: it could hold a terminal's commands.
        if member is None or not member.name or not member.name.isprintable():
            return address
        return member.name if bearers[member.name] == 1 else f"{member.name} ({address})"

    return call


def ending(round: Round, call: Calls, *, excluded: Sequence[Exclusion] = ()) -> str:
    """How an ended round ended and why; empty for one that has not.

    `excluded`: whom the total's header leaves out and by which code, as far as the reader knows it.
    """
    number = round.id.number
    match round.phase(_END_OF_TIME):
        case Finished():
            told = [_took_part(round), *_left_out(round, call, excluded), *_objected(round, call)]
            return f"round {number} finished: {'; '.join(told)}"
        case Abandoned(reason=reason):
            return f"round {number} was abandoned: {why(round, reason, call, excluded=excluded)}"
        case Tainted(reason=reason):
            told_why = why(round, reason, call, excluded=excluded)
            return f"round {number} is tainted: {told_why}; {_OPENED}"
        case _:
            return ""


def overdue(round: Round, phase: Overdue, call: Calls) -> str:
    """Why a round can only be ended any more, before somebody has ended it."""
    return f"round {round.id.number} is overdue: {why(round, phase.reason, call)}"


def why(round: Round, reason: Reason, call: Calls, *, excluded: Sequence[Exclusion] = ()) -> str:
    """What was missing, how much of it was needed, and whose it was."""
    told: list[str]
    match reason:
        case Reason.TOO_FEW_COMMITS:
            told = [_too_few(len(round.commits), round.terms.minimum, "hospitals committed")]
            told += _did_not(round.terms.members, round.commits, "commit", call)
        case Reason.TOO_FEW_REVEALS:
            told = [_too_few(len(round.counted), round.terms.minimum, "hospitals revealed")]
            told += [*_faulty(round, call), *_silent(round, call)]
        case Reason.NO_TOTAL:
            told = [*_taken_back(round, call), *_no_total(round, call)]
        case Reason.NO_SHARES | Reason.TOO_FEW_SHARES:
            told = [_too_few(len(round.shares), round.terms.threshold, "shares were given")]
            told += [f"the total was {_posted_by(round, call)}"]
            told += _did_not(round.terms.members, round.shares, "share", call)
            told += _left_out(round, call, excluded)
        case Reason.NO_RESULT:
            told = [f"{len(round.shares)} shares were given, and nobody proposed a result in time"]
        case Reason.FAULT_PROVEN:
            told = [_proven(fault, call) for fault in round.faults[-1:]] or ["a fault was proven"]
        case unknown:
            assert_never(unknown)
    return "; ".join(told)


class Endings:
    """Tells each end once, for as long as it lives; of those before its first look only the newest."""

    def __init__(self) -> None:
        self._told: dict[StudyId, int] = {}  # number of the last round that was told

    def news(self, study: Study) -> Iterator[Round]:
        """The rounds that have ended since the last look."""
        ended = [round for round in study.rounds if round.ended]
        last = self._told.get(study.id, ended[-1].id.number - 1 if ended else 0)
        self._told[study.id] = max([last, *(round.id.number for round in ended)])
        return (round for round in ended if round.id.number > last)


def failed(round: Round) -> bool:
    """Whether it ended without a result."""
    return isinstance(round.end, RoundAbandoned | RoundTainted | FaultProven)


def _too_few(found: int, needed: int, what: str) -> str:
    return f"{found} of at least {needed} {what} in time"


def _took_part(round: Round) -> str:
    of = len(round.terms.members)
    total = round.total
    return f"{0 if total is None else len(total.members)} of {of} hospitals are in its total"


def _silent(round: Round, call: Calls) -> list[str]:
    return [
        *_did_not(round.commits, round.reveals, "reveal", call),
        *_did_not(round.terms.members, round.commits, "commit", call),
    ]


def _left_out(round: Round, call: Calls, excluded: Sequence[Exclusion]) -> list[str]:
    """Whoever is not in the total, and why."""
    if round.total is None:
        return _silent(round, call)
    known = {exclusion.member: exclusion for exclusion in excluded if exclusion.code is not Code.NO_REVEAL}
    told = _silent(round, call)
    for member in sorted(set(round.reveals) - set(round.total.members)):
        told.append(f"{call(member)} was left out{_code(known.get(member))}")
    return told


def _code(exclusion: Exclusion | None) -> str:
    if exclusion is None:
        return ""
    place = f", leaf {exclusion.leaf}: {exclusion.rule}" if exclusion.code is Code.MALFORMED else ""
    return f" ({exclusion.code.name}{place})"


def _objected(round: Round, call: Calls) -> list[str]:
    return [f"{listed(sorted(round.objections), call)} objected to a result"] if round.objections else []


def _did_not(due: Collection[Address], done: Collection[Address], what: str, call: Calls) -> list[str]:
    missing = sorted(account for account in due if account not in done)
    return [f"{listed(missing, call)} did not {what}"] if missing else []


def _no_total(round: Round, call: Calls) -> list[str]:
    if not round.turns:
        return ["no other aggregator is left"]
    turns = "turn" if len(round.turns) == 1 else "turns"
    return [f"{listed(round.turns, call)} posted no total before the {turns} ended"]


def _taken_back(round: Round, call: Calls) -> list[str]:
    return [
        f"{_proven(fault, call)}, and so it was taken back" for fault in round.faults[: len(round.rescinded)]
    ]


def _faulty(round: Round, call: Calls) -> list[str]:
    members = [fault.member for fault in round.faults if fault.member is not None]
    return [f"the update of {listed(members, call)} was proven unlawful"] if members else []


def _proven(fault: FaultProven, call: Calls) -> str:
    member = "the total" if fault.member is None else call(fault.member)
    which = _FAULTS[fault.fault].format(leaf=fault.leaf, member=member)
    return f"{call(fault.sender)} proved {call(fault.aggregator)}'s total wrong: {which}"


def _posted_by(round: Round, call: Calls) -> str:
    return "taken back" if round.total is None else f"posted by {call(round.total.sender)}"


def listed(accounts: Collection[Address], call: Calls) -> str:
    """`mercy`; `county, mercy and north`; `nobody`."""
    names = [call(account) for account in accounts] or ["nobody"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
