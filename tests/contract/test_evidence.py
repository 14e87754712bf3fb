"""Evidence from a round's own payloads: the judge finds an honest round right, and each forgery wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest

from federation.ciphers import SuiteName
from federation.ciphers.judged import dealer_of, moduli_of
from federation.combination import combine
from federation.digest import labelled
from federation.disputes import binding_digest
from federation.errors import Refused
from federation.events import RoundId
from federation.evidence import (
    first_difference,
    header_evidence,
    leaf_evidence,
    leaves_in,
    proof_evidence,
    prove,
    sum_evidence,
)
from federation.merkle import leaf_is_in
from federation.rehearsal import Rehearsal
from federation.wire import Payload
from tests.contract.court import PROVEN, Facts, case
from tests.rehearsing import HOSPITALS, JUDGED, altered, hospital, spec_of

KINDS = JUDGED


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A round up to its total."""

    rehearsal: Rehearsal
    suite: SuiteName
    facts: Facts
    updates: list[Payload]
    total: Payload

    def altered_total(self, leaf: int) -> Payload:
        return altered(self.total, leaf, lambda data: data[:-1] + bytes([data[-1] ^ 1]))

    def wrong_sum(self, leaf: int, total: Payload):
        evidence = sum_evidence(self.suite, leaf, updates=self.updates, total=total)
        roots = [update.root() for update in self.updates]
        return case("requireWrongSum", self.facts, total.root(), roots, evidence)

    def malformed(self, evidence, update: Payload, *, function: str = "requireMalformedLeaf"):
        return case(function, self.facts, update.root(), evidence)

    def leaves(self) -> list[int]:
        """One of every part, the first and the last."""
        capsule, last = self.facts.ciphertexts, leaves_in(self.total) - 1
        return sorted({1, capsule // 2 or 1, capsule // 2 + 1, capsule, min(capsule + 33, last), last})


@cache
def posted(kind: str) -> Posted:
    spec = spec_of(kind, features=30)  # four ciphertexts of `paillier`
    rehearsal = Rehearsal(spec, [hospital(address, kind) for address in HOSPITALS])
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    for address in HOSPITALS:
        rehearsal.reveal(address, id)
    record, agreement = rehearsal.record(id), rehearsal.agreement
    layout, binding = agreement.suite.layout, agreement.binding(id)
    return Posted(
        rehearsal=rehearsal,
        suite=agreement.suite_name,
        facts=Facts(
            round=id.study << 32 | id.number,
            suite=agreement.suite.code,
            ciphertexts=layout.capsule.count,
            chunks=layout.body.count,
            key=agreement.suite.key_digest,
            binding=binding_digest(agreement.ledger, binding.shape),
        ),
        updates=list(record.admission.admitted.values()),
        total=combine(agreement, id, record.admission),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_leaf_of_an_honest_round_is_proven_wrong(court, kind):
    round = posted(kind)
    update = round.updates[1]
    for leaf in round.leaves():
        assert court.ask(round.wrong_sum(leaf, round.total)) == ("SumIsRight", ())
        evidence = leaf_evidence(round.suite, leaf, update)
        assert court.ask(round.malformed(evidence, update)) == ("LeafIsSound", ())
    for dealer in range(len(moduli_of(round.suite))):
        evidence = proof_evidence(round.suite, update, dealer=dealer)
        made = round.malformed(evidence, update, function="requireMalformedProof")
        assert court.ask(made) == ("ProofIsSound", ())


@pytest.mark.parametrize("kind", KINDS)
def test_one_altered_bit_of_a_total_is_found_and_proven_wherever_it_is(court, kind):
    round = posted(kind)
    for leaf in round.leaves():
        forged = round.altered_total(leaf)
        found = first_difference(forged, round.total.leaves)
        assert found == leaf
        assert court.ask(round.wrong_sum(found, forged)) == PROVEN
        other = next(k for k in round.leaves() if k != leaf)
        assert court.ask(round.wrong_sum(other, forged)) == ("SumIsRight", ())
    assert first_difference(round.total, round.total.leaves) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_leaf_is_proven_by_its_own_bytes(court, kind):
    round = posted(kind)
    for leaf in round.leaves():
        dealer = dealer_of(round.suite, leaf)
        lies = [lambda data: b"\xff" * len(data)]
        if dealer is not None:
            n = int.from_bytes(moduli_of(round.suite)[dealer].n, "big")
            lies += [lambda data: bytes(len(data)), lambda data, n=n: (7 * n).to_bytes(len(data), "big")]
        for lie in lies:
            update = altered(round.updates[0], leaf, lie)
            evidence = leaf_evidence(round.suite, leaf, update)
            assert court.ask(round.malformed(evidence, update)) == PROVEN


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_that_cannot_pass_is_proven_for_the_dealer_it_is_wrong_for(court, kind):
    round = posted(kind)
    honest, moduli = round.updates[0], moduli_of(round.suite)
    part = len(honest.tail) // len(moduli)
    for dealer, modulus in enumerate(moduli):
        width = len(modulus.n)
        d = (3 * int.from_bytes(modulus.n, "big")).to_bytes(2 * width, "big")
        before, after = honest.tail[: dealer * part], honest.tail[dealer * part + 2 * width :]
        update = replace(honest, tail=before + d + after)
        for asked in range(len(moduli)):
            evidence = proof_evidence(round.suite, update, dealer=asked)
            verdict = court.ask(round.malformed(evidence, update, function="requireMalformedProof"))
            assert verdict == (PROVEN if asked == dealer else ("ProofIsSound", ()))


@pytest.mark.parametrize("kind", KINDS)
def test_headers_are_right_for_their_round_and_member_and_no_other(court, kind):
    round = posted(kind)
    agreement = round.rehearsal.agreement
    shape = agreement.binding(RoundId(agreement.study, 1)).shape
    who = ["0x" + address.hex() for address in HOSPITALS]
    roots = [update.root() for update in round.updates]
    for at, update in enumerate(round.updates):
        evidence = header_evidence(update, ledger=agreement.ledger, shape=shape)
        for facts, member, said in (
            (round.facts, who[at], ("HeaderIsRight", ())),
            (round.facts, who[at - 1], PROVEN),
            (replace(round.facts, round=round.facts.round + 1), who[at], PROVEN),
        ):
            made = case("requireWrongUpdateHeader", facts, update.root(), member, evidence)
            assert court.ask(made) == said
    evidence = header_evidence(round.total, ledger=agreement.ledger, shape=shape)
    total = round.total.root()
    for facts, listed, said in (
        (round.facts, roots, ("HeaderIsRight", ())),
        (round.facts, [*roots[1:], roots[0]], PROVEN),
        (replace(round.facts, key=labelled("another key")), roots, PROVEN),
    ):
        made = case("requireWrongTotalHeader", facts, total, who, listed, evidence)
        assert court.ask(made) == said


@pytest.mark.parametrize("kind", KINDS)
def test_any_leaf_is_proven_from_a_payload_in_one_pass(kind):
    round = posted(kind)
    for payload in (round.updates[2], round.total):
        size = leaves_in(payload)
        for leaf in {0, *round.leaves(), size - 1}:
            data, path = prove(payload, leaf)
            assert leaf_is_in(payload.root(), data, leaf, size, path)
        with pytest.raises(Refused, match="expected a leaf"):
            prove(payload, size)


def test_no_contract_judges_the_null_suite():
    plain = SuiteName(name="plain", key=spec_of("plain").key, values=6)
    with pytest.raises(Refused, match="judges no dispute of the suite plain"):
        moduli_of(plain)
    with pytest.raises(Refused, match="expected a dealer in 0 … 0"):
        proof_evidence(posted("hybrid").suite, posted("hybrid").updates[0], dealer=1)
