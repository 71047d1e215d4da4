"""The tasks that run chains: which chains share one, and what is each chain's own all the same."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from types import GeneratorType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Wire, done, never
from aiowire._chain import ENDED, Handle, this_turn
from aiowire._worker import EAGER, Worker

from .native import eager_tasks, needs_eager_tasks, on_asyncio, own_task, times_out

if sys.version_info < (3, 11):
    pass

here: ContextVar[str] = ContextVar("here", default="nowhere")


def task_id() -> int:
    return anyio.get_current_task().id


def workers() -> int:
    return sum(task.name == "aiowire worker" for task in anyio.get_running_tasks())


# Which task runs which chain.


async def test_chains_that_do_not_wait_share_a_task() -> None:
    tasks: Counter[int] = Counter()
    async with EventLoop() as ev:
        for _ in range(1000):
            ev.start(lambda ev: tasks.update([task_id()]))
        await ev.run()
        assert workers() <= EAGER + 1
    assert tasks.total() == 1000
    assert len(tasks) <= EAGER + 1


async def test_chains_that_wait_at_the_same_time_have_a_task_each() -> None:
    tasks = set()

    async def wait(ev: EventLoop) -> None:
        tasks.add(task_id())
        await release.wait()

    release = anyio.Event()
    async with EventLoop() as ev:
        for _ in range(100):
            ev.start(wait)
        await anyio.wait_all_tasks_blocked()
        assert len(tasks) == 100
        release.set()


async def test_a_task_is_used_again_when_its_chain_has_ended() -> None:
    async with EventLoop() as ev:
        for _ in range(20):
            for _ in range(10):
                ev.start(Call(checkpoint) * 2)
            await ev.run()
        assert workers() <= 10 + EAGER


async def test_a_chain_stays_in_one_task() -> None:
    strayed = 0

    async def stay(ev: EventLoop, n: int) -> Any:
        nonlocal strayed
        task = task_id()
        scope = anyio.CancelScope()
        with scope:  # complains if it is left in another task
            for _ in range(n % 5):
                await checkpoint()
                strayed += task_id() != task

        def next_step(ev: EventLoop) -> Any:
            nonlocal strayed
            strayed += task_id() != task
            return Wire(stay, n - 1) if n else None

        return next_step

    async with EventLoop() as ev:
        for n in range(30):
            ev.start(Wire(stay, n))
    assert strayed == 0


async def test_a_wire_can_leave_a_task_group_and_a_lock_where_it_entered_them() -> None:
    log: list[str] = []
    lock = anyio.Lock()

    async def work(ev: EventLoop) -> None:
        async with lock, anyio.create_task_group() as tg:
            tg.start_soon(checkpoint)
            await checkpoint()
            log.append("worked")

    async with EventLoop() as ev:
        for _ in range(20):
            ev.start(work)
    assert log == ["worked"] * 20


@pytest.mark.parametrize("slow", [False, True], ids=["quick passes", "slow passes"])
async def test_a_burst_of_chains_that_wait_begins_a_few_in_each_pass(
    slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them where it is not the chains that make the passes slow."""
    now = begun = 0
    monkeypatch.setattr("aiowire._crew.monotonic", lambda: now)
    monkeypatch.setattr("aiowire._worker.monotonic", lambda: now)

    async def begin(ev: EventLoop) -> None:
        nonlocal begun
        begun += 1
        await release.wait()

    release = anyio.Event()
    in_a_pass = []
    async with EventLoop() as ev:
        for _ in range(500):
            ev.start(begin)
        while begun < 500:
            before = begun
            now += slow
            await checkpoint()
            in_a_pass.append(begun - before)
        release.set()
    # The order of tasks in a pass is the event loop's affair.
    assert max(in_a_pass[:2]) <= 2 * EAGER
    assert max(in_a_pass) > 3 * EAGER if slow else max(in_a_pass) <= 2 * EAGER
    assert len(in_a_pass) < (100 if slow else 500)


# Tasks of asyncio's own.


@on_asyncio
async def test_a_wire_whose_task_is_cancelled_from_outside_ends_alone() -> None:
    log: list[Any] = []
    tasks: list[Any] = []

    async def victim(ev: EventLoop) -> None:
        tasks.append(own_task())
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cleaned up")

    async with EventLoop() as ev:
        handle = ev.start(victim, lambda ev, exc: log.append(exc))
        other = ev.start(Call(anyio.wait_all_tasks_blocked) >> Call(checkpoint))
        await anyio.wait_all_tasks_blocked()
        tasks[0].cancel()
        await handle.wait()
        assert handle.exception is None
        ev.start(Call(log.append, "next"))
    assert log == ["cleaned up", "next"]
    assert other.done
    assert not ev.cancelled


@on_asyncio
@pytest.mark.parametrize("then", ["ends", "goes on", "starts others"])
async def test_cancelling_the_task_of_a_chain_that_has_ended_cancels_nothing(then: str) -> None:
    log: list[str] = []
    tasks: list[Any] = []

    async def brief(ev: EventLoop) -> None:
        tasks.append(own_task())
        await checkpoint()

    async with EventLoop() as ev:
        goes_on = anyio.Event()
        ev.start(Call(goes_on.wait) >> Call(log.append, "other"))
        for handle in [ev.start(brief) for _ in range(3)]:
            await handle.wait()
        await anyio.wait_all_tasks_blocked()
        new = len(set(tasks)) if then == "starts others" else 0
        for task in set(tasks):
            if new:
                ev.start(Call(log.append, "new"))
            task.cancel()
            if then != "ends":
                await checkpoint()
        for _ in range(10):
            ev.start(Call(checkpoint) >> Call(log.append, "later"))
        goes_on.set()
    assert sorted(log) == ["later"] * 10 + ["new"] * new + ["other"]
    assert not ev.cancelled


