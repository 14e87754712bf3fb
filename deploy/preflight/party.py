"""Checks of who we are: keys, roster, key share, policy, patients, bond."""

from __future__ import annotations

import socket
from pathlib import Path

from federation.agreement import Agreement
from federation.bonds import WEI_PER_GWEI, show_ether
from federation.errors import Refused, Unavailable
from federation.events import StudyId
from federation.governance import Consortium
from federation.identity import ACCOUNT_FILE, SEALING_FILE, Identity
from federation.law import History
from federation.members import Address, Role, show_address
from federation.rounds import Study
from federation.seal import sealing_key_of
from node.policy import check_patients
from node.settings import PolicySettings

from .lines import Doubt


def on_roster(consortium: Consortium, identity: Identity, role: Role) -> str:
    """The roster has our account, in this role and with our sealing key, and we may act."""
    account = identity.address
    member = consortium.members.get(account)
    if member is None:
        raise Refused(f"{show_address(account)} is not on the roster")
    if member.role is not role:
        raise Refused(
            f"{member.name} is enrolled as {member.role.name.lower()}, expected {role.name.lower()}"
        )
    if member.sealing_key != sealing_key_of(identity.sealing_secret):
        raise Refused(f"{member.name}: the roster has another sealing key than {SEALING_FILE}")
    if not consortium.is_active(account):
        raise Refused(f"{member.name} may not act: {consortium.standing(account).state.name.lower()}")
    return f"{member.name}, {role.name.lower()}, {show_address(account)}"


def in_study(history: History, number: int, identity: Identity) -> Study:
    """The study is there, and we are one of its members."""
    known = history.studies.get(StudyId(number))
    if known is None:
        raise Refused(f"study {number}: the ledger has {len(history.studies)} studies")
    if identity.known_to(known).address not in known.terms.members:
        raise Refused(f"{show_address(identity.address)} is no member of study {number}")
    return known


def enough_patients(policy: PolicySettings, agreement: Agreement, data: Path) -> str:
    """The task reads the file, and it has as many rows as our policy wants; how many is not said."""
    check_patients(policy, agreement.task.load(data))
    return f"{data} can be read by the task, and has the rows that the policy wants"


def served(history: History, account: Address) -> list[Study]:
    """The studies that name this aggregator."""
    found = [study for study in history.studies.values() if account in study.terms.aggregators]
    if not found:
        raise Doubt("no study names this aggregator yet")
    return found


def staked(account: Address, studies: list[Study]) -> str:
    """What is deposited in each of them is enough for a total."""
    for study in studies:
        held, needed = study.bonds.of(account).amount, study.terms.stake.gwei * WEI_PER_GWEI
        if held < needed:
            raise Doubt(
                f"{show_ether(held)} staked in study {study.id}, {show_ether(needed)} needed for a total"
            )
    return f"enough is staked in each of {len(studies)} studies"


def listens(host: str, port: int) -> str:
    """The address is ours to listen on."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        if port and _answers(host, port):
            raise Doubt(f"something listens on {host}:{port} already: is it this aggregator?") from error
        raise Unavailable(f"{host}:{port}: {error.strerror}") from error
    return f"{host}:{port} is free"


def secret_files(identity: Path, password_file: Path | None, vault: Path | None) -> list[Path]:
    """Whatever nobody else may read, as far as it is there."""
    wanted = [identity, identity / ACCOUNT_FILE, identity / SEALING_FILE]
    wanted += [] if password_file is None else [password_file]
    kept = sorted(path for path in vault.iterdir() if path.is_file()) if vault and vault.is_dir() else []
    return wanted + ([vault, *kept] if vault and vault.is_dir() else [])


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
