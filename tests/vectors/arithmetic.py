"""Makes `arithmetic.json` from PROTOCOL §8 with rational arithmetic: no NumPy and none of the code it tests.

`python -m tests.vectors.arithmetic` rewrites the file; a test fails while the file and this module differ.
Floats are hexadecimal. Each bad case names the step that has to refuse it and a part of what it says.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).with_name("arithmetic.json")
MILLION: Final = 10**6
Case = dict[str, object]
Sizes = dict[str, int]

FOUR: Final = {"clip": 2_000_000, "bound": 500_000, "weight_cap": 250, "members": 4, "bits": 22}
SIXTEEN: Final = {"clip": 1_000_000, "bound": 1_000_000, "weight_cap": 99, "members": 16, "bits": 20}
COARSE: Final = {"clip": 3_141_592, "bound": 77_777, "weight_cap": 6400, "members": 3, "bits": 8}
LONG: Final = {"size": 20_000, "factor": 7919, "modulus": 20_011, "power": 20}  # three streams, the last cut

WEIGHTS: Final = [
    *((250, samples) for samples in (1, 9, 99, 100, 104, 105, 249, 251)),
    *((1000, samples) for samples in (994, 995)),
    *((9900, samples) for samples in (1249, 1250, 10**9)),
]
UPDATES: Final[list[tuple[str, Sizes, list[float], int]]] = [
    ("one", FOUR, [0.1, -0.2, 0.3, 1 / 3, -0.0, 0.0, 5e-324, -1e-9], 97),
    ("l2 and range", FOUR, [3.0, -4.0, 0.001, 0.25], 250),
    ("the norm overflows", SIXTEEN, [1e308, -1.7e308, 1e307], 1),
    ("denormals", SIXTEEN, [5e-324, -5e-324, 0.0], 99),
    ("zeros", SIXTEEN, [0.0, 0.0, 0.0], 50),
    ("exactly at the range", COARSE, [0.077777, -0.077777, 0.5, math.pi], 6400),
    ("squares of every size", FOUR, [1.5 * 2.0 ** -(40 * j) * (-1) ** j for j in range(20)], 250),
    ("many", COARSE, [((j * 7919) % 101 - 50) / 64 for j in range(24)], 1300),
]
ROUNDS: Final[list[tuple[Sizes, int, list[int], list[str]]]] = [
    (
        FOUR,
        3,
        [-462025, -27672, -1401483, -1032896, -446263, 1175773, 541],
        ["0x1.3b95fap+0", "0x1.971fdep-3", "0x1.d16c84p-1", "-0x1.76513cp-2", "0x1.16c2p-133", "0x0p+0"],
    ),
    (
        SIXTEEN,
        16,
        [-169719, -85928, 352969, -778360, 16342, -281185, 1078],
        ["-0x1.b2a552p-3", "0x1.4249e8p-2", "0x1.511ffep-1", "0x1.083c56p+0", "0x1.16c2p-133", "0x0p+0"],
    ),
    (
        COARSE,
        2,
        [13, 254, -14, -254, -139, 254, 12800],
        ["0x1.09cafep+0", "-0x1.d3653ap-3", "0x1.699a0ep-1", "-0x1.bfdeeep-4", "0x1.16c2p-133", "0x0p+0"],
    ),
]
TIES: Final = (
    [1.0, 1.0, 2.0**-149, 2.0**24, 0.0],
    [2.0**-24, 3 * 2.0**-24, 2.0**-150, 1.0, -(2.0**-150)],
)


def make() -> Case:
    """The whole file."""
    return {
        "note": "floats are hexadecimal; made from PROTOCOL §8 with rational arithmetic, without NumPy",
        "keystream": _keystreams(),
        "weights": [{"cap": cap, "samples": n, "weight": weigh(n, cap)} for cap, n in WEIGHTS],
        "updates": [_update(place, *case) for place, case in enumerate(UPDATES)],
        "long": _long(),
        "rounds": [_round(*case) for case in ROUNDS],
        "ties": {
            "model": _shown(TIES[0]),
            "mean": _shown(TIES[1]),
            "next": _shown([single(old + change) for old, change in zip(*TIES, strict=True)]),
        },
        "bad": list(_bad()),
    }


# §2.1


def labelled(label: str, *parts: bytes) -> bytes:
    """One labelled hash."""
    framed = b"".join(struct.pack(">Q", len(part)) + part for part in parts)
    return hashlib.sha256(b"tallystick/1/" + label.encode() + b"\0" + framed).digest()


def derive(secret: bytes, label: str, *parts: bytes) -> bytes:
    """One key of 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, labelled(label, *parts) + b"\1", "sha256")


