"""What this process has just done or found fruitless, so that no poll does it again for nothing.

Between a call and the block at which it is final, the ledger shows nothing of it. This only spares
work: a restart forgets it and repeats one duty at most, and the ledger takes each call once.
"""

from __future__ import annotations

from .duty import Duty


class Pace:
    """Remembers, for one process, which duties are not worth another attempt yet."""

    def __init__(self) -> None:
        self._shown_at: dict[Duty, int] = {}  # the block whose finality shows what came of it
        self._fruitless: set[Duty] = set()

    def is_vain(self, duty: Duty, head: int) -> bool:
        """Whether doing `duty` now, with the ledger read up to block `head`, would only repeat something."""
        return duty in self._fruitless or self._shown_at.get(duty, head) > head

    def wait_for(self, duty: Duty, block: int) -> None:
        """What became of `duty` shows in `block`; where it does not, a fork has undone it: do it again."""
        self._shown_at[duty] = block

    def give_up(self, duty: Duty) -> None:
        """Somebody broke the protocol: the same input would fail again."""
        self._fruitless.add(duty)
