"""Every charge of `vectors/disputes.json` is judged alike by the contract, the package and a stranger."""

import json

import pytest

from deploy.contracts import built
from deploy.devnet import Devnet
from federation.disputes import Charge
from federation.errors import LedgerRejected
from federation.events import Fault
from federation.judge import Case, judge

from . import second_judge as second
from .contract.court import PROVEN, Court, Facts, case
from .contract.court import Case as Call
from .second_parts import Mismatch
from .second_rehearsals import charge_of
from .vectors.charges_told import case_in, charge_in
from .vectors.disputes import PATH, every, make

FILE = json.loads(PATH.read_text())
ENTRIES = dict(every(FILE))
NAMES = list(ENTRIES)


def test_the_file_is_what_its_code_makes() -> None:
    assert json.loads(json.dumps(make())) == FILE


def test_each_fault_is_proven_refused_and_met_without_evidence() -> None:
    for fault in Fault:
        expected = {e["expected"] for e in ENTRIES.values() if e["charge"]["fault"] == fault}
        assert {"proven", second.SOUND[fault]} < expected


@pytest.mark.parametrize("name", NAMES)
def test_the_package_judges_as_the_vector_says(name: str) -> None:
    entry = ENTRIES[name]
    assert judged(case_in(entry["case"]), charge_in(entry["charge"])) == entry["expected"]


def judged(case: Case, charge: Charge) -> str:
    try:
        judge(case, charge)
    except LedgerRejected as refused:
        return refused.rule
    return PROVEN


@pytest.mark.parametrize("name", NAMES)
def test_a_stranger_judges_as_the_vector_says(name: str) -> None:
    """It tells what is right from what is no evidence; why it is none is the court's to say."""
    entry = ENTRIES[name]
    expected, sound = entry["expected"], second.SOUND[entry["charge"]["fault"]]
    bench, charge = bench_of(case_in(entry["case"])), charge_of(charge_in(entry["charge"]))
    if expected == PROVEN:
        second.judge(bench, charge)
        return
    with pytest.raises(Mismatch) as found:
        second.judge(bench, charge)
    assert (found.value.what == sound) == (expected == sound), found.value


def bench_of(case: Case) -> second.Bench:
    return second.Bench(
        study=case.round.study,
        round=case.round.number,
        suite=case.leaves.suite,
        capsules=case.leaves.ciphertexts,
        bodies=case.leaves.chunks,
        key=case.key,
        binding=case.leaves.binding,
        total=case.total,
        roots=dict(zip(case.members, case.roots, strict=True)),
    )


@pytest.fixture(scope="module")
def court(devnet: Devnet) -> Court:
    return Court(devnet, built()["court"])


def test_the_court_on_a_chain_judges_as_every_vector_says(court: Court) -> None:
    calls = [call_of(case_in(entry["case"]), charge_in(entry["charge"])) for entry in ENTRIES.values()]
    verdicts = court.ask_all(calls)
    found = [verdict if isinstance(verdict, str) else verdict[0] for verdict in verdicts]
    assert dict(zip(NAMES, found, strict=True)) == {name: e["expected"] for name, e in ENTRIES.items()}


def call_of(facts: Case, charge: Charge) -> Call:
    """The judge's function for this charge, with the ledger's facts given to it."""
    told = Facts(
        round=facts.round.study << 32 | facts.round.number,
        suite=facts.leaves.suite,
        ciphertexts=facts.leaves.ciphertexts,
        chunks=facts.leaves.chunks,
        key=facts.key,
        binding=facts.leaves.binding,
    )
    evidence, roots = charge.evidence, list(facts.roots)
    if charge.member is None:
        if charge.fault is Fault.SUM:
            return case("requireWrongSum", told, facts.total, roots, evidence)
        members = ["0x" + member.hex() for member in facts.members]
        return case("requireWrongTotalHeader", told, facts.total, members, roots, evidence)
    root = roots[facts.members.index(charge.member)]
    if charge.fault is Fault.HEADER:
        return case("requireWrongUpdateHeader", told, root, "0x" + charge.member.hex(), evidence)
    function = {Fault.LEAF: "requireMalformedLeaf", Fault.PROOF: "requireMalformedProof"}[charge.fault]
    return case(function, told, root, evidence)
