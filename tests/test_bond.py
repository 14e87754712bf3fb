"""`tally bond`: what is staked, locked, awarded and taken back, on a real contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.bond import app
from deploy.devnet import CHAIN_ID, Devnet
from federation.errors import ExitCode
from federation.events import Stake
from federation.identity import create_identity
from federation.members import Address, show_address

from .laws.test_disputes import GWEI, STAKE, staked
from .worlds import World, keys, on_devnet

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory):
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("anvil")) as chain:
        yield chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """An account's settings file, and the contract that its bond is on."""

    world: World
    settings: Path

    def bond(self, *options: str) -> Result:
        return CliRunner().invoke(app, ["--settings", str(self.settings), "--study", "1", *options])


@pytest.fixture
def world(chain: Devnet) -> World:
    return on_devnet(chain)


@pytest.fixture
def purse(chain: Devnet, world: World, tmp_path: Path) -> Purse:
    return purse_of(world.aggregator, chain, world, tmp_path)


def purse_of(owner: Address, chain: Devnet, world: World, folder: Path) -> Purse:
    assert world.deployment is not None
    handed_out = iter([b"\x01" * 32, keys(chain)[owner]])  # the sealing secret, then the account's

    def random(length: int) -> bytes:
        return next(handed_out, bytes(length))

    assert create_identity(folder / "keys", PASSWORD, random, cost=1 << 4).address == owner
    (folder / "password").write_text(PASSWORD + "\n")
    settings = folder / "party.toml"
    settings.write_text(
        f"""
        identity = "keys"
        password_file = "password"
        [ledger]
        url = "{chain.url}"
        contract = "{show_address(world.deployment.address)}"
        chain_id = {CHAIN_ID}
        deployment_block = {world.deployment.block}
        """
    )
    return Purse(world=world, settings=settings)


def test_a_bond_is_shown_added_to_and_taken_back(purse: Purse) -> None:
    us, study = show_address(purse.world.aggregator), purse.world.propose().study
    assert purse.bond().stdout == f"{us} has 0 Ether in study 1\n"
    assert purse.bond("--deposit", "1.5").stdout == f"{us} has 1.5 Ether in study 1\n"
    assert purse.bond("--deposit", "0.25").stdout == f"{us} has 1.75 Ether in study 1\n"
    assert purse.bond("--withdraw", "0.5").stdout == f"{us} has 1.25 Ether in study 1\n"
    assert purse.world.catch_up().study(study).bonds.of(purse.world.aggregator).amount == 125 * 10**16


def test_a_bond_belongs_to_a_study_that_is_there(purse: Purse) -> None:
    nowhere = purse.bond()
    assert nowhere.exit_code == ExitCode.REFUSED
    assert "expected a study of this ledger, which has 0, found 1" in nowhere.stderr
    refused = purse.bond("--deposit", "1")
    assert refused.exit_code == ExitCode.REFUSED
    assert "NotAggregator" in refused.stderr


def test_what_is_locked_or_not_there_is_not_paid_out(purse: Purse) -> None:
    stake = Stake(gwei=10**9, lock=1000, treasury=Address(bytes(20)))
    play = purse.world.start(stake=stake).commit(0, 1, 2).reveal(0, 1, 2)
    assert purse.bond("--deposit", "1").exit_code == 0
    too_much = purse.bond("--withdraw", "2")
    assert too_much.exit_code == ExitCode.REFUSED
    assert "BondTooSmall" in too_much.stderr
    play.total(0, 1, 2)
    locked = purse.bond("--withdraw", "1")
    assert locked.exit_code == ExitCode.REFUSED
    assert "BondLocked" in locked.stderr
    posted = purse.world.catch_up().round(play.round).total
    assert posted is not None
    assert purse.bond().stdout.endswith(f" has 1 Ether in study 1, locked until {posted.time + 1000}\n")
    purse.world.advance(1001)
    free = purse.bond("--withdraw", "1")
    assert free.stdout.endswith(" has 0 Ether in study 1\n"), free.output


def test_a_bond_moves_one_way_at_a_time_and_never_by_less_than_nothing(purse: Purse) -> None:
    study = purse.world.propose().study
    both = purse.bond("--deposit", "1", "--withdraw", "1")
    assert both.exit_code == ExitCode.REFUSED
    assert "--deposit or --withdraw, found both" in both.stderr
    assert purse.bond("--deposit", "-1").exit_code == ExitCode.USAGE
    beyond = purse.bond("--deposit", "1000000")
    assert beyond.exit_code == ExitCode.REFUSED
    assert "has no ether: fund it" in beyond.stderr
    assert purse.world.catch_up().study(study).bonds.of(purse.world.aggregator).amount == 0


def test_whoever_proved_a_fault_takes_what_was_awarded(chain: Devnet, world: World, tmp_path: Path) -> None:
    challenger = world.institutions[1]
    case = staked(world).up_to_total()
    case.play.member(1).dispute(case.wrong_sum())
    purse, ether = purse_of(challenger, chain, world, tmp_path), STAKE * GWEI / 10**18
    took = purse.bond("--withdraw", str(ether))
    assert took.stdout == f"{show_address(challenger)} has 0 Ether in study 1\n", took.output
    again = purse.bond("--withdraw", str(ether))
    assert again.exit_code == ExitCode.REFUSED
    assert "BondTooSmall" in again.stderr


def test_a_file_without_a_ledger_has_no_bond(tmp_path: Path) -> None:
    (tmp_path / "party.toml").write_text("study = 1\n")
    asked = CliRunner().invoke(app, ["--settings", str(tmp_path / "party.toml"), "--study", "1"])
    assert asked.exit_code == ExitCode.REFUSED
    assert "expected [ledger]" in asked.stderr
