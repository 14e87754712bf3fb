"""Each check, taken out alone, lets the forgery through that it is there for; with it, none passes.

A check is taken out of the source of the one function that makes it (`without`), so that every
forgery here is known to be stopped by exactly that line and by nothing else.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from federation.ciphers import paillier, secret
from federation.ciphers.suite import KeyShare, Opening, Seed
from federation.ciphers.threshold import capsule, key_proof, opening, packing, shares, submission
from federation.ciphers.threshold.interpolation import partial_opening
from federation.ciphers.threshold.keys import PublicKey, decode_key
from federation.ciphers.threshold.packing import pack_lanes
from federation.ciphers.threshold.residues import pack, product_of_powers, unpack, words
from federation.digest import LedgerId, sha256
from federation.errors import Malformed, ProofFailed, Violation

from .forgery import forge_key, forge_share, forge_submission
from .keys import dealt, primes
from .one_round import Update, admit, context, encrypt, root, shares_of
from .test_key_proof import prime
from .test_openings import kernel

P, Q = primes(256)
N = P * Q
SQUARE = N * N
DEALING = dealt(256)
SUITE = paillier.PaillierSuite(DEALING.public_key, values=90)  # ten leaves
CAPSULE = SUITE._capsule
KEY = SUITE.key
UPDATE = encrypt(SUITE, np.arange(90))
TOTAL = UPDATE.leaves
SHARES = shares_of(SUITE, TOTAL, DEALING.key_shares, (1, 2), context())
HONEST = SUITE.join(TOTAL, SHARES)
C, M, W = unpack(TOTAL, 64), unpack(HONEST.plaintexts, 32), unpack(HONEST.witnesses, 32)
SECRET = mpz.from_bytes(DEALING.key_shares[0], "big")
FITS = mpz(1) << 256


def without(function: Callable[..., object], check: str, instead: str = "False") -> Callable[..., object]:
    """`function` with the one occurrence of `check` in its source replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(check) == 1, f"{function.__qualname__} has no single {check!r}"
    namespace = dict(vars(sys.modules[function.__module__]))
    exec(compile(source.replace(check, instead), "<without>", "exec"), namespace)
    found = namespace[function.__name__]
    assert callable(found)
    return found


# --- keys (§7.3) -----------------------------------------------------------------------------------------


def class_seven() -> PublicKey:
    """n = 7 modulo 12, otherwise sound."""
    p, q = prime(128, residue=7), prime(128, residue=1)
    return forge_key(p * q, (p - 1) * (q - 1))


def small_factor() -> PublicKey:
    p, q = mpz(65519), prime(240, residue=11)
    return forge_key(p * q, (p - 1) * (q - 1))


def squared() -> PublicKey:
    p, q = prime(86, residue=11), prime(85, residue=1)
    return forge_key(p * p * q, p * (p - 1) * (q - 1))


def lone_prime() -> PublicKey:
    n = prime(256, residue=1)
    return forge_key(n, n - 1)


ORDER = (P - 1) * (Q - 1)
KEYS = {
    "its length": ("n.bit_length() == key.bits", lambda: forge_key(N, ORDER, bits=272)),
    "its class": ("n % 12 == 1", class_seven),
    "no small factor": ("gmpy2.gcd(n, _primorial()) == 1", small_factor),
    "two factors": ("not gmpy2.is_prime(n, _MILLER_RABIN)", lone_prime),
    "n-th roots": ("all(roots_hold)", squared),
    "roots in range": (
        "are_units(key.roots, n, below=n)",
        lambda: replace(forge_key(N, ORDER), roots=tuple(root + N for root in KEY.roots)),
    ),
    "an n-th root of v": (
        "gmpy2.powmod(key.commitments[0], n, n) == key.v",
        lambda: replace(KEY, commitments=(KEY.commitments[0] * 4 % N, *KEY.commitments[1:])),
    ),
    "commitments in range": (
        "are_units(key.commitments, n, below=n)",
        lambda: replace(KEY, commitments=(KEY.commitments[0], mpz(0))),
    ),
}


