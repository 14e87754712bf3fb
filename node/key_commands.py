"""`tally node keys`, `backup`, `restore`: a hospital's shares of decryption keys (PROTOCOL §10.2)."""

from __future__ import annotations

import os
import secrets
import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from federation.dealing import open_shares
from federation.digest import DIGEST_BYTES, Digest
from federation.endpoints import load_settings
from federation.enrolment import enrolled, read_public_key, show_enrolment
from federation.errors import Refused
from federation.exits import told_plainly
from federation.identity import load_identity, read_file, read_password
from federation.members import Role, show_address

from .backup import check_shares, gather, owner_of, read_backup, write_backup
from .backup import restore as restore_shares
from .key_shares import check_unneeded
from .open import open_study
from .settings import NodeSettings
from .vault import forget_key_share, held_key_shares, keep_key_share

PASSPHRASE_VARIABLE: Final = "TALLY_BACKUP_PASSPHRASE"  # noqa: S105  # the variable's name, not a passphrase
_DEALERS_KEY: Final = "the dealer's public key"

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]


def as_typed(name: str, settings: Path) -> str:
    """A command of `tally node`, as a person can type it here."""
    return f"tally node {name} --settings {shlex.quote(str(settings))}"


@told_plainly()
def keys(
    settings: SettingsFile,
    accept: Annotated[
        list[Path] | None, typer.Option(help="A sealed key share from the dealer; of two dealers, both.")
    ] = None,
    public_key: Annotated[Path | None, typer.Option(help="The study's public key, beside the share.")] = None,
    show_held: Annotated[bool, typer.Option("--list", help="The keys that we hold shares of.")] = False,
    forget: Annotated[str, typer.Option(help="Destroy our share of this key: its whole digest.")] = "",
) -> None:
    """Print the public enrolment as JSON; or check and keep, list, or destroy shares of decryption keys."""
    if sum(map(bool, (accept, show_held, forget))) > 1:
        raise Refused("expected one of --accept, --list and --forget, found several: one at a time")
    node = load_settings(NodeSettings, settings)
    if show_held:
        for held in held_key_shares(node.vault):
            typer.echo(held.key.hex())
        return
    if forget:
        _forget(node, forget)
        return
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    if not accept:
        typer.echo(show_enrolment(enrolled(identity, Role.INSTITUTION, node.name)))
        return
    if public_key is None:
        raise Refused("expected --public-key beside --accept: the share is checked against it")
    public = read_public_key(public_key, expected=_DEALERS_KEY)
    boxes, secret = [read_file(path) for path in accept], identity.sealing_secret
    digest, share = open_shares(boxes, public, member=identity.named_among(public.members), secret=secret)
    path = keep_key_share(node.vault, password, share, key=digest, random=secrets.token_bytes)
    typer.echo(f"the key proof holds, the share belongs to it; kept in {path}")
    typer.echo("Next, a copy for the day this machine is lost, and when the study is proposed, its terms:")
    typer.echo(f"  {as_typed('backup', settings)} --passphrase-file … --out …")
    typer.echo(f"  {as_typed('join', settings)}")


def _forget(node: NodeSettings, digest: str) -> None:
    try:
        key = bytes.fromhex(digest.removeprefix("0x"))
    except ValueError as error:
        raise Refused(f"--forget: expected a key digest in hexadecimal digits, found {digest!a}") from error
    if len(key) != DIGEST_BYTES:
        expected = f"the whole digest of {2 * DIGEST_BYTES} digits, as --list shows it"
        raise Refused(f"--forget: expected {expected}, found {len(key)} bytes of one")
    if any(held.key == key for held in held_key_shares(node.vault)):
        _ask_ledger(node, Digest(key))
    path = forget_key_share(node.vault, Digest(key), random=secrets.token_bytes)
    typer.echo(f"{path} is overwritten and gone: no total under this key is ever opened with our help again")
    typer.echo("Not reached: backups, snapshots, and blocks that a disk or file system has copied elsewhere.")
    typer.echo("Destroy the backups of this share too, or it is not forgotten.")


def _ask_ledger(node: NodeSettings, key: Digest) -> None:
    """Raises `Refused` while a study that we accepted may need our share; warns where no ledger is known."""
    if node.ledger is None or node.store is None:
        problem = "not checked, without [ledger] and [store] in the settings"
        typer.echo(f"{problem}: whether a round still needs this share", err=True)
        return
    me = load_identity(node.identity, read_password(node.password_file)).address
    check_unneeded(open_study(node, None).view.history.studies.values(), key, me=me)


PassphraseFile = Annotated[
    Path | None, typer.Option(help=f"Its first line locks the backup; else {PASSPHRASE_VARIABLE}.")
]


@told_plainly()
def backup(
    settings: SettingsFile,
    out: Annotated[Path, typer.Option(help="A new file, for another place than this machine.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write all key shares to one file, under a passphrase of its own."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    passphrase = _passphrase(passphrase_file)
    if passphrase == password:
        raise Refused("expected a passphrase of the backup's own, found the node's password: choose another")
    kept = gather(node.vault, password)
    write_backup(out, passphrase, kept, member=identity.address, random=secrets.token_bytes)
    typer.echo(f"{len(kept.shares)} key shares of {show_address(identity.address)} in {out}")
    typer.echo(
        f"Keep a copy of the folder {node.identity} beside it: without that identity it opens for nobody."
    )


@told_plainly()
def restore(
    settings: SettingsFile,
    source: Annotated[Path, typer.Option("--from", help="What `tally node backup` wrote.")],
    public_key: Annotated[
        list[Path] | None, typer.Option(help="Public keys that the shares are checked against.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put the key shares of a backup into an empty vault; rounds that have begun are sat out."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    owner = identity.named_among([owner_of(source)])  # a backup may be older than our account
    kept = read_backup(source, _passphrase(passphrase_file), member=owner)
    publics = [read_public_key(path, expected=_DEALERS_KEY) for path in public_key or ()]
    for public in publics:
        check_shares(kept.shares, [public], member=identity.named_among(public.members))
    for path in restore_shares(node.vault, password, kept, random=secrets.token_bytes):
        typer.echo(f"restored {path}")
    typer.echo(
        "What was done since the backup is not known here: this node gives nothing in rounds that have"
    )
    typer.echo("begun, and takes part in those that begin later. No other node may use this account.")
    typer.echo(
        "Tasks are to be approved anew. Sums on other ledgers in studies that the backup does not know"
    )
    typer.echo("are not counted: add them to `other_openings` under [policy].")
    typer.echo(f"Next:\n  {as_typed('run', settings)}")


def _passphrase(file: Path | None) -> str:
    """The backup's: the first line of `file`, else the environment variable."""
    if file is not None:
        return read_password(file)
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not passphrase:
        raise Refused(f"no passphrase for the backup: give --passphrase-file, or set {PASSPHRASE_VARIABLE}")
    return passphrase
