"""The rounds' law at its boundaries, and for every lawful sequence of events (PROTOCOL §5)."""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from federation import bonds, governance, judge, law
from federation.digest import CID_RAW, Cid, Digest, sha256
from federation.errors import LedgerRejected
from federation.events import (
    NO_STAKE,
    Event,
    Leaves,
    LogPosition,
    MemberJoined,
    ModelConfirmed,
    Reason,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SharePosted,
    Stake,
    StudyAccepted,
    StudyCreated,
    StudyId,
    StudyTerms,
    Timestamp,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
    Windows,
)
from federation.in_memory import InMemoryChain
from federation.law import History
from federation.ledger.abi import by_hash
from federation.members import Address, Member, Role, SealingKey
from federation.rounds import (
    Abandoned,
    Combining,
    Committing,
    Finished,
    Opening,
    Overdue,
    Phase,
    Revealing,
    Round,
    Study,
    Tainted,
)

MEMBERS = tuple(Address(bytes([index]) * 20) for index in range(1, 6))
AGGREGATOR = Address(b"\x0a" * 20)
STUDY = StudyId(1)
ONE = RoundId(STUDY, 1)
WINDOWS = Windows(100, 200, 300, 400)  # seconds
CID = Cid(CID_RAW + sha256(b"content"))
START = 1_000


def terms(
    n: int = 5,
    threshold: int = 2,
    minimum: int = 3,
    rounds: int = 10,
    aggregators: tuple[Address, ...] = (AGGREGATOR,),
    stake: Stake = NO_STAKE,
) -> StudyTerms:
    return StudyTerms(
        digest=sha256(b"spec"),
        cid=CID,
        key=sha256(b"first key"),
        members=MEMBERS[:n],
        leaves=Leaves(suite=1, ciphertexts=4, chunks=0, binding=sha256(b"binding")),
        aggregators=aggregators,
        threshold=threshold,
        minimum=minimum,
        rounds=rounds,
        windows=WINDOWS,
        stake=stake,
    )


def commit(time: int, who: int, base: bytes = b"genesis", round: RoundId = ONE) -> UpdateCommitted:
    return UpdateCommitted(
        at=LogPosition(time, who),
        time=Timestamp(time),
        sender=MEMBERS[who],
        round=round,
        root=sha256(b"root"),
        base_model=sha256(base),
    )


def reveal(time: int, who: int) -> UpdateRevealed:
    return UpdateRevealed(
        at=LogPosition(time, who), time=Timestamp(time), sender=MEMBERS[who], round=ONE, cid=CID
    )


def total(time: int, *of: int) -> TotalPosted:
    return TotalPosted(
        at=LogPosition(time, 0),
        time=Timestamp(time),
        sender=AGGREGATOR,
        round=ONE,
        members=tuple(MEMBERS[who] for who in of),
        root=sha256(b"total"),
        cid=CID,
    )


def share(time: int, who: int) -> SharePosted:
    return SharePosted(
        at=LogPosition(time, who),
        time=Timestamp(time),
        sender=MEMBERS[who],
        round=ONE,
        total=sha256(b"total"),
        digest=sha256(b"share"),
        cid=CID,
    )


def result(time: int, model: bytes = b"model", round: RoundId = ONE) -> ResultProposed:
    return ResultProposed(
        at=LogPosition(time, 0),
        time=Timestamp(time),
        sender=AGGREGATOR,
        round=round,
        opening=sha256(b"opening"),
        model=sha256(model),
        opening_cid=CID,
        model_cid=CID,
    )


def begun(n: int = 5) -> History:
    """A study that all have accepted, before its first commit."""
    history = History()
    people = [(address, Role.INSTITUTION) for address in MEMBERS] + [(AGGREGATOR, Role.AGGREGATOR)]
    for address, role in people:
        member = Member(address=address, role=role, sealing_key=SealingKey(bytes(32)), name="")
        history.follow(MemberJoined(at=LogPosition(0, 0), time=Timestamp(0), sender=address, member=member))
    stamp = LogPosition(1, 0)
    history.follow(StudyCreated(at=stamp, time=Timestamp(1), sender=AGGREGATOR, study=STUDY, terms=terms(n)))
    for member_ in MEMBERS[:n]:
        history.follow(
            StudyAccepted(at=stamp, time=Timestamp(1), sender=member_, study=STUDY, digest=sha256(b"spec"))
        )
    return history


