"""What the contract's court has found, in words: who proved what of whom, and who pays (PROTOCOL §5.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from federation.bonds import show_ether
from federation.events import Fault, FaultProven
from federation.members import Address, Member, show_address
from federation.rounds import Round

Name = Callable[[Address], str]


def named(roster: Mapping[Address, Member]) -> Name:
    """People by the roster's name and their address; those who are not on it by their address."""

    def name(address: Address) -> str:
        member = roster.get(address)
        return show_address(address) if member is None else f"{member.name} ({show_address(address)})"

    return name


def verdict(fault: FaultProven, name: Name) -> str:
    """One sentence without its full stop: what was proven by whom, and what it costs whom."""
    what = fault_in_words(fault.fault, fault.leaf, fault.member, total_of=fault.aggregator, name=name)
    return f"{name(fault.sender)} proved before the contract's court that {what}; {_price(fault, name)}"


def fault_in_words(fault: Fault, leaf: int, member: Address | None, *, total_of: Address, name: Name) -> str:
    """What is wrong with the total of `total_of`."""
    total = f"the total of {name(total_of)}"
    update = "" if member is None else f"the update of {name(member)}, which {total} counts,"
    match fault:
        case Fault.SUM:
            return f"leaf {leaf} of {total} is not the sum of its members' leaves"
        case Fault.LEAF:
            return f"leaf {leaf} of {update} breaks the suite's rules"
        case Fault.PROOF:
            return f"the submission proof of {update} cannot pass"
        case Fault.HEADER:
            return f"{update or total} has another header than is due"


def standing(round: Round, name: Name) -> str:
    """What has become of a round since a fault was proven in it."""
    if round.verdict is not None:
        return "the round had finished and stays so" if round.proposals else "the round is tainted"
    if round.total is None:
        return "that total is taken back, and none stands now"
    return f"the total of {name(round.total.sender)} stands now"


def _price(fault: FaultProven, name: Name) -> str:
    loser = name(fault.aggregator)
    if not fault.slashed:
        return f"{loser} had no stake to lose"
    return f"{show_ether(fault.slashed)} of the stake of {loser} went to {name(fault.beneficiary)}"
