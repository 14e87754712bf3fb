"""Small documents in the vault's folder, a file each: what commands may add while the daemon runs.

The journal is the daemon's alone, so what people decide and what they have to read lies beside it. Nothing
here is secret, and a file is there as a whole or not at all.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from federation.endpoints import Section
from federation.errors import Refused
from federation.identity import make_folder, read_file, sync_folder, write_secret

Note = TypeVar("Note", bound=Section)
_SUFFIX = ".json"


def keep_note(folder: Path, name: str, note: Section) -> bool:
    """A note of this name is durable; False where there was one, which stands: two writers never meet."""
    make_folder(folder)
    path = folder / f"{name}{_SUFFIX}"
    if path.exists():
        return False
    partial = folder / f"{name}.{secrets.token_hex(8)}"
    try:
        write_secret(partial, _encode(note))
        os.link(partial, path)  # unlike a rename, it never takes the place of another
        sync_folder(folder)
    except FileExistsError:
        return False
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return True


def replace_note(folder: Path, name: str, note: Section) -> None:
    """The note of this name is durably this one."""
    make_folder(folder)
    write_secret(folder / f"{name}{_SUFFIX}", _encode(note))


def read_notes(folder: Path, kind: type[Note]) -> list[Note]:
    """All notes of a folder in the order of their names; raises `Refused`, naming what is none.

    There are none where there is no folder; one that cannot be read is not taken for empty.
    """
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Refused(f"{folder}: expected a folder that can be read: {error.strerror}") from error
    return [_read(path, kind) for path in paths if path.suffix == _SUFFIX]


def _encode(note: Section) -> bytes:
    return (note.model_dump_json(indent=2) + "\n").encode()


def _read(path: Path, kind: type[Note]) -> Note:
    try:
        return kind.model_validate_json(read_file(path))
    except ValidationError as error:
        raise Refused(
            f"{path}: expected a note as this node writes them, found another. To go on, move it away, and "
            "decide anew what it decided (`approve`), or declare what it counted (`other_openings`)"
        ) from error
