"""A stranger's verifier of one finished round, from PROTOCOL.md alone; it shares no code with the package.

Suites `paillier` and `hybrid`, under whatever key the round's epoch has. What needs a chain, a store or a
clock (windows, CIDs, §5.1) is left to the audit.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise

from .second_capsule import Place
from .second_parts import (
    Mismatch,
    Shape,
    blaming,
    demand,
    encode,
    fields,
    labelled,
    listed,
    read_model,
    sha,
    take,
    tree_root,
    u64,
    unseal,
)
from .second_suites import Suite

SHARE, OPENING, MODEL = 3, 4, 5  # kinds of sealed contents (§6.3); the first two are payload kinds too (§4.2)
Call = tuple[str, int] | tuple[str, bytes, bytes] | tuple[str, bytes, bytes, bytes]


@dataclass(frozen=True)
class Facts:
    """One finished round as plain data; in a sealed study share payloads, opening and model are boxes.

    The log has what §3.3 asks for, in the ledger's order: ("commitUpdate", round), ("proposeKey", member,
    key digest, the bytes behind the CID), ("acceptKey", member, key digest).
    """

    study_digest: bytes
    key_digest: bytes  # of the document's key, as `createStudy` recorded it
    document: bytes
    ledger: bytes
    study: int
    round: int
    shape: Shape
    base: Sequence[bytes]  # each tensor, little-endian float32
    log: Sequence[Call]
    commits: Mapping[bytes, tuple[bytes, bytes]]  # member: root, base model
    reveals: Mapping[bytes, bytes]  # payloads; anything for those that could not be fetched
    members: Sequence[bytes]  # as posted, like the total's root
    total_root: bytes
    total: bytes
    shares: Mapping[bytes, tuple[bytes, bytes]]  # member: digest, payload
    proposer: bytes
    opening_digest: bytes
    opening: bytes
    model_digest: bytes
    model: bytes
    content_key: bytes | None = None


# ---------------------------------------------------------------- §3: the study


class Study:
    """§3: the document, checked as §3.2 says."""

    def __init__(self, facts: Facts) -> None:
        demand(sha(facts.document) == facts.study_digest, "§3.1", "digest of the study")
        demand(len(facts.document) <= 65536, "§3", "size of the study")
        found = fields(facts.document, range(15), "§3")
        demand(found[0] == 1, "§3", "version")
        self.clip, self.bound, self.cap, self.most, bits = listed(found[4], int, "§3", 5)
        self.M = (1 << bits - 1) - 1 if 2 <= bits <= 24 else 0
        self.check_scale()
        self.values = 1 + sum(math.prod(dimensions) for _, dimensions in facts.shape)
        self.suite_name = take(found[5], str, "§3")
        self.institutions = listed(found[7], bytes, "§3")
        self.t, self.minimum = take(found[9], int, "§3"), take(found[10], int, "§3")
        demand(self.institutions == sorted(set(self.institutions)), "§3", "institutions do not increase")
        others = [take(found[key], kind, "§3") for key, kind in ((1, str), (2, str), (3, bytes), (11, int))]
        demand(len(others + listed(found[12], int, "§3")) == 8, "§3", "windows")
        self.aggregator = take(found[8], bytes, "§3")
        lengths = {len(address) for address in [*self.institutions, self.aggregator]}
        demand(lengths == {20}, "§3", "length of an address")
        demand(len(self.institutions) <= self.most, "§3.2", "members")
        demand(self.t < self.minimum <= len(self.institutions), "§3.2", "minimum")
        first = self.checked(take(found[6], bytes, "§3"))
        demand(first.digest == facts.key_digest, "§3.1", "key digest")
        ruling = self.ruling(facts)
        self.suite = first if ruling == first.digest else self.later(facts, ruling)
        audience = take(found[14], list, "§3")
        self.key_digest = take(audience[0], bytes, "§3") if audience else None
        self.shape = labelled("shape", encode(facts.shape))
        if found[2] == "tabular/logistic-regression":
            zeros = model_digest(self, bytes(4 * (self.values - 1)))
            demand(zeros == found[13], "§8.8", "genesis")

    def checked(self, encoding: bytes) -> Suite:
        """§3.2, §3.3: the suite under a key, which fits the study and whose proof holds."""
        suite = Suite(self.suite_name, encoding, self.values)
        demand((self.t, len(self.institutions)) == (suite.key.t, suite.key.holders), "§3.2", "t and N")
        suite.check_keys()
        return suite

    def ruling(self, facts: Facts) -> bytes:
        """§3.3: the digest of the round's key."""
        newest, ruling, consents = 0, facts.key_digest, dict[bytes, set[bytes]]()
        for call in facts.log:
            match call:
                case "commitUpdate", int() as round:
                    newest = max(newest, round)
                case "acceptKey", bytes() as member, bytes() as key:
                    self.seat(member)
                    consents.setdefault(key, set()).add(member)
                    adopted = len(consents[key]) == len(self.institutions)
                    ruling = key if adopted and newest + 2 <= facts.round else ruling
        return ruling

    def later(self, facts: Facts, digest: bytes) -> Suite:
        """§3.3: the suite under an adopted key, whose document lies behind one of its CIDs."""
        for call in facts.log:
            match call:
                case "proposeKey", bytes() as proposer, bytes() as key, bytes() as document if key == digest:
                    self.seat(proposer)
                    try:
                        encoding = self.key_in(document)
                        found = Suite(self.suite_name, encoding, self.values).digest
                    except Mismatch:
                        continue
                    if found == digest:
                        return self.checked(encoding)
        raise Mismatch("§3.3", "no CID leads to the document of the adopted key")

    def key_in(self, document: bytes) -> bytes:
        """§7.11, §3.3: the encoded key in a later key's document."""
        demand(len(document) <= 65536, "§3.3", "size of a key's document")
        found = fields(document, range(4), "§7.11")
        demand((found[0], found[1]) == (1, self.suite_name), "§3.3", "version or suite of a key's document")
        demand(found[3] == self.institutions, "§3.3", "holders of a key")
        return take(found[2], bytes, "§7.11")

    def check_scale(self) -> None:
        """§8.1."""
        ranged = all(1 <= value <= 1 << 53 for value in (self.clip, self.bound, self.cap, self.most))
        demand(ranged and self.M > 0, "§8.1", "range")
        demand(self.most * max(self.M, self.cap) < 1 << 23, "§8.1", "a sum may wrap")
        demand(len(str(self.cap).rstrip("0")) <= 2, "§8.1", "digits of the weight cap")

    def seat(self, member: bytes) -> int:
        demand(member in self.institutions, "§5", "not an institution of this study")
        return self.institutions.index(member) + 1


