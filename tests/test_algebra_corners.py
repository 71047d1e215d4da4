"""Corners of the algebra, where one part of it meets another."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import aiowire
from aiowire import (
    All,
    Call,
    Catch,
    EventLoop,
    Every,
    Finally,
    Race,
    Retry,
    Timeout,
    Wire,
    done,
    never,
)
from aiowire._errors import leaves

from .steps import fail, fail_later, fail_when_cancelled, raised_by
from .support import Log, run_to_end


async def test_a_clean_up_may_have_several_steps() -> None:
    log = Log()
    await run_to_end(Finally(done, Call(log.append, 1) >> Call(log.append, 2)))
    assert log == [1, 2]


async def test_what_a_loser_starts_while_it_dies_does_not_outlive_it() -> None:
    async def loser(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ev.start(never)

    with anyio.fail_after(2):
        async with EventLoop() as ev:
            ev.start(Race(loser, Call(anyio.wait_all_tasks_blocked)))


async def test_to_run_the_loop_around_in_a_branch_is_refused() -> None:
    with anyio.move_on_after(1) as scope:
        async with EventLoop() as ev:

            async def wait(_: EventLoop) -> None:
                with pytest.raises(RuntimeError):
                    await ev.run()

            ev.start(All(wait))
    assert not scope.cancelled_caught


async def test_to_run_the_loop_of_a_timeout_in_it_is_refused() -> None:
    async def wait(ev: EventLoop) -> None:
        with pytest.raises(RuntimeError):
            await ev.run()

    await run_to_end(Timeout(wait, 5))


async def test_a_block_in_a_timeout_stops_with_it() -> None:
    seen: list[bool] = []

    async def look(ev: EventLoop) -> None:
        async with EventLoop() as inner:
            ev.stop()
            seen.append(inner.stopping)

    await run_to_end(Timeout(look, 5))
    assert seen == [True]


async def test_a_branch_has_a_timeout() -> None:
    seen: list[Any] = []
    await run_to_end(All(lambda ev: seen.append(ev.timeout)))
    assert seen == [None]


async def test_an_interrupt_is_not_lost_to_a_failing_clean_up() -> None:
    with pytest.raises(KeyboardInterrupt):
        await run_to_end(Finally(Wire(fail, KeyboardInterrupt()), Wire(fail, OSError())))


async def test_an_interrupt_in_a_timeout_is_not_lost_to_a_failure() -> None:
    async def interrupt(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, OSError()))
        await anyio.wait_all_tasks_blocked()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run_to_end(Timeout(interrupt, 5))


async def test_failures_of_branches_are_kept_with_an_interrupt_when_others_fail() -> None:
    interrupt = Call(anyio.wait_all_tasks_blocked) >> Wire(fail, KeyboardInterrupt())
    inside = All(Wire(fail_when_cancelled, OSError("inside")), interrupt)
    with pytest.raises(KeyboardInterrupt) as info:
        await run_to_end(inside, Wire(fail_when_cancelled, OSError("outside")))
    assert "inside" in repr(info.value.__cause__)


@pytest.mark.parametrize(
    "wire",
    [(done & never) >> done, (done | done) * 2, Retry(done, wait_initial=3, timeout=9)],
    ids=["sequence", "repeat", "retry"],
)
def test_a_wire_reads_as_what_makes_it(wire: Any) -> None:
    again = eval(repr(wire), vars(aiowire))
    assert type(again) is type(wire)
    if isinstance(wire, Retry):
        assert again._wait_initial == wire._wait_initial


async def test_a_block_in_a_branch_of_a_clean_up_stops_with_that_branch() -> None:
    seen: list[bool] = []

    async def look(ev: EventLoop) -> None:
        async with EventLoop() as inner:
            ev.stop()
            seen.append(inner.stopping)

    await run_to_end(Finally(done, Timeout(look, 9)), Finally(done, All(look)))
    assert seen == [True, True]


async def test_a_period_too_short_for_numbers_to_tell_is_none() -> None:
    log = Log()
    wire = Every(5e-324, Call(log.append, 1))
    async with EventLoop() as ev:
        ev.start(wire)
        await log.reach(3)
        ev.cancel()


def starting(wire: Any) -> Any:
    async def start(ev: EventLoop) -> None:
        ev.start(wire)

    return start


@pytest.mark.parametrize("interrupt", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_interrupt_in_a_clean_up_brings_the_failure_along(
    interrupt: type[BaseException], cancelled: bool
) -> None:
    failure = ValueError("of the wire")
    wire: Any = Wire(fail_when_cancelled if cancelled else fail, failure)
    wire = Finally(wire, Wire(fail, interrupt()))
    if cancelled:
        wire = Race(wire, Call(anyio.wait_all_tasks_blocked))
    exc = await raised_by(starting(wire), interrupt)
    assert isinstance(exc.__cause__, Exception)
    assert list(leaves(exc.__cause__)) == [failure]


async def test_an_interrupt_brings_the_failures_of_all_branches_inside_each_other_along() -> None:
    inner, outer = ValueError("inner"), ValueError("outer")
    interrupt = Wire(fail_later, KeyboardInterrupt())
    inside = All(interrupt, Wire(fail_when_cancelled, inner))
    wire = All(Timeout(inside, 9), Wire(fail_when_cancelled, outer))
    exc = await raised_by(starting(wire), KeyboardInterrupt)
    assert isinstance(exc.__cause__, Exception)
    assert list(leaves(exc.__cause__)) == [inner, outer]


class TestAGroupOfAFailureAndACancellation:
    """On trio it is what a task group leaves where a task fails while it is cancelled."""

    @staticmethod
    async def work(ev: EventLoop) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_when_cancelled, ev, ValueError())
            tasks.start_soon(anyio.sleep_forever)
            await anyio.sleep_forever()

    @pytest.fixture
    def caught(self) -> Log:
        return Log()

    @pytest.fixture
    def catch(self, caught: Log) -> Any:
        def catch(ev: EventLoop, exc: Exception) -> None:
            caught.extend(type(each).__name__ for each in leaves(exc))

        return catch

    async def test_in_a_timeout_beside_another_failure(self, caught: Log, catch: Any) -> None:
        async def both(ev: EventLoop) -> None:
            ev.start(Wire(fail_when_cancelled, KeyError()))
            await self.work(ev)

        await run_to_end(Catch(Timeout(both, 0.01), catch))
        assert sorted(caught) == ["KeyError", "ValueError"]

    async def test_beside_a_clean_up_that_fails(self, caught: Log, catch: Any) -> None:
        async with EventLoop() as ev:
            chain = ev.start(Finally(self.work, Wire(fail, KeyError())), catch)
            await anyio.wait_all_tasks_blocked()
            chain.cancel()
        assert caught == ["ValueError", "KeyError"]

    async def test_in_a_catch(self, caught: Log, catch: Any) -> None:
        async with EventLoop() as ev:
            chain = ev.start(Catch(self.work, catch))
            await anyio.wait_all_tasks_blocked()
            chain.cancel()
        assert caught == ["ValueError"]
