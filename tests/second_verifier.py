"""A stranger's verifier of one finished round, from PROTOCOL.md alone; it shares no code with the package.

Suites `paillier` and `hybrid`, under whatever key the round's epoch has. What needs a chain, a store or other
rounds' payloads (CIDs, roster, §5.1) is left to the audit.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise

from .second_capsule import Place
from .second_parts import (
    Mismatch,
    blaming,
    demand,
    encode,
    fields,
    labelled,
    listed,
    read_model,
    take,
    tree_root,
    u64,
    unseal,
)
from .second_study import Facts, Study, model_digest

SHARE, OPENING, MODEL = 3, 4, 5  # kinds of sealed contents (§6.3); the first two are payload kinds too (§4.2)


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
    root, base = study.round.commits[member]
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
    named = [told for _, told in study.round.commits.values()]
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
    revealed = [
        m for m in sorted(study.round.commits) if m in facts.reveals and study.round.commits[m][1] == base
    ]
    found = {member: examined(facts, study, member) for member in revealed}
    updates = []
    for member in study.total.members:
        demand(member in facts.reveals, "§5.2", "a member that did not reveal")
        demand(member in found, "§5.2", "a member that did not commit, or from another base model")
        leaves = found[member]
        if isinstance(leaves, Mismatch):
            raise leaves
        updates.append(leaves)
    posted = split(facts.total, study.suite.widths)
    demand(tree_root(posted) == study.total.root, "§5.2", "bytes are not under the posted root")
    told = fields(posted[0], [*range(5), 6, 7, 8, 9, 12, 13], "§4.2")
    lines = listed(told[13], list, "§4.2")
    missing = [take(line[0], bytes, "§4.2") for line in lines if line[1:] == [5, 0, ""]]
    check_unavailable(study, missing)
    verdicts = {
        m: verdict(m in facts.reveals, m in missing, found.get(m)) for m in sorted(study.round.commits)
    }
    members = [
        [member, study.round.commits[member][0]] for member, verdict in verdicts.items() if not verdict
    ]
    demand([m for m, _ in members] == list(study.total.members), "§5.2", "members")
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


def place(facts: Facts, study: Study) -> Place:
    """§7.1."""
    return facts.ledger, u64(facts.study), u64(facts.round), study.total.root


def check_share(facts: Facts, study: Study, member: bytes, total: Sequence[bytes]) -> list[list[int]]:
    """§5.4: the a_k of one right share, dealer by dealer."""
    parts = split(facts.shares[member], [study.suite.share])
    demand(tree_root(parts) == study.round.shares[member], "§9.9", "digest of the share")
    expected = header(facts, study, 3, {5: member, 11: study.total.root})
    demand(parts[0] == expected, "§4.2", "header of the share")
    return study.suite.check_share(total, parts[1], place(facts, study), study.ledger.seat(member))


def check_opening(facts: Facts, study: Study, digest: bytes, total: Sequence[bytes]) -> list[list[int]]:
    """§5.5: the plaintexts of the only opening."""
    widths = study.suite.plaintexts
    *parts, witnesses = split(facts.opening, [*widths, sum(widths)])
    demand(tree_root(parts) == digest, "§5.5", "digest of the opening")
    demand(parts[0] == header(facts, study, 4, {11: study.total.root}), "§4.2", "header of the opening")
    return study.suite.check_opening(total, b"".join(parts[1:]), witnesses, place(facts, study))


# ---------------------------------------------------------------- §8: from sums to a model


def apply(facts: Facts, study: Study, values: Sequence[int]) -> bytes:
    """§8.5, §8.6: all parameters of the new model as little-endian float32."""
    *sums, W = values
    n, M, cap = len(study.total.members), study.M, study.cap
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


def open_boxes(facts: Facts, study: Study) -> Facts:
    """§6.3: the facts with shares, opening and model unsealed."""
    key = facts.content_key
    if study.key_digest is None or key is None:
        demand(study.key_digest is None and key is None, "§6.3", "content key")
        return facts
    demand(labelled("content-key-digest", key) == study.key_digest, "§6.3", "content key")
    where = facts.ledger, facts.study, facts.round
    shares = {member: unseal(key, *where, SHARE, box) for member, box in facts.shares.items()}
    if not study.round.proposals:
        return replace(facts, shares=shares)
    opening, model = unseal(key, *where, OPENING, facts.opening), unseal(key, *where, MODEL, facts.model)
    return replace(facts, shares=shares, opening=opening, model=model)


def check_unavailable(study: Study, missing: Sequence[bytes]) -> None:
    """§5.2, §9.16."""
    ended = study.round.revealing_ended(study.total.time)
    half = study.terms.windows[2] // 2
    late = ended is not None and study.total.time >= ended + half
    demand(late or not missing, "§9.16", "called too early")


def verify(facts: Facts) -> list[bytes]:
    """Recompute a round that has a result: its model, tensor by tensor, or the first mismatch."""
    study = Study(facts)
    facts = open_boxes(facts, study)
    base = check_base(facts, study)
    with blaming(study.total.aggregator):
        total = check_total(facts, study, check_members(facts, study, base))
    demand(
        all(judged is not study.total for judged, _ in study.round.faults), "§9.17", "a fault that is none"
    )
    shares = {}
    for member in facts.shares:
        with blaming(member):
            shares[study.ledger.seat(member)] = check_share(facts, study, member, total)
    demand(len(shares) >= study.t, "§5", "fewer shares than the threshold")
    joined = study.suite.join(shares, total)
    new = apply(facts, study, study.suite.open(total, joined, place(facts, study), len(study.total.members)))
    demand(bool(study.round.proposals), "§5", "no result")
    proposer, proposal = next(iter(study.round.proposals.items()))
    with blaming(proposer):
        plaintexts = check_opening(facts, study, proposal.opening, total)
        demand(plaintexts == joined, "§7.9", "the shares open to something else")
        demand(model_digest(study, new) == proposal.model, "§5.5", "digest of the model")
        demand(read_model(facts.shape, facts.model) == new, "§8.7", "parameters of the stored model")
    ends = accumulate((4 * math.prod(dimensions) for _, dimensions in facts.shape), initial=0)
    return [new[a:b] for a, b in pairwise(ends)]
