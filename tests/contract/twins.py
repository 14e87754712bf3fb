"""The contract and the pure law side by side: every call goes to both, and both have to say the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import httpx
from eth_abi import decode
from eth_account import Account

from deploy.contracts import built, deploy
from deploy.devnet import Devnet
from federation.digest import Digest, LedgerId
from federation.errors import LedgerRejected
from federation.events import Event, LogPosition, RoundId, StudyId, Timestamp
from federation.in_memory import InMemoryChain
from federation.law import History
from federation.ledger.abi import call_data, rejection_of, round_word
from federation.ledger.chain import ChainLedger
from federation.ledger.decoding import event_of
from federation.ledger.ledger import Receipt
from federation.members import ADDRESS_BYTES, Address, Member, Role, SealingKey, parse_address, show_address
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

GAS = hex(5_000_000)
INSTITUTIONS, AGGREGATORS = 4, 3
NOWHERE = LogPosition(0, 0)
ANSWERS = {  # of `postTotal` without members, by whose turn it is, in phases in which it has one answer
    Committing: {"RevealWindowOpen"},
    Revealing: {"RevealWindowOpen"},
    Combining: {"NotYourTurn", "BondTooSmall", "TooFewContributors"},
    Opening: {"TotalAlreadyPosted"},
    Finished: {"TotalAlreadyPosted"},
    Tainted: {"TotalAlreadyPosted"},
}


class Divergence(AssertionError):
    """The contract and the law do not say the same."""


@dataclass(slots=True)
class Deployed:
    """One deployment on Anvil that every run begins anew from, and the nine who call it."""

    devnet: Devnet
    contract: Address = field(init=False)
    everybody: tuple[Address, ...] = field(init=False)  # institutions, aggregators, auditor, stranger
    founders: list[Member] = field(init=False)
    _http: httpx.Client = field(init=False)
    _began: Timestamp = field(init=False)
    _snapshot: str = field(init=False)

    def __post_init__(self) -> None:
        self._http = httpx.Client(trust_env=False, timeout=60.0)
        found = sorted(map(parse_address, self.devnet.rpc("eth_accounts")))
        purse = parse_address(Account.from_key(self.devnet.funded[0]).address)
        self.everybody = tuple(address for address in found if address != purse)
        roles = [Role.INSTITUTION] * INSTITUTIONS + [Role.AGGREGATOR] * AGGREGATORS + [Role.AUDITOR]
        self.founders = [
            Member(address=address, role=role, sealing_key=SealingKey(bytes(32)), name="somebody")
            for address, role in zip(self.everybody, roles, strict=False)
        ]
        self.contract = deploy(self.devnet.url, self.devnet.funded[0], self.founders).address
        self._began = self._newest()
        self._snapshot = str(self.devnet.rpc("evm_snapshot"))

    def begin(self) -> Timestamp:
        """Nothing has happened since the deployment, which was at this time."""
        self.devnet.rpc("evm_revert", self._snapshot)
        self._snapshot = str(self.devnet.rpc("evm_snapshot"))  # reverting to it has used it up
        return self._began

    def say(self, call: dict[str, str], now: Timestamp) -> LedgerRejected | None:
        """What the contract refuses the call with in a block of time `now`; None where it takes it."""
        (answer,) = self.ask([("eth_call", [call, "latest", {}, {"time": hex(now)}])])
        return _refusal(answer)

    def mine(self, call: dict[str, str], now: Timestamp) -> Event:
        """The one event of the call, in a block of time `now`."""
        self.devnet.rpc("evm_setNextBlockTimestamp", now)
        receipt = self.devnet.rpc("eth_sendTransactionSync", call)
        assert int(receipt["status"], 16) == 1, receipt
        (log,) = receipt["logs"]
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        data = bytes.fromhex(log["data"][2:])
        event = event_of(topics, data, at=NOWHERE, time=lambda: Timestamp(int(log["blockTimestamp"], 16)))
        assert event is not None
        return event

    def ask(self, questions: Sequence[tuple[str, list[object]]]) -> list[dict[str, object]]:
        """Answers to all of them, in order, in one request."""
        batch = [
            {"jsonrpc": "2.0", "id": k, "method": method, "params": params}
            for k, (method, params) in enumerate(questions)
        ]
        answers = self._http.post(self.devnet.url, json=batch).json()
        return sorted(answers, key=lambda answer: answer["id"])

    def call(self, sender: Address, to: Address, data: bytes, wei: int = 0) -> dict[str, str]:
        return {
            "from": show_address(sender),
            "to": show_address(to),
            "data": "0x" + data.hex(),
            "value": hex(wei),
            "gas": GAS,
        }

    def _newest(self) -> Timestamp:
        return Timestamp(int(self.devnet.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16))


@dataclass(slots=True, kw_only=True)
class DatedLedger(ChainLedger):
    """The adapter's own calls, each in a block of the time that `twins` says; nobody signs."""

    twins: Twins
    who: Address

    def _call(self, function: str, *arguments: object, to: Address | None = None, wei: int = 0) -> Receipt:
        data = call_data(function, *arguments)
        self.twins.on_chain(self.twins.deployed.call(self.who, to or self.contract, data, wei))
        return Receipt(call=function, at=NOWHERE, gas=0)


