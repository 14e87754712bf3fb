"""What may befall a party's machine: a disk without room, one that cannot be written, a wrong clock."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
DAY = 86_400.0  # seconds


def can_be_befallen() -> bool:
    """Whether this machine lets us mount what only one process sees."""
    trial = "mount --make-rprivate / && mount -t tmpfs none /mnt"
    return (
        subprocess.run(["unshare", "--mount", "sh", "-c", trial], capture_output=True, check=False).returncode
        == 0
    )


def read_only(folder: Path) -> None:
    """This process, and no other, finds that the folder cannot be written."""
    _mounts_of_our_own()
    _mount("--bind", folder, folder)
    _mount("-o", "remount,ro,bind", folder)


def full(folder: Path) -> None:
    """This process, and no other, finds the folder as it is, on a disk without a free byte."""
    _mounts_of_our_own()
    disk = Path(tempfile.mkdtemp())
    _mount("-t", "tmpfs", "-o", "size=4m", "none", disk)
    subprocess.run(["cp", "-a", f"{folder}/.", disk], check=True)
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    _mount("--bind", disk, folder)


def a_day_ahead(_: Path) -> None:
    """The clock on the wall is wrong by a day."""
    right = time.time
    time.time = lambda: right() + DAY


HARDSHIPS: dict[str, Callable[[Path], None]] = {
    "a disk that cannot be written": read_only,
    "a disk without room": full,
    "a clock that is a day ahead": a_day_ahead,
}


def _mounts_of_our_own() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _mount("--make-rprivate", "/")


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)
