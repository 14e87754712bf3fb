"""Who is let in: challenges that are signed once, and tokens that live for a while (PROTOCOL §10.7).

Nothing here survives a restart, and strangers cost no memory: a challenge is its own receipt, and only
what an account on the roster has signed is remembered.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Final

from federation.digest import derive
from federation.errors import Refused, Unavailable, Violation
from federation.members import Address, Role, show_address
from federation.sign_in import NONCE_BYTES, Challenge, Place, Session, check_signature

from .logbook import note

SESSION_SECONDS: Final = 900.0
MOST_SESSIONS: Final = 4  # of one account; a fifth ends the oldest
MOST_SIGNED: Final = 30  # challenges of one account at a time: all that is kept of it
_RANDOM_BYTES: Final = 16  # of a nonce; the rest says that it is ours


class NotProven(Violation):
    """Somebody is not who it says it is, or says it too late or twice."""


class NoRole(Refused):
    """An account that the ledger's roster gives no role now."""


class TooOften(Unavailable):
    """An account that has signed in again and again within two minutes."""


class Caller(StrEnum):
    """As whom a request comes."""

    STRANGER = "stranger"
    MONITOR = "monitor"  # of the operator: holds the token in its file, which is no account's
    INSTITUTION = "institution"
    AUDITOR = "auditor"
    AGGREGATOR = "aggregator"
    OPERATOR = "operator"  # has this aggregator's own key


