"""Anybody tries anything at any time, on the contract and by the pure law: they never disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deploy.devnet import Devnet
from federation import bonds, rounds
from federation.bonds import WEI_PER_GWEI
from federation.ciphers.ring.element import LEAF_BYTES, LEAF_RESIDUES, PRIMES
from federation.digest import CID_RAW, Cid, Digest, LedgerId, labelled, sha256
from federation.disputes import (
    NO_DIGEST,
    NO_KEY,
    Charge,
    HeaderEvidence,
    KeyEvidence,
    LeafEvidence,
    SumEvidence,
    binding_digest,
)
from federation.events import Fault, Leaves, Reason, RoundId, Stake, StudyId, StudyTerms, Timestamp, Windows
from federation.governance import Consortium, Standing
from federation.members import Address, Member, Role
from federation.merkle import leaf_digest, prove_leaf, root_of
from federation.rounds import Combining, Committing, Opening, Overdue, Revealing, Round, Study
from federation.wire import Binding, total_header, update_header
from tests.contract.twins import AGGREGATORS, INSTITUTIONS, Deployed, Divergence, Twins
from tests.contract.votes import Votes

SEQUENCES, STEPS = 200, 40  # by default; `--hypothesis-profile=long` draws thousands
LEDGER, SHAPE = LedgerId(sha256(b"ledger")), sha256(b"shape")
NOBODY = Address(bytes(20))
FIRST = StudyId(1)
WIDTH = 16  # bytes of a modulus
PROOF_BYTES = 3 * WIDTH + WIDTH // 2 + 37
MODULI = {  # by the key's digest; what their factors are is nothing to a product
    labelled("key", n.to_bytes(WIDTH, "big"), sha256(b"rest")): n
    for n in (2**128 - 159, 2**127 + 29, 3 * 5 * 2**124 + 1)
}
KEYS = tuple(MODULI)
CHUNKS = 2
REPLACE = Consortium._replace
GOOD, ODD = Cid(CID_RAW + sha256(b"content")), Cid(bytes.fromhex("01711220") + sha256(b"dag-cbor"))
MODELS = (sha256(b"model"), sha256(b"another model"), NO_DIGEST)

# What the sequences of every run have to come by: calls that were taken, and how many different answers.
TAKEN = {"commit_update", "reveal_update", "post_total", "post_share", "finish", "abandon", "dispute"}
TAKEN |= {"vote", "follow_roster"}
ANSWERS = 55

Tree = list[bytes]
cids = st.sampled_from([GOOD] * 9 + [ODD])
anybody = st.one_of(st.integers(0, 2), st.integers(0, 4), st.integers(0, 8))  # members first, strangers last
aggregators = st.integers(INSTITUTIONS, INSTITUTIONS + AGGREGATORS - 1)
studies = st.sampled_from([FIRST] * 5 + [StudyId(2)])  # the second may not be there
offsets = st.sampled_from([0] * 12 + [-1, -1, 1])  # of a round's number from that of the current one
flaws = st.sampled_from(["none"] * 8 + ["path", "long path", "leaf", "key", "data", "witness", "binding"])


def evidence_of(key: Digest) -> KeyEvidence:
    return KeyEvidence(
        modulus=MODULI[key].to_bytes(WIDTH, "big"), rest=sha256(b"rest"), other=NO_DIGEST, second=False
    )


def chunk(value: int) -> bytes:
    return value.to_bytes(4, "little") * (LEAF_BYTES // 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payloads:
    """The trees of one round, as its key and its study have them."""

    binding: Binding
    key: Digest
    ciphertexts: int

    @property
    def last(self) -> int:
        return self.ciphertexts + CHUNKS

    def update(self, member: Address, fault: str) -> Tree:
        """A member's update, sound or with one fault."""
        n, seed = MODULI[self.key], member[0]
        round = replace(self.binding, round=RoundId(FIRST, 99)) if fault == "header" else self.binding
        header = update_header(round, member=member, base_model=MODELS[0])
        capsule = [pow(seed + 2, 40 + k, n * n).to_bytes(2 * WIDTH, "big") for k in range(self.ciphertexts)]
        body = [chunk(PRIMES[0] - 1 - seed - k) for k in range(CHUNKS)]
        proof = bytes(2 * WIDTH - 1) + b"\x01" + bytes(PROOF_BYTES - 2 * WIDTH)
        if fault == "residue":
            body[0] = chunk(PRIMES[0])
        if fault == "ciphertext" and capsule:
            capsule[0] = (n * n).to_bytes(2 * WIDTH, "big")
        if fault == "proof":
            proof = bytes(PROOF_BYTES)
        return [header, *capsule, *body, proof]

    def total(self, updates: Sequence[tuple[Address, Tree]], fault: str) -> Tree:
        """Their sum, right or with one fault."""
        n = MODULI[self.key]
        round = replace(self.binding, round=RoundId(FIRST, 99)) if fault == "header" else self.binding
        listed = [(member, root_of(tree)) for member, tree in updates]
        leaves: Tree = [total_header(round, members=listed, excluded=[])]
        for index in range(1, self.last + 1):
            parts = [tree[index] for _, tree in updates]
            if index <= self.ciphertexts:
                product = prod(int.from_bytes(part, "big") for part in parts) % (n * n)
                leaves.append(product.to_bytes(2 * WIDTH, "big"))
            else:
                columns = zip(*map(residues, parts), strict=True)
                leaves.append(b"".join((sum(c) % PRIMES[0]).to_bytes(4, "little") for c in columns))
        if fault == "sum":
            leaves[-1] = chunk(7)
        if fault == "product":
            leaves[1] = bytes(len(leaves[1]))
        return leaves