def after(*events: Event, n: int = 5) -> Round:
    history = begun(n)
    for event in events:
        history.follow(event)
    return history.round(ONE)


def refused(event: Event, *before: Event) -> str:
    """The rule by which the event is refused; empty if it is taken."""
    try:
        after(*before, event)
    except LedgerRejected as rejection:
        return rejection.rule
    return ""


THREE_COMMITS = (commit(START, 0), commit(START + 1, 1), commit(START + 50, 2))
COMMIT_CLOSES = START + 100
THREE_REVEALS = tuple(reveal(COMMIT_CLOSES + 1 + who, who) for who in range(3))
ALL_REVEALED = COMMIT_CLOSES + 3
TOTAL_AT = ALL_REVEALED + 10
TOTAL = total(TOTAL_AT, 0, 1, 2)
SHARES = (share(TOTAL_AT + 1, 0), share(TOTAL_AT + 2, 4))
REVEALED = (*THREE_COMMITS, *THREE_REVEALS)
POSTED = (*REVEALED, TOTAL)
SHARED = (*POSTED, *SHARES)
OPEN_CLOSES = Timestamp(TOTAL_AT + 400)


# ---------------------------------------------------------------- exact boundaries


@pytest.mark.parametrize(
    ("events", "now", "phase"),
    [
        (THREE_COMMITS, COMMIT_CLOSES, Committing(closes=Timestamp(COMMIT_CLOSES))),
        (THREE_COMMITS, COMMIT_CLOSES + 1, Revealing(closes=Timestamp(COMMIT_CLOSES + 200))),
        (THREE_COMMITS[:2], COMMIT_CLOSES, Committing(closes=Timestamp(COMMIT_CLOSES))),
        (THREE_COMMITS[:2], COMMIT_CLOSES + 1, Overdue(reason=Reason.TOO_FEW_COMMITS)),
        (THREE_COMMITS, COMMIT_CLOSES + 200, Revealing(closes=Timestamp(COMMIT_CLOSES + 200))),
        (THREE_COMMITS, COMMIT_CLOSES + 201, Overdue(reason=Reason.TOO_FEW_REVEALS)),
        (REVEALED, ALL_REVEALED, Combining(closes=Timestamp(ALL_REVEALED + 300))),
        (REVEALED, ALL_REVEALED + 300, Combining(closes=Timestamp(ALL_REVEALED + 300))),
        (REVEALED, ALL_REVEALED + 301, Overdue(reason=Reason.NO_TOTAL)),
        (POSTED, TOTAL_AT + 400, Opening(total=TOTAL, closes=OPEN_CLOSES)),
        (POSTED, TOTAL_AT + 401, Overdue(reason=Reason.NO_SHARES)),
        ((*POSTED, SHARES[0]), TOTAL_AT + 401, Overdue(reason=Reason.TOO_FEW_SHARES)),
        (SHARED, TOTAL_AT + 800, Opening(total=TOTAL, closes=OPEN_CLOSES)),
        (SHARED, TOTAL_AT + 801, Overdue(reason=Reason.NO_RESULT)),
        ((*SHARED, result(TOTAL_AT + 9)), 10**9, Finished(proposals=(result(TOTAL_AT + 9),))),
    ],
)
def test_each_phase_lasts_to_the_last_second_of_its_window(
    events: tuple[Event, ...], now: int, phase: Phase
) -> None:
    assert after(*events).phase(Timestamp(now)) == phase


@pytest.mark.parametrize(
    ("before", "event", "late_by_one", "rule_"),
    [
        (THREE_COMMITS, commit(COMMIT_CLOSES, 3), commit(COMMIT_CLOSES + 1, 3), "CommitWindowClosed"),
        (THREE_COMMITS, reveal(COMMIT_CLOSES + 200, 0), reveal(COMMIT_CLOSES + 201, 0), "RevealWindowClosed"),
        (
            REVEALED,
            total(ALL_REVEALED + 300, 0, 1, 2),
            total(ALL_REVEALED + 301, 0, 1, 2),
            "CombineWindowClosed",
        ),
        (POSTED, share(TOTAL_AT + 400, 3), share(TOTAL_AT + 401, 3), "OpenWindowClosed"),
    ],
)
def test_the_last_second_is_taken_and_the_next_is_not(
    before: tuple[Event, ...], event: Event, late_by_one: Event, rule_: str
) -> None:
    assert (refused(event, *before), refused(late_by_one, *before)) == ("", rule_)