@dataclass(slots=True)
class Twins:
    """One run: a fresh law in memory and the contract as it was deployed, at one time that only we move."""

    deployed: Deployed
    now: Timestamp = field(init=False)
    history: History = field(default_factory=History)  # as the chain's events leave it
    refused: str = ""  # the last call's rule; empty if it was taken
    taken: int = 0
    _memory: InMemoryChain = field(init=False)
    _read: int = -1
    _event: Event | None = None

    def __post_init__(self) -> None:
        self.now = self.deployed.begin()
        self._memory = InMemoryChain(self.deployed.founders, lambda: self.now)
        for event in self._new_events():
            self.history.follow(event)

    def attempt(self, who: Address, call: str, *arguments: object, **named: object) -> bool:
        """Whether both took it; raises `Divergence` unless both did, or refused it for one reason."""
        law = self._lawful(who, call, *arguments, **named)
        chain = self._contractual(who, call, *arguments, **named)
        if _words(law) != _words(chain):
            tried = f"{call}{arguments}{named} of {who.hex()} at {self.now}"
            raise Divergence(f"{tried}: the law says {law or 'yes'}, the contract {chain or 'yes'}")
        self.refused = law.rule if law else ""
        if law is None:
            self.taken += 1
            recorded = [replace(event, at=NOWHERE) for event in self._new_events()]
            if recorded != [self._event]:
                raise Divergence(f"the law recorded {recorded}, the contract {self._event}")
            self.history.follow(recorded[0])
        return law is None

    def on_chain(self, call: dict[str, str]) -> None:
        """The contract takes the call, else its error is raised."""
        refusal = self.deployed.say(call, self.now)
        if refusal is not None:
            raise refusal
        self._event = self.deployed.mine(call, self.now)

    def compare(self, study: StudyId) -> None:
        """All that is stored is what the law derives, and the phase what the contract would allow now."""
        followed = self.history.studies[study]
        rounds = [*followed.rounds, Round(id=RoundId(study, len(followed.rounds) + 1), terms=followed.terms)]
        expected: list[object] = [_stored_study(followed)]
        asked = [("studyOf", (study,))]
        for round in rounds:
            word = round_word(round.id)
            asked += [("roundOf", (word,)), ("totalOf", (word,)), ("keyOf", (word,))]
            expected += [_stored_round(round), _stored_total(round), followed.key_of(round.id.number)]
        staked = [(one, who) for one in self.history.studies for who in self.deployed.everybody]
        bonds = [self.history.studies[one].bonds.of(who) for one, who in staked]
        asked += [("bondOf", place) for place in staked]
        expected += [{"amount": bond.amount, "lockedUntil": bond.locked_until} for bond in bonds]
        held = ("eth_getBalance", [show_address(self.deployed.contract), "latest"])
        views = [("eth_call", [self._to_ledger(name, *values), "latest"]) for name, values in asked]
        *answers, balance, ended, combined = self.deployed.ask([*views, held, *self._probes(rounds[-2:][0])])
        for (name, values), answer, due in zip(asked, answers, expected, strict=True):
            found = _viewed(name, str(answer["result"]), due)
            if found != due:
                raise Divergence(f"{name}{values}: the law derives {due}, the contract holds {found}")
        if int(str(balance["result"]), 16) != sum(bond.amount for bond in bonds):
            raise Divergence(f"bonds of {bonds} are held by a contract with {balance['result']} wei")
        self._compare_phase(rounds[-2:][0], _refusal(ended), _refusal(combined))

    def _compare_phase(
        self, round: Round, ended: LedgerRejected | None, combined: LedgerRejected | None
    ) -> None:
        phase = round.phase(self.now)
        due = (
            LedgerRejected("NotOpened", (round.id,))
            if not round.commits
            else _unended(round, phase, self.now)
        )
        if _words(ended) != _words(due):
            raise Divergence(f"phase {phase} at {self.now}: `abandon` has to say {due}, and says {ended}")
        answers = ANSWERS.get(type(phase), set()) if round.commits and round.turns else set()
        if answers and (combined is None or combined.rule not in answers):
            raise Divergence(f"phase {phase} at {self.now}: `postTotal` says {combined}")

    def _probes(self, round: Round) -> list[tuple[str, list[object]]]:
        """Calls that nobody ever takes, and whose refusal tells where the round stands."""
        word, someone = round_word(round.id), round.terms.members[0]
        whose_turn = (*round.turns, someone)[0]
        later: list[object] = ["latest", {}, {"time": hex(self.now)}]
        ended = self._to_ledger("abandon", word, 0, sender=someone)
        combined = self._to_ledger("postTotal", word, [], bytes(32), (bytes(4), bytes(32)), sender=whose_turn)
        return [("eth_call", [ended, *later]), ("eth_call", [combined, *later])]

    def _to_ledger(self, name: str, *values: object, sender: Address | None = None) -> dict[str, str]:
        data = call_data(name, *values)
        return self.deployed.call(sender or self.deployed.everybody[-1], self.deployed.contract, data)

    def _lawful(self, who: Address, call: str, *arguments: object, **named: object) -> LedgerRejected | None:
        try:
            getattr(self._memory.ledger(who), call)(*arguments, **named)
        except LedgerRejected as refusal:
            return refusal
        return None

    def _contractual(
        self, who: Address, call: str, *arguments: object, **named: object
    ) -> LedgerRejected | None:
        ledger = DatedLedger(
            id=LedgerId(bytes(32)),
            contract=self.deployed.contract,
            code_digest=Digest(bytes(32)),
            _nodes=None,
            _finality=None,
            _reader=None,
            _sender=None,
            twins=self,
            who=who,
        )
        try:
            getattr(ledger, call)(*arguments, **named)
        except LedgerRejected as refusal:
            return refusal
        return None

    def _new_events(self) -> Sequence[Event]:
        head = self._memory.head()
        events = self._memory.events(self._read, head.number)
        self._read = head.number
        return events