def residues(part: bytes) -> list[int]:
    return [int.from_bytes(part[4 * k : 4 * k + 4], "little") for k in range(LEAF_RESIDUES)]


ADVANCE = {
    "steps": st.integers(1, 5),
    "turn": st.sampled_from([0, 0, 0, 1, 2]),
    "missing": st.sampled_from([None] * 6 + [0, 2]),
    "update": st.sampled_from(["", "", "", "residue", "ciphertext", "header", "proof"]),
    "total": st.sampled_from(["", "", "sum", "product", "header"]),
    "sharers": st.sampled_from([(0,), (1, 2), (0, 1, 2)]),
    "disputing": st.sampled_from([None, "at once", "late"]),
}


class Lockstep(Votes):
    """One study on a fresh contract, and whoever likes to call it."""

    deployed: Deployed  # set by whoever runs the machine
    seen: Counter[str]  # what came of the calls: rules that refused them, and names of those that were taken

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins(self.deployed)
        self.everybody = self.deployed.everybody
        self.trees: dict[Digest, Tree] = {}

    # ------------------------------------------------------------ the study

    @initialize(
        n=st.sampled_from([3, 3, 4]),
        minimum=st.sampled_from([3, 3, 4]),
        turns=st.permutations(range(INSTITUTIONS, INSTITUTIONS + AGGREGATORS)),
        count=st.integers(1, 3),
        windows=st.lists(st.integers(1, 40), min_size=4, max_size=4),
        finishes=st.sampled_from([1, 2, 9]),
        gwei=st.sampled_from([0, 5]),
        lock=st.sampled_from([0, 30, 200]),
        treasury=st.sampled_from([None, None, 7, 4, 0]),
        suite=st.sampled_from([2, 2, 2, 1, 0]),
        staked=st.sampled_from([True, True, True, False]),
    )
    def a_study_begins(
        self, n, minimum, turns, count, windows, finishes, gwei, lock, treasury, suite, staked
    ) -> None:
        self.terms = StudyTerms(
            digest=sha256(b"spec"),
            cid=GOOD,
            key=KEYS[0],
            leaves=Leaves(suite=suite, ciphertexts=1, chunks=CHUNKS, binding=binding_digest(LEDGER, SHAPE)),
            members=self.everybody[:n],
            aggregators=tuple(self.everybody[turn] for turn in turns[:count]),
            threshold=2,
            minimum=min(n, minimum),
            rounds=finishes,
            windows=Windows(*windows),
            stake=Stake(gwei, lock, NOBODY if treasury is None else self.everybody[treasury]),
        )
        assert self._try(7, "create_study", self.terms)
        for who in range(n):
            assert self._try(who, "accept_study", FIRST, self.terms.digest)
        if staked and gwei:
            for turn in turns[:count]:
                assert self._try(turn, "deposit_bond", FIRST, 2 * gwei * WEI_PER_GWEI)

    @rule(
        who=anybody,
        change=st.sampled_from(
            [
                {},
                {"threshold": 3},
                {"minimum": 2},
                {"rounds": 0},
                {"digest": NO_DIGEST},
                {"cid": ODD},
                {"aggregators": ()},
                {"members": ()},
                {"windows": Windows(1, 1, 0, 1)},
            ]
        ),
        twice=st.booleans(),
        accepts=st.lists(st.tuples(anybody, st.booleans()), max_size=3),
    )
    def somebody_proposes_another_study(self, who, change, twice, accepts) -> None:
        terms = replace(self.terms, **change)
        if twice and terms.aggregators:
            terms = replace(terms, aggregators=terms.aggregators[:1] * 2)
        self._try(who, "create_study", terms)
        for other, right in accepts:
            self._try(other, "accept_study", StudyId(2), terms.digest if right else NO_DIGEST)

    @rule(who=anybody, key=st.sampled_from([*KEYS, NO_DIGEST]), cid=cids)
    def somebody_proposes_a_key(self, who, key, cid) -> None:
        self._try(who, "propose_key", FIRST, key, cid)

    @rule(
        who=st.sets(st.integers(0, 4), max_size=3),
        key=st.sampled_from(KEYS),
        ciphertexts=st.sampled_from([1, 1, 1, 0, 2]),
    )
    def some_accept_a_key(self, who, key, ciphertexts) -> None:
        for index in sorted(who):
            self._try(index, "accept_key", FIRST, key, ciphertexts)

    @rule(key=st.sampled_from(KEYS), ciphertexts=st.integers(0, 2))
    def all_adopt_a_key(self, key, ciphertexts) -> None:
        self._try(0, "propose_key", FIRST, key, GOOD)
        for index in range(len(self.terms.members)):
            self._try(index, "accept_key", FIRST, key, ciphertexts)

    # ------------------------------------------------------------ time

    @rule(seconds=st.sampled_from([0, 1, 2, 5, 41, 200]))
    def time_passes(self, seconds) -> None:
        self.twins.now = Timestamp(self.twins.now + seconds)

    @rule(which=st.integers(0, 20), beside=st.sampled_from([-1, 0, 0, 1, 1]))
    def time_comes_to_a_border(self, which, beside) -> None:
        borders = [time + beside for time in self._borders() if time + beside > self.twins.now]
        if borders:
            self.twins.now = Timestamp(sorted(borders)[which % len(borders)])

    def _borders(self) -> Iterator[int]:
        """The last second of every window that is known, and of every lock."""
        round = self._round(0)
        yield from (time for time in (round.commit_closes, round.reveal_closes, round.combine_closes) if time)
        yield from (begins - 1 for who in round.turns if (begins := round.turn_begins(who)))
        if round.total is not None:
            yield from (round.total.time + times * self.terms.windows.open for times in (1, 2))
        yield from (self._study().bonds.of(who).locked_until for who in self.everybody)
        yield from (motion.expires for motion in self.motions[-3:])

    # ------------------------------------------------------------ rounds

    @rule(who=anybody, offset=offsets, fault=st.sampled_from(["", "", "", "residue", "header", "empty"]))
    def somebody_commits(self, who, offset, fault) -> None:
        self._commit(who, offset, fault)

    @rule(
        fault=st.sampled_from(["", "", "", "residue", "ciphertext", "header", "proof"]),
        missing=st.sampled_from([None, None, None, 0, 2]),
    )
    def everybody_commits(self, fault, missing) -> None:
        committed = self._round(0).commits
        for who in range(len(self.terms.members)):
            if who != missing and self.everybody[who] not in committed:
                self._commit(self._acting(who), 0, fault if who == 1 else "")

    @rule(who=anybody, offset=offsets, cid=cids)
    def somebody_reveals(self, who, offset, cid) -> None:
        self._try(who, "reveal_update", self._id(offset), cid)

    @rule(missing=st.sampled_from([None, None, 0]))
    def everybody_reveals(self, missing) -> None:
        round = self._round(0)
        for who in range(len(self.terms.members)):
            if who != missing and self.everybody[who] in round.commits.keys() - round.reveals.keys():
                self._try(self._acting(who), "reveal_update", round.id, GOOD)

    @rule(
        who=st.one_of(aggregators, aggregators, anybody),
        offset=offsets,
        among=st.one_of(
            st.none(), st.none(), st.permutations(range(5)), st.lists(st.integers(0, 7), max_size=4)
        ),
        fault=st.sampled_from(["", "sum", "product", "header", "empty"]),
        cid=cids,
    )
    def somebody_posts_a_total(self, who, offset, among, fault, cid) -> None:
        self._post(who, offset, among, fault, cid)

    @rule(who=anybody, offset=offsets, stale=st.sampled_from([False] * 5 + [True]), cid=cids)
    def somebody_shares(self, who, offset, stale, cid) -> None:
        round = self._round(offset)
        root = NO_DIGEST if round.total is None else round.total.root
        if stale:
            root = round.rescinded[-1].root if round.rescinded else sha256(b"another total")
        digest = NO_DIGEST if cid == ODD and stale else sha256(b"share")
        self._try(who, "post_share", round.id, digest, cid, total=root)

    @rule(who=anybody, offset=offsets, model=st.sampled_from(MODELS), places=st.tuples(cids, cids))
    def somebody_finishes(self, who, offset, model, places) -> None:
        opening, model_cid = places
        self._try(
            who,
            "finish",
            self._id(offset),
            sha256(b"opening"),
            model,
            opening_cid=opening,
            model_cid=model_cid,
        )

    @rule(who=anybody, offset=st.sampled_from([-1, -1, 0]), model=st.sampled_from(MODELS))
    def somebody_confirms(self, who, offset, model) -> None:
        self._try(who, "confirm_model", self._id(offset), model)

    @rule(who=anybody, offset=st.sampled_from([-1, -1, 0]))
    def somebody_objects(self, who, offset) -> None:
        proposed = {"proposed_opening": sha256(b"opening"), "proposed_model": MODELS[0]}
        found = {"found_opening": sha256(b"mine"), "found_model": MODELS[1]}
        self._try(who, "object_to_result", self._id(offset), **proposed, **found)

    @rule(who=anybody, offset=offsets, reason=st.sampled_from(Reason), due=st.booleans())
    def somebody_abandons(self, who, offset, reason, due) -> None:
        round = self._round(offset)
        phase = round.phase(self.twins.now)
        chosen = phase.reason if due and isinstance(phase, Overdue) else reason
        self._try(who, "abandon", round.id, chosen)

    @rule(**ADVANCE)
    def the_round_goes_on(self, steps, turn, missing, update, total, sharers, disputing) -> None:
        for _ in range(steps):
            if self._study().is_complete:
                return
            shared = bool(self._round(0).shares)
            if self._round(0).total is not None and disputing == ("late" if shared else "at once"):
                self.somebody_disputes_whatever_is_wrong(turn)
            self._advance(turn, missing, update, total, sharers)

    # Twice more, since rules are drawn alike: else few rounds would come to an end.
    the_round_goes_further = rule(**ADVANCE)(the_round_goes_on.hypothesis_stateful_rule.function)
    the_round_goes_on_again = rule(**ADVANCE)(the_round_goes_on.hypothesis_stateful_rule.function)

    def _advance(
        self, turn: int, missing: int | None, update: str, total: str, sharers: Sequence[int]
    ) -> None:
        """What is due in the round's phase is done by those whose part it is, or the clock moves."""
        round = self._round(0)
        match round.phase(self.twins.now):
            case Committing(closes=closes):
                if closes is not None and len(round.commits) >= len(self.terms.members) - 1:
                    self.twins.now = Timestamp(closes + 1)
                else:
                    self.everybody_commits(update, missing)
            case Revealing(closes=closes):
                if missing is None or len(round.reveals) < len(round.commits) - 1:
                    self.everybody_reveals(missing)
                else:
                    self.twins.now = Timestamp(closes + 1)
            case Combining():
                self._post(self._by_turn(turn), 0, None, total, GOOD)
            case Opening() if len(round.shares) < self.terms.threshold:
                for who in sharers:
                    self.somebody_shares(self._acting(who), 0, False, GOOD)
            case Opening():
                self.somebody_finishes(self._acting(turn), 0, MODELS[0], (GOOD, GOOD))
            case Overdue(reason=reason):
                self._try(self._acting(turn), "abandon", round.id, reason)
            case ended:
                raise AssertionError(f"the current round has ended: {ended}")

    # ------------------------------------------------------------ disputes

    @rule(
        who=anybody,
        offset=st.sampled_from([0, 0, 0, 0, -1]),
        kind=st.sampled_from(["sum", "sum", "leaf", "proof", "update header", "total header"]),
        leaf=st.integers(0, CHUNKS + 4),
        member=st.integers(0, 5),
        flaw=flaws,
    )
    def somebody_disputes(self, who, offset, kind, leaf, member, flaw) -> None:
        round = self._round(offset)
        known = round.total or (round.rescinded[-1] if round.rescinded else None)
        if known is None:
            updates, total = [], [b"no header", *[b"no leaf"] * 3]
        else:
            updates = [self._tree(round, other) for other in known.members]
            total = self.trees.get(known.root, [b"no header", *[b"no leaf"] * 3])
        key = self.twins.history.study(FIRST).key_of(round.id.number)
        mine = self._tree(round, self.everybody[member])
        made = {
            "sum": lambda: self._sum_charge(round, updates, total, leaf, key),
            "leaf": lambda: self._leaf_charge(round, member, mine, leaf, key),
            "proof": lambda: self._leaf_charge(round, member, mine, len(mine) - 1, key, Fault.PROOF),
            "update header": lambda: self._header_charge(round, self.everybody[member], mine),
            "total header": lambda: self._header_charge(round, None, total),
        }[kind]()
        self._try(who, "dispute", flawed(made, flaw))

    @precondition(lambda self: self._round(0).total is not None)
    @rule(who=anybody)
    def somebody_disputes_whatever_is_wrong(self, who) -> None:
        """Every charge there is, until one is proven."""
        for kind, leaf in [("sum", 1), ("sum", 2), ("sum", 3), ("leaf", 1), ("leaf", 2), ("proof", 0)]:
            self.somebody_disputes(who, 0, kind, leaf, 1, "none")
            if not self.twins.refused:
                return
        for kind in ("update header", "total header"):
            self.somebody_disputes(who, 0, kind, 0, 1, "none")

    def _sum_charge(self, round: Round, updates: list[Tree], total: Tree, leaf: int, key: Digest) -> Charge:
        # What is not there is no evidence either; its shape has to be some.
        present = [tree[min(leaf, len(tree) - 1)] for tree in updates]
        paths = [step for tree in (*updates, total) for step in prove_leaf(tree, min(leaf, len(tree) - 1))]
        evidence = SumEvidence(
            leaf=leaf,
            found=leaf_digest(total[min(leaf, len(total) - 1)]),
            key=evidence_of(key) if leaf < 2 else NO_KEY,
            leaves=b"".join(present),
            paths=tuple(paths),
        )
        return Charge(round=round.id, fault=Fault.SUM, member=None, evidence=evidence)

    def _leaf_charge(
        self, round: Round, member: int, tree: Tree, leaf: int, key: Digest, fault: Fault = Fault.LEAF
    ) -> Charge:
        at = min(leaf, len(tree) - 1)
        evidence = LeafEvidence(
            leaf=leaf, key=evidence_of(key), data=tree[at], path=tuple(prove_leaf(tree, at)), witness=b""
        )
        return Charge(round=round.id, fault=fault, member=self.everybody[member], evidence=evidence)

    def _header_charge(self, round: Round, member: Address | None, tree: Tree) -> Charge:
        path = tuple(prove_leaf(tree, 0))
        evidence = HeaderEvidence(ledger=LEDGER, shape=SHAPE, header=tree[0], path=path)
        return Charge(round=round.id, fault=Fault.HEADER, member=member, evidence=evidence)

    # ------------------------------------------------------------ bonds

    @rule(
        who=st.one_of(aggregators, anybody),
        wei=st.sampled_from([0, 1, 5 * WEI_PER_GWEI, 9 * WEI_PER_GWEI]),
        study=studies,
    )
    def somebody_stakes(self, who, wei, study) -> None:
        self._try(who, "deposit_bond", study, wei)

    @rule(
        who=st.one_of(aggregators, anybody),
        part=st.sampled_from([0, 1, 2]),
        more=st.sampled_from([0, 0, 1]),
        study=studies,
    )
    def somebody_withdraws(self, who, part, more, study) -> None:
        known = self.twins.history.studies.get(study)
        held = 0 if known is None else known.bonds.of(self.everybody[who]).amount
        self._try(who, "withdraw_bond", study, held * part // 2 + more)

    # ------------------------------------------------------------ what has to hold

    @invariant()
    def the_contract_holds_what_the_law_derives(self) -> None:
        if FIRST in self.twins.history.studies:
            self.twins.compare(FIRST)

    def _try(self, who: int, call: str, *arguments: object, **named: object) -> bool:
        taken = self.twins.attempt(self.everybody[who], call, *arguments, **named)
        self.seen[self.twins.refused or call] += 1
        return taken

    def _commit(self, who: int, offset: int, fault: str) -> None:
        tree = self._payloads(self._id(offset)).update(self._study().name_of(self.everybody[who]), fault)
        root = NO_DIGEST if fault == "empty" else root_of(tree)
        self.trees[root] = tree
        self._try(who, "commit_update", self._id(offset), root, MODELS[0])

    def _post(self, who: int, offset: int, among: Sequence[int] | None, fault: str, cid: Cid) -> None:
        round = self._round(offset)
        named = sorted(round.counted) if among is None else [self.everybody[index] for index in among]
        updates = [(member, self._tree(round, member)) for member in named]
        try:
            tree = self._payloads(round.id).total(updates, fault)
        except IndexError:  # of updates under another key: nobody knows their sum
            tree = [b"no header", *[b"no leaf"] * 3]
        root = NO_DIGEST if fault == "empty" else root_of(tree)
        self.trees[root] = tree
        self._try(who, "post_total", round.id, named, root, cid)

    def _by_turn(self, turn: int) -> int:
        aggregators = self._round(0).turns or self.terms.aggregators
        return self._acting(self.everybody.index(aggregators[turn % len(aggregators)]))

    def _acting(self, who: int) -> int:
        """Whose call counts as that of this member or aggregator: its own, or its last heir's."""
        name = self.everybody[who]
        return self.everybody.index((name, *(h for h, of in self._study().heirs.items() if of == name))[-1])

    def _study(self) -> Study:
        return self.twins.history.study(FIRST)

    def _id(self, offset: int) -> RoundId:
        return RoundId(FIRST, self._study().current().id.number + offset)

    def _round(self, offset: int) -> Round:
        """The current round or one beside it, opened or not."""
        id = self._id(offset)
        return next((r for r in self._study().rounds if r.id == id), Round(id=id, terms=self.terms))

    def _payloads(self, id: RoundId) -> Payloads:
        epoch = self._study().epoch_of(id.number)
        binding = Binding(
            ledger=LEDGER,
            round=id,
            suite="paillier" if self.terms.leaves.suite == 1 else "hybrid",
            key=epoch.key,
            shape=SHAPE,
            leaves=epoch.ciphertexts + CHUNKS,
        )
        return Payloads(binding=binding, key=epoch.key, ciphertexts=epoch.ciphertexts)

    def _tree(self, round: Round, member: Address) -> Tree:
        """What the member committed to, or would have."""
        if member in round.commits:
            return self.trees[round.commits[member].root]
        return self._payloads(round.id).update(member, "")


def flawed(charge: Charge, flaw: str) -> Charge:
    """The charge with one flaw in its evidence, where its kind has such a part."""
    match charge.evidence:
        case SumEvidence() as sums:
            changes = {
                "path": {"paths": sums.paths[:-1]},
                "long path": {"paths": (*sums.paths, SHAPE)},
                "leaf": {"leaf": sums.leaf + 1},
                "key": {"key": replace(sums.key, second=True)},
                "data": {"leaves": sums.leaves[:-1]},
            }
        case LeafEvidence() as leaf:
            changes = {
                "path": {"path": leaf.path[:-1]},
                "long path": {"path": (*leaf.path, SHAPE)},
                "leaf": {"leaf": leaf.leaf + 1},
                "key": {"key": replace(leaf.key, second=True)},
                "data": {"data": leaf.data[:-1]},
                "witness": {"witness": b"\x05"},
            }
        case HeaderEvidence() as header:
            changes = {
                "path": {"path": header.path[:-1]},
                "long path": {"path": (*header.path, SHAPE)},
                "data": {"header": header.header[:-1]},
                "binding": {"shape": NO_DIGEST},
            }
    return replace(charge, evidence=replace(charge.evidence, **changes.get(flaw, {})))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("lockstep")) as chain:
        yield Deployed(chain)


