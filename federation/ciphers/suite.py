"""What a cipher suite is: it adds integer vectors that no one may read one by one.

An update travels as leaves of fixed width in two parts. The **capsule** is a run of
threshold-Paillier ciphertexts, the only thing that is ever jointly opened; the **body** is
everything whose opening follows from the capsule's. In `paillier` the capsule carries the
vector itself and there is no body; in a suite with a key-homomorphic mask the capsule carries
the mask's short key and the body the masked vector, so that the joint work stays flat in the
model's size. Bodies are worked on a `Run` at a time: a pure function on bytes that an executor
can spread, and that never needs the whole vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from .. import arithmetic
from ..digest import Digest, LedgerId
from ..events import RoundId
from ..runs import Run, in_runs

IntVector = arithmetic.IntVector
Seed = NewType("Seed", bytes)  # 32 secret bytes, durable before anything leaves the node
KeyShare = NewType("KeyShare", bytes)  # a member's encoded share of the decryption key


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many leaves of which width an update has; always derived from the study, never from a peer."""

    capsule: Run
    body: Run  # count 0 where the suite has none
    proof_bytes: int  # the submission proof, one last leaf

    @property
    def leaves(self) -> int:
        """Capsule and body leaves; header and proof not counted."""
        return self.capsule.count + self.body.count

    @property
    def size(self) -> int:
        """Bytes of all capsule and body leaves."""
        return self.capsule.size + self.body.size

    def runs(self) -> Iterator[Run]:
        """Capsule and body in pieces, in order (see `in_runs`)."""
        return in_runs((self.capsule, self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """Which round an update belongs to: what the public parts of a round's mask are expanded from."""

    ledger: LedgerId
    round: RoundId


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalContext(RoundContext):
    """Which total an opening opens; every challenge is bound to it."""

    root: Digest  # of the total's payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A capsule, opened: for each ciphertext the plaintext m and the n-th root w that proves it."""

    plaintexts: bytes  # fixed width, big-endian, one after another
    witnesses: bytes  # the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealing:
    """What a key ceremony leaves behind; everything else it knew is gone."""

    public_key: bytes  # encoded
    key_shares: tuple[KeyShare, ...]  # of members 1 … N, each for its holder alone


class Encryption(Protocol):
    """One update under encryption; the same seed, header and values give the same bytes."""

    def run(self, run: Run) -> bytes:
        """The leaves of `run`, one after another."""

    def prove(self, root: Digest) -> bytes:
        """The submission proof; `root` is the tree's root over header, capsule and body."""


class CipherSuite(Protocol):
    """Adds integer vectors that no one may read one by one.

    For updates x_1 … x_n and the shares of any t members,
    `decode(join(capsule, shares), …) == x_1 + … + x_n` where the total is combined run by run,
    as long as every coordinate of the sum stays below 2^23 in magnitude. Whatever a peer could
    have sent is checked; a malformed value raises `Violation`. No I/O, no clock, no hidden
    randomness: `seed` is passed in, so every call has a test vector.
    """

    @property
    def code(self) -> int:
        """By which number the contract knows how this suite's leaves are added; 0: no dispute is judged."""

    @property
    def key_digest(self) -> Digest:
        """Names the public key, with its verification keys, threshold and number of share-holders."""

    @property
    def threshold(self) -> int:
        """How many shares an opening needs: t."""

    @property
    def holders(self) -> int:
        """How many members hold a share of the key: N."""

    @property
    def weakness(self) -> str:
        """Why no patient's data may travel under this suite and key; empty where nothing is wrong."""

    @property
    def strength(self) -> str:
        """How long the key is and how many dealers made it, for people who compare two keys."""

    @property
    def layout(self) -> Layout:
        """Of an update, and of a total but for the proof."""

    @property
    def share_bytes(self) -> int:
        """Size of one member's share of an opening, its proof included."""

    @property
    def opening_leaf(self) -> Run:
        """Widths and count of an opening's plaintexts (and of its witnesses)."""

    def check_key(self) -> None:
        """Raises `Violation` unless the key proof holds: then not even the dealer can open wrongly."""

    def is_independent_of(self, key: bytes) -> bool:
        """Whether no secret of `key`, encoded for this suite, opens anything under this one."""

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        """Raises `Violation` unless this is the share of `member` (1 … N) of the key's polynomial."""

    def encrypt(self, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext) -> Encryption:
        """`values`, encrypted for this header; raises `Refused` where a value leaves its lane."""

    def check_run(self, run: Run, data: bytes) -> None:
        """Raises `Malformed` at the first leaf that is not a canonical unit or residue."""

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        """Raises `ProofFailed` unless the sender knew the capsule's plaintexts and meant this header.

        `root` is the one computed by the caller over header, capsule and body.
        """

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        """The sum of several members' leaves of one run; the order of `parts` does not matter."""

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        """This member's share of the opening of `capsule`, with the proof that it is right."""

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        """Raises `Violation` unless `share` is what this member's key share yields (blame)."""

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        """The opening from t shares or more; raises `Violation` when they do not fit together."""

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        """Raises `ProofFailed` unless `opening` is the only possible one; needs no secret."""

    def decode(
        self, opening: Opening, body: Iterable[bytes], *, context: RoundContext, count: int, members: int
    ) -> IntVector:
        """The sum of `members` vectors of `count` values; `body` are the total's body runs, in order.

        Raises `Violation` without a culprit where padding is not zero or noise is out of bound.
        """