@pytest.mark.parametrize(("check", "forge"), KEYS.values(), ids=KEYS)
def test_a_key_needs(check, forge, monkeypatch):
    key = forge()
    with pytest.raises(Violation):
        key_proof.check_key_proof(key)
    monkeypatch.setattr(key_proof, "_rules", without(key_proof._rules, check, "True"))
    if check == "all(roots_hold)":  # n = p²q has no root of v either
        monkeypatch.setattr(PublicKey, "v", gmpy2.powmod(key.commitments[0], key.n, key.n))
    key_proof.check_key_proof(key)


# --- openings (§7.9) -------------------------------------------------------------------------------------


def small_plaintexts() -> tuple[list[mpz], list[mpz], list[mpz]]:
    """An opening whose first plaintext leaves room for another spelling: all values are zero."""
    total = encrypt(SUITE, np.zeros(90, dtype=np.int64)).leaves
    opened = SUITE.join(total, shares_of(SUITE, total, DEALING.key_shares, (1, 2), context()))
    return unpack(total, 64), unpack(opened.plaintexts, 32), unpack(opened.witnesses, 32)


def respelled(values: list[mpz], modulus: mpz, limit: mpz) -> list[mpz]:
    """One value written as itself plus the modulus, where that still fits its width."""
    k = next(k for k, value in enumerate(values) if value + modulus < limit)
    return [value + modulus if i == k else value for i, value in enumerate(values)]


ZERO_C, ZERO_M, ZERO_W = small_plaintexts()
OPENINGS = {
    "m + n": (
        "any(plaintext >= key.n for plaintext in plaintexts)",
        ZERO_C,
        respelled(ZERO_M, N, FITS),
        ZERO_W,
    ),
    "w + n": ("not are_units(witnesses, key.n, below=key.n)", C, M, respelled(W, N, FITS)),
    "c + n²": (
        "not are_units(ciphertexts, key.n, below=key.n_squared)",
        respelled(C, SQUARE, FITS**2),
        M,
        W,
    ),
    "another sum": ("not _holds(key, parts, plaintexts, witnesses, digits)", C, [M[0] + 1, *M[1:]], W),
}


@pytest.mark.parametrize(("check", "c", "m", "w"), OPENINGS.values(), ids=OPENINGS)
def test_an_opening_needs(check, c, m, w):
    forged = Opening(plaintexts=pack(m, 32), witnesses=pack(w, 32))
    with pytest.raises(ProofFailed):
        opening.check_opening_proof(KEY, c, forged, context())
    without(opening.check_opening_proof, check)(KEY, c, forged, context())


def test_an_opening_needs_its_units_or_one_zero_on_each_side_makes_any_values_pass(monkeypatch):
    c, w, m = [mpz(0), *C[1:]], [mpz(0), *W[1:]], [value + 1 for value in M]
    forged = Opening(plaintexts=pack(m, 32), witnesses=pack(w, 32))
    # The quick product divides by the ciphertexts, and would stop at a zero by itself; this one does not.
    monkeypatch.setattr(opening, "split", lambda ciphertexts, _: ciphertexts)
    monkeypatch.setattr(opening, "power_product", lambda c, e, n: product_of_powers(c, e, n * n))
    with pytest.raises(ProofFailed, match="units"):
        opening.check_opening_proof(KEY, c, forged, context())
    monkeypatch.setattr(opening, "are_units", lambda *_, **__: True)
    odd = [[mpz(1)] * 10] * 8  # the zero drops out of an equation only where its exponent is not 0
    assert all(opening._holds(KEY, c, m, w, row) for row in odd)
    opening.check_opening_proof(KEY, c, forged, context())


