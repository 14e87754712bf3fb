"""A stranger's verifier of one finished round, from PROTOCOL.md alone; it shares no code with the package.

Suite `paillier` only. What needs a chain, a store or a clock (windows, CIDs, §5.1) is left to the audit.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise

from .second_parts import (
    Key,
    Mismatch,
    Shape,
    demand,
    encode,
    fields,
    labelled,
    listed,
    numbers,
    power,
    product,
    read_model,
    sha,
    take,
    tree_root,
    u64,
    unseal,
    words,
    xof,
)

SHARE, OPENING, MODEL = 3, 4, 5  # kinds of sealed contents (§6.3); the first two are payload kinds too (§4.2)


@dataclass(frozen=True)
class Facts:
    """One finished round as plain data; in a sealed study share payloads, opening and model are boxes."""

    study_digest: bytes
    document: bytes
    ledger: bytes
    study: int
    round: int
    shape: Shape
    base: Sequence[bytes]  # each tensor, little-endian float32
    commits: Mapping[bytes, tuple[bytes, bytes]]  # member: root, base model
    reveals: Mapping[bytes, bytes]  # payloads; anything for those that could not be fetched
    members: Sequence[bytes]  # as posted, like the total's root
    total_root: bytes
    total: bytes
    shares: Mapping[bytes, tuple[bytes, bytes]]  # member: digest, payload
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
        demand(found[5] == "paillier", "§7", "suite")
        self.key = Key(take(found[6], bytes, "§3"))
        self.institutions = listed(found[7], bytes, "§3")
        self.t, self.minimum = take(found[9], int, "§3"), take(found[10], int, "§3")
        demand(self.institutions == sorted(set(self.institutions)), "§3", "institutions do not increase")
        others = [take(found[key], kind, "§3") for key, kind in ((1, str), (2, str), (3, bytes), (11, int))]
        demand(len(others + listed(found[12], int, "§3")) == 8, "§3", "windows")
        lengths = {len(address) for address in [*self.institutions, take(found[8], bytes, "§3")]}
        demand(lengths == {20}, "§3", "length of an address")
        demand(len(self.institutions) <= self.most, "§3.2", "members")
        demand((self.t, len(self.institutions)) == (self.key.t, self.key.holders), "§3.2", "t and N")
        demand(self.t < self.minimum <= len(self.institutions), "§3.2", "minimum")
        self.key.check()
        audience = take(found[14], list, "§3")
        self.key_digest = take(audience[0], bytes, "§3") if audience else None
        self.values = 1 + sum(math.prod(dimensions) for _, dimensions in facts.shape)
        self.K = -(-self.values // self.key.lanes)
        self.shape = labelled("shape", encode(facts.shape))
        if found[2] == "tabular/logistic-regression":
            zeros = model_digest(self, bytes(4 * (self.values - 1)))
            demand(zeros == found[13], "§8.8", "genesis")

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
    common = {0: 1, 1: kind, 2: facts.ledger, 3: facts.study, 4: facts.round, 6: "paillier"}
    return encode({**common, 7: study.key.digest, 8: study.shape, 9: study.K, **further})


def split(payload: bytes, widths: Sequence[int], clause: str = "§4.1") -> list[bytes]:
    """§4.1: header, leaves and tail."""
    length = int.from_bytes(payload[:4], "big")
    demand(len(payload) >= 4 and length <= 4096, clause, "header length")
    demand(len(payload) == 4 + length + sum(widths), clause, "size")
    return [payload[a:b] for a, b in pairwise(accumulate([length, *widths], initial=4))]


def examine(facts: Facts, study: Study, member: bytes) -> None:
    """§4.3: one update, step by step."""
    key, K = study.key, study.K
    root, base = facts.commits[member]
    proof = 3 * key.width + key.bits // 16 + 37
    parts = split(facts.reveals[member], [2 * key.width] * K + [proof], "§4.3.1")
    demand(tree_root(parts) == root, "§4.3.2", "root")
    demand(parts[0] == header(facts, study, 1, {5: member, 10: base}), "§4.3.3", "header")
    for leaf, c in enumerate(ciphertexts(study, parts), 1):
        rule = "zero" if c == 0 else "range" if c >= key.square else "" if key.unit(c) else "unit"
        if rule:
            raise Mismatch("§4.3.4", rule, leaf)
    check_submission(study, parts)


def ciphertexts(study: Study, parts: Sequence[bytes]) -> list[int]:
    return numbers(b"".join(parts[1 : study.K + 1]), 2 * study.key.width)


def check_submission(study: Study, parts: Sequence[bytes]) -> None:
    """§7.6."""
    key, proof, b = study.key, parts[-1], study.key.width
    d, z, zeta = (int.from_bytes(p, "big") for p in (proof[: 2 * b], proof[2 * b : 3 * b], proof[3 * b :]))
    demand(z < key.n and zeta < 1 << key.bits // 2 + 289, "§4.3.5", "response out of range")
    demand(1 <= d < key.square and key.unit(d), "§4.3.5", "d is no unit")
    e = words("submission proof", study.K, key.digest, parts[0], tree_root(parts[:-1]), proof[: 2 * b])
    left = d * product(ciphertexts(study, parts), e, key.square) % key.square
    demand(left == (1 + z * key.n) * power(key.hs, zeta, key.square) % key.square, "§4.3.5", "equation")


def exclusion(
    facts: Facts, study: Study, member: bytes, base: bytes, missing: Iterable[bytes]
) -> list[object]:
    """§5.2: code, leaf and rule of a member that must not be in the total; empty for one that must."""
    if member not in facts.reveals:
        return [1, 0, ""]
    if facts.commits[member][1] != base:
        return [6, 0, ""]
    if member in missing:
        return [5, 0, ""]
    try:
        examine(facts, study, member)
    except Mismatch as found:
        code = {"§4.3.2": 2, "§4.3.5": 4}.get(found.clause, 3)
        return [code, found.leaf, found.what if code == 3 else ""]
    return []


def check_members(facts: Facts, study: Study) -> None:
    """§5.2, and the base model of the round."""
    base = model_digest(study, b"".join(facts.base))
    named = [told for _, told in facts.commits.values()]
    demand(named.count(base) >= study.t, "§5.2", "base model")
    posted = split(facts.total, [2 * study.key.width] * study.K)
    demand(tree_root(posted) == facts.total_root, "§5.2", "bytes are not under the posted root")
    told = fields(posted[0], [*range(5), 6, 7, 8, 9, 12, 13], "§4.2")
    lines = listed(told[13], list, "§4.2")
    missing = [take(line[0], bytes, "§4.2") for line in lines if line[1:] == [5, 0, ""]]
    for member in facts.members:
        demand(member in facts.commits and member in facts.reveals, "§5.2", "a member that did not reveal")
        demand(facts.commits[member][1] == base, "§5.2", "a member from another base model")
        examine(facts, study, member)
    verdicts = {m: exclusion(facts, study, m, base, missing) for m in sorted(facts.commits)}
    members = [[member, facts.commits[member][0]] for member, verdict in verdicts.items() if not verdict]
    demand([m for m, _ in members] == list(facts.members), "§5.2", "members")
    demand(len(members) >= study.minimum, "§9.7", "minimum")
    demand(told[12] == members, "§5.2", "members in the header")
    excluded = [[member, *verdict] for member, verdict in verdicts.items() if verdict]
    demand(told[13] == excluded, "§5.2", "exclusions in the header")
    demand(posted[0] == header(facts, study, 2, {12: members, 13: excluded}), "§4.2", "header of the total")


def check_total(facts: Facts, study: Study) -> list[int]:
    """§5.3, §7.7: the total's ciphertexts, recomputed."""
    widths = [2 * study.key.width] * study.K
    proof = 3 * study.key.width + study.key.bits // 16 + 37
    updates = [ciphertexts(study, split(facts.reveals[m], [*widths, proof])) for m in facts.members]
    total = [product(leaves, [1] * len(leaves), study.key.square) for leaves in zip(*updates, strict=True)]
    demand(ciphertexts(study, split(facts.total, widths)) == total, "§5.3", "leaves of the total")
    return total


