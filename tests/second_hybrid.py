"""What the suite `hybrid` adds to capsules: two dealers' key, the body, its mask, and taking it off.

From PROTOCOL.md alone (§7.12); it shares no code with the package. Plain integers: 4096 coefficients are few.
"""

import math
import struct
from collections.abc import Sequence
from functools import cache

from .second_capsule import Key, Place
from .second_parts import cut, decode, demand, fields, labelled, listed, u64, xof

d = 4096
PRIMES = 1073692673, 1073668097
q = PRIMES[0] * PRIMES[1]
KAPPA = q >> 48
LANE = 14  # bits of a capsule's lane
LEAF = 128  # residues
TOWER = d // LEAF  # leaves of one tower of a block


def dealers(encoding: bytes) -> tuple[bytes, list[Key]]:
    """§7.12.1: the key digest, and the key of each dealer."""
    found = decode(encoding)
    if not isinstance(found, dict) or set(found) != {1}:
        key = Key(encoding)
        return key.digest, [key]
    keys = [Key(one) for one in listed(fields(encoding, [1], "§7.12.1")[1], bytes, "§7.12.1", 2)]
    first, second = keys
    same = (first.bits, first.t, first.holders) == (second.bits, second.t, second.holders)
    demand(same, "§7.12.1", "bits, t or N of the two keys")
    demand(math.gcd(first.n, second.n) == 1, "§7.12.1", "a common prime")
    return labelled("hybrid key", first.digest, second.digest), keys


# ---------------------------------------------------------------- §7.12.2: blocks, leaves, spectra


def blocks(values: int) -> int:
    """How many a vector fills."""
    return -(-values // (2 * d))


def residues(leaf: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{LEAF}I", leaf)


def prime_of(leaf: int) -> int:
    """The prime of the tower that a leaf of the body stands in."""
    return PRIMES[leaf % (2 * TOWER) // TOWER]


def broken_rule(leaf: int, data: bytes) -> str:
    """The rule that a leaf of the body breaks."""
    return "range" if max(residues(data)) >= prime_of(leaf) else ""


def add(leaf: int, leaves: Sequence[bytes]) -> bytes:
    """§7.12.5."""
    sums = (sum(column) % prime_of(leaf) for column in zip(*map(residues, leaves), strict=True))
    return struct.pack(f"<{LEAF}I", *sums)


@cache
def psi(prime: int) -> int:
    """The root of -1 of order 2d."""
    roots = (pow(g, (prime - 1) // (2 * d), prime) for g in range(2, prime))
    return next(root for root in roots if pow(root, d, prime) == prime - 1)


@cache
def odd_powers(root: int, half: int, prime: int) -> list[int]:
    """root^(2i+1) for i below half."""
    return [pow(root, 2 * i + 1, prime) for i in range(half)]


def spectrum(coefficients: Sequence[int], root: int, prime: int) -> list[int]:
    """The values at root^(2i+1): with f = E(X²) + X·O(X²), and point i + d/2 the negative of point i."""
    if len(coefficients) == 1:
        return [coefficients[0] % prime]
    points = odd_powers(root, len(coefficients) // 2, prime)
    even = spectrum(coefficients[::2], root * root % prime, prime)
    odd = spectrum(coefficients[1::2], root * root % prime, prime)
    turned = [x * value % prime for x, value in zip(points, odd, strict=True)]
    sums = [(a + b) % prime for a, b in zip(even, turned, strict=True)]
    return sums + [(a - b) % prime for a, b in zip(even, turned, strict=True)]


def coefficients(values: Sequence[int], root: int, prime: int) -> list[int]:
    """The element with these values: `spectrum` backwards."""

    def halves(values: Sequence[int], inverse: int) -> list[int]:
        if len(values) == 1:
            return [values[0]]
        half = len(values) // 2
        pairs = list(zip(values[:half], values[half:], strict=True))
        points = odd_powers(inverse, half, prime)
        even = halves([(a + b) % prime for a, b in pairs], inverse * inverse % prime)
        turned = [(a - b) * x % prime for (a, b), x in zip(pairs, points, strict=True)]
        odd = halves(turned, inverse * inverse % prime)
        return [value for pair in zip(even, odd, strict=True) for value in pair]

    scale = pow(len(values), -1, prime)
    return [value * scale % prime for value in halves(values, pow(root, -1, prime))]


# ---------------------------------------------------------------- §7.12.3, §7.12.6: the mask, put on and off


def mask(place: Place, block: int, tower: int) -> list[int]:
    """§7.12.3: one tower of a block's mask, as a spectrum."""
    ledger, study, round, _ = place
    stream = xof("mask", 4 * (d + d // 8), ledger, study, round, u64(block), bytes([tower]))
    drawn = (int.from_bytes(word, "little") & (1 << 30) - 1 for word in cut(stream, 4))
    accepted = [word for word in drawn if word < PRIMES[tower]]
    demand(len(accepted) >= d, "§7.12.3", "more words refused than ever happens")
    return accepted[:d]


def product(ring_key: Sequence[int], mask: Sequence[int], prime: int) -> list[int]:
    """a·s in one tower, a given as a spectrum."""
    root = psi(prime)
    values = (a * s % prime for a, s in zip(mask, spectrum(ring_key, root, prime), strict=True))
    return coefficients(list(values), root, prime)


def unmask(body: Sequence[bytes], parts: Sequence[Sequence[int]], place: Place, members: int) -> list[int]:
    """§7.12.6: the sums behind a total's body, given each dealer's opened key; all blocks whole."""
    bound = math.isqrt(6400 * members - 1) + 1
    demand(all(abs(s) <= bound for part in parts for s in part), "§7.12.6.1", "coefficient out of bound")
    S = [sum(column) for column in zip(*parts, strict=True)]
    values: list[int] = []
    for block in range(len(body) // (2 * TOWER)):
        towers = []
        for tower, prime in enumerate(PRIMES):
            at = TOWER * (2 * block + tower)
            Y = [residue for leaf in body[at : at + TOWER] for residue in residues(leaf)]
            masked = product(S, mask(place, block, tower), prime)
            towers.append([(y - a) % prime for y, a in zip(Y, masked, strict=True)])
        for r0, r1 in zip(*towers, strict=True):
            values += pair(least(r0, r1), bound)
    return values


def least(r0: int, r1: int) -> int:
    """The integer of least magnitude modulo q with these residues."""
    r = r0 + PRIMES[0] * ((r1 - r0) * pow(PRIMES[0], -1, PRIMES[1]) % PRIMES[1])
    return r - q if 2 * r > q else r


def pair(r: int, bound: int) -> tuple[int, int]:
    """The two values in a coefficient κ·x + noise."""
    X = (r + KAPPA // 2) // KAPPA
    demand(abs(r - KAPPA * X) <= bound, "§7.12.6.2", "noise out of bound")
    high = (X + (1 << 23)) >> 24
    demand(-(1 << 23) <= high < 1 << 23, "§7.12.6.3", "high lane out of range")
    return X - (high << 24), high
