"""Virtual time: it passes at once, exactly, and only while nothing else is to be done."""

from __future__ import annotations

import selectors
import threading
import time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import aiowire
from aiowire import Call, Every, Timeout
from aiowire._virtual import JumpingSelector
from aiowire.testing import virtual_time

from .support import feed, pipe
from .virtual import UNIT, anyio_backend

__all__ = ["anyio_backend"]


async def test_hours_pass_at_once_and_exactly() -> None:
    begun, begun_really = anyio.current_time(), time.monotonic()
    await anyio.sleep(100_000 + UNIT)
    assert anyio.current_time() == begun + 100_000 + UNIT
    assert time.monotonic() < begun_really + 10


async def test_what_is_apart_by_the_smallest_time_happens_in_order() -> None:
    log: list[int] = []

    async def note(number: int) -> None:
        await anyio.sleep(1 + number * UNIT)
        log.append(number)

    async with anyio.create_task_group() as tasks:
        for number in (3, 1, 4, 2, 0):
            tasks.start_soon(note, number)
    assert log == [0, 1, 2, 3, 4]


async def test_time_stands_still_while_something_is_to_be_done() -> None:
    begun = anyio.current_time()
    with anyio.move_on_after(UNIT) as scope:
        for _ in range(100):
            await checkpoint()
    assert not scope.cancelled_caught
    assert anyio.current_time() == begun


async def test_a_ready_descriptor_is_served_before_time_passes() -> None:
    begun = anyio.current_time()
    with pipe() as (source, peer), anyio.fail_after(UNIT):
        feed(peer)
        await anyio.wait_readable(source)
    assert anyio.current_time() == begun


def test_an_hour_of_ticks_does_not_drift(anyio_backend: Any) -> None:
    backend, options = anyio_backend
    ticks: list[float] = []

    async def tick() -> None:
        ticks.append(anyio.current_time())
        await anyio.sleep(0.003)

    hour = Timeout(Every(0.01, Call(tick)), 36)
    aiowire.run(hour, backend=backend, backend_options=options)
    assert len(ticks) == 3600
    assert all(abs(at - ticks[0] - n * 0.01) < 0.000_001 for n, at in enumerate(ticks))


@pytest.mark.parametrize("backend", ["uvloop", "curio"])
def test_other_backends_have_none(backend: str) -> None:
    with pytest.raises(ValueError, match="there is virtual time on 'asyncio' and 'trio'"):
        virtual_time(backend)


def test_without_a_time_to_wait_for_it_waits_for_others() -> None:
    with pipe() as (source, peer), JumpingSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        writing = threading.Timer(0.05, feed, (peer,))
        writing.start()
        ((key, _),) = selector.select(None)
        writing.join()
        assert (key.fileobj, selector.now) == (source, 0)
