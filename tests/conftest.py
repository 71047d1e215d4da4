"""What all tests share: the backends, and a check that nothing is left behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from .support import open_descriptors

BACKENDS = {
    "asyncio": ("asyncio", {"debug": True}),
    "uvloop": ("asyncio", {"debug": True, "use_uvloop": True}),
    "trio": ("trio", {}),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(BACKENDS),
        help="run on this backend only (may be given several times)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = config.getoption("backend")
    if not names:
        return
    other = [item for item in items if _backend_of(item) not in (None, *names)]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in set(other)]


def _backend_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("anyio_backend")


@pytest.fixture(params=list(BACKENDS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run every async test, and every test that asks for a backend, on each of them."""
    return BACKENDS[request.param]


@pytest.fixture
def backend_name(request: pytest.FixtureRequest, anyio_backend: Any) -> str:
    """The name of the backend as ``aiowire.run`` and the command take it."""
    return next(name for name, value in BACKENDS.items() if value == anyio_backend)


@pytest.fixture(scope="session", autouse=True)
def warm_up(request: pytest.FixtureRequest) -> None:
    """Let each event loop open what it keeps for the life of the process."""
    for key in request.config.getoption("backend") or BACKENDS:
        name, options = BACKENDS[key]
        anyio.run(anyio.sleep, 0, backend=name, backend_options=options)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves descriptors open."""
    before = open_descriptors()
    yield
    if not open_descriptors() <= before:
        gc.collect()  # it is slow, and what waits to be collected is not lost
        assert open_descriptors() <= before
