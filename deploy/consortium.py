"""A consortium on this machine: folders, keys, contract, study, and one process for each party.

Everything is done with the commands that a hospital types, so whatever the demo shows, a hospital
can do. Each party has its own folder, password, account and key share, and runs in its own process.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import tomlkit

from federation.ciphers import AUTO
from federation.enrolment import read_enrolment
from federation.errors import Refused
from federation.identity import write_secret
from federation.members import Address, Member, show_address
from node.provision import ENROLMENT_FILE, SETTINGS_FILE
from node.settings import PHASES

from . import baselines, patients
from .ceremony_record import PUBLIC_KEY_FILE
from .command import side_by_side, tally
from .devnet import Devnet, Kind
from .invite import invitation_file

ETHER: Final = 10**18  # wei
STUDY: Final = 1  # the contract's first
AGGREGATORS: Final = ("aggregator", "standby")  # in the order of their turns in the first round
STAKE_ETHER: Final = 1
LOCK_SECONDS: Final = 600
INVITATIONS: Final = "invitations"  # the folder with a file for each hospital
PURSE: Final = 10 * ETHER  # for each account
WINDOW_SECONDS: Final = 30  # for each phase; only a missing party makes anyone wait for it
STOP_SECONDS: Final = 10

# As with the chain, no party outlives us: a watcher reads the pipe whose other end we hold, and
# kills the party if the pipe closes before a line came. The party takes the shell's place.
_WATCHED: Final = 'exec 3<&0; ( read -r _ <&3 || kill -9 $$ ) 2>/dev/null & exec "$@" </dev/null 3<&-'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What kind of consortium to set up."""

    hospitals: int = 4
    threshold: int = 2
    minimum: int = 3
    rounds: int = 10
    bits: int = 3072
    suite: str = AUTO
    unsafe: bool = False
    chain: Kind = "anvil"
    split_seed: int = 1
    window_seconds: int = WINDOW_SECONDS
    poll_seconds: float = 0.25

    def check(self) -> None:
        """Raises `Refused` for a consortium that no ledger would take."""
        most = (self.hospitals + 1) // 2
        if not 2 <= self.threshold <= most:
            expected = f"a threshold in 2 … {most} for {self.hospitals} hospitals (N ≥ 2t-1)"
            raise Refused(f"expected {expected}, found {self.threshold}")


