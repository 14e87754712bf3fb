"""A study, resolved: its document read, checked and turned into the parts that do the work.

Whoever takes part, aggregator, node or auditor, starts from the same `Agreement`, so that nobody
expects another header, layout or suite than the others (PROTOCOL §3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .arithmetic import Model
from .audience import PUBLIC
from .ciphers import SuiteName, resolve
from .ciphers.suite import CipherSuite, RoundContext, TotalContext
from .digest import Cid, Digest, LedgerId, derive, labelled, sha256
from .disputes import binding_digest
from .errors import Violation
from .events import Leaves, RoundId, StudyId, StudyTerms
from .members import Address
from .model import model_digest
from .runs import Run
from .seal import OVERHEAD, ContentKey, SealingSecret, seal, unseal
from .study import StudySpec, decode_spec
from .tasks import task_for
from .tasks.task import Task, TaskSpec
from .wire import Binding, Kind, Payload, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One study on one ledger, with its task, and with the key of an epoch and the suite under it (§3.3)."""

    ledger: LedgerId
    study: StudyId
    spec: StudySpec
    key: bytes  # encoded; the first epoch's is `spec.key`
    suite: CipherSuite
    task: Task

    def under(self, key: bytes) -> Agreement:
        """The same study in an epoch of this key; raises `Violation` unless the key is proven and fits."""
        suite = resolve(replace(self.suite_name, key=key))
        expectations = (
            ("threshold", self.spec.threshold, suite.threshold),
            ("share-holders", len(self.spec.members), suite.holders),
        )
        for name, expected, found in expectations:
            if expected != found:
                raise Violation("§3.3", f"a later key's {name}", expected=expected, found=found)
        suite.check_key()
        return replace(self, key=key, suite=suite)

    def binding(self, round: RoundId) -> Binding:
        """What every payload of this round is bound to."""
        return Binding(
            ledger=self.ledger,
            round=round,
            suite=self.spec.suite,
            key=self.suite.key_digest,
            shape=self.task.shape_digest,
            leaves=self.suite.layout.leaves,
        )

    def index_of(self, member: Address) -> int:
        """The member's number 1 … N: which key share it holds."""
        return self.spec.members.index(member) + 1

    def round_context(self, round: RoundId) -> RoundContext:
        """What the public parts of a round's encryption are expanded from."""
        return RoundContext(ledger=self.ledger, round=round)

    def total_context(self, round: RoundId, root: Digest) -> TotalContext:
        """What shares and openings of this total are bound to."""
        return TotalContext(ledger=self.ledger, round=round, root=root)

    @property
    def update_shape(self) -> Shape:
        """Capsule and body leaves, and the submission proof as one more leaf."""
        layout = self.suite.layout
        return Shape(parts=(layout.capsule, layout.body), tail=layout.proof_bytes, tail_in_tree=True)

    @property
    def total_shape(self) -> Shape:
        """Capsule and body leaves."""
        layout = self.suite.layout
        return Shape(parts=(layout.capsule, layout.body), tail=0, tail_in_tree=False)

    @property
    def share_shape(self) -> Shape:
        """One leaf: the share with its proof."""
        leaf = Run(first=1, count=1, width=self.suite.share_bytes)
        return Shape(parts=(leaf,), tail=0, tail_in_tree=False)

    @property
    def opening_shape(self) -> Shape:
        """A leaf for each plaintext; witnesses are a tail outside the tree: the digest covers the sum."""
        leaves = self.suite.opening_leaf
        return Shape(parts=(leaves,), tail=leaves.size, tail_in_tree=False)

    def model_digest(self, model: Model) -> Digest:
        """What the ledger calls this model."""
        return model_digest(model, self.task.shape_digest)

    def body(self, payload: Payload) -> Iterator[bytes]:
        """What of an update or a total is not its capsule, a run at a time, in order."""
        return (leaves for run, leaves in payload.runs() if run.first >= self.suite.layout.body.first)

    @property
    def suite_name(self) -> SuiteName:
        """How another process builds the same suite."""
        return SuiteName(name=self.spec.suite, key=self.key, values=self.task.size + 1)

    def check(self) -> None:
        """Raises `Violation` or `Refused` unless the study is sound: PROTOCOL §3.2."""
        spec, suite = self.spec, self.suite
        spec.scale.check()
        expectations: tuple[tuple[str, object, object], ...] = (
            ("the key's threshold", spec.threshold, suite.threshold),
            ("the key's share-holders", len(spec.members), suite.holders),
            ("the scale's most members", True, spec.scale.members >= len(spec.members)),
            ("the genesis model", self.model_digest(self.task.initial()), spec.genesis),
            ("institutions in increasing order", sorted(set(spec.members)), list(spec.members)),
            ("minimum contributors in t+1 … N", True, spec.threshold < spec.minimum <= len(spec.members)),
        )
        for name, expected, found in expectations:
            if expected != found:
                raise Violation("§3.2", name, expected=expected, found=found)
        suite.check_key()

    def content_key(self, reader: Address, secret: SealingSecret) -> ContentKey:
        """The key that opens shares, openings and models; raises `Violation` for one who is not meant to."""
        return self.spec.audience.content_key(reader, secret, self.ledger)

    def wrap(self, key: ContentKey, kind: Kind, round: RoundId, plaintext: bytes) -> bytes:
        """What is stored of a share, an opening or a model: sealed, unless the study is public.

        The nonce is derived from key and plaintext, so storing again after a crash changes nothing.
        """
        if key == PUBLIC:
            return plaintext
        context = self._seal_context(kind, round)
        return seal(key, plaintext, context=context, nonce=derive(key, "seal-nonce", context, plaintext))

    def unwrap(self, key: ContentKey, kind: Kind, round: RoundId, stored: bytes) -> bytes:
        """The inverse of `wrap`; raises `Violation`."""
        return stored if key == PUBLIC else unseal(key, stored, context=self._seal_context(kind, round))

    def wrapped_size(self, size: int) -> int:
        """Bytes in the store of `size` bytes of plaintext."""
        return size + OVERHEAD if self.spec.audience.is_sealed else size

    def _seal_context(self, kind: Kind, round: RoundId) -> bytes:
        return labelled("sealed", self.ledger, round.encode(), bytes([kind]))


