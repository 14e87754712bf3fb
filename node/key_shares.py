"""Our shares of decryption keys, each unlocked when a round first needs it (PROTOCOL §3.3, §10.2)."""

from __future__ import annotations

from pathlib import Path

from federation.ciphers.suite import KeyShare
from federation.digest import Digest

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
