"""The ledger on a real chain: the contract, through nodes that we run or verify (PROTOCOL §5).

They are trusted for order and liveness; nothing they say is believed that the contract could
not have written. The ledger keeps no state but caches and one bookmark: a restart loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth_account.signers.local import LocalAccount

from ..bonds import WEI_PER_GWEI
from ..digest import Cid, Digest, LedgerId, ledger_id
from ..disputes import Charge
from ..errors import Refused, Unavailable, Violation
from ..events import Event, MemberJoined, Motion, Reason, RoundId, StudyId, StudyTerms
from ..members import Address, show_address
from ..telemetry import SILENT, Telemetry
from .abi import (
    CLAUSE,
    audited_code_digest,
    call_data,
    cid_words,
    court_of,
    dispute_call,
    motion_words,
    rejection_of,
    round_word,
    terms_words,
)
from .bookmark import NO_BOOKMARK, Bookmark
from .finality import Finality
from .ledger import Block, Receipt
from .nodes import Expected, Nodes
from .reading import Reader
from .rpc import Call, Mined, NodeRefusal, Rpc
from .sending import Overtaken, Sender, refuse_if_poor

ANSWER_SECONDS: Final = 20.0
MINED_SECONDS: Final = 180.0
PATIENCE_SECONDS: Final = 30.0  # before a waiting transaction is replaced by one that pays more
LATE_SECONDS: Final = 60.0  # that a node which keeps up otherwise is waited for
MOST_WEI: Final = (
    1000 * WEI_PER_GWEI
)  # for a unit of gas: some ten times of what a public chain asks when busy
ATTEMPTS: Final = 3  # when others' calls come between
GAS_SPARE: Final = 100_000  # for the same: the last consent also begins an epoch (67,000 more)


def connect(
    url: str,
    contract: Address,
    account: LocalAccount | None = None,
    *,
    deployment_block: int,
    confirmations: int,
    also: Sequence[str] = (),
    agreeing: int | None = None,
    chain_id: int | None = None,
    code: Digest | None = None,
    only_audited_code: bool = True,
    bookmark: Bookmark = NO_BOOKMARK,
    answer_within: float = ANSWER_SECONDS,
    mined_within: float = MINED_SECONDS,
    replaced_after: float = PATIENCE_SECONDS,
    late_for: float = LATE_SECONDS,
    most_wei: int = MOST_WEI,
    telemetry: Telemetry = SILENT,
) -> ChainLedger:
    """A ledger whose chain, contract, code and deployment block are what they are said to be.

    `account` signs our calls; without it the ledger can only be read. `confirmations` is the depth
    at which a block is final, once as many nodes as `agreeing` (None: more than half) of `url` and `also`
    show it; one that keeps up is waited for, for `late_for` seconds. `chain_id` is what a person expects
    (None: whatever the node says), `code` the SHA-256 of the contract's code (None: the audited build's,
    or any if not `only_audited_code`). `most_wei` is paid for a unit of gas at most. Times are in seconds.
    `telemetry` hears each answer of a node, and what gas we pay. Raises `Unavailable` when no node answers
    or all are behind, `Refused` when anything is not as expected.
    """
    if code is None and only_audited_code:
        code, code_name = audited_code_digest(), "the audited build"
    else:
        code_name = "the one that `code` names"
    expected = Expected(
        contract=contract,
        deployment_block=deployment_block,
        chain_id=chain_id,
        code=code,
        code_name=code_name,
    )
    nodes = Nodes([Rpc(each, timeout=answer_within) for each in (url, *also)], expected, telemetry=telemetry)
    place = nodes.place
    id = ledger_id(place.chain_id, place.genesis, contract, place.deployed)
    finality = Finality(
        nodes,
        id,
        deployment_block=deployment_block,
        confirmations=confirmations,
        agreeing=len(nodes) // 2 + 1 if agreeing is None else agreeing,
        patience=late_for,
        bookmark=bookmark,
    )
    reader = Reader(nodes, contract, finality, deployment_block=deployment_block)
    first = reader.events(deployment_block - 1, deployment_block)
    if not first or not isinstance(first[0], MemberJoined):
        raise Refused(f"{show_address(contract)} was not deployed in block {deployment_block}")
    sender = None
    if account is not None:
        sender = Sender(
            nodes,
            account,
            contract,
            chain_id=place.chain_id,
            patience=replaced_after,
            timeout=mined_within,
            most=most_wei,
        )
    return ChainLedger(
        id=id,
        contract=contract,
        code_digest=place.code,
        _nodes=nodes,
        _finality=finality,
        _reader=reader,
        _sender=sender,
        _telemetry=telemetry,
    )


@dataclass(slots=True, kw_only=True)
class ChainLedger:
    """A `Ledger`; made by `connect`."""

    id: LedgerId
    contract: Address
    code_digest: Digest  # SHA-256 of the code that runs at `contract`, and its court's
    _nodes: Nodes
    _finality: Finality
    _reader: Reader
    _sender: Sender | None
    _telemetry: Telemetry

    @property
    def account(self) -> Address:
        """Who sends our calls; raises `Refused` on a ledger that is only read."""
        return self._signing().address

    @property
    def code_is_audited(self) -> bool:
        """Whether the contract runs the audited build, byte for byte."""
        return self.code_digest == audited_code_digest()

    def head(self) -> Block:
        """See `Finality.head`."""
        return self._finality.head()

    def events(self, after: int, until: int) -> Sequence[Event]:
        """See `Reader.events`."""
        return self._reader.events(after, until)

    def create_study(self, terms: StudyTerms) -> Receipt:
        return self._call("createStudy", terms_words(terms))

    def accept_study(self, study: StudyId, digest: Digest) -> Receipt:
        return self._call("acceptStudy", study, digest)

    def propose_key(self, study: StudyId, key: Digest, cid: Cid) -> Receipt:
        return self._call("proposeKey", study, key, cid_words(cid))

    def accept_key(self, study: StudyId, key: Digest, ciphertexts: int) -> Receipt:
        return self._call("acceptKey", study, key, ciphertexts)

    def commit_update(self, round: RoundId, root: Digest, base_model: Digest) -> Receipt:
        return self._call("commitUpdate", round_word(round), root, base_model)

    def reveal_update(self, round: RoundId, cid: Cid) -> Receipt:
        return self._call("revealUpdate", round_word(round), cid_words(cid))

    def post_total(self, round: RoundId, members: Sequence[Address], root: Digest, cid: Cid) -> Receipt:
        return self._call("postTotal", round_word(round), tuple(members), root, cid_words(cid))

    def post_share(self, round: RoundId, digest: Digest, cid: Cid, *, total: Digest) -> Receipt:
        return self._call("postShare", round_word(round), total, digest, cid_words(cid))

    def finish(
        self, round: RoundId, opening: Digest, model: Digest, *, opening_cid: Cid, model_cid: Cid
    ) -> Receipt:
        return self._call(
            "finish", round_word(round), opening, model, cid_words(opening_cid), cid_words(model_cid)
        )

    def confirm_model(self, round: RoundId, model: Digest) -> Receipt:
        return self._call("confirmModel", round_word(round), model)

    def object_to_result(
        self,
        round: RoundId,
        *,
        proposed_opening: Digest,
        proposed_model: Digest,
        found_opening: Digest,
        found_model: Digest,
    ) -> Receipt:
        return self._call(
            "objectToResult", round_word(round), proposed_opening, proposed_model, found_opening, found_model
        )

    def abandon(self, round: RoundId, reason: Reason) -> Receipt:
        return self._call("abandon", round_word(round), int(reason))

    def dispute(self, charge: Charge) -> Receipt:
        function, arguments = dispute_call(charge)
        return self._call(function, *arguments, to=court_of(self.contract))

    def vote(self, motion: Motion) -> Receipt:
        return self._call("vote", motion_words(motion))

    def follow_roster(self, study: StudyId, account: Address) -> Receipt:
        return self._call("followRoster", study, account)

    def deposit_bond(self, study: StudyId, wei: int) -> Receipt:
        return self._call("depositBond", study, wei=wei)

    def withdraw_bond(self, study: StudyId, wei: int) -> Receipt:
        return self._call("withdrawBond", study, wei)

    def _call(self, function: str, *arguments: object, to: Address | None = None, wei: int = 0) -> Receipt:
        sender = self._signing()
        data = call_data(function, *arguments)
        call = Call(sender=sender.address, to=to or self.contract, data=data, wei=wei)
        for _ in range(ATTEMPTS):
            gas = self._gas(call)
            try:
                mined = sender.send(call, gas)
            except Overtaken as overtaken:
                failure = str(overtaken)
                continue
            self._telemetry.paid(function, mined.gas)
            if mined.succeeded:
                return self._receipt(function, mined)
            self._refuse_what_the_contract_refuses(call, mined)
            failure = f"0x{mined.hash.hex()} reverted in block {mined.block} ({mined.gas} of {gas} gas used)"
        raise Unavailable(f"{failure}; tried {ATTEMPTS} times: try again")

    def _signing(self) -> Sender:
        if self._sender is None:
            raise Refused("this ledger was opened without an account: it can only be read")
        return self._sender

    def _gas(self, call: Call) -> int:
        """A limit for the call; raises what the contract would say to it now."""
        try:
            return self._nodes.estimate(call) * 5 // 4 + GAS_SPARE
        except NodeRefusal as refusal:
            refuse_if_poor(refusal, call.sender)
            raise _rejection(refusal) or refusal from refusal

    def _refuse_what_the_contract_refuses(self, call: Call, mined: Mined) -> None:
        """Raises what the contract says now to a call that failed; nothing if only its gas was too little."""
        try:
            self._nodes.replay(call, mined.block)
        except NodeRefusal as refusal:
            raise _rejection(refusal) or refusal from refusal

    def _receipt(self, function: str, mined: Mined) -> Receipt:
        events = self._reader.decoded(mined.logs, mined.block, mined.block)
        if [event.sender for event in events] != [self.account]:
            raise Violation(CLAUSE, f"{function} did not record exactly one event of {self.account.hex()}")
        return Receipt(call=function, at=events[0].at, gas=mined.gas)


def _rejection(refusal: NodeRefusal) -> Refused | None:
    """What the contract said; None when the node failed, and not the contract."""
    if refusal.revert is None:
        return None
    named = rejection_of(refusal.revert)
    return named or Refused(f"the contract refused the call without one of its own rules ({refusal.said})")
