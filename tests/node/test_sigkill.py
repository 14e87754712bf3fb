"""A real node process, killed by the operating system at many moments, on a real chain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from typer.testing import CliRunner

from deploy.devnet import Devnet
from federation.arithmetic import apply, mean, weigh
from federation.errors import ExitCode
from federation.events import RoundId, StudyId
from federation.submission import clip_update, quantise_update
from node.__main__ import app
from node.train import training_seed
from node.vault import Vault

from ..rehearsing import SCALE
from .hospital import PASSWORD, PATIENTS_OF, OnChain, Place, found, settle
from .ward import others_act, patients

PATIENCE = 90  # seconds: a start on a busy machine
# At what line of its log the process is killed, and how many seconds later.
MOMENTS = (
    ("started", 0.0),
    ("started", 0.04),
    ("committed", 0.0),
    ("started", 0.1),
    ("revealed", 0.0),
    ("shared", 0.0),
    ("adopted", 0.0),
    ("shared", 0.01),
)


@contextmanager
def running(place: Place, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, until it is killed."""
    command = [sys.executable, "-m", "node", "run", "--settings", str(place.settings), "--json"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(log: Path, event: str) -> bool:
    return any(
        json.loads(line)["event"] == event for line in log.read_text().splitlines() if line.endswith("}")
    )


def until(event: str, stage: OnChain, log: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether the event was logged before the process ended of itself; the others act meanwhile."""
    deadline = monotonic() + PATIENCE
    while not said(log, event):
        if process.poll() is not None:
            return said(log, event)
        assert monotonic() < deadline, log.read_text()
        others_act(stage, stage.place.others, finish_at=3)
        sleep(0.02)
    return True


def test_a_process_killed_again_and_again_ends_with_the_model_of_an_undisturbed_computation(
    tmp_path: Path,
) -> None:
    with Devnet.start("anvil", directory=tmp_path / "chain") as devnet:
        place = settle(devnet, tmp_path / "hospital")
        stage = found(place)
        accept = [
            "keys",
            "--settings",
            str(place.settings),
            "--accept",
            str(place.folder / f"{place.me.hex()}.sealed"),
        ]
        kept = CliRunner().invoke(app, [*accept, "--public-key", str(place.folder / "public.key")])
        assert kept.exit_code == 0, kept.output
        digest = stage.observer.study.terms.digest.hex()
        join = ["join", "--settings", str(place.settings), "--digest", digest]
        assert CliRunner().invoke(app, join).exit_code == 0
        kills, code = 0, None
        logs = []
        for number, (event, seconds) in enumerate([*MOMENTS, ("done", 60.0)]):
            logs.append(tmp_path / f"log-{number}")
            with running(place, logs[-1]) as process:
                if until(event, stage, logs[-1], process) and event != "done":
                    sleep(seconds)
                if event == "done" or process.poll() is not None:
                    code = process.wait(PATIENCE)
                    break
                kills += 1
        assert code == ExitCode.OK, logs[-1].read_text()
        assert kills >= 6
        _check_outcome(place, stage)
        text = "".join(log.read_text() for log in logs)
        assert "Traceback" not in text
        assert PASSWORD not in text


def _check_outcome(place: Place, stage: OnChain) -> None:
    agreement = stage.agreement
    seed = Vault(place.folder / "vault", place.identity, agreement.ledger, os.urandom).seed()
    held = patients(PATIENTS_OF)
    model = agreement.task.initial()
    for number in (1, 2):
        id = RoundId(StudyId(1), number)
        own = agreement.task.train(model, held, seed=training_seed(seed, agreement.ledger, id))
        clipped, weight = clip_update(agreement, own), weigh(held.samples, SCALE)
        summed = quantise_update(agreement, id, clipped, member=place.me, weight=weight, seed=seed)
        for other in stage.hospitals.values():
            clipped, weight = clip_update(agreement, other.train(model, id)), weigh(other.samples, SCALE)
            summed = summed + quantise_update(
                agreement, id, clipped, member=other.address, weight=weight, seed=other.seed
            )
        model = apply(model, mean(np.asarray(summed), members=3, scale=SCALE))
        round = stage.round(id)
        assert [p.model for p in round.proposals] == [agreement.model_digest(model)]
        assert {place.me} <= round.commits.keys() & round.reveals.keys() & round.shares.keys()
    assert stage.round(RoundId(StudyId(1), 2)).confirmations[place.me].model == agreement.model_digest(model)
    assert len(stage.observer.study.rounds) == 2
