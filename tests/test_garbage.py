"""What has ended is gone at once: nothing of it waits for the garbage collector.

An exception knows the frames that it came through, and a frame that keeps the exception makes a
cycle of the two. All that the steps had in hand would stay in memory then until the collector
comes, and where programs are cancelled or fail often, it would come often.

A loop that is cancelled as a whole is left out: there such a cycle is left by anyio's task group on
asyncio, and on trio the frames are shown to who looks at the exceptions that leave its nursery.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import (
    All,
    Catch,
    EventLoop,
    Finally,
    Race,
    Retry,
    Select,
    Timeout,
    Wire,
)
from aiowire._stoppable import hosts, note_host

pytestmark = pytest.mark.anyio


async def test_nobody_knows_a_loop_whose_block_was_given_up() -> None:
    known = set(hosts)
    loop = EventLoop()
    note_host(-1, loop)
    assert hosts[-1]() is loop
    del loop
    gc.collect()
    assert set(hosts) == known


class Witness:
    """Something that a step has in hand."""


Witnesses = weakref.WeakSet[Witness]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have nothing collected but what is not referred to any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Step(Wire):
    """A step with something in hand, to its end or to the moment that it is cancelled."""

    def __init__(self, witnesses: Witnesses, then: Callable[[], Any]) -> None:
        self._witnesses = witnesses
        self._then = then

    async def __call__(self, ev: EventLoop) -> None:
        hand = Witness()
        self._witnesses.add(hand)
        await self._then()


async def fail() -> None:
    await checkpoint()
    raise ValueError("of a step")


def fail_at_once() -> Any:
    raise ValueError("at once")


def take(ev: EventLoop, exc: Exception) -> None:
    """Handle a failure."""


def wires(make: Callable[[Callable[[], Any]], Wire]) -> dict[str, Wire]:
    short, long, bad = make(checkpoint), make(anyio.sleep_forever), make(fail)
    bad_at_once = make(fail_at_once)

    async def cancel(ev: EventLoop) -> None:
        handle = ev.start(long)
        await checkpoint()
        await checkpoint()
        handle.cancel()
        await handle.wait()

    async def handled(ev: EventLoop) -> None:
        for each in (bad, bad_at_once):
            await ev.start(each, take).wait()

    async def inner_timeout(ev: EventLoop) -> None:
        async with EventLoop(timeout=0) as inner:
            inner.start(long)

    def starts(ev: EventLoop) -> None:
        ev.start(long)

    return {
        "all": All(short, short),
        "race": Race(short, long, long),
        "race of all": Race(All(long, long), Race(long, short)),
        "select": Select(short, long),
        "timeout": Timeout(long, 0),
        "timeout of what it starts": Timeout(starts, 0),
        "catch": Catch(bad, take),
        "catch at once": Catch(bad_at_once, take),
        "catch all": Catch(All(bad, bad_at_once, long), take),
        "catch timeout": Catch(Timeout(bad, 1000), take),
        "catch finally": Catch(Finally(bad, bad), take),
        "finally": Timeout(Finally(long, short), 0),
        "retry": Catch(Retry(bad, attempts=3, wait_initial=0), take),
        "handle cancelled": Timeout(cancel, 1000),
        "handled": Timeout(handled, 1000),
        "loop times out": Timeout(inner_timeout, 1000),
    }


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", wires(lambda then: Step(weakref.WeakSet(), then)))
async def test_what_steps_had_in_hand_is_gone_when_they_have_ended(name: str) -> None:
    witnesses: Witnesses = weakref.WeakSet()

    def make(then: Callable[[], Any]) -> Wire:
        return Step(witnesses, then)

    async with EventLoop() as ev:
        for _ in range(2):  # also in workers that have served others before
            await ev.start(wires(make)[name]).wait()
            await checkpoint()  # what has ended is not the task that runs any more
            assert not list(witnesses)
