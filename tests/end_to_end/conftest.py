"""Whole demos, each run once however many tests look at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .demos import ARGUMENTS, Demo, Demos


@pytest.fixture(scope="session", autouse=True)
def demos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """Every demo that a selected test asks for is under way, while other tests run."""
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {one["demo"] for one in parameters if "demo" in one}
    with Demos(tmp_path_factory.mktemp("demos")) as started:
        started.begin([name for name in ARGUMENTS if name in wanted])
        yield started


@pytest.fixture
def demo(request: pytest.FixtureRequest, demos: Demos) -> Demo:
    """The demo of this name, ended."""
    return demos.ended(request.param)
