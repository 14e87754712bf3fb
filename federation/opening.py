"""The joint opening: one share a member, any t of them open the total, anyone checks (PROTOCOL §5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .agreement import Agreement
from .arithmetic import IntVector, Model, apply, mean
from .ciphers.suite import KeyShare, Opening
from .digest import Digest
from .errors import Malformed, Unavailable, Violation
from .events import RoundId
from .members import Address
from .runs import Held
from .wire import Payload, cut, opening_header, share_header


class TooFewShares(Unavailable):
    """Fewer than t of the shares are right so far; everything else that is needed is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A total, opened; `rejected` names each member whose share did not belong to it."""

    payload: Payload
    rejected: dict[Address, Violation]


def share_total(
    agreement: Agreement, round: RoundId, total: Payload, *, member: Address, key_share: KeyShare
) -> Payload:
    """`member`'s one share of the opening of `total`, which it has recomputed itself."""
    root = total.root()
    share = agreement.suite.share(
        total.first_part,
        member=agreement.index_of(member),
        key_share=key_share,
        context=agreement.total_context(round, root),
    )
    header = share_header(agreement.binding(round), member=member, total=root)
    return Payload(header=header, leaves=Held(share), tail=b"", shape=agreement.share_shape)


def check_share(
    agreement: Agreement, round: RoundId, total: Payload, *, member: Address, digest: Digest, data: bytes
) -> bytes:
    """The share in `data`; raises `Violation` naming `member` unless it is what its key share yields.

    `digest` is the one `member` posted.
    """
    root = total.root()
    try:
        payload = cut(Held(data), agreement.share_shape)
        if payload.root() != digest:
            raise Violation("§5.4", "a share", expected=digest, found=payload.root())
        if payload.header != share_header(agreement.binding(round), member=member, total=root):
            raise Malformed(0, "header")
        agreement.suite.check_share(
            total.first_part,
            payload.first_part,
            member=agreement.index_of(member),
            context=agreement.total_context(round, root),
        )
    except Violation as fault:
        raise Violation("§5.4", f"a wrong share: {fault}", culprit=member) from fault
    return payload.first_part


def join_shares(
    agreement: Agreement, round: RoundId, total: Payload, shares: Mapping[Address, tuple[Digest, bytes]]
) -> Joined:
    """The opening of `total`; raises `TooFewShares` while fewer than t of them are right.

    `shares` are the posted digest and the bytes of each member's share. Each is checked by the proof
    it carries, so a wrong one costs its sender its name and the others nothing.
    """
    good: dict[int, bytes] = {}
    rejected: dict[Address, Violation] = {}
    for member, (digest, data) in sorted(shares.items()):
        try:
            share = check_share(agreement, round, total, member=member, digest=digest, data=data)
            good[agreement.index_of(member)] = share
        except Violation as fault:
            rejected[member] = fault
    if len(good) < agreement.spec.threshold:
        raise TooFewShares(f"round {round}: {len(good)} right shares of {agreement.spec.threshold} so far")
    capsule, root = total.first_part, total.root()
    opening = agreement.suite.join(capsule, good)
    agreement.suite.check_opening(capsule, opening, agreement.total_context(round, root))
    return Joined(payload=_opening_payload(agreement, round, root, opening), rejected=rejected)


def check_opening(agreement: Agreement, round: RoundId, total: Payload, data: bytes) -> Payload:
    """The opening in `data`; raises `Violation` unless it is the only possible one of `total`."""
    payload = cut(Held(data), agreement.opening_shape)
    root = total.root()
    if payload.header != opening_header(agreement.binding(round), total=root):
        raise Malformed(0, "header")
    context = agreement.total_context(round, root)
    agreement.suite.check_opening(total.first_part, _opening_of(payload), context)
    return payload


def opened_sum(
    agreement: Agreement, round: RoundId, total: Payload, opening: Payload, *, members: int
) -> IntVector:
    """The sum of `members` quantised updates, the total weight last; raises `Violation` out of bounds."""
    return agreement.suite.decode(
        _opening_of(opening),
        agreement.body(total),
        count=agreement.task.size + 1,
        members=members,
        context=agreement.total_context(round, total.root()),
    )


def next_model(agreement: Agreement, base: Model, summed: IntVector, *, members: int) -> Model:
    """The model that `summed` leads to from `base`; every party computes it, bit for bit."""
    return apply(base, mean(summed, members=members, scale=agreement.spec.scale))


def _opening_payload(agreement: Agreement, round: RoundId, total: Digest, opening: Opening) -> Payload:
    return Payload(
        header=opening_header(agreement.binding(round), total=total),
        leaves=Held(opening.plaintexts),
        tail=opening.witnesses,
        shape=agreement.opening_shape,
    )


def _opening_of(payload: Payload) -> Opening:
    return Opening(plaintexts=payload.first_part, witnesses=payload.tail)