def test_a_reveal_is_too_early_in_the_last_second_of_the_commits() -> None:
    assert refused(reveal(COMMIT_CLOSES, 0), *THREE_COMMITS) == "CommitWindowOpen"
    assert refused(reveal(COMMIT_CLOSES + 1, 0), *THREE_COMMITS) == ""


def test_all_commits_close_the_window_within_the_second() -> None:
    everybody = tuple(commit(START, who) for who in range(5))
    round = after(*everybody)
    assert round.phase(Timestamp(START)) == Revealing(closes=Timestamp(START + 200))
    assert refused(reveal(START, 0), *everybody) == ""


def test_the_reveal_window_begins_with_the_last_commit_when_all_commit() -> None:
    round = after(*(commit(START + 10 * who, who) for who in range(5)))
    assert round.phase(Timestamp(START + 41)) == Revealing(closes=Timestamp(START + 40 + 200))


def test_a_round_that_nobody_opened_waits_for_ever() -> None:
    assert begun().study(STUDY).current().phase(Timestamp(10**9)) == Committing(closes=None)


# ---------------------------------------------------------------- names


def test_the_rules_have_the_names_of_the_contracts_errors() -> None:
    """`UnknownStudy` and `WrongSentence` are for readers of other contracts"""
    position = {"_forbid": 1, "LedgerRejected": 0}
    ours = {
        rule.value
        for module in (law, bonds, governance, judge)
        for call in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in position
        if isinstance(rule := call.args[position[call.func.id]], ast.Constant)
    }
    contracts = {signature.name for signature in by_hash("error", 4).values()}
    assert (ours - contracts, contracts - ours) == (
        {"UnknownStudy", "WrongSentence"},
        {"UnknownRole", "NotCourt", "PaymentFailed", "Starved", "WrongCount"},
    )


def test_nobody_joins_twice_or_without_an_address() -> None:
    history = begun()
    joined = MemberJoined(
        at=LogPosition(9, 0), time=Timestamp(9), sender=MEMBERS[0], member=history.roster[MEMBERS[0]]
    )
    with pytest.raises(LedgerRejected, match="DuplicateMember"):
        history.follow(joined)
    with pytest.raises(LedgerRejected, match="ZeroAddress"):
        history.follow(replace(joined, member=replace(joined.member, address=Address(bytes(20)))))


def test_a_chain_that_skips_a_study_runs_another_contract() -> None:
    created = StudyCreated(
        at=LogPosition(9, 0), time=Timestamp(9), sender=AGGREGATOR, study=StudyId(3), terms=terms()
    )
    with pytest.raises(LedgerRejected, match="UnknownStudy"):
        begun().follow(created)
    with pytest.raises(LedgerRejected, match="UnknownStudy"):
        begun().study(StudyId(3))


@pytest.mark.parametrize("tainted", [True, False])
def test_a_chain_that_calls_an_opened_round_abandoned_runs_another_contract(tainted: bool) -> None:
    now = TOTAL_AT + 401
    kind, shares, reason = (
        (RoundTainted, (), Reason.NO_SHARES)
        if tainted
        else (RoundAbandoned, SHARES[:1], Reason.TOO_FEW_SHARES)
    )
    end = kind(at=LogPosition(now, 0), time=Timestamp(now), sender=AGGREGATOR, round=ONE, reason=reason)
    assert refused(end, *THREE_COMMITS, *THREE_REVEALS, TOTAL, *shares) == "WrongReason"


# ---------------------------------------------------------------- what t - 1 liars can do


@given(st.data())
def test_liars_below_the_threshold_never_choose_the_base_model(data: st.DataObject) -> None:
    """Honest members name what they recomputed; t - 1 others agree on anything they like."""
    threshold = data.draw(st.integers(2, 3))
    honest = data.draw(st.integers(0, 5 - (threshold - 1)))
    votes = [b"true"] * honest + [
        data.draw(st.sampled_from([b"lie", b"another lie", b"true"])) for _ in range(threshold - 1)
    ]
    votes = data.draw(st.permutations(votes))
    round = Round(id=ONE, terms=terms(threshold=threshold))
    for who, base in enumerate(votes):
        round.commits[MEMBERS[who]] = commit(START, who, base)
    assert round.base_model() in (None, sha256(b"true"))
    if honest >= threshold:
        assert round.base_model() == sha256(b"true")


