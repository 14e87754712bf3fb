"""A Kubo repository made private: its daemon talks to those who hold the swarm key, and to nobody else.

Kubo, not we, enforces it: with a `swarm.key` in the repository every connection is encrypted under that key
before a peer says who it is. The rest of the settings takes away each road on which it would look for
strangers. See `docs/store.md`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from federation.errors import Refused
from federation.identity import read_file, write_secret

KEY_BYTES: Final = 32
LOOPBACK_RPC: Final = "/ip4/127.0.0.1/tcp/5001"
TOKEN_BYTES: Final = 32
_KEY_HEAD: Final = "/key/swarm/psk/1.0.0/\n/base16/\n"

# Merged into `config`; Kubo passes over what its version does not know.
_PRIVATE: Final[dict[str, object]] = {
    "Addresses": {"Gateway": [], "Announce": [], "AppendAnnounce": []},
    "AutoConf": {"Enabled": False},
    "AutoNAT": {"ServiceMode": "disabled"},
    "AutoTLS": {"Enabled": False},
    "Bootstrap": [],
    "Datastore": {"GCPeriod": "1h", "StorageGCWatermark": 90},
    "Discovery": {"MDNS": {"Enabled": False}},
    "HTTPRetrieval": {"Enabled": False},
    "Ipns": {"DelegatedPublishers": []},
    "Pubsub": {"Enabled": False},
    "Routing": {"Type": "none", "DelegatedRouters": []},
    "Swarm": {
        "DisableNatPortMap": True,
        "EnableHolePunching": False,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {
            "Network": {
                "TCP": True,  # the only one that a swarm key protects
                "QUIC": False,
                "Relay": False,
                "WebRTCDirect": False,
                "WebTransport": False,
                "Websocket": False,
            }
        },
    },
    "Version": {"SwarmCheckEnabled": False},
}


def swarm_key(random: Callable[[int], bytes]) -> bytes:
    """A new key in the form that Kubo reads; whoever has it is in the swarm."""
    return f"{_KEY_HEAD}{random(KEY_BYTES).hex()}\n".encode()


def check_swarm_key(path: Path) -> bytes:
    """The file's bytes; raises `Refused`, which quotes nothing, unless it is a swarm key."""
    data = read_file(path)
    digits = data.removeprefix(_KEY_HEAD.encode()).strip()
    if not data.startswith(_KEY_HEAD.encode()) or len(digits) != 2 * KEY_BYTES or not _is_hex(digits):
        raise Refused(
            f"{path}: expected a swarm key as `tally store swarm-key` makes it, found something else"
        )
    return data


def make_private(
    repository: Path,
    key: bytes,
    *,
    listen: str,
    peers: list[str],
    random: Callable[[int], bytes],
    rpc: str = LOOPBACK_RPC,
) -> str:
    """The repository's daemon is private from its next start on; returns the token that its RPC asks for.

    `listen` is its own multiaddress in the swarm, `peers` those of the others, each with `/p2p/` and an
    identity; `rpc` is where its RPC answers whoever shows the token. Raises `Refused` where `ipfs init` has
    not been, or the daemon runs: it would not notice.
    """
    place = repository / "config"
    try:
        config = json.loads(read_file(place))
    except ValueError as error:
        raise Refused(f"{place}: expected the JSON that `ipfs init` writes") from error
    if (repository / "api").exists():
        raise Refused(
            f"{repository}: its daemon runs, or was killed: stop it, and remove {repository / 'api'}"
        )
    token = random(TOKEN_BYTES).hex()
    private = _PRIVATE | {"Peering": {"Peers": [_peer(address) for address in peers]}}
    _merge(config, private)
    config["Addresses"] |= {"Swarm": [listen], "API": rpc}
    allowed = {"AuthSecret": f"bearer:{token}", "AllowedPaths": ["/api/v0"]}
    config["API"] = {"Authorizations": {"tallystick": allowed}, "HTTPHeaders": {}}
    write_secret(repository / "swarm.key", key)
    write_secret(place, json.dumps(config, indent=2).encode())
    return token


def _peer(address: str) -> dict[str, object]:
    place, separator, identity = address.partition("/p2p/")
    if not separator or not identity or not place.startswith("/"):
        raise Refused(f"expected a peer such as /dns4/HOST/tcp/4001/p2p/12D3…, found {address!r}")
    return {"ID": identity, "Addrs": [place]}


def _merge(into: dict[str, object], changes: dict[str, object]) -> None:
    for name, value in changes.items():
        held = into.get(name)
        if isinstance(value, dict) and isinstance(held, dict):
            _merge(held, value)
        else:
            into[name] = value


def _is_hex(digits: bytes) -> bool:
    return not set(digits) - set(b"0123456789abcdef")


def environment(repository: Path) -> dict[str, str]:
    """What the daemon is started with: without a swarm key it then refuses to start."""
    return dict(os.environ) | {"IPFS_PATH": str(repository), "LIBP2P_FORCE_PNET": "1"}
