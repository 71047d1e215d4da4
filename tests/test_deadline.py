"""How a block ends before its time: at its deadline, and when it is cancelled."""

from __future__ import annotations

import math
import time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Forever, Wire, done, never

# Time.


@pytest.mark.parametrize("where", ["body", "wire", "both"])
async def test_at_the_deadline_everything_is_cancelled_and_cleaned_up(where: str) -> None:
    log: list[str] = []

    async def work(ev: EventLoop, name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            log.append(name)

    async with EventLoop(0.1) as ev:
        assert not ev.timed_out
        if where != "body":
            ev.start(Wire(work, "wire"))
        if where != "wire":
            await work(ev, "body")
    assert sorted(log) == {"both": ["body", "wire"]}.get(where, [where])
    assert ev.timed_out
    assert not ev.cancelled


@pytest.mark.parametrize("timeout", [None, math.inf, 60, 1e308])
async def test_a_block_that_ends_in_time_has_not_timed_out(timeout: Any) -> None:
    async with EventLoop(timeout) as ev:
        ev.start(Call(checkpoint) * 3)
    assert not ev.timed_out
    assert not ev.cancelled


async def test_with_no_time_at_all_nothing_begins() -> None:
    async with EventLoop(0) as ev:
        handle = ev.start(Call(pytest.fail, "it began"))
        await anyio.sleep_forever()
    assert ev.timed_out
    assert handle.done


@pytest.mark.parametrize("who", ["body", "wire"])
async def test_a_block_that_overran_its_time_without_a_pause_has_timed_out(who: str) -> None:
    async with EventLoop(0.001) as ev:
        if who == "body":
            time.sleep(0.01)  # noqa: ASYNC251
        else:
            ev.start(Call(time.sleep, 0.01))
    assert ev.timed_out


async def test_the_time_counts_from_entering_the_block() -> None:
    ev = EventLoop(0.5)
    await anyio.sleep(0.2)
    began = anyio.current_time()
    async with ev:
        await anyio.sleep(0.4)
        ev.start(never)
    assert 0.49 < anyio.current_time() - began < 0.89
    assert ev.timed_out


async def test_steps_that_never_block_do_not_hold_up_the_deadline() -> None:
    async with EventLoop(0.01) as ev:
        ev.start(Forever(done))
    assert ev.timed_out


# Cancelling.


@pytest.mark.parametrize("who", ["body", "wire", "handler", "task"])
async def test_cancel_ends_everything_at_once_and_quietly(who: str) -> None:
    cleaned_up: list[int] = []

    async def work(ev: EventLoop, n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned_up.append(n)

    async def fail(ev: EventLoop) -> None:
        raise ValueError

    async with EventLoop() as outer, EventLoop() as ev:
        handles = [ev.start(Wire(work, n)) for n in range(5)]
        await anyio.wait_all_tasks_blocked()
        assert not ev.cancelled
        if who == "body":
            queued = ev.start(Call(pytest.fail, "it began"))
            ev.cancel()
            assert ev.cancelled
            assert queued.done
        if who == "wire":
            ev.start(lambda ev: ev.cancel())
        if who == "handler":
            ev.start(fail, lambda ev, exc: ev.cancel())
        if who == "task":
            outer.start(Call(ev.cancel))
        late = ev.start(Call(checkpoint) >> Call(pytest.fail, "it went on"))
        ev.start(Call(anyio.sleep_forever))
        await anyio.sleep_forever()
    assert sorted(cleaned_up) == list(range(5))
    assert all(handle.done for handle in [*handles, late])
    assert ev.cancelled
    assert not ev.timed_out
    assert not outer.cancelled


async def test_a_clean_up_can_wait_for_what_it_starts_which_is_cancelled() -> None:
    log: list[bool] = []

    async def work(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()  # the idle tasks are gone
                handle = ev.start(Call(pytest.fail, "it began"))
                await handle.wait()
                log.append(handle.done)

    async with EventLoop() as ev:
        for _ in range(5):
            ev.start(Call(checkpoint))
        await ev.run()
        ev.start(work)
        await anyio.wait_all_tasks_blocked()
        ev.cancel()
    assert log == [True]


async def test_a_slow_clean_up_under_a_shield_costs_no_processor_time() -> None:
    async def work(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)

    async with EventLoop() as ev:
        for _ in range(5):
            ev.start(work)
        await anyio.wait_all_tasks_blocked()
        before = time.process_time()
        ev.cancel()
    assert time.process_time() - before < 0.1
