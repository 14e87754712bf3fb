"""After a restore: what an earlier self may have done is not done again (PROTOCOL §5.4, §10.2).

A restored vault does not know what was committed, shared or merely sent before it was lost. So at its
first start in each study the node notes every round that has begun; in those it gives nothing, and only
recomputes their results. Rounds that begin later are its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from federation.digest import LedgerId
from federation.errors import Refused
from federation.events import RoundId
from federation.identity import read_file, write_secret
from federation.rounds import Study

from .journal import Entry, Journal

MARK: Final = "restored.json"
_NOTE: Final = b"restored"


def mark_restored(directory: Path) -> None:
    """This vault was restored just now: no study has been looked at since."""
    _write(directory / MARK, [])


def sit_out_what_began(directory: Path, study: Study, journal: Journal, *, ledger: LedgerId) -> int:
    """The journal holds which rounds are sat out; how many were noted now, 0 where nothing was restored.

    Once for each study after each restore, before the node does anything in it. In the round that begins
    next a call of an earlier self may still be on its way to the ledger: that one is doubted, and sat
    out if such a call shows.
    """
    path = directory / MARK
    if not path.exists():
        return 0
    seen, here = _read(path), f"{ledger.hex()}/{study.id}"
    if here in seen:
        return 0
    for round in study.rounds:
        journal.remember(Entry.PASSED, round.id, _NOTE)
    journal.remember(Entry.DOUBTED, RoundId(study.id, len(study.rounds) + 1), _NOTE)
    _write(path, [*seen, here])  # last: cut off before it, the same is noted again
    return len(study.rounds)


def _write(path: Path, studies: list[str]) -> None:
    write_secret(path, json.dumps({"version": 1, "studies": studies}).encode())


def _read(path: Path) -> list[str]:
    try:
        document: object = json.loads(read_file(path))
    except ValueError:
        document = None
    match document:
        case {"version": 1, "studies": list() as studies} if all(isinstance(one, str) for one in studies):
            return studies
    raise Refused(f"{path}: expected the mark of a restored vault, found something else: restore once more")
