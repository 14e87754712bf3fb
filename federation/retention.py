"""Which updates nobody has to keep any more, and their removal from our own store (PROTOCOL §6.4).

Who ever holds t key shares can read every stored update, so bodies do not outlive their use. Whether one has
is decided by the ledger alone, in the same way for every party that has chosen the same number of rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from .digest import Cid
from .events import Timestamp
from .law import History
from .rounds import Round, Study
from .store.content import ContentStore

BATCH: Final = 100  # contents discarded at one quiet moment: a duty must not wait for years of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What the ledger names, sorted by whether it stays."""

    retired: frozenset[Cid]
    kept: frozenset[Cid]


def is_retired(study: Study, round: Round, now: Timestamp, *, rounds: int) -> bool:
    """Whether the round's updates have served: `rounds` later ones led to a settled model of their own.

    A round that led to none counts for nothing: a retry from the same base must be compared with its members
    (§9.14). And while a bond stands for its total, a fault of that can be proven, with the updates at hand.
    """
    return round.id.number < _first_kept(study, rounds) and not _is_locked(round, now)


def holdings(history: History, now: Timestamp, *, rounds: int) -> Holdings:
    """All contents that the ledger names; of two roles of one CID the one that keeps it counts.

    Whoever reveals an update chooses its CID, and could name another's model, or the study's document.
    """
    retired: set[Cid] = set()
    kept: set[Cid] = set()
    for study in history.studies.values():
        kept.add(study.terms.cid)
        kept.update(key.cid for said in study.candidates.values() for key in said.proposals.values())
        first_kept = _first_kept(study, rounds)
        for round in study.rounds:
            served = round.id.number < first_kept and not _is_locked(round, now)
            (retired if served else kept).update(reveal.cid for reveal in round.reveals.values())
            kept.update(total.cid for total in (*round.rescinded, round.total) if total is not None)
            kept.update(share.cid for share in round.shares.values())
            kept.update(cid for said in round.proposals for cid in (said.opening_cid, said.model_cid))
    return Holdings(retired=frozenset(retired - kept), kept=frozenset(kept))


class Retention:
    """A party's own policy at work in its own store; idempotent, and what it remembers only spares work."""

    def __init__(self, store: ContentStore, *, rounds: int) -> None:
        self.rounds = rounds
        self._store = store
        self._discarded: frozenset[Cid] = frozenset()

    def tend(self, history: History, now: Timestamp) -> int:
        """How many retired updates were discarded now, at most `BATCH`; after `Unavailable`, call again."""
        found = holdings(history, now, rounds=self.rounds)
        due = frozenset(sorted(found.retired - self._discarded)[:BATCH])
        if due:
            self._store.discard(due, kept=found.kept)
            self._discarded |= due
        return len(due)


def _first_kept(study: Study, rounds: int) -> int:
    """The number of the round that begins the last `rounds` settled ones; 0 while there are fewer."""
    settled = (later.id.number for later in reversed(study.finished) if _is_settled(study, later))
    return next(islice(settled, rounds - 1, None), 0)


def _is_locked(round: Round, now: Timestamp) -> bool:
    stake, total = round.terms.stake, round.total
    return stake.gwei > 0 and total is not None and now <= total.time + stake.lock


def _is_settled(study: Study, round: Round) -> bool:
    model = study.settled_model(round)
    return model is not None and model != round.base_model()
