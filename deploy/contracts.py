"""The contract's build, reproduced bit by bit from `contracts/`, and its deployment.

`federation/ledger/RoundLedger.json` is what everybody installs and audits against; `tally contract
check` fails when the sources no longer lead to it. Only compiling needs the extra `devnet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

import requests
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import TimeExhausted, Web3Exception
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import TxParams

from federation.digest import sha256
from federation.endpoints import shown_url
from federation.enrolment import NAME_LIMIT, check_name
from federation.errors import Refused, Unavailable
from federation.ledger.abi import court_of, rejection_of
from federation.ledger.rpc import NodeRefusal
from federation.ledger.sending import refuse_if_poor
from federation.members import Address, Member, parse_address, show_address

CONTRACT: Final = "RoundLedger"
SOLC: Final = "0.8.37"
COURT: Final = "Court"  # created by the constructor of the other
SOURCES: Final = (
    *("Types.sol", "IRoundLedger.sol", "Roster.sol", "Bonds.sol", "RoundLedger.sol"),
    *(
        "IJudge.sol",
        "Merkle.sol",
        "Residues.sol",
        "Chunks.sol",
        "Headers.sol",
        "Keys.sol",
        "Judge.sol",
        "Court.sol",
    ),
)
SETTINGS: Final = {
    "evmVersion": "paris",  # one bytecode for Anvil, Ganache, Besu and geth
    "metadata": {"bytecodeHash": "ipfs"},  # the code names its own sources
    "optimizer": {"enabled": True, "runs": 1_000},
    "viaIR": True,
}
RECEIPT_SECONDS: Final = 120.0

_ROOT: Final = Path(__file__).parent.parent
BUILT: Final = _ROOT / "federation" / "ledger" / f"{CONTRACT}.json"


class Code(TypedDict):
    """One contract's; code is `0x` and hexadecimal digits."""

    abi: list[dict[str, object]]
    bytecode: str
    deployedBytecode: str


class Build(Code):
    """What `RoundLedger.json` holds."""

    contract: str
    compiler: str
    settings: dict[str, object]
    sources: dict[str, str]  # SHA-256 of each
    court: Code


class StandardInput(TypedDict):
    """Of `solc --standard-json`."""

    language: str
    sources: dict[str, dict[str, str]]
    settings: dict[str, object]


class _Bytes(TypedDict):
    object: str
    immutableReferences: dict[str, object]


class _Evm(TypedDict):
    bytecode: _Bytes
    deployedBytecode: _Bytes


