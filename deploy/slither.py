"""Slither over the contracts, every remark of which has an answer in `contracts/slither.json`.

It pins another web3 than this project, so it lives in an environment of its own under `.cache`, made
here from the package registry that pip is configured for. Run as `python -m deploy.slither`; exit code 3
for a remark without an answer, or an answer without a remark.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

from federation.errors import ExitCode, Unavailable

from .contracts import standard_input
from .node_runtime import install, project_root

VERSION: Final = "0.11.6"
ANSWERS: Final = project_root() / "contracts" / "slither.json"
INSTALL_SECONDS: Final = 600.0
RUN_SECONDS: Final = 300.0

# Runs in the other environment: all detectors, over the compiler's standard input.
_RUN: Final = """
import inspect, json, sys
from crytic_compile import CryticCompile
from crytic_compile.platform.solc_standard_json import SolcStandardJson
from slither import Slither
from slither.detectors import all_detectors
from slither.detectors.abstract_detector import AbstractDetector
compiled = CryticCompile(SolcStandardJson(json.load(sys.stdin)), solc=sys.argv[1])
slither = Slither(compiled)
for detector in vars(all_detectors).values():
    if inspect.isclass(detector) and issubclass(detector, AbstractDetector):
        slither.register_detector(detector)
remarks = [remark for found in slither.run_detectors() for remark in found]
json.dump([[r["check"], r["description"].strip().splitlines()[0]] for r in remarks], sys.stdout)
"""


class Answer(TypedDict):
    """Why remarks of one detector at these places stand as they are."""

    detector: str
    places: list[str]  # each the beginning of a remark's first line that names it
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One remark, by its detector and its first line."""

    detector: str
    text: str

    def is_answered_by(self, answer: Answer) -> bool:
        """Whether the answer speaks of this detector, at this place."""
        return answer["detector"] == self.detector and any(place in self.text for place in answer["places"])


def remarks() -> list[Remark]:
    """What Slither says of the contracts; raises `Unavailable` when it cannot be installed or run."""
    python = _environment()
    task = json.dumps(standard_input("abi", "metadata", "devdoc", "userdoc", "evm"))
    found = _output([str(python), "-c", _RUN, str(install().solc)], RUN_SECONDS, task)
    return [Remark(detector=check, text=text) for check, text in json.loads(found)]


def unanswered(found: Sequence[Remark], answers: Sequence[Answer]) -> list[str]:
    """Remarks without an answer, and places of answers that no remark names any more."""
    bare = [f"{r.detector}: {r.text}" for r in found if not any(r.is_answered_by(a) for a in answers)]
    stale = [
        f"{answer['detector']}: the answer for {place} answers nothing"
        for answer in answers
        for place in answer["places"]
        if not any(answer["detector"] == r.detector and place in r.text for r in found)
    ]
    return bare + stale


def main() -> int:
    """Says what is not answered; the process's exit code."""
    answers = cast("list[Answer]", json.loads(ANSWERS.read_text()))
    found = remarks()
    left = unanswered(found, answers)
    sys.stdout.write("".join(f"{line}\n" for line in left))
    sys.stdout.write(f"Slither {VERSION}: {len(found)} remarks, {len(left)} without their answer\n")
    return ExitCode.VIOLATION if left else ExitCode.OK


def _environment() -> Path:
    """The Python of an environment that has the pinned Slither."""
    home = project_root() / ".cache" / f"slither-{VERSION}"
    python, mark = home / "bin" / "python", home / "installed"
    if not mark.is_file():
        venv.create(home, with_pip=True, clear=True)
        wanted = f"slither-analyzer=={VERSION}"
        quiet = ("--quiet", "--disable-pip-version-check")
        _output([str(python), "-m", "pip", "install", *quiet, wanted], INSTALL_SECONDS)
        mark.touch()  # last: killed halfway, the next call starts again
    return python


def _output(command: Sequence[str], seconds: float, given: str = "") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own environment's Python, with constant arguments
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
            cwd=project_root(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"Slither does not run: {error}") from error
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"Slither does not run: {str(error.stderr).strip()[-600:]}") from error
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
