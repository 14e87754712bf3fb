"""`tally roster`: what institutions decide together, one vote each (PROTOCOL §5.10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from federation.audit.view import LedgerView
from federation.digest import DIGEST_BYTES, Digest
from federation.endpoints import await_final, load_settings, open_ledger
from federation.enrolment import read_enrolment
from federation.errors import LedgerRejected, Refused
from federation.events import Motion, MotionKind, State, Timestamp
from federation.exits import printable, told_plainly
from federation.governance import Ballot
from federation.law import History
from federation.ledger.abi import motion_id
from federation.ledger.ledger import Ledger
from federation.members import Address, parse_address, show_address

from .party import PartySettings, identity_of

app = typer.Typer(
    name="roster",
    help="Who belongs to the consortium: shown, and voted on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DAY: Final = 24 * 3600  # seconds

SettingsFile = Annotated[Path, typer.Option("--settings", help="A node.toml: whose vote it is.")]
Days = Annotated[int, typer.Option(min=1, max=89, help="How long the motion may be voted on.")]
Account = Annotated[str, typer.Argument(help="Whose: 0x and 40 digits.")]
Enrolment = Annotated[Path, typer.Argument(help="The enrolment of the new keys.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Booth:
    """The ledger, as whoever votes sees and writes to it."""

    ledger: Ledger
    view: LedgerView

    @property
    def history(self) -> History:
        return self.view.history


@app.callback()
def _group() -> None:
    """The roster and the votes on it."""


@app.command()
@told_plainly()
def show(settings: SettingsFile) -> None:
    """Who is on the roster, how many votes carry a motion, and which motions may be voted on."""
    booth = _booth(settings)
    for line in _lines(booth.history, booth.view.now):
        typer.echo(printable(line))


@app.command()
@told_plainly()
def admit(enrolment: Enrolment, settings: SettingsFile, days: Days = 30) -> None:
    """Vote that whoever enrolled with this file joins the roster."""
    _propose(settings, days, MotionKind.ADMIT, enrolment=enrolment)


@app.command()
@told_plainly()
def remove(account: Account, settings: SettingsFile, days: Days = 30) -> None:
    """Vote that a member leaves for good."""
    _propose(settings, days, MotionKind.REMOVE, account=account)


@app.command()
@told_plainly()
def suspend(account: Account, settings: SettingsFile, days: Days = 30) -> None:
    """Vote that a member may not act until it is reinstated."""
    _propose(settings, days, MotionKind.SUSPEND, account=account)


@app.command()
@told_plainly()
def reinstate(account: Account, settings: SettingsFile, days: Days = 30) -> None:
    """Vote that a suspended member may act again."""
    _propose(settings, days, MotionKind.REINSTATE, account=account)


@app.command()
@told_plainly()
def replace(account: Account, enrolment: Enrolment, settings: SettingsFile, days: Days = 30) -> None:
    """Vote that an organisation's place goes to its new keys."""
    _propose(settings, days, MotionKind.REPLACE, account=account, enrolment=enrolment)


@app.command()
@told_plainly()
def quorum(
    votes: Annotated[int, typer.Argument(min=1, max=256, help="How many.")],
    settings: SettingsFile,
    days: Days = 30,
) -> None:
    """Vote on how many votes carry a motion; never fewer than a majority, nor more than there are."""
    _propose(settings, days, MotionKind.SET_QUORUM, value=votes)


@app.command()
@told_plainly()
def supersede(
    contract: Annotated[str, typer.Argument(help="The contract that takes over.")],
    code: Annotated[str, typer.Argument(help="SHA-256 of its code and its court's: 64 digits.")],
    settings: SettingsFile,
    days: Days = 30,
) -> None:
    """Vote that another contract takes over: no study begins on this one any more."""
    _propose(settings, days, MotionKind.SUPERSEDE, account=contract, code=_digest(code))


@app.command()
@told_plainly()
def vote(
    motion: Annotated[str, typer.Argument(help="The motion's id as `show` gives it, or its beginning.")],
    settings: SettingsFile,
) -> None:
    """Vote for a motion that somebody has begun."""
    booth = _booth(settings)
    wanted = motion.removeprefix("0x").lower()
    found = [ballot for id, ballot in booth.history.consortium.ballots.items() if id.hex().startswith(wanted)]
    if len(found) != 1 or not wanted:
        raise Refused(f"expected the beginning of one motion's id, found {len(found)} with {motion!r}")
    _vote(booth, found[0].motion)