@on_asyncio
async def test_a_wire_that_cancels_its_own_task_ends_alone() -> None:
    log: list[str] = []

    async def suicide(ev: EventLoop) -> None:
        own_task().cancel()
        await checkpoint()
        log.append("survived")

    async with EventLoop() as ev:
        for _ in range(3):
            ev.start(suicide)
            ev.start(Call(checkpoint) >> Call(log.append, "next"))
    assert log == ["next"] * 3


@on_asyncio
async def test_a_wire_can_have_a_time_limit_of_asyncio_and_go_on() -> None:
    log: list[str] = []

    async def limited(ev: EventLoop) -> Any:
        assert await times_out(anyio.sleep_forever(), 0.01)
        log.append("timed out")
        await checkpoint()
        return Call(log.append, "the rest")

    async with EventLoop() as ev:
        ev.start(limited >> Call(checkpoint))
    assert log == ["timed out", "the rest"]


@on_asyncio
@needs_eager_tasks
async def test_eager_tasks_make_no_difference() -> None:
    log: list[Any] = []

    async def step(ev: EventLoop, n: int) -> Any:
        log.append((n, "begun"))
        await checkpoint()
        log.append((n, "went on"))

    with eager_tasks():
        async with EventLoop() as ev:
            for n in range(20):
                ev.start(Wire(step, n) >> Wire(step, n + 100))
            victim = ev.start(never)
            assert log == []
            await anyio.wait_all_tasks_blocked()
            victim.cancel()
        with pytest.RaisesGroup(ValueError):
            async with EventLoop() as ev:
                ev.start(never)
                ev.start(Call(checkpoint) >> Call(int, "x"))
    assert [n for n, what in log if what == "begun" and n < 100] == list(range(20))
    assert len(log) == 80
    assert workers() == 0


# What tools see of a task.


def stack_of(awaited: Any) -> Iterator[str]:
    """The functions that a task waits in, the way that tools find them."""
    while awaited is not None:
        is_generator = isinstance(awaited, GeneratorType)
        frame = getattr(awaited, "gi_frame" if is_generator else "cr_frame", None)
        if frame is not None:
            assert (awaited.gi_code if is_generator else awaited.cr_code) is frame.f_code
            yield frame.f_code.co_name
        awaited = getattr(awaited, "gi_yieldfrom" if is_generator else "cr_await", None)


async def inner_wait() -> None:
    await anyio.sleep_forever()


async def test_the_stack_of_a_waiting_task_shows_the_wire() -> None:
    async with EventLoop() as ev:
        handle = ev.start(done >> Call(inner_wait))
        idle = Worker(ev._crew)
        assert list(stack_of(idle)) == []
        await anyio.wait_all_tasks_blocked()
        names = list(stack_of(handle._state))
        assert names[0] == "follow"
        assert "inner_wait" in names
        ev.cancel()


class Pause:
    """Something to await that no event loop knows."""

    def __await__(self) -> Any:
        return (yield "pause")


class SaysEnded:
    """Something to await that says what the state of a chain says at its end."""

    def __await__(self) -> Any:
        return (yield ENDED)


async def test_a_worker_is_a_coroutine_that_can_be_sent_to_thrown_into_and_closed() -> None:
    log: list[Any] = []

    async def wire(ev: EventLoop) -> None:
        here.set("in the chain")
        log.append(await Pause())
        try:
            await Pause()
        except ValueError:
            log.append("thrown")
        try:
            await Pause()
        finally:
            log.append(("closed", here.get()))

    async with EventLoop() as ev:
        ev.start(wire)
        worker = Worker(ev._crew)  # begins before the one that is on its way
        steps = iter(worker)
        assert next(steps) == "pause"
        assert steps.send("sent") == "pause"
        assert steps.throw(ValueError) == "pause"
        worker.close()
        ev.cancel()
    assert log == ["sent", "thrown", ("closed", "in the chain")]
    assert here.get() == "nowhere"


async def test_what_a_chain_waits_for_is_not_taken_for_its_end() -> None:
    async def wire(ev: EventLoop) -> None:
        await SaysEnded()

    async with EventLoop() as ev:
        handle = ev.start(wire)
        worker = Worker(ev._crew)
        assert next(iter(worker)) is ENDED
        assert not handle.done
        worker.close()
        ev.cancel()


async def test_a_worker_without_a_chain_can_be_closed() -> None:
    async with EventLoop() as ev:
        Worker(ev._crew).close()
        worker = Worker(ev._crew)
        worker.send(None)  # finds nothing to do, and waits
        worker.close()
        assert worker.cr_frame is None
        ev._crew.pool.clear()


async def test_a_chain_that_was_broken_off_is_not_taken_for_one_that_runs() -> None:
    """That is what an interrupt between two instructions can leave behind."""
    async with EventLoop() as ev:
        here = sys._getframe().f_code
        ev._crew.turn.chain = Handle(ev, ev, done, copy_context(), here, 0)
    assert this_turn().chain is None