@dataclass(slots=True, kw_only=True)
class Consortium:
    """Set up, every process started with `start`; a context manager that ends them all."""

    directory: Path
    plan: Plan
    devnet: Devnet
    members: list[Member]  # hospitals in the order of their folders
    auditor: Path  # the auditor's settings
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def found(cls, directory: Path, plan: Plan, devnet: Devnet) -> Self:
        """Folders, identities, key ceremony, contract and study exist; every member has accepted."""
        names = [f"hospital-{number}" for number in range(1, plan.hospitals + 1)]
        with ThreadPoolExecutor() as pool:
            written = pool.submit(patients.write, directory, hospitals=plan.hospitals, seed=plan.split_seed)
            everyone = _enrol(directory, names, plan)
            ceremony = pool.submit(_deal, directory, names, plan)
            ledger = _deploy(directory, devnet, everyone, [*names, *AGGREGATORS, "auditor"])
            for longest in (ceremony, written):
                longest.result()
        where = f"{ledger}\n[store]\ndirectory = {json.dumps(str(directory / 'store'))}\n"
        for name in AGGREGATORS:
            _write_settings(directory / name / "aggregator.toml", _aggregator_settings(plan, where))
        _write_settings(directory / "auditor" / "audit.toml", _audit_settings(where))
        who = [show_address(member.address) for member in everyone[plan.hospitals :][: len(AGGREGATORS)]]
        _write_settings(directory / "study.toml", _study_settings(plan, who, where))
        (created, _), *_ = side_by_side([_propose(directory)])
        agreed = created.split()[-1]  # the digest that `tally study create` ends with
        stakes = [[_stake(directory, name)] for name in AGGREGATORS]
        side_by_side([*([_join(directory, name, agreed)] for name in names), *stakes])
        return cls(
            directory=directory,
            plan=plan,
            devnet=devnet,
            members=everyone[: plan.hospitals],
            auditor=directory / "auditor" / "audit.toml",
        )

    def start(self, name: str, *, module: Sequence[str] = ("deploy.tally",)) -> None:
        """The daemon of an aggregator or of `hospital-i` runs, its log in its folder."""
        folder = self.directory / name
        kind, settings = ("aggregator", "aggregator.toml") if name in AGGREGATORS else ("node", SETTINGS_FILE)
        command = [sys.executable, "-m", *module, kind, "run", "--settings", str(folder / settings)]
        log = self._stack.enter_context((folder / "log").open("ab"))
        self._processes[name] = subprocess.Popen(  # noqa: S603  # our own command
            ["/bin/sh", "-c", _WATCHED, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is ours to handle
        )

    def kill(self, name: str) -> None:
        """SIGKILL: the process has no say; `start` makes it come back."""
        process = self._processes.pop(name)
        process.kill()
        _reap(process)

    def ended(self) -> dict[str, int]:
        """Exit codes of the processes that have ended."""
        codes = {name: process.poll() for name, process in self._processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        return (self.directory / name / "log").read_text(errors="replace")[-800:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            _reap(process)
        self._stack.close()


def _reap(process: subprocess.Popen[bytes]) -> None:
    """The process is gone, and its watcher told not to kill what may by now be another one of its id."""
    process.wait()
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as watcher:
            watcher.write(b"\n")


def _enrol(directory: Path, hospitals: Sequence[str], plan: Plan) -> list[Member]:
    offices = [*((name, "aggregator") for name in AGGREGATORS), ("auditor", "audit")]
    for name, _ in offices:
        (directory / name).mkdir(parents=True, exist_ok=True)
        write_secret(directory / name / "password", secrets.token_urlsafe(24).encode() + b"\n")
    commands = [[_provision(directory / name)] for name in hospitals]
    commands += [[(group, "init", "--name", name, *_keys_of(directory / name))] for name, group in offices]
    printed = side_by_side(commands)
    for (name, _), (line,) in zip(offices, printed[len(hospitals) :], strict=True):
        (directory / name / ENROLMENT_FILE).write_text(line)
    for name in hospitals:
        _write_rules(directory / name / SETTINGS_FILE, plan)
    return [read_enrolment(directory / name / ENROLMENT_FILE) for name in (*hospitals, *dict(offices))]


def _provision(folder: Path) -> tuple[object, ...]:
    """The first of the two commands that a hospital types."""
    return ("node", "provision", folder.name, "--data", folder / "patients.csv", "--out", folder)


def _keys_of(folder: Path) -> tuple[object, ...]:
    return ("--identity", folder / "identity", "--password-file", folder / "password")


def _deal(directory: Path, hospitals: Sequence[str], plan: Plan) -> None:
    enrolments = [directory / name / ENROLMENT_FILE for name in hospitals]
    strength = ["--bits", plan.bits, "--suite", plan.suite, *(["--unsafe"] if plan.unsafe else [])]
    out = ("--out", directory / "ceremony", "--threshold", plan.threshold)
    tally("keys", "deal", *enrolments, *out, *strength)


def _deploy(directory: Path, devnet: Devnet, everyone: Sequence[Member], names: Sequence[str]) -> str:
    """Everybody can pay for calls, and the contract runs: its [ledger] table."""
    devnet.fund_all([member.address for member in everyone], PURSE)
    payer = _keys_of(directory / "aggregator")
    enrolments = [directory / name / ENROLMENT_FILE for name in names]
    return tally("contract", "deploy", "--url", devnet.url, *payer, *enrolments)


def _propose(directory: Path) -> list[tuple[object, ...]]:
    """The study is on the ledger, and an invitation for each hospital in the folder `invitations`."""
    settings = ("--settings", directory / "study.toml")
    files = ("--ceremony", directory / "ceremony", "--out", directory / INVITATIONS)
    return [("study", "create", *settings), ("study", "invite", *settings, *files)]


def _join(directory: Path, name: str, digest: str) -> tuple[object, ...]:
    """The second command that a hospital types, with its answers: task and document, read by its people."""
    member: Address = read_enrolment(directory / name / ENROLMENT_FILE).address
    invitation = directory / INVITATIONS / invitation_file(member)
    task = patients.demo_task().spec.digest.hex()
    answers = ("--invitation", invitation, "--allow", task, "--digest", digest)
    people = ("--by", f"a person at {name}")
    return ("node", "join", "--settings", directory / name / SETTINGS_FILE, *answers, *people)


def _stake(directory: Path, name: str) -> tuple[object, ...]:
    return (
        "bond",
        "--settings",
        directory / name / "aggregator.toml",
        "--study",
        STUDY,
        "--deposit",
        STAKE_ETHER,
    )


def _write_settings(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_rules(settings: Path, plan: Plan) -> None:
    """What the people of a hospital decide for themselves, in the file that provisioning made."""
    document = tomlkit.parse(settings.read_text())
    document["poll_seconds"] = plan.poll_seconds
    policy = document["policy"]
    policy["minimum_rows"] = patients.MIN_ROWS
    policy["minimum_contributors"] = plan.minimum
    policy["least_seconds"] = dict.fromkeys(PHASES, plan.window_seconds)
    policy["accept_weak_keys"] = plan.unsafe
    settings.write_text(tomlkit.dumps(document))


def _aggregator_settings(plan: Plan, where: str) -> str:
    return f"""identity = "identity"
password_file = "password"

[service]
port = 0

[conduct]
poll_seconds = {plan.poll_seconds}

{where}"""


def _audit_settings(where: str) -> str:
    return f"""[reader]
identity = "identity"
password_file = "password"

{where}"""


def _study_settings(plan: Plan, aggregators: Sequence[str], where: str) -> str:
    task, scale = patients.demo_task(), baselines.demo_scale(plan.hospitals)
    million = 1_000_000
    columns = [(f.name, f.centre / million, f.scale / million) for f in task.features]
    features = "".join(
        f'\n[[task.features]]\nname = "{name}"\ncentre = {centre}\nscale = {scale_}\n'
        for name, centre, scale_ in columns
    )
    window = plan.window_seconds
    return f"""name = "Breast cancer, Wisconsin"
identity = "aggregator/identity"
password_file = "aggregator/password"
public_key = "ceremony/{PUBLIC_KEY_FILE}"
aggregators = {json.dumps(aggregators)}
minimum = {plan.minimum}
rounds = {plan.rounds}

[scale]
clip = {scale.clip / million}
bound = {scale.bound / million}
weight_cap = {scale.weight_cap}

[windows]
commit = {window}
reveal = {window}
combine = {window}
open = {window}

[stake]
ether = {STAKE_ETHER}
lock = {LOCK_SECONDS}

{where}
[task]
kind = "logistic-regression"
label = "{task.label}"
positive = "{task.positive}"
negative = "{task.negative}"
epochs = {task.epochs}
batch = {task.batch}
learning_rate = {task.rate / million}
l2 = {task.l2 / million}
{features}"""
