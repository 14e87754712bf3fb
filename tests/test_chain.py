"""What can go wrong between us and a chain: settings, nodes, reorganisations, stuck transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest
import rlp
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from hypothesis import given
from hypothesis import strategies as st

from deploy.contracts import built
from deploy.devnet import CHAIN_ID, Devnet
from federation.errors import LedgerRejected, Refused, TallyError, Unavailable, Violation
from federation.events import LogPosition, RoundId, StudyId, Timestamp, UpdateRevealed
from federation.ledger.abi import audited_code_digest, by_hash, call_data, rejection_of, round_of, round_word
from federation.ledger.chain import GAS_SPARE, connect
from federation.ledger.decoding import event_of
from federation.ledger.ledger import Ledger
from federation.members import Address, show_address

from .chains import Answer, Tamper, account_of, contract_of, no_mining, node_that, opened
from .worlds import Play, cid, keys, named, on_devnet, rejects


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A chain of our own, whose mining may be stopped."""
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as chain:
        yield chain


# ---------------------------------------------------------------- what `connect` refuses


def test_an_unreachable_node_is_named_without_the_secrets_of_its_url() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 .*running") as caught:
        connect(
            "http://user:word@127.0.0.1:1/v3/secret", Address(bytes(20)), deployment_block=0, confirmations=0
        )
    assert "secret" not in str(caught.value)
    assert "word" not in str(caught.value)


def test_a_server_that_is_no_node_is_named(anvil: Devnet) -> None:
    def page(_method: str, _parameters: list[object], _answer: Answer) -> Answer:
        return {"hello": "world"}

    with node_that(anvil, page) as url, pytest.raises(Unavailable, match="not that of an Ethereum node"):
        connect(url, Address(bytes(20)), deployment_block=0, confirmations=0)


def test_another_chain_id_is_refused(devnet: Devnet) -> None:
    with pytest.raises(Refused, match=f"expected chain id 5, found {CHAIN_ID}"):
        connect(devnet.url, Address(bytes(20)), deployment_block=0, confirmations=0, chain_id=5)


