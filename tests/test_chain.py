"""A started wire: what its handle tells, and how it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Forever, Handle, Sequence, Wire, done, never

from .clock import Clock, clock
from .support import label

__all__ = ["clock"]


class Guard:
    """A wire that waits until it is cancelled, and then for its clean-up."""

    def __init__(self) -> None:
        self.waits = anyio.Event()
        self.may_end = anyio.Event()
        self.cleaned_up = False

    async def __call__(self, ev: EventLoop) -> None:
        try:
            self.waits.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self.may_end.wait()
            self.cleaned_up = True


# Handles.


async def test_done_is_true_once_the_chain_has_ended() -> None:
    seen = []
    release = anyio.Event()

    async def step(ev: EventLoop) -> Any:
        seen.append(handle.done)
        await release.wait()
        return last

    def last(ev: EventLoop) -> None:
        seen.append(handle.done)

    async with EventLoop() as ev:
        handle = ev.start(step)
        seen.append(handle.done)
        release.set()
        await handle.wait()
        seen.append(handle.done)
    assert seen == [False, False, False, True]


async def test_a_name_is_given_or_that_of_the_wire() -> None:
    def greet(ev: EventLoop) -> None: ...

    async with EventLoop() as ev:
        assert ev.start(greet).name == "greet"
        assert ev.start(Call(print, end="") * 2).name == "Call(print, end='') * 2"
        assert ev.start(greet, name="greeter").name == "greeter"
        assert ev.start(greet, name="").name == ""


async def test_a_handle_shows_its_name_and_state() -> None:
    async with EventLoop() as ev:
        handle = ev.start(never, name="idler")
        assert repr(handle) == "<aiowire.Handle 'idler' waiting to begin>"
        await anyio.wait_all_tasks_blocked()
        assert repr(handle) == "<aiowire.Handle 'idler' running>"
        handle.cancel()
        await handle.wait()
        assert repr(handle) == "<aiowire.Handle 'idler' done>"


async def test_the_exception_is_the_failure_that_the_chain_ended_with() -> None:
    failure = ValueError()

    def fail(ev: EventLoop) -> None:
        assert failed.exception is None
        raise failure

    with pytest.RaisesGroup(ValueError):
        async with EventLoop() as ev:
            handled = ev.start(fail_with(KeyError()), lambda ev, exc: None)
            ended = ev.start(done)
            cancelled = ev.start(never)
            await ended.wait()
            failed = ev.start(fail)
    assert failed.exception is failure
    assert [h.exception for h in (handled, ended, cancelled)] == [None] * 3
    assert all(h.done for h in (handled, ended, cancelled, failed))


def fail_with(exc: BaseException) -> Callable[[EventLoop], None]:
    def fail(ev: EventLoop) -> None:
        raise exc

    return fail


async def test_wait_returns_for_everybody_when_the_chain_has_ended() -> None:
    log: list[str] = []
    guard = Guard()

    async def waiter(ev: EventLoop) -> None:
        await handle.wait()
        log.append("chain")

    async with EventLoop() as ev, anyio.create_task_group() as tg:
        handle = ev.start(guard)
        for _ in range(2):
            ev.start(waiter)
        tg.start_soon(waiter, ev)
        await guard.waits.wait()
        handle.cancel()
        await anyio.wait_all_tasks_blocked()
        assert log == []
        guard.may_end.set()
        await handle.wait()
        assert guard.cleaned_up
        await handle.wait()
    assert log == ["chain"] * 3


@pytest.mark.parametrize("ending", [done, never, fail_with(ValueError())], ids=label)
async def test_wait_returns_however_the_chain_ends(ending: Any) -> None:
    async with EventLoop() as outer:

        async def inner(_: EventLoop) -> None:
            nonlocal handle
            async with EventLoop() as ev:
                handle = ev.start(ending)
                started.set()
                await anyio.wait_all_tasks_blocked()
                ev.cancel()

        handle: Handle
        started = anyio.Event()
        outer.start(inner, lambda ev, exc: None)
        await started.wait()
        await handle.wait()
        assert handle.done


async def test_a_chain_cannot_wait_for_itself() -> None:
    async def wait(ev: EventLoop) -> None:
        await checkpoint()
        with pytest.raises(RuntimeError, match="'selfish' cannot wait for its own end"):
            await handle.wait()

    async with EventLoop() as ev:
        handle = ev.start(wait, name="selfish")


async def test_cancelling_who_waits_leaves_the_chain_alone() -> None:
    async with EventLoop() as ev:
        handle = ev.start(never)
        with anyio.move_on_after(0.001):
            await handle.wait()
        assert not handle.done
        handle.cancel()


# Cancelling.


async def test_cancelled_before_it_begins_a_chain_never_does() -> None:
    log: list[int] = []
    async with EventLoop() as ev:
        handles = [ev.start(Call(log.append, n)) for n in range(5)]
        handles[1].cancel()
        assert handles[1].done
        handles[3].cancel()
        handles[3].cancel()
        await handles[3].wait()
        assert not handles[4].done or log
    assert log == [0, 2, 4]
    assert all(h.done for h in handles)


async def test_a_wire_can_cancel_the_ones_behind_it() -> None:
    log: list[int] = []
    async with EventLoop() as ev:
        ev.start(lambda ev: [h.cancel() for h in handles[::2]] and None)
        handles = [ev.start(Call(log.append, n)) for n in range(5)]
    assert log == [1, 3]


async def test_cancelled_while_it_waits_a_chain_cleans_up_and_the_others_go_on() -> None:
    guard, other = Guard(), Guard()
    async with EventLoop() as ev:
        handle = ev.start(Sequence(guard, Call(pytest.fail, "it went on")))
        bystander = ev.start(other)
        await guard.waits.wait()
        await other.waits.wait()
        handle.cancel()
        assert not handle.done
        await anyio.wait_all_tasks_blocked()
        assert not handle.done
        guard.may_end.set()
        await handle.wait()
        assert guard.cleaned_up
        assert not bystander.done
        other.may_end.set()
        bystander.cancel()
    assert not ev.cancelled


async def test_cancelled_after_its_end_nothing_happens() -> None:
    async with EventLoop() as ev:
        handle = ev.start(done)
        await handle.wait()
        handle.cancel()
        later = ev.start(Call(checkpoint) * 3)
    handle.cancel()
    later.cancel()


HOW_TO_CANCEL: dict[str, Callable[[EventLoop, Handle], None]] = {
    "handle.cancel": lambda ev, handle: handle.cancel(),
    "ev.cancel": lambda ev, handle: ev.cancel(),
}


@pytest.mark.parametrize("cancel", HOW_TO_CANCEL.values(), ids=HOW_TO_CANCEL)
@pytest.mark.parametrize("begun", [False, True], ids=["in its first turn", "in a later turn"])
@pytest.mark.parametrize("shape", ["itself", "states", "sequence", "forever", "handler"])
async def test_cancelling_itself_a_chain_stops_at_the_next_step_boundary(
    cancel: Any, begun: bool, shape: str, clock: Clock
) -> None:
    steps = 0

    def step(ev: EventLoop) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            cancel(ev, handle)
        if steps > 10:
            pytest.fail("it went on and on")
        return {"itself": step, "states": Wire(step)}.get(shape)

    def fail(ev: EventLoop) -> None:
        step(ev)
        raise ValueError

    wires = {"sequence": Sequence(*[step] * 10), "forever": Forever(step), "handler": fail}
    wire = wires.get(shape, step)
    async with EventLoop() as ev:
        first = Call(anyio.wait_all_tasks_blocked) if begun else done
        handle = ev.start(first >> wire, lambda ev, exc: wire)
    assert steps == 3
    assert handle.done
    assert handle.exception is None


async def test_cancelling_the_loop_round_its_own_a_chain_stops_at_the_next_step_boundary() -> None:
    steps = 0

    def step(ev: EventLoop) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            outer.cancel()
        return step if steps < 10 else None

    async def inner(_: EventLoop) -> None:
        async with EventLoop() as ev:
            ev.start(step)

    async with EventLoop() as outer:
        outer.start(inner)
    assert steps == 3


async def test_cancelling_itself_in_its_last_step_a_chain_has_ended() -> None:
    log: list[str] = []
    async with EventLoop() as ev:
        handle = ev.start(lambda ev: handle.cancel())
        after = ev.start(Call(checkpoint) >> Call(log.append, "next"))
    assert handle.done
    assert after.done
    assert log == ["next"]


async def test_a_chain_that_refuses_its_cancellation_goes_on_until_the_next_wait() -> None:
    log: list[str] = []

    async def refuse(ev: EventLoop) -> Any:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            log.append("refused")
        return Call(log.append, "stays cancelled")

    async with EventLoop() as ev:
        handle = ev.start(refuse)
        after = ev.start(Call(handle.wait) >> Call(checkpoint) >> Call(log.append, "after"))
        await anyio.wait_all_tasks_blocked()
        handle.cancel()
    assert log == ["refused", "after"]
    assert after.done