def _unended(round: Round, phase: Phase, now: Timestamp) -> LedgerRejected:
    """What `abandon` for no reason at all is refused with."""
    match phase:
        case Overdue(reason=reason):
            return LedgerRejected("WrongReason", (reason, 0))
        case Finished() | Abandoned() | Tainted():
            return LedgerRejected("RoundEnded", (round.id,))
        case _:
            return LedgerRejected("NotYet", (round.id, now))


def _stored_study(study: Study) -> dict[str, object]:
    return {
        "latest": len(study.rounds),
        "finished": len(study.finished),
        "accepted": _map(study.accepted, study.terms.members),
        "running": study.is_accepted,
        "idle": _map(study.idle_members, study.terms.members),
    }


def _stored_round(round: Round) -> dict[str, object]:
    terms, phase = round.terms, round.phase(Timestamp(0))
    taken_back = bool(round.rescinded) and round.total is None
    ended = {Finished: 2, Abandoned: 3, Tainted: 4}.get(type(phase), 1)
    if not round.commits:
        return dict.fromkeys(("status", "commits", "reveals", "shares", "commitCloses", "openCloses"), 0)
    return {
        "status": ended,
        "seats": len(terms.members),
        "threshold": terms.threshold,
        "minimum": terms.minimum,
        "commits": _map(round.commits, terms.members),
        "reveals": _map(round.reveals, terms.members),
        "shares": _map(round.shares, terms.members),
        "commitCloses": round.commit_closes,
        "revealCloses": round.reveal_closes,
        "openCloses": _open_closes(round),
        "takenBack": taken_back,
    }


def _open_closes(round: Round) -> Timestamp:
    """Of a total that was taken back: when that was."""
    if round.total is not None:
        return Timestamp(round.total.time + round.terms.windows.open)
    return Timestamp(round.combine_begins or 0) if round.rescinded else Timestamp(0)


def _stored_total(round: Round) -> dict[str, object]:
    terms, none = round.terms, Digest(bytes(32))
    newest = round.total or (round.rescinded[-1] if round.rescinded else None)
    return {
        "root": none if round.total is None else round.total.root,
        "aggregator": show_address(bytes(ADDRESS_BYTES) if newest is None else newest.sender),
        "members": 0 if newest is None else _map(newest.members, terms.members),
        "struck": _map({f.member for f in round.faults if f.member is not None}, terms.members),
        "faulty": _map({fault.aggregator for fault in round.faults}, terms.aggregators),
        "proven": round.verdict is not None,
    }


def _map(among: Iterable[Address], seats: Sequence[Address]) -> int:
    return sum(1 << seats.index(member) for member in among)


def _viewed(name: str, raw: str, due: object) -> object:
    """What the view answered; of a struct the fields that `due` names."""
    kind, names = _output(name)
    (values,) = decode([kind], bytes.fromhex(raw[2:]))
    if not isinstance(due, dict):
        return values
    found = dict(zip(names, values, strict=True))
    return {field: found[field] for field in due}


@cache
def _output(name: str) -> tuple[str, tuple[str, ...]]:
    (entry,) = (e for e in built()["abi"] if e.get("name") == name)
    (output,) = entry["outputs"]
    return _spelt(output), tuple(part["name"] for part in output.get("components", ()))


def _spelt(part: dict[str, object]) -> str:
    if part["type"] != "tuple":
        return str(part["type"])
    return f"({','.join(map(_spelt, part['components']))})"


def _refusal(answer: dict[str, object]) -> LedgerRejected | None:
    if "error" not in answer:
        return None
    data = answer["error"].get("data") or "0x"
    found = rejection_of(bytes.fromhex(data[2:]))
    if not isinstance(found, LedgerRejected):
        raise Divergence(f"the contract failed without a rule of its own: {answer['error']}")
    return found


def _words(refusal: LedgerRejected | None) -> tuple[str, tuple[object, ...]] | None:
    return None if refusal is None else (refusal.rule, tuple(refusal.values))
