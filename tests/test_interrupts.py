"""What is no failure: interrupts, cancellation from outside, and failures on the way out."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Forever, UnhandledException, Wire, done, never

from .native import on_asyncio, own_task
from .oracle import FULL
from .steps import (
    INTERRUPTS,
    clean_up,
    fail,
    fail_as_group,
    fail_later,
    fail_when_cancelled,
    raised_by,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# Interrupts.


@pytest.mark.parametrize("sort", INTERRUPTS)
@pytest.mark.parametrize("step", [fail, fail_later, fail_as_group, fail_when_cancelled])
async def test_an_interrupt_in_a_wire_leaves_plain_after_the_clean_up(
    step: Any, sort: type[BaseException]
) -> None:
    interrupt = sort(3)
    log: list[str] = []
    handles = []

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log))
        await anyio.wait_all_tasks_blocked()
        handles.append(ev.start(Wire(step, interrupt)))
        if step is fail_when_cancelled:
            await anyio.wait_all_tasks_blocked()
            handles[0].cancel()
        await anyio.sleep_forever()

    assert await raised_by(use, sort) is interrupt
    assert log == ["cleaned up"]
    assert handles[0].exception is None


async def test_an_interrupt_goes_before_failures_and_carries_them() -> None:
    failure = ValueError()

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, failure))
        await anyio.wait_all_tasks_blocked()
        ev.start(Wire(fail, BaseExceptionGroup("", [KeyboardInterrupt(), KeyError()])))

    cause = (await raised_by(use, KeyboardInterrupt)).__cause__
    assert isinstance(cause, UnhandledException)
    assert failure in cause.exceptions
    assert len(cause.exceptions) == 2


async def test_an_interrupt_of_the_body_carries_the_failures_of_wires() -> None:
    failure = ValueError()

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, failure))
        await anyio.wait_all_tasks_blocked()
        raise SystemExit(4)

    exc = await raised_by(use, SystemExit)
    assert exc.code == 4
    assert isinstance(exc.__cause__, UnhandledException)
    assert exc.__cause__.exceptions == (failure,)


async def test_closing_a_generator_with_a_block_in_it_loses_no_failure() -> None:
    failure = ValueError()

    async def generate() -> AsyncIterator[int]:
        async with EventLoop() as ev:
            ev.start(Wire(fail_when_cancelled, failure))
            await anyio.wait_all_tasks_blocked()
            yield 1

    generator = generate()
    assert await anext(generator) == 1
    with pytest.raises(UnhandledException) as raised:
        await generator.aclose()
    assert raised.value.exceptions == (failure,)


async def test_failures_of_all_loops_leave_with_an_interrupt() -> None:
    outer, inner = ValueError(), KeyError()

    async def nested(ev: EventLoop) -> None:
        async with EventLoop() as own:
            own.start(Wire(fail_when_cancelled, inner))
            await anyio.wait_all_tasks_blocked()
            own.start(Wire(fail, KeyboardInterrupt()))

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, outer))
        ev.start(nested)
        ev.start(Wire(fail_when_cancelled, SystemExit()))

    cause = (await raised_by(use, KeyboardInterrupt)).__cause__
    assert isinstance(cause, UnhandledException)
    assert set(cause.exceptions) == {outer, inner}


# Cancellation from outside.


@pytest.mark.parametrize("in_body", [True, False], ids=["in the body", "while leaving"])
async def test_cancellation_from_outside_cleans_up_and_goes_on_to_its_scope(in_body: bool) -> None:
    log: list[str] = []
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            ev.start(Wire(clean_up, log))
            ev.start(Call(anyio.wait_all_tasks_blocked) >> Call(scope.cancel))
            if in_body:
                await clean_up(ev, log)
        pytest.fail("it was not cancelled")
    assert scope.cancelled_caught
    assert log == ["cleaned up"] * (1 + in_body)
    assert not ev.cancelled
    assert not ev.timed_out


async def test_cancellation_from_outside_goes_on_even_if_nothing_had_begun() -> None:
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            ev.start(Call(pytest.fail, "it began"))
            scope.cancel()
        pytest.fail("it was not cancelled")
    assert scope.cancelled_caught


async def test_a_failure_in_clean_up_after_cancellation_from_outside_is_raised() -> None:
    with pytest.RaisesGroup(ValueError), anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            ev.start(Wire(fail_when_cancelled, ValueError()))
            ev.start(Call(anyio.wait_all_tasks_blocked) >> Call(scope.cancel))


@pytest.mark.parametrize("how", ["time", "cancel", "handle"])
async def test_a_failure_in_clean_up_is_raised(how: str) -> None:
    with pytest.RaisesGroup(ValueError):
        async with EventLoop(0.1 if how == "time" else None) as ev:
            handle = ev.start(Wire(fail_when_cancelled, ValueError()))
            await anyio.wait_all_tasks_blocked()
            {"cancel": ev.cancel, "handle": handle.cancel}.get(how, int)()
    assert type(handle.exception) is ValueError
    assert ev.timed_out == (how == "time")
    assert ev.cancelled == (how == "cancel")


async def test_a_group_of_nothing_but_cancellation_is_a_cancellation() -> None:
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            ev.start(never)
            scope.cancel()
            try:
                await checkpoint()
            except BaseException as exc:
                raise BaseExceptionGroup("", [exc]) from None
        pytest.fail("it was not cancelled")
    assert scope.cancelled_caught


@on_asyncio
async def test_the_task_of_the_block_can_be_cancelled_by_whoever_holds_it() -> None:
    log: list[str] = []
    tasks: list[Any] = []

    async def block(*, in_body: bool) -> None:
        tasks.append(own_task())
        async with EventLoop() as ev:
            ev.start(Wire(clean_up, log))
            if in_body:
                await anyio.sleep_forever()

    for in_body in (False, True):
        async with anyio.create_task_group() as tg:
            tg.start_soon(lambda in_body=in_body: block(in_body=in_body))
            await anyio.wait_all_tasks_blocked()
            tasks[-1].cancel()
        assert tasks[-1].cancelled()
    assert log == ["cleaned up"] * 2


# Whatever happens, nothing is left.


@pytest.mark.stress
async def test_random_cancellations_leave_nothing() -> None:
    before = len(anyio.get_running_tasks())
    for seed in range(2000 if FULL else 200):
        await cancel_at_random(random.Random(seed))
        assert len(anyio.get_running_tasks()) == before, f"seed {seed}"


async def cancel_at_random(source: random.Random) -> None:
    """Run loops in loops, and end them in some way at some moment."""
    begun = ended = 0
    handles = []

    async def work(ev: EventLoop) -> Any:
        nonlocal begun, ended
        begun += 1
        try:
            for _ in range(source.randrange(8)):
                await checkpoint()
                if source.random() < 0.3:
                    handles.append(ev.start(source.choice([work, nest, done * 3])))
            return source.choice([None, None, Forever(Call(checkpoint))])
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            ended += 1

    async def nest(ev: EventLoop) -> None:
        async with EventLoop() as nested:
            handles.append(nested.start(work))

    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            for _ in range(source.randrange(1, 6)):
                handles.append(ev.start(source.choice([work, nest])))
            for _ in range(source.randrange(15)):
                await checkpoint()
                if source.random() < 0.3:
                    source.choice(handles).cancel()
            source.choice([ev, scope]).cancel()
    assert all(handle.done for handle in handles)
    assert begun == ended