@given(st.data())
def test_liars_below_the_threshold_never_settle_a_model(data: st.DataObject) -> None:
    """However they split their words between confirming and training from it, and repeat them."""
    study = Study(id=STUDY, terms=terms(threshold=3))
    first, second = (Round(id=RoundId(STUDY, number), terms=study.terms) for number in (1, 2))
    first.proposals.append(result(START))
    study.rounds = [first, second]
    liars = data.draw(st.sets(st.integers(0, 4), max_size=2))
    honest_votes = 0
    for who in range(5):
        said = b"lie" if who in liars else b"true"
        words = data.draw(st.sets(st.sampled_from(["confirm", "commit"])))
        if "confirm" in words:
            first.confirmations[MEMBERS[who]] = ModelConfirmed(
                at=LogPosition(START, who),
                time=Timestamp(START),
                sender=MEMBERS[who],
                round=ONE,
                model=sha256(said),
            )
        if "commit" in words:
            second.commits[MEMBERS[who]] = commit(START, who, said, second.id)
        honest_votes += bool(words) and who not in liars
    expected = sha256(b"true") if honest_votes >= 3 else None
    assert study.settled_model(first) == expected


def test_a_members_first_word_on_a_model_is_the_one_that_counts() -> None:
    study = Study(id=STUDY, terms=terms())
    one, two, three = (Round(id=RoundId(STUDY, number), terms=study.terms) for number in (1, 2, 3))
    one.proposals.append(result(START))
    for who in (0, 1):
        two.commits[MEMBERS[who]] = commit(START, who, b"first word", two.id)
        three.commits[MEMBERS[who]] = commit(START, who, b"second thoughts", three.id)
    study.rounds = [one, two, three]
    assert study.settled_model(one) == sha256(b"first word")


def test_bases_after_the_next_result_no_longer_speak_of_the_first_model() -> None:
    study = Study(id=STUDY, terms=terms())
    one, two, three = (Round(id=RoundId(STUDY, number), terms=study.terms) for number in (1, 2, 3))
    one.proposals.append(result(START, b"first"))
    two.proposals.append(result(START + 1, b"second", two.id))
    two.commits[MEMBERS[0]] = commit(START, 0, b"first", two.id)
    for who in (1, 2, 3):
        three.commits[MEMBERS[who]] = commit(START, who, b"second", three.id)
    study.rounds = [one, two, three]
    assert study.settled_model(one) is None
    assert study.settled_model(two) == sha256(b"second")


# ---------------------------------------------------------------- any lawful sequence

_ORDER = {
    Committing: 0,
    Revealing: 1,
    Combining: 2,
    Opening: 3,
    Overdue: 4,
    Finished: 5,
    Abandoned: 5,
    Tainted: 5,
}


