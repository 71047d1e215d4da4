"""Whose context runs: each chain has its own, and so has a stretch of a task."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import EventLoop, Wire
from aiowire._context import InContext, InStretches

var: ContextVar[Any] = ContextVar("var", default="unset")

# Chains.


async def test_each_chain_has_its_own_copy_of_the_context_at_its_start() -> None:
    seen = []

    async def look(ev: EventLoop, n: int) -> Any:
        seen.append((n, var.get()))
        var.set(("chain", n))
        await checkpoint()
        assert var.get() == ("chain", n)
        return Wire(look_again, n)

    def look_again(ev: EventLoop, n: int) -> None:
        assert var.get() == ("chain", n)

    async with EventLoop() as ev:
        for n in range(20):
            var.set(("body", n))
            ev.start(Wire(look, n))
        var.set("after")
        await ev.run()
        assert var.get() == "after"
        ev.start(Wire(look, 20))
    assert sorted(seen) == [*((n, ("body", n)) for n in range(20)), (20, "after")]


async def test_chains_that_share_a_task_share_no_context() -> None:
    seen = []

    def look(ev: EventLoop, n: int) -> None:
        seen.append(var.get())
        var.set(n)

    async with EventLoop() as ev:
        for n in range(100):
            ev.start(Wire(look, n))
    assert seen == ["unset"] * 100


async def test_a_chain_started_by_a_chain_begins_with_the_context_of_that() -> None:
    seen = []

    async def parent(ev: EventLoop) -> None:
        var.set("parent")
        ev.start(child)
        var.set("later")
        await checkpoint()
        await anyio.to_thread.run_sync(lambda: seen.append(var.get()))

    def child(ev: EventLoop) -> None:
        seen.append(var.get())

    async with EventLoop() as ev:
        ev.start(parent)
    assert seen == ["parent", "later"]


async def test_handlers_and_clean_up_run_in_the_context_of_their_chain() -> None:
    seen = []

    async def fail(ev: EventLoop) -> None:
        var.set("chain")
        await checkpoint()
        raise ValueError

    async def handle(ev: EventLoop, exc: Exception) -> Any:
        seen.append(var.get())
        await checkpoint()
        return wait

    async def wait(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(var.get())

    async with EventLoop() as ev:
        ev.start(fail, handle)
        await anyio.wait_all_tasks_blocked()
        ev.cancel()
    assert seen == ["chain"] * 2
    assert var.get() == "unset"


# A stretch of a task.


async def test_each_stretch_runs_in_the_context_and_the_rest_of_the_task_does_not() -> None:
    async def stretch() -> str:
        for value in ("first", "second"):
            seen.append(var.get())
            var.set(value)
            await checkpoint()
        return var.get()

    seen: list[str] = []
    context = copy_context()
    context.run(var.set, "before")
    assert await InContext(context, stretch()) == "second"
    assert seen == ["before", "first"]
    assert var.get() == "unset"
    assert context[var] == "second"


async def test_cancellation_and_failures_pass_through() -> None:
    async def stretch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(var.get())
            raise ValueError

    seen: list[str] = []
    context = copy_context()
    context.run(var.set, "inside")
    with pytest.raises(ValueError), anyio.move_on_after(0.001):
        await InContext(context, stretch())
    assert seen == ["inside"]


def test_it_is_an_iterator_that_can_be_closed() -> None:
    class Pause:
        def __await__(self) -> Any:
            yield "pause"

    async def stretch() -> None:
        try:
            await Pause()
        finally:
            seen.append(var.get())

    seen: list[str] = []
    context = copy_context()
    context.run(var.set, "inside")
    steps = iter(InContext(context, stretch()))
    assert next(steps) == "pause"
    steps.close()  # type: ignore[attr-defined]
    assert seen == ["inside"]
    with pytest.raises(ValueError):
        InContext(context, stretch()).throw(ValueError)


class Pause:
    """Something to await that no event loop knows."""

    def __await__(self) -> Any:
        return (yield "pause")


async def test_a_function_is_called_after_each_stretch_however_it_ends() -> None:
    log: list[str] = []

    async def stretches(ending: Exception | None) -> str:
        log.append("first")
        await checkpoint()
        log.append("last")
        if ending is not None:
            raise ending
        return "result"

    assert await InStretches(stretches(None), lambda: log.append("after")) == "result"
    assert log[:2] == ["first", "after"]
    assert log[-2:] == ["last", "after"]
    with pytest.raises(ValueError):
        await InStretches(stretches(ValueError()), lambda: log.append("after"))
    assert log[-2:] == ["last", "after"]


def test_stretches_can_be_sent_to_thrown_into_and_closed() -> None:
    log: list[Any] = []

    async def stretches() -> None:
        log.append(await Pause())
        try:
            await Pause()
        except ValueError:
            log.append("thrown")
        try:
            await Pause()
        finally:
            log.append("closed")

    steps: Any = iter(InStretches(stretches(), lambda: log.append("after")))
    assert next(steps) == "pause"
    assert steps.send("sent") == "pause"
    assert steps.throw(ValueError) == "pause"
    steps.close()
    assert log == ["after", "sent", "after", "thrown", "after", "closed"]
