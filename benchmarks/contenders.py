"""Those who are compared: how each of them runs the same async functions.

A contender says how its block is opened (:meth:`Contender.block`) and how a function is started in
it. What is measured, the *jobs*, is written once, in :class:`Contender`, and so is the work that
each has to do. Libraries are imported where they are used: a process holds only what it measures.

Jobs come in two kinds. *First use* opens a block, starts everything in it and leaves it, all of
which is on the clock. *Warm* uses one block again and again: the first batches, which are not
counted, have left behind in it whatever a library keeps for the next ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from clock import clock

Work = Callable[[Any], Awaitable[Any]]
Start = Callable[[Any, int], None]  # start so many of these

#: How long a wire sleeps where sleeping wires are measured, in seconds.
NAP = 0.01


async def finish(ev: Any) -> None:
    """End without having waited for anything."""


async def nap(ev: Any) -> None:
    """Wait for something that comes soon."""
    await anyio.sleep(NAP)


async def park(ev: Any) -> None:
    """Wait for ever."""
    await anyio.sleep_forever()


class Contender:
    """One library, and the jobs that are measured; each gives the seconds that it took."""

    #: Starts functions in the block of the warm jobs; set by who opened it.
    start: Start

    def block(self, idle: int = 0) -> AbstractAsyncContextManager[Start]:
        """Open a block of the library in which so many functions wait for ever."""
        raise NotImplementedError

    async def step(self, number: int) -> float:
        """Run one chain of so many steps; its start and its end are off the clock."""
        chain = Chain(number)
        self.start(chain.first, 1)
        await chain.ended.wait()
        return chain.seconds

    async def start_first(self, number: int) -> float:
        """Start and finish so many functions that do not wait, in a new block."""
        return await self._first(finish, number)

    async def start_warm(self, number: int) -> float:
        """Start and finish so many functions that do not wait, in the block that is open."""
        count = Count(number)
        return await self._warm(count.finish, count)

    async def sleep_first(self, number: int) -> float:
        """Start and finish so many functions that sleep, in a new block."""
        return await self._first(nap, number)

    async def sleep_warm(self, number: int) -> float:
        """Start and finish so many functions that sleep, in the block that is open."""
        count = Count(number)
        return await self._warm(count.nap, count)

    async def _first(self, work: Work, number: int) -> float:
        since = clock()
        async with self.block() as start:
            start(work, number)
        return clock() - since

    async def _warm(self, work: Work, count: Count) -> float:
        since = clock()
        self.start(work, count.left)
        await count.ended.wait()
        return clock() - since


class Count:
    """What the functions of a warm job do; the last one tells that all have ended.

    One step of the counting costs 0.03 µs or so, which is the same for everyone.
    """

    def __init__(self, number: int) -> None:
        self.left = number
        self.ended = anyio.Event()

    async def finish(self, ev: Any) -> None:
        """End without having waited for anything."""
        self.left -= 1
        if not self.left:
            self.ended.set()

    async def nap(self, ev: Any) -> None:
        """Wait for something that comes soon."""
        await anyio.sleep(NAP)
        self.left -= 1
        if not self.left:
            self.ended.set()


class Chain:
    """A program of so many steps: a function that gives back itself, and at last ``None``.

    The counting is part of the step, and the same for everyone.

    :param wire: makes of a function what it has to give back to be called again
    """

    def __init__(self, number: int, wire: Callable[[Work], Any] = lambda work: work) -> None:
        self.first = wire(self._begin)
        self.ended = anyio.Event()
        self.seconds = 0.0
        self._number = number
        self._wire = wire
        self._since = 0.0

    async def _begin(self, ev: Any) -> Any:
        left, last = self._number, self._wire(self._end)

        async def step(ev: Any) -> Any:
            nonlocal left
            left -= 1
            return again if left else last

        again = self._wire(step)
        self._since = clock()
        return again

    async def _end(self, ev: Any) -> None:
        self.seconds = clock() - self._since
        self.ended.set()


class Bare(Contender):
    """The floor of a chain: a loop that awaits a step, and then the step that this gave back."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open nothing: nothing is started."""
        yield lambda work, number: None

    async def start_first(self, number: int) -> float:
        """Await so many functions, one after another."""
        since = clock()
        for _ in range(number):
            await finish(None)
        return clock() - since

    start_warm = start_first

    async def step(self, number: int) -> float:
        """Await so many steps."""
        chain = Chain(number)
        wire = chain.first
        while wire is not None:
            wire = await wire(None)
        return chain.seconds


class Ours(Contender):
    """This library."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open an event loop."""
        from aiowire import EventLoop

        async with EventLoop() as ev:

            def start(wire: Any, number: int) -> None:
                for _ in range(number):
                    ev.start(wire)

            parked = [ev.start(park) for _ in range(idle)]
            await anyio.wait_all_tasks_blocked()
            yield start
            for handle in parked:
                handle.cancel()


class Old(Contender):
    """aiowire 3.1.0. Its chains go on while ``run()`` runs only, so nothing of it is ever warm.

    :param idle: how many wires there are beside the chain of a step
    """

    def __init__(self, idle: int = 0) -> None:
        self._idle = idle

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open an event loop."""
        from aiowire import EventLoop

        async with EventLoop() as ev:

            def start(wire: Any, number: int) -> None:
                for _ in range(number):
                    ev.start(wire)

            yield start

    async def step(self, number: int) -> float:
        """Run one chain, and beside it wires that wait until it has ended."""
        from aiowire import Wire

        chain = Chain(number, Wire)

        async def wait(ev: Any) -> None:
            await chain.ended.wait()

        async with self.block() as start:
            start(wait, self._idle)
            start(chain.first, 1)
        return chain.seconds


class TaskGroup(Contender):
    """``asyncio.TaskGroup``, which Python has from 3.11 on."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open a task group of asyncio."""
        import asyncio

        async with asyncio.TaskGroup() as tasks:

            def start(work: Work, number: int) -> None:
                for _ in range(number):
                    tasks.create_task(work(None))  # type: ignore[arg-type]

            yield start


class Nursery(Contender):
    """trio's nursery, which is to trio what ``asyncio.TaskGroup`` is to asyncio."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open a nursery."""
        import trio

        async with trio.open_nursery() as nursery:

            def start(work: Work, number: int) -> None:
                for _ in range(number):
                    nursery.start_soon(work, None)

            yield start


class CreateTask(Contender):
    """anyio's task group, by the method that gives a handle, as ``EventLoop.start`` does."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open a task group of anyio."""
        async with anyio.create_task_group() as tasks:

            def start(work: Work, number: int) -> None:
                for _ in range(number):
                    tasks.create_task(work(None))  # type: ignore[arg-type]

            yield start


class StartSoon(Contender):
    """anyio's task group, by the older and better known method."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[Start]:
        """Open a task group of anyio."""
        async with anyio.create_task_group() as tasks:

            def start(work: Work, number: int) -> None:
                for _ in range(number):
                    tasks.start_soon(work, None)

            yield start
