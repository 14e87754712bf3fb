"""A consortium on a real chain: every account signs its own transactions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import pytest
from eth_abi import decode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.abi import abi_to_signature, function_signature_to_4byte_selector, get_abi_input_types
from web3 import Web3
from web3.contract import Contract
from web3.types import TxReceipt

from deploy.contracts import Build, built, deploy
from deploy.devnet import Devnet
from federation.ledger.abi import court_of
from federation.members import Address, Member, Role, SealingKey, parse_address
from tests.contract.court import Court

LONG = 1_000_000  # seconds: no test's clock moves that far
SHORT = 100  # seconds: `pass_time` steps over it
GAS = 3_000_000  # explicit, since a refused call cannot be estimated
CIPHERTEXTS, CHUNKS = 20, 64  # leaves of the studies here
GAS_PRICE = 20_000_000_000  # wei
HTTP = httpx.Client(trust_env=False, timeout=120.0)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def cid(text: str) -> tuple[bytes, bytes]:
    return bytes.fromhex("01551220"), digest(text)


def account(name: str) -> LocalAccount:
    return Account.from_key(digest(f"test account {name}"))


@dataclass(slots=True)
class Consortium:
    """The deployed contract and its court; institutions, two aggregators and an auditor who call it."""

    devnet: Devnet
    build: Build
    address: str
    institutions: Sequence[LocalAccount]  # by increasing address
    aggregator: LocalAccount
    standby: LocalAccount  # the second aggregator
    auditor: LocalAccount
    stranger: LocalAccount
    contract: Contract
    court: Contract
    nonces: dict[str, int] = field(default_factory=dict)

    def send(self, sender: LocalAccount, call: str, *arguments: object, wei: int = 0) -> TxReceipt:
        """Mines the call, taken or reverted."""
        contract = self.callee(call)
        nonce = self.nonces.get(sender.address)
        if nonce is None:
            nonce = int(self.devnet.rpc("eth_getTransactionCount", sender.address, "latest"), 16)
        self.nonces[sender.address] = nonce + 1
        signed = sender.sign_transaction(
            {
                "to": contract.address,
                "data": contract.encode_abi(call, arguments),
                "nonce": nonce,
                "gas": GAS,
                "gasPrice": GAS_PRICE,
                "chainId": self.devnet.chain_id,
                "value": wei,
            }
        )
        sent = self.devnet.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        receipt = None
        while receipt is None:
            receipt = self.devnet.rpc("eth_getTransactionReceipt", sent)
        return receipt

    def callee(self, call: str) -> Contract:
        """Whose function it is: the court's are the disputes."""
        return self.court if call.startswith("dispute") else self.contract

    def do(self, sender: LocalAccount, call: str, *arguments: object, wei: int = 0) -> int:
        """The gas of a call that is taken and appends exactly one event."""
        receipt = self.send(sender, call, *arguments, wei=wei)
        assert int(receipt["status"], 16) == 1, self.refusal(sender, call, *arguments)
        assert len(receipt["logs"]) == 1
        return int(receipt["gasUsed"], 16)

    def refusal(
        self, sender: LocalAccount, call: str, *arguments: object, code: str | None = None
    ) -> tuple[str, tuple[object, ...]]:
        """The custom error, by name and values, that the call would end in; were the sender this code."""
        contract = self.callee(call)
        data = contract.encode_abi(call, arguments)
        asked = {"from": sender.address, "to": contract.address, "data": data, "gas": hex(GAS)}
        return self.error_of(asked, {} if code is None else {sender.address: {"code": code}})

    def error_of(self, call: dict[str, str], overrides: object = None) -> tuple[str, tuple[object, ...]]:
        params = [call, "latest", overrides] if overrides else [call, "latest"]
        question = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": params}
        answer = HTTP.post(self.devnet.url, json=question).json()
        assert "error" in answer, "the call would be taken"
        raw = bytes.fromhex(answer["error"]["data"].removeprefix("0x"))
        for entry in (*self.build["abi"], *self.build["court"]["abi"]):
            if entry["type"] == "error":
                selector = function_signature_to_4byte_selector(abi_to_signature(entry))
                if raw[:4] == selector:
                    return entry["name"], decode(get_abi_input_types(entry), raw[4:])
        raise AssertionError(f"no custom error of ours: {answer['error']}")

    def view(self, call: str, *arguments: object):
        function = self.contract.get_function_by_name(call)(*arguments)
        data = function._encode_transaction_data()
        raw = self.devnet.rpc("eth_call", {"to": self.address, "data": data}, "latest")
        entry = next(e for e in self.build["abi"] if e.get("name") == call)
        (output,) = entry["outputs"]
        kind = output["type"]
        if kind == "tuple":
            kind = f"({','.join(_flat(part) for part in output['components'])})"
            (values,) = decode([kind], bytes.fromhex(raw[2:]))
            return dict(zip((part["name"] for part in output["components"]), values, strict=True))
        return decode([kind], bytes.fromhex(raw[2:]))[0]

    def pass_time(self, seconds: int = SHORT + 1) -> None:
        self.devnet.advance(seconds)

    def propose_key(self, study: int, who: LocalAccount, key: str) -> int:
        return self.do(who, "proposeKey", study, digest(key), cid(f"document of {key}"))

    def accept_key(self, study: int, who: Sequence[LocalAccount], key: str) -> list[int]:
        return [self.do(m, "acceptKey", study, digest(key), CIPHERTEXTS) for m in who]

    def adopt_key(self, study: int, key: str, n: int = 4) -> None:
        """The key is proposed by the first member and accepted by all."""
        self.propose_key(study, self.institutions[0], key)
        self.accept_key(study, self.institutions[:n], key)

    def keys(self, study: int, *numbers: int) -> list[bytes]:
        """Which keys rule the rounds of these numbers."""
        return [self.view("keyOf", round_id(study, number)) for number in numbers]

    # -------------------------------------------------------------- a round's way

    def terms(self, n: int = 4, **changes: object) -> tuple[object, ...]:
        fields = {
            "digest": digest("spec"),
            "cid": cid("spec"),
            "key": digest("first key"),
            "leaves": (2, CIPHERTEXTS, CHUNKS, digest("binding")),
            "members": [m.address for m in self.institutions[:n]],
            "aggregators": [self.aggregator.address],
            "threshold": 2,
            "minimum": 3,
            "rounds": 2,
            "windows": (LONG, LONG, LONG, LONG),
            "stake": (0, 0, "0x" + "00" * 20),
        }
        assert changes.keys() <= fields.keys()
        return tuple((fields | changes).values())

    def study(self, n: int = 4, *, accepted: int | None = None, **changes: object) -> int:
        """A new study, accepted by its first `accepted` members; all by default."""
        self.do(self.auditor, "createStudy", self.terms(n, **changes))
        study = self.view("studies")
        for member in self.institutions[: n if accepted is None else accepted]:
            self.do(member, "acceptStudy", study, digest("spec"))
        return study

    def commit(
        self, round: int, who: Sequence[LocalAccount], roots: Sequence[bytes] | None = None
    ) -> list[int]:
        base, given = digest("base"), roots or [digest(f"{round}{m.address}") for m in who]
        return [self.do(m, "commitUpdate", round, root, base) for m, root in zip(who, given, strict=True)]

    def reveal(self, round: int, who: Sequence[LocalAccount]) -> list[int]:
        return [self.do(m, "revealUpdate", round, cid(f"{round}{m.address}")) for m in who]

    def total(self, round: int, who: Sequence[LocalAccount], root: bytes | None = None) -> int:
        members, posted = [m.address for m in who], root or digest(f"total {round}")
        return self.do(self.aggregator, "postTotal", round, members, posted, cid("total"))

    def posted(self, study: int, who: Sequence[LocalAccount], roots: Sequence[bytes], total: bytes) -> int:
        """The study's first round, in which these updates were posted as this total."""
        round = round_id(study, 1)
        self.commit(round, who, roots)
        self.reveal(round, who)
        self.total(round, who, total)
        return round

    def share(self, round: int, who: Sequence[LocalAccount]) -> list[int]:
        total = digest(f"total {round}")
        return [
            self.do(m, "postShare", round, total, digest(f"share {m.address}"), cid("share")) for m in who
        ]

    def finish(self, round: int, who: LocalAccount, model: str = "model") -> int:
        return self.do(who, "finish", round, digest("opening"), digest(model), cid("opening"), cid(model))

    def opened(self, study: int, number: int = 1, *, members: int = 4, shares: int = 2) -> int:
        """A round in which `members` went all the way, and the first `shares` gave their share."""
        round = round_id(study, number)
        who = self.institutions[:members]
        self.commit(round, who)
        self.reveal(round, who)
        self.total(round, who)
        self.share(round, who[:shares])
        return round


