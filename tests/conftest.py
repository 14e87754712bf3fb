"""What more than one room of the tests stands on: real development chains."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from deploy.devnet import Devnet

# `make test-long`, that is `pytest --hypothesis-profile=long`: for suites that set no number of their own.
settings.register_profile("long", max_examples=3_000, deadline=None)


@pytest.fixture(scope="session", params=["anvil", "ganache"])
def devnet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A running chain that mines a block with every transaction; its time is moved by `advance`."""
    with Devnet.start(request.param, directory=tmp_path_factory.mktemp(request.param)) as chain:
        yield chain
