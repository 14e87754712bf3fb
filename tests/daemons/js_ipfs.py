"""js-ipfs: a daemon with the Kubo RPC, from npm (about 200 MB, some three minutes to install, once).

It is no longer developed and serves no one but these tests: alone, offline, on loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.node_runtime import install_pinned, project_root
from federation.errors import Unavailable

PINS: Final = Path(__file__).parent
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
READY: Final = "Daemon is ready"
_ALONE: Final = {
    "Addresses": {"Swarm": [], "API": "/ip4/127.0.0.1/tcp/0", "Gateway": "", "RPC": "", "Delegates": []},
    "Bootstrap": [],
    "Discovery": {"MDNS": {"Enabled": False}, "webRTCStar": {"Enabled": False}},
    "Routing": {"Type": "none"},
}


def install() -> tuple[Path, Path]:
    """Node's program and the daemon's; raises `Unavailable` where they cannot be had."""
    node, modules = install_pinned(PINS, project_root() / ".cache" / "js-ipfs")
    return node.program, modules / "ipfs" / "src" / "cli.js"


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """A daemon with an empty repository in `folder`, as the multiaddr of its RPC; stopped in the end."""
    program, script = install()
    (folder / "config.json").write_text(json.dumps(_ALONE))
    options = (f"--init-config={folder / 'config.json'}", "--offline", "--enable-preload=false")
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [program, script, "daemon", *options],
            env=os.environ | {"IPFS_PATH": str(folder / "repository")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_ready(daemon, folder / "log")
            yield (folder / "repository" / "api").read_text().strip()
        finally:
            daemon.terminate()
            try:
                daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _await_ready(daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while READY not in (said := log.read_text(errors="replace")):
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"js-ipfs does not start: {said.strip()[-600:]}")
        time.sleep(0.1)
