"""A capsule: an integer vector under threshold Paillier, the only thing that is ever jointly opened.

`paillier` puts the update itself into one; a suite with a key-homomorphic mask puts the mask's short
key into one for each dealer. Assembles the parts: `packing`, `encryption`, `submission`,
`interpolation` and `shares`, `opening`. PROTOCOL §7 gives the bytes, §12 the argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from gmpy2 import mpz

from ...digest import Digest
from ...errors import Malformed, Refused, Violation
from ...runs import Run
from ..suite import Encryption, IntVector, KeyShare, Opening, TotalContext
from .encryption import PaillierEncryption
from .interpolation import interpolate_all, plaintext_of
from .keys import PublicKey
from .opening import check_opening_proof
from .packing import check_lanes, lanes_of, pack_vector, unpack_vector
from .residues import are_units, first_non_unit, pack, unpack
from .shares import check_key_share_of, check_share_proof, give_share, partials_of, share_bytes
from .submission import check_submission, submission_bytes


@dataclass(frozen=True, slots=True)
class Capsule:
    """Vectors of one length under one key; each method does for its leaves what `CipherSuite` promises.

    Every lane of the *total* has to stay in [-2^(lane_bits-1), 2^(lane_bits-1)): whoever fixes the
    range of the summands sees to that. The lane width is one whose lanes fill bytes in groups of at
    most 64 bits: 24 and 14 are in use.
    """

    key: PublicKey
    _: KW_ONLY
    values: int
    lane_bits: int
    first: int = 1  # index of the first leaf in the payload

    @property
    def run(self) -> Run:
        """The ciphertexts."""
        return Run(first=self.first, count=self._count, width=2 * self.key.width)

    @property
    def proof_bytes(self) -> int:
        """Size of a submission proof."""
        return submission_bytes(self.key)

    @property
    def share_bytes(self) -> int:
        """Size of one member's share, its proof included."""
        return share_bytes(self.key, self._count)

    @property
    def opening_leaf(self) -> Run:
        """Widths and count of the plaintexts (and of the witnesses)."""
        return Run(first=self.first, count=self._count, width=self.key.width)

    def encrypt(self, values: IntVector, *, secret: bytes, header: bytes) -> Encryption:
        """`values` under randomness derived from `secret` alone; raises `Refused` for one out of its lane.

        `secret` is 32 bytes that no other key, header or vector may ever meet: whoever has two
        ciphertexts with one randomiser sees the difference of their plaintexts.
        """
        if values.shape != (self.values,):
            raise Refused(f"expected {self.values} values, found an array of shape {values.shape}")
        check_lanes(values, self.lane_bits)
        plaintexts = pack_vector(values, lanes=self._lanes, lane_bits=self.lane_bits)
        return PaillierEncryption(
            key=self.key, plaintexts=plaintexts, first=self.first, secret=secret, header=header
        )

    def check_run(self, run: Run, data: bytes) -> None:
        """Raises `Malformed` at the first leaf that is no unit in [1, n²)."""
        if len(data) != run.size or run.width != 2 * self.key.width:
            raise Malformed(run.first, "width", expected=run.count * 2 * self.key.width, found=len(data))
        values = unpack(data, run.width)
        allowed = [0 < value < self.key.n_squared for value in values]
        bad = allowed.index(False) if False in allowed else run.count
        # A leaf before `bad` may be the first that is no unit, and the first fault is the one named.
        non_unit = first_non_unit(values[:bad], self.key.n)
        if non_unit is not None:
            raise Malformed(run.first + non_unit, "unit", expected="a value invertible modulo n")
        if bad < run.count:
            rule, found = ("range", "n² or more") if values[bad] else ("zero", "0")
            raise Malformed(run.first + bad, rule, expected="a value in 1 … n² - 1", found=found)

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        """Raises `ProofFailed` unless the sender knew the plaintexts and meant this header and root."""
        check_submission(self.key, self._ciphertexts(capsule), proof, header=header, root=root)

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        """The product of several members' leaves of one run; the order of `parts` does not matter."""
        for part in parts:
            if len(part) != run.size:
                raise Malformed(run.first, "width", expected=run.size, found=len(part))
        n_squared, width, read = self.key.n_squared, run.width, mpz.from_bytes
        leaves = []
        for at in range(0, run.size, width):
            leaf = mpz(1)
            for part in parts:
                leaf = leaf * read(part[at : at + width], "big") % n_squared
            leaves.append(leaf.to_bytes(width, "big"))
        return b"".join(leaves)

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        """This member's share of the opening, with the proof that it is right."""
        self.check_run(self.run, capsule)  # the secret exponent meets nothing but units
        check_key_share_of(self.key, member, key_share)  # a share under a damaged secret may betray it
        ciphertexts = self._ciphertexts(capsule)
        return give_share(self.key, ciphertexts, member=member, key_share=key_share, context=context)

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        """Raises `Violation` unless `share` is what this member's key share yields."""
        check_share_proof(self.key, self._ciphertexts(capsule), share, member=member, context=context)

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        """The opening from t shares or more; raises `Violation` when they do not fit together."""
        members = sorted(member for member in shares if 1 <= member <= self.key.holders)
        if len(members) < self.key.threshold:
            raise Refused(f"expected the shares of {self.key.threshold} members, found {len(members)}")
        chosen = members[: self.key.threshold]
        partials = {member: partials_of(self.key, shares[member], self._count) for member in chosen}
        for member, powers in partials.items():
            if not are_units(powers, self.key.n, below=self.key.n):
                raise Violation("§7.9", f"the share of member {member}: no unit below n")
        witnesses, plaintexts = interpolate_all(self.key, partials), []
        for k, (ciphertext, witness) in enumerate(zip(self._ciphertexts(capsule), witnesses, strict=True)):
            plaintext = plaintext_of(self.key, ciphertext, witness)
            if plaintext is None:
                found = f"leaf {self.first + k} does not open"
                raise Violation("§7.9", f"the shares of members {chosen}", expected="an opening", found=found)
            plaintexts.append(plaintext)
        width = self.key.width
        return Opening(plaintexts=pack(plaintexts, width), witnesses=pack(witnesses, width))

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        """Raises `ProofFailed` unless `opening` is the only possible one; needs no secret."""
        check_opening_proof(self.key, self._ciphertexts(capsule), opening, context)

    def decode(self, plaintexts: bytes) -> IntVector:
        """The opened vector; raises `Violation` without a culprit where a lane overflows or is not empty."""
        if len(plaintexts) != self.opening_leaf.size:
            expected, found = self.opening_leaf.size, len(plaintexts)
            raise Violation("§7.9", "an opening's length", expected=expected, found=found)
        opened = unpack(plaintexts, self.key.width)
        return unpack_vector(
            opened, self.key.n, lanes=self._lanes, count=self.values, lane_bits=self.lane_bits
        )

    @property
    def _lanes(self) -> int:
        return lanes_of(self.key.bits, self.lane_bits)

    @property
    def _count(self) -> int:
        return -(-self.values // self._lanes)

    def _ciphertexts(self, capsule: bytes) -> list[mpz]:
        if len(capsule) != self.run.size:
            raise Malformed(self.first, "width", expected=self.run.size, found=len(capsule))
        return unpack(capsule, self.run.width)
