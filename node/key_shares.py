"""Our shares of decryption keys, each unlocked when a round first needs it (PROTOCOL §3.3, §10.2)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from federation.ciphers.suite import KeyShare
from federation.digest import Digest
from federation.errors import Refused
from federation.members import Address
from federation.rounds import Study

from .vault import held_key_shares, read_key_share


class KeyShares:
    """The shares in a vault's folder, by the digest of their key; accepted ones appear, forgotten ones go."""

    def __init__(self, directory: Path, password: str) -> None:
        self._directory = directory
        self._password = password
        self._unlocked: dict[Digest, KeyShare] = {}  # of one key: unlocking is slow, by design

    def __contains__(self, key: object) -> bool:
        return any(held.key == key for held in held_key_shares(self._directory))

    def of(self, key: Digest) -> KeyShare:
        """Our share of this key; raises `Refused`, naming key and command, where we hold none."""
        if key not in self or key not in self._unlocked:
            self._unlocked = {key: read_key_share(self._directory, self._password, key=key)}
        return self._unlocked[key]


def check_unneeded(studies: Iterable[Study], key: Digest, *, me: Address) -> None:
    """Raises `Refused`, saying until when, where a study may still need our share of this key (§3.3)."""
    for study in studies:
        name = study.name_of(me)
        if name in study.accepted and (until := _needed_until(study, key, name)):
            raise Refused(f"study {study.id} may need our share of the key {key.hex()} until {until}")


def _needed_until(study: Study, key: Digest, me: Address) -> str:
    """Empty where no round, past or to come, needs our share of this key any more."""
    keys, finished = [epoch.key for epoch in study.epochs], study.finished
    if study.is_complete and study.settled_model(finished[-1]) is not None:
        return ""
    if key in keys:
        later = study.epochs[keys.index(key) + 1 :]
        if not later:
            return f"{study.terms.threshold} members have confirmed its last result, or a later key rules"
        ended = any(round.id.number >= later[0].first for round in finished)
        return "" if ended else f"a round from {later[0].first} on, under a later key, has finished"
    candidate = study.candidates.get(key)
    if candidate is None or me not in candidate.accepted or study.is_complete:
        return ""
    return "it is complete: we have accepted that key for later rounds, and the last consent may still come"
