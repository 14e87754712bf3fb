"""A study's terms in full, one to a line, for the people of a hospital who decide on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from federation.agreement import Agreement
from federation.arithmetic import MILLION
from federation.bonds import WEI_PER_GWEI, show_ether
from federation.events import Stake
from federation.exits import printable
from federation.members import ADDRESS_BYTES, Address, Member, show_address

from .policy import largest_payload


def terms(agreement: Agreement, roster: Mapping[Address, Member]) -> Iterator[str]:
    """The lines; whatever a peer chose is shown, and can command no terminal.

    Nothing here is judged: people see what `policy` would have to allow before it refuses.
    """
    for name, value in _entries(agreement, roster):
        yield f"{name:<24}  {printable(value)}".rstrip()


def _entries(agreement: Agreement, roster: Mapping[Address, Member]) -> Iterator[tuple[str, str]]:
    spec, scale = agreement.spec, agreement.spec.scale
    yield "name", spec.name
    yield "task", spec.task
    yield "task digest, to approve", agreement.task.spec.digest.hex()
    for name, value in agreement.task.describe().items():
        yield f"  {name}", value
    yield "parameters of the model", str(agreement.task.size)
    yield "bytes of a payload", f"at most {largest_payload(agreement)}"
    yield "scale", ""
    yield "  clip (L2 norm)", str(scale.clip / MILLION)
    yield "  bound (a coordinate)", str(scale.bound / MILLION)
    yield "  weight cap (patients)", str(scale.weight_cap)
    yield "  bits of a value", str(scale.bits)
    yield "suite", spec.suite
    yield "strength of the key", agreement.suite.strength
    yield "weakness", agreement.suite.weakness or "none"
    yield from _people("member", spec.members, roster)
    yield from _people("aggregator", spec.aggregators, roster)
    yield "stake of an aggregator", _stake(spec.stake)
    yield "shares that open a sum", str(spec.threshold)
    yield "least contributors", str(spec.minimum)
    yield "rounds", str(spec.rounds)
    yield "windows", ", ".join(f"{name} {value} s" for name, value in spec.windows._asdict().items())
    if spec.audience.is_sealed:
        readers = [reader for reader, _ in spec.audience.envelopes]
        yield from _people("reads sums and models", readers, roster)
    else:
        yield "reads sums and models", "everybody"


def _stake(stake: Stake) -> str:
    if not stake.gwei:
        return "none"
    to = "whoever proves it" if stake.treasury == bytes(ADDRESS_BYTES) else show_address(stake.treasury)
    amount = show_ether(stake.gwei * WEI_PER_GWEI)
    return f"{amount}, locked for {stake.lock} s after each total; for a fault it goes to {to}"


def _people(
    what: str, addresses: Sequence[Address], roster: Mapping[Address, Member]
) -> Iterator[tuple[str, str]]:
    for address in addresses:
        member = roster.get(address)
        known = "not on the roster" if member is None else f"{member.role.name.lower()}, {member.name}"
        yield what, f"{show_address(address)}  ({known})"
