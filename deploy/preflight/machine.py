"""Checks of the machine: clock, disk, permissions, proxies. Each returns a sentence, or raises why not."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from federation.arithmetic import check_float_environment
from federation.endpoints import shown_url
from federation.errors import Refused
from federation.identity import write_secret

from .lines import Doubt

BEHIND_SECONDS: Final = 15  # a proposer refuses blocks from further ahead, so our clock is the wrong one
QUIET_SECONDS: Final = 600  # without a block, a chain is quiet, or our clock ahead
LEAST_FREE: Final = 256 << 20  # bytes: an update of 50 million parameters, and the next
ENOUGH_FREE: Final = 2 << 30  # bytes: some rounds of that
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def floats() -> str:
    """What every party computes the next model with."""
    check_float_environment()
    return "IEEE 754 with denormals, to nearest even"


def clock(wall: float, newest: Mapping[str, int]) -> str:
    """This machine's clock against the newest block of each node; nobody else's time is asked for."""
    behind = {node: time - wall for node, time in newest.items() if time - wall > BEHIND_SECONDS}
    if behind:
        node = max(behind, key=lambda name: behind[name])
        raise Refused(f"this machine's clock is {behind[node]:.0f} s behind the newest block at {node}")
    age = wall - max(newest.values())
    if age > QUIET_SECONDS:
        raise Doubt(
            f"the newest block is {age:.0f} s old: the chain is quiet, or this machine's clock is ahead"
        )
    spread = max(newest.values()) - min(newest.values())
    if spread > QUIET_SECONDS:
        late = min(newest, key=lambda name: newest[name])
        raise Doubt(f"{late} is {spread} s behind the other nodes")
    return f"the newest block is {max(0, age):.0f} s old, {len(newest)} nodes asked"


def space(folder: Path, *, free: Callable[[Path], int] | None = None) -> str:
    """Room for the vault to grow."""
    try:
        room = (free or _free)(_existing(folder))
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}") from error
    shown = f"{room / 2**30:.1f} GiB free at {folder}"
    if room < LEAST_FREE:
        raise Refused(f"{shown}, expected {LEAST_FREE / 2**30:.2f}")
    if room < ENOUGH_FREE:
        raise Doubt(f"{shown}: enough for small models only")
    return shown


def writes(folder: Path) -> str:
    """A file can be written durably here, and is gone again."""
    path = folder / f".preflight-{secrets.token_hex(4)}"
    write_secret(path, b"tally preflight")
    try:
        path.unlink()
    except OSError as error:
        raise Refused(f"{path}: cannot be removed: {error.strerror}") from error
    return f"{folder} takes and syncs files"


def permissions(paths: Iterable[Path]) -> str:
    """None of these can be read by anybody but its owner, who is us."""
    seen, open_to_others, foreign = 0, [], []
    for path in paths:
        try:
            found = path.stat()
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error
        seen += 1
        if found.st_mode & OTHERS:
            mode, wanted = stat.S_IMODE(found.st_mode), "700" if path.is_dir() else "600"
            open_to_others.append(f"{path} is {mode:o}, expected {wanted}")
        if found.st_uid != os.geteuid():
            foreign.append(str(path))
    if open_to_others:
        raise Refused("; ".join(open_to_others))
    if foreign:
        raise Doubt(f"not ours, but another user's: {', '.join(foreign)}")
    return f"{seen} files and folders are their owner's alone"


def proxy(url: str) -> str:
    """Which way a request to `url` goes, by the variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""
    via = select_proxy(url, get_environ_proxies(url))
    if not via:
        return f"{shown_url(url)} is asked directly"
    way = f"{shown_url(url)} is asked through the proxy {shown_url(via)}"
    if _is_near(urlsplit(url).hostname or ""):
        raise Doubt(f"{way}, although it is on this machine or network")
    return way


def _is_near(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_private or address.is_loopback


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _existing(folder: Path) -> Path:
    """The folder, or the one that it will be made in."""
    return next((place for place in (folder, *folder.parents) if place.exists()), folder)
