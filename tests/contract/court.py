"""The judge alone on a chain, and payloads' trees to bring before it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from itertools import islice

import httpx
from eth_abi import decode, encode
from eth_account import Account
from eth_utils.abi import abi_to_signature, function_signature_to_4byte_selector, get_abi_input_types

from deploy.contracts import Code
from deploy.devnet import Devnet
from federation.digest import Digest, labelled, sha256
from federation.disputes import NO_DIGEST, NO_KEY, HeaderEvidence, KeyEvidence, LeafEvidence, SumEvidence
from federation.merkle import leaf_digest, node_digest

GAS = 30_000_000
BATCH = 25  # calls in one request
HTTP = httpx.Client(trust_env=False, timeout=120.0)
PROVEN = "proven"
PAILLIER, HYBRID = 1, 2

Evidence = SumEvidence | LeafEvidence | HeaderEvidence
Verdict = str | tuple[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """As the ledger would give them; the fields of the contract's struct, in its order."""

    round: int = 1 << 32 | 1
    suite: int = PAILLIER
    ciphertexts: int = 2
    chunks: int = 0
    key: Digest = NO_DIGEST
    binding: Digest = NO_DIGEST

    @property
    def update_size(self) -> int:
        return 2 + self.ciphertexts + self.chunks

    @property
    def total_size(self) -> int:
        return 1 + self.ciphertexts + self.chunks


@dataclass(frozen=True, slots=True)
class Case:
    """One call of the judge."""

    function: str
    arguments: tuple[object, ...]


@dataclass(slots=True)
class Court:
    """The deployed judge; asks it by `eth_call`, and pays for it by transaction."""

    devnet: Devnet
    build: Code
    address: str = field(init=False)

    def __post_init__(self) -> None:
        self.address = self.deploy(self.build["bytecode"])

    def deploy(self, code: str) -> str:
        """The address of a new contract."""
        return self._mined({"data": code, "gas": hex(6_000_000)})["contractAddress"]

    def ask(self, case: Case, *, gas: int = GAS) -> Verdict:
        (verdict,) = self.ask_all([case], gas=gas)
        return verdict

    def ask_all(self, cases: Sequence[Case], *, gas: int = GAS) -> Iterator[Verdict]:
        """What the judge says of each, in order."""
        return self.ask_each((case, gas) for case in cases)

    def ask_each(self, calls: Iterable[tuple[Case, int]]) -> Iterator[Verdict]:
        """What it says of each, in order, with so much gas."""
        for batch in batched(calls, BATCH):
            questions = [
                {"jsonrpc": "2.0", "id": k, "method": "eth_call", "params": [self._call(*call), "latest"]}
                for k, call in enumerate(batch)
            ]
            answers = HTTP.post(self.devnet.url, json=questions).json()
            yield from map(self._verdict, sorted(answers, key=lambda answer: answer["id"]))

    def price(self, case: Case) -> int:
        """The gas of a transaction that carries the case; it has to be proven."""
        receipt = self._mined(self._call(case, GAS - 1))
        assert int(receipt["status"], 16) == 1, self.ask(case)
        return int(receipt["gasUsed"], 16)

    def _call(self, case: Case, gas: int) -> dict[str, str]:
        (entry,) = (e for e in self.build["abi"] if e.get("name") == case.function)
        selector = function_signature_to_4byte_selector(abi_to_signature(entry))
        data = selector + encode(get_abi_input_types(entry), case.arguments)
        return {"to": self.address, "data": "0x" + data.hex(), "gas": hex(gas)}

    def _mined(self, call: dict[str, str]) -> dict[str, str]:
        purse = Account.from_key(self.devnet.funded[0]).address
        sent = self.devnet.rpc("eth_sendTransaction", {"from": purse, **call})
        receipt = None
        while receipt is None:
            receipt = self.devnet.rpc("eth_getTransactionReceipt", sent)
        return receipt

    def _verdict(self, answer: dict[str, object]) -> Verdict:
        if "error" not in answer:
            assert answer["result"] == "0x", answer
            return PROVEN
        data = answer["error"].get("data") or "0x"
        raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else b""
        for entry in (e for e in self.build["abi"] if e["type"] == "error"):
            if raw[:4] == function_signature_to_4byte_selector(abi_to_signature(entry)):
                return entry["name"], decode(get_abi_input_types(entry), raw[4:])
        return "reverted without a name", (answer["error"]["message"],)