def run(deployed: Deployed, *, phases: Sequence[Phase], derandomize: bool, sequences: int) -> Counter[str]:
    """What came of all calls, over all sequences."""

    class Machine(Lockstep):
        pass

    Machine.deployed, Machine.seen = deployed, Counter()
    ours = settings(
        max_examples=sequences,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=phases,
        derandomize=derandomize,
        report_multiple_bugs=False,  # the first is enough
    )
    run_state_machine_as_test(Machine, settings=ours)
    return Machine.seen


def test_the_contract_and_the_law_agree_whatever_anybody_tries(deployed, capsys):
    """The same sequences each time, unless thousands are asked for: those are others each time."""
    sequences = settings.default.max_examples
    many = sequences > SEQUENCES
    seen = run(
        deployed,
        phases=[Phase.generate, Phase.shrink],
        derandomize=not many,
        sequences=sequences if many else SEQUENCES,
    )
    with capsys.disabled():
        print(f"\n{sum(seen.values())} calls: {sorted(seen.items())}")
    assert seen.keys() >= TAKEN
    assert len(seen) >= ANSWERS


def reveals_end_with_the_second_but_last(round: Round, now: Timestamp) -> bool:
    closes = round.reveal_closes
    if closes is None or not round.committing_is_over(now):
        return False
    return len(round.reveals) == len(round.commits) or now >= closes