def test_an_openings_exponents_have_to_depend_on_its_plaintexts():
    lax = without(opening.check_opening_proof, "sha256(opening.plaintexts),", "")
    place = (
        KEY.digest,
        context().ledger,
        *(part.to_bytes(8, "big") for part in context().round),
        context().root,
    )
    rho = words("opening batch", 10, *place, sha256(HONEST.witnesses))  # known before any m is chosen
    shift = kernel([[word >> 16 * (7 - j) & 0xFFFF for word in rho] for j in range(8)], N)
    forged = Opening(
        plaintexts=pack([(m + delta) % N for m, delta in zip(M, shift, strict=True)], 32),
        witnesses=HONEST.witnesses,
    )
    assert forged.plaintexts != HONEST.plaintexts
    lax(KEY, C, forged, context())
    with pytest.raises(ProofFailed):
        opening.check_opening_proof(KEY, C, forged, context())


def test_an_opening_needs_its_unused_lanes_to_be_zero():
    stowed = [pack_lanes(np.array([0] * 8 + [7])) % N]
    arguments = {"lanes": 9, "count": 8}
    with pytest.raises(Violation, match="unused lanes"):
        packing.unpack_vector(stowed, N, **arguments)
    lax = without(packing.unpack_vector, "values[count:].any()")
    assert lax(stowed, N, **arguments).tolist() == [0] * 8


# --- submission proofs (§7.6) ----------------------------------------------------------------------------

PLAINTEXTS, RANDOMISERS = [mpz(5 + k) for k in range(10)], [mpz(8 + k) for k in range(10)]
OWN = [
    (1 + m * N) * pow(KEY.h_s, alpha, SQUARE) % SQUARE
    for m, alpha in zip(PLAINTEXTS, RANDOMISERS, strict=True)
]


def own(leaves: list[mpz], **choices: mpz) -> Update:
    """An update by somebody who knows what is in `OWN`, written at will."""
    data = pack(leaves, 64)
    proof = forge_submission(
        KEY, PLAINTEXTS, RANDOMISERS, header=b"header", root=root(SUITE, b"header", data), **choices
    )
    return Update(header=b"header", leaves=data, proof=proof)


def small_response() -> Update:
    """z leaves room for another spelling."""
    for m_0 in range(64):
        update = own(OWN, m_0=mpz(m_0) << 250, more_z=N)
        if mpz.from_bytes(update.proof[64:96], "big") >= N:
            return update
    raise AssertionError("no response was small enough to be written twice")


def copied(power: int) -> Update:
    """Somebody else's capsule, scaled, under the attacker's own header."""
    return Update(header=b"header", leaves=pack([pow(c, power, SQUARE) for c in C], 64), proof=UPDATE.proof)


UNITS = "not are_units([d, *ciphertexts], n, below=n_squared)"
EQUATION = "claimed != unsplit(value, slope + z, n)"
SUBMISSIONS = {
    "z + n": ("z >= n", small_response),
    "ζ a bit too long": (
        "zeta.bit_length() > key.randomiser_bits + SLACK_BITS + 1",
        lambda: own(OWN, alpha_0=mpz(1) << 128 + submission.SLACK_BITS + 1),
    ),
    "d + n²": (UNITS, lambda: own(OWN, more_d=SQUARE)),
    "c + n²": (UNITS, lambda: own([OWN[0] + SQUARE, *OWN[1:]])),
    "another's capsule to the power of 128": (EQUATION, lambda: copied(128)),
    "another's capsule inverted": (EQUATION, lambda: copied(-1)),
    "another's leaf in one's own padding": (EQUATION, lambda: own([*OWN[:-1], OWN[-1] * C[-1] % SQUARE])),
}