def batched(calls: Iterable[tuple[Case, int]], size: int) -> Iterator[list[tuple[Case, int]]]:
    """`size` at a time."""
    rest = iter(calls)
    while some := list(islice(rest, size)):
        yield some


# ---------------------------------------------------------------------- trees and keys


def rooted(leaf_hash: Digest, index: int, size: int, path: Sequence[Digest]) -> Digest:
    """The root that the path leads to: RFC 6962 §2.1.1 read backwards, from the top down."""
    if size == 1:
        assert not path
        return leaf_hash
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return node_digest(rooted(leaf_hash, index, split, path[:-1]), path[-1])
    return node_digest(path[-1], rooted(leaf_hash, index - split, size - split, path[:-1]))


def depth(index: int, size: int) -> int:
    """How many siblings the leaf has on its way up."""
    if size == 1:
        return 0
    split = 1 << (size - 1).bit_length() - 1
    return 1 + (depth(index, split) if index < split else depth(index - split, size - split))


def grown(draw: random.Random, leaf_hash: Digest, index: int, size: int) -> tuple[Digest, list[Digest]]:
    """Root and path of a tree with this leaf and others that are not known: as good as a real one."""
    path = [Digest(draw.randbytes(32)) for _ in range(depth(index, size))]
    return rooted(leaf_hash, index, size, path), path


def shown(draw: random.Random, modulus: bytes, *others: bytes) -> tuple[Digest, list[KeyEvidence]]:
    """The round's key digest, and the evidence for each dealer's modulus."""
    rests = [sha256(draw.randbytes(8)) for _ in (modulus, *others)]
    pairs = list(zip((modulus, *others), rests, strict=True))
    digests = [labelled("key", n, rest) for n, rest in pairs]
    if len(digests) == 1:
        ((n, rest),) = pairs
        return digests[0], [KeyEvidence(modulus=n, rest=rest, other=NO_KEY.other, second=False)]
    evidence = [
        KeyEvidence(modulus=n, rest=rest, other=digests[1 - k], second=k == 1)
        for k, (n, rest) in enumerate(pairs)
    ]
    return labelled("hybrid key", *digests), evidence


def sum_case(
    draw: random.Random,
    facts: Facts,
    leaf: int,
    leaves: Sequence[bytes],
    posted: bytes,
    key: KeyEvidence = NO_KEY,
) -> Case:
    """Members' trees and the total's, each with its leaf, before the judge."""
    updates = [grown(draw, leaf_digest(data), leaf, facts.update_size) for data in leaves]
    total, last = grown(draw, leaf_digest(posted), leaf, facts.total_size)
    evidence = SumEvidence(
        leaf=leaf,
        found=leaf_digest(posted),
        key=key,
        leaves=b"".join(leaves),
        paths=tuple(node for _, path in updates for node in path) + tuple(last),
    )
    return case("requireWrongSum", facts, total, [root for root, _ in updates], evidence)


def leaf_case(
    draw: random.Random,
    facts: Facts,
    leaf: int,
    data: bytes,
    *,
    key: KeyEvidence = NO_KEY,
    witness: bytes = b"",
    function: str = "requireMalformedLeaf",
) -> Case:
    """One leaf of one update before the judge."""
    root, path = grown(draw, leaf_digest(data), leaf, facts.update_size)
    evidence = LeafEvidence(leaf=leaf, key=key, data=data, path=tuple(path), witness=witness)
    return case(function, facts, root, evidence)


def case(function: str, facts: Facts, *arguments: object) -> Case:
    """With dataclasses as the tuples that they are to the encoder."""
    return Case(function, (astuple(facts), *map(_plain, arguments)))


def _plain(value: object) -> object:
    return astuple(value) if isinstance(value, Evidence) else value
