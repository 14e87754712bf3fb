"""Who we are on disk: an Ethereum account (keystore v3) and an X25519 secret, both under one password.

The password comes from a file or the environment, never from a command line (PROTOCOL §10.2).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from eth_account import Account
from eth_account.signers.local import LocalAccount

from .errors import Refused, Violation
from .members import Address, parse_address, show_address
from .rounds import Study
from .seal import ContentKey, SealingSecret, seal, sealing_key_of, unseal

ACCOUNT_FILE: Final = "account.json"
SEALING_FILE: Final = "sealing.json"
PREDECESSORS_FILE: Final = "predecessors.json"  # of an heir only; no secret
PASSWORD_VARIABLE: Final = "TALLY_PASSWORD"  # noqa: S105  # the variable's name, not a password
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"  # where systemd puts what LoadCredential= names
SCRYPT_COST: Final = 1 << 17  # 128 MiB with r = 8, about half a second
MIN_COST: Final = 2
MAX_COST: Final = 1 << 20  # 1 GiB
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One party's secrets, unlocked; never printed."""

    account: LocalAccount
    sealing_secret: SealingSecret
    name: Address | None = None  # by which a study knows us, where our keys have replaced others (§5.10)
    predecessors: tuple[Address, ...] = ()  # accounts that ours is the heir of, the newest first

    @property
    def address(self) -> Address:
        """Who we are to others: the account on the ledger, or the one in whose place it is."""
        return self.name or Address(bytes.fromhex(self.account.address.removeprefix("0x")))

    def known_to(self, study: Study) -> Identity:
        """The same, by the address that the study's document has for us."""
        return replace(self, name=study.name_of(self.address))

    def named_among(self, names: Collection[Address]) -> Address:
        """By which of these we are meant: our account, or one that it is heir of; the first if by none."""
        return next((ours for ours in (self.address, *self.predecessors) if ours in names), self.address)

    def __repr__(self) -> str:
        return f"Identity({self.account.address})"


def create_identity(
    directory: Path,
    password: str,
    random: Callable[[int], bytes],
    *,
    cost: int = SCRYPT_COST,
    heir_of: Identity | None = None,
) -> Identity:
    """New keys lie in `directory`, locked by `password`; raises `Refused` rather than overwrite any.

    Those of an heir (§5.10) have its predecessor's sealing secret: what was sealed to it stays readable. And
    its address: keys are dealt, and backups written, in the name that documents have for us.
    """
    for name in (ACCOUNT_FILE, SEALING_FILE):
        if (directory / name).exists():
            raise Refused(f"{directory / name} exists: expected an empty folder, so that no key is lost")
    make_folder(directory)
    secret = SealingSecret(random(32)) if heir_of is None else heir_of.sealing_secret
    account: LocalAccount = Account.from_key(random(32))
    predecessors = () if heir_of is None else (heir_of.address, *heir_of.predecessors)
    if predecessors:
        write_secret(directory / PREDECESSORS_FILE, json.dumps([*map(show_address, predecessors)]).encode())
    locked = lock(secret, password, context=b"sealing", random=random, cost=cost)
    write_secret(directory / SEALING_FILE, locked)
    _write_account(directory, account, password, cost)  # last: where there is an account, there is all
    return Identity(account=account, sealing_secret=secret, predecessors=predecessors)


def finish_identity(
    directory: Path, password: str, random: Callable[[int], bytes], *, cost: int = SCRYPT_COST
) -> Identity:
    """The keys in `directory`, which `create_identity` may have been cut off while it made."""
    if (directory / ACCOUNT_FILE).exists():
        return load_identity(directory, password)
    if not (directory / SEALING_FILE).exists():
        return create_identity(directory, password, random, cost=cost)
    secret = SealingSecret(unlock(directory / SEALING_FILE, password, context=b"sealing"))
    account: LocalAccount = Account.from_key(random(32))
    _write_account(directory, account, password, cost)
    return Identity(account=account, sealing_secret=secret)


def load_identity(directory: Path, password: str) -> Identity:
    """The keys in `directory`; raises `Refused` for a missing file or a wrong password."""
    path = directory / ACCOUNT_FILE
    try:
        key = Account.decrypt(read_file(path).decode(), password)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # AttributeError: JSON, but no object
        raise Refused(f"{path}: wrong password, or no keystore of version 3") from error
    secret = unlock(directory / SEALING_FILE, password, context=b"sealing")
    return Identity(
        account=Account.from_key(key),
        sealing_secret=SealingSecret(secret),
        predecessors=_predecessors(directory / PREDECESSORS_FILE),
    )


