"""Generated programs of everything there is do what the algebra says, at the moments it says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given

from .oracle import generated
from .programs import LIMIT, numbered, programs, run, wire
from .reference import P, meaning
from .virtual import anyio_backend

__all__ = ["anyio_backend"]


@pytest.fixture(autouse=True)
async def one_event_loop() -> AsyncIterator[None]:
    """Run all examples of a test in the same event loop, which is faster."""
    yield  # noqa: PT022 (the generator is what keeps the event loop)


@pytest.mark.stress
@generated
@given(program=programs)
async def test_a_program_does_what_it_means(program: P) -> None:
    (program,) = numbered(program)
    assert await run(wire(program)) == meaning(program, LIMIT)
