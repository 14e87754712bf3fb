"""The settings file as its people wrote it, amended in place: comments, order and spelling stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from federation.endpoints import load_settings
from federation.errors import Refused
from federation.identity import read_file, write_secret

from .settings import NodeSettings


def amend(path: Path, entries: Mapping[str, object]) -> NodeSettings:
    """The file says this too, and is whole at any moment; the settings that it now holds.

    Raises `Refused` for a file that is not TOML, and for entries that no settings file may have.
    """
    try:
        document = tomlkit.parse(read_file(path).decode())
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: expected TOML in UTF-8: {error}") from error
    for key, value in entries.items():
        document[key] = value
    data = tomlkit.dumps(document).encode()
    # Read back from beside it first: a settings file that cannot be loaded is never put in place.
    draft = path.with_name(path.name + ".draft")
    write_secret(draft, data)
    try:
        settings = load_settings(NodeSettings, draft)
    finally:
        draft.unlink()
    write_secret(path, data)
    return settings
