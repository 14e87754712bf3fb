"""Makes `paillier.json`: one round under the toy-sized key, every byte of it, and forgeries of each part.

`python -m tests.vectors.paillier` rewrites the file; a test fails while the file and the code differ.
Everything is hexadecimal but for the vectors. Each bad case names the step that has to refuse it and
the clause or, of a malformed leaf, the index and rule.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from federation.ciphers import suite_for
from federation.ciphers.suite import Opening, RoundContext, Seed, TotalContext
from federation.digest import Digest, LedgerId, sha256
from federation.events import RoundId, StudyId
from federation.merkle import root_of

from ..ciphers.keys import dealt, primes
from .steps import Step, first_failure

PATH: Final = Path(__file__).with_name("paillier.json")
BITS: Final = 256
VECTORS: Final = (
    [1, -2, 3, 8388607, -8388608, 0, 7, 8, 9, 10, 11],
    [5, 6, -7, -8388607, 8388600] + [0] * 5 + [-1],
)
Case = dict[str, object]


def make() -> Case:
    """The whole file."""
    dealing = dealt(BITS)
    suite = suite_for("paillier", dealing.public_key, values=len(VECTORS[0]))
    where = RoundContext(ledger=LedgerId(sha256(b"vector ledger")), round=RoundId(StudyId(3), 14))
    updates = []
    for member, values in enumerate(VECTORS, start=1):
        seed, header = Seed(bytes([member]) * 32), b"header of member %d" % member
        made = suite.encrypt(np.array(values), seed=seed, header=header, context=where)
        leaves = made.run(suite.layout.capsule)
        root = _root(header, leaves, suite.layout.capsule.width)
        updates.append(
            {
                "values": values,
                "seed": seed.hex(),
                "header": header.hex(),
                "leaves": leaves.hex(),
                "root_before_proof": root.hex(),
                "proof": made.prove(root).hex(),
            }
        )
    parts = [bytes.fromhex(str(update["leaves"])) for update in updates]
    total = suite.combine(suite.layout.capsule, parts)
    context = TotalContext(ledger=where.ledger, round=where.round, root=Digest(sha256(b"vector total")))
    shares = {
        member: suite.share(total, member=member, key_share=key_share, context=context)
        for member, key_share in enumerate(dealing.key_shares, start=1)
    }
    opening = suite.join(total, shares)
    good: Case = {
        "p": f"{primes(BITS)[0]:x}",
        "q": f"{primes(BITS)[1]:x}",
        "public_key": dealing.public_key.hex(),
        "key_digest": suite.key_digest.hex(),
        "key_shares": [share.hex() for share in dealing.key_shares],
        "ledger": where.ledger.hex(),
        "study": 3,
        "round": 14,
        "updates": updates,
        "total": total.hex(),
        "total_root": context.root.hex(),
        "shares": {str(member): share.hex() for member, share in shares.items()},
        "plaintexts": opening.plaintexts.hex(),
        "witnesses": opening.witnesses.hex(),
        "sum": [sum(pair) for pair in zip(*VECTORS, strict=True)],
    }
    return {"good": good, "bad": _bad(good)}


def replay(good: Case) -> list[int]:
    """Every check of a round in order, over the bytes alone; the opened sum."""
    for _, step in steps(good):
        step()
    suite, context = _suite(good), _context(good)
    opening = Opening(plaintexts=_raw(good["plaintexts"]), witnesses=_raw(good["witnesses"]))
    return [int(v) for v in suite.decode(opening, [], context=context, count=len(VECTORS[0]), members=2)]


def steps(case: Case) -> list[Step]:
    """The checks in order, by name."""
    found: list[Step] = [("check_key", lambda: _suite(case).check_key())]
    for update in _updates(case):
        found += [
            (
                "check_run",
                lambda u=update: _suite(case).check_run(_suite(case).layout.capsule, _raw(u["leaves"])),
            ),
            (
                "check_proof",
                lambda u=update: _suite(case).check_proof(
                    _raw(u["leaves"]),
                    _raw(u["proof"]),
                    header=_raw(u["header"]),
                    root=_root(_raw(u["header"]), _raw(u["leaves"]), 2 * BITS // 8),
                ),
            ),
        ]
    shares = {int(member): _raw(share) for member, share in _mapping(case["shares"]).items()}
    total, context = _raw(case["total"]), _context(case)
    for member, share in shares.items():
        found.append(
            (
                "check_share",
                lambda m=member, s=share: _suite(case).check_share(total, s, member=m, context=context),
            )
        )
    opening = Opening(plaintexts=_raw(case["plaintexts"]), witnesses=_raw(case["witnesses"]))
    return [
        *found,
        ("join", lambda: _suite(case).join(total, shares)),
        ("check_opening", lambda: _suite(case).check_opening(total, opening, context)),
        (
            "decode",
            lambda: _suite(case).decode(opening, [], context=context, count=len(VECTORS[0]), members=2),
        ),
    ]


def changed(good: Case, change: Case) -> Case:
    """`good` with the values at `change`'s slash-separated paths."""
    case: Case = json.loads(json.dumps(good))
    for path, value in change.items():
        *way, last = path.split("/")
        place = case
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return case