def _predecessors(path: Path) -> tuple[Address, ...]:
    if not path.exists():
        return ()
    try:
        return tuple(parse_address(str(text)) for text in json.loads(read_file(path)))
    except (ValueError, TypeError, RecursionError, Refused) as error:
        raise Refused(f"{path}: expected an array of addresses, found something else") from error


def read_address(directory: Path) -> Address:
    """The account whose keys lie in `directory`, as their file says without a password."""
    path = directory / ACCOUNT_FILE
    try:
        return parse_address(json.loads(read_file(path))["address"])
    except (ValueError, KeyError, TypeError, Refused) as error:
        raise Refused(f"{path}: expected a keystore of version 3 with its address") from error


def read_password(file: Path | None) -> str:
    """The password: the first line of `file`, else the environment variable TALLY_PASSWORD.

    Else that of systemd's credential of this name, which no other process's environment shows.
    """
    file = file or credential_file()
    if file is None:
        password = os.environ.get(PASSWORD_VARIABLE, "")
        if not password:
            raise Refused(f"no password: set password_file in the settings, or {PASSWORD_VARIABLE}")
        return password
    try:
        password = read_file(file).decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:  # `from None`: the cause would carry the password into a traceback
        raise Refused(f"{file}: expected a password in UTF-8, found other bytes") from None
    if not password:
        raise Refused(f"{file}: expected a password in the first line, found none")
    return password


def lock(
    secret: bytes, password: str, *, context: bytes, random: Callable[[int], bytes], cost: int = SCRYPT_COST
) -> bytes:
    """A JSON document that holds `secret` under `password`."""
    salt = random(_SALT_BYTES)
    box = seal(_stretch(password, salt, cost), secret, context=context, nonce=random(32))
    return json.dumps(
        {"version": 1, "kdf": "scrypt", "n": cost, "salt": salt.hex(), "box": box.hex()}
    ).encode()


def credential_file() -> Path | None:
    """Where systemd has put our password, unless the environment holds one or there is none."""
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    if folder is None or os.environ.get(PASSWORD_VARIABLE):
        return None
    file = Path(folder) / PASSWORD_VARIABLE
    return file if file.exists() else None


def unlock(path: Path, password: str, *, context: bytes) -> bytes:
    """What `lock` put there; raises `Refused`."""
    try:
        document = json.loads(read_file(path))
        salt, box, cost = bytes.fromhex(document["salt"]), bytes.fromhex(document["box"]), int(document["n"])
        if not MIN_COST <= cost <= MAX_COST or cost & (cost - 1):  # memory grows with it: 1 KiB each
            raise ValueError(cost)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Refused(f"{path}: expected a locked file of version 1") from error
    try:
        return unseal(_stretch(password, salt, cost), box, context=context)
    except Violation as error:
        raise Refused(f"{path}: wrong password, or the file was altered") from error


def read_file(path: Path) -> bytes:
    """The file's bytes; raises `Refused` where there is none to read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """The folder exists, and what of its path is new is its owner's alone; raises `Refused` otherwise."""
    missing = [folder for folder in (*reversed(path.parents), path) if not folder.exists()]
    try:
        for folder in missing or [path]:  # mkdir gives its mode to the last of a path alone
            folder.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise Refused(f"{path}: expected a folder, or a place for one: {error.strerror}") from error


def write_secret(path: Path, data: bytes) -> None:
    """`data` is durable at `path`, whole or not at all, readable by its owner alone; raises `Refused`."""
    write_secret_pieces(path, (data,))


def write_secret_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """The same for what is too much to hold."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)  # of a run that was killed, or somebody else's with other modes
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """The names in the folder survive a power cut, and a removed one does not come back; raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sealing_key_hex(identity: Identity) -> str:
    """The public half of the sealing key, for the roster."""
    return sealing_key_of(identity.sealing_secret).hex()


def _write_account(directory: Path, account: LocalAccount, password: str, cost: int) -> None:
    keystore = Account.encrypt(account.key, password, kdf="scrypt", iterations=cost)
    write_secret(directory / ACCOUNT_FILE, json.dumps(keystore).encode())


def _stretch(password: str, salt: bytes, cost: int) -> ContentKey:
    return ContentKey(Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(password.encode()))
