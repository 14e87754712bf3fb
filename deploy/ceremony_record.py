"""The written record of a key ceremony: what a dealer did, in one JSON file that anyone can check.

It is read by people and by programs, has one encoding, and may carry the dealer's signature. It proves
nothing that the key proof does not; it says who answers for the rest (PROTOCOL §7.11).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from eth_account import Account
from eth_account.messages import SignableMessage, encode_defunct
from eth_account.signers.local import LocalAccount
from pydantic import AfterValidator, Field, ValidationError

from federation.ciphers.suite import CipherSuite
from federation.ciphers.threshold.keys import decode_key
from federation.dealing import PublicKey
from federation.digest import sha256
from federation.endpoints import AddressText, Section
from federation.errors import Refused, Violation
from federation.identity import read_file
from federation.members import Member, show_address

PUBLIC_KEY_FILE: Final = "public.key"
RECORD_FILE: Final = "ceremony.json"
RECORD_LIMIT: Final = 1 << 16  # bytes
CLAUSE: Final = "§7.11"
PLAIN: Final = "plain"  # the suite whose keys have no length
TRUST: Final = (
    "Whoever keeps the primes of this key, or what this machine held in memory, reads every single "
    "update under it, silently and for ever; nothing public would show it. The dealer says here that it "
    "kept neither. Nothing else needs its word: the key proof shows that no opening can be wrong."
)


def _printable(text: str) -> str:
    if not text.isprintable():  # what a dealer wrote must not reach a terminal as commands
        raise ValueError("expected printable characters")
    return text


# Half the order of secp256k1, as Ethereum bounds s (EIP-2).
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
HexDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")]  # never a path


class Holder(Section):
    """Who was dealt which share."""

    number: int = Field(ge=1)  # i: holds f(i)
    name: Text
    address: AddressText
    sealing_key: HexDigest  # the X25519 public key that the share is sealed to
    file: FileName


def _as_it_is(text: str) -> str:
    if text != TRUST:
        raise ValueError("what a dealer is trusted with is not a dealer's to say")
    return text


class Signature(Section):
    """An account's word for the record: EIP-191 over its bytes with `signature` null."""

    scheme: Literal["EIP-191"]
    signer: AddressText
    value: str = Field(pattern=r"^0x[0-9a-f]{128}1[bc]$")  # r, s, and 27 or 28: one form