def _bad(good: Case) -> list[Case]:
    updates = _updates(good)
    first = _raw(updates[0]["leaves"])
    n = int(str(good["p"]), 16) * int(str(good["q"]), 16)
    width = 2 * BITS // 8
    one, two = first[:width], first[width:]

    def number(value: int, size: int = width) -> str:
        return value.to_bytes(size, "big").hex()

    def flipped(text: object, at: int) -> str:
        raw = bytearray(_raw(text))
        raw[at] ^= 1
        return raw.hex()

    scaled = pow(int.from_bytes(one, "big"), 128, n * n)
    shares = _mapping(good["shares"])
    changes: dict[str, Case] = {
        "key_root_changed": {"public_key": flipped(good["public_key"], -1)},
        "key_trailing_byte": {"public_key": str(good["public_key"]) + "00"},
        "leaf_zero": {"updates/0/leaves": number(0) + two.hex()},
        "leaf_n_squared": {"updates/0/leaves": one.hex() + number(n * n)},
        "leaf_multiple_of_n": {"updates/1/leaves": number(5 * n) + two.hex()},
        "leaves_swapped": {"updates/0/leaves": (two + one).hex()},
        "leaf_scaled_by_128": {"updates/0/leaves": number(scaled) + two.hex()},
        "other_header": {"updates/1/header": b"header of member 3".hex()},
        "anothers_update_replayed": {
            "updates/1/leaves": updates[0]["leaves"],
            "updates/1/proof": updates[0]["proof"],
        },
        "proof_one_bit": {"updates/0/proof": flipped(updates[0]["proof"], -1)},
        "proof_short": {"updates/0/proof": str(updates[0]["proof"])[:-2]},
        "share_partial_changed": {"shares/2": flipped(shares["2"], 31)},
        "share_proof_changed": {"shares/2": flipped(shares["2"], -1)},
        "share_of_another_member": {"shares/3": shares["1"]},
        "share_for_another_round": {"round": 15},
        "too_few_shares": {"shares/1": None, "shares/2": None},
        "plaintext_changed": {"plaintexts": flipped(good["plaintexts"], -1)},
        "plaintext_n_or_more": {"plaintexts": "ff" * 32 + str(good["plaintexts"])[64:]},
        "witness_changed": {"witnesses": flipped(good["witnesses"], -1)},
        "witness_zero": {"witnesses": "00" * 32 + str(good["witnesses"])[64:]},
    }
    return [
        {"name": name, "change": change, "expected": first_failure(steps(changed(good, change)))}
        for name, change in changes.items()
    ]


def _suite(case: Case):
    return suite_for("paillier", _raw(case["public_key"]), values=len(VECTORS[0]))


def _context(case: Case) -> TotalContext:
    place = RoundId(StudyId(int(str(case["study"]))), int(str(case["round"])))
    return TotalContext(
        ledger=LedgerId(_raw(case["ledger"])), round=place, root=Digest(_raw(case["total_root"]))
    )


def _root(header: bytes, leaves: bytes, width: int) -> Digest:
    return root_of([header, *(leaves[at : at + width] for at in range(0, len(leaves), width))])


def _raw(text: object) -> bytes:
    return bytes.fromhex(str(text))


def _updates(case: Case) -> list[Case]:
    updates = case["updates"]
    assert isinstance(updates, list)
    return updates


def _mapping(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