def test_code_is_held_against_the_digest_that_people_pinned(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    assert opened(world, devnet.url, code=audited_code_digest()).code_is_audited
    for only_audited_code in (True, False):
        with pytest.raises(
            Refused, match=f"not the one that `code` names.*expected SHA-256 {named('x').hex()}"
        ):
            opened(world, devnet.url, code=named("x"), only_audited_code=only_audited_code)


def test_an_address_without_code_is_refused(devnet: Devnet) -> None:
    nowhere = Address(b"\x11" * 20)
    with pytest.raises(Refused, match=f"no contract at {show_address(nowhere)}"):
        connect(devnet.url, nowhere, deployment_block=0, confirmations=0)


def test_code_that_nobody_audited_is_refused_unless_asked_for(devnet: Devnet) -> None:
    purse = show_address(next(iter(keys(devnet))))
    # A contract whose whole code is one byte: STOP.
    call = {"from": purse, "data": "0x6001600c60003960016000f300", "gas": hex(100_000)}
    sent = devnet.rpc("eth_sendTransaction", call)
    while not isinstance(receipt := devnet.rpc("eth_getTransactionReceipt", sent), dict):
        sleep(0.02)
    contract = Address(bytes.fromhex(receipt["contractAddress"][2:]))
    block = int(receipt["blockNumber"], 16)
    with pytest.raises(Refused, match="not the audited build"):
        connect(devnet.url, contract, deployment_block=block, confirmations=0)
    with pytest.raises(Refused, match=f"not deployed in block {block}"):
        connect(devnet.url, contract, deployment_block=block, confirmations=0, only_audited_code=False)


def test_audited_code_that_another_creation_left_behind_is_refused(devnet: Devnet) -> None:
    """Its storage may name a court of the deployer's own, and bonds that nobody paid."""
    build = built()
    court, code = (
        bytes.fromhex(made[2:]) for made in (build["court"]["bytecode"], build["deployedBytecode"])
    )
    start, lengths = 44, [length.to_bytes(3, "big").hex() for length in (len(court), len(code))]
    places = [place.to_bytes(3, "big").hex() for place in (start, start + len(court))]
    # The court first, so that it stands where it should; SSTORE(0, caller); then the code as it was audited.
    begin = f"62{lengths[0]}62{places[0]}600039" + f"62{lengths[0]}60006000f050" + "33600055"
    end = f"62{lengths[1]}62{places[1]}600039" + f"62{lengths[1]}6000f3"
    prefix = bytes.fromhex(begin + end)
    purse = show_address(next(iter(keys(devnet))))
    data = prefix.ljust(start, b"\0") + court + code
    call = {"from": purse, "data": "0x" + data.hex(), "gas": hex(12_000_000)}
    sent = devnet.rpc("eth_sendTransaction", call)
    while not isinstance(receipt := devnet.rpc("eth_getTransactionReceipt", sent), dict):
        sleep(0.02)
    contract = Address(bytes.fromhex(receipt["contractAddress"][2:]))
    block = int(receipt["blockNumber"], 16)
    with pytest.raises(Refused, match="runs the audited build and was not created by it"):
        connect(devnet.url, contract, deployment_block=block, confirmations=0)


def test_a_wrong_deployment_block_is_refused(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    world.propose()
    contract, block = contract_of(world)
    with pytest.raises(Refused, match=f"not deployed in block {block + 1}"):
        connect(devnet.url, contract, deployment_block=block + 1, confirmations=0)
    with pytest.raises(Unavailable, match="catching up"):
        connect(devnet.url, contract, deployment_block=block + 1000, confirmations=0)


def test_the_deployed_code_is_the_audited_build(devnet: Devnet) -> None:
    ledger = opened(on_devnet(devnet), devnet.url)
    assert ledger.code_is_audited
    assert ledger.code_digest == audited_code_digest()


def test_contracts_of_one_address_on_two_chains_have_different_ids(anvil: Devnet, devnet: Devnet) -> None:
    here, there = on_devnet(anvil), on_devnet(devnet)
    assert here.ledger(here.auditor).id != there.ledger(there.auditor).id


# ---------------------------------------------------------------- accounts


def test_a_ledger_without_account_reads_but_does_not_write(devnet: Devnet) -> None:
    ledger = opened(on_devnet(devnet), devnet.url)
    assert len(ledger.events(-1, ledger.head().number)) == 8
    with pytest.raises(Refused, match="only be read"):
        ledger.accept_study(StudyId(1), named("spec"))


def test_an_account_without_ether_is_told_to_fund_itself(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    play = world.propose()
    method = "anvil_setBalance" if devnet.kind == "anvil" else "evm_setAccountBalance"
    poor = show_address(play.members[0])
    balance = devnet.rpc("eth_getBalance", poor, "latest")
    devnet.rpc(method, poor, "0x0")
    try:
        with pytest.raises(Refused, match=f"account {poor} has no ether: fund it") as caught:
            play.member(0).accept_study(play.study, named("spec"))
    finally:
        devnet.rpc(method, poor, balance)
    assert keys(devnet)[play.members[0]].hex() not in "".join(map(repr, _causes(caught.value)))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# ---------------------------------------------------------------- finality


def test_the_head_stays_as_far_behind_as_confirmations_say(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    _, deployed = contract_of(world)
    ledger = opened(world, devnet.url, confirmations=3)
    assert ledger.head().number == deployed
    for _ in range(5):
        devnet.advance(1)
    assert ledger.head().number == deployed + 2


def test_a_reorganisation_below_a_final_block_stops_us(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    ledger = opened(world, devnet.url)
    snapshot = devnet.rpc("evm_snapshot")
    devnet.advance(10)
    known = ledger.head()
    devnet.rpc("evm_revert", snapshot)
    with pytest.raises(Unavailable, match=f"block {known.number} was final"):
        ledger.head()
    devnet.advance(100)
    with pytest.raises(
        Refused, match=f"deeper than 0 confirmations: block {known.number} was 0x{known.hash.hex()}"
    ):
        ledger.head()


def test_a_reorganisation_above_the_final_block_passes_unseen(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    devnet.advance(1)
    ledger = opened(world, devnet.url, confirmations=1)
    snapshot = devnet.rpc("evm_snapshot")
    devnet.advance(10)
    known = ledger.head()
    devnet.rpc("evm_revert", snapshot)
    assert ledger.head() == known
    devnet.advance(100)
    assert ledger.head() == known
    devnet.advance(100)
    assert ledger.head().number == known.number + 1


# ---------------------------------------------------------------- bad and limited nodes


def test_a_node_with_a_small_log_range_is_asked_in_pieces(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    world.start().finished()
    spans: list[int] = []

    def limited(method: str, parameters: list[object], answer: Answer) -> Answer:
        if method == "eth_getLogs":
            asked = parameters[0]
            assert isinstance(asked, dict)
            spans.append(int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) + 1)
            if spans[-1] > 3:
                return {
                    "jsonrpc": "2.0",
                    "id": answer["id"],
                    "error": {"code": -32005, "message": "too many"},
                }
        return answer

    with node_that(devnet, limited) as url:
        head = world.ledger(world.auditor).head().number
        assert opened(world, url).events(-1, head) == world.ledger(world.auditor).events(-1, head)
    assert max(spans) > 3
    assert spans[-1] <= 3


def test_blocks_signed_in_their_extra_data_are_read(devnet: Devnet) -> None:
    """As Clique and QBFT write them: more than the 32 bytes of Ethereum's main chain."""
    world = on_devnet(devnet)

    def signed(method: str, _parameters: list[object], answer: Answer) -> Answer:
        block = answer.get("result")
        if method.startswith("eth_getBlockBy") and isinstance(block, dict):
            return {**answer, "result": {**block, "extraData": "0x" + "5a" * 97}}
        return answer

    with node_that(devnet, signed) as url:
        ledger = opened(world, url)
        assert ledger.head() == world.ledger(world.auditor).head()
        assert ledger.events(-1, ledger.head().number)


def test_a_chain_without_base_fee_gets_an_old_transaction(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    play = world.propose()

    def old(method: str, _parameters: list[object], answer: Answer) -> Answer:
        block = answer.get("result")
        if method.startswith("eth_getBlockBy") and isinstance(block, dict):
            return {**answer, "result": {k: v for k, v in block.items() if k != "baseFeePerGas"}}
        return answer

    with node_that(devnet, old) as url:
        ledger = opened(world, url, account_of(devnet, play.members[0]))
        receipt = ledger.accept_study(play.study, named("spec"))
    block = devnet.rpc("eth_getBlockByNumber", hex(receipt.at.block), True)
    assert isinstance(block, dict)
    assert [int(transaction["type"], 16) for transaction in block["transactions"]] == [0]


def _with_logs(change: Callable[[list[dict[str, object]]], object]) -> Tamper:
    def tamper(method: str, _parameters: list[object], answer: Answer) -> Answer:
        logs = answer.get("result")
        if method == "eth_getLogs" and isinstance(logs, list) and len(logs) > 8:
            return {**answer, "result": change(logs)}
        return answer

    return tamper


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda logs: logs[::-1], "out of order"),
        (lambda logs: [*logs, logs[-1]], "out of order"),
        (
            lambda logs: [*logs[:-1], {**logs[-1], "data": str(logs[-1]["data"]) + "00"}],
            "not the one encoding",
        ),
        (lambda logs: [*logs[:-1], {**logs[-1], "data": "0x"}], "malformed"),
        (lambda logs: [*logs[:-1], {**logs[-1], "topics": logs[-1]["topics"][:1]}], "malformed"),
    ],
)
def test_logs_that_the_contract_cannot_have_written_are_a_violation(
    devnet: Devnet, change: Callable[[list[dict[str, object]]], object], problem: str
) -> None:
    world = on_devnet(devnet)
    world.propose()
    with node_that(devnet, _with_logs(change)) as url:
        ledger = opened(world, url)
        with pytest.raises(Violation, match=problem):
            ledger.events(-1, ledger.head().number)


def test_topics_of_nobody_and_logs_of_others_are_passed_over(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    world.propose()

    def add(logs: list[dict[str, object]]) -> object:
        stranger, index = logs[-1], int(str(logs[-1]["logIndex"]), 16)
        unknown = {**stranger, "topics": ["0x" + "77" * 32], "logIndex": hex(index + 1)}
        foreign = {**stranger, "address": "0x" + "12" * 20, "logIndex": hex(index + 2)}
        return [*logs, unknown, foreign]

    with node_that(devnet, _with_logs(add)) as url:
        head = world.ledger(world.auditor).head().number
        assert opened(world, url).events(-1, head) == world.ledger(world.auditor).events(-1, head)


def test_a_call_that_runs_out_of_gas_says_so_and_may_be_tried_again(
    devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation.ledger.chain.GAS_SPARE", 30_000)
    world = on_devnet(devnet)
    play = world.propose()

    def stingy(method: str, _parameters: list[object], answer: Answer) -> Answer:
        return {**answer, "result": "0x1"} if method == "eth_estimateGas" else answer

    with node_that(devnet, stingy) as url:
        ledger = opened(world, url, account_of(devnet, play.members[0]))
        with pytest.raises(Unavailable, match=r"reverted in block \d+ .*gas used.*tried 3 times: try again"):
            ledger.accept_study(play.study, named("spec"))
    play.member(0).accept_study(play.study, named("spec"))


# ---------------------------------------------------------------- waiting transactions


def _nonce(chain: Devnet, account: LocalAccount) -> int:
    return int(str(chain.rpc("eth_getTransactionCount", account.address, "latest")), 16)


def _send(chain: Devnet, account: LocalAccount, nonce: int, **fields: object) -> bytes:
    """A transaction of an earlier run, at three times the price of gas; its hash."""
    price = 3 * int(str(chain.rpc("eth_gasPrice")), 16)
    call = {"to": account.address, "value": 0, "gas": 21_000, "nonce": nonce, "chainId": CHAIN_ID}
    signed = account.sign_transaction({**call, "gasPrice": price, **fields})
    chain.rpc("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
    return bytes(signed.hash)


def _waiting(chain: Devnet, count: int) -> None:
    """So many transactions wait for a block."""
    while int(str(chain.rpc("txpool_status")["pending"]), 16) < count:  # type: ignore[index]  # a JSON object
        sleep(0.02)


def test_a_call_that_is_not_mined_names_its_transaction_and_is_safe_to_repeat(anvil: Devnet) -> None:
    world = on_devnet(anvil)
    play = world.propose()
    ledger = opened(world, anvil.url, account_of(anvil, play.members[0]), mined_within=0.2)
    with no_mining(anvil), pytest.raises(Unavailable, match=r"sent as 0x[0-9a-f]{64}; not mined in"):
        ledger.accept_study(play.study, named("spec"))
    with rejects("AlreadyAccepted", play.study, play.members[0]):
        ledger.accept_study(play.study, named("spec"))


def test_a_stuck_transaction_of_an_earlier_run_is_replaced_by_one_that_pays_more(anvil: Devnet) -> None:
    world = on_devnet(anvil)
    play = world.propose()
    account = account_of(anvil, play.members[0])
    ledger = opened(world, anvil.url, account, replaced_after=0.02)
    with ThreadPoolExecutor() as pool:
        with no_mining(anvil):
            stuck = _send(anvil, account, _nonce(anvil, account))
            call = pool.submit(ledger.accept_study, play.study, named("spec"))
            while _targets(anvil) != [show_address(ledger.contract)]:
                sleep(0.02)
        assert call.result().call == "acceptStudy"
    assert anvil.rpc("eth_getTransactionReceipt", "0x" + stuck.hex()) is None


def _targets(chain: Devnet) -> list[str]:
    """Where the waiting transactions go."""
    content = chain.rpc("txpool_content")
    assert isinstance(content, dict)
    return [str(waiting["to"]).lower() for queue in content["pending"].values() for waiting in queue.values()]


def test_transactions_of_an_earlier_run_behind_a_gap_block_nothing(anvil: Devnet) -> None:
    """They wait for a nonce that only we can fill; then the contract takes each call once all the same."""
    world = on_devnet(anvil)
    studies = [world.propose() for _ in range(2)]
    account = account_of(anvil, studies[0].members[0])
    ledger = opened(world, anvil.url, account)
    nonce = _nonce(anvil, account)
    with no_mining(anvil):
        for ahead, study in ((1, studies[1]), (2, studies[0])):
            data = call_data("acceptStudy", study.study, named("spec"))
            _send(anvil, account, nonce + ahead, to=ledger.contract, data=data, gas=300_000)
    assert _nonce(anvil, account) == nonce
    for play in studies:
        with suppress(LedgerRejected):  # the old one was faster
            ledger.accept_study(play.study, named("spec"))
    history = world.catch_up()
    assert all(account_address(account) in history.study(play.study).accepted for play in studies)


def test_no_repricing_goes_beyond_the_most_that_we_pay(anvil: Devnet) -> None:
    world = on_devnet(anvil)
    play = world.propose()
    most = 2 * int(str(anvil.rpc("eth_gasPrice")), 16)
    account = account_of(anvil, play.members[0])
    settings = {"replaced_after": 0, "mined_within": 0.5, "most_wei": most}
    ledger = opened(world, anvil.url, account, **settings)
    with no_mining(anvil):
        with pytest.raises(Unavailable, match=r"at the most that `most_gwei` allows, [\d.]+"):
            ledger.accept_study(play.study, named("spec"))
        content = anvil.rpc("txpool_content")
        assert isinstance(content, dict)
        (waiting,) = [one for queue in content["pending"].values() for one in queue.values()]
        assert int(waiting["maxFeePerGas"], 16) == most
    with rejects("AlreadyAccepted", play.study, play.members[0]):
        ledger.accept_study(play.study, named("spec"))


def test_a_node_that_asks_for_a_fortune_gets_what_we_pay_at_most(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    play = world.propose()

    def dear(method: str, _parameters: list[object], answer: Answer) -> Answer:
        return {**answer, "result": hex(10**18)} if method == "eth_maxPriorityFeePerGas" else answer

    most = 10**11
    with node_that(devnet, dear) as url:
        ledger = opened(world, url, account_of(devnet, play.members[0]), most_wei=most)
        receipt = ledger.accept_study(play.study, named("spec"))
    block = devnet.rpc("eth_getBlockByNumber", hex(receipt.at.block), True)
    assert isinstance(block, dict)
    assert [int(sent["maxFeePerGas"], 16) for sent in block["transactions"]] == [most]


def test_while_gas_costs_more_than_we_pay_nothing_is_sent_and_the_setting_is_named(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    play = world.propose()

    def dear(method: str, _parameters: list[object], answer: Answer) -> Answer:
        block = answer.get("result")
        if method.startswith("eth_getBlockBy") and isinstance(block, dict):
            return {**answer, "result": {**block, "baseFeePerGas": hex(1_500 * 10**9)}}
        return answer

    with node_that(devnet, dear) as url:
        ledger = opened(world, url, account_of(devnet, play.members[0]))
        with pytest.raises(
            Unavailable, match="gas costs 1500 gwei now, `most_gwei` allows 1000: not sent; wait"
        ):
            ledger.accept_study(play.study, named("spec"))
    assert world.catch_up().study(play.study).accepted == {}


@pytest.mark.parametrize("base_fee", [True, False])
def test_what_we_sign_names_its_chain_and_is_worth_nothing_on_another(devnet: Devnet, base_fee: bool) -> None:
    world = on_devnet(devnet)
    play = world.propose()
    signed: list[bytes] = []

    def listening(method: str, parameters: list[object], answer: Answer) -> Answer:
        if method == "eth_sendRawTransaction":
            signed.append(bytes.fromhex(str(parameters[0])[2:]))
        block = answer.get("result")
        if not base_fee and method.startswith("eth_getBlockBy") and isinstance(block, dict):
            return {**answer, "result": {k: v for k, v in block.items() if k != "baseFeePerGas"}}
        return answer

    with node_that(devnet, listening) as url:
        opened(world, url, account_of(devnet, play.members[0])).accept_study(play.study, named("spec"))
    (raw,) = signed
    if base_fee:
        assert raw[0] == 2
        assert int.from_bytes(rlp.decode(raw[1:])[0], "big") == CHAIN_ID  # EIP-1559
    else:
        assert int.from_bytes(rlp.decode(raw)[6], "big") - 2 * CHAIN_ID in (35, 36)  # EIP-155


def test_a_node_of_another_chain_does_not_take_what_we_sign(anvil: Devnet, tmp_path: Path) -> None:
    world = on_devnet(anvil)
    play = world.propose()
    with Devnet.start("anvil", directory=tmp_path, chain_id=CHAIN_ID + 1) as other:
        away = on_devnet(other)
        other_play = away.propose()

        def claims_to_be_ours(method: str, _parameters: list[object], answer: Answer) -> Answer:
            return {**answer, "result": hex(CHAIN_ID)} if method == "eth_chainId" else answer

        with node_that(other, claims_to_be_ours) as url:
            ledger = opened(away, url, account_of(anvil, play.members[0]), chain_id=CHAIN_ID)
            with pytest.raises(Unavailable, match="chain"):
                ledger.accept_study(other_play.study, named("spec"))
        assert away.catch_up().study(other_play.study).accepted == {}


def test_calls_that_meet_in_one_block_all_have_gas_enough(anvil: Devnet) -> None:
    """Each was estimated before the others; the last commit also closes the window."""
    world = on_devnet(anvil)
    play = world.start(5)
    _meet(anvil, [lambda k=k: play.commit(k) for k in range(5)])
    assert len(world.catch_up().round(play.round).commits) == 5


@pytest.mark.parametrize("spare", [30_000, GAS_SPARE])
def test_whoever_is_the_last_by_chance_has_gas_enough_or_tries_again(
    anvil: Devnet, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    """The last consent also begins the epoch, which no estimate made before could know."""
    monkeypatch.setattr("federation.ledger.chain.GAS_SPARE", spare)
    world = on_devnet(anvil)
    play = world.start(4).propose_key(0, "later key")
    for consent in _meet(anvil, [lambda k=k: play.accept_key("later key", k) for k in range(4)]):
        consent.result()
    assert world.catch_up().study(play.study).key_of(2) == named("later key")


def test_the_loser_of_a_race_learns_the_rule_that_it_broke(anvil: Devnet) -> None:
    world = on_devnet(anvil)
    play = world.start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(0, 1)
    racers = _meet(anvil, [lambda k=k: play.finish(play.member(k)) for k in range(2)])
    (lost,) = [error for racer in racers if (error := racer.exception())]
    assert isinstance(lost, LedgerRejected)
    assert (lost.rule, lost.values) == ("SameResult", (play.round,))


def _meet(chain: Devnet, calls: list[Callable[[], Play]]) -> list[Future[Play]]:
    with ThreadPoolExecutor(len(calls)) as pool:
        with no_mining(chain):
            futures = [pool.submit(call) for call in calls]
            _waiting(chain, len(calls))
        return futures


def test_calls_of_one_account_from_many_threads_take_turns(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    studies = [world.propose() for _ in range(4)]
    ledger = world.ledger(studies[0].members[0])
    with ThreadPoolExecutor() as pool:
        receipts = list(pool.map(lambda play: ledger.accept_study(play.study, named("spec")), studies))
    assert len({receipt.at for receipt in receipts}) == 4


def test_two_processes_of_one_account_do_not_lose_a_call(anvil: Devnet) -> None:
    """On Anvil only: Ganache at times stops answering when two transactions with one nonce meet."""
    world = on_devnet(anvil)
    studies = [world.propose() for _ in range(4)]
    account = account_of(anvil, studies[0].members[0])
    ledgers: list[Ledger] = [opened(world, anvil.url, account, replaced_after=0.2) for _ in range(2)]

    def accept(index: int) -> None:
        ledgers[index % 2].accept_study(studies[index].study, named("spec"))

    with ThreadPoolExecutor() as pool:
        list(pool.map(accept, range(4)))
    history = world.catch_up()
    assert all(account_address(account) in history.study(play.study).accepted for play in studies)


def account_address(account: LocalAccount) -> Address:
    return Address(bytes.fromhex(account.address[2:]))


# ---------------------------------------------------------------- keys of rounds


def test_the_contract_and_its_readers_agree_on_every_rounds_key(devnet: Devnet) -> None:
    world = on_devnet(devnet)
    play = world.start(3)
    play.propose_key(0, "second key").accept_key("second key", 0, 1, 2)
    play.commit(0).propose_key(1, "third key").accept_key("third key", 0, 1)
    play.commit(1, 2).reveal(0, 1, 2).total(0, 1, 2).share(0, 1).finish(play.aggregator)
    play.accept_key("third key", 2)
    study = world.catch_up().study(play.study)
    assert [(epoch.first, epoch.key) for epoch in study.later_epochs] == [
        (2, named("second key")),
        (3, named("third key")),
    ]
    contract, _ = contract_of(world)
    for number in (1, 2, 3, 4, 2**32 - 1):
        asked = call_data("keyOf", round_word(RoundId(play.study, number)))
        found = devnet.rpc("eth_call", {"to": show_address(contract), "data": "0x" + asked.hex()}, "latest")
        assert found == "0x" + study.key_of(number).hex()


# ---------------------------------------------------------------- words


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_round_is_one_word_and_back(study: int, number: int) -> None:
    round = RoundId(StudyId(study), number)
    assert round_of(round_word(round)) == round


@pytest.mark.parametrize(
    "round", [RoundId(StudyId(2**32), 1), RoundId(StudyId(1), 2**32), RoundId(StudyId(1), -1)]
)
def test_a_round_that_does_not_fit_is_refused(round: RoundId) -> None:
    with pytest.raises(Refused, match="below 2\\^32"):
        round_word(round)


def test_values_that_the_contract_cannot_hold_are_refused() -> None:
    with pytest.raises(Refused, match="acceptStudy cannot carry"):
        call_data("acceptStudy", 2**32, bytes(32))
    with pytest.raises(Refused, match="acceptStudy cannot carry"):
        call_data("acceptStudy", 1, bytes(33))


def _reveal(data: bytes) -> object:
    (topic,) = [hash for hash, signature in by_hash("event").items() if signature.name == "UpdateRevealed"]
    topics = (topic, (7 << 32 | 5).to_bytes(32, "big"), bytes(12) + b"\xaa" * 20)
    return event_of(topics, data, at=LogPosition(3, 1), time=lambda: Timestamp(9))


@given(st.integers(0, 63), st.integers(1, 255))
def test_no_altered_byte_of_a_log_goes_unseen(position: int, mask: int) -> None:
    data = bytearray(encode(["(bytes4,bytes32)"], [(cid("x")[:4], cid("x")[4:])]))
    assert _reveal(bytes(data)) == UpdateRevealed(
        at=LogPosition(3, 1),
        time=Timestamp(9),
        sender=Address(b"\xaa" * 20),
        round=RoundId(StudyId(7), 5),
        cid=cid("x"),
    )
    data[position] ^= mask
    try:
        altered = _reveal(bytes(data))
    except Violation:
        return
    assert isinstance(altered, UpdateRevealed)
    assert altered.cid != cid("x")


@given(st.binary(max_size=100))
def test_whatever_a_revert_says_is_decoded_or_disowned(data: bytes) -> None:
    for prefix in (b"", *list(by_hash("error", 4))[:5], bytes.fromhex("4e487b71")):
        try:
            found = rejection_of(prefix + data)
        except TallyError as error:
            found = error
        assert found is None or isinstance(found, TallyError)