@pytest.mark.parametrize(("check", "forge"), SUBMISSIONS.values(), ids=SUBMISSIONS)
def test_a_submission_needs(check, forge):
    update = forge()
    c = unpack(update.leaves, 64)
    where = {"header": update.header, "root": root(SUITE, update.header, update.leaves)}
    with pytest.raises(ProofFailed):
        submission.check_submission(KEY, c, update.proof, **where)
    without(submission.check_submission, check)(KEY, c, update.proof, **where)


@pytest.mark.parametrize("part", ["header, ", "root, ", "key.digest, "])
def test_a_submissions_challenge_needs(part, monkeypatch):
    """Proofs made without `part` in the challenge hold for another header, tree or key."""
    other_key = decode_key(dealt(256, 3, 5).public_key)  # the same modulus, other holders
    places = {
        "header, ": (KEY, {"header": b"another", "root": context().root}),
        "root, ": (KEY, {"header": b"header", "root": context(root=b"x").root}),
        "key.digest, ": (other_key, {"header": b"header", "root": context().root}),
    }
    made = CAPSULE.encrypt(np.arange(90), secret=bytes(32), header=b"header")
    key, where = places[part]
    c = unpack(made.run(CAPSULE.run), 64)
    with pytest.raises(ProofFailed, match="equation"):
        submission.check_submission(key, c, made.prove(context().root), **where)
    monkeypatch.setattr(submission, "_challenges", without(submission._challenges, part, ""))
    submission.check_submission(key, c, made.prove(context().root), **where)


# --- shares (§7.8) ---------------------------------------------------------------------------------------

PARTIALS = unpack(SHARES[1][: 10 * 32], 32)
GIVEN = {"member": 1, "context": context()}


def longer_response() -> bytes:
    """A multiple of the group's order changes nothing but the number's length."""
    response, order = mpz.from_bytes(SHARES[1][10 * 32 + 16 :], "big"), (P - 1) * (Q - 1) // 4
    return SHARES[1][: 10 * 32 + 16] + pack([response + order * ((mpz(1) << 514) // order)], 32 + 33)


SHARE_FORGERIES = {
    "a + n": (
        "not are_units(partials, key.n, below=key.n)",
        lambda: forge_share(KEY, C, respelled(PARTIALS, N, FITS), secret=SECRET, **GIVEN),
    ),
    "a response too long": ("response.bit_length() > key.bits + _SLACK_BITS + 1", longer_response),
    "a power under another secret": (
        "_challenge(key, statement, commitments) != challenge",
        lambda: pack([partial_opening(KEY, C[0], SECRET + 1), *PARTIALS[1:]], 32) + SHARES[1][10 * 32 :],
    ),
}


@pytest.mark.parametrize(("check", "forge"), SHARE_FORGERIES.values(), ids=SHARE_FORGERIES)
def test_a_share_needs(check, forge):
    share = forge()
    with pytest.raises(Violation):
        shares.check_share_proof(KEY, C, share, **GIVEN)
    without(shares.check_share_proof, check)(KEY, C, share, **GIVEN)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("context.ledger,", context(ledger=LedgerId(sha256(b"another ledger")))),
        ('context.round.study.to_bytes(8, "big"),', context(study=2)),
        ('context.round.number.to_bytes(8, "big"),', context(number=2)),
        ("context.root,", context(root=b"another total")),
    ],
)
def test_a_shares_challenge_needs(part, other, monkeypatch):
    with pytest.raises(Violation, match="verify"):
        shares.check_share_proof(KEY, C, SHARES[1], member=1, context=other)
    monkeypatch.setattr(shares, "_statement", without(shares._statement, part, ""))
    share = shares.give_share(KEY, C, key_share=DEALING.key_shares[0], **GIVEN)
    shares.check_share_proof(KEY, C, share, member=1, context=other)


def test_a_share_is_given_of_units_and_under_an_undamaged_secret_only():
    zero = pack([mpz(0), *C[1:]], 64)
    damaged = KeyShare(pack([SECRET + 1], 32))
    with pytest.raises(Malformed):
        CAPSULE.share(zero, key_share=DEALING.key_shares[0], **GIVEN)
    with pytest.raises(Violation):
        CAPSULE.share(TOTAL, key_share=damaged, **GIVEN)
    unchecked = without(capsule.Capsule.share, "self.check_run(self.run, capsule)", "pass")
    assert unchecked(CAPSULE, zero, key_share=DEALING.key_shares[0], **GIVEN)
    unchecked = without(capsule.Capsule.share, "check_key_share_of(self.key, member, key_share)", "pass")
    assert unchecked(CAPSULE, TOTAL, key_share=damaged, **GIVEN)


# --- leaves (§4.3) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "check"),
    [
        (mpz(0), "bad < run.count"),
        (SQUARE + 1, "bad < run.count"),
        (P, "non_unit is not None"),
        (5 * N, "non_unit is not None"),
    ],
    ids=["zero", "n² + 1", "p", "5n"],
)
def test_a_leaf_needs(value, check):
    data = pack([*C[:-1], value], 64)
    with pytest.raises(Malformed):
        CAPSULE.check_run(CAPSULE.run, data)
    without(capsule.Capsule.check_run, check)(CAPSULE, CAPSULE.run, data)