class CeremonyRecord(Section):
    """What was done, when, by which program, for whom, with which files as a result."""

    version: Literal[1]
    what: Literal["tallystick key ceremony"]
    time: str = Field(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z$")  # the dealer's clock
    tool: Text
    suite: Text
    bits: int = Field(ge=0)  # of n; 0 where there is none
    threshold: int = Field(ge=1)
    members: tuple[Holder, ...]
    key_digest: HexDigest
    key_proof: Literal["holds"]
    weakness: Text
    files: dict[FileName, HexDigest]  # SHA-256 of each file that the ceremony left beside this one
    trust: Annotated[str, AfterValidator(_as_it_is)]
    signature: Signature | None = None

    def encode(self) -> bytes:
        """The one encoding: JSON in ASCII with sorted keys, two spaces a level, and a final newline."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()

    def signed_by(self, account: LocalAccount) -> CeremonyRecord:
        """The same under this account's signature."""
        made = account.sign_message(self._message()).signature
        signer = account.address.lower()
        signature = Signature(scheme="EIP-191", signer=signer, value="0x" + bytes(made).hex())
        return self.model_copy(update={"signature": signature})

    def check_signature(self) -> str:
        """Whose signature it carries, empty for none; raises `Violation` for one that is not its signer's."""
        if self.signature is None:
            return ""
        signer, value = self.signature.signer, self.signature.value
        if int(value[66:130], 16) > _HALF_ORDER:  # the other s would make a second file of one record
            raise Violation(CLAUSE, "a record's signature", expected="the lower s", found="the higher")
        try:
            found = str(Account.recover_message(self._message(), signature=value)).lower()
        except Exception as error:  # eth_account has no family of its own for what cannot be a signature
            raise Violation(CLAUSE, "a record's signature", expected=signer, found="none") from error
        if found != signer:
            raise Violation(CLAUSE, "a record's signature", expected=signer, found=found)
        return signer

    def _message(self) -> SignableMessage:
        return encode_defunct(self.model_copy(update={"signature": None}).encode())


def write_record(
    public: PublicKey,
    members: Sequence[Member],
    files: Mapping[str, bytes],
    *,
    time: datetime,
    tool: str,
) -> CeremonyRecord:
    """The unsigned record of a ceremony; `members` in the order of their shares, `files` as written."""
    suite = public.resolve()
    holders = tuple(
        Holder(
            number=number,
            name=member.name,
            address=show_address(member.address),
            sealing_key=member.sealing_key.hex(),
            file=share_file(show_address(member.address)),
        )
        for number, member in enumerate(members, start=1)
    )
    return CeremonyRecord(
        version=1,
        what="tallystick key ceremony",
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=tool,
        suite=public.suite,
        bits=_bits(public),
        threshold=suite.threshold,
        members=holders,
        key_digest=suite.key_digest.hex(),
        key_proof="holds",
        weakness=suite.weakness,
        files={name: sha256(data).hex() for name, data in files.items()},
        trust=TRUST,
    )


def read_record(path: Path) -> CeremonyRecord:
    """The record in a file; raises `Refused`, naming the file, for anything but its one encoding."""
    data = read_file(path)
    if len(data) > RECORD_LIMIT:
        raise Refused(f"{path}: expected a record of at most {RECORD_LIMIT} bytes, found {len(data)}")
    try:
        record = CeremonyRecord.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        problem = f"expected the record of a ceremony (`{RECORD_FILE}`), found at {where!a}"
        raise Refused(f"{path}: {problem}: {first['msg']}") from error
    if record.encode() != data:
        raise Refused(f"{path}: expected the record as `tally keys deal` wrote it, found it rewritten")
    return record


def check_record(record: CeremonyRecord, public: PublicKey, folder: Path) -> list[str]:
    """What was found to hold, in lines; raises `Violation` where record, key and files disagree.

    `public` is one dealer's document; sealed shares are looked at where they lie in `folder`.
    """
    suite = public.resolve()
    lines = [f"the key proof holds: {record.key_digest}"]
    for name, expected, found in _claims(record, public, suite):
        if expected != found:
            raise Violation(CLAUSE, f"the record's {name}", expected=expected, found=found)
    here = [holder.file for holder in record.members if (folder / holder.file).exists()]
    for name in here:
        found = sha256(read_file(folder / name)).hex()
        if found != record.files[name]:
            problem = f"{name} is not the file of the record"
            raise Violation(CLAUSE, problem, expected=record.files[name], found=found)
    count = f"{len(here)} of its {len(record.members)} sealed shares are here, unaltered"
    lines.append(f"the record agrees with the key; {count}")
    signer = record.check_signature()
    lines.append(f"signed by {signer}" if signer else "unsigned: nobody answers for this record")
    return lines


def _claims(
    record: CeremonyRecord, public: PublicKey, suite: CipherSuite
) -> Iterator[tuple[str, object, object]]:
    """Each statement that the key itself can confirm: its name, what the key says, what the record says."""
    addresses = [show_address(member) for member in public.members]
    yield "key digest", suite.key_digest.hex(), record.key_digest
    yield "suite", public.suite, record.suite
    yield "bits", _bits(public), record.bits
    yield "threshold", suite.threshold, record.threshold
    yield "members", addresses, [holder.address for holder in record.members]
    yield "numbers", list(range(1, len(addresses) + 1)), [holder.number for holder in record.members]
    yield "weakness", suite.weakness, record.weakness
    names = sorted([PUBLIC_KEY_FILE, *(holder.file for holder in record.members)])
    yield "list of files", names, sorted(record.files)
    yield "digest of the public key", sha256(public.encode()).hex(), record.files.get(PUBLIC_KEY_FILE)


def _bits(public: PublicKey) -> int:
    return 0 if public.suite == PLAIN else decode_key(public.key).bits


def share_file(address: str) -> str:
    """The name of a member's sealed share within the ceremony's folder."""
    return f"share-{address}.sealed"


def printed(record: CeremonyRecord) -> Iterator[str]:
    """The record as a page to print, sign and file."""
    length = f"{record.bits} bits" if record.bits else "no length"
    yield "RECORD OF A KEY CEREMONY"
    yield ""
    yield f"time         {record.time} (the dealer's clock)"
    yield f"program      {record.tool}"
    yield f"key          {record.key_digest}"
    opening = f"any {record.threshold} of {len(record.members)} shares open"
    yield f"             suite {record.suite}, {length}, {opening}"
    yield f"key proof    {record.key_proof}"
    yield f"weakness     {record.weakness or 'none'}"
    yield ""
    for holder in record.members:
        yield f"share {holder.number:<6} {holder.name}, {holder.address}"
        yield f"             sealed to {holder.sealing_key}"
    yield ""
    yield "SHA-256 of the files"
    for name, digest in sorted(record.files.items()):
        yield f"  {digest}  {name}"
    yield ""
    yield record.trust
    yield ""
    signature = record.signature
    yield "unsigned" if signature is None else f"signed by {signature.signer} ({signature.scheme})"
    yield "" if signature is None else signature.value
