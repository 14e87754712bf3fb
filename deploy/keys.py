"""`tally keys deal`: the key ceremony (PROTOCOL §7.11).

Run it on a machine that is then switched off: whoever keeps the primes reads every single update
under this key, silently, for ever. Nothing else in the system is trusted like this dealer.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, Final

import typer

from federation.ciphers import deal as deal_key
from federation.dealing import PublicKey, seal_shares
from federation.enrolment import read_enrolments
from federation.errors import Refused
from federation.exits import told_plainly
from federation.identity import write_secret
from federation.law import MAX_INSTITUTIONS
from federation.members import Role, show_address

PUBLIC_KEY_FILE: Final = "public.key"
RECORD_FILE: Final = "ceremony.json"

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
    out: Annotated[Path, typer.Option(help="A new folder for the public key and the sealed shares.")],
    threshold: Annotated[int, typer.Option(help="How many shares open a total.")],
    bits: Annotated[int, typer.Option(help="Bits of the key.")] = 3072,
    suite: Annotated[str, typer.Option(help="Cipher suite.")] = "paillier",
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Allow keys that protect nothing.")] = False,
) -> None:
    """Make a key, seal a share of it to each institution, forget it, and write down what was done."""
    members = sorted(read_enrolments(enrolments), key=lambda member: member.address)
    if out.exists():
        raise Refused(f"{out} exists: a ceremony never overwrites another one; choose a new folder")
    if any(member.role is not Role.INSTITUTION for member in members):
        raise Refused("expected enrolments of institutions alone: nobody else holds a share")
    if len(members) > MAX_INSTITUTIONS:
        raise Refused(f"expected at most {MAX_INSTITUTIONS} members of a study, found {len(members)}")
    dealing = deal_key(
        suite, bits=bits, threshold=threshold, members=len(members), random=secrets.token_bytes, unsafe=unsafe
    )
    public = PublicKey(suite=suite, key=dealing.public_key, members=tuple(m.address for m in members))
    sealing_keys = {member.address: member.sealing_key for member in members}
    boxes = seal_shares(dealing, public, sealing_keys, random=secrets.token_bytes)
    out.mkdir(parents=True)
    write_secret(out / PUBLIC_KEY_FILE, public.encode())
    for address, box in boxes.items():
        write_secret(out / share_file(show_address(address)), box)
    record = {
        "suite": suite,
        "key_digest": public.resolve().key_digest.hex(),
        "threshold": threshold,
        "members": {show_address(m.address): m.name for m in members},
        "weakness": public.resolve().weakness,
    }
    write_secret(out / RECORD_FILE, json.dumps(record, indent=2).encode())
    typer.echo(f"{threshold} of {len(members)} key {record['key_digest']} in {out}")
    typer.echo(f"Next, at each hospital, with {PUBLIC_KEY_FILE} and its own share from there:")
    for member in members:
        files = f"--accept {share_file(show_address(member.address))} --public-key {PUBLIC_KEY_FILE}"
        typer.echo(f"  tally node keys --settings node.toml {files}  # {member.name}")
    typer.echo("Now switch this machine off: whoever holds its memory can read every single update.")


def share_file(address: str) -> str:
    """The name of a member's sealed share within the ceremony's folder."""
    return f"share-{address}.sealed"