# ---------------------------------------------------------------- §7.8, §7.9: shares and opening


def place(facts: Facts, study: Study) -> list[bytes]:
    """§7.1, behind the key digest."""
    return [study.key.digest, facts.ledger, u64(facts.study), u64(facts.round), facts.total_root]


def check_share(facts: Facts, study: Study, member: bytes, total: Sequence[int]) -> list[int]:
    """§7.8: the a_k of one right share."""
    key, b, (digest, payload) = study.key, study.key.width, facts.shares[member]
    parts = split(payload, [study.K * b + 16 + b + 33])
    demand(tree_root(parts) == digest, "§9.9", "digest of the share")
    expected = header(facts, study, 3, {5: member, 11: facts.total_root})
    demand(parts[0] == expected, "§4.2", "header of the share")
    answers, challenge = parts[1][: -b - 49], parts[1][-b - 49 : -b - 33]
    a, e = numbers(answers, b), int.from_bytes(challenge, "big")
    z = int.from_bytes(parts[1][-b - 33 :], "big")
    demand(all(1 <= value < key.n and key.unit(value) for value in a), "§7.8", "a_k is no unit")
    demand(z < 1 << key.bits + 257, "§7.8", "z")
    i = study.seat(member)
    hashes = u64(i), sha(b"".join(c.to_bytes(2 * b, "big") for c in total)), sha(answers)
    statement = labelled("share", *place(facts, study), *hashes)
    rho = words("share batch", study.K, statement)
    g = power(product(total, rho, key.n), 4 * key.D, key.n)
    x1 = product(a, rho, key.n) ** 2 % key.n
    x2 = product(key.V, [i**j for j in range(key.t)], key.n)
    T1 = power(g, z, key.n) * power(x1, -e, key.n) % key.n
    T2 = power(key.v, z, key.n) * power(x2, -e, key.n) % key.n
    both = T1.to_bytes(b, "big") + T2.to_bytes(b, "big")
    demand(xof("share challenge", 16, statement, both) == challenge, "§7.8", "proof of the share")
    return a


