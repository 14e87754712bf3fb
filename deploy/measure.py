"""What a run cost: gas, seconds and bytes, all read back from ledger and store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean
from typing import Final, cast

from eth_typing import ABIFunction
from eth_utils.abi import function_abi_to_4byte_selector

from federation.audit.record import RoundRecord, StudyRecord
from federation.ledger.abi import court_of
from federation.members import parse_address, show_address

from .contracts import built
from .devnet import Devnet

PHASES: Final = ("commit", "reveal", "combine", "open")


def gas_per_call(devnet: Devnet, contract: str) -> dict[str, dict[str, int]]:
    """For each function of contract and court: how often it was called, and the least, mean and most gas.

    Calls that reverted are left out: what they cost depends on where.
    """
    build, court = built(), show_address(court_of(parse_address(contract)))
    names = {
        "0x" + function_abi_to_4byte_selector(cast("ABIFunction", entry)).hex(): str(entry["name"])
        for entry in [*build["abi"], *build["court"]["abi"]]
        if entry["type"] == "function"
    }
    spent: dict[str, list[int]] = defaultdict(list)
    newest = int(str(devnet.rpc("eth_blockNumber")), 16)
    for number in range(newest + 1):
        block = cast("dict[str, list[dict[str, str]]]", devnet.rpc("eth_getBlockByNumber", hex(number), True))
        for call in block["transactions"]:
            name = names.get(call["input"][:10])
            if name is not None and str(call["to"]).lower() in {contract, court}:
                receipt = cast("dict[str, str]", devnet.rpc("eth_getTransactionReceipt", call["hash"]))
                if int(receipt["status"], 16):
                    spent[name].append(int(receipt["gasUsed"], 16))
    return {
        name: {"calls": len(gas), "least": min(gas), "mean": round(mean(gas)), "most": max(gas)}
        for name, gas in sorted(spent.items())
    }


def seconds_per_phase(record: StudyRecord) -> dict[str, float]:
    """Mean block time that finished rounds spent in each phase; block times are whole seconds."""
    spent: dict[str, list[int]] = defaultdict(list)
    for round in (r.round for r in record.rounds):
        if round.total is None or not round.proposals:
            continue
        moments = [
            min(commit.time for commit in round.commits.values()),
            max(commit.time for commit in round.commits.values()),
            max(reveal.time for reveal in round.reveals.values()),
            round.total.time,
            round.proposals[0].time,
        ]
        for phase, start, end in zip(PHASES, moments, moments[1:], strict=False):
            spent[phase].append(end - start)
    return {phase: mean(seconds) for phase, seconds in spent.items()}


def bytes_per_payload(record: StudyRecord) -> dict[str, int]:
    """The largest payload of each kind, without its sealing."""

    def most(payloads: Iterable[bytes]) -> int:
        return max(map(len, payloads), default=0)

    rounds: list[RoundRecord] = record.rounds
    return {
        "update": max((content.size for r in rounds for content in r.updates.values()), default=0),
        "total": max((r.total.size for r in rounds if r.total is not None), default=0),
        "share": most([data for r in rounds for data in r.shares.values()]),
        "opening": most([data for r in rounds for data in r.openings.values()]),
        "model": most([data for r in rounds for data in r.models.values()]),
    }
