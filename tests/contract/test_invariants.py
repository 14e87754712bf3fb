"""What stays true whatever the members do, on two independent implementations of the EVM."""

from __future__ import annotations

import pytest

from tests.contract.conftest import LONG, SHORT, cid, digest, round_id

OPEN, FINISHED, ABANDONED, TAINTED = 1, 2, 3, 4


def test_a_round_of_prompt_members_waits_for_no_window(consortium):
    c = consortium
    round = c.opened(c.study())
    c.finish(round, c.institutions[2])
    stored = c.view("roundOf", round)
    now = int(c.devnet.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert stored["commitCloses"] <= stored["revealCloses"] <= now  # both far before their deadlines
    assert stored["status"] == FINISHED
    assert stored["commits"] == stored["reveals"] == 0b1111
    assert stored["shares"] == 0b11
    total = c.view("totalOf", round)
    assert (total["root"], total["members"]) == (digest(f"total {round}"), 0b1111)
    assert total["aggregator"] == c.aggregator.address.lower()


def test_rounds_follow_one_another_until_the_agreed_number_finished(consortium):
    c = consortium
    study = c.study(rounds=2, windows=(SHORT, LONG, LONG, LONG))
    c.finish(c.opened(study, 1), c.institutions[0])
    c.commit(round_id(study, 2), c.institutions[:2])
    c.pass_time()
    c.do(c.institutions[3], "abandon", round_id(study, 2), 1)
    c.finish(c.opened(study, 3), c.aggregator)  # an abandoned round does not count
    stored = c.view("studyOf", study)
    assert (stored["latest"], stored["finished"]) == (3, 2)
    again = c.refusal(c.institutions[0], "commitUpdate", round_id(study, 4), digest("u"), digest("m"))
    assert again == ("StudyComplete", (study,))


def test_competing_results_are_taken_and_objected_to(consortium):
    c = consortium
    round = c.opened(c.study())
    a, b, *_ = c.institutions
    c.finish(round, a, "model")
    c.finish(round, b, "another model")
    c.finish(round, c.aggregator, "a third model")
    for proposed in ("model", "another model", "a third model"):
        who = c.institutions[("model", "another model", "a third model").index(proposed)]
        found = (digest("opening"), digest("mine"))
        c.do(who, "objectToResult", round, digest("opening"), digest(proposed), *found)
    assert c.view("studyOf", round >> 32)["finished"] == 1


def test_a_key_that_all_accept_rules_from_the_round_after_the_next(consortium):
    c = consortium
    study = c.study()
    first, second, third, fourth = (
        digest(f"{which} key") for which in ("first", "second", "third", "fourth")
    )
    c.propose_key(study, c.institutions[0], "second key")
    c.accept_key(study, c.institutions[:3], "second key")
    assert c.keys(study, 1, 2, 3) == [first, first, first]  # one is missing
    c.accept_key(study, c.institutions[3:4], "second key")
    assert c.keys(study, 1, 2, 3) == [first, second, second]
    round = c.opened(study, 1)
    c.adopt_key(study, "third key")  # while the first round is open
    assert c.keys(study, 1, 2, 3, 4) == [first, second, third, third]
    c.finish(round, c.institutions[0])
    c.adopt_key(study, "fourth key")  # when it has ended: a commit to the second may be on its way
    assert c.keys(study, 1, 2, 3, 4) == [first, second, fourth, fourth]
    c.commit(round_id(study, 2), c.institutions[:1])
    assert c.keys(study, 1, 2, 3, 2**32 - 1) == [first, second, fourth, fourth]
    assert c.view("studyOf", study)["key"] == first


def test_keys_are_pending_side_by_side_and_stay_so_when_one_is_adopted(consortium):
    c = consortium
    study, other = c.study(), c.study()
    a, b, *_ = c.institutions
    c.propose_key(study, a, "one")
    c.propose_key(study, b, "another")
    c.propose_key(study, b, "one")  # whoever proposes a useless place keeps no usable one out
    c.accept_key(study, [a, b], "another")
    c.accept_key(study, c.institutions[:4], "one")
    c.commit(round_id(study, 1), [a])
    c.accept_key(study, c.institutions[2:4], "another")
    assert c.keys(study, 1, 2, 3) == [digest("first key"), digest("one"), digest("another")]
    assert c.keys(other, 1, 9) == [digest("first key")] * 2
    assert c.keys(10_000, 1) == [bytes(32)]


def test_a_round_costs_the_same_however_many_keys_there_were(consortium):
    c = consortium
    plain, turning = c.study(), c.study()
    for key in ("second key", "third key"):
        c.adopt_key(turning, key)

    def spent(study: int) -> list[int]:
        round, who = round_id(study, 1), c.institutions[:4]
        return [*c.commit(round, who), *c.reveal(round, who)]

    # Other digests have other zeros, 12 gas each; reading one more slot would be 2,100.
    assert all(abs(x - y) < 500 for x, y in zip(spent(plain), spent(turning), strict=True))


def test_equal_roots_of_two_members_are_both_taken(consortium):
    """Refusing the second would let whoever copies a pending commitment block its author."""
    c = consortium
    round = round_id(c.study(), 1)
    for member in c.institutions[:2]:
        c.do(member, "commitUpdate", round, digest("same"), digest("base"))
    assert {c.view("commitmentOf", round, m.address) for m in c.institutions[:2]} == {digest("same")}


def test_a_member_that_gave_no_update_may_give_a_share(consortium):
    c = consortium
    study = c.study(windows=(SHORT, LONG, LONG, LONG))
    round = round_id(study, 1)
    c.commit(round, c.institutions[:3])
    c.pass_time()
    c.reveal(round, c.institutions[:3])
    c.total(round, c.institutions[:3])
    c.share(round, c.institutions[3:4])
    assert c.view("roundOf", round)["shares"] == 0b1000


WINDOWS = [
    (1, (SHORT, LONG, LONG, LONG), ABANDONED),
    (2, (LONG, SHORT, LONG, LONG), ABANDONED),
    (3, (LONG, LONG, SHORT, LONG), ABANDONED),
    (4, (LONG, LONG, LONG, SHORT), ABANDONED),
    (5, (LONG, LONG, LONG, SHORT), TAINTED),
    (6, (LONG, LONG, LONG, SHORT), TAINTED),
]


@pytest.mark.parametrize(("reason", "windows", "status"), WINDOWS)
def test_a_round_that_cannot_go_on_ends_for_the_one_true_reason(consortium, reason, windows, status):
    c = consortium
    study = c.study(windows=windows)
    round = round_id(study, 1)
    if reason == 1:
        c.commit(round, c.institutions[:2])
    elif reason == 2:
        c.commit(round, c.institutions[:4])
        c.reveal(round, c.institutions[:2])
    elif reason == 3:
        c.commit(round, c.institutions[:4])
        c.reveal(round, c.institutions[:4])
    else:
        c.opened(study, shares=reason - 4)
    assert c.refusal(c.aggregator, "abandon", round, reason)[0] == "NotYet"
    c.pass_time()
    if reason == 6:  # whoever holds the shares gets one more window to publish the result
        assert c.refusal(c.aggregator, "abandon", round, reason)[0] == "NotYet"
        c.pass_time()
    for other in {1, 2, 3, 4, 5, 6, 7} - {reason}:
        assert c.refusal(c.aggregator, "abandon", round, other) == ("WrongReason", (reason, other))
    c.do(c.aggregator, "abandon", round, reason)
    assert c.view("roundOf", round)["status"] == status
    c.commit(round_id(study, 2), c.institutions[:1])  # the study goes on with the next number


def test_a_result_that_comes_late_is_taken_while_nobody_tainted_the_round(consortium):
    c = consortium
    study = c.study(windows=(LONG, LONG, LONG, SHORT))
    round = c.opened(study)
    c.pass_time(3 * SHORT)
    c.finish(round, c.institutions[0])
    assert c.view("roundOf", round)["status"] == FINISHED


def test_two_studies_do_not_share_rounds_or_seats(consortium):
    c = consortium
    one, two = c.study(3), c.study(5)
    c.commit(round_id(one, 1), c.institutions[:1])
    c.commit(round_id(two, 1), c.institutions[:1])
    assert c.view("roundOf", round_id(one, 1))["seats"] == 3
    assert c.view("roundOf", round_id(two, 1))["seats"] == 5
    refused = c.refusal(c.institutions[4], "commitUpdate", round_id(one, 1), digest("u"), digest("m"))
    assert refused == ("NotInStudy", (one, c.institutions[4].address.lower()))


def test_thirty_two_members_fit_and_the_last_is_no_special_case(consortium):
    c = consortium
    study = c.study(32, threshold=16, minimum=17, rounds=1)
    round = c.opened(study, members=32, shares=16)
    stored = c.view("roundOf", round)
    assert stored["commits"] == stored["reveals"] == 2**32 - 1
    last = c.institutions[31]
    assert (c.view("seatOf", study, last.address), c.view("seatOf", study, c.aggregator.address)) == (32, 33)
    c.share(round, [last])
    c.finish(round, last)
    c.finish(round, c.aggregator, "another model")
    c.do(last, "confirmModel", round, digest("model"))
    c.do(last, "objectToResult", round, digest("opening"), digest("model"), digest("x"), digest("y"))
    twice = c.refusal(last, "confirmModel", round, digest("model"))
    assert twice == ("AlreadyConfirmed", (round, last.address.lower()))


def test_the_last_second_of_a_window_belongs_to_it(consortium):
    """INVARIANT I6 from both sides: at the deadline commits are taken, one second later reveals."""
    c = consortium
    if c.devnet.kind != "anvil":
        pytest.skip("only Anvil sets the next block's time to the second")
    study = c.study(windows=(SHORT, SHORT, SHORT, SHORT))
    round = round_id(study, 1)
    a, b, d, late = c.institutions[:4]

    def at(time: int) -> None:
        c.devnet.rpc("evm_setNextBlockTimestamp", time)

    def refused(*call: object) -> bool:
        return int(c.send(*call)["status"], 16) == 0

    c.commit(round, [a, b])
    closes = c.view("roundOf", round)["commitCloses"]
    at(closes)
    c.commit(round, [d])
    at(closes + 1)
    assert refused(late, "commitUpdate", round, digest("late"), digest("base"))
    c.reveal(round, [a, b])
    at(closes + SHORT)
    c.reveal(round, [d])  # all who committed: the window closes here
    at(closes + 2 * SHORT)
    c.total(round, [a, b, d])
    at(closes + 3 * SHORT)
    c.share(round, [a])
    at(closes + 3 * SHORT + 1)
    assert refused(b, "postShare", round, digest(f"total {round}"), digest("late"), cid("late"))
    c.do(b, "abandon", round, 5)


def test_a_steady_commitment_touches_three_slots(consortium):
    """Seat, round and commitment: the cost goal rests on the round being one slot."""
    c = consortium
    if c.devnet.kind != "anvil":
        pytest.skip("only Anvil lists the slots that a call touches")
    study = c.study()
    round = round_id(study, 1)
    c.commit(round, c.institutions[:1])
    b = c.institutions[1]
    data = c.contract.encode_abi("commitUpdate", (round, digest("u"), digest("m")))
    call = {"from": b.address, "to": c.address, "data": data}
    (touched,) = c.devnet.rpc("eth_createAccessList", call, "latest")["accessList"]
    assert len(touched["storageKeys"]) == 3


def test_commit_and_reveal_cost_at_most_ninety_thousand_gas(consortium, capsys):
    c = consortium
    who, everybody = c.institutions[:5], c.institutions[:32]
    created = c.do(c.auditor, "createStudy", c.terms(5))
    study = c.view("studies")
    accepted = [c.do(m, "acceptStudy", study, digest("spec")) for m in who]
    proposed = [c.propose_key(study, m, "second key") for m in who[:2]]
    keyed = c.accept_key(study, who, "second key")
    created_by_many = c.do(c.auditor, "createStudy", c.terms(32, threshold=16, minimum=17))
    many = c.view("studies")
    for member in everybody:
        c.do(member, "acceptStudy", many, digest("spec"))
    c.commit(round_id(many, 1), everybody)
    c.reveal(round_id(many, 1), everybody)
    total_of_many = c.total(round_id(many, 1), everybody)
    round = round_id(study, 1)
    first, *steady, last = c.commit(round, who)
    reveals = c.reveal(round, who)
    total = c.total(round, who)
    shares = c.share(round, who[:2])
    finishes = c.finish(round, who[0]), c.finish(round, who[1], "another model")
    confirm = [c.do(m, "confirmModel", round, digest("model")) for m in who[:2]]
    objections = [
        c.do(m, "objectToResult", round, digest("opening"), digest("model"), digest("x"), digest("y"))
        for m in who[:2]
    ]
    table = {
        "createStudy of five and of 32": (created, created_by_many),
        "acceptStudy, the first, later and last": (accepted[0], max(accepted[1:-1]), accepted[-1]),
        "proposeKey, the first and again by another": proposed,
        "acceptKey, the first, later and last": (keyed[0], max(keyed[1:-1]), keyed[-1]),
        "commitUpdate, opening a round": first,
        "commitUpdate": max(steady),
        "commitUpdate, the last of all": last,
        "revealUpdate, the first": reveals[0],
        "revealUpdate": max(reveals[1:-1]),
        "revealUpdate, the last": reveals[-1],
        "postTotal of five and of 32": (total, total_of_many),
        "postShare": max(shares),
        "finish, first and competing": finishes,
        "confirmModel, first and later": confirm,
        "objectToResult, first and later": objections,
    }
    with capsys.disabled():
        print(f"\ngas on {c.devnet.kind}: " + "; ".join(f"{call} {gas}" for call, gas in table.items()))
    assert max(steady) + max(reveals[1:-1]) <= 90_000
    assert max(steady) - min(steady) < 1_000  # flat: the same for every member
