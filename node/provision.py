"""`tally node provision`: a hospital's folder, from nothing to what the consortium enrols (§10.6)."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import stat
from pathlib import Path
from typing import Annotated, Final

import typer

from federation.enrolment import check_name, enrolled, show_enrolment
from federation.errors import Refused
from federation.exits import told_plainly
from federation.identity import (
    PASSWORD_VARIABLE,
    credential_file,
    finish_identity,
    make_folder,
    read_password,
    write_secret,
)
from federation.members import Role, show_address

SETTINGS_FILE: Final = "node.toml"
ENROLMENT_FILE: Final = "enrolment.json"
_PASSWORD_FILE: Final = "password"  # noqa: S105  # the file's name, not a password
_IDENTITY: Final = "identity"
_PASSWORD_BYTES: Final = 32


@told_plainly()
def provision(
    name: Annotated[str, typer.Argument(help="For the roster: at most 31 ASCII characters.")],
    data: Annotated[Path, typer.Option(help="The patients' table; need not exist yet.")],
    out: Annotated[Path, typer.Option(help="Folder for settings, keys and vault.")] = Path(),
    password_file: Annotated[
        Path | None, typer.Option(help="The password that locks the keys, where it is not to be made.")
    ] = None,
) -> None:
    """Make settings, password and keys of a new hospital, and the enrolment that the consortium needs."""
    check_name(name)
    settings = out / SETTINGS_FILE
    if settings.exists():
        raise Refused(f"{settings} exists: this hospital is provisioned; go on with `tally node join`")
    make_folder(out)
    if out.stat().st_mode & stat.S_IWOTH:
        raise Refused(f"{out}: others may write there, keys of their own for us among it: type `chmod o-w`")
    file = _password_file(out) if password_file is None else password_file.absolute()
    identity = finish_identity(out / _IDENTITY, read_password(file), secrets.token_bytes)
    member = enrolled(identity, Role.INSTITUTION, name)
    write_secret(out / ENROLMENT_FILE, show_enrolment(member).encode() + b"\n")
    kept = None if file is None else _seen_from(out, file)
    write_secret(settings, _settings(name, _seen_from(out, data), kept).encode())  # last
    typer.echo(f"settings and keys in {out}; look at [policy] in {settings}: no study can override it")
    typer.echo(f"Next, send {out / ENROLMENT_FILE} to the consortium, and tell it by another road:")
    typer.echo(f"  account      {show_address(member.address)}")
    typer.echo(f"  sealing key  {member.sealing_key.hex()}")
    typer.echo("Then, with the invitation that comes back:")
    typer.echo(f"  tally node join --settings {shlex.quote(str(settings))} --invitation FILE")


def _password_file(out: Path) -> Path | None:
    """A file with a password, made now or by an earlier run; None where the environment has one."""
    file = out / _PASSWORD_FILE
    if not file.exists():
        if os.environ.get(PASSWORD_VARIABLE) or credential_file():
            return None
        write_secret(file, secrets.token_urlsafe(_PASSWORD_BYTES).encode() + b"\n")
    return file


def _seen_from(out: Path, file: Path) -> str:
    """How the settings in `out` name the file: relatively below it, so that the folder can be moved."""
    folder, place = out.absolute(), file.absolute()
    return str(place.relative_to(folder) if place.is_relative_to(folder) else place)


def _settings(name: str, data: str, password_file: str | None) -> str:
    line = f"# password_file = …  # else {PASSWORD_VARIABLE}, or systemd's credential of that name"
    if password_file is not None:
        line = f"password_file = {json.dumps(password_file)}"
    return f"""# Paths start at this file's folder. `tally node join --invitation` adds [ledger] and [store].
name = {json.dumps(name)}
identity = "{_IDENTITY}"
{line}
vault = "vault"
data = {json.dumps(data)}

[policy]  # this hospital's own rules, which no study can override: docs/policy.md has all of them
minimum_rows = 20  # never train on fewer patients
minimum_contributors = 3  # never help to open a sum of fewer hospitals
most_rounds = 1000  # of one study
most_openings = 1000  # sums that these patients may ever be part of, over all studies and ledgers
"""
