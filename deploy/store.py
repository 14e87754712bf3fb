"""`tally store`: contents carried from store to store as CAR files, how the stores are, a private swarm."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Final

import typer

from federation.digest import parse_cid, show_cid
from federation.endpoints import StoreSettings, load_settings, open_places, open_store
from federation.errors import Refused, Unavailable
from federation.exits import printable, told_plainly
from federation.identity import write_secret, write_secret_pieces
from federation.store.car import car_of, put_car
from federation.store.content import ContentStore, get_bytes, put_bytes
from federation.store.unixfs import cid_of

from .party import PartySettings
from .private_swarm import LOOPBACK_RPC, check_swarm_key, make_private, swarm_key

PROBE: Final = b"tallystick: is this store here?\n"
MOST_BYTES: Final = 1 << 40  # of one content, unless a person allows more

app = typer.Typer(
    name="store",
    help="The content store: CAR files, how it is, a private swarm.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SettingsFile = Annotated[Path, typer.Option("--settings", help="A node.toml, aggregator.toml or audit.toml.")]
MostBytes = Annotated[int, typer.Option(min=0, help="The most bytes that the content may have.")]


@app.command("export")
@told_plainly()
def export(
    cid: Annotated[str, typer.Argument(help="What the ledger or a report names.")],
    settings: SettingsFile,
    out: Annotated[Path, typer.Option(help="The CAR file to write.")],
    most_bytes: MostBytes = MOST_BYTES,
) -> None:
    """Write a content, every block of it checked, to a CAR file."""
    wanted = parse_cid(cid)
    write_secret_pieces(out, car_of(open_store(_store(settings)), wanted, size=most_bytes))
    typer.echo(f"{cid} is in {out}")


@app.command("import")
@told_plainly()
def import_(
    car: Annotated[Path, typer.Argument(help="A CAR file of version 1 with one root.")],
    settings: SettingsFile,
    most_bytes: MostBytes = MOST_BYTES,
) -> None:
    """Check every block of a CAR file, and store its content."""
    store = open_store(_store(settings))
    try:
        with car.open("rb") as file:
            cid = put_car(store, file, size=most_bytes)
    except OSError as error:
        raise Refused(f"{car}: cannot be read: {error.strerror}") from error
    typer.echo(show_cid(cid))


@app.command()
@told_plainly()
def status(settings: SettingsFile) -> None:
    """Say whether each place answers, our own by writing and reading a line; exit 5 if ours does not."""
    (name, own), *others = open_places(_store(settings)).items()
    trouble = _written(own)
    lines = [_answer("own", name, trouble)]
    lines += [_answer("fallback", other, _asked(store)) for other, store in others]
    for line in lines:
        typer.echo(printable(line))
    if trouble:
        raise Unavailable(f"our own store does not answer: {name}")


@app.command("swarm-key")
@told_plainly()
def make_swarm_key(out: Annotated[Path, typer.Option(help="The file to write: `swarm.key`.")]) -> None:
    """Make the key of a private swarm, once for the whole consortium; hand it on in secret."""
    if out.exists():
        raise Refused(f"{out}: a key is there already; whoever replaces it leaves the swarm")
    write_secret(out, swarm_key(secrets.token_bytes))
    typer.echo(f"{out}: give it to each daemon's owner, and to nobody else")


@app.command("private")
@told_plainly()
def private(
    repository: Annotated[Path, typer.Argument(help="What `ipfs init` made; its daemon must not run.")],
    swarm_key: Annotated[Path, typer.Option(help="What `tally store swarm-key` wrote.")],
    authorization: Annotated[Path, typer.Option(help="Where to write the RPC's secret.")],
    listen: Annotated[str, typer.Option(help="Its address in the swarm.")] = "/ip4/0.0.0.0/tcp/4001",
    peer: Annotated[list[str] | None, typer.Option(help="Another daemon, …/tcp/4001/p2p/12D3…")] = None,
    rpc: Annotated[str, typer.Option(help="Its RPC's address; beyond loopback only in a closed network.")] = (
        LOOPBACK_RPC
    ),
) -> None:
    """Take a Kubo repository off the public network, into the swarm of that key alone."""
    key = check_swarm_key(swarm_key)
    token = make_private(
        repository, key, listen=listen, peers=peer or [], random=secrets.token_bytes, rpc=rpc
    )
    write_secret(authorization, f"bearer {token}\n".encode())
    typer.echo(f"{authorization}: for `authorization_file` under [store]. Next:")
    typer.echo(f"  IPFS_PATH={repository} LIBP2P_FORCE_PNET=1 ipfs daemon --enable-gc")


def _store(settings: Path) -> StoreSettings:
    store = load_settings(PartySettings, settings).store
    if store is None:
        raise Refused(f"{settings}: expected [store]")
    return store


def _answer(role: str, name: str, trouble: str) -> str:
    return f"{role:<8}  {name}  {trouble or 'answers'}"


def _written(store: ContentStore) -> str:
    """What is wrong with a store of ours; empty for nothing."""
    try:
        get_bytes(store, put_bytes(store, PROBE), size=len(PROBE))
    except Unavailable as trouble:
        return str(trouble)
    return ""


def _asked(store: ContentStore) -> str:
    """What is wrong with a store of others, in which we write nothing; empty for nothing."""
    try:
        store.has(cid_of([PROBE]))
    except Unavailable as trouble:
        return str(trouble)
    return ""
