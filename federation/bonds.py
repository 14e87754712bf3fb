"""What aggregators stake on their totals, as the ledger's events leave it (PROTOCOL §5.9).

The contract holds value for nothing else. A bond is locked while a fault of its owner's totals may still
be proven; what is slashed becomes, unlocked, the beneficiary's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from .errors import LedgerRejected
from .events import Timestamp
from .members import Address

WEI_PER_GWEI: Final = 10**9
_NEVER: Final = Timestamp(0)


def ether_as_wei(ether: float) -> int:
    """To the gwei, so that what a person types is what is moved."""
    return round(ether * WEI_PER_GWEI) * WEI_PER_GWEI


def show_ether(wei: int) -> str:
    """For people: in gwei where Ether would need many noughts."""
    return f"{wei / WEI_PER_GWEI:g} gwei" if 0 < wei < 10**14 else f"{wei / 10**18:g} Ether"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """What one account has on the contract in one study."""

    amount: int = 0  # wei
    locked_until: Timestamp = _NEVER  # the last second in which nothing is paid out


@dataclass(slots=True)
class Bonds:
    """All accounts' bonds in one study; changed as the contract would, else raises `LedgerRejected`."""

    _held: dict[Address, Bond] = field(default_factory=dict)

    def of(self, account: Address) -> Bond:
        """Nothing, for one that never deposited."""
        return self._held.get(account, Bond())

    def deposit(self, account: Address, amount: int) -> None:
        """`amount` wei more."""
        if amount == 0:
            raise LedgerRejected("ZeroAmount")
        self._add(account, amount)

    def withdraw(self, account: Address, amount: int, now: Timestamp) -> None:
        """`amount` wei less, once no lock holds."""
        bond = self.of(account)
        if now <= bond.locked_until:
            raise LedgerRejected("BondLocked", (bond.locked_until, now))
        if amount == 0:
            raise LedgerRejected("ZeroAmount")
        if bond.amount < amount:
            raise LedgerRejected("BondTooSmall", (amount, bond.amount))
        self._add(account, -amount)

    def lock(self, account: Address, until: Timestamp) -> None:
        """Nothing is paid out before `until` has passed; an earlier, longer lock stays."""
        bond = self.of(account)
        self._held[account] = replace(bond, locked_until=max(bond.locked_until, until))

    def move(self, culprit: Address, beneficiary: Address, amount: int) -> None:
        """What was one account's is another's; locks stay as they are."""
        self._add(culprit, -amount)
        self._add(beneficiary, amount)

    def _add(self, account: Address, amount: int) -> None:
        bond = self.of(account)
        self._held[account] = replace(bond, amount=bond.amount + amount)