# ---------------------------------------------------------------- §4, §5.2: payloads and members


def header(facts: Facts, study: Study, kind: int, further: dict[int, object]) -> bytes:
    """§4.2: the expected one."""
    suite = study.suite
    common = {0: 1, 1: kind, 2: facts.ledger, 3: facts.study, 4: facts.round, 6: suite.name}
    return encode({**common, 7: suite.digest, 8: study.shape, 9: len(suite.widths), **further})


def split(payload: bytes, widths: Sequence[int], clause: str = "§4.1") -> list[bytes]:
    """§4.1: header, leaves and tail."""
    length = int.from_bytes(payload[:4], "big")
    demand(len(payload) >= 4 and length <= 4096, clause, "header length")
    demand(len(payload) == 4 + length + sum(widths), clause, "size")
    return [payload[a:b] for a, b in pairwise(accumulate([length, *widths], initial=4))]


def examine(facts: Facts, study: Study, member: bytes) -> list[bytes]:
    """§4.3: one update, step by step; its leaves."""
    suite = study.suite
    root, base = facts.commits[member]
    parts = split(facts.reveals[member], [*suite.widths, suite.proof], "§4.3.1")
    found, *leaves, proof = parts
    demand(tree_root(parts) == root, "§4.3.2", "root")
    demand(found == header(facts, study, 1, {5: member, 10: base}), "§4.3.3", "header")
    for leaf, data in enumerate(leaves, 1):
        rule = suite.broken_rule(leaf, data)
        if rule:
            raise Mismatch("§4.3.4", rule, leaf)
    suite.check_submission(leaves, proof, found, tree_root(parts[:-1]))
    return leaves


