"""Those who are compared on programs that run parts at the same time, or within a time.

Each job is done again and again, one after the other, in one task: two functions that wait for one
turn of the event loop, until both have ended, or the first, and so on. What the peers do is the
usual way to write it with them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from clock import clock


async def one(ev: Any = None) -> None:
    """Wait for a turn."""
    await checkpoint()


async def slow(ev: Any = None) -> None:
    """Wait for longer than anybody has."""
    await anyio.sleep(1000)


class Concurrent:
    """One way to do it. Each job gives the seconds that so many repetitions took."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[None]:
        """Open nothing."""
        yield

    async def two(self) -> None:
        """Run two functions, until both have ended."""
        raise NotImplementedError

    async def first(self) -> None:
        """Run two functions, until the first has ended."""
        raise NotImplementedError

    async def ready(self) -> Any:
        """Run two functions that end in the same turn; give what the first gives."""
        raise NotImplementedError

    async def within(self) -> None:
        """Run a function within a time."""
        raise NotImplementedError

    async def all(self, number: int) -> float:
        """Measure :meth:`two`."""
        return await self._repeat(self.two, number)

    async def race(self, number: int) -> float:
        """Measure :meth:`first`."""
        return await self._repeat(self.first, number)

    async def select(self, number: int) -> float:
        """Measure :meth:`ready`."""
        return await self._repeat(self.ready, number)

    async def timeout(self, number: int) -> float:
        """Measure :meth:`within`."""
        return await self._repeat(self.within, number)

    async def _repeat(self, job: Callable[[], Awaitable[Any]], number: int) -> float:
        since = clock()
        for _ in range(number):
            await job()
        return clock() - since


class Wires(Concurrent):
    """Ours: a chain that repeats a wire."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[None]:
        """Open a loop."""
        import aiowire

        self._aiowire = aiowire
        async with aiowire.EventLoop() as self._ev:
            yield

    async def _chain(self, wire: Any, number: int) -> float:
        since = clock()
        await self._ev.start(wire * number).wait()
        return clock() - since

    async def all(self, number: int) -> float:
        """Measure ``a & b``."""
        return await self._chain(self._aiowire.All(one, one), number)

    async def race(self, number: int) -> float:
        """Measure ``a | b``."""
        return await self._chain(self._aiowire.Race(one, slow), number)

    async def select(self, number: int) -> float:
        """Measure ``Select(a, b)``."""
        return await self._chain(self._aiowire.Select(one, one), number)

    async def timeout(self, number: int) -> float:
        """Measure ``Timeout(a, seconds)``."""
        return await self._chain(self._aiowire.Timeout(one, 1000), number)


class ByHand(Concurrent):
    """A task group of anyio, and its cancel scopes."""

    async def two(self) -> None:
        """Run two tasks."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)

    async def first(self) -> None:
        """Run two tasks, of which the first to end cancels the other."""
        async with anyio.create_task_group() as tasks:

            async def run(function: Callable[[], Awaitable[None]]) -> None:
                await function()
                tasks.cancel_scope.cancel()

            tasks.start_soon(run, one)
            tasks.start_soon(run, slow)

    async def ready(self) -> list[int]:
        """Run two tasks, of which the first to end cancels the other; keep what ended."""
        ended: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def run(number: int) -> None:
                await one()
                ended.append(number)
                tasks.cancel_scope.cancel()

            tasks.start_soon(run, 0)
            tasks.start_soon(run, 1)
        return ended

    async def within(self) -> None:
        """Wait within a scope."""
        with anyio.move_on_after(1000):
            await one()


class AnyioGather(Concurrent):
    """``anyio.gather``, which anyio has since 4.16."""

    async def two(self) -> None:
        """Gather two."""
        await anyio.gather(one(), one())


class AsyncioWait(Concurrent):
    """``asyncio.gather``, ``asyncio.wait`` and ``asyncio.timeout``."""

    async def two(self) -> None:
        """Gather two."""
        import asyncio

        await asyncio.gather(one(), one())

    async def first(self) -> None:
        """Wait for the first of two tasks, then cancel the other, and see it end."""
        await self._first(one, slow)

    async def ready(self) -> Any:
        """Wait for the first of two tasks that end in the same turn."""
        return await self._first(one, one)

    async def _first(self, *functions: Callable[[], Any]) -> Any:
        import asyncio

        tasks = [asyncio.create_task(each()) for each in functions]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        return done

    async def within(self) -> None:
        """Wait within a time-out."""
        import asyncio

        async with asyncio.timeout(1000):
            await one()


class AiotoolsRace(Concurrent):
    """``aiotools.race``."""

    async def first(self) -> None:
        """Race two."""
        import aiotools

        await aiotools.race([one(), slow()])


class TrioUtil(Concurrent):
    """``trio_util.wait_all`` and ``wait_any``."""

    async def two(self) -> None:
        """Wait for all of two."""
        import trio_util

        await trio_util.wait_all(one, one)

    async def first(self) -> None:
        """Wait for any of two."""
        import trio_util

        await trio_util.wait_any(one, slow)
