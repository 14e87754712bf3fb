"""Whether anybody outside could open a connection to a process; and a place where nobody can."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LISTEN = "0A"  # of TCP, in /proc/net
_NEW_NET = 0x40000000  # CLONE_NEWNET
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
PIECE = 65_536  # bytes


def listening(pid: int) -> set[str]:
    """The addresses on which the process takes connections, of either version of IP; UDP too."""
    owned = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            owned.add(str(entry.readlink()))
    found = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        table = Path(f"/proc/{pid}/net/{protocol}")
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *_, inode = line.split()[:10]
            if f"socket:[{inode}]" in owned and (state == _LISTEN or protocol.startswith("udp")):
                found.add(f"{protocol} {local}")
    return found


def can_be_cut_off() -> bool:
    """Whether this machine lets us make a network of our own."""
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, check=False
    )
    return tried.returncode == 0


def cut_off(outlet: Path, port: int) -> None:
    """This process has a network with no interface but loopback: nothing from outside reaches it.

    What it sends to `port` of the loopback comes out of the socket `outlet`, a file: calls go out, and
    none can come in. The one who carries them is a process beside it, which ends with it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    listener = socket.create_server(("127.0.0.1", port))
    if os.fork():
        listener.close()
        return
    libc.prctl(_DIE_WITH_PARENT, 9)
    while True:
        inside, _ = listener.accept()
        outside = socket.socket(socket.AF_UNIX)
        outside.connect(str(outlet))
        _join(inside, outside)


@contextmanager
def outlet(path: Path, port: int, shut: threading.Event | None = None) -> Iterator[Path]:
    """What comes through the socket `path` goes on to `port` of this machine's loopback, unless `shut`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def carry() -> None:
        with suppress(OSError):  # closed
            while True:
                inside, _ = listener.accept()
                if shut is not None and shut.is_set():
                    inside.close()
                else:
                    _join(inside, socket.create_connection(("127.0.0.1", port)), shut)

    threading.Thread(target=carry, daemon=True).start()
    try:
        yield path
    finally:
        listener.close()


def _join(one: socket.socket, other: socket.socket, shut: threading.Event | None = None) -> None:
    """What either says the other hears, until one of them ends, or the way is `shut`."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                if shut is not None and shut.is_set():
                    break
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    for ends in ((one, other), (other, one)):
        threading.Thread(target=copy, args=ends, daemon=True).start()