def turns_begin_a_second_early(round: Round, aggregator: Address) -> Timestamp | None:
    begins, turns = round.combine_begins, round.turns
    if begins is None or aggregator not in turns:
        return None
    return Timestamp(begins + turns.index(aggregator) * round.terms.windows.combine)


def the_faulty_keep_their_turns(round: Round) -> tuple[Address, ...]:
    return round.terms.aggregators


def every_round_begins_with_the_same_aggregator(round: Round) -> tuple[Address, ...]:
    faulty = {fault.aggregator for fault in round.faults}
    return tuple(aggregator for aggregator in round.terms.aggregators if aggregator not in faulty)


def the_struck_are_counted(round: Round) -> set[Address]:
    return set(round.reveals)


def locks_hold_for_a_second_less(held: bonds.Bonds, account: Address, until: Timestamp) -> None:
    bond = held.of(account)
    held._held[account] = replace(bond, locked_until=max(bond.locked_until, Timestamp(until - 1)))


def what_is_slashed_vanishes(held: bonds.Bonds, culprit: Address, beneficiary: Address, wei: int) -> None:
    held._add(culprit, -wei)


def an_epoch_begins_with_the_next_round(study: Study, number: int) -> rounds.Epoch:
    return next(epoch for epoch in reversed(study.epochs) if epoch.first <= max(number, 1) + 1)