_CALLERS: Final = {
    Role.INSTITUTION: Caller.INSTITUTION,
    Role.AGGREGATOR: Caller.AGGREGATOR,
    Role.AUDITOR: Caller.AUDITOR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """As whom a request comes, and of which account."""

    caller: Caller
    account: Address | None = None


STRANGER: Final = Visitor(caller=Caller.STRANGER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One account is signed in: times of the day for people, `ends` on a clock that nobody sets."""

    account: Address
    since: int
    expires: int
    ends: float


@dataclass(kw_only=True)
class Door:
    """One service's. `role_of` gives an account's role on the ledger's roster now, 0 for none.

    `wall` tells seconds since 1970, `clock` seconds since anything.
    """

    place: Place
    service: str  # our origin, as others see it
    me: Address
    role_of: Callable[[Address], int]
    monitor_token: str = field(default="", repr=False)  # none if empty
    random: Callable[[int], bytes] = secrets.token_bytes
    wall: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    _lock: Lock = field(default_factory=Lock)
    _used: dict[bytes, Challenge] = field(default_factory=dict)  # by nonce, those not expired yet
    _stays: dict[bytes, Stay] = field(default_factory=dict)  # by SHA-256 of the token

    def __post_init__(self) -> None:
        self._secret = self.random(32)
        self._newest = self.wall()

    def challenge(self, account: Address) -> Challenge:
        """One that this account may sign; anybody may ask, and learns nothing of the roster."""
        issued, random = int(self._now()), self.random(_RANDOM_BYTES)
        nonce = random + self._receipt(account, issued, random)
        return Challenge(service=self.service, account=account, nonce=nonce, issued=issued)

    def sign_in(self, challenge: Challenge, signature: bytes) -> Session:
        """A token of its own for the account; raises `NotProven`, `NoRole` or `Unavailable`."""
        self._check_ours(challenge)
        try:
            check_signature(self.place, challenge, signature)
        except Violation as fault:
            raise NotProven(fault.clause, fault.problem) from fault
        caller = self._caller(challenge.account)
        if caller is Caller.STRANGER:
            raise NoRole("the account has no role on the ledger's roster now")
        self._use(challenge)
        token = secrets.token_urlsafe(32)
        stay = self._begin(challenge.account, token)
        note("signed in", account=challenge.account, role=caller)
        return Session(
            token=token, account=show_address(challenge.account), role=caller, expires=stay.expires
        )

    def visitor(self, token: str) -> Visitor:
        """As whom the bearer comes now; raises `NotProven` for a token that is none, or none any more."""
        if self.monitor_token and hmac.compare_digest(_hash(token), _hash(self.monitor_token)):
            return Visitor(caller=Caller.MONITOR)
        with self._lock:
            stay = self._stays.get(_hash(token))
        if stay is None or self.clock() > stay.ends:
            raise NotProven("§10.7", "the token is not, or no longer, valid: sign in again")
        caller = self._caller(stay.account)
        if caller is Caller.STRANGER:  # it was one of the roster's when it signed in
            self.sign_out(token)
            raise NotProven("§10.7", "the account has lost its role on the ledger's roster")
        return Visitor(caller=caller, account=stay.account)

    def sign_out(self, token: str) -> None:
        """The token is worth nothing any more."""
        with self._lock:
            self._stays.pop(_hash(token), None)

    def stays(self) -> list[tuple[Stay, Caller]]:
        """Who is signed in, the longest first."""
        with self._lock:
            self._forget()
            stays = list(self._stays.values())
        return [(stay, self._caller(stay.account)) for stay in stays]

    def _now(self) -> float:
        """The time of day; where it was put back, whatever was offered before opens nothing any more.

        Used challenges are forgotten when they have expired, and would then live again.
        """
        with self._lock:
            now = self.wall()
            if now < self._newest:
                self._secret = self.random(32)
            self._newest = now
            return now

    def _caller(self, account: Address) -> Caller:
        if account == self.me:  # whoever holds our key runs us, whatever the roster says of it
            return Caller.OPERATOR
        role = self.role_of(account)
        return _CALLERS[Role(role)] if role else Caller.STRANGER

    def _receipt(self, account: Address, issued: int, random: bytes) -> bytes:
        receipt = derive(self._secret, "challenge", account, issued.to_bytes(8, "big"), random)
        return receipt[: NONCE_BYTES - _RANDOM_BYTES]

    def _check_ours(self, challenge: Challenge) -> None:
        now = self._now()  # first: it may end what was offered before
        random, receipt = challenge.nonce[:_RANDOM_BYTES], challenge.nonce[_RANDOM_BYTES:]
        expected = self._receipt(challenge.account, challenge.issued, random)
        if not hmac.compare_digest(receipt, expected):
            raise NotProven("§10.7", "the challenge is not one of ours, or from before a restart: ask anew")
        if not challenge.issued <= now <= challenge.expires:
            raise NotProven("§10.7", "the challenge has expired: ask for a new one")

    def _use(self, challenge: Challenge) -> None:
        with self._lock:
            now, account = self._newest, challenge.account
            for nonce in [nonce for nonce, used in self._used.items() if used.expires < now]:
                del self._used[nonce]
            if challenge.nonce in self._used:
                raise NotProven("§10.7", "the challenge has been signed before: ask for a new one")
            if sum(used.account == account for used in self._used.values()) >= MOST_SIGNED:
                raise TooOften(f"this account has signed in {MOST_SIGNED} times within two minutes")
            self._used[challenge.nonce] = challenge

    def _begin(self, account: Address, token: str) -> Stay:
        since = int(self.wall())
        expires, ends = since + int(SESSION_SECONDS), self.clock() + SESSION_SECONDS
        stay = Stay(account=account, since=since, expires=expires, ends=ends)
        with self._lock:
            self._forget()
            own = [key for key, kept in self._stays.items() if kept.account == account]
            for oldest in own[: max(0, len(own) - MOST_SESSIONS + 1)]:
                del self._stays[oldest]
            self._stays[_hash(token)] = stay
        return stay

    def _forget(self) -> None:
        now = self.clock()
        for key in [key for key, stay in self._stays.items() if now > stay.ends]:
            del self._stays[key]


def _hash(token: str) -> bytes:
    """What is kept and looked up instead of a token: how long that takes tells nothing about one."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