def join(study: Study, shares: Mapping[int, list[int]], total: Sequence[int]) -> list[int]:
    """§7.9: plaintexts from the t lowest-numbered members' shares."""
    key = study.key
    seats = sorted(shares)[: key.t]
    weights = [key.D * math.prod(Fraction(j, j - i) for j in seats if j != i) for i in seats]
    found = []
    for k, c in enumerate(total):
        w = product([shares[i][k] for i in seats], [int(2 * weight) for weight in weights], key.n)
        q = power(c, 4 * key.D**2, key.square) * power(w, -key.n, key.square) % key.square
        demand((q - 1) % key.n == 0, "§7.9", "shares do not fit together")
        found.append((q - 1) // key.n * power(4 * key.D**2, -1, key.n) % key.n)
    return found


def check_opening(facts: Facts, study: Study, total: Sequence[int]) -> list[int]:
    """§7.9: the plaintexts of the only opening."""
    key, b, K = study.key, study.key.width, study.K
    parts = split(facts.opening, [b] * K + [K * b])
    demand(tree_root(parts[:-1]) == facts.opening_digest, "§5.5", "digest of the opening")
    demand(parts[0] == header(facts, study, 4, {11: facts.total_root}), "§4.2", "header of the opening")
    plaintexts, witnesses = b"".join(parts[1:-1]), parts[-1]
    m, w = numbers(plaintexts, b), numbers(witnesses, b)
    demand(all(value < key.n for value in m), "§7.9.1", "plaintext out of range")
    demand(all(1 <= value < key.n and key.unit(value) for value in w), "§7.9.2", "witness is no unit")
    demand(all(1 <= c < key.square and key.unit(c) for c in total), "§7.9.2", "ciphertext is no unit")
    rho = xof("opening batch", 16 * K, *place(facts, study), sha(plaintexts), sha(witnesses))
    four = 4 * key.D**2
    for j in range(8):
        digit = numbers(rho, 2)[j::8]
        left = power(product(total, digit, key.square), four, key.square)
        mean = 1 + four * sum(r * value for r, value in zip(digit, m, strict=True)) * key.n
        right = mean * power(product(w, digit, key.n), key.n, key.square) % key.square
        demand(left == right, "§7.9.4", f"equation {j}")
    return m


# ---------------------------------------------------------------- §7.4, §8: from plaintexts to a model


def read_lanes(study: Study, plaintexts: Iterable[int]) -> list[int]:
    """§7.4: the sums and, last, their weight."""
    half, values = 1 << 23, []
    for m in plaintexts:
        rest = m - study.key.n if 2 * m > study.key.n else m
        for _ in range(study.key.lanes):
            values.append((rest + half) % (2 * half) - half)
            rest = (rest - values[-1]) >> 24
        demand(rest == 0, "§7.4", "plaintext is no vector of lanes")
    demand(not any(values[study.values :]), "§7.4", "unused lane")
    return values[: study.values]


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
    check_members(facts, study)
    total = check_total(facts, study)
    shares = {study.seat(m): check_share(facts, study, m, total) for m in facts.shares}
    demand(len(shares) >= study.t, "§5", "fewer shares than the threshold")
    plaintexts = check_opening(facts, study, total)
    demand(join(study, shares, total) == plaintexts, "§7.9", "the shares open to something else")
    new = apply(facts, study, read_lanes(study, plaintexts))
    demand(model_digest(study, new) == facts.model_digest, "§5.5", "digest of the model")
    demand(read_model(facts.shape, facts.model) == new, "§8.7", "parameters of the stored model")
    ends = accumulate((4 * math.prod(dimensions) for _, dimensions in facts.shape), initial=0)
    return [new[a:b] for a, b in pairwise(ends)]