def check_base(facts: Facts, study: Study) -> bytes:
    """§5.2: the base model of the round."""
    base = model_digest(study, b"".join(facts.base))
    named = [told for _, told in facts.commits.values()]
    demand(named.count(base) >= study.t, "§5.2", "base model")
    return base


def examined(facts: Facts, study: Study, member: bytes) -> list[bytes] | Mismatch:
    """The leaves of a member's update, or what is wrong with it."""
    try:
        return examine(facts, study, member)
    except Mismatch as found:
        found.culprit = member
        return found


def check_members(facts: Facts, study: Study, base: bytes) -> list[list[bytes]]:
    """§5.2: the members' leaves."""
    revealed = [m for m in sorted(facts.commits) if m in facts.reveals and facts.commits[m][1] == base]
    found = {member: examined(facts, study, member) for member in revealed}
    updates = []
    for member in facts.members:
        demand(member in facts.reveals, "§5.2", "a member that did not reveal")
        demand(member in found, "§5.2", "a member that did not commit, or from another base model")
        leaves = found[member]
        if isinstance(leaves, Mismatch):
            raise leaves
        updates.append(leaves)
    posted = split(facts.total, study.suite.widths)
    demand(tree_root(posted) == facts.total_root, "§5.2", "bytes are not under the posted root")
    told = fields(posted[0], [*range(5), 6, 7, 8, 9, 12, 13], "§4.2")
    lines = listed(told[13], list, "§4.2")
    missing = [take(line[0], bytes, "§4.2") for line in lines if line[1:] == [5, 0, ""]]
    verdicts = {m: verdict(m in facts.reveals, m in missing, found.get(m)) for m in sorted(facts.commits)}
    members = [[member, facts.commits[member][0]] for member, verdict in verdicts.items() if not verdict]
    demand([m for m, _ in members] == list(facts.members), "§5.2", "members")
    demand(len(members) >= study.minimum, "§9.7", "minimum")
    demand(told[12] == members, "§5.2", "members in the header")
    excluded = [[member, *verdict] for member, verdict in verdicts.items() if verdict]
    demand(told[13] == excluded, "§5.2", "exclusions in the header")
    demand(posted[0] == header(facts, study, 2, {12: members, 13: excluded}), "§4.2", "header of the total")
    return updates


def verdict(revealed: bool, missing: bool, found: list[bytes] | Mismatch | None) -> list[object]:
    """§5.2: code, leaf and rule of a member that must not be in the total; empty for one that must."""
    if not revealed:
        return [1, 0, ""]
    if found is None:
        return [6, 0, ""]
    if missing:
        return [5, 0, ""]
    if not isinstance(found, Mismatch):
        return []
    code = {"§4.3.2": 2, "§4.3.5": 4}.get(found.clause, 3)
    return [code, found.leaf, found.what if code == 3 else ""]


def check_total(facts: Facts, study: Study, updates: Sequence[Sequence[bytes]]) -> list[bytes]:
    """§5.3, §7.7: the total's leaves, recomputed."""
    total = study.suite.add(updates)
    demand(split(facts.total, study.suite.widths)[1:] == total, "§5.3", "leaves of the total")
    return total


# ---------------------------------------------------------------- §5.4: shares and opening


def place(facts: Facts) -> Place:
    """§7.1."""
    return facts.ledger, u64(facts.study), u64(facts.round), facts.total_root


