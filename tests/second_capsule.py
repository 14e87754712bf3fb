"""One dealer's key, and vectors encrypted under it: what a stranger's verifier does in both suites.

From PROTOCOL.md alone (§7.2 to §7.9); it shares no code with the package.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import reduce

import gmpy2

from .second_parts import (
    demand,
    fields,
    labelled,
    listed,
    numbers,
    sha,
    take,
    u64,
    words,
    xof,
)

Place = tuple[bytes, bytes, bytes, bytes]  # ledger id, u64(study), u64(round number), total root (§7.1)


def power(base: int, exponent: int, modulus: int) -> int:
    return int(gmpy2.powmod(base, exponent, modulus))


def product(bases: Iterable[int], exponents: Iterable[int], modulus: int) -> int:
    pairs = zip(bases, exponents, strict=True)
    return reduce(lambda sofar, pair: sofar * power(pair[0], pair[1], modulus) % modulus, pairs, 1)


class Key:
    """§7.2: the public key and what everyone derives of it."""

    def __init__(self, encoding: bytes) -> None:
        found = fields(encoding, range(1, 7), "§7.2")
        self.bits, self.t, self.holders = (take(found[key], int, "§7.2") for key in (1, 3, 4))
        demand(self.bits % 16 == 0 and 128 <= self.bits <= 4096, "§7.2", "bits")
        demand(self.t >= 2 and 2 * self.t - 1 <= self.holders <= 64, "§7.2", "t and N")
        self.width = self.bits // 8
        raw = [take(found[2], bytes, "§7.2"), *listed(found[5], bytes, "§7.2", self.t)]
        raw += listed(found[6], bytes, "§7.2", 8)
        demand(all(len(number) == self.width for number in raw), "§7.2", "width of a number")
        self.n, *rest = numbers(b"".join(raw), self.width)
        self.V, self.roots = rest[: self.t], rest[self.t :]
        self.bytes, self.square = raw[0], self.n * self.n
        demand(self.n.bit_length() == self.bits, "§7.3.1", "n has another length")
        self.digest = labelled("key", self.bytes, sha(encoding))
        self.h = -(self.expand("paillier h") ** 2) % self.n
        self.hs = power(self.h, self.n, self.square)
        self.v = self.expand("paillier v") ** 2 % self.n
        self.D = math.factorial(self.holders)

    def expand(self, label: str, *parts: bytes) -> int:
        """§7.1."""
        return int.from_bytes(xof(label, self.width + 16, self.bytes, *parts), "big") % self.n

    def unit(self, value: int) -> bool:
        return bool(gmpy2.gcd(value, self.n) == 1)

    def check(self) -> None:
        """§7.3, rule by rule; rule 1 stands in the constructor."""
        demand(self.n % 12 == 1, "§7.3.2", "n mod 12")
        demand(gmpy2.gcd(self.n, gmpy2.primorial(1 << 16)) == 1, "§7.3.3", "small factor")
        demand(not gmpy2.is_prime(self.n, 32), "§7.3.4", "n is prime")
        for i, r in enumerate(self.roots):
            y = self.expand("paillier root", u64(i))
            demand(1 <= r < self.n and self.unit(r) and power(r, self.n, self.n) == y, "§7.3.5", f"r_{i}")
        demand(self.unit(self.hs) and self.unit(self.v), "§7.3.6", "h_s or v is no unit")
        demand(all(1 <= V < self.n and self.unit(V) for V in self.V), "§7.3.7", "V_k")
        demand(power(self.V[0], self.n, self.n) == self.v, "§7.3.7", "V_0")


class Capsule:
    """§7.4 to §7.9: so many values in lanes of so many bits, under one key."""

    def __init__(self, key: Key, values: int, lane: int) -> None:
        self.key, self.values, self.lane = key, values, lane
        self.lanes = (key.bits - 2 - 16) // lane
        self.K = -(-values // self.lanes)
        self.proof = 3 * key.width + key.bits // 16 + 37  # bytes
        self.share = self.K * key.width + 16 + key.width + 33  # bytes

    def broken_rule(self, leaf: bytes) -> str:
        """§7.5: the first rule that a leaf breaks."""
        c = int.from_bytes(leaf, "big")
        rules = {"zero": c == 0, "range": c >= self.key.square, "unit": not self.key.unit(c)}
        return next((rule for rule, broken in rules.items() if broken), "")

    def check_submission(self, leaves: Sequence[bytes], proof: bytes, header: bytes, root: bytes) -> None:
        """§7.6."""
        key, b = self.key, self.key.width
        d, z, zeta = (
            int.from_bytes(p, "big") for p in (proof[: 2 * b], proof[2 * b : 3 * b], proof[3 * b :])
        )
        demand(z < key.n and zeta < 1 << key.bits // 2 + 289, "§4.3.5", "response out of range")
        demand(1 <= d < key.square and key.unit(d), "§4.3.5", "d is no unit")
        e = words("submission proof", self.K, key.digest, header, root, proof[: 2 * b])
        left = d * product(numbers(b"".join(leaves), 2 * b), e, key.square) % key.square
        demand(left == (1 + z * key.n) * power(key.hs, zeta, key.square) % key.square, "§4.3.5", "equation")

    def add(self, leaves: Sequence[bytes]) -> bytes:
        """§7.7."""
        c = product(numbers(b"".join(leaves), 2 * self.key.width), [1] * len(leaves), self.key.square)
        return c.to_bytes(2 * self.key.width, "big")

    def check_share(self, total: Sequence[int], share: bytes, place: Place, i: int) -> list[int]:
        """§7.8: the a_k of member i's right share."""
        key, b = self.key, self.key.width
        answers, challenge = share[: -b - 49], share[-b - 49 : -b - 33]
        a, e, z = (
            numbers(answers, b),
            int.from_bytes(challenge, "big"),
            int.from_bytes(share[-b - 33 :], "big"),
        )
        demand(all(1 <= value < key.n and key.unit(value) for value in a), "§7.8", "a_k is no unit")
        demand(z < 1 << key.bits + 257, "§7.8", "z")
        hashes = u64(i), sha(b"".join(c.to_bytes(2 * b, "big") for c in total)), sha(answers)
        statement = labelled("share", key.digest, *place, *hashes)
        rho = words("share batch", self.K, statement)
        g = power(product(total, rho, key.n), 4 * key.D, key.n)
        x1 = product(a, rho, key.n) ** 2 % key.n
        x2 = product(key.V, [i**j for j in range(key.t)], key.n)
        T1 = power(g, z, key.n) * power(x1, -e, key.n) % key.n
        T2 = power(key.v, z, key.n) * power(x2, -e, key.n) % key.n
        both = T1.to_bytes(b, "big") + T2.to_bytes(b, "big")
        demand(xof("share challenge", 16, statement, both) == challenge, "§7.8", "proof of the share")
        return a

    def join(self, shares: Mapping[int, Sequence[int]], total: Sequence[int]) -> list[int]:
        """§7.9: plaintexts from the shares of the t lowest-numbered members."""
        key, seats = self.key, sorted(shares)[: self.key.t]
        weights = [key.D * math.prod(Fraction(j, j - i) for j in seats if j != i) for i in seats]
        found = []
        for k, c in enumerate(total):
            w = product([shares[i][k] for i in seats], [int(2 * weight) for weight in weights], key.n)
            q = power(c, 4 * key.D**2, key.square) * power(w, -key.n, key.square) % key.square
            demand((q - 1) % key.n == 0, "§7.9", "shares do not fit together")
            found.append((q - 1) // key.n * power(4 * key.D**2, -1, key.n) % key.n)
        return found

    def check_opening(
        self, total: Sequence[int], plaintexts: bytes, witnesses: bytes, place: Place
    ) -> list[int]:
        """§7.9: the plaintexts of the only opening."""
        key, b = self.key, self.key.width
        m, w = numbers(plaintexts, b), numbers(witnesses, b)
        demand(all(value < key.n for value in m), "§7.9.1", "plaintext out of range")
        demand(all(1 <= value < key.n and key.unit(value) for value in w), "§7.9.2", "witness is no unit")
        demand(all(1 <= c < key.square and key.unit(c) for c in total), "§7.9.2", "ciphertext is no unit")
        rho = xof("opening batch", 16 * self.K, key.digest, *place, sha(plaintexts), sha(witnesses))
        four = 4 * key.D**2
        for j in range(8):
            digit = numbers(rho, 2)[j::8]
            left = power(product(total, digit, key.square), four, key.square)
            mean = 1 + four * sum(r * value for r, value in zip(digit, m, strict=True)) * key.n
            right = mean * power(product(w, digit, key.n), key.n, key.square) % key.square
            demand(left == right, "§7.9.4", f"equation {j}")
        return m

    def read(self, plaintexts: Iterable[int]) -> list[int]:
        """§7.4: the values."""
        half, values = 1 << self.lane - 1, []
        for m in plaintexts:
            rest = m - self.key.n if 2 * m > self.key.n else m
            for _ in range(self.lanes):
                values.append((rest + half) % (2 * half) - half)
                rest = (rest - values[-1]) >> self.lane
            demand(rest == 0, "§7.4", "plaintext is no vector of lanes")
        demand(not any(values[self.values :]), "§7.4", "unused lane")
        return values[: self.values]
