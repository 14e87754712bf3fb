"""Several nodes of one chain: silent, late, lying, on a fork; and what the last run remembers of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.devnet import Devnet
from federation.bookmarks import BookmarkFile, bookmark_file
from federation.errors import Refused, Unavailable
from federation.ledger.chain import ChainLedger
from federation.members import Address

from .chains import Answer, Silence, account_of, contract_of, node_that, opened
from .worlds import named, on_devnet

NOWHERE = "http://127.0.0.1:1"
EVERY = 8  # events of a fresh contract: its founders


@dataclass
class Moods:
    """How a node behaves from now on."""

    silent: bool = False
    newest: int | None = None  # it has no later block
    forked_at: int | None = None  # blocks from here on are others
    hides: bool = False  # the newest log of a question
    late_by: int = 0  # seconds that its blocks claim to be younger
    asked: list[str] = field(default_factory=list)

    def __call__(self, method: str, _: list[object], answer: Answer) -> Answer:
        self.asked.append(method)
        result = answer.get("result")
        if self.silent:
            raise Silence
        if method == "eth_blockNumber" and self.newest is not None:
            return {**answer, "result": hex(min(self.newest, int(str(result), 16)))}
        if method == "eth_getBlockByNumber" and isinstance(result, dict):
            return {**answer, "result": self._block(result)}
        if method == "eth_getLogs" and isinstance(result, list) and self.hides:
            return {**answer, "result": result[:-1]}
        return answer

    def _block(self, block: dict[str, object]) -> dict[str, object] | None:
        number = int(str(block["number"]), 16)
        if self.newest is not None and number > self.newest:
            return None
        shown = {**block, "timestamp": hex(int(str(block["timestamp"]), 16) + self.late_by)}
        if self.forked_at is not None and number >= self.forked_at:
            shown["hash"] = "0x" + named(f"fork {number}").hex()
        return shown


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """What nodes say is the same on every chain: one is enough."""
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@pytest.fixture
def nodes(anvil: Devnet) -> Iterator[Callable[[int], tuple[list[Moods], list[str]]]]:
    """So many nodes of the chain, each with its own moods."""
    with ExitStack() as stack:

        def start(count: int) -> tuple[list[Moods], list[str]]:
            moods = [Moods() for _ in range(count)]
            return moods, [stack.enter_context(node_that(anvil, mood)) for mood in moods]

        yield start


def events_of(ledger: ChainLedger) -> int:
    return len(ledger.events(-1, ledger.head().number))


# ---------------------------------------------------------------- agreeing nodes


def test_nodes_that_agree_are_all_asked_for_block_and_logs(anvil, nodes) -> None:
    moods, (first, second) = nodes(2)
    assert events_of(opened(on_devnet(anvil), first, also=[second])) == EVERY
    assert all({"eth_getBlockByNumber", "eth_getLogs"} <= set(mood.asked) for mood in moods)


def test_a_node_that_shows_another_final_block_is_named_with_the_one_it_contradicts(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(3)
    anvil.advance(1)
    moods[2].forked_at = contract_of(world)[1] + 1
    ledger = opened(world, urls[0], also=urls[1:])
    with pytest.raises(Refused, match=f"{urls[0]} and {urls[2]} show different blocks .*Ask the other inst"):
        ledger.head()


def test_no_majority_outweighs_one_that_contradicts(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(3)
    anvil.advance(1)
    for mood in moods[1:]:
        mood.forked_at = contract_of(world)[1] + 1
    with pytest.raises(Refused, match="show different blocks"):
        opened(world, urls[0], also=urls[1:], agreeing=2).head()


def test_a_node_that_is_behind_on_a_fork_is_noticed_before_it_has_caught_up(anvil, nodes) -> None:
    world = on_devnet(anvil)
    deployed = contract_of(world)[1]
    moods, urls = nodes(2)
    for _ in range(4):
        anvil.advance(1)
    moods[1].forked_at, moods[1].newest = deployed + 1, deployed + 2
    with pytest.raises(Refused, match=f"show different blocks {deployed + 2}"):
        opened(world, urls[0], also=urls[1:], agreeing=1).head()


def test_a_node_that_lies_about_the_time_of_a_block_is_named(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(2)
    moods[1].late_by = 3600
    with pytest.raises(Refused, match=f"{urls[1]} show different blocks"):
        opened(world, urls[0], also=urls[1:]).head()


@pytest.mark.parametrize("liar", [0, 1])
def test_a_node_that_hides_an_event_is_noticed_whichever_it_is(anvil, nodes, liar: int) -> None:
    world = on_devnet(anvil)
    world.propose()
    moods, urls = nodes(2)
    ledger = opened(world, urls[0], also=urls[1:])
    head = ledger.head().number
    moods[liar].hides = True
    with pytest.raises(Refused, match=f"{urls[0]} and {urls[1]} have different logs: .*hides or invents"):
        ledger.events(-1, head)


def test_a_node_on_another_chain_is_named_with_what_differs(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(2)
    moods[1].forked_at = 0
    with pytest.raises(Refused, match=f"{urls[0]} and now {urls[1]} serve different chains: genesis"):
        opened(world, urls[0], also=urls[1:]).head()


# ---------------------------------------------------------------- late and silent nodes


def test_a_late_node_delays_and_never_longer_than_patience(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(2)
    patient, hasty = (opened(world, urls[0], also=urls[1:], agreeing=1, late_for=s) for s in (1e6, 0))
    before = patient.head().number
    assert hasty.head().number == before
    moods[1].newest = before
    anvil.advance(1)
    assert patient.head().number == before
    assert hasty.head().number == before + 1
    moods[1].newest = None
    assert patient.head().number == before + 1


def test_a_late_node_that_is_needed_delays_for_as_long_as_it_is_late(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(2)
    ledger = opened(world, urls[0], also=urls[1:], late_for=0)
    before = ledger.head().number
    moods[1].newest = before
    anvil.advance(1)
    anvil.advance(1)
    assert ledger.head().number == before
    moods[1].newest = before + 1
    assert ledger.head().number == before + 1


def test_a_node_that_is_catching_up_when_we_start_is_not_waited_for(anvil, nodes) -> None:
    world = on_devnet(anvil)
    deployed = contract_of(world)[1]
    moods, urls = nodes(2)
    anvil.advance(1)
    moods[1].newest = deployed
    ledger = opened(world, urls[0], also=urls[1:], agreeing=1, late_for=1e6)
    assert ledger.head().number == deployed + 1


def test_fewer_nodes_than_have_to_agree_make_the_ledger_unavailable_and_are_named(anvil) -> None:
    ledger = opened(on_devnet(anvil), anvil.url, also=[NOWHERE])
    with pytest.raises(Unavailable, match=rf"1 of 2 nodes agree, expected 2: no answer .*{NOWHERE}"):
        ledger.head()


def test_a_silent_witness_is_done_without_where_enough_others_agree(anvil) -> None:
    world = on_devnet(anvil)
    ledger = opened(world, anvil.url, also=[NOWHERE, anvil.url])
    assert events_of(ledger) == EVERY


def test_a_witness_that_falls_silent_before_the_logs_is_missed_where_it_is_needed(anvil, nodes) -> None:
    world = on_devnet(anvil)
    moods, urls = nodes(2)
    strict, lenient = (opened(world, urls[0], also=urls[1:], agreeing=n) for n in (2, 1))
    heads = [strict.head().number, lenient.head().number]
    moods[1].silent = True
    with pytest.raises(Unavailable, match=urls[1]):
        strict.events(-1, heads[0])
    assert len(lenient.events(-1, heads[1])) == EVERY


def test_when_the_first_node_falls_silent_the_next_one_reads_and_sends(anvil, nodes) -> None:
    world = on_devnet(anvil)
    play = world.propose()
    moods, urls = nodes(2)
    account = account_of(anvil, play.members[0])
    ledger = opened(world, urls[0], account, also=urls[1:], agreeing=1, late_for=0)
    before = ledger.head().number
    moods[0].silent = True
    assert ledger.accept_study(play.study, named("spec")).at.block == before + 1
    assert ledger.head().number == before + 1
    assert events_of(ledger) == EVERY + 2


def test_a_ledger_opens_through_the_second_node_when_the_first_does_not_answer(anvil) -> None:
    assert events_of(opened(on_devnet(anvil), NOWHERE, also=[anvil.url], agreeing=1)) == EVERY


def test_a_node_that_takes_one_question_at_a_time_is_asked_so(anvil) -> None:
    world = on_devnet(anvil)
    world.start()
    with node_that(anvil, batches=False) as url:
        head = world.ledger(world.auditor).head().number
        assert opened(world, url).events(-1, head) == world.ledger(world.auditor).events(-1, head)


def test_logs_of_blocks_that_a_node_does_not_have_are_not_taken_for_none(anvil, nodes) -> None:
    world = on_devnet(anvil)
    ledger = opened(world, anvil.url)
    newest = ledger.head().number
    with pytest.raises(Unavailable, match=f"is at block {newest}, asked up to {newest + 1}"):
        ledger.events(-1, newest + 1)


# ---------------------------------------------------------------- another chain under our feet


def test_a_node_that_was_silent_has_to_show_its_chain_again(tmp_path: Path) -> None:
    with (
        Devnet.start("anvil", directory=tmp_path / "one") as one,
        Devnet.start("ganache", directory=tmp_path / "two") as two,
    ):
        worlds = [on_devnet(one), on_devnet(two)]
        assert contract_of(worlds[0]) == contract_of(worlds[1])
        play, _ = (world.propose() for world in worlds)
        behind, silent = [one], Moods()
        with node_that(lambda: behind[0], silent) as url:
            ledger = opened(worlds[0], url, account_of(one, play.members[0]))
            silent.silent = True
            with pytest.raises(Unavailable):
                ledger.head()
            silent.silent, behind[0] = False, two
            with pytest.raises(Refused, match="serve different chains: genesis block 0x"):
                ledger.accept_study(play.study, named("spec"))
        assert worlds[1].catch_up().study(play.study).accepted == {}


def test_a_younger_chain_under_our_feet_is_told_from_a_node_that_catches_up(tmp_path: Path) -> None:
    with (
        Devnet.start("anvil", directory=tmp_path / "one") as one,
        Devnet.start("ganache", directory=tmp_path / "two") as two,
    ):
        worlds = [on_devnet(one), on_devnet(two)]
        one.advance(1)
        behind = [one]
        with node_that(lambda: behind[0]) as url:
            ledger = opened(worlds[0], url)
            ledger.head()
            behind[0] = two
            with pytest.raises(Unavailable, match="is it catching up"):
                ledger.head()
            with pytest.raises(Refused, match="serve different chains"):
                ledger.head()


# ---------------------------------------------------------------- what outlives the process


@pytest.fixture
def bookmark(tmp_path: Path) -> BookmarkFile:
    return bookmark_file(tmp_path, chain_id=31337, contract=Address(bytes(20)))


def test_a_reorganisation_while_we_were_away_is_noticed_and_says_what_to_do(devnet, bookmark) -> None:
    world = on_devnet(devnet)
    snapshot = devnet.rpc("evm_snapshot")
    devnet.advance(10)
    known = opened(world, devnet.url, bookmark=bookmark).head()
    devnet.rpc("evm_revert", snapshot)
    with pytest.raises(Unavailable, match=f"block {known.number} was final: is it catching up"):
        opened(world, devnet.url, bookmark=bookmark).head()
    devnet.advance(100)
    advice = f"Ask the other institutions.*remove {bookmark.shown} and start again"
    for _ in range(2):  # it does not get used to it
        with pytest.raises(Refused, match=f"block {known.number} was 0x{known.hash.hex()}, is .*{advice}"):
            opened(world, devnet.url, bookmark=bookmark).head()
    Path(bookmark.shown).unlink()
    assert opened(world, devnet.url, bookmark=bookmark).head().number == known.number


def test_a_reorganisation_within_the_confirmations_is_none_of_our_business_after_a_restart(
    devnet, bookmark
) -> None:
    world = on_devnet(devnet)
    devnet.advance(1)
    snapshot = devnet.rpc("evm_snapshot")
    devnet.advance(10)
    known = opened(world, devnet.url, bookmark=bookmark, confirmations=1).head()
    devnet.rpc("evm_revert", snapshot)
    devnet.advance(100)
    again = opened(world, devnet.url, bookmark=bookmark, confirmations=1)
    assert again.head() == known
    devnet.advance(100)
    assert again.head().number == known.number + 1


def test_another_chain_behind_the_same_settings_is_refused_after_a_restart(
    devnet, bookmark, tmp_path: Path
) -> None:
    opened(on_devnet(devnet), devnet.url, bookmark=bookmark).head()
    with Devnet.start("anvil", directory=tmp_path / "chain") as other:
        world = on_devnet(other)
        with pytest.raises(Refused, match=r"another chain or contract than before: expected .*remove"):
            opened(world, other.url, bookmark=bookmark)


def test_a_deployment_that_is_not_final_yet_is_read_and_not_remembered(devnet, bookmark) -> None:
    world = on_devnet(devnet)
    ledger = opened(world, devnet.url, bookmark=bookmark, confirmations=2)
    assert ledger.head().number == contract_of(world)[1]
    assert bookmark.recall() is None
    for _ in range(3):
        devnet.advance(1)
    final = ledger.head()
    mark = bookmark.recall()
    assert mark is not None
    assert (mark.ledger, mark.number, mark.hash) == (ledger.id, final.number, final.hash)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "\xff",
        '{"version": 2, "ledger": "", "block": 1, "hash": ""}',
        json.dumps({"version": 1, "ledger": "00" * 32, "block": -1, "hash": "00" * 32}),
        json.dumps({"version": 1, "ledger": "00" * 31, "block": 1, "hash": "00" * 32}),
        json.dumps({"version": 1, "ledger": "zz" * 32, "block": 1, "hash": "00" * 32}),
    ],
)
def test_a_bookmark_that_is_none_is_refused_by_name(bookmark, text: str) -> None:
    Path(bookmark.shown).write_text(text, encoding="latin-1")
    with pytest.raises(Refused, match=r"bookmark-31337-0{40}\.json: expected a bookmark of version 1"):
        bookmark.recall()


def test_a_bookmark_that_cannot_be_written_stops_us(devnet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="expected a folder"):
        opened(on_devnet(devnet), devnet.url, bookmark=BookmarkFile(tmp_path / "file" / "mark.json")).head()
    (tmp_path / "mark.json").mkdir()
    blocked = BookmarkFile(tmp_path / "mark.json")
    with pytest.raises(Refused, match=r"mark\.json: cannot be read"):
        opened(on_devnet(devnet), devnet.url, bookmark=blocked)
