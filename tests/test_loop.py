"""The block: what begins in it and when, what it waits for, and how often it can be entered."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Wire, done, never

# Starting.


async def test_start_runs_nothing_itself() -> None:
    log: list[str] = []
    async with EventLoop() as ev:
        ev.start(Call(log.append, "begun"))
        assert log == []
        ev.start(lambda ev: ev.start(Call(log.append, "later")) and log.append("first"))
    assert log == ["begun", "first", "later"]


async def test_start_of_none_does_nothing() -> None:
    async with EventLoop() as ev:
        assert ev.start(None) is None
        await ev.run()
    assert ev.start(None) is None


async def test_wires_begin_in_the_order_in_which_they_were_started() -> None:
    """From the body, from wires and from handlers, whether or not they wait."""
    source = random.Random(4)
    started: list[int] = []
    begun: list[int] = []

    def start(ev: EventLoop) -> None:
        if len(started) < 10_000:
            started.append(len(started))
            shape = source.choice([step, waiting, failing])
            ev.start(Wire(shape, started[-1]), on_failure)

    def step(ev: EventLoop, n: int) -> None:
        begun.append(n)
        for _ in range(source.randrange(3)):
            start(ev)

    async def waiting(ev: EventLoop, n: int) -> None:
        begun.append(n)
        start(ev)
        for _ in range(source.randrange(3)):
            await checkpoint()
            start(ev)

    def failing(ev: EventLoop, n: int) -> None:
        begun.append(n)
        start(ev)
        raise ValueError

    def on_failure(ev: EventLoop, exc: Exception) -> Any:
        start(ev)
        return start

    async with EventLoop() as ev:
        while len(started) < 10_000:
            start(ev)
            if source.random() < 0.1:
                await checkpoint()
    assert begun == started == list(range(10_000))


async def test_start_works_from_everywhere_on_the_thread_of_the_loop() -> None:
    log: list[str] = []

    def note(name: str) -> Wire:
        return Call(checkpoint) >> Call(anyio.sleep, 0) >> Call(log.append, name)

    async def from_task() -> None:
        ev.start(note("task"))

    def fail(ev: EventLoop) -> None:
        raise ValueError

    async def inner(_: EventLoop) -> None:
        async with EventLoop() as nested:
            nested.start(lambda _: ev.start(note("nested loop")) and None)

    async with EventLoop() as ev:
        ev.start(note("body"))
        ev.start(lambda ev: ev.start(note("wire")) and None)
        ev.start(fail, lambda ev, exc: ev.start(note("handler")) and None)
        ev.start(Call(log.__len__).then(lambda n: ev.start(note("continuation")) and None))
        ev.start(inner)
        async with anyio.create_task_group() as tg:
            tg.start_soon(from_task)
        await anyio.to_thread.run_sync(anyio.from_thread.run_sync, ev.start, note("callback"))
    assert sorted(log) == sorted(
        ["body", "wire", "handler", "continuation", "nested loop", "task", "callback"]
    )


async def test_another_thread_is_told_what_to_call() -> None:
    async with EventLoop() as ev:
        for call, name in ((lambda: ev.start(done), "start"), (ev.cancel, "cancel")):
            with pytest.raises(RuntimeError, match=rf"from_thread.run_sync\(ev.{name}, "):
                await anyio.to_thread.run_sync(call)
        assert not ev.cancelled


OUTSIDE: dict[str, Callable[[EventLoop], Any]] = {
    "start": lambda ev: ev.start(done),
    "cancel": lambda ev: ev.cancel(),
    "run": lambda ev: ev.run().send(None),
}


@pytest.mark.parametrize("name", OUTSIDE)
async def test_outside_the_block_methods_say_so(name: str) -> None:
    use = OUTSIDE[name]
    message = rf"ev\.{name}\(\) works inside the block only: async with EventLoop\(\) as ev"
    ev = EventLoop()
    with pytest.raises(RuntimeError, match=message):
        use(ev)
    async with ev:
        pass
    with pytest.raises(RuntimeError, match=message):
        use(ev)


async def test_the_block_is_over_when_its_body_and_the_last_chain_are() -> None:
    async with EventLoop() as outer:
        over = anyio.Event()

        async def latecomer(_: EventLoop) -> None:
            nonlocal refused
            await handle.wait()
            with pytest.raises(RuntimeError, match="inside the block only"):
                ev.start(done)
            refused = True
            over.set()

        refused = False
        async with EventLoop() as ev:
            handle = ev.start(Call(anyio.wait_all_tasks_blocked))
            outer.start(latecomer)
        await over.wait()
    assert refused


async def test_leaving_the_block_waits_for_all_chains_and_for_those_that_they_start() -> None:
    log: list[int] = []

    async def generation(ev: EventLoop, n: int) -> None:
        await checkpoint()
        if n:
            ev.start(Wire(generation, n - 1))
            ev.start(Wire(generation, n - 1))
        await checkpoint()
        log.append(n)

    async with EventLoop() as outer:
        async with EventLoop() as ev:
            ev.start(Wire(generation, 5))
            outer.start(Call(checkpoint) * 3 >> Call(ev.start, Wire(generation, 2)))
        assert len(log) == 2**6 - 1 + 2**3 - 1


async def test_chains_started_while_everything_is_cancelled_never_begin() -> None:
    handles = []

    async def clean_up(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            handles.append(ev.start(Call(pytest.fail, "it began")))

    async with EventLoop() as ev:
        for _ in range(3):
            ev.start(clean_up)
        await anyio.wait_all_tasks_blocked()
        ev.cancel()
        handles.append(ev.start(Call(pytest.fail, "it began")))
    assert [handle.done for handle in handles] == [True] * 4


# Waiting for the wires.


async def test_run_waits_until_no_wire_is_left() -> None:
    log: list[str] = []
    async with EventLoop() as ev:
        await ev.run()
        ev.start(Call(checkpoint) * 3 >> (lambda ev: ev.start(Call(log.append, "end")) and None))
        await ev.run()
        assert log == ["end"]
        await ev.run(math.inf)
        ev.start(Call(log.append, "again"))
        await ev.run(60)
        assert log == ["end", "again"]


@pytest.mark.parametrize("timeout", [0, 0.001])
async def test_run_waits_for_so_long_and_cancels_nothing(timeout: float) -> None:
    release = anyio.Event()
    log: list[str] = []
    async with EventLoop() as ev:
        handle = ev.start(Call(release.wait) >> Call(log.append, "end"))
        await ev.run(timeout)
        assert not handle.done
        release.set()
        await ev.run()
        assert log == ["end"]
    assert not ev.timed_out
    assert not ev.cancelled


async def test_run_can_be_called_by_several_tasks() -> None:
    async with EventLoop() as ev, anyio.create_task_group() as tg:
        handle = ev.start(Call(checkpoint) * 5)
        for _ in range(3):
            tg.start_soon(ev.run)
        await ev.run()
        assert handle.done


async def test_run_waits_for_what_is_started_just_as_the_last_wire_ends() -> None:
    handles = []

    async def start_again() -> None:
        await handle.wait()
        handles.append(ev.start(Call(checkpoint) * 3))

    async with EventLoop() as ev, anyio.create_task_group() as tg:
        handle = ev.start(Call(checkpoint) * 3)
        tg.start_soon(start_again)
        await ev.run()
        assert all(handle.done for handle in handles)


async def test_run_sleeps_while_it_waits() -> None:
    async with EventLoop() as ev:
        ev.start(done)
        await ev.run()
        async with anyio.create_task_group() as tg:
            ev.start(never)
            tg.start_soon(ev.run)
            with anyio.fail_after(5):
                await anyio.wait_all_tasks_blocked()
            ev.cancel()


async def test_run_in_a_wire_would_wait_for_itself() -> None:
    errors: list[str] = []

    async def run(ev: EventLoop) -> None:
        with pytest.raises(RuntimeError) as info:
            await ev.run()
        errors.append(str(info.value))

    async def fail_later(ev: EventLoop) -> None:
        await checkpoint()
        raise ValueError

    async def other(_: EventLoop) -> None:
        async with EventLoop() as nested:
            nested.start(done)
            await nested.run()
            await run(ev)

    async with EventLoop() as ev:
        ev.start(run, name="r")
        ev.start(Call(checkpoint) >> run, name="r")
        ev.start(fail_later, lambda ev, exc: run(ev), name="r")
        ev.start(other, name="r")
    assert errors == ["wire 'r' would wait for itself in ev.run()"] * 4


# Entering.


async def test_a_loop_can_be_entered_again_whatever_happened() -> None:
    ev = EventLoop(0.1)
    log: list[int] = []

    async def once_more() -> None:
        async with ev:
            assert not ev.timed_out
            assert not ev.cancelled
            ev.start(Call(checkpoint) >> Call(log.append, 1))
        assert not ev.timed_out

    await once_more()
    async with ev:
        ev.start(never)
    assert ev.timed_out
    await once_more()
    async with ev:
        ev.start(never)
        ev.cancel()
    assert ev.cancelled
    await once_more()
    with pytest.RaisesGroup(ValueError):
        async with ev:
            ev.start(Call(int, "x"))
    await once_more()
    with anyio.move_on_after(0.001):
        async with ev:
            ev.start(never)
    await once_more()
    assert log == [1] * 5


async def test_entered_twice_at_once_a_loop_refuses_and_goes_on() -> None:
    log: list[int] = []

    async def enter() -> None:
        with pytest.raises(RuntimeError, match="entered"):
            async with ev:
                pytest.fail("it was entered")

    async with EventLoop() as ev:
        ev.start(Call(enter) >> Call(log.append, 1))
        await enter()
        ev.start(Call(log.append, 2))
    assert sorted(log) == [1, 2]


def test_a_loop_can_be_used_by_one_event_loop_after_another(anyio_backend: Any) -> None:
    ev = EventLoop()
    log: list[int] = []

    async def main(n: int) -> None:
        async with ev:
            ev.start(Call(checkpoint) >> Call(log.append, n))
            assert len(log) == n

    backend, options = anyio_backend
    for n in range(3):
        anyio.run(main, n, backend=backend, backend_options=options)
    assert log == [0, 1, 2]


async def test_loops_nest() -> None:
    log: list[str] = []

    async def inner(ev: EventLoop, n: int) -> None:
        async with EventLoop(0.1 if n == 1 else None) as nested:
            nested.start(Call(checkpoint) >> Call(log.append, f"in {n}"))
            ev.start(Call(log.append, f"out {n}"))
            if n == 1:
                nested.start(never)
            elif n == 2:
                nested.start(Wire(inner, 3))
        log.append(f"left {n}")

    async with EventLoop() as ev:
        for n in range(3):
            ev.start(Wire(inner, n))
    assert sorted(log) == [f"{what} {n}" for what in ("in", "left", "out") for n in range(4)]
    assert log.index("left 3") < log.index("left 2")
    assert not ev.timed_out


async def test_it_can_be_entered_while_another_thread_imports_trio(
    monkeypatch: pytest.MonkeyPatch, backend_name: str
) -> None:
    """Of a module that is being imported not all is there."""
    if backend_name != "trio":
        monkeypatch.setitem(sys.modules, "trio", ModuleType("trio"))
    async with EventLoop() as ev:
        ev.start(done)
