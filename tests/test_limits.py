"""What a poller may use: the limit on rests in flight, descriptors, thousands of sources."""

from __future__ import annotations

import errno
import os
import resource
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from aiowire import Call, EventLoop, Poller, Wire, done

from .support import (
    Log,
    counter,
    feed,
    immediately,
    many,
    pair,
    pipe,
    polling,
    read,
    reading,
    settle,
)


@pytest.mark.parametrize("limit", [1, 3])
async def test_the_limit_on_rests_is_kept_and_nothing_is_lost(limit: int) -> None:
    running, most, ended, gate = set[int](), Log(), Log(), anyio.Event()
    with many(5) as pipes:

        async def rest(ev: EventLoop, number: int) -> None:
            running.add(number)
            most.append(len(running))
            await gate.wait()
            for _ in range(number % 3):
                await anyio.lowlevel.checkpoint()
            running.remove(number)
            ended.append(number)

        def start(ev: EventLoop, source: Any) -> Wire:
            return Wire(rest, int(read(source, 2)))

        sources = {source: Wire(start, source) for source, _ in pipes}
        async with polling(sources, limit=limit):
            for n in range(50):
                feed(pipes[n % 5][1], b"%02d" % n)
            await most.reach(limit)
            await settle()
            assert len(running) == limit
            gate.set()
            await ended.reach(50)
    assert sorted(ended) == list(range(50))
    assert max(most) == limit


async def test_first_steps_are_concurrent_whatever_the_limit() -> None:
    steps, ended, gate = Log(), Log(), anyio.Event()
    with many(4) as pipes:

        async def step(ev: EventLoop, source: Any) -> Wire:
            steps.append(read(source))
            await gate.wait()
            return Call(ended.append, "rest")

        async with polling({source: Wire(step, source) for source, _ in pipes}, limit=1):
            for _, peer in pipes:
                feed(peer)
            await steps.reach(4)
            gate.set()
            await ended.reach(4)


async def test_at_the_limit_each_rest_that_ends_makes_room_for_one() -> None:
    running, ended = Log(), Log()
    gates = [anyio.Event() for _ in range(6)]
    with many(6) as pipes:

        def start(ev: EventLoop, source: Any) -> Wire | None:
            n = len(running)
            running.append(read(source))
            return Call(gates[n].wait) >> Call(ended.append, n) if n != 3 else None

        sources = {source: Wire(start, source) for source, _ in pipes}
        async with polling(sources, limit=1):
            for n, (_, peer) in enumerate(pipes):
                feed(peer)
                await settle()
                assert len(running) == 1, n
            for expected in (2, 3, 5, 6):  # the fourth has no rest, and so makes room at once
                gates[len(ended) + (len(ended) >= 3)].set()
                await settle()
                assert len(running) == expected
            for gate in gates:
                gate.set()


async def test_at_the_limit_a_source_that_is_ready_no_more_starts_nothing() -> None:
    starts, gate = Log(), anyio.Event()
    with pipe() as (source, peer):

        async def rest(ev: EventLoop) -> None:
            await gate.wait()
            read(source, 1)  # what has made the source ready meanwhile

        def start(ev: EventLoop) -> Any:
            starts.append(read(source, 1))
            return rest

        async with polling({source: start}, limit=1):
            for n in (1, 2):
                feed(peer)
                await starts.reach(n)
                feed(peer)
                await settle()
                gate.set()
                await settle()
                gate = anyio.Event()
                assert len(starts) == n
            gate.set()


@contextmanager
def at_the_limit() -> Iterator[tuple[Any, Any, Poller, anyio.Event]]:
    """A poller whose only rest goes on until an event."""
    gate = anyio.Event()
    with pipe() as (source, peer):

        async def rest(ev: EventLoop) -> None:
            await gate.wait()

        def start(ev: EventLoop) -> Any:
            read(source)
            return rest

        feed(peer)
        yield source, peer, Poller({source: start}, limit=1), gate


