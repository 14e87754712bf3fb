"""The suite `paillier`: every value under threshold Paillier, many to a ciphertext.

Assembles the parts: `keys` and `key_proof`, `packing`, `encryption`, `submission`, `interpolation` and
`shares`, `opening`. PROTOCOL §7 gives the bytes, §12 the argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gmpy2 import mpz

from ..digest import Digest
from ..errors import Malformed, Refused, Violation
from ..runs import Run
from .encryption import PaillierEncryption
from .interpolation import interpolate, plaintext_of
from .key_proof import check_key_proof
from .keys import SAFE_BITS, decode_key
from .opening import check_opening_proof
from .packing import check_lanes, lanes_of, unpack_vector
from .residues import are_units, first_non_unit, pack, unpack
from .shares import check_key_share_of, check_share_proof, give_share, partials_of, share_bytes
from .submission import check_submission, submission_bytes
from .suite import Encryption, IntVector, KeyShare, Layout, Opening, RoundContext, Seed, TotalContext


class PaillierSuite:
    """Threshold Paillier over vectors of one length; see `CipherSuite` for what each method promises."""

    def __init__(self, encoded_key: bytes, *, values: int) -> None:
        if values < 1:
            raise Refused(f"expected vectors of at least one value, found {values}")
        self.key: Final = decode_key(encoded_key)
        self._values = values
        self._lanes = lanes_of(self.key.bits)
        self._count = -(-values // self._lanes)

    @property
    def key_digest(self) -> Digest:
        return self.key.digest

    @property
    def threshold(self) -> int:
        return self.key.threshold

    @property
    def holders(self) -> int:
        return self.key.holders

    @property
    def weakness(self) -> str:
        if self.key.bits >= SAFE_BITS:
            return ""
        return f"a modulus of {self.key.bits} bits can be factored: for tests only"

    @property
    def layout(self) -> Layout:
        return Layout(
            capsule=Run(first=1, count=self._count, width=2 * self.key.width),
            body=Run(first=1 + self._count, count=0, width=0),
            proof_bytes=submission_bytes(self.key),
        )

    @property
    def share_bytes(self) -> int:
        return share_bytes(self.key, self._count)

    @property
    def opening_leaf(self) -> Run:
        return Run(first=1, count=self._count, width=self.key.width)

    def check_key(self) -> None:
        check_key_proof(self.key)

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        check_key_share_of(self.key, member, key_share)

    def encrypt(self, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext) -> Encryption:
        if values.shape != (self._values,):
            raise Refused(f"expected {self._values} values, found an array of shape {values.shape}")
        check_lanes(values)
        return PaillierEncryption(self.key, values, lanes=self._lanes, seed=seed, header=header)

    def check_run(self, run: Run, data: bytes) -> None:
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
        check_submission(self.key, self._ciphertexts(capsule), proof, header=header, root=root)

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        sums = [mpz(1)] * run.count
        for part in parts:
            if len(part) != run.size:
                raise Malformed(run.first, "width", expected=run.size, found=len(part))
            for k, value in enumerate(unpack(part, run.width)):
                sums[k] = sums[k] * value % self.key.n_squared
        return pack(sums, run.width)

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        self.check_run(self.layout.capsule, capsule)  # the secret exponent meets nothing but units
        self.check_key_share(member, key_share)  # a share under a damaged secret may betray the secret
        ciphertexts = self._ciphertexts(capsule)
        return give_share(self.key, ciphertexts, member=member, key_share=key_share, context=context)

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        check_share_proof(self.key, self._ciphertexts(capsule), share, member=member, context=context)

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        members = sorted(member for member in shares if 1 <= member <= self.key.holders)
        if len(members) < self.key.threshold:
            raise Refused(f"expected the shares of {self.key.threshold} members, found {len(members)}")
        chosen = members[: self.key.threshold]
        partials = {member: partials_of(self.key, shares[member], self._count) for member in chosen}
        for member, powers in partials.items():
            if not are_units(powers, self.key.n, below=self.key.n):
                raise Violation("§7.9", f"the share of member {member}: no unit below n")
        plaintexts, witnesses = [], []
        for k, ciphertext in enumerate(self._ciphertexts(capsule)):
            witness = interpolate(self.key, {member: powers[k] for member, powers in partials.items()})
            plaintext = plaintext_of(self.key, ciphertext, witness)
            if plaintext is None:
                found = f"leaf {1 + k} does not open"
                raise Violation("§7.9", f"the shares of members {chosen}", expected="an opening", found=found)
            plaintexts.append(plaintext)
            witnesses.append(witness)
        width = self.key.width
        return Opening(plaintexts=pack(plaintexts, width), witnesses=pack(witnesses, width))

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        check_opening_proof(self.key, self._ciphertexts(capsule), opening, context)

    def decode(
        self, opening: Opening, body: Iterable[bytes], *, context: RoundContext, count: int, members: int
    ) -> IntVector:
        if count != self._values:
            raise Refused(f"expected {self._values} values, asked for {count}")
        if any(body):
            raise Violation("§7.9", "the total's body", expected="none in this suite", found="bytes")
        if len(opening.plaintexts) != self.opening_leaf.size:
            found = len(opening.plaintexts)
            raise Violation("§7.9", "an opening's length", expected=self.opening_leaf.size, found=found)
        plaintexts = unpack(opening.plaintexts, self.key.width)
        return unpack_vector(plaintexts, self.key.n, lanes=self._lanes, count=count)

    def _ciphertexts(self, capsule: bytes) -> list[mpz]:
        run = self.layout.capsule
        if len(capsule) != run.size:
            raise Malformed(run.first, "width", expected=run.size, found=len(capsule))
        return unpack(capsule, run.width)
