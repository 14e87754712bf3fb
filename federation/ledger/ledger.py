"""The ledger as everybody sees it: an ordered, public notary (PROTOCOL §5).

Two implementations obey one suite of laws (`tests/laws/test_ledger.py`): `chain.py`, a
contract on any EVM chain, and `federation/in_memory.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..digest import Cid, Digest, LedgerId
from ..disputes import Charge
from ..events import Event, LogPosition, Motion, Reason, RoundId, StudyId, StudyTerms, Timestamp
from ..members import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block that is final at the configured depth."""

    number: int
    hash: bytes  # 32 bytes
    time: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A call that the ledger took: where it stands and what it cost."""

    call: str  # the contract function's name
    at: LogPosition  # of its (only) event
    gas: int


class Ledger(Protocol):
    """Reads facts that are final; sends calls as one account and waits until they are mined.

    Reading raises `Unavailable` when the chain does not answer. Every call raises
    `LedgerRejected` with the contract's custom error when the law of PROTOCOL §5 forbids it,
    and `Unavailable` when nothing is known of its fate: calling again is always safe,
    since the contract takes each at most once.
    """

    @property
    def id(self) -> LedgerId:
        """Names this contract on this chain for ever."""

    @property
    def code_digest(self) -> Digest:
        """SHA-256 of the deployed contract's code, as the chain returns it."""

    @property
    def account(self) -> Address:
        """Who sends our calls."""

    def head(self) -> Block:
        """The newest block that is final at the configured depth."""

    def events(self, after: int, until: int) -> Sequence[Event]:
        """All events of blocks `after + 1` … `until`, in order."""

    def create_study(self, terms: StudyTerms) -> Receipt: ...

    def accept_study(self, study: StudyId, digest: Digest) -> Receipt: ...

    def propose_key(self, study: StudyId, key: Digest, cid: Cid) -> Receipt: ...

    def accept_key(self, study: StudyId, key: Digest, ciphertexts: int) -> Receipt:
        """Agrees to a proposed key; with the last member's consent it rules from the newest round + 2 on.

        `ciphertexts`: how many capsule leaves an update has under it.
        """

    def commit_update(self, round: RoundId, root: Digest, base_model: Digest) -> Receipt: ...

    def reveal_update(self, round: RoundId, cid: Cid) -> Receipt: ...

    def post_total(self, round: RoundId, members: Sequence[Address], root: Digest, cid: Cid) -> Receipt: ...

    def post_share(self, round: RoundId, digest: Digest, cid: Cid, *, total: Digest) -> Receipt:
        """Gives our share of the opening of the total with this root."""

    def finish(
        self, round: RoundId, opening: Digest, model: Digest, *, opening_cid: Cid, model_cid: Cid
    ) -> Receipt: ...

    def confirm_model(self, round: RoundId, model: Digest) -> Receipt: ...

    def object_to_result(
        self,
        round: RoundId,
        *,
        proposed_opening: Digest,
        proposed_model: Digest,
        found_opening: Digest,
        found_model: Digest,
    ) -> Receipt: ...

    def dispute(self, charge: Charge) -> Receipt:
        """Proves a fault of the total that stands; rejected by the court's own error where it is no proof."""

    def vote(self, motion: Motion) -> Receipt:
        """Votes for a motion, which is carried if that is enough."""

    def follow_roster(self, study: StudyId, account: Address) -> Receipt:
        """Brings an account's seat in a study in line with what the consortium decided of it."""

    def deposit_bond(self, study: StudyId, wei: int) -> Receipt:
        """Stakes Ether on the totals that we post in this study."""

    def withdraw_bond(self, study: StudyId, wei: int) -> Receipt:
        """Takes back what is our own in this study, and not locked."""

    def abandon(self, round: RoundId, reason: Reason) -> Receipt:
        """Ends a round that nobody can finish; after a first share the round becomes tainted."""
