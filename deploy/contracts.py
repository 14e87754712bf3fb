"""The contract's build, reproduced bit by bit from `contracts/`, and its deployment.

`federation/ledger/RoundLedger.json` is what everybody installs and audits against;
`python -m deploy.contracts check` fails when the sources no longer lead to it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

import requests
import solcx
from eth_account import Account
from packaging.version import Version
from web3 import HTTPProvider, Web3
from web3.exceptions import TimeExhausted, Web3Exception
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import TxParams

from federation.digest import sha256
from federation.errors import ExitCode, Refused, TallyError, Unavailable
from federation.ledger.abi import rejection_of
from federation.members import Address, Member

from .node_runtime import install

CONTRACT: Final = "RoundLedger"
SOLC: Final = "0.8.37"
SOURCES: Final = ("IRoundLedger.sol", "Roster.sol", "RoundLedger.sol")
SETTINGS: Final = {
    "evmVersion": "paris",  # one bytecode for Anvil, Ganache, Besu and geth
    "metadata": {"bytecodeHash": "ipfs"},  # the code names its own sources
    "optimizer": {"enabled": True, "runs": 10_000},
    "viaIR": True,
}
RECEIPT_SECONDS: Final = 120.0
NAME_BYTES: Final = 32

_ROOT: Final = Path(__file__).parent.parent
BUILT: Final = _ROOT / "federation" / "ledger" / f"{CONTRACT}.json"


class Build(TypedDict):
    """What `RoundLedger.json` holds; code is `0x` and hexadecimal digits."""

    contract: str
    compiler: str
    settings: dict[str, object]
    sources: dict[str, str]  # SHA-256 of each
    abi: list[dict[str, object]]
    bytecode: str
    deployedBytecode: str


class _Code(TypedDict):
    object: str
    immutableReferences: dict[str, object]


class _Evm(TypedDict):
    bytecode: _Code
    deployedBytecode: _Code


class _Compiled(TypedDict):
    abi: list[dict[str, object]]
    evm: _Evm
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where the contract stands."""

    address: Address
    block: int


def built() -> Build:
    """The build that is shipped and audited against."""
    return cast("Build", json.loads(BUILT.read_text()))


def compile_contracts() -> Build:
    """The build that the sources lead to, the same on every machine.

    Raises `Refused` with the compiler's words, for warnings too.
    """
    texts = {f"contracts/{name}": (_ROOT / "contracts" / name).read_text() for name in SOURCES}
    wanted = ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode"]
    task = {
        "language": "Solidity",
        # Inline, under names that are the same everywhere: no path of a machine reaches the code.
        "sources": {name: {"content": text} for name, text in texts.items()},
        "settings": {**SETTINGS, "outputSelection": {"*": {"*": wanted}}},
    }
    try:
        output = solcx.compile_standard(task, solc_binary=_compiler())
    except solcx.exceptions.SolcError as error:
        raise Refused(f"the contract does not compile: {error}") from error
    for complaint in output.get("errors", ()):
        raise Refused(f"the contract compiles with a warning: {complaint['formattedMessage']}")
    compiled = cast("_Compiled", output["contracts"][f"contracts/{CONTRACT}.sol"][CONTRACT])
    code = compiled["evm"]["deployedBytecode"]
    if code["immutableReferences"]:
        raise Refused("immutables would make the deployed code differ from the audited build")
    return Build(
        contract=CONTRACT,
        compiler=json.loads(compiled["metadata"])["compiler"]["version"],
        settings=dict(SETTINGS),
        sources={name: sha256(text.encode()).hex() for name, text in texts.items()},
        abi=compiled["abi"],
        bytecode="0x" + compiled["evm"]["bytecode"]["object"],
        deployedBytecode="0x" + code["object"],
    )


def deploy(url: str, key: bytes, founders: Sequence[Member]) -> Deployment:
    """The shipped build runs at the returned address, with this roster.

    `key` is the deploying account's private key; the account has no rights afterwards. Raises
    `Unavailable` when the chain does not answer, `Refused` when it does not take the contract.
    """
    build = built()
    web3 = Web3(HTTPProvider(url))
    # Consortium chains sign their blocks in extraData, which web3 otherwise refuses to read.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    account = Account.from_key(key)
    contract = web3.eth.contract(abi=build["abi"], bytecode=build["bytecode"])
    roster = [(m.address, int(m.role), m.sealing_key, _padded(m.name)) for m in founders]
    try:
        call: TxParams = contract.constructor(roster).build_transaction(
            {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address)}
        )
        sent = web3.eth.send_raw_transaction(account.sign_transaction(call).raw_transaction)
        receipt = web3.eth.wait_for_transaction_receipt(sent, RECEIPT_SECONDS, poll_latency=0.05)
        address = receipt["contractAddress"]
        if receipt["status"] != 1 or address is None:
            raise Refused(f"the chain reverted the deployment in block {receipt['blockNumber']}")
        code = web3.eth.get_code(address)
    except (requests.RequestException, TimeExhausted) as error:
        raise Unavailable(f"the chain at {url} does not answer: {error}") from error
    except Web3Exception as error:
        raise _rejection(error) or Refused(f"the chain at {url} refused the deployment: {error}") from error
    if code != bytes.fromhex(build["deployedBytecode"][2:]):
        raise Refused(f"the code at {address} is not the audited build")
    return Deployment(address=Address(bytes.fromhex(address[2:])), block=receipt["blockNumber"])


def _rejection(error: Web3Exception) -> Refused | None:
    """The contract's own error, wherever in the node's answer its bytes stand."""
    for data in re.findall(r"0x((?:[0-9a-f]{2}){4,})", str(error)):
        if found := rejection_of(bytes.fromhex(data)):
            return found
    return None


def _compiler() -> Path:
    """A native solc of the pinned version if py-solc-x has one, else the same compiler from npm."""
    if Version(SOLC) in solcx.get_installed_solc_versions():
        return Path(solcx.install.get_executable(SOLC))
    return install().solc


def _padded(name: str) -> bytes:
    try:
        raw = name.encode("ascii")
    except UnicodeEncodeError as error:
        raise Refused(f"expected an ASCII name of a member, found {name!r}") from error
    if len(raw) >= NAME_BYTES:
        raise Refused(f"expected a member's name of at most {NAME_BYTES - 1} characters, found {len(raw)}")
    return raw.ljust(NAME_BYTES, b"\0")


def difference(expected: Build, found: Build) -> str | None:
    """Names the first field in which the builds differ."""
    for field, value in found.items():
        if expected.get(field) != value:
            return f"{BUILT.name}: {field} differs from the sources'; run `python -m deploy.contracts build`"
    return None


def main(arguments: Sequence[str]) -> ExitCode:
    """`build` writes RoundLedger.json; `check` compares it with a fresh build."""
    match arguments:
        case ["build"]:
            fresh = BUILT.with_suffix(".new")
            fresh.write_text(json.dumps(compile_contracts(), indent=1) + "\n")
            fresh.replace(BUILT)  # at once: others may be reading it
            return ExitCode.OK
        case ["check"]:
            problem = difference(built(), compile_contracts())
            print(problem or f"{BUILT.name} is what contracts/ compiles to", file=sys.stderr)
            return ExitCode.VIOLATION if problem else ExitCode.OK
        case _:
            print("usage: python -m deploy.contracts build|check", file=sys.stderr)
            return ExitCode.USAGE


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TallyError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
