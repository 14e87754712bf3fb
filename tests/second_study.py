"""A stranger's reading of a study: its document, the terms on the ledger, and the key that rules a round.

From PROTOCOL.md alone (§3, §8.1); it shares no code with the package.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .second_ledger import Ledger, Total
from .second_log import Line
from .second_parts import Mismatch, Shape, demand, encode, fields, labelled, listed, sha, take
from .second_suites import Suite


@dataclass(frozen=True)
class Facts:
    """What ledger and store hold of one round; if sealed, shares, opening and model are boxes."""

    ledger: bytes
    study: int
    round: int
    log: Sequence[Line]  # of the whole contract, in its order
    document: bytes
    shape: Shape
    base: Sequence[bytes]  # each tensor, little-endian float32
    reveals: Mapping[bytes, bytes]  # payloads; anything for those that could not be fetched
    total: bytes
    shares: Mapping[bytes, bytes]
    opening: bytes = b""  # like the model of the first proposal; none where there is none
    model: bytes = b""
    content_key: bytes | None = None


class Study:
    """§3: the document, checked as §3.2 says, under the key of the round."""

    def __init__(self, facts: Facts) -> None:
        self.ledger = Ledger(facts.study, facts.log)
        self.round, self.terms = self.ledger.round(facts.round), self.ledger.terms
        demand(sha(facts.document) == self.terms.digest, "§3.1", "digest of the study")
        demand(len(facts.document) <= 65536, "§3", "size of the study")
        found = fields(facts.document, range(16), "§3")
        demand(found[0] == 1, "§3", "version")
        self.clip, self.bound, self.cap, self.most, bits = listed(found[4], int, "§3", 5)
        self.M = (1 << bits - 1) - 1 if 2 <= bits <= 24 else 0
        self.check_scale()
        self.values = 1 + sum(math.prod(dimensions) for _, dimensions in facts.shape)
        self.suite_name = take(found[5], str, "§3")
        self.check_terms(found)
        named = take(found[1], str, "§3"), take(found[2], str, "§3"), take(found[3], bytes, "§3")
        demand(len(take(found[13], bytes, "§3")) == 32, "§3", "genesis")
        self.shape = labelled("shape", encode(facts.shape))
        first = self.checked(take(found[6], bytes, "§3"))
        demand(first.digest == self.terms.key, "§3.1", "key digest")
        self.check_leaves(facts, first)
        _, ruling, ciphertexts = self.ledger.epoch_of(facts.round)
        self.suite = first if ruling == first.digest else self.later(ruling)
        demand(ciphertexts == self.suite.K, "§3.3", "accepted number of ciphertexts")
        audience = take(found[14], list, "§3")
        self.key_digest = take(audience[0], bytes, "§3") if audience else None
        if named[1] == "tabular/logistic-regression":
            zeros = model_digest(self, bytes(4 * (self.values - 1)))
            demand(zeros == found[13], "§8.8", "genesis")

    def check_terms(self, found: Mapping[int, object]) -> None:
        """§3.1, §3.2: what the contract enforces is what the document says, and lawful."""
        terms = self.terms
        self.institutions, self.aggregators = listed(found[7], bytes, "§3"), listed(found[8], bytes, "§3")
        self.t, self.minimum, rounds = (take(found[key], int, "§3") for key in (9, 10, 11))
        windows = listed(found[12], int, "§3", 4)
        wanted = take(found[15], list, "§3")
        demand(len(wanted) == 3, "§3", "stake")
        gwei, seconds, treasury = wanted
        stake = take(gwei, int, "§3"), take(seconds, int, "§3"), take(treasury, bytes, "§3")
        said = self.institutions, self.aggregators, self.t, self.minimum, rounds, windows, stake
        told = list(terms.institutions), list(terms.aggregators), terms.threshold, terms.minimum, terms.rounds
        demand(said == (*told, list(terms.windows), terms.stake), "§3.1", "terms on the ledger")
        N = len(self.institutions)
        demand(self.institutions == sorted(set(self.institutions)), "§3", "institutions do not increase")
        demand(len(set(self.aggregators)) == len(self.aggregators), "§3", "an aggregator twice")
        addresses = [*self.institutions, *self.aggregators, treasury]
        demand({len(address) for address in addresses} == {20}, "§3", "length of an address")
        demand(0 <= gwei < 1 << 64 and 0 <= seconds < 1 << 32, "§3", "range of the stake")
        demand(3 <= N <= 32 and self.most >= N, "§3.2", "members")
        demand(1 <= len(self.aggregators) <= 3, "§3.2", "aggregators")
        demand(self.t >= 2 and 2 * self.t - 1 <= N, "§3.2", "threshold")
        demand(self.t < self.minimum <= N, "§3.2", "minimum")
        demand(all(1 <= number < 1 << 32 for number in [rounds, *windows]), "§3.2", "rounds and windows")

    def check_leaves(self, facts: Facts, first: Suite) -> None:
        """§3.1: what the court judges by."""
        number = {"paillier": 1, "hybrid": 2}[self.suite_name]
        binding = labelled("binding", facts.ledger, self.shape)
        due = number, first.K, len(first.widths) - first.K, binding
        demand(self.terms.leaves == due, "§3.1", "leaves on the ledger")

    def checked(self, encoding: bytes) -> Suite:
        """§3.2, §3.3: the suite under a key, which fits the study and whose proof holds."""
        suite = Suite(self.suite_name, encoding, self.values)
        demand((self.t, len(self.institutions)) == (suite.key.t, suite.key.holders), "§3.2", "t and N")
        suite.check_keys()
        return suite

    def later(self, digest: bytes) -> Suite:
        """§3.3: the suite under an adopted key, whose document lies behind one of its CIDs."""
        for _, document in self.ledger.proposed[digest]:
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

    @property
    def total(self) -> Total:
        """The one that stands."""
        if self.round.total is None:
            raise Mismatch("§5", "no total stands")
        return self.round.total


def model_digest(study: Study, parameters: bytes) -> bytes:
    """§8.7."""
    return labelled("model", study.shape, parameters)
