"""The ledger on a real chain: the contract, through one node that we run or verify (PROTOCOL §5).

The node is trusted for order and liveness; nothing it says is believed that the contract could
not have written. The ledger keeps no state but caches: a restart loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth_account.signers.local import LocalAccount

from ..digest import Cid, Digest, LedgerId, ledger_id, sha256
from ..errors import Refused, Unavailable, Violation
from ..events import Event, MemberJoined, Reason, RoundId, StudyId, StudyTerms
from ..members import Address, show_address
from .abi import CLAUSE, audited_code_digest, call_data, cid_words, rejection_of, round_word, terms_words
from .ledger import Block, Receipt
from .reading import Reader
from .rpc import Call, Mined, NodeRefusal, Rpc
from .sending import Overtaken, Sender, refuse_if_poor

ANSWER_SECONDS: Final = 20.0
MINED_SECONDS: Final = 180.0
PATIENCE_SECONDS: Final = 30.0  # before a waiting transaction is replaced by one that pays more
ATTEMPTS: Final = 3  # when others' calls come between
GAS_SPARE: Final = 100_000  # for the same: the last consent also begins an epoch (67,000 more)


def connect(
    url: str,
    contract: Address,
    account: LocalAccount | None = None,
    *,
    deployment_block: int,
    confirmations: int,
    chain_id: int | None = None,
    only_audited_code: bool = True,
    answer_within: float = ANSWER_SECONDS,
    mined_within: float = MINED_SECONDS,
    replaced_after: float = PATIENCE_SECONDS,
) -> ChainLedger:
    """A ledger whose chain, contract, code and deployment block are what they are said to be.

    `account` signs our calls; without it the ledger can only be read. `confirmations` is the depth
    at which a block is final, `chain_id` what a person expects (None: whatever the node says). Times
    are in seconds. Raises `Unavailable` when the node does not answer or is behind, `Refused` when
    anything is not as expected.
    """
    rpc = Rpc(url, timeout=answer_within)
    found_id = rpc.chain_id()
    if chain_id is not None and found_id != chain_id:
        raise Refused(f"wrong chain at {rpc.shown}: expected chain id {chain_id}, found {found_id}")
    newest = rpc.newest()
    if newest < deployment_block:
        behind = f"the node at {rpc.shown} is at block {newest}, before the deployment at {deployment_block}"
        raise Unavailable(f"{behind}: is it still catching up?")
    code = rpc.code(contract)
    if not code:
        raise Refused(f"there is no contract at {show_address(contract)} on chain {found_id} ({rpc.shown})")
    code_digest = sha256(code)
    if only_audited_code and code_digest != audited_code_digest():
        expected, found = audited_code_digest().hex(), code_digest.hex()
        problem = f"the code at {show_address(contract)} is not the audited build"
        raise Refused(f"{problem}: expected SHA-256 {expected}, found {found}")
    reader = Reader(rpc, contract, deployment_block=deployment_block, confirmations=confirmations)
    first = reader.events(deployment_block - 1, deployment_block)
    if not first or not isinstance(first[0], MemberJoined):
        raise Refused(f"{show_address(contract)} was not deployed in block {deployment_block}")
    sender = None
    if account is not None:
        sender = Sender(rpc, account, chain_id=found_id, patience=replaced_after, timeout=mined_within)
    return ChainLedger(
        id=ledger_id(found_id, rpc.block(0).hash, contract, rpc.block(deployment_block).hash),
        contract=contract,
        code_digest=code_digest,
        _rpc=rpc,
        _reader=reader,
        _sender=sender,
    )


@dataclass(slots=True, kw_only=True)
class ChainLedger:
    """A `Ledger`; made by `connect`."""

    id: LedgerId
    contract: Address
    code_digest: Digest  # SHA-256 of the code that runs at `contract`
    _rpc: Rpc
    _reader: Reader
    _sender: Sender | None

    @property
    def account(self) -> Address:
        """Who sends our calls; raises `Refused` on a ledger that is only read."""
        return self._signing().address

    @property
    def code_is_audited(self) -> bool:
        """Whether the contract runs the audited build, byte for byte."""
        return self.code_digest == audited_code_digest()

    def head(self) -> Block:
        """See `Reader.head`."""
        return self._reader.head()

    def events(self, after: int, until: int) -> Sequence[Event]:
        """See `Reader.events`."""
        return self._reader.events(after, until)

    def create_study(self, terms: StudyTerms) -> Receipt:
        return self._call("createStudy", terms_words(terms))

    def accept_study(self, study: StudyId, digest: Digest) -> Receipt:
        return self._call("acceptStudy", study, digest)

    def propose_key(self, study: StudyId, key: Digest, cid: Cid) -> Receipt:
        return self._call("proposeKey", study, key, cid_words(cid))

    def accept_key(self, study: StudyId, key: Digest) -> Receipt:
        return self._call("acceptKey", study, key)

    def commit_update(self, round: RoundId, root: Digest, base_model: Digest) -> Receipt:
        return self._call("commitUpdate", round_word(round), root, base_model)

    def reveal_update(self, round: RoundId, cid: Cid) -> Receipt:
        return self._call("revealUpdate", round_word(round), cid_words(cid))

    def post_total(self, round: RoundId, members: Sequence[Address], root: Digest, cid: Cid) -> Receipt:
        return self._call("postTotal", round_word(round), tuple(members), root, cid_words(cid))

    def post_share(self, round: RoundId, digest: Digest, cid: Cid) -> Receipt:
        return self._call("postShare", round_word(round), digest, cid_words(cid))

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

    def _call(self, function: str, *arguments: object) -> Receipt:
        sender = self._signing()
        call = Call(sender=sender.address, to=self.contract, data=call_data(function, *arguments))
        for _ in range(ATTEMPTS):
            gas = self._gas(call)
            try:
                mined = sender.send(call, gas)
            except Overtaken as overtaken:
                failure = str(overtaken)
                continue
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
            return self._rpc.estimate(call) * 5 // 4 + GAS_SPARE
        except NodeRefusal as refusal:
            refuse_if_poor(refusal, call.sender)
            raise _rejection(refusal) or refusal from refusal

    def _refuse_what_the_contract_refuses(self, call: Call, mined: Mined) -> None:
        """Raises what the contract says now to a call that failed; nothing if only its gas was too little."""
        try:
            self._rpc.replay(call, mined.block)
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