def round_id(study: int, number: int) -> int:
    return study << 32 | number


def founder(who: LocalAccount, role: Role, name: str) -> Member:
    address = Address(bytes.fromhex(who.address[2:]))
    return Member(address=address, role=role, sealing_key=SealingKey(digest(name)), name=name)


@pytest.fixture(scope="session")
def consortium(devnet: Devnet) -> Consortium:
    return founded(devnet)


def founded(devnet: Devnet, *, institutions: int = 32) -> Consortium:
    """A consortium on a contract of its own."""
    accounts = (account(f"institution {i}") for i in range(institutions))
    hospitals = sorted(accounts, key=lambda a: int(a.address, 16))
    aggregator, standby = account("aggregator"), account("second aggregator")
    auditor, stranger = account("auditor"), account("stranger")
    members = [founder(m, Role.INSTITUTION, f"Hospital {i}") for i, m in enumerate(hospitals)]
    members += [founder(aggregator, Role.AGGREGATOR, "Sums"), founder(auditor, Role.AUDITOR, "Eyes")]
    members += [founder(standby, Role.AGGREGATOR, "Spare")]
    devnet.fund_all([*(member.address for member in members), parse_address(stranger.address)], 10**18)
    found = deploy(devnet.url, devnet.funded[0], members)
    address = Web3.to_checksum_address(found.address)
    return Consortium(
        devnet=devnet,
        build=built(),
        address=address,
        contract=Web3().eth.contract(address=address, abi=built()["abi"]),
        court=Web3().eth.contract(
            address=Web3.to_checksum_address(court_of(found.address)), abi=built()["court"]["abi"]
        ),
        institutions=hospitals,
        aggregator=aggregator,
        standby=standby,
        auditor=auditor,
        stranger=stranger,
    )


@pytest.fixture(scope="session")
def judge() -> Build:
    return built()["court"]


@pytest.fixture(scope="session")
def court(devnet: Devnet, judge: Build) -> Court:
    return Court(devnet, judge)


def _flat(part: dict[str, object]) -> str:
    if part["type"] != "tuple":
        return part["type"]
    return f"({','.join(_flat(inner) for inner in part['components'])})"