class AnyLawfulSequence(RuleBasedStateMachine):
    """Anybody tries anything at any time; what the ledger takes never takes a round back."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        people = [(address, Role.INSTITUTION) for address in MEMBERS[:3]] + [(AGGREGATOR, Role.AGGREGATOR)]
        founders = [
            Member(address=address, role=role, sealing_key=SealingKey(bytes(32)), name="")
            for address, role in people
        ]
        self.chain = InMemoryChain(founders, lambda: Timestamp(self.now))
        self.chain.ledger(AGGREGATOR).create_study(terms(3, rounds=3))
        for member in MEMBERS[:3]:
            self.chain.ledger(member).accept_study(STUDY, sha256(b"spec"))
        self.history = History()
        self.read = -1
        self.reached: dict[RoundId, int] = {}
        self.opened: set[RoundId] = set()
        self.keys: dict[int, Digest] = {}

    def _rounds(self) -> list[Round]:
        """All rounds so far, as anybody follows them."""
        head = self.chain.head()
        for event in self.chain.events(self.read, head.number):
            self.history.follow(event)
        self.read = head.number
        return self.history.study(STUDY).rounds

    def _current(self) -> RoundId:
        self._rounds()
        return self.history.study(STUDY).current().id

    def _try(self, call: str, who: int, *arguments: object, **named: object) -> None:
        account = AGGREGATOR if who == 3 else MEMBERS[who]
        try:
            getattr(self.chain.ledger(account), call)(self._current(), *arguments, **named)
        except LedgerRejected:
            return

    @rule(seconds=st.sampled_from([0, 1, 100, 101, 201, 401]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(who=st.integers(0, 2))
    def somebody_commits(self, who: int) -> None:
        self._try("commit_update", who, sha256(b"root"), sha256(b"base"))

    @rule()
    def everybody_commits(self) -> None:
        for who in range(3):
            self.somebody_commits(who)

    @rule()
    def everybody_reveals(self) -> None:
        for who in range(3):
            self._try("reveal_update", who, CID)

    @rule(who=st.integers(0, 2))
    def somebody_reveals(self, who: int) -> None:
        self._try("reveal_update", who, CID)

    @rule(steps=st.integers(1, 5), finisher=st.integers(0, 3))
    def the_round_goes_on_as_it_should(self, steps: int, finisher: int) -> None:
        way = [
            self.everybody_commits,
            self.everybody_reveals,
            lambda: self.the_aggregator_combines(3),
            lambda: [self.somebody_shares(who) for who in (0, 2)],
            lambda: self.somebody_finishes(finisher),
        ]
        for step in way[:steps]:
            step()

    @rule(count=st.integers(2, 3))
    def the_aggregator_combines(self, count: int) -> None:
        self._try("post_total", 3, MEMBERS[:count], sha256(b"total"), CID)

    @rule(who=st.integers(0, 2))
    def somebody_shares(self, who: int) -> None:
        self._try("post_share", who, sha256(b"share"), CID, total=sha256(b"total"))

    @rule(who=st.integers(0, 3))
    def somebody_finishes(self, who: int) -> None:
        model = sha256(bytes([who]))
        self._try("finish", who, sha256(b"opening"), model, opening_cid=CID, model_cid=CID)

    @rule(who=st.integers(0, 2), key=st.sampled_from([b"second key", b"third key"]))
    def somebody_proposes_a_key(self, who: int, key: bytes) -> None:
        with suppress(LedgerRejected):
            self.chain.ledger(MEMBERS[who]).propose_key(STUDY, sha256(key), CID)

    @rule(who=st.sets(st.integers(0, 2)), key=st.sampled_from([b"second key", b"third key"]))
    def some_accept_a_key(self, who: set[int], key: bytes) -> None:
        for index in sorted(who):
            with suppress(LedgerRejected):
                self.chain.ledger(MEMBERS[index]).accept_key(STUDY, sha256(key), 4)

    @rule(who=st.integers(0, 3), reason=st.sampled_from(Reason))
    def somebody_abandons(self, who: int, reason: Reason) -> None:
        self._try("abandon", who, reason)

    @rule(who=st.integers(0, 3), seconds=st.sampled_from([101, 301, 801]))
    def the_round_gets_stuck_and_is_ended(self, who: int, seconds: int) -> None:
        self.now += seconds
        if self._rounds() and isinstance(due := self._rounds()[-1].phase(self.chain.head().time), Overdue):
            self._try("abandon", who, due.reason)

    @invariant()
    def what_was_recorded_is_lawful_and_no_phase_goes_back(self) -> None:
        for round in self._rounds():
            order = _ORDER[type(round.phase(self.chain.head().time))]
            assert order >= self.reached.get(round.id, 0)
            self.reached[round.id] = order

    @invariant()
    def an_opened_round_stays_opened_and_is_never_abandoned(self) -> None:
        for round in self._rounds():
            if round.opened:
                self.opened.add(round.id)
            assert round.opened == (round.id in self.opened)
            assert not (round.opened and isinstance(round.end, RoundAbandoned))

    @invariant()
    def no_round_that_may_be_committed_to_ever_changes_its_key(self) -> None:
        for number in range(1, len(self._rounds()) + 2):
            key = self.history.study(STUDY).key_of(number)
            assert self.keys.setdefault(number, key) == key

    @invariant()
    def epochs_are_in_order_and_no_key_comes_back(self) -> None:
        self._rounds()
        epochs = self.history.study(STUDY).epochs
        assert [epoch.first for epoch in epochs] == sorted(epoch.first for epoch in epochs)
        assert len({epoch.key for epoch in epochs}) == len(epochs)

    @invariant()
    def only_the_last_round_goes_on(self) -> None:
        rounds_ = self._rounds()
        assert all(round.ended for round in rounds_[:-1])
        assert [round.id.number for round in rounds_] == list(range(1, len(rounds_) + 1))


AnyLawfulSequence.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyLawfulSequence = AnyLawfulSequence.TestCase