# --- randomness (§7.5, §7.6) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        (", written.digest()", {"values": np.arange(90) + 1}),
        (", sha256(header)", {"header": b"another header"}),
        (" key, ", {"suite": paillier.PaillierSuite(dealt(256, 3, 5).public_key, values=90)}),
    ],
)
def test_an_encryptions_randomness_needs(part, changes, monkeypatch):
    """Without `part` two encryptions share it, and their quotient shows the difference of the plaintexts."""
    one = {"suite": SUITE, "values": np.arange(90), "header": b"header"}

    def ciphertexts() -> list[bytes]:
        return [
            choice["suite"]
            .encrypt(choice["values"], seed=Seed(bytes(32)), header=choice["header"], context=context())
            .run(CAPSULE.run)
            for choice in (one, one | changes)
        ]

    assert not any(shows_a_difference(*pair) for pair in leaf_pairs(*ciphertexts()))
    monkeypatch.setattr(paillier, "update_secret", without(secret.update_secret, part, " "))
    assert all(shows_a_difference(*pair) for pair in leaf_pairs(*ciphertexts()))


def leaf_pairs(first: bytes, second: bytes) -> zip[tuple[mpz, mpz]]:
    return zip(unpack(first, 64), unpack(second, 64), strict=True)


def shows_a_difference(a: mpz, b: mpz) -> bool:
    return (a * gmpy2.invert(b, SQUARE) - 1) % N == 0


def test_a_proofs_nonce_needs_its_root_or_two_proofs_give_a_plaintext_away():
    part = ', "submission nonce", root'
    lax = without(submission.prove_submission, part, ', "submission nonce"')
    roots = (context().root, context(root=b"another").root)
    secrets = {"secret": bytes(32), "header": b"header"}
    for prove, same in ((submission.prove_submission, False), (lax, True)):
        first, second = (prove(KEY, PLAINTEXTS[:1], RANDOMISERS[:1], root=at, **secrets) for at in roots)
        assert (first[:64] == second[:64]) == same
        e, f = (
            words("submission proof", 1, KEY.digest, b"header", at, proof[:64])[0]
            for at, proof in zip(roots, (first, second), strict=True)
        )
        z = mpz.from_bytes(first[64:96], "big") - mpz.from_bytes(second[64:96], "big")
        assert (z * gmpy2.invert(e - f, N) % N == PLAINTEXTS[0]) == same


def test_every_honest_thing_passes_here():
    admit(SUITE, UPDATE)
    admit(SUITE, own(OWN))
    SUITE.check_opening(TOTAL, HONEST, context())
    shares.check_share_proof(KEY, C, forge_share(KEY, C, PARTIALS, secret=SECRET, **GIVEN), **GIVEN)