def check_share(facts: Facts, study: Study, member: bytes, total: Sequence[bytes]) -> list[list[int]]:
    """§5.4: the a_k of one right share, dealer by dealer."""
    digest, payload = facts.shares[member]
    parts = split(payload, [study.suite.share])
    demand(tree_root(parts) == digest, "§9.9", "digest of the share")
    expected = header(facts, study, 3, {5: member, 11: facts.total_root})
    demand(parts[0] == expected, "§4.2", "header of the share")
    return study.suite.check_share(total, parts[1], place(facts), study.seat(member))


def check_opening(facts: Facts, study: Study, total: Sequence[bytes]) -> list[list[int]]:
    """§5.5: the plaintexts of the only opening."""
    widths = study.suite.plaintexts
    *parts, witnesses = split(facts.opening, [*widths, sum(widths)])
    demand(tree_root(parts) == facts.opening_digest, "§5.5", "digest of the opening")
    demand(parts[0] == header(facts, study, 4, {11: facts.total_root}), "§4.2", "header of the opening")
    return study.suite.check_opening(total, b"".join(parts[1:]), witnesses, place(facts))


# ---------------------------------------------------------------- §8: from sums to a model


def apply(facts: Facts, study: Study, values: Sequence[int]) -> bytes:
    """§8.5, §8.6: all parameters of the new model as little-endian float32."""
    *sums, W = values
    n, M, cap = len(facts.members), study.M, study.cap
    demand(1 <= W <= n * cap, "§8.5.1", "weight")
    demand(all(abs(Q) <= min(n * M, M * W // cap + n) for Q in sums), "§8.5.1", "value")
    f = float(Fraction(study.bound * cap, M * W * 10**6))
    old = [value for (value,) in struct.iter_unpack("<f", b"".join(facts.base))]
    try:
        new = struct.pack(f"<{len(sums)}f", *(x + Q * f for x, Q in zip(old, sums, strict=True)))
    except OverflowError:
        raise Mismatch("§8.6", "a parameter is not finite") from None
    demand(all(math.isfinite(x) for (x,) in struct.iter_unpack("<f", new)), "§8.6", "not finite")
    return new


def model_digest(study: Study, parameters: bytes) -> bytes:
    """§8.7."""
    return labelled("model", study.shape, parameters)


def open_boxes(facts: Facts, study: Study) -> Facts:
    """§6.3: the facts with shares, opening and model unsealed."""
    key = facts.content_key
    if study.key_digest is None or key is None:
        demand(study.key_digest is None and key is None, "§6.3", "content key")
        return facts
    demand(labelled("content-key-digest", key) == study.key_digest, "§6.3", "content key")
    where = facts.ledger, facts.study, facts.round
    shares = {m: (digest, unseal(key, *where, SHARE, box)) for m, (digest, box) in facts.shares.items()}
    opening, model = unseal(key, *where, OPENING, facts.opening), unseal(key, *where, MODEL, facts.model)
    return replace(facts, shares=shares, opening=opening, model=model)


def verify(facts: Facts) -> list[bytes]:
    """Recompute a finished round: its model, tensor by tensor, or the first mismatch."""
    study = Study(facts)
    facts = open_boxes(facts, study)
    base = check_base(facts, study)
    with blaming(study.aggregator):
        total = check_total(facts, study, check_members(facts, study, base))
    shares = {}
    for member in facts.shares:
        with blaming(member):
            shares[study.seat(member)] = check_share(facts, study, member, total)
    demand(len(shares) >= study.t, "§5", "fewer shares than the threshold")
    with blaming(facts.proposer):
        plaintexts = check_opening(facts, study, total)
    demand(study.suite.join(shares, total) == plaintexts, "§7.9", "the shares open to something else")
    values = study.suite.open(total, plaintexts, place(facts), len(facts.members))
    new = apply(facts, study, values)
    with blaming(facts.proposer):
        demand(model_digest(study, new) == facts.model_digest, "§5.5", "digest of the model")
        demand(read_model(facts.shape, facts.model) == new, "§8.7", "parameters of the stored model")
    ends = accumulate((4 * math.prod(dimensions) for _, dimensions in facts.shape), initial=0)
    return [new[a:b] for a, b in pairwise(ends)]
