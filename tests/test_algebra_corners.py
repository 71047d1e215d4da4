"""Corners of the algebra, where one part of it meets another."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import aiowire
from aiowire import All, Call, EventLoop, Finally, Race, Retry, Timeout, Wire, done, never

from .steps import fail, fail_when_cancelled
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