def keystream(key: bytes, length: int, index: int) -> bytes:
    """Stream `index` of `key` (RFC 8439 §2.3)."""
    head = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key)]
    nonce = struct.unpack("<3I", index.to_bytes(12, "little"))
    return b"".join(_scrambled([*head, counter, *nonce]) for counter in range(-(-length // 64)))[:length]


def _scrambled(start: list[int]) -> bytes:
    state = list(start)
    for _ in range(10):
        for turn in (0, 1):  # columns, then diagonals
            for a in range(4):
                b, c, d = 4 + (a + turn) % 4, 8 + (a + 2 * turn) % 4, 12 + (a + 3 * turn) % 4
                for x, y, z, distance in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    state[x] = (state[x] + state[y]) % 2**32
                    mixed = state[z] ^ state[x]
                    state[z] = (mixed << distance | mixed >> 32 - distance) % 2**32
    return struct.pack("<16I", *((x + y) % 2**32 for x, y in zip(state, start, strict=True)))


# §8.2 to §8.6


def weigh(samples: int, cap: int) -> int:
    """§8.2."""
    count = min(samples, cap)
    step = 10 ** max(0, len(str(count)) - 2)
    return (count + step // 2) // step * step


def clip(update: list[float], scale: Sizes) -> tuple[list[float], float, float, int]:
    """§8.3: the vector, both norms and how many values the range cut off."""
    unit, root, power = _unit(update)
    radius, bound = scale["clip"] / MILLION, scale["bound"] / MILLION
    inside = [u * (radius / root) for u in unit] if root * power > radius else update
    found = [x if -bound <= x <= bound else math.copysign(bound, x) for x in inside]
    _, kept, kept_power = _unit(found)
    return found, root * power, kept * kept_power, sum(x != y for x, y in zip(found, inside, strict=True))


def _unit(update: list[float]) -> tuple[list[float], float, float]:
    peak = max(map(abs, update))
    power = math.ldexp(1.0, math.frexp(peak)[1] - 1) if peak else 1.0
    unit = [x / power for x in update]
    return unit, math.sqrt(float(sum(Fraction(u * u) for u in unit))), power


def quantise(vector: list[float], weight: int, scale: Sizes, keys: tuple[bytes, bytes]) -> list[int]:
    """§8.4; `keys` are the secret and the context."""
    top = 2 ** (scale["bits"] - 1) - 1
    factor = (weight * top * MILLION) / (scale["weight_cap"] * scale["bound"])
    scaled = [x * factor for x in vector]
    raw = struct.pack(f"<{len(scaled)}d", *scaled)
    key = derive(keys[0], "rounding", keys[1], hashlib.sha256(raw).digest())
    values = []
    for first in range(0, len(scaled), 8192):
        block = scaled[first : first + 8192]
        draws = struct.unpack(f"<{len(block)}Q", keystream(key, 8 * len(block), first // 8192))
        for y, draw in zip(block, draws, strict=True):
            up = (draw >> 11) < Fraction(y - math.floor(y)) * 2**53
            values.append(min(max(math.floor(y) + up, -top), top))
    return [*values, weight]


def single(value: float) -> float:
    """The nearest float32, ties to even."""
    (found,) = struct.unpack("<f", struct.pack("<f", value))
    return found


def _keystreams() -> list[Case]:
    """The first two are RFC 8439's own: appendix A.1, test vector 1, and §2.3.2 (its second block)."""
    places = [
        (bytes(32), 64, 0),
        (bytes(range(32)), 128, int.from_bytes(bytes.fromhex("000000090000004a00000000"), "little")),
        (b"\xff" * 32, 100, 2**96 - 1),
    ]
    return [
        {"key": key.hex(), "index": index, "stream": keystream(key, length, index).hex()}
        for key, length, index in places
    ]


def _update(place: int, why: str, scale: Sizes, update: list[float], weight: int) -> Case:
    secret, context = hashlib.sha256(b"secret %d" % place).digest(), b"context %d" % place
    clipped, norm, kept, cut = clip(update, scale)
    return {
        "why": why,
        "scale": scale,
        "update": _shown(update),
        "clipped": _shown(clipped),
        "norm": norm.hex(),
        "kept": kept.hex(),
        "cut": cut,
        "weight": weight,
        "secret": secret.hex(),
        "context": context.hex(),
        "values": quantise(clipped, weight, scale, (secret, context)),
    }


def _long() -> Case:
    """An update of several blocks, by its rule and the digests of what it becomes."""
    half, unit = LONG["modulus"] // 2, 2.0 ** -LONG["power"]
    update = [(j * LONG["factor"] % LONG["modulus"] - half) * unit for j in range(LONG["size"])]
    made = _update(len(UPDATES), "x_j = (j·factor mod modulus - ⌊modulus/2⌋) / 2^power", FOUR, update, 250)
    clipped, values = clip(update, FOUR)[0], made.pop("values")
    assert isinstance(values, list)
    return made | {
        "update": LONG,
        "clipped": hashlib.sha256(struct.pack(f"<{len(clipped)}d", *clipped)).hexdigest(),
        "values": hashlib.sha256(struct.pack(f"<{len(values)}q", *values)).hexdigest(),
    }


def _round(scale: Sizes, members: int, total: list[int], model: list[str]) -> Case:
    top = 2 ** (scale["bits"] - 1) - 1
    factor = (scale["bound"] * scale["weight_cap"]) / (top * total[-1] * MILLION)
    mean = [float(value) * factor for value in total[:-1]]
    old = [float.fromhex(text) for text in model]
    following = [single(x + change) for x, change in zip(old, mean, strict=True)]
    return {
        "scale": scale,
        "members": members,
        "total": total,
        "mean": _shown(mean),
        "model": _shown(old),
        "next": _shown(following),
        "next_bytes": struct.pack(f"<{len(following)}f", *following).hex(),
    }


def _bad() -> Iterator[Case]:
    three = _shown([0.0, 0.0, 0.0])
    yield _fails("check", "values could fill a lane", "below 2^23", scale=SIXTEEN | {"members": 17})
    lane = {"weight_cap": 530_000}
    yield _fails("check", "weights could fill a lane", "sums of weights", scale=SIXTEEN | lane)
    cap = FOUR | {"weight_cap": 255}
    yield _fails("check", "a cap that weights would be rounded above", "two significant digits", scale=cap)
    yield _fails("check", "no range", "bound", scale=FOUR | {"bound": 0})
    yield _fails("check", "a single bit has no sign", "bits", scale=FOUR | {"bits": 1})
    yield _fails("weigh", "nobody to train on", "at least 1 sample", scale=FOUR, samples=0)
    for why, update, says in (
        ("NaN", [0.0, math.nan, 1.0], "in tensor weight at 1"),
        ("infinite", [0.0, 0.0, -math.inf], "in tensor bias at 0"),
        ("one value short", [0.0, 0.0], "of 3 float64"),
    ):
        yield _fails("clip", why, says, scale=FOUR, update=_shown(update))
    for why, weight in (("more than the cap", 251), ("no weight", 0)):
        yield _fails("quantise", why, "weight in 1 … 250", scale=FOUR, update=three, weight=weight)
    for why, total, says in (
        ("no weight in all", [0, 0, 0], "total weight in 1 … 500"),
        ("negative weight", [0, 0, -1], "total weight in 1 … 500"),
        ("more weight than members have", [0, 0, 501], "total weight in 1 … 500"),
        ("a value members cannot reach", [0, -4194303, 500], "values up to 4194302"),
        ("a value these weights cannot reach", [838863, 0, 100], "for a total weight of 100"),
    ):
        yield _fails("mean", why, says, scale=FOUR, members=2, total=total)
    model, mean = ["0x1.ff933cp+127"], ["0x1.2ced32a16a1b1p+126"]
    yield _fails("apply", "beyond float32", "finite float32", model=model, mean=mean)


def _fails(step: str, why: str, says: str, **case: object) -> Case:
    return {"step": step, "why": why, **case, "says": says}


def _shown(values: list[float]) -> list[str]:
    return [value.hex() for value in values]


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
