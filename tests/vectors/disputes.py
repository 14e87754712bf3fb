"""Makes `disputes.json`: charges before the court, proven ones and such as prove nothing (PROTOCOL §5.7).

`python -m tests.vectors.disputes` rewrites the file; a test fails while the file and the code differ.
Byte strings stand in hexadecimal. Each of `charges` has a `case` (what the ledger holds of the total that
stands), a `charge` with its evidence, and what is `expected`: "proven", or the error that refuses it. Each of
`bad` is one `of` them with other values at slash-separated paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from federation.ciphers.ring.element import PRIMES
from federation.digest import sha256
from federation.disputes import Charge
from federation.errors import LedgerRejected
from federation.judge import judge
from federation.members import Address
from federation.merkle import root_of
from federation.wire import Code, Exclusion, total_header

from ..ciphers.keys import primes
from .charges_told import Json, case_in, case_told, charge_in, told_of
from .disputed_rounds import BASE, BITS, DEALINGS, FIRST, MEMBERS, Posted, lawful
from .paillier import changed

PATH: Final = Path(__file__).with_name("disputes.json")
WIDTH: Final = BITS // 8
PROOF: Final = 3 * WIDTH + WIDTH // 2 + 37  # bytes of one dealer's submission proof


# ---------------------------------------------------------------------- what is charged


BODIES: Final = {
    "leaf_first_prime_in_first_tower",
    "leaf_second_prime_in_first_tower",
    "leaf_second_prime_in_second_tower",
    "leaf_all_ones_in_the_last_leaf",
    "leaf_short_body",
}
# What is tried under each key, beside sums and body leaves; under the first, all is.
TRIED: Final = {
    "hybrid": {"leaf_zero", "header_of_update_right", "header_of_total_right", "proof_sound", "proof_z_n"},
    "two_dealers": {
        "leaf_zero",
        "leaf_multiple_shown_by_n",
        "header_of_update_with_another_member",
        "proof_sound",
        "proof_of_another_length",
        "proof_of_one_dealer_more",
        "proof_d_multiple",
        "proof_z_n",
        "proof_zeta_too_long",
        "proof_of_the_second_charged_under_the_first",
    },
}


def charges() -> Iterator[tuple[str, Posted, Charge]]:
    """By name, on which round, of what."""
    for kind in DEALINGS:
        yield from _of_sums(kind)
        for name, posted, charge in (*_of_leaves(kind), *_of_headers(kind), *_of_proofs(kind)):
            if kind not in TRIED or name.partition("/")[2] in TRIED[kind] | BODIES:
                yield name, posted, charge


def _of_sums(kind: str) -> Iterator[tuple[str, Posted, Charge]]:
    good = lawful(kind)
    capsule, bodies = good.case.leaves.ciphertexts, good.case.leaves.chunks
    places = {"first": 1, "last_of_the_capsule": capsule}
    if bodies:
        places |= {"first_tower": capsule + 32, "second_tower": capsule + 33}
    if kind == "two_dealers":
        places = {"first_dealer": capsule // 2, "second_dealer": capsule // 2 + 1}
    for place, leaf in places.items():
        yield f"{kind}/sum_right_{place}", good, good.sum(leaf)
        forged = good.with_total(leaf, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        yield f"{kind}/sum_wrong_{place}", forged, forged.sum(leaf)
    if kind == "paillier":
        square = int.from_bytes(good.key(1).modulus, "big") ** 2
        lies: dict[str, Callable[[int], int]] = {
            "negative": lambda c: square - c,
            "plus_square": lambda c: c + square if (c + square).bit_length() <= 2 * BITS else c,
            "zero": lambda c: 0 * c,
        }
        for name, lie in lies.items():
            forged = good.with_total(2, lambda data, lie=lie: _number(lie(int.from_bytes(data, "big"))))
            yield f"paillier/sum_{name}", forged, forged.sum(2)
        forged = good.with_total(3, lambda _: b"")
        yield "paillier/sum_empty_leaf", forged, forged.sum(3)
        forged = good.with_update(1, lambda data: bytes(len(data)))
        yield "paillier/sum_of_a_leaf_of_zeros", forged, forged.sum(1)
    if kind == "hybrid":
        forged = good.with_update(capsule + 33, lambda data: _residue(data, PRIMES[1]))
        yield "hybrid/sum_of_a_residue_beyond", forged, forged.sum(capsule + 33)


def _of_leaves(kind: str) -> Iterator[tuple[str, Posted, Charge]]:
    good = lawful(kind)
    capsule, bodies = good.case.leaves.ciphertexts, good.case.leaves.chunks
    leaf = capsule // 2 + 1 if kind == "two_dealers" else 2
    n = int.from_bytes(good.key(leaf).modulus, "big")
    yield f"{kind}/leaf_sound", good, good.leaf(leaf)
    for name, change in {
        "zero": lambda data: bytes(len(data)),
        "square": lambda _: _number(n * n),
        "short": lambda data: data[1:],
        "long": lambda data: b"\0" + data,
    }.items():
        forged = good.with_update(leaf, change)
        yield f"{kind}/leaf_{name}", forged, forged.leaf(leaf)
    forged = good.with_update(leaf, lambda _: _number(7 * n))
    yield f"{kind}/leaf_multiple_shown_by_n", forged, forged.leaf(leaf, n.to_bytes(WIDTH, "big"))
    yield f"{kind}/leaf_multiple_shown_by_nothing", forged, forged.leaf(leaf)
    yield f"{kind}/leaf_multiple_shown_by_one", forged, forged.leaf(leaf, b"\1")
    yield f"{kind}/leaf_multiple_shown_by_seven", forged, forged.leaf(leaf, b"\7")
    if kind == "paillier":
        p = int(primes(BITS)[0])
        forged = good.with_update(leaf, lambda _: _number(3 * p))
        yield "paillier/leaf_factor", forged, forged.leaf(leaf, p.to_bytes(WIDTH // 2, "big"))
    if not bodies:
        return
    for name, body, value in (
        ("first_prime_in_first_tower", capsule + 32, PRIMES[0]),
        ("second_prime_in_first_tower", capsule + 32, PRIMES[1]),
        ("second_prime_in_second_tower", capsule + 33, PRIMES[1]),
        ("all_ones_in_the_last_leaf", capsule + bodies, (1 << 32) - 1),
    ):
        forged = good.with_update(body, lambda data, value=value: _residue(data, value))
        yield f"{kind}/leaf_{name}", forged, forged.leaf(body)
    forged = good.with_update(capsule + 1, lambda data: data[4:])
    yield f"{kind}/leaf_short_body", forged, forged.leaf(capsule + 1)


def _of_headers(kind: str) -> Iterator[tuple[str, Posted, Charge]]:
    good = lawful(kind)
    for who, member in (("update", FIRST), ("total", None)):
        yield f"{kind}/header_of_{who}_right", good, good.header(member)
    for name, change in {
        "another_base": lambda data: data[:-32] + bytes(32),
        "another_member": lambda data: data.replace(bytes(FIRST), bytes(MEMBERS[1])),
        "another_key": lambda data: data.replace(good.binding.key, bytes(32)),
        "a_byte_more": lambda data: data + b"\0",
        "nothing": lambda _: b"",
    }.items():
        forged = good.with_update(0, change)
        yield f"{kind}/header_of_update_with_{name}", forged, forged.header(FIRST)
    left_out = Exclusion(member=Address(b"\x09" * 20), code=Code.NO_REVEAL)
    listed = [(member, root_of(update)) for member, update in zip(MEMBERS, good.updates, strict=True)]
    if kind != "paillier":
        return
    for name, header in {
        "exclusions": total_header(good.binding, members=listed, excluded=[left_out]),
        "a_member_fewer": total_header(good.binding, members=listed[1:], excluded=[]),
        "another_root": total_header(good.binding, members=[(FIRST, BASE), *listed[1:]], excluded=[]),
        "nothing_behind_key_13": good.total[0][:-1],
        "4096_bytes": good.total[0].ljust(4096, b"\0"),
        "4097_bytes": good.total[0].ljust(4097, b"\0"),
    }.items():
        forged = good.with_total(0, lambda _, header=header: header)
        yield f"{kind}/header_of_total_with_{name}", forged, forged.header()


def _of_proofs(kind: str) -> Iterator[tuple[str, Posted, Charge]]:
    good = lawful(kind)
    last, dealer = len(good.updates[0]) - 1, int(kind == "two_dealers")
    n = int.from_bytes(good.key(last, dealer=dealer).modulus, "big")
    start = dealer * PROOF
    yield f"{kind}/proof_sound", good, good.proof(dealer)

    def put(at: int, data: bytes) -> Callable[[bytes], bytes]:
        return lambda proof: proof[: start + at] + data + proof[start + at + len(data) :]

    zeta = 1 << 4 * WIDTH + 289
    long = zeta.to_bytes(WIDTH // 2 + 37, "big")
    changes: dict[str, tuple[Callable[[bytes], bytes], bytes]] = {
        "that_fails": (put(0, _number(4)), b""),
        "of_another_length": (lambda proof: proof[:-1], b""),
        "of_one_dealer_more": (lambda proof: proof + bytes(PROOF), b""),
        "d_zero": (put(0, bytes(2 * WIDTH)), b""),
        "d_square": (put(0, _number(n * n)), b""),
        "d_multiple": (put(0, _number(n)), n.to_bytes(WIDTH, "big")),
        "d_multiple_not_shown": (put(0, _number(n)), b""),
        "z_n": (put(2 * WIDTH, n.to_bytes(WIDTH, "big")), b""),
        "z_below_n": (put(2 * WIDTH, (n - 1).to_bytes(WIDTH, "big")), b""),
        "zeta_too_long": (put(3 * WIDTH, long), b""),
        "zeta_longest": (put(3 * WIDTH, (zeta - 1).to_bytes(len(long), "big")), b""),
    }
    for name, (change, witness) in changes.items():
        forged = good.with_update(last, change)
        yield f"{kind}/proof_{name}", forged, forged.proof(dealer, witness)
    if kind == "two_dealers":
        forged = good.with_update(last, put(2 * WIDTH, b"\xff" * WIDTH))
        yield "two_dealers/proof_of_the_second_charged_under_the_first", forged, forged.proof(0)


def _number(value: int) -> bytes:
    return value.to_bytes(2 * WIDTH, "big")


def _residue(chunk: bytes, value: int) -> bytes:
    return chunk[:-4] + value.to_bytes(4, "little")


# ---------------------------------------------------------------------- the file


def make() -> Json:
    """The whole file."""
    told = {
        name: {"case": case_told(posted.case), "charge": told_of(charge)}
        for name, posted, charge in charges()
    }
    return {
        "charges": [{"name": name, **entry, "expected": verdict(entry)} for name, entry in told.items()],
        "bad": [
            {"name": name, "of": of, "change": change, "expected": verdict(changed(told[of], change))}
            for name, of, change in _bad(told)
        ],
    }


def every(file: Json) -> Iterator[tuple[str, Json]]:
    """Each case with its charge and what is expected, bad ones too, by name."""
    good = {entry["name"]: entry for entry in file["charges"]}
    for entry in file["charges"]:
        yield entry["name"], entry
    for entry in file["bad"]:
        yield entry["name"], {**changed(good[entry["of"]], entry["change"]), "expected": entry["expected"]}


def verdict(entry: Json) -> str:
    """What the package's judge says."""
    try:
        judge(case_in(entry["case"]), charge_in(entry["charge"]))
    except LedgerRejected as refused:
        return refused.rule
    return "proven"


