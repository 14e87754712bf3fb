"""How often anybody may ask: for each key a bucket that fills steadily and is drawn from."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import Final

MOST_BUCKETS: Final = 10_000  # about 2.5 MB; beyond, whoever has been silent longest is forgotten


class Buckets:
    """`burst` requests at once, `per_second` in the long run, for each key; memory is bounded."""

    def __init__(
        self,
        *,
        burst: float,
        per_second: float,
        most: int = MOST_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most
        self._clock = clock
        self._lock = Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    def take(self, key: str, cost: float = 1) -> float:
        """0 if `cost` was taken; else nothing was, and so many seconds have to pass before it can be."""
        with self._lock:
            now = self._clock()
            left, at = self._levels.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - at) * self._per_second)
            wait = max(0.0, (cost - left) / self._per_second)
            self._levels[key] = (left if wait else left - cost, now)
            if len(self._levels) > self._most:
                self._levels.popitem(last=False)
            return wait


def network_of(client: str) -> str:
    """Whom an address stands for: itself, or for IPv6 its /64, all of which one machine can use."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if not isinstance(address, IPv6Address):
        return client
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
