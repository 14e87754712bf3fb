"""What a large payload through a daemon costs us: seconds, and the growth of this process's peak memory.

    python -m tests.daemons.measure [MEGABYTES]

Against the daemon at TALLY_TEST_IPFS_API, or else js-ipfs.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from federation.store.ipfs import IpfsStore

from .js_ipfs import started

MEGABYTE = 1_000_000
T = TypeVar("T")


def main(megabytes: int) -> None:
    """Adds and reads once, and prints a line for each."""
    with ExitStack() as stack:
        api = os.environ.get("TALLY_TEST_IPFS_API", "")
        if not api:
            api = stack.enter_context(started(Path(stack.enter_context(TemporaryDirectory()))))
        store = IpfsStore(api, timeout=60)
        piece = random.Random(megabytes).randbytes(MEGABYTE)
        store.put([piece])  # connections and imports are not the payload's
        varied = (index.to_bytes(8, "big") + piece[8:] for index in range(megabytes))
        cid = watched("added", megabytes, lambda: store.put(varied))
        watched("read", megabytes, lambda: sum(map(len, store.get(cid, size=megabytes * MEGABYTE))))


def watched(what: str, megabytes: int, work: Callable[[], T]) -> T:
    """What `work` gives; its time and memory are printed."""
    before, begun = peak(), time.monotonic()
    done = work()
    took, grown = time.monotonic() - begun, peak() - before
    sys.stdout.write(
        f"{what} {megabytes} MB in {took:.1f} s, peak memory grew by {grown / MEGABYTE:.1f} MB\n"
    )
    return done


def peak() -> int:
    """The most memory this process ever had resident, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