async def test_at_the_limit_nothing_is_read_until_a_rest_has_ended() -> None:
    with at_the_limit() as (source, peer, poller, gate):
        async with polling(poller):
            await settle()
            feed(peer)
            await settle()
            assert select.select([source], [], [], 0)[0] == [source]
            gate.set()
            await settle()
            assert select.select([source], [], [], 0)[0] == []


@pytest.mark.parametrize("end", ["unregister", "shutdown", "cancel", "close"])
async def test_at_the_limit_it_can_be_changed_and_ended(end: str) -> None:
    with at_the_limit() as (source, peer, poller, gate), anyio.fail_after(5):
        async with EventLoop() as ev:
            handle = ev.start(poller, lambda ev, exc: None)
            await settle()
            feed(peer)
            await settle()
            if end == "unregister":
                poller.unregister(source)
                poller.register(source, done)
                poller.unregister(source)
            elif end == "cancel":
                handle.cancel()
            elif end == "close":
                source.close()
            await settle()
            poller.shutdown()
            gate.set()
            await immediately(handle.wait)


async def test_a_failed_or_cancelled_rest_gives_its_place_back() -> None:
    log = Log()
    with pipe() as (source, peer):

        async def rest(ev: EventLoop) -> None:
            log.append("rest")
            raise ValueError

        def start(ev: EventLoop) -> Any:
            read(source)
            return rest

        async with polling({source: start}, limit=1, handler=lambda ev, exc: None):
            for n in range(1, 4):
                feed(peer)
                await log.reach(n)


# Resources.


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="this system has no eventfd")
async def test_a_counter_is_told_from_another_of_the_same_number() -> None:
    """All of them are one file to ``fstat``."""
    failures, starts = Log(), Log()
    with counter(0) as (source, _), counter(1) as (other, _):
        handler = lambda ev, exc: failures.append(exc)  # noqa: E731
        async with polling({source: Call(starts.append, "old")}, handler=handler) as poller:
            await settle()
            os.dup2(other, source)
            await immediately(lambda: failures.reach(1))
            poller.register(source, Call(starts.append, "new"))
            await starts.reach(1)
    assert set(starts) == {"new"}
    assert isinstance(failures[0], anyio.ClosedResourceError)


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Let the system give no more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_too_many_open_files_is_a_clear_error_and_leaks_nothing() -> None:
    failures = Log()
    with pair() as (source, peer):
        poller = Poller({source: reading(Log(), source)})
        async with EventLoop() as ev:
            with few_descriptors():
                await ev.start(poller, lambda ev, exc: failures.append(exc)).wait()
            failures[0] = failures[0].errno  # no traceback that keeps things alive
        log = Log()
        poller.unregister(source)
        poller.register(source, reading(log, source))
        async with polling(poller):
            feed(peer)
            await log.reach(1)
    assert failures == [errno.EMFILE]


MANY = """
import os, resource, sys
import aiowire

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
number = 4000 if hard == resource.RLIM_INFINITY else min(4000, (hard - 100) // 2)
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * number + 100, hard))
pipes = [os.pipe() for _ in range(number)]
left = 1000

def wire(ev, n):
    global left
    os.read(pipes[n][0], 1)
    left -= 1
    if left:
        os.write(pipes[-1][1], b"x")
    else:
        poller.shutdown()

poller = aiowire.Poller({r: aiowire.Wire(wire, n) for n, (r, w) in enumerate(pipes)})
os.write(pipes[0][1], b"x")
aiowire.run(poller, backend=sys.argv[1], timeout=20)
print(number, left)
"""


def test_a_source_is_served_among_thousands_of_idle_ones(backend_name: str) -> None:
    program = [sys.executable, "-c", MANY, backend_name]
    result = subprocess.run(program, capture_output=True, text=True, timeout=50, check=True)
    number, left = map(int, result.stdout.split())
    assert left == 0
    assert number > 100
