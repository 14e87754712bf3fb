"""The contract and the pure law side by side: every call goes to both, and both have to say the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from http.client import HTTPConnection
from urllib.parse import urlsplit

from eth_abi import decode
from eth_account import Account

from deploy.contracts import built, deploy
from deploy.devnet import Devnet
from federation.digest import Digest, LedgerId
from federation.errors import LedgerRejected
from federation.events import Event, LogPosition, RoundId, StudyId, Timestamp
from federation.governance import Consortium
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
from federation.telemetry import SILENT

GAS = hex(5_000_000)
INSTITUTIONS, AGGREGATORS = 4, 3
FIRST_AGGREGATOR_SEAT = 33
HEIRS = tuple(Address(bytes([0xE0 + k]) * 20) for k in range(4))  # on no roster until somebody is replaced
PURSE = 10**24  # wei
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
    """One deployment on Anvil that every run begins anew from, and those who call it."""

    devnet: Devnet
    contract: Address = field(init=False)
    everybody: tuple[Address, ...] = field(init=False)  # institutions, aggregators, auditor, stranger, heirs
    founders: list[Member] = field(init=False)
    _http: HTTPConnection = field(init=False)  # a plain one: it is asked ten thousand times
    _began: Timestamp = field(init=False)
    _snapshot: str = field(init=False)

    def __post_init__(self) -> None:
        self._http = HTTPConnection(urlsplit(self.devnet.url).netloc, timeout=60.0)
        found = sorted(map(parse_address, self.devnet.rpc("eth_accounts")))
        purse = parse_address(Account.from_key(self.devnet.funded[0]).address)
        self.everybody = (*(address for address in found if address != purse), *HEIRS)
        self.devnet.rpc("anvil_autoImpersonateAccount", True)  # nobody holds the heirs' keys
        for heir in HEIRS:
            self.devnet.rpc("anvil_setBalance", show_address(heir), hex(PURSE))
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
        # Reverting to a snapshot uses it up.
        _, taken = self.ask([("evm_revert", [self._snapshot]), ("evm_snapshot", [])])
        self._snapshot = str(taken["result"])
        return self._began

    def say(self, call: dict[str, str], now: Timestamp) -> LedgerRejected | None:
        """What the contract refuses the call with in a block of time `now`; None where it takes it."""
        (answer,) = self.ask([("eth_call", [call, "latest", {}, {"time": hex(now)}])])
        return _refusal(answer)

    def mine(self, call: dict[str, str], now: Timestamp) -> Event:
        """The one event of the call, in a block of time `now`."""
        _, sent = self.ask([("evm_setNextBlockTimestamp", [now]), ("eth_sendTransactionSync", [call])])
        receipt = sent["result"]
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
        self._http.request("POST", "/", json.dumps(batch), {"Content-Type": "application/json"})
        answers = json.loads(self._http.getresponse().read())
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
    _compared: int = -1  # `taken` when all that is stored was compared last
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
        if self._compared != self.taken:  # refused calls are never mined, so they leave nothing
            self._compare_stored(self.history.studies[study])
            self._compared = self.taken
        self._compare_phase(self.history.studies[study])

    def _compare_stored(self, study: Study) -> None:
        rounds = [*study.rounds, Round(id=RoundId(study.id, len(study.rounds) + 1), terms=study.terms)]
        expected: list[object] = [_stored_study(study)]
        asked: list[tuple[str, tuple[object, ...]]] = [("studyOf", (study.id,))]
        for round in rounds:
            word = round_word(round.id)
            asked += [("roundOf", (word,)), ("totalOf", (word,)), ("keyOf", (word,))]
            expected += [_stored_round(round), _stored_total(round), study.key_of(round.id.number)]
        staked = [(one, who) for one in self.history.studies for who in self.deployed.everybody]
        bonds = [self.history.studies[one].bonds.of(who) for one, who in staked]
        asked += [("bondOf", place) for place in staked]
        expected += [{"amount": bond.amount, "lockedUntil": bond.locked_until} for bond in bonds]
        consortium = self.history.consortium
        asked += [("quorum", ()), ("successor", ())]
        expected += [consortium.quorum, _stored_successor(consortium)]
        for who in self.deployed.everybody:
            asked += [("standingOf", (who,)), ("memberOf", (who,)), ("seatOf", (study.id, who))]
            expected += [
                _stored_standing(consortium, who),
                _stored_member(consortium, who),
                _seat(study, who),
            ]
        held = ("eth_getBalance", [show_address(self.deployed.contract), "latest"])
        views = [("eth_call", [self._to_ledger(name, *values), "latest"]) for name, values in asked]
        *answers, balance = self.deployed.ask([*views, held])
        for (name, values), answer, due in zip(asked, answers, expected, strict=True):
            found = _viewed(name, str(answer["result"]), due)
            if found != due:
                raise Divergence(f"{name}{values}: the law derives {due}, the contract holds {found}")
        if int(str(balance["result"]), 16) != sum(bond.amount for bond in bonds):
            raise Divergence(f"bonds of {bonds} are held by a contract with {balance['result']} wei")

    def _compare_phase(self, study: Study) -> None:
        """What the contract refuses calls with that nobody ever takes tells where the newest round stands."""
        round = study.rounds[-1] if study.rounds else study.current()
        phase, word, none = round.phase(self.now), round_word(round.id), (bytes(4), bytes(32))
        someone = _acting(study, (*study.terms.members, *study.terms.aggregators))
        whose_turn = _acting(study, round.turns[:1] or (someone,))
        later: list[object] = ["latest", {}, {"time": hex(self.now)}]
        calls = [
            self._to_ledger("abandon", word, 0, sender=someone),
            self._to_ledger("postTotal", word, [], bytes(32), none, sender=whose_turn),
        ]
        ended, combined = map(_refusal, self.deployed.ask([("eth_call", [call, *later]) for call in calls]))
        due = (
            LedgerRejected("SeatIdle", (study.id, someone))
            if someone in study.idle
            else _unended(round, phase, self.now)
        )
        if _words(ended) != _words(due):
            raise Divergence(f"phase {phase} at {self.now}: `abandon` has to say {due}, and says {ended}")
        answers = ANSWERS.get(type(phase), set()) if round.commits and round.turns else set()
        if whose_turn in study.idle:
            answers = {"SeatIdle"}
        if answers and (combined is None or combined.rule not in answers):
            raise Divergence(f"phase {phase} at {self.now}: `postTotal` says {combined}")

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
            _telemetry=SILENT,
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
    if not round.commits:
        return LedgerRejected("NotOpened", (round.id,))
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
        "aggregator": show_address(round.bonded or Address(bytes(ADDRESS_BYTES))),
        "members": 0 if newest is None else _map(newest.members, terms.members),
        "struck": _map({f.member for f in round.faults if f.member is not None}, terms.members),
        "faulty": _map({fault.aggregator for fault in round.faults}, terms.aggregators),
        "proven": round.verdict is not None,
    }


def _stored_standing(consortium: Consortium, who: Address) -> dict[str, object]:
    standing = consortium.standing(who)
    heir = bytes(ADDRESS_BYTES) if standing.heir is None else standing.heir
    return {"state": standing.state, "voter": standing.voter, "heir": show_address(Address(heir))}


def _stored_member(consortium: Consortium, who: Address) -> dict[str, object]:
    member = consortium.members.get(who)
    if member is None:
        return {"account": show_address(Address(bytes(ADDRESS_BYTES))), "role": 0}
    return {"account": show_address(who), "role": member.role, "sealingKey": member.sealing_key}


def _stored_successor(consortium: Consortium) -> tuple[object, ...]:
    over = consortium.successor
    if over is None:
        return show_address(Address(bytes(ADDRESS_BYTES))), bytes(32)
    return show_address(over.subject), over.code


def _seat(study: Study, account: Address) -> int:
    name, terms = study.name_of(account), study.terms
    if name in terms.members:
        return 1 + terms.members.index(name)
    return FIRST_AGGREGATOR_SEAT + terms.aggregators.index(name) if name in terms.aggregators else 0


def _acting(study: Study, names: Sequence[Address]) -> Address:
    """An account that may act for one of these, the first preferred; else the first, whose seat is idle."""
    accounts = [account for name in names for account in (name, *_heirs(study, name))]
    return next((account for account in accounts if account not in study.idle), accounts[0])


def _heirs(study: Study, name: Address) -> list[Address]:
    return [account for account, known in study.heirs.items() if known == name]


def _map(among: Iterable[Address], seats: Sequence[Address]) -> int:
    return sum(1 << seats.index(member) for member in among)


def _viewed(name: str, raw: str, due: object) -> object:
    """What the view answered; of a struct the fields that `due` names."""
    values, names = _decoded(name, raw)
    if isinstance(due, tuple):
        return values
    (value,) = values
    if not isinstance(due, dict):
        return value
    found = dict(zip(names, value, strict=True))
    return {field: found[field] for field in due}


@lru_cache(maxsize=10_000)
def _decoded(name: str, raw: str) -> tuple[tuple[object, ...], tuple[str, ...]]:
    """Most answers are those of the step before."""
    kinds, names = _output(name)
    return decode(kinds, bytes.fromhex(raw[2:])), names


@cache
def _output(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    (entry,) = (e for e in built()["abi"] if e.get("name") == name)
    outputs = entry["outputs"]
    return tuple(map(_spelt, outputs)), tuple(part["name"] for part in outputs[0].get("components", ()))


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