def agree(ledger: LedgerId, study: StudyId, terms: StudyTerms, document: bytes) -> Agreement:
    """The agreement behind `terms`; raises `Violation` unless `document` is the one and says the same."""
    if sha256(document) != terms.digest:
        raise Violation("§3.1", "the study's document", expected=terms.digest, found=sha256(document))
    spec = decode_spec(document)
    said = spec.terms(terms.cid, terms.key, terms.leaves)
    if said != terms:
        raise Violation("§3.1", "the terms on the ledger", expected=said, found=terms)
    task, suite = _parts(spec)
    if suite.key_digest != terms.key:
        raise Violation("§3.1", "the key on the ledger", expected=suite.key_digest, found=terms.key)
    leaves = _leaves(ledger, task, suite)
    if leaves != terms.leaves:
        raise Violation("§3.1", "the leaves on the ledger", expected=leaves, found=terms.leaves)
    return Agreement(ledger=ledger, study=study, spec=spec, key=spec.key, suite=suite, task=task)


def terms_of(spec: StudySpec, cid: Cid, ledger: LedgerId) -> StudyTerms:
    """What the contract is told of a study whose document lies behind `cid`."""
    task, suite = _parts(spec)
    return spec.terms(cid, suite.key_digest, _leaves(ledger, task, suite))


def _leaves(ledger: LedgerId, task: Task, suite: CipherSuite) -> Leaves:
    layout = suite.layout
    return Leaves(
        suite=suite.code,
        ciphertexts=layout.capsule.count,
        chunks=layout.body.count,
        binding=binding_digest(ledger, task.shape_digest),
    )


def _parts(spec: StudySpec) -> tuple[Task, CipherSuite]:
    task = task_for(TaskSpec(name=spec.task, parameters=spec.task_parameters))
    return task, resolve(SuiteName(name=spec.suite, key=spec.key, values=task.size + 1))
