"""The tasks that run chains, when there is nothing to do and when they are cancelled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Wire, done
from aiowire._worker import EAGER

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


def workers() -> int:
    return sum(task.name == "aiowire worker" for task in anyio.get_running_tasks())


def spend(seconds: float) -> None:
    """Keep the event loop busy."""
    end = monotonic() + seconds
    while monotonic() < end:
        pass


# Cancellation is each chain's own.


async def cancelled_by_itself(ev: EventLoop, cancel: Callable[[], None]) -> None:
    cancel()


async def refusing_its_cancellation(ev: EventLoop, cancel: Callable[[], None]) -> None:
    cancel()
    try:
        await checkpoint()
    except anyio.get_cancelled_exc_class():
        return


async def failing_when_cancelled(ev: EventLoop, cancel: Callable[[], None]) -> None:
    cancel()
    try:
        await checkpoint()
    finally:
        raise ValueError


@pytest.mark.parametrize(
    "victim", [cancelled_by_itself, refusing_its_cancellation, failing_when_cancelled]
)
@pytest.mark.parametrize("first", [done, Call(checkpoint)], ids=["at once", "later"])
async def test_the_task_of_a_cancelled_chain_serves_no_other(victim: Any, first: Wire) -> None:
    log: list[int] = []

    def cancel() -> None:
        handle.cancel()

    async with EventLoop() as ev:
        for n in range(20):
            handle = ev.start(first >> Wire(victim, cancel), lambda ev, exc: None)
            await handle.wait()
            ev.start(Call(checkpoint) * 2 >> Call(log.append, n))
            await ev.run()
    assert log == list(range(20))


async def test_chains_behind_one_that_cancels_itself_begin_nevertheless() -> None:
    log: list[int] = []

    def cancel_itself(ev: EventLoop, n: int) -> None:
        log.append(n)
        handles[n].cancel()

    async with EventLoop() as ev:
        handles = [ev.start(Wire(cancel_itself, n)) for n in range(100)]
    assert log == list(range(100))


# Tasks with nothing to do.


@pytest.mark.parametrize("how", ["ev", "outside", "body fails", "chain fails", "time"])
async def test_idle_tasks_end_with_the_block(how: str) -> None:
    ev = EventLoop(0.01 if how == "time" else None)
    with anyio.CancelScope() as scope:
        try:
            async with ev:
                for _ in range(10):
                    ev.start(Call(checkpoint) * 2)
                await ev.run()
                assert workers() > 1
                if how == "outside":
                    scope.cancel()
                if how == "ev":
                    ev.cancel()
                if how == "body fails":
                    raise ValueError
                if how == "chain fails":
                    ev.start(Call(int, "x"))
                await anyio.sleep_forever()
        except ValueError:
            assert how.endswith("fails")
        except ExceptionGroup:
            assert how == "chain fails"
    assert workers() == 0
    async with ev:  # a new life
        await ev.run()


async def test_tasks_that_nobody_needs_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiowire._worker.KEEP", 0.0)
    async with EventLoop() as ev:
        release = anyio.Event()
        for _ in range(50):
            ev.start(Call(release.wait))
        await anyio.wait_all_tasks_blocked()
        assert workers() >= 50
        release.set()
        for _ in range(100):
            ev.start(Call(checkpoint))
            await ev.run()
        await anyio.wait_all_tasks_blocked()
        assert workers() <= 3
        ran: list[int] = []
        ev.start(Call(ran.append, 1))
    assert ran == [1]


async def test_tasks_are_kept_for_a_while() -> None:
    async with EventLoop() as ev:
        for _ in range(3):
            release = anyio.Event()
            for _ in range(20):
                ev.start(Call(release.wait))
            await anyio.wait_all_tasks_blocked()
            release.set()
            await ev.run()
            assert 20 <= workers() <= 20 + EAGER


async def burn(ev: EventLoop) -> None:
    spend(0.0003)


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("how", ["ev", "outside"])
async def test_a_long_queue_can_be_cancelled_at_any_time(how: str, turns: int) -> None:
    """A task that had its time with the queue not empty is cancelled before its next turn."""
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            handles = [ev.start(burn) for _ in range(200)]
            for _ in range(turns):
                await checkpoint()
            (ev if how == "ev" else scope).cancel()
    assert scope.cancelled_caught == (how == "outside")
    assert all(handle.done for handle in handles)


async def test_a_wire_cancels_a_scope_round_the_loop_with_a_long_queue_behind_it() -> None:
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            for _ in range(3):
                ev.start(burn)
            ev.start(Call(scope.cancel))
            handles = [ev.start(burn) for _ in range(100)]
    assert scope.cancelled_caught
    assert all(handle.done for handle in handles)
