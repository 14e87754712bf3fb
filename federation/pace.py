"""What one process has just done or found fruitless, so that no poll does it again for nothing.

Between a call and the block at which it is final, the ledger shows nothing of it. This only spares
work: a restart forgets it and repeats one duty at most, and the ledger takes each call once.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Due = TypeVar("Due", bound=Hashable)


class Pace(Generic[Due]):
    """Remembers, for one process, which of its duties are not worth another attempt yet."""

    def __init__(self) -> None:
        self._shown_at: dict[Due, int] = {}  # the block whose finality shows what came of it
        self._fruitless: set[Due] = set()

    def is_vain(self, due: Due, head: int) -> bool:
        """Whether doing `due` now, with the ledger read up to block `head`, would only repeat something."""
        self._shown_at = {done: block for done, block in self._shown_at.items() if block > head}
        return due in self._fruitless or due in self._shown_at

    def wait_for(self, due: Due, block: int) -> None:
        """What became of `due` shows in `block`; where it does not, a fork has undone it: do it again."""
        self._shown_at[due] = block

    def give_up(self, due: Due) -> None:
        """Somebody broke the protocol: the same input would fail again."""
        self._fruitless.add(due)