def the_suspended_still_count(consortium: Consortium) -> set[int]:
    standings = consortium._standings.items()
    return {at.voter for who, at in standings if consortium.members[who].role is Role.INSTITUTION}


def half_of_them_is_enough(consortium: Consortium) -> int:
    return (len(consortium.active_voters) + 1) // 2


def an_heir_votes_anew(consortium: Consortium, subject: Address, standing: Standing, heir: Member) -> None:
    fresh = replace(standing, voter=consortium._voters)
    REPLACE(consortium, subject, fresh, heir)


def no_seat_is_ever_idle(study: Study, account: Address, *, idle: bool) -> None:
    study.idle.discard(account)


@pytest.mark.parametrize(
    ("where", "what", "other"),
    [
        (Round, "revealing_is_over", reveals_end_with_the_second_but_last),
        (Round, "turn_begins", turns_begin_a_second_early),
        (Round, "turns", property(the_faulty_keep_their_turns)),
        (Round, "turns", property(every_round_begins_with_the_same_aggregator)),
        (Round, "counted", property(the_struck_are_counted)),
        (bonds.Bonds, "lock", locks_hold_for_a_second_less),
        (bonds.Bonds, "move", what_is_slashed_vanishes),
        (Study, "epoch_of", an_epoch_begins_with_the_next_round),
        (Consortium, "active_voters", property(the_suspended_still_count)),
        (Consortium, "quorum", property(half_of_them_is_enough)),
        (Consortium, "_replace", an_heir_votes_anew),
        (Study, "set_idle", no_seat_is_ever_idle),
    ],
    ids=lambda value: getattr(getattr(value, "fget", value), "__name__", str(value)),
)
def test_another_law_is_told_from_the_contracts(deployed, monkeypatch, where, what, other):
    monkeypatch.setattr(where, what, other)
    with pytest.raises(Divergence):
        run(deployed, phases=[Phase.generate], derandomize=True, sequences=SEQUENCES)