def _propose(
    settings: Path,
    days: int,
    kind: MotionKind,
    *,
    account: str | None = None,
    enrolment: Path | None = None,
    value: int = 0,
    code: Digest | None = None,
) -> None:
    booth = _booth(settings)
    subject = Address(bytes(20)) if account is None else parse_address(account)
    motion = Motion(
        kind=kind,
        expires=Timestamp(booth.view.now + days * DAY),
        subject=subject,
        member=None if enrolment is None else read_enrolment(enrolment),
        value=value,
        code=Digest(bytes(DIGEST_BYTES)) if code is None else code,
    )
    for ballot in booth.history.consortium.ballots.values():
        if _is_pending(ballot, booth.view.now) and _same(ballot.motion, motion):
            motion = ballot.motion  # somebody began it: ours is one more vote, not another motion
    _vote(booth, motion)


def _vote(booth: _Booth, motion: Motion) -> None:
    """Our vote is final; where it carried the motion, the seats of all studies follow."""
    id = motion_id(motion)
    try:
        block = booth.ledger.vote(motion).at.block
    except LedgerRejected as refusal:
        if refusal.rule != "AlreadyVoted":
            raise
        block = booth.view.head.number
    await_final(booth.view, block)
    ballot, consortium = booth.history.consortium.ballots[id], booth.history.consortium
    typer.echo(printable(f"{in_words(motion, booth.history)}: voted for"))
    if not ballot.carried:
        count = (
            f"{len(ballot.votes & consortium.active_voters)} of the {consortium.quorum} votes that carry it"
        )
        typer.echo(f"{count}. The others type:")
        typer.echo(f"  tally roster vote {id.hex()[:16]} --settings node.toml")
        return
    typer.echo("carried.")
    for line in follow_seats(booth.ledger, booth.history):
        typer.echo(printable(line))


def follow_seats(ledger: Ledger, history: History) -> Iterator[str]:
    """Every running study's seats are what the roster says; a line for each that was not."""
    for study in history.studies.values():
        accounts = [*study.terms.members, *study.terms.aggregators, *study.heirs]
        for account in accounts if not study.is_complete else []:
            standing = history.consortium.standing(account)
            heir = standing.heir
            moves = heir is not None and not study.has_seat(heir)
            if moves or (standing.state is not State.ACTIVE) != (account in study.idle):
                ledger.follow_roster(study.id, account)
                yield f"study {study.id}: the seat of {_who(history, account)} follows"


def in_words(motion: Motion, history: History) -> str:
    """What a motion is about, in a line."""
    subject = _who(history, motion.subject)
    member = motion.member
    new = "nobody" if member is None else f"{member.name} ({show_address(member.address)})"
    match motion.kind:
        case MotionKind.ADMIT:
            role = "" if member is None else f" as {member.role.name.lower()}"
            return f"admit {new}{role}"
        case MotionKind.REPLACE:
            return f"replace {subject} by {new}"
        case MotionKind.SET_QUORUM:
            return f"ask for {motion.value} votes"
        case MotionKind.SUPERSEDE:
            return f"go on with the contract {show_address(motion.subject)}, code {motion.code.hex()}"
        case _:
            return f"{motion.kind.name.lower()} {subject}"


def _lines(history: History, now: Timestamp) -> Iterator[str]:
    consortium = history.consortium
    for account, member in consortium.members.items():
        standing = consortium.standing(account)
        heir = "" if standing.heir is None else f" by {show_address(standing.heir)}"
        role = member.role.name.lower()
        yield f"{show_address(account)}  {role:<12} {standing.state.name.lower()}{heir}  {member.name}"
    yield f"{consortium.quorum} of {len(consortium.active_voters)} votes carry a motion"
    if consortium.successor is not None:
        yield f"superseded: {in_words(consortium.successor, history)}"
    for id, ballot in consortium.ballots.items():
        if _is_pending(ballot, now):
            until = datetime.fromtimestamp(ballot.motion.expires, UTC).isoformat(timespec="minutes")
            votes = len(ballot.votes & consortium.active_voters)
            yield f"motion {id.hex()[:16]}  {in_words(ballot.motion, history)}: {votes} votes, until {until}"


def _is_pending(ballot: Ballot, now: Timestamp) -> bool:
    return not ballot.carried and now <= ballot.motion.expires


def _same(one: Motion, other: Motion) -> bool:
    """Whether two motions want the same, whenever they expire."""
    fields = ("kind", "subject", "member", "value", "code")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def _who(history: History, account: Address) -> str:
    member = history.roster.get(account)
    return show_address(account) if member is None else f"{member.name} ({show_address(account)})"


def _booth(settings: Path) -> _Booth:
    party = load_settings(PartySettings, settings)
    if party.ledger is None:
        raise Refused(f"{settings}: expected [ledger]")
    ledger = open_ledger(party.ledger, identity_of(party, settings).account)
    view = LedgerView(ledger)
    view.refresh()
    return _Booth(ledger=ledger, view=view)


def _digest(text: str) -> Digest:
    digits = text.removeprefix("0x")
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise Refused(f"expected a SHA-256 of {2 * DIGEST_BYTES} hexadecimal digits, found {text!r}")
    return Digest(digest)
