"""A stranger's reading of the ledger, from PROTOCOL.md alone (§3.3, §5): its law, call by call.

It shares no code with the package. One study a contract; what CIDs look like is left to the audit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .second_judge import Bench, Charge, Claim, judge
from .second_log import (
    Abandon,
    AcceptKey,
    AcceptStudy,
    CommitUpdate,
    CreateStudy,
    DepositBond,
    Dispute,
    Finish,
    FollowRoster,
    Line,
    Member,
    PostShare,
    PostTotal,
    ProposeKey,
    RevealUpdate,
    Say,
    Sentence,
    Terms,
    Vote,
    WithdrawBond,
)
from .second_parts import Mismatch, demand
from .second_roster import ACTIVE, AGGREGATOR, INSTITUTION, Roster

NOBODY = bytes(20)


@dataclass
class Total:
    """One that was posted."""

    members: list[bytes]
    root: bytes
    aggregator: bytes  # the account that posted it
    time: int


@dataclass
class Round:
    """§5: a round as its events leave it."""

    terms: Terms
    number: int
    commits: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # root, base model
    commit_times: list[int] = field(default_factory=list)
    reveals: dict[bytes, int] = field(default_factory=dict)  # when
    total: Total | None = None  # which stands
    taken_back: int | None = None  # when the last total was
    guilty: list[bytes] = field(default_factory=list)  # aggregators
    struck: list[bytes] = field(default_factory=list)
    faults: list[tuple[Total, Sentence]] = field(default_factory=list)
    shares: dict[bytes, bytes] = field(default_factory=dict)  # digest
    proposals: dict[bytes, Finish] = field(default_factory=dict)
    confirmed: list[bytes] = field(default_factory=list)
    end: str = ""  # Abandoned or Tainted
    reason: int = 0

    @property
    def over(self) -> bool:
        return bool(self.proposals or self.end)

    def committing_ended(self, now: int) -> int | None:
        """When, if it has."""
        if len(self.commits) == len(self.terms.institutions):
            return self.commit_times[-1]
        end = self.commit_times[0] + self.terms.windows[0] if self.commit_times else now
        return end if now > end else None

    def revealing_ended(self, now: int) -> int | None:
        """When, if it has."""
        begun = self.committing_ended(now)
        if begun is None or len(self.commits) < self.terms.minimum:
            return None
        if len(self.reveals) == len(self.commits):
            return max(self.reveals.values())
        end = begun + self.terms.windows[1]
        return end if now > end else None

    def turns(self, now: int) -> list[tuple[int, bytes]]:
        """§5.8: after which moment each aggregator may post; last, after which nobody may."""
        begun = self.revealing_ended(now) if self.taken_back is None else self.taken_back
        if begun is None or len(self.reveals) < self.terms.minimum:
            raise Mismatch("§5", "not in Combining")
        places = range(self.number - 1, self.number - 1 + len(self.terms.aggregators))
        rotated = [self.terms.aggregators[place % len(self.terms.aggregators)] for place in places]
        order = [a for a in rotated if a not in self.guilty]
        return [(begun + k * self.terms.windows[2], a) for k, a in enumerate([*order, NOBODY])]

    def true_reasons(self, now: int) -> set[int]:
        """§5: those for which the round may be given up now."""
        if self.over:
            return set()
        if self.total is not None:
            return self.reasons_while_open(now, self.total.time + self.terms.windows[3])
        if len(self.commits) < self.terms.minimum:
            return set() if self.committing_ended(now) is None else {1}
        ended = self.revealing_ended(now)
        if ended is None:
            return set()
        if len(set(self.reveals) - set(self.struck)) < self.terms.minimum and now > ended:
            return {2}
        return {3} if now > self.turns(now)[-1][0] else set()

    def reasons_while_open(self, now: int, end: int) -> set[int]:
        """§5, from a total on whose shares are taken until `end`."""
        if len(self.shares) >= self.terms.threshold:
            return {6} if now > end + self.terms.windows[3] else set()
        return {5 if self.shares else 4} if now > end else set()


class Ledger:
    """§5: the study and its rounds after some calls, each of which was lawful."""

    def __init__(self, study: int, lines: Iterable[Line]) -> None:
        self.study, self.now = study, 0
        self.roster = Roster()
        self.names: dict[bytes, bytes] = {}  # §5.10: of each account with a seat, as the document has it
        self.idle: set[bytes] = set()  # accounts
        self.accepted: set[bytes] = set()
        self.proposed: dict[bytes, list[tuple[bytes, bytes]]] = {}  # by key: proposer, document
        self.consents: dict[bytes, dict[bytes, int]] = {}  # by key: member, number of ciphertexts
        self.epochs: list[tuple[int, bytes, int]] = []  # first round, key, number of ciphertexts
        self.rounds: list[Round] = []
        self.bonds: dict[bytes, int] = {}  # wei
        self.locks: dict[bytes, int] = {}
        for line in lines:
            self.take(line)

    def take(self, line: Line) -> None:
        """One more call, or `Mismatch`."""
        demand(line.time >= self.now, "§5", "block time falls")
        self.now = line.time
        match line.call:
            case Member() as founder:
                self.roster.join(founder)
            case Vote() as motion:
                self.roster.vote(line.sender, line.time, motion)
            case FollowRoster() as told:
                self.follow_roster(told)
            case CreateStudy(terms):
                self.create(line.sender, terms)
            case DepositBond() | WithdrawBond() as call:
                self.bond(line.sender, call)
            case Dispute(number) as call:
                self.dispute(line.sender, self.round(number), call)
            case call:
                self.take_seated(self.seated(line.sender), line.sender, call)

    def create(self, proposer: bytes, terms: Terms) -> None:
        """§5.10, §3.1: among accounts that are active, in their roles, while no other contract took over."""
        demand(bool(self.roster.role(proposer)), "§5.10", "proposed by nobody of the consortium")
        demand(self.roster.successor is None, "§5.10", "another contract took over")
        demand(1 <= len(terms.aggregators) <= 3, "§3.2", "aggregators")
        for account in terms.institutions:
            demand(self.roster.role(account) == INSTITUTION, "§5.10", "no active institution")
        for account in terms.aggregators:
            demand(self.roster.role(account) == AGGREGATOR, "§5.10", "no active aggregator")
        self.terms = terms
        self.names = {account: account for account in (*terms.institutions, *terms.aggregators)}
        self.epochs.append((1, terms.key, terms.leaves[1]))

    # ------------------------------------------------------------ §5.10: seats

    def follow_roster(self, told: FollowRoster) -> None:
        demand(told.account in self.names, "§5.10", "an account without a seat")
        found = self.roster.known[told.account]
        demand(
            (told.state, told.heir) == (found.state, found.heir),
            "§5.10",
            "the account's state or heir",
        )
        idle = found.state != ACTIVE
        moves = found.heir is not None and found.heir not in self.names
        demand(moves or idle != (told.account in self.idle), "§5.10", "nothing to follow")
        self.set_idle(told.account, idle)
        if found.heir is not None and moves:
            self.names[found.heir] = self.names[told.account]
            self.set_idle(found.heir, not self.roster.role(found.heir))

    def set_idle(self, account: bytes, idle: bool) -> None:
        self.idle = self.idle | {account} if idle else self.idle - {account}

    def seated(self, account: bytes) -> bytes:
        """Whose seat it is, by the document's name; that of strangers is their own."""
        demand(account not in self.idle, "§5.10", "the seat is idle")
        return self.names.get(account, account)

    def is_idle(self, name: bytes) -> bool:
        """Whether nobody may act in the seat."""
        return all(account in self.idle for account, known in self.names.items() if known == name)

    # ------------------------------------------------------------ calls

    def bond(self, account: bytes, call: DepositBond | WithdrawBond) -> None:
        """§5.9."""
        demand(call.study == self.study, "§5.9", "of another study")
        held = self.bonds.get(account, 0)
        if isinstance(call, DepositBond):
            demand(self.seated(account) in self.terms.aggregators, "§5.9", "no aggregator of this study")
            demand(call.wei > 0, "§5.9", "nothing deposited")
            self.bonds[account] = held + call.wei
            return
        demand(0 < call.wei <= held, "§5.9", "more than is its own")
        demand(self.now > self.locks.get(account, -1), "§5.9", "locked")
        self.bonds[account] = held - call.wei

    def take_seated(self, name: bytes, account: bytes, call: object) -> None:
        """By `account`, in its seat: §5.10."""
        match call:
            case AcceptStudy(digest):
                self.seat(name)
                demand(digest == self.terms.digest and name not in self.accepted, "§3.1", "acceptance")
                self.accepted.add(name)
            case ProposeKey():
                self.propose_key(name, call)
            case AcceptKey():
                self.accept_key(name, call)
            case PostTotal(number):
                self.post_total(name, account, self.round(number), call)
            case _:
                self.act(name, call)

    def seat(self, member: bytes) -> int:
        demand(member in self.terms.institutions, "§5", "not an institution of this study")
        return list(self.terms.institutions).index(member) + 1

    @property
    def complete(self) -> bool:
        return sum(bool(round.proposals) for round in self.rounds) >= self.terms.rounds

    # ------------------------------------------------------------ §3.3: keys

    def running(self, member: bytes) -> None:
        self.seat(member)
        demand(len(self.accepted) == len(self.terms.institutions), "§3.3", "not everybody accepted the study")
        demand(not self.complete, "§3.3", "the study is complete")

    def propose_key(self, member: bytes, call: ProposeKey) -> None:
        self.running(member)
        demand(all(call.key != adopted for _, adopted, _ in self.epochs), "§3.3", "a key comes back")
        so_far = self.proposed.setdefault(call.key, [])
        demand(member not in dict(so_far), "§3.3", "proposed twice by one")
        demand(call.key != bytes(32), "§3.3", "no digest")
        so_far.append((member, call.document))

    def accept_key(self, member: bytes, call: AcceptKey) -> None:
        self.running(member)
        demand(call.key != self.terms.key, "§3.3", "a key comes back")
        demand(bool(self.proposed.get(call.key)), "§3.3", "a key that nobody proposed")
        consents = self.consents.setdefault(call.key, {})
        demand(member not in consents, "§3.3", "accepted twice by one")
        demand(not consents or call.ciphertexts in consents.values(), "§3.3", "number of ciphertexts")
        consents[member] = call.ciphertexts
        waited_for = [member for member in self.terms.institutions if not self.is_idle(member)]
        agreed = len(consents) >= self.terms.minimum and set(waited_for) <= set(consents)
        if agreed and all(call.key != adopted for _, adopted, _ in self.epochs):
            self.epochs.append((len(self.rounds) + 2, call.key, call.ciphertexts))

    def epoch_of(self, round: int) -> tuple[int, bytes, int]:
        """The last in the list whose first round is not later."""
        return [epoch for epoch in self.epochs if epoch[0] <= round][-1]

    # ------------------------------------------------------------ §5: rounds

    def round(self, number: int) -> Round:
        demand(1 <= number <= len(self.rounds), "§5", "no such round")
        return self.rounds[number - 1]

    def act(self, sender: bytes, call: object) -> None:
        match call:
            case CommitUpdate():
                self.commit(sender, call)
            case RevealUpdate(number):
                self.reveal(sender, self.round(number))
            case PostShare(number):
                self.post_share(sender, self.round(number), call)
            case Finish(number):
                self.finish(sender, self.round(number), call)
            case Say(number, confirms):
                self.say(sender, self.round(number), confirms)
            case Abandon(number):
                self.abandon(sender, self.round(number), call)
            case _:
                raise TypeError(call)

    def commit(self, member: bytes, call: CommitUpdate) -> None:
        self.seat(member)
        demand(len(self.accepted) == len(self.terms.institutions), "§3.1", "not everybody accepted the study")
        if call.round == len(self.rounds) + 1 and (not self.rounds or self.rounds[-1].over):
            demand(not self.complete, "§5", "the study is complete")
            self.rounds.append(Round(self.terms, call.round))
        round = self.round(call.round)
        demand(not round.over and round.committing_ended(self.now) is None, "§5", "committing is over")
        demand(member not in round.commits, "§5", "committed twice")
        demand(call.root != bytes(32) and call.base != bytes(32), "§5", "no digest")
        round.commits[member] = call.root, call.base
        round.commit_times.append(self.now)

    def reveal(self, member: bytes, round: Round) -> None:
        demand(not round.over and round.total is None, "§5", "not in Revealing")
        demand(round.committing_ended(self.now) is not None, "§5", "not in Revealing")
        demand(len(round.commits) >= self.terms.minimum, "§5", "fewer commits than the minimum")
        demand(round.revealing_ended(self.now) is None, "§5", "revealing is over")
        demand(member in round.commits and member not in round.reveals, "§5", "reveal")
        round.reveals[member] = self.now

    def post_total(self, sender: bytes, account: bytes, round: Round, call: PostTotal) -> None:
        """§5.8 by the name of the seat, §5.9 by the account's own bond."""
        demand(not round.over and round.total is None, "§5", "not in Combining")
        *turns, (last, _) = round.turns(self.now)
        begun = [moment for moment, aggregator in turns if aggregator == sender]
        demand(bool(begun), "§5.8", "no aggregator of this study, or one at fault")
        demand(begun[0] == turns[0][0] or self.now > begun[0], "§5.8", "before its turn")
        demand(self.now <= last, "§5.8", "after the last turn")
        members = list(call.members)
        demand(members == sorted(set(members)) and set(members) <= set(round.reveals), "§5", "members")
        demand(not set(members) & set(round.struck), "§5.7", "a struck member")
        demand(len(members) >= self.terms.minimum, "§5", "fewer members than the minimum")
        gwei, seconds, _ = self.terms.stake
        demand(self.bonds.get(account, 0) >= gwei * 10**9, "§5.9", "a bond below the stake")
        self.locks[account] = max(self.locks.get(account, 0), self.now + seconds)
        round.total = Total(members, call.root, account, self.now)

    def post_share(self, member: bytes, round: Round, call: PostShare) -> None:
        self.seat(member)
        total = round.total
        if total is None or round.end:
            raise Mismatch("§5", "no total to share in")
        demand(call.total == total.root, "§5.4", "a share for another total")
        demand(member not in round.shares, "§5", "shared twice")
        in_time = bool(round.proposals) or self.now <= total.time + self.terms.windows[3]
        demand(in_time, "§5", "the window of shares is over")
        round.shares[member] = call.digest

    def party(self, sender: bytes) -> None:
        demand(sender in {*self.terms.institutions, *self.terms.aggregators}, "§5", "no party of this study")

    def finish(self, sender: bytes, round: Round, call: Finish) -> None:
        self.party(sender)
        demand(not round.end and len(round.shares) >= self.terms.threshold, "§5", "finished without t shares")
        demand(sender not in round.proposals, "§5", "proposed twice")
        round.proposals[sender] = call

    def say(self, sender: bytes, round: Round, confirms: bytes) -> None:
        """§5.5: by institutions; a word of confirmation once."""
        self.seat(sender)
        demand(bool(round.proposals), "§5", "not finished")
        if confirms:
            demand(sender not in round.confirmed, "§5", "confirmed twice")
            round.confirmed.append(sender)

    def abandon(self, sender: bytes, round: Round, call: Abandon) -> None:
        self.party(sender)
        demand(call.reason in round.true_reasons(self.now), "§5", "not the reason")
        demand(call.tainted == bool(round.shares), "§5", "abandoned or tainted")
        round.end, round.reason = "Tainted" if call.tainted else "Abandoned", call.reason

    # ------------------------------------------------------------ §5.7, §5.9: verdicts

    def bench(self, round: Round, total: Total) -> Bench:
        """What the court believes."""
        suite, _, bodies, binding = self.terms.leaves
        _, key, capsules = self.epoch_of(round.number)
        return Bench(
            study=self.study,
            round=round.number,
            suite=suite,
            capsules=capsules,
            bodies=bodies,
            key=key,
            binding=binding,
            total=total.root,
            roots={member: round.commits[member][0] for member in total.members},
        )

    def due(self, sender: bytes, total: Total, charge: Claim) -> Sentence:
        """What the event says of a charge that holds."""
        gwei, _, treasury = self.terms.stake
        return Sentence(
            aggregator=total.aggregator,
            member=charge.member,
            fault=charge.fault,
            leaf=charge.leaf,
            slashed=min(gwei * 10**9, self.bonds.get(total.aggregator, 0)),
            beneficiary=sender if treasury == NOBODY else treasury,
        )

    def dispute(self, sender: bytes, round: Round, call: Dispute) -> None:
        """The charge holds, and the sentence is the one that is due."""
        total, told = round.total, call.sentence
        if total is None or any(total is judged for judged, _ in round.faults):
            raise Mismatch("§5.7", "no total whose fault was not proven before")
        charge = call.charge or Claim(told.fault, told.member, told.leaf)
        if isinstance(charge, Charge):
            judge(self.bench(round, total), charge)
        demand(charge.member is None or charge.member in total.members, "§5.7", "not a member of the total")
        due = self.due(sender, total, charge)
        money = told.slashed, told.beneficiary
        demand(money == (due.slashed, due.beneficiary), "§5.9", "what is slashed, or who gets it")
        demand(told == due, "§5.7", "sentence for another charge")
        self.bonds[total.aggregator] = self.bonds.get(total.aggregator, 0) - told.slashed
        self.bonds[told.beneficiary] = self.bonds.get(told.beneficiary, 0) + told.slashed
        round.faults.append((total, told))
        round.guilty.append(self.names[total.aggregator])
        round.struck += [told.member] if told.member is not None else []
        if round.over:
            return
        if round.shares:
            round.end, round.reason = "Tainted", 7
        else:
            round.total, round.taken_back = None, self.now