class _Compiled(TypedDict):
    abi: list[dict[str, object]]
    evm: _Evm
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where the contract stands."""

    address: Address
    chain_id: int
    block: int

    def ledger_table(self, url: str) -> str:
        """The [ledger] table of every settings file; what may be a key in `url` is left out."""
        shown = shown_url(url)
        line = f"url = {json.dumps(url)}"
        if shown not in {url, url.removesuffix("/")}:
            bare = json.dumps(shown.rpartition("/")[0])
            line = f"url = {bare}  # your own node's; the rest of this one is not shown: it may be a key"
        return f"""[ledger]
{line}
contract = "{show_address(self.address)}"
chain_id = {self.chain_id}
deployment_block = {self.block}
confirmations = 0  # raise this on chains that can reorganise
"""


def built() -> Build:
    """The build that is shipped and audited against."""
    return cast("Build", json.loads(BUILT.read_text()))


def compile_contracts() -> Build:
    """The build that the sources lead to, the same on every machine.

    Raises `Refused` with the compiler's words, for warnings too.
    """
    import solcx  # noqa: PLC0415 - only who compiles installs a compiler

    task = standard_input("abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode")
    try:
        output = solcx.compile_standard(dict(task), solc_binary=_compiler())
    except solcx.exceptions.SolcError as error:
        raise Refused(f"the contract does not compile: {error}") from error
    for complaint in output.get("errors", ()):
        raise Refused(f"the contract compiles with a warning: {complaint['formattedMessage']}")
    ledger, court = (
        cast("_Compiled", output["contracts"][f"contracts/{name}.sol"][name]) for name in (CONTRACT, COURT)
    )
    return Build(
        contract=CONTRACT,
        compiler=json.loads(ledger["metadata"])["compiler"]["version"],
        settings=dict(SETTINGS),
        sources={name: sha256(text["content"].encode()).hex() for name, text in task["sources"].items()},
        **_code(ledger),
        court=_code(court),
    )


def standard_input(*wanted: str) -> StandardInput:
    """What a compiler is asked, from the sources of this checkout; raises `Refused` where there are none.

    `wanted`: outputs of each contract; every source's syntax tree comes with them.
    """
    folder = _ROOT / "contracts"
    try:
        texts = {f"contracts/{name}": (folder / name).read_text() for name in SOURCES}
    except OSError as error:
        problem = f"expected the sources in {folder}: {error.strerror}"
        raise Refused(f"{problem}. Run this in a checkout of the project") from error
    return StandardInput(
        language="Solidity",
        # Inline, under names that are the same everywhere: no path of a machine reaches the code.
        sources={name: {"content": text} for name, text in texts.items()},
        settings={**SETTINGS, "outputSelection": {"*": {"*": list(wanted), "": ["ast"]}}},
    )


def _code(compiled: _Compiled) -> Code:
    deployed = compiled["evm"]["deployedBytecode"]
    if deployed["immutableReferences"]:
        raise Refused("immutables would make the deployed code differ from the audited build")
    return Code(
        abi=compiled["abi"],
        bytecode="0x" + compiled["evm"]["bytecode"]["object"],
        deployedBytecode="0x" + deployed["object"],
    )


def deploy(url: str, key: bytes, founders: Sequence[Member]) -> Deployment:
    """The shipped build runs at the returned address, with this roster.

    `key` is the deploying account's private key; the account has no rights afterwards. Raises
    `Unavailable` when the chain does not answer, `Refused` when it does not take the contract; no
    message quotes more of `url` than its host.
    """
    build, shown = built(), shown_url(url)
    web3 = Web3(HTTPProvider(url))
    # Consortium chains sign their blocks in extraData, which web3 otherwise refuses to read.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    account = Account.from_key(key)
    contract = web3.eth.contract(abi=build["abi"], bytecode=build["bytecode"])
    roster = [(m.address, int(m.role), m.sealing_key, _padded(m.name)) for m in founders]
    try:
        chain_id = web3.eth.chain_id
        call: TxParams = contract.constructor(roster).build_transaction(
            {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address)}
        )
        sent = web3.eth.send_raw_transaction(account.sign_transaction(call).raw_transaction)
        receipt = web3.eth.wait_for_transaction_receipt(sent, RECEIPT_SECONDS, poll_latency=0.05)
        address = receipt["contractAddress"]
        if receipt["status"] != 1 or address is None:
            raise Refused(f"the chain reverted the deployment in block {receipt['blockNumber']}")
        code = web3.eth.get_code(address)
    except TimeExhausted as error:
        late = f"the chain at {shown} mined no deployment in {RECEIPT_SECONDS:.0f} s"
        raise Unavailable(f"{late}; it may still: look before you deploy again") from error
    except requests.RequestException as error:  # its words quote the whole URL
        raise Unavailable(f"the chain at {shown} does not answer ({type(error).__name__})") from error
    except Web3Exception as error:
        said = " ".join(str(error).split())[:200]
        refused = f"the chain at {shown} refused the deployment: {said}"
        refuse_if_poor(NodeRefusal(refused, said=said, revert=None), parse_address(account.address))
        raise _rejection(error) or Refused(refused) from error
    court = web3.eth.get_code(Web3.to_checksum_address(court_of(parse_address(address))))
    expected = [bytes.fromhex(made["deployedBytecode"][2:]) for made in (build, build["court"])]
    if [code, court] != expected:
        raise Refused(f"the code at {address} is not the audited build")
    return Deployment(address=parse_address(address), chain_id=chain_id, block=receipt["blockNumber"])


def _rejection(error: Web3Exception) -> Refused | None:
    """The contract's own error, wherever in the node's answer its bytes stand."""
    for data in re.findall(r"0x((?:[0-9a-f]{2}){4,})", str(error)):
        if found := rejection_of(bytes.fromhex(data)):
            return found
    return None


def _compiler() -> Path:
    """A native solc of the pinned version if py-solc-x has one, else the same compiler from npm."""
    import solcx  # noqa: PLC0415 - see `compile_contracts`
    from packaging.version import Version  # noqa: PLC0415 - comes with py-solc-x

    from .node_runtime import install  # noqa: PLC0415 - see `compile_contracts`

    if Version(SOLC) in solcx.get_installed_solc_versions():
        return Path(solcx.install.get_executable(SOLC))
    return install().solc


def _padded(name: str) -> bytes:
    return check_name(name).encode("ascii").ljust(NAME_LIMIT + 1, b"\0")


def difference(expected: Build, found: Build) -> str | None:
    """Names the first field in which the builds differ."""
    for field, value in found.items():
        if expected.get(field) != value:
            return f"{BUILT.name}: {field} differs from the sources'; run `tally contract build`"
    return None


def write_build() -> None:
    """`RoundLedger.json` is what the sources compile to."""
    fresh = BUILT.with_suffix(".new")
    fresh.write_text(json.dumps(compile_contracts(), indent=1) + "\n")
    fresh.replace(BUILT)  # at once: others may be reading it
