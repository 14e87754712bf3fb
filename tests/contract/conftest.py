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
from federation.members import Address, Member, Role, SealingKey

LONG = 1_000_000  # seconds: no test's clock moves that far
SHORT = 100  # seconds: `pass_time` steps over it
GAS = 3_000_000  # explicit, since a refused call cannot be estimated
GAS_PRICE = 20_000_000_000  # wei
HTTP = httpx.Client(trust_env=False)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def cid(text: str) -> tuple[bytes, bytes]:
    return bytes.fromhex("01551220"), digest(text)


def account(name: str) -> LocalAccount:
    return Account.from_key(digest(f"test account {name}"))


@dataclass(slots=True)
class Consortium:
    """The deployed contract, and 32 institutions, an aggregator and an auditor who call it."""

    devnet: Devnet
    build: Build
    address: str
    institutions: Sequence[LocalAccount]  # by increasing address
    aggregator: LocalAccount
    auditor: LocalAccount
    stranger: LocalAccount
    contract: Contract
    nonces: dict[str, int] = field(default_factory=dict)

    def send(self, sender: LocalAccount, call: str, *arguments: object) -> TxReceipt:
        """Mines the call, taken or reverted."""
        nonce = self.nonces.get(sender.address, 0)
        self.nonces[sender.address] = nonce + 1
        signed = sender.sign_transaction(
            {
                "to": self.address,
                "data": self.contract.encode_abi(call, arguments),
                "nonce": nonce,
                "gas": GAS,
                "gasPrice": GAS_PRICE,
                "chainId": self.devnet.chain_id,
                "value": 0,
            }
        )
        sent = self.devnet.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        receipt = None
        while receipt is None:
            receipt = self.devnet.rpc("eth_getTransactionReceipt", sent)
        return receipt

    def do(self, sender: LocalAccount, call: str, *arguments: object) -> int:
        """The gas of a call that is taken and appends exactly one event."""
        receipt = self.send(sender, call, *arguments)
        assert int(receipt["status"], 16) == 1, self.refusal(sender, call, *arguments)
        assert len(receipt["logs"]) == 1
        return int(receipt["gasUsed"], 16)

    def refusal(self, sender: LocalAccount, call: str, *arguments: object) -> tuple[str, tuple[object, ...]]:
        """The custom error, by name and values, that the call would end in."""
        data = self.contract.encode_abi(call, arguments)
        return self.error_of({"from": sender.address, "to": self.address, "data": data, "gas": hex(GAS)})

    def error_of(self, call: dict[str, str]) -> tuple[str, tuple[object, ...]]:
        question = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
        answer = HTTP.post(self.devnet.url, json=question).json()
        assert "error" in answer, "the call would be taken"
        raw = bytes.fromhex(answer["error"]["data"].removeprefix("0x"))
        for entry in self.build["abi"]:
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
        return [self.do(m, "acceptKey", study, digest(key)) for m in who]

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
            "members": [m.address for m in self.institutions[:n]],
            "aggregator": self.aggregator.address,
            "threshold": 2,
            "minimum": 3,
            "rounds": 2,
            "windows": (LONG, LONG, LONG, LONG),
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

    def commit(self, round: int, who: Sequence[LocalAccount]) -> list[int]:
        base = digest("base")
        return [self.do(m, "commitUpdate", round, digest(f"{round}{m.address}"), base) for m in who]

    def reveal(self, round: int, who: Sequence[LocalAccount]) -> list[int]:
        return [self.do(m, "revealUpdate", round, cid(f"{round}{m.address}")) for m in who]

    def total(self, round: int, who: Sequence[LocalAccount]) -> int:
        members = [m.address for m in who]
        return self.do(self.aggregator, "postTotal", round, members, digest(f"total {round}"), cid("total"))

    def share(self, round: int, who: Sequence[LocalAccount]) -> list[int]:
        return [self.do(m, "postShare", round, digest(f"share {m.address}"), cid("share")) for m in who]

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
    institutions = sorted((account(f"institution {i}") for i in range(32)), key=lambda a: int(a.address, 16))
    aggregator, auditor, stranger = account("aggregator"), account("auditor"), account("stranger")
    members = [founder(m, Role.INSTITUTION, f"Hospital {i}") for i, m in enumerate(institutions)]
    members += [founder(aggregator, Role.AGGREGATOR, "Sums"), founder(auditor, Role.AUDITOR, "Eyes")]
    for member in members:
        devnet.fund(member.address, 10**18)
    found = deploy(devnet.url, devnet.funded[0], members)
    address = Web3.to_checksum_address(found.address)
    return Consortium(
        devnet=devnet,
        build=built(),
        address=address,
        contract=Web3().eth.contract(address=address, abi=built()["abi"]),
        institutions=institutions,
        aggregator=aggregator,
        auditor=auditor,
        stranger=stranger,
    )


def _flat(part: dict[str, object]) -> str:
    if part["type"] != "tuple":
        return part["type"]
    return f"({','.join(_flat(inner) for inner in part['components'])})"
