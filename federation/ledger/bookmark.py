"""What a party remembers of a chain beyond the life of a process (PROTOCOL §5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from ..digest import LedgerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The last block of one ledger that was final for us, so that we may have acted on it."""

    ledger: LedgerId
    number: int
    hash: bytes  # 32 bytes


class Bookmark(Protocol):
    """Keeps one mark. Without it, a chain that was rewritten while we were away would be believed."""

    @property
    def shown(self) -> str:
        """Where it is kept, for the person who may have to remove it."""

    def recall(self) -> Mark | None:
        """The last mark; None where there is none. Raises `Refused` for one that cannot be read."""

    def move(self, mark: Mark) -> None:
        """`mark` is durable; raises `Refused` where it cannot be."""


class _NoBookmark:
    """For readers that act on nothing, and for tests of one process."""

    shown: Final = "nowhere"

    def recall(self) -> Mark | None:
        return None

    def move(self, mark: Mark) -> None:
        pass


NO_BOOKMARK: Final[Bookmark] = _NoBookmark()
