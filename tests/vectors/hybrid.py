"""Makes `hybrid.json`: a round under one dealer's key, one under two dealers', and forgeries of each part.

`python -m tests.vectors.hybrid` rewrites the file; a test fails while the file and the code differ.
Short byte strings stand in hexadecimal; of a longer one stand its length, its SHA-256 and its first 64 bytes,
and it follows from the inputs. A forgery is a list of edits to the good round's bytes, after which `part` has
`bytes` at offset `at` (negative: from the end), or is `bytes`, or what part `like` was, or its first `keep`
bytes, or itself with the first `turn` bytes moved to the end. Each names the step that has to refuse it and
the clause or, of a malformed leaf, the index and rule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from federation.ciphers import suite_for
from federation.ciphers.ring.element import BLOCK_BYTES, DEGREE, LEAF_BYTES, PRIMES, VALUES, root_of_unity
from federation.ciphers.ring.gaussian import gaussians, thresholds
from federation.ciphers.ring.kernels import numpy_kernels
from federation.ciphers.ring.masks import masks
from federation.ciphers.secret import update_secret
from federation.ciphers.suite import IntVector, KeyShare, Opening, RoundContext, Seed, TotalContext
from federation.digest import Digest, LedgerId, derive, sha256
from federation.events import RoundId, StudyId

from ..ciphers.keys import dealt
from ..ciphers.one_round import pieces, root
from ..ciphers.suites import two_dealers
from .steps import Step, first_failure

PATH: Final = Path(__file__).with_name("hybrid.json")
COUNT: Final = VALUES + 8  # two blocks
# Position and value of what is not zero: lanes at their limits, both blocks, the last value.
VECTORS: Final = (
    {0: 1, 1: -2, 2: 8388607, 3: -8388608, 4095: 5, 8191: -6, 8192: 7, 8199: 100},
    {0: 5, 1: 6, 2: -8388607, 3: 8388600, 4096: -1, 8190: 1, 8193: 9, 8199: 200},
)
LEDGER: Final = LedgerId(sha256(b"vector ledger"))
_SHORT: Final = 256  # bytes
Case = dict[str, object]
Parts = dict[str, bytes]
DEALINGS: Final = {"one_dealer": dealt(256), "two_dealers": two_dealers().dealing}


def make() -> Case:
    """The whole file."""
    rounds = {name: good_round(name) for name in DEALINGS}
    return {
        "parameters": {
            "psi": [root_of_unity(q) for q in PRIMES],
            "thresholds": sha256(b"".join(entry.to_bytes(17, "big") for entry in thresholds())).hex(),
        },
        "ledger": LEDGER.hex(),
        "study": 3,
        "round": 14,
        "count": COUNT,
        "values": [{str(at): value for at, value in sparse.items()} for sparse in VECTORS],
        "seeds": [bytes([member] * 32).hex() for member in (1, 2)],
        "good": {
            name: {part: _shown(data) for part, data in parts.items()} | _inside(name, parts)
            for name, parts in rounds.items()
        },
        "bad": [
            {
                "name": forgery,
                "of": name,
                "edits": edits,
                "expected": first_failure(steps(edited(rounds[name], edits))),
            }
            for forgery, (name, edits) in _forgeries(rounds).items()
        ],
    }


def good_round(name: str) -> Parts:
    """Every byte of the round `name`."""
    dealing = DEALINGS[name]
    parts: Parts = {"public_key": dealing.public_key, "round": (14).to_bytes(8, "big")}
    suite, where = _suite(parts), _context(parts)
    leaves = []
    for member, sparse in enumerate(VECTORS, start=1):
        header = b"header of member %d" % member
        made = suite.encrypt(_dense(sparse), seed=Seed(bytes([member]) * 32), header=header, context=where)
        leaves.append(b"".join(made.run(run) for run in suite.layout.runs()))
        tree = root(suite, header, leaves[-1])
        size = suite.layout.capsule.size
        parts |= {
            f"header_{member}": header,
            f"capsule_{member}": leaves[-1][:size],
            f"body_{member}": leaves[-1][size:],
            f"root_before_proof_{member}": tree,
            f"proof_{member}": made.prove(tree),
        }
    runs = suite.layout.runs()
    split = [[data for _, data in pieces(suite, update)] for update in leaves]
    total = [suite.combine(run, both) for run, *both in zip(runs, *split, strict=True)]
    parts |= {"total_capsule": total[0], "total_body": b"".join(total[1:])}
    shares = {
        member: suite.share(total[0], member=member, key_share=KeyShare(key_share), context=where)
        for member, key_share in enumerate(dealing.key_shares, start=1)
    }
    parts |= {f"share_{member}": share for member, share in shares.items()}
    opening = suite.join(total[0], shares)
    return parts | {"plaintexts": opening.plaintexts, "witnesses": opening.witnesses}


def _inside(name: str, parts: Parts) -> Case:
    """What does not travel: the first samples of keys and errors, the first positions of masks."""
    suite = _suite(parts)
    secret = update_secret(
        Seed(bytes([1]) * 32), key=suite.key_digest, header=parts["header_1"], values=_dense(VECTORS[0])
    )
    dealers = range(2 if name == "two_dealers" else 1)
    keys = [derive(secret, "hybrid key", dealer.to_bytes(8, "big")) for dealer in dealers]
    errors = gaussians(derive(secret, "hybrid error"), DEGREE, streams=range(2))
    return {
        "key_digest": suite.key_digest.hex(),
        "secret_1": secret.hex(),
        "keys_1": [gaussians(key, DEGREE, streams=range(1))[0, :16].tolist() for key in keys],
        "errors_1": errors[:, :16].tolist(),
        "masks": masks(_context(parts), range(2), numpy_kernels())[:, :, :4].tolist(),
        "sum": {str(at): value for at, value in enumerate(replay(parts)) if value},
    }


def replay(parts: Parts) -> list[int]:
    """Every check of a round in order, over the bytes alone; the opened sum."""
    for _, step in steps(parts):
        step()
    return [int(value) for value in _decode(parts)]


def steps(parts: Parts) -> list[Step]:
    """The checks in order, by name."""
    suite, where = (lambda: _suite(parts)), _context(parts)
    found: list[Step] = [("check_key", lambda: suite().check_key())]
    for member in (1, 2):
        found += [
            ("check_run", lambda m=member: _check_leaves(parts, m)),
            ("check_proof", lambda m=member: _check_proof(parts, m)),
        ]
    total = parts["total_capsule"]
    shares = {int(name[-1]): data for name, data in parts.items() if name.startswith("share_")}
    found += [
        (
            "check_share",
            lambda m=member, s=share: suite().check_share(total, s, member=m, context=where),
        )
        for member, share in shares.items()
    ]
    opening = Opening(plaintexts=parts["plaintexts"], witnesses=parts["witnesses"])
    return [
        *found,
        ("join", lambda: suite().join(total, shares)),
        ("check_opening", lambda: suite().check_opening(total, opening, where)),
        ("decode", lambda: _decode(parts)),
    ]


def edited(parts: Parts, edits: list[Case]) -> Parts:
    """A copy of the round with the edits made."""
    changed = dict(parts)
    for edit in edits:
        match edit:
            case {"part": str(part), "bytes": str(data), "at": int(at)}:
                start, new = at % len(parts[part]), bytes.fromhex(data)
                changed[part] = changed[part][:start] + new + changed[part][start + len(new) :]
            case {"part": str(part), "bytes": str(data)}:
                changed[part] = bytes.fromhex(data)
            case {"part": str(part), "like": str(other)}:
                changed[part] = parts[other]
            case {"part": str(part), "keep": int(length)}:
                changed[part] = parts[part][:length]
            case {"part": str(part), "turn": int(length)}:
                changed[part] = parts[part][length:] + parts[part][:length]
            case other:
                raise ValueError(f"no such edit: {other}")
    return changed


def _forgeries(rounds: Mapping[str, Parts]) -> dict[str, tuple[str, list[Case]]]:
    one = rounds["one_dealer"]
    first, second = ("one_dealer", "two_dealers")
    n = 64  # bytes of a ciphertext
    body = _suite(one).layout.body.first
    residue = 3 * LEAF_BYTES + 4 * 100

    def put(part: str, data: bytes, at: int | None = None) -> Case:
        place: Case = {} if at is None else {"at": at}
        return {"part": part, **place, "bytes": data.hex()}

    def flip(name: str, part: str, at: int) -> tuple[str, list[Case]]:
        return name, [put(part, bytes([rounds[name][part][at] ^ 1]), at)]

    def word(value: int) -> bytes:
        return value.to_bytes(4, "little")

    assert body == 1 + len(one["capsule_1"]) // n
    garbled = int.from_bytes(one["total_body"][residue : residue + 4], "little") ^ 1 << 12
    return {
        "key_root_changed": flip(first, "public_key", -1),
        "key_trailing_byte": (first, [put("public_key", one["public_key"] + b"\0")]),
        "second_dealers_key_changed": flip(second, "public_key", -1),
        "capsule_leaf_zero": (first, [put("capsule_1", bytes(n), 0)]),
        "capsule_leaf_all_ones": (first, [put("capsule_2", b"\xff" * n, n)]),
        "second_dealers_leaf_zero": (second, [put("capsule_1", bytes(n), -n)]),
        "capsule_leaves_swapped": (
            first,
            [put("capsule_1", one["capsule_1"][n : 2 * n] + one["capsule_1"][:n], 0)],
        ),
        "residue_q1": (first, [put("body_1", word(PRIMES[0]), residue)]),
        "residue_q2_in_the_second_tower": (
            first,
            [put("body_1", word(PRIMES[1]), residue + BLOCK_BYTES // 2)],
        ),
        "residue_all_ones_in_the_last_leaf": (first, [put("body_2", word((1 << 32) - 1), -4)]),
        "residue_changed": (first, [put("body_1", word(0), residue)]),
        "other_header": (first, [put("header_1", b"header of member 3")]),
        "anothers_capsule_and_proof": (
            second,
            [
                {"part": "capsule_2", "like": "capsule_1"},
                {"part": "proof_2", "like": "proof_1"},
            ],
        ),
        "proof_one_bit": flip(first, "proof_1", -1),
        "proof_of_the_second_dealer_one_bit": flip(second, "proof_1", -1),
        "proof_short": (first, [{"part": "proof_1", "keep": len(one["proof_1"]) - 1}]),
        "share_partial_changed": flip(first, "share_2", 31),
        "share_of_the_second_dealer_changed": flip(second, "share_2", -1),
        "share_short": (first, [{"part": "share_2", "keep": len(one["share_2"]) - 1}]),
        "share_of_another_member": (first, [{"part": "share_3", "like": "share_1"}]),
        "share_for_another_round": (first, [put("round", (15).to_bytes(8, "big"))]),
        "plaintext_changed": flip(first, "plaintexts", -1),
        "plaintext_n_or_more": (first, [put("plaintexts", b"\xff" * 32, 0)]),
        "witness_zero": (second, [put("witnesses", bytes(32), -32)]),
        "total_body_garbled": (first, [put("total_body", word(garbled), residue)]),
        "total_body_blocks_swapped": (
            first,
            [{"part": "total_body", "turn": BLOCK_BYTES}],
        ),
        "total_body_a_block_short": (first, [{"part": "total_body", "keep": BLOCK_BYTES}]),
    }


def _check_leaves(parts: Parts, member: int) -> None:
    suite = _suite(parts)
    suite.check_run(suite.layout.capsule, parts[f"capsule_{member}"])
    suite.check_run(suite.layout.body, parts[f"body_{member}"])


def _check_proof(parts: Parts, member: int) -> None:
    suite, header = _suite(parts), parts[f"header_{member}"]
    leaves = parts[f"capsule_{member}"] + parts[f"body_{member}"]
    suite.check_proof(
        parts[f"capsule_{member}"],
        parts[f"proof_{member}"],
        header=header,
        root=root(suite, header, leaves),
    )


def _decode(parts: Parts) -> IntVector:
    opening = Opening(plaintexts=parts["plaintexts"], witnesses=parts["witnesses"])
    where = RoundContext(ledger=LEDGER, round=_context(parts).round)
    return _suite(parts).decode(opening, [parts["total_body"]], context=where, count=COUNT, members=2)


def _suite(parts: Parts):
    return suite_for("hybrid", parts["public_key"], values=COUNT)


def _context(parts: Parts) -> TotalContext:
    place = RoundId(StudyId(3), int.from_bytes(parts["round"], "big"))
    return TotalContext(ledger=LEDGER, round=place, root=Digest(sha256(b"vector total")))


def _dense(sparse: Mapping[int, int]) -> IntVector:
    values = np.zeros(COUNT, dtype=np.int64)
    for at, value in sparse.items():
        values[at] = value
    return values


def _shown(data: bytes) -> object:
    if len(data) <= _SHORT:
        return data.hex()
    return {"bytes": len(data), "sha256": sha256(data).hex(), "first": data[:64].hex()}


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
