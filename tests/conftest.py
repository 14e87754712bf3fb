"""What more than one room of the tests stands on: real development chains, real IPFS daemons."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from threading import Thread

import pytest
from hypothesis import settings

from deploy.devnet import Devnet
from federation.errors import TallyError, Unavailable

from .daemons import js_ipfs, kubo

IPFS_API = os.environ.get("TALLY_TEST_IPFS_API", "")  # the multiaddr of any other Kubo RPC to test against
FETCHED: dict[str, Callable[[], object]] = {"kubo_engine": kubo.install}
if not IPFS_API:
    FETCHED["ipfs_api"] = js_ipfs.install

# `make test-long`, that is `pytest --hypothesis-profile=long`: for suites that set no number of their own.
settings.register_profile("long", max_examples=3_000, deadline=None)


@pytest.fixture(scope="session", params=["anvil", "ganache"])
def devnet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A running chain that mines a block with every transaction; its time is moved by `advance`."""
    with Devnet.start(request.param, directory=tmp_path_factory.mktemp(request.param)) as chain:
        yield chain


@pytest.fixture(scope="session")
def ipfs_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The RPC of a real IPFS daemon: that of the environment, else js-ipfs, started within ten seconds."""
    if IPFS_API:
        yield IPFS_API
        return
    with ExitStack() as stack:
        try:
            api = stack.enter_context(js_ipfs.started(tmp_path_factory.mktemp("js-ipfs")))
        except Unavailable as why:
            pytest.skip(f"no IPFS daemon, and TALLY_TEST_IPFS_API names none: {why}")
        yield api


@pytest.fixture(scope="session")
def kubo_engine() -> None:
    """The Kubo engine can be run, see `kubo.node`."""
    try:
        kubo.install()
    except Unavailable as why:
        pytest.skip(f"no Kubo engine: {why}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the daemons are made of is fetched while other tests run: minutes, where `.cache` has nothing."""
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    fetched = [fetch for name, fetch in FETCHED.items() if name in needed]
    if fetched and not session.config.option.collectonly:
        Thread(target=_fetch, args=(fetched,), name="fetching IPFS daemons", daemon=True).start()


def _fetch(fetched: list[Callable[[], object]]) -> None:
    for fetch in fetched:
        with suppress(TallyError):  # said by the fixture, which asks again
            fetch()