def _bad(told: dict[str, Json]) -> Iterator[tuple[str, str, Json]]:
    """Name, of which charge, and what of it changes."""
    sum_, body, leaf = "paillier/sum_wrong_first", "hybrid/sum_wrong_first_tower", "paillier/leaf_zero"
    header, total = (
        "paillier/header_of_update_with_another_key",
        "paillier/header_of_total_with_a_member_fewer",
    )
    second, proof = "two_dealers/sum_wrong_second_dealer", "paillier/proof_z_n"
    other = sha256(b"another").hex()

    def evidence(of: str) -> Json:
        return told[of]["charge"]["evidence"]

    paths, length = evidence(sum_)["paths"], len(evidence(sum_)["leaves"])
    modulus, roots = evidence(leaf)["key"]["modulus"], told[sum_]["case"]["roots"]
    here = "charge/evidence"
    changes: dict[str, tuple[str, Json]] = {
        "sum_of_the_header": (sum_, {f"{here}/leaf": 0}),
        "sum_of_the_next_leaf": (sum_, {f"{here}/leaf": 2}),
        "sum_of_the_proof": (sum_, {f"{here}/leaf": 4}),
        "sum_of_a_leaf_far_beyond": (sum_, {f"{here}/leaf": 1 << 32 | 1}),
        "sum_with_another_hash": (sum_, {f"{here}/found": other}),
        "sum_under_another_total": (sum_, {"case/total": other}),
        "sum_under_another_members_root": (sum_, {"case/roots": [roots[0], other, roots[2]]}),
        "sum_of_members_in_another_order": (
            sum_,
            {"case/roots": [roots[1], roots[0], roots[2]]},
        ),
        "sum_with_a_member_fewer": (sum_, {f"{here}/leaves": evidence(sum_)["leaves"][: length // 3 * 2]}),
        "sum_with_a_byte_fewer": (sum_, {f"{here}/leaves": evidence(sum_)["leaves"][:-2]}),
        "sum_with_a_hash_more": (sum_, {f"{here}/paths": [*paths, other]}),
        "sum_with_a_hash_fewer": (sum_, {f"{here}/paths": paths[:-1]}),
        "sum_with_another_hash_in_a_path": (sum_, {f"{here}/paths": [other, *paths[1:]]}),
        "sum_in_a_smaller_tree": (sum_, {"case/ciphertexts": 2}),
        "sum_in_a_larger_tree": (sum_, {"case/chunks": 64}),
        "sum_of_a_suite_that_is_not_judged": (sum_, {"case/suite": 0}),
        "sum_of_a_suite_that_nobody_knows": (sum_, {"case/suite": 3}),
        "sum_under_another_key": (sum_, {"case/key": other}),
        "sum_with_another_encoding": (sum_, {f"{here}/key/rest": other}),
        "sum_with_a_dealer_too_many": (sum_, {f"{here}/key/other": other}),
        "sum_of_the_second_of_one_dealer": (sum_, {f"{here}/key/second": True}),
        "sum_with_an_even_modulus": (sum_, {f"{here}/key/modulus": modulus[:-2] + "00"}),
        "sum_with_a_short_modulus": (sum_, {f"{here}/key/modulus": "ff" * 14}),
        "sum_with_an_odd_number_of_bytes": (sum_, {f"{here}/key/modulus": "ff" * 33}),
        "sum_with_a_long_modulus": (sum_, {f"{here}/key/modulus": "ff" * 514}),
        "sum_without_a_modulus": (sum_, {f"{here}/key/modulus": ""}),
        "sum_of_the_other_dealer": (
            second,
            {f"{here}/key": evidence("two_dealers/sum_wrong_first_dealer")["key"]},
        ),
        "sum_of_the_second_dealer_said_to_be_the_first": (second, {f"{here}/key/second": False}),
        "sum_of_two_dealers_with_one": (second, {f"{here}/key/other": "00" * 32}),
        "body_with_a_key_beside": (body, {f"{here}/key": evidence(leaf)["key"]}),
        "body_of_the_other_tower": (body, {f"{here}/leaf": evidence(body)["leaf"] + 1}),
        "leaf_of_the_header": (leaf, {f"{here}/leaf": 0}),
        "leaf_of_the_proof": (leaf, {f"{here}/leaf": 4}),
        "leaf_of_another_place": (leaf, {f"{here}/leaf": 3}),
        "leaf_with_other_bytes": (leaf, {f"{here}/data": "00" * 63 + "01"}),
        "leaf_with_a_hash_more": (leaf, {f"{here}/path": [*evidence(leaf)["path"], other]}),
        "leaf_with_a_hash_fewer": (leaf, {f"{here}/path": evidence(leaf)["path"][:-1]}),
        "leaf_under_another_key": (leaf, {f"{here}/key/modulus": "ff" * 32}),
        "leaf_of_a_suite_that_is_not_judged": (leaf, {"case/suite": 0}),
        "leaf_of_another_member": (leaf, {"charge/member": told[leaf]["case"]["members"][1]}),
        "factor_of_more_bytes_than_the_modulus": (
            "paillier/leaf_multiple_shown_by_n",
            {f"{here}/witness": "00" + modulus},
        ),
        "factor_of_zeros": ("paillier/leaf_multiple_shown_by_n", {f"{here}/witness": "00" * 32}),
        "header_of_another_ledger": (header, {f"{here}/ledger": other}),
        "header_of_another_shape": (header, {f"{here}/shape": other}),
        "header_with_ledger_and_shape_in_one": (
            header,
            {f"{here}/ledger": evidence(header)["shape"], f"{here}/shape": evidence(header)["ledger"]},
        ),
        "header_with_other_bytes": (header, {f"{here}/header": "00"}),
        "header_with_a_hash_fewer": (header, {f"{here}/path": evidence(header)["path"][:-1]}),
        "header_of_a_suite_that_is_not_judged": (header, {"case/suite": 0}),
        "header_of_a_total_in_an_update": (total, {"charge/member": told[total]["case"]["members"][0]}),
        "header_of_another_total": (total, {"case/total": other}),
        "header_of_a_total_with_a_hash_more": (total, {f"{here}/path": [*evidence(total)["path"], other]}),
        "proof_of_another_leaf": (proof, {f"{here}/leaf": 3}),
        "proof_of_the_header": (proof, {f"{here}/leaf": 0}),
        "proof_with_other_bytes": (proof, {f"{here}/data": ""}),
        "proof_with_a_hash_more": (proof, {f"{here}/path": [*evidence(proof)["path"], other]}),
        "proof_under_another_key": (proof, {"case/key": other}),
        "proof_of_the_second_of_one_dealer": (proof, {f"{here}/key/second": True}),
        "proof_of_a_suite_that_is_not_judged": (proof, {"case/suite": 0}),
    }
    for name, (of, change) in changes.items():
        yield name, of, change


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
