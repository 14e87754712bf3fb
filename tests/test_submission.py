"""An update's way out: the same seed and values give the same bytes, anything else gives unrelated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from federation.admission import examine_update
from federation.digest import labelled
from federation.errors import Refused
from federation.events import LogPosition, RoundId, StudyId, Timestamp, UpdateCommitted
from federation.rehearsal import Rehearsal, seeded
from federation.runs import Held, whole
from federation.submission import clip_update, encrypt_update, quantise_update, rounding_context
from federation.wire import Exclusion, Payload

from .rehearsing import HOSPITALS, A, B, quantised, rehearse

FIRST, SECOND = RoundId(StudyId(1), 1), RoundId(StudyId(1), 2)


def encrypted(stage: Rehearsal, **changes: object) -> Payload:
    given: dict[str, object] = {
        "round": FIRST,
        "values": quantised(stage, A, FIRST, stage.agreement.task.initial()),
        "member": A,
        "base_model": stage.agreement.spec.genesis,
        "seed": seeded(b"a secret of tests", A),
    }
    given |= changes
    round, values = given.pop("round"), given.pop("values")
    return encrypt_update(stage.agreement, round, values, **given)


def test_a_round_is_eight_bytes_in_every_label_the_study_first() -> None:
    assert RoundId(StudyId(0x01020304), 0x0A0B0C0D).encode() == bytes.fromhex("010203040a0b0c0d")


def test_the_same_update_is_the_same_bytes_again() -> None:
    stage = rehearse("paillier")
    assert whole(encrypted(stage)) == whole(encrypted(stage))


@pytest.mark.parametrize("what", ["round", "member", "base_model", "seed", "values"])
def test_whatever_differs_no_leaf_stays_as_it_was(what: str) -> None:
    stage = rehearse("paillier")
    values = quantised(stage, A, FIRST, stage.agreement.task.initial())
    values[0] += 1
    changes: dict[str, object] = {
        "round": SECOND,
        "member": B,
        "base_model": labelled("another"),
        "seed": seeded(b"another", A),
        "values": values,
    }
    one, two = encrypted(stage), encrypted(stage, **{what: changes[what]})
    width = stage.agreement.suite.layout.capsule.width
    leaves = [{p.first_part[i : i + width] for i in range(0, len(p.first_part), width)} for p in (one, two)]
    assert not leaves[0] & leaves[1]
    assert one.tail != two.tail


@pytest.mark.parametrize("kind", ["plain", "paillier"])
def test_an_honest_update_passes_every_public_check(kind: str) -> None:
    stage = rehearse(kind)
    payload = encrypted(stage)
    commit = UpdateCommitted(
        at=LogPosition(1, 0),
        time=Timestamp(1),
        sender=A,
        round=FIRST,
        root=payload.root(),
        base_model=stage.agreement.spec.genesis,
    )
    assert isinstance(examine_update(stage.agreement, commit, Held(whole(payload))), Payload)
    stolen = replace(commit, sender=B)
    assert isinstance(examine_update(stage.agreement, stolen, Held(whole(payload))), Exclusion)


@pytest.mark.parametrize(("position", "tensor"), [(0, "weight"), (4, "weight"), (5, "bias")])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_no_number_is_refused_by_the_name_of_its_tensor(
    position: int, tensor: str, value: float
) -> None:
    stage = rehearse()
    update = np.zeros(6)
    update[position] = value
    with pytest.raises(Refused, match=tensor):
        clip_update(stage.agreement, update)


def test_rounding_differs_between_members_and_rounds_and_not_between_attempts() -> None:
    stage = rehearse()
    contexts = {rounding_context(stage.agreement, round, m) for round in (FIRST, SECOND) for m in HOSPITALS}
    assert len(contexts) == 2 * len(HOSPITALS)
    clipped = clip_update(stage.agreement, np.full(6, 0.123456789))
    seed = seeded(b"a secret of tests", A)

    def rounded(round: RoundId) -> list[int]:
        return quantise_update(stage.agreement, round, clipped, member=A, weight=20, seed=seed).tolist()

    assert rounded(FIRST) == rounded(FIRST)
    assert rounded(FIRST)[-1] == 20
    assert any(rounded(RoundId(StudyId(1), number)) != rounded(FIRST) for number in range(2, 12))
