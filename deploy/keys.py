"""`tally keys`: the key ceremony, its record, and two dealers' keys joined (PROTOCOL §7.11).

Deal on a machine that is then switched off: whoever keeps the primes reads every single update under
this key, silently, for ever. Nothing else in the system is trusted like a dealer. With two of them,
each on a machine of its own, only both together could.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from federation.ciphers import AUTO, DEALT
from federation.ciphers import deal as deal_key
from federation.dealing import PublicKey, join_dealers, seal_shares
from federation.enrolment import read_enrolments, read_public_key
from federation.errors import Refused, Violation
from federation.exits import told_plainly
from federation.identity import load_identity, read_password, write_secret
from federation.law import MAX_INSTITUTIONS
from federation.members import Member, Role, show_address

from .ceremony_record import (
    PLAIN,
    PUBLIC_KEY_FILE,
    RECORD_FILE,
    check_record,
    printed,
    read_record,
    share_file,
    write_record,
)

app = typer.Typer(
    name="keys",
    help="The key ceremony.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """The key ceremony of a study."""


@app.command()
@told_plainly()
def deal(
    enrolments: Annotated[list[Path], typer.Argument(help="What `tally node keys` printed, a file each.")],
    out: Annotated[Path, typer.Option(help="A new folder for public key, sealed shares and record.")],
    threshold: Annotated[int, typer.Option(help="How many shares open a total.")],
    bits: Annotated[int, typer.Option(help="Bits of the key.")] = 3072,
    suite: Annotated[str, typer.Option(help="auto (each study's size decides), paillier or hybrid.")] = AUTO,
    identity: Annotated[Path | None, typer.Option(help="Folder of keys that sign the record.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Of that identity.")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Allow keys that protect nothing.")] = False,
) -> None:
    """Make a key, seal a share of it to each institution, forget it, and write down what was done."""
    members = sorted(read_enrolments(enrolments), key=lambda member: member.address)
    _check(out, members, suite, unsafe=unsafe)
    signer = None if identity is None else load_identity(identity, read_password(password_file))
    dealing = deal_key(
        suite,
        bits=bits,
        threshold=threshold,
        members=len(members),
        random=secrets.token_bytes,
        unsafe=unsafe,
    )
    public = PublicKey(suite=suite, key=dealing.public_key, members=tuple(m.address for m in members))
    sealing_keys = {member.address: member.sealing_key for member in members}
    boxes = seal_shares(dealing, public, sealing_keys, random=secrets.token_bytes)
    files = {PUBLIC_KEY_FILE: public.encode()}
    files |= {share_file(show_address(address)): box for address, box in boxes.items()}
    record = write_record(public, members, files, time=datetime.now(UTC), tool=_tool())
    if signer is not None:
        record = record.signed_by(signer.account)
    out.mkdir(parents=True)
    for name, data in {**files, RECORD_FILE: record.encode()}.items():
        write_secret(out / name, data)
    typer.echo(f"{threshold} of {len(members)} key {record.key_digest} in {out}")
    typer.echo(f"Next, for everybody, with {PUBLIC_KEY_FILE} and {RECORD_FILE} from there, to check both:")
    typer.echo(f"  tally keys check {PUBLIC_KEY_FILE} {RECORD_FILE}")
    typer.echo(f"Next, at each hospital, with {PUBLIC_KEY_FILE} and its own share from there:")
    for member in members:
        files_there = f"--accept {share_file(show_address(member.address))} --public-key {PUBLIC_KEY_FILE}"
        typer.echo(f"  tally node keys --settings node.toml {files_there}  # {member.name}")
    typer.echo("Or, for a study that begins: this folder to whoever proposes it, for `tally study invite`.")
    typer.echo("Now switch this machine off: whoever holds its memory can read every single update.")


@app.command()
@told_plainly()
def join(
    first: Annotated[Path, typer.Argument(help="The first dealer's public.key.")],
    second: Annotated[Path, typer.Argument(help="The second dealer's, for the same members.")],
    out: Annotated[Path, typer.Option(help="A new file for the key of both.")],
) -> None:
    """Join two dealers' keys for the same members: then neither dealer alone can read any update."""
    if out.exists():
        raise Refused(f"{out} exists: a key is never overwritten; choose a new file")
    public = join_dealers(read_public_key(first), read_public_key(second))
    suite = public.resolve()
    write_secret(out, public.encode())
    typer.echo(f"{suite.threshold} of {suite.holders} key {suite.key_digest.hex()} of two dealers in {out}")
    typer.echo("Next, at each hospital, with its share of each dealer:")
    boxes = "--accept SHARE-OF-ONE --accept SHARE-OF-THE-OTHER"
    typer.echo(f"  tally node keys --settings node.toml {boxes} --public-key {out.name}")


