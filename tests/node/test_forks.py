"""A hospital on a chain that takes blocks back: what it said is said again, what it knew is not lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.devnet import Devnet
from federation.endpoints import load_settings
from federation.errors import ExitCode, Refused
from node.__main__ import app
from node.open import open_seat
from node.policy import PolicyRefusal
from node.refusals import refusals_in
from node.settings import NodeSettings

from .hospital import OnChain, Place, approve, found, settle, task_digest


def tally(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--settings", str(place.settings)])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnChain]:
    """A hospital that has its key share, and a study that it has yet to accept."""
    folder = tmp_path_factory.mktemp("forks")
    with Devnet.start("anvil", directory=folder / "chain") as devnet:
        place = settle(devnet, folder / "hospital")
        place.write_settings(ledger__confirmations="2")
        stage = found(place)
        box, key = (str(place.folder / name) for name in (f"{place.me.hex()}.sealed", "public.key"))
        kept = tally(place, "keys", "--accept", box, "--public-key", key)
        assert kept.exit_code == ExitCode.OK, kept.output
        for _ in range(2):
            devnet.advance(1)
        yield stage


def test_an_acceptance_that_a_fork_took_back_is_sent_again(stage: OnChain) -> None:
    place, devnet = stage.place, stage.place.devnet
    digest = stage.observer.study.terms.digest.hex()
    before = _newest(devnet)
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(tally, place, "join", "--digest", digest)
        while _newest(devnet) == before and not joining.done():
            sleep(0.02)
        devnet.rpc("anvil_reorg", 1, [])
        assert _newest(devnet) == before + 1
        _mine_until_done(devnet, joining)
        if joining.result().exit_code == ExitCode.UNAVAILABLE:  # the fork came while a block was read
            joining = pool.submit(tally, place, "join", "--digest", digest)
            _mine_until_done(devnet, joining)
    assert joining.result().exit_code == ExitCode.OK, joining.result().output
    assert "accepted; 3 of 3 members have" in joining.result().output
    stage.view.refresh()
    assert place.me in stage.observer.study.accepted


def test_a_node_of_a_revoked_task_starts_and_may_give_nothing(stage: OnChain) -> None:
    place = stage.place
    ran = tally(place, "approve", "--revoke", task_digest())
    assert ran.exit_code == ExitCode.OK, ran.output
    node = load_settings(NodeSettings, place.settings)
    seat, _ = open_seat(node)
    seat.journal.close()
    with pytest.raises(PolicyRefusal, match="approval"):
        seat.may_commit(seat.observer.study.current().id)
    (refused,) = {(one.act, one.rule) for one in refusals_in(node.vault) if one.act == "start"}
    assert refused == ("start", "approval")
    approve(stage)
    open_seat(node)[0].journal.close()


def test_a_node_that_is_started_again_notices_what_the_chain_has_become(stage: OnChain) -> None:
    place, devnet = stage.place, stage.place.devnet
    node = load_settings(NodeSettings, place.settings)
    seat, view = open_seat(node)
    seat.journal.close()
    (bookmark,) = Path(node.vault).glob("bookmark-*.json")
    devnet.rpc("anvil_reorg", _newest(devnet) - view.head.number + 1, [])
    with pytest.raises(Refused, match=f"reorganised deeper than 2 confirmations: .*remove {bookmark} and"):
        open_seat(node)
    ran = tally(place, "run")
    assert ran.exit_code == ExitCode.REFUSED
    assert "Ask the other institutions" in ran.output


def _mine_until_done(devnet: Devnet, command: Future[Result]) -> None:
    while not command.done():
        devnet.advance(1)
        sleep(0.05)


def _newest(devnet: Devnet) -> int:
    return int(str(devnet.rpc("eth_blockNumber")), 16)
