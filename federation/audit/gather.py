"""Fetches what a round's events name, and notes what is missing or no lawful content (PROTOCOL §9)."""

from __future__ import annotations

from ..audience import PUBLIC
from ..digest import Cid
from ..errors import Unavailable, Violation
from ..members import Address
from ..model import size_limit
from ..runs import Content, whole
from ..seal import ContentKey
from ..store.content import ContentStore, open_content
from ..wire import Kind
from .record import Missing, RoundRecord, Unreadable


class Gatherer:
    """Fetches into a record and notes what is missing."""

    def __init__(self, record: RoundRecord, store: ContentStore, key: ContentKey) -> None:
        self._record = record
        self._agreement = record.agreement
        self._store = store
        self._key = key

    def gather_total(self) -> None:
        """Fetches updates and total: all that a share depends on."""
        record, agreement, round = self._record, self._agreement, self._record.round
        for who, reveal in sorted(round.reveals.items()):
            limit = agreement.update_shape.size_limit
            content = self._fetch(who, reveal.cid, Kind.UPDATE, limit)
            if content is not None:
                record.updates[who] = content
        if round.total is not None:
            limit = agreement.total_shape.size_limit
            record.total = self._fetch(round.total.sender, round.total.cid, Kind.TOTAL, limit)

    def gather_results(self) -> None:
        """Fetches shares, openings and models."""
        record, agreement, round = self._record, self._agreement, self._record.round
        record.sealed = agreement.spec.audience.is_sealed and self._key == PUBLIC
        if record.sealed:
            return
        for who, share in sorted(round.shares.items()):
            self._unwrap(record.shares, who, share.cid, Kind.SHARE, agreement.share_shape.size_limit)
        model_limit = size_limit(agreement.task.parameters)
        for result in round.proposals:
            opening_limit = agreement.opening_shape.size_limit
            self._unwrap(record.openings, result.sender, result.opening_cid, Kind.OPENING, opening_limit)
            self._unwrap(record.models, result.sender, result.model_cid, Kind.MODEL, model_limit)

    def _fetch(self, author: Address, cid: Cid, kind: Kind, limit: int) -> Content | None:
        try:
            return open_content(self._store, cid, size=limit)
        except Unavailable as error:
            self._record.missing.append(Missing(cid=cid, author=author, kind=kind, why=str(error)))
        except Violation as fault:  # content that breaks its own format is its author's doing
            self._record.unreadable.append(Unreadable(author=author, kind=kind, fault=fault))
        return None

    def _unwrap(self, into: dict[Address, bytes], author: Address, cid: Cid, kind: Kind, limit: int) -> None:
        stored = self._fetch(author, cid, kind, self._agreement.wrapped_size(limit))
        if stored is not None:
            try:
                into[author] = self._agreement.unwrap(self._key, kind, self._record.id, whole(stored))
            except Violation as fault:
                self._record.unreadable.append(Unreadable(author=author, kind=kind, fault=fault))
