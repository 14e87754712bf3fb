"""What every call costs: measured as transactions, kept in `contracts/gas.json`, shown in `contracts/gas.md`.

`python -m tests.contract.gas` measures anew and writes both.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.devnet import Devnet
from federation.ciphers.ring.element import PRIMES
from federation.digest import Digest, labelled, sha256
from federation.disputes import NO_DIGEST, binding_digest
from federation.merkle import leaf_digest, node_digest
from tests.contract.conftest import LONG, SHORT, Consortium, account, cid, digest, founded, round_id

CONTRACTS = Path(__file__).parents[2] / "contracts"
SNAPSHOT, TABLE = CONTRACTS / "gas.json", CONTRACTS / "gas.md"
FORKS = {"anvil": "prague", "ganache": "shanghai"}
FEW, ALL = (3, 10, 16), (3, 10, 16, 32)
SIZES = {  # number of parameters: members of the studies, chunks of an update
    31: (FEW, 64),
    10_000: (FEW, 2 * 64),
    1_000_000: (ALL, 123 * 64),
}
CIPHERTEXTS = 19
WIDTH = 384  # bytes of a modulus: 3072 bits
LEDGER, SHAPE, REST = sha256(b"ledger"), sha256(b"shape"), sha256(b"rest")
GWEI = 10**9
NOBODY = "0x" + "00" * 20
NO_LINE = (NOBODY, 0, NO_DIGEST, NO_DIGEST)
ACTIVE = 1

VOTES, INSTITUTIONS = "votes", (5, 10, 32)  # of consortia that vote
Figures = dict[str, int]  # gas by call
Snapshot = dict[str, dict[str, dict[str, Figures]]]  # by fork, parameters (or `VOTES`) and members


def sparse(
    draw: random.Random, known: Mapping[int, Digest], size: int
) -> tuple[Digest, dict[int, list[Digest]]]:
    """Root of a tree with these leaves and others that nobody knows, and the known leaves' paths."""
    paths: dict[int, list[Digest]] = {index: [] for index in known}

    def grow(first: int, size: int) -> Digest:
        inside = [index for index in known if first <= index < first + size]
        if not inside:
            return Digest(draw.randbytes(32))
        if size == 1:
            return known[first]
        split = 1 << (size - 1).bit_length() - 1
        left, right = grow(first, split), grow(first + split, size - split)
        for index in inside:
            paths[index].append(right if index < first + split else left)
        return node_digest(left, right)

    return grow(0, size), paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A round of which everything can be proven that a court hears."""

    roots: list[Digest]
    total: Digest
    key: Digest
    disputes: dict[str, tuple[object, ...]]  # by what the table calls them: function, what follows the round

    @classmethod
    def of(cls, members: Sequence[str], chunks: int) -> Wrong:
        draw = random.Random(f"{len(members)} {chunks}")
        factor = draw.getrandbits(8 * WIDTH - 4) | 1 << 8 * WIDTH - 2 | 1
        n = 3 * factor  # of exactly `WIDTH` bytes, since 2^(8·WIDTH-2) <= factor < 2^(8·WIDTH) / 3
        modulus = n.to_bytes(WIDTH, "big")
        key, evidence = labelled("key", modulus, REST), (modulus, REST, NO_DIGEST, False)
        last = CIPHERTEXTS + chunks
        capsule, body, proof = 7, CIPHERTEXTS + 41, last + 1
        bad = {  # in the first member's update
            0: b"header" * 40,
            8: (5 * factor).to_bytes(2 * WIDTH, "big"),
            CIPHERTEXTS + 50: PRIMES[1].to_bytes(4, "little") * 128,
            proof: bytes(3 * WIDTH + WIDTH // 2 + 37),
        }
        leaves = [
            {
                capsule: draw.randrange(1, n * n).to_bytes(2 * WIDTH, "big"),
                body: b"".join(draw.randrange(PRIMES[1]).to_bytes(4, "little") for _ in range(128)),
                **(bad if who == 0 else {}),
            }
            for who in range(len(members))
        ]
        trees = [
            sparse(draw, {k: leaf_digest(data) for k, data in some.items()}, last + 2) for some in leaves
        ]
        wrong = {0: leaf_digest(b"header" * 40), capsule: leaf_digest(b"wrong"), body: leaf_digest(b"wrong")}
        total, paths = sparse(draw, wrong, last + 1)

        def of_sum(leaf: int, key: tuple[object, ...]) -> tuple[object, ...]:
            steps = [step for _, found in trees for step in found[leaf]] + paths[leaf]
            return "disputeSum", (leaf, wrong[leaf], key, b"".join(some[leaf] for some in leaves), steps)

        def of_leaf(
            call: str, leaf: int, key: tuple[object, ...], witness: bytes = b""
        ) -> tuple[object, ...]:
            return call, members[0], (leaf, key, bad[leaf], trees[0][1][leaf], witness)

        none = (b"", NO_DIGEST, NO_DIGEST, False)
        witness = factor.to_bytes(WIDTH, "big")
        return cls(
            roots=[root for root, _ in trees],
            total=total,
            key=key,
            disputes={
                "disputeSum, a capsule leaf": of_sum(capsule, evidence),
                "disputeSum, a body leaf": of_sum(body, none),
                "disputeLeaf, a capsule leaf": of_leaf("disputeLeaf", 8, evidence, witness),
                "disputeLeaf, a body leaf": of_leaf("disputeLeaf", CIPHERTEXTS + 50, none),
                "disputeProof": of_leaf("disputeProof", proof, evidence),
                "disputeHeader": ("disputeHeader", members[0], (LEDGER, SHAPE, bad[0], trees[0][1][0])),
                "disputeTotalHeader": ("disputeTotalHeader", (LEDGER, SHAPE, b"header" * 40, paths[0])),
            },
        )


def figures(c: Consortium, members: int, chunks: int) -> Figures:
    """What every call costs in one study's life."""
    who, addresses = c.institutions[:members], [m.address for m in c.institutions[:members]]
    wrong = Wrong.of(addresses, chunks)
    threshold = min(members // 2 + members % 2, 5)
    changes = {
        "key": wrong.key,
        "leaves": (2, CIPHERTEXTS, chunks, binding_digest(LEDGER, SHAPE)),
        "aggregators": [c.aggregator.address, c.standby.address],
        "threshold": threshold,
        "minimum": threshold + 1,
        "windows": (SHORT, LONG, LONG, LONG),
        "stake": (5, SHORT, NOBODY),
    }
    found: Figures = {"createStudy": c.do(c.auditor, "createStudy", c.terms(members, **changes))}
    study = c.view("studies")
    accepted = [c.do(m, "acceptStudy", study, digest("spec")) for m in who]
    found |= {"acceptStudy": accepted[1], "acceptStudy, the last": accepted[-1]}
    deposits = [c.do(c.aggregator, "depositBond", study, wei=5 * GWEI) for _ in range(2)]
    found["depositBond"] = deposits[1]
    round = round_id(study, 1)
    first, *steady, last = c.commit(round, who, wrong.roots)
    found |= {
        "commitUpdate, opening a round": first,
        "commitUpdate": max(steady),
        "commitUpdate, the last": last,
    }
    _, *steady, last = c.reveal(round, who)
    found |= {"revealUpdate": max(steady), "revealUpdate, the last": last}
    found["commit and reveal"] = found["commitUpdate"] + found["revealUpdate"]
    found["postTotal"] = c.total(round, who, wrong.total)
    for name, (call, *against) in wrong.disputes.items():
        found[name] = tried(c, call, round, *against)
    shares = [
        c.do(m, "postShare", round, wrong.total, digest(f"share {m.address}"), cid("share"))
        for m in who[: max(threshold, 2)]
    ]
    found["postShare"] = max(shares[1:])
    found |= {"finish": c.finish(round, who[0]), "finish, competing": c.finish(round, who[1], "another")}
    confirmed = [c.do(m, "confirmModel", round, digest("model")) for m in who[:2]]
    result = digest("opening"), digest("model"), digest("x"), digest("y")
    objected = [c.do(m, "objectToResult", round, *result) for m in who[:2]]
    found |= {"confirmModel": confirmed[1], "objectToResult": objected[1]}
    proposed = [c.propose_key(study, m, "second key") for m in who[:2]]
    keyed = c.accept_key(study, who, "second key")
    found |= {"proposeKey": proposed[0], "proposeKey, again by another": proposed[1]}
    found |= {"acceptKey": max(keyed[1:-1]), "acceptKey, the last": keyed[-1]}
    c.commit(round_id(study, 2), who[:1])
    c.pass_time()
    found["abandon"] = c.do(who[0], "abandon", round_id(study, 2), 1)
    found["withdrawBond"] = c.do(c.aggregator, "withdrawBond", study, GWEI)
    return found


def voted(c: Consortium, n: int) -> Figures:
    """What votes cost among `n` institutions; by the last of each kind, since it is the one that decides."""
    study, now = c.study(n), int(c.devnet.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    first, second, last = (c.institutions[k].address for k in (0, 1, n - 1))
    new, heir = ((who.address, 1, digest("key"), digest("name")) for who in (c.stranger, account("heir")))
    motions = {  # as the contract has them, but for the last second
        "admit": (0, NOBODY, new, 0, NO_DIGEST),
        "suspend": (2, last, NO_LINE, 0, NO_DIGEST),
        "reinstate": (3, last, NO_LINE, 0, NO_DIGEST),
        "replace": (4, first, heir, 0, NO_DIGEST),
        "remove": (1, second, NO_LINE, 0, NO_DIGEST),
        "quorum": (5, NOBODY, NO_LINE, 2, NO_DIGEST),
        "supersede": (6, c.address, NO_LINE, 0, digest("code")),
    }
    found: Figures = {}
    for name, motion in motions.items():
        able = [m for m in c.institutions if c.view("standingOf", m.address)["state"] == ACTIVE]
        spent = [c.do(m, "vote", (*motion, now + LONG)) for m in able[: c.view("quorum")]]
        found |= {} if found else {"vote, the first": spent[0], "vote": spent[1]}
        found[f"vote, carrying: {name}"] = spent[-1]
        if name in {"suspend", "reinstate", "replace"}:
            followed = c.do(c.auditor, "followRoster", study, motion[1])
            found[f"followRoster, after: {name}"] = followed
        if name == "remove":
            c.do(c.auditor, "followRoster", study, second)
    return found


def tried(c: Consortium, call: str, *arguments: object) -> int:
    """The gas of a call that afterwards was never made."""
    taken, nonces = c.devnet.rpc("evm_snapshot"), dict(c.nonces)
    try:
        return c.do(c.stranger, call, *arguments)
    finally:
        c.devnet.rpc("evm_revert", taken)
        c.nonces.clear()
        c.nonces.update(nonces)


def measured(devnet: Devnet) -> dict[str, dict[str, Figures]]:
    """On a contract of its own, in its second study and later ones; votes on one for each consortium."""
    c = founded(devnet)
    c.study()
    found = {
        str(parameters): {str(n): figures(c, n, chunks) for n in members}
        for parameters, (members, chunks) in SIZES.items()
    }
    return found | {VOTES: {str(n): voted(founded(devnet, institutions=n), n) for n in INSTITUTIONS}}


def table(snapshot: Snapshot) -> str:
    """The figures as a document."""
    lines = [
        "# Gas",
        "",
        "Of transactions, calldata included, to a contract that was in use before; a modulus of 3072 bits",
        f"and {CIPHERTEXTS} capsule leaves. `make gas` measures anew and writes this file and `gas.json`; "
        "`tests/contract/test_gas.py`",
        "compares within 2 %.",
    ]
    for fork, by_size in snapshot.items():
        for size, by_members in by_size.items():
            title = "votes of the whole consortium" if size == VOTES else f"{int(size):,} parameters"
            lines += ["", f"## {fork}, {title}", ""]
            lines += [f"| call | {' | '.join(f'{n} members' for n in by_members)} |"]
            lines += ["|---|" + "---|" * len(by_members)]
            for call in next(iter(by_members.values())):
                cells = (f"{of[call]:,}" for of in by_members.values())
                lines.append(f"| {call} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures on both chains and writes both files."""
    snapshot: Snapshot = {}
    for kind, fork in FORKS.items():
        with tempfile.TemporaryDirectory() as place, Devnet.start(kind, directory=Path(place)) as devnet:
            snapshot[fork] = measured(devnet)
    SNAPSHOT.write_text(json.dumps(snapshot, indent=1) + "\n")
    TABLE.write_text(table(snapshot))


if __name__ == "__main__":
    main()