@app.command()
@told_plainly()
def check(
    target: Annotated[Path, typer.Argument(help="A ceremony's folder, or a public.key file.")],
    records: Annotated[list[Path] | None, typer.Argument(help="Its record; of two dealers, both.")] = None,
) -> None:
    """Check what a ceremony made public: key proof, record, files; exit code 3 where they disagree."""
    if target.is_dir():
        if records:
            expected = f"a folder alone, which has its own record, or a {PUBLIC_KEY_FILE} with records"
            raise Refused(f"expected {expected}; found the folder {target} with {len(records)} more")
        records, target = [target / RECORD_FILE], target / PUBLIC_KEY_FILE
    public = read_public_key(target)
    suite, dealers = public.resolve(), public.dealers()
    shown = f"{suite.threshold} of {suite.holders} key {suite.key_digest.hex()}, suite {public.suite}"
    typer.echo(shown if len(dealers) == 1 else f"{shown}, of two dealers")
    typer.echo(f"weakness: {suite.weakness or 'none'}")
    if not records:
        typer.echo("the key proof holds; no record was given")
        return
    if len(records) != len(dealers):
        raise Refused(f"expected {len(dealers)} records, one of each dealer, found {len(records)}")
    of_key = {dealer.resolve().key_digest.hex(): dealer for dealer in dealers}
    for path in records:
        record = read_record(path)
        dealer = of_key.pop(record.key_digest, None)
        if dealer is None:
            wanted = " or ".join(of_key) or "none twice"
            problem = f"{path} is the record of another key"
            raise Violation("§7.11", problem, expected=wanted, found=record.key_digest)
        # A joined document keeps the keys and no dealer's own word for the suite: the record has it.
        document = dealer if len(dealers) == 1 else replace(dealer, suite=record.suite)
        for line in check_record(record, document, path.parent):
            typer.echo(f"{path}: {line}")


@app.command()
@told_plainly()
def show(record: Annotated[Path, typer.Argument(help="A ceremony's folder, or its ceremony.json.")]) -> None:
    """Print a ceremony's record as a page to read, sign and file."""
    path = record / RECORD_FILE if record.is_dir() else record
    for line in printed(read_record(path)):
        typer.echo(line)


def _check(out: Path, members: list[Member], suite: str, *, unsafe: bool) -> None:
    if out.exists():
        raise Refused(f"{out} exists: a ceremony never overwrites another one; choose a new folder")
    if any(member.role is not Role.INSTITUTION for member in members):
        raise Refused("expected enrolments of institutions alone: nobody else holds a share")
    if len(members) > MAX_INSTITUTIONS:
        raise Refused(f"expected at most {MAX_INSTITUTIONS} members of a study, found {len(members)}")
    if suite not in {*DEALT, PLAIN} or (suite == PLAIN and not unsafe):
        expected = f"--suite {', '.join(DEALT)}, or {PLAIN} with --unsafe, which encrypts nothing"
        raise Refused(f"expected {expected}; found {suite!a}")


def _tool() -> str:
    try:
        return f"tallystick {version('tallystick')}"
    except PackageNotFoundError:  # run from a copy of the sources
        return "tallystick, not installed"
