"""Which updates count: every public check on an update, once for all who need it (PROTOCOL §5.2).

The aggregator admits before it adds, each node admits again before it gives its share, an auditor
admits afterwards; all three call `admit`, and from the same ledger and payloads get the same answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from .agreement import Agreement
from .digest import Digest
from .errors import Malformed, ProofFailed
from .events import UpdateCommitted
from .members import Address
from .piecework import examine
from .rounds import Round
from .runs import HERE, Content
from .wire import Code, Exclusion, Payload, cut, update_header


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The members whose updates are added, and those who committed and are left out; both increasing."""

    admitted: dict[Address, Payload]
    roots: dict[Address, Digest]  # of the admitted
    excluded: tuple[Exclusion, ...]


def admit(
    agreement: Agreement,
    round: Round,
    payloads: Mapping[Address, Content],
    *,
    unreadable: Collection[Address] = (),
    executor: Executor = HERE,
) -> Admission:
    """Everyone whose reveal passes all public checks; `payloads` holds the reveals that could be fetched.

    `unreadable` are members whose CID leads to bytes that match it and are too many or in no layout:
    their own doing, and the same for everybody.
    """
    base = round.base_model()
    admitted: dict[Address, Payload] = {}
    excluded: list[Exclusion] = []
    for member in sorted(round.commits):
        commit = round.commits[member]
        if member not in round.reveals:
            excluded.append(Exclusion(member=member, code=Code.NO_REVEAL))
        elif commit.base_model != base:
            excluded.append(Exclusion(member=member, code=Code.WRONG_BASE))
        elif member in unreadable:
            excluded.append(Exclusion(member=member, code=Code.MALFORMED, leaf=0, rule="content"))
        elif member not in payloads:
            excluded.append(Exclusion(member=member, code=Code.UNAVAILABLE))
        else:
            verdict = examine_update(agreement, commit, payloads[member], executor=executor)
            if isinstance(verdict, Payload):
                admitted[member] = verdict
            else:
                excluded.append(verdict)
    roots = {member: round.commits[member].root for member in admitted}
    return Admission(admitted=admitted, roots=roots, excluded=tuple(excluded))


def examine_update(
    agreement: Agreement, commit: UpdateCommitted, content: Content, *, executor: Executor = HERE
) -> Payload | Exclusion:
    """The update, cut and checked; or the one exclusion it earns, by the first check that it fails.

    One pass over the leaves, run by run on `executor`, finds the root and the first leaf that is wrong.
    """
    member = commit.sender
    try:
        # 1. The size is what the header's own length makes it.
        payload = cut(content, agreement.update_shape)
        examined = examine(agreement.suite_name, payload, executor)
        payload.know_trunk(examined.trunk)
        # 2. The bytes are those committed to: from here on every fault is the member's own.
        if payload.root() != commit.root:
            return Exclusion(member=member, code=Code.ROOT_MISMATCH)
        # 3. The header is the one that everybody expects: no other round, member, key or base.
        binding = agreement.binding(commit.round)
        expected = update_header(binding, member=member, base_model=commit.base_model)
        if payload.header != expected:
            raise Malformed(0, "header")
        # 4. Every leaf is a canonical unit or residue.
        if examined.fault is not None:
            raise examined.fault
        # 5. The sender knew what it encrypted, and meant it for this round.
        root = payload.root_before_tail()
        agreement.suite.check_proof(payload.first_part, payload.tail, header=payload.header, root=root)
    except Malformed as fault:
        return Exclusion(member=member, code=Code.MALFORMED, leaf=fault.leaf, rule=fault.rule)
    except ProofFailed:
        return Exclusion(member=member, code=Code.PROOF_FAILED)
    return payload
