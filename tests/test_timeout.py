"""Timeout and Every, to the moment: in virtual time."""

from __future__ import annotations

import math
import sys
from typing import Any

import anyio
import pytest

from aiowire import (
    All,
    Call,
    EventLoop,
    Every,
    Race,
    Timeout,
    UnhandledException,
    Wire,
    done,
    never,
)

from .steps import clean_up, fail, fail_later, fail_when_cancelled, group_of
from .virtual import anyio_backend

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["anyio_backend"]


class Times(list[Any]):
    """What happened when, in seconds since this was made."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = anyio.current_time()

    def note(self, what: Any = None) -> None:
        now = anyio.current_time() - self._begun
        self.append(now if what is None else (now, what))

    def noting(self, what: Any = None) -> Wire:
        return Call(self.note, what)


def sleeping(seconds: float) -> Wire:
    return Call(anyio.sleep, seconds)


async def run(*wires: Any, timeout: float | None = None) -> EventLoop:
    async with EventLoop(timeout) as ev:
        for wire in wires:
            ev.start(wire)
    return ev


# Timeout.


async def test_a_wire_that_ends_in_time_is_left_alone() -> None:
    times = Times()
    await run(Timeout(sleeping(2) >> times.noting("a"), 3, times.noting("no")) >> times.noting())
    assert times == [(2, "a"), 2]


async def test_a_wire_whose_time_is_up_is_cancelled_and_another_runs() -> None:
    times = Times()
    late = sleeping(1) >> times.noting("late")
    await run(Timeout(sleeping(4) >> times.noting("no"), 3, late) >> times.noting())
    assert times == [(4, "late"), 4]


async def test_without_another_wire_a_timeout_ends_quietly() -> None:
    times = Times()
    await run(Timeout(never, 3) >> times.noting())
    assert times == [3]


async def test_the_other_wire_waits_until_the_first_is_dead() -> None:
    times = Times()

    async def die_slowly(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)

    await run(Timeout(die_slowly, 3, times.noting()))
    assert times == [5]


async def test_time_counts_from_when_the_wire_begins() -> None:
    times = Times()
    wire = Timeout(never, 2, times.noting())
    await run(sleeping(10) >> wire >> wire)
    assert times == [12, 14]


async def test_the_time_is_that_of_all_that_the_wire_starts() -> None:
    times = Times()

    def start(ev: EventLoop) -> None:
        ev.start(sleeping(2) >> times.noting("in time"))
        ev.start(sleeping(4) >> times.noting("no"))
        ev.start(never, background=True)

    await run(Timeout(start, 3, times.noting("up")))
    assert times == [(2, "in time"), (3, "up")]


async def test_a_timeout_waits_for_what_the_wire_starts_but_not_for_the_background() -> None:
    times = Times()

    def start(ev: EventLoop) -> None:
        ev.start(sleeping(2))
        ev.start(Wire(clean_up, times), background=True)

    await run(Timeout(start, 3, times.noting("no")) >> times.noting())
    assert times == ["cleaned up", 2]


@pytest.mark.parametrize("seconds", [0, 0.0])
async def test_no_time_at_all_is_enough_for_what_never_waits(seconds: float) -> None:
    times = Times()
    await run(Timeout(times.noting("a"), seconds, times.noting("no")))
    await run(Timeout(never, seconds, times.noting("up")))
    assert times == [(0, "a"), (0, "up")]


async def test_a_failure_is_raised_as_it_is() -> None:
    group = await group_of(lambda ev: run_in(ev, Timeout(Wire(fail_later, OSError()), 3)))
    assert [repr(each) for each in group.exceptions] == ["OSError()"]


async def test_a_failure_of_what_was_started_is_raised_as_it_is() -> None:
    async def start(ev: EventLoop) -> None:
        ev.start(Wire(fail_later, OSError()))
        await anyio.sleep_forever()

    group = await group_of(lambda ev: run_in(ev, Timeout(start, 3)))
    assert [repr(each) for each in group.exceptions] == ["OSError()"]


async def test_several_failures_are_raised_in_a_group() -> None:
    async def start(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, OSError()))
        await anyio.sleep(1)
        raise KeyError

    (failure,) = (await group_of(lambda ev: run_in(ev, Timeout(start, 3)))).exceptions
    assert isinstance(failure, ExceptionGroup)
    assert [repr(each) for each in failure.exceptions] == ["KeyError()", "OSError()"]


async def test_a_failure_in_clean_up_is_raised_and_the_other_wire_does_not_run() -> None:
    times = Times()
    wire = Timeout(Wire(fail_when_cancelled, OSError()), 3, times.noting())
    group = await group_of(lambda ev: run_in(ev, wire))
    assert [repr(each) for each in group.exceptions] == ["OSError()"]
    assert times == []


async def run_in(ev: EventLoop, wire: Any) -> None:
    ev.start(wire)


async def test_cancellation_from_outside_is_no_timeout() -> None:
    times = Times()
    wire = Timeout(Wire(clean_up, times), 3, times.noting("no")) >> times.noting("no")
    assert (await run(wire, timeout=2)).timed_out
    assert times == ["cleaned up"]


async def test_a_wire_that_cancels_its_loop_ends_quietly() -> None:
    times = Times()

    async def give_up(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, times))
        await anyio.sleep(1)
        ev.cancel()
        await anyio.sleep_forever()

    await run(Timeout(give_up, 3, times.noting("no")) >> times.noting())
    assert times == ["cleaned up", 1]


async def test_timeouts_nest() -> None:
    times = Times()
    inner = Timeout(never, 2, sleeping(3) >> times.noting("no"))
    await run(
        Timeout(inner, 4, times.noting("outer")), Timeout(Timeout(never, 9), 4, times.noting())
    )
    assert sorted(times, key=repr) == [(4, "outer"), 4]


async def test_wires_that_wait_behind_a_timeout_see_the_loop_around_it() -> None:
    loops: list[Any] = []
    async with EventLoop() as ev:
        ev.start(Timeout(loops.append, 3) >> Timeout(never, 3, loops.append) >> loops.append)
    assert loops[0] is not ev
    assert loops[1:] == [ev, ev]


# Every.


async def test_runs_are_on_a_grid_from_when_it_begins() -> None:
    times = Times()
    await run(sleeping(1) >> Every(2, times.noting()), timeout=10)
    assert times == [1, 3, 5, 7, 9]


async def test_the_length_of_a_run_does_not_shift_the_next() -> None:
    times = Times()
    lengths = iter([0.5, 1.5, 0, 1.25, 0.75, 0])
    run_once = Call(lambda: next(lengths)).then(lambda s: times.noting() >> sleeping(s))
    await run(Every(2, run_once), timeout=11)
    assert times == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("length", "expected"),
    [(2, [0, 2, 4, 6]), (2.25, [0, 4, 8]), (5, [0, 6, 12]), (6, [0, 6, 12]), (6.5, [0, 8, 16])],
)
async def test_a_run_that_overruns_skips_the_times_that_it_missed(
    length: float, expected: list[float]
) -> None:
    times = Times()
    await run(Every(2, times.noting() >> sleeping(length)), timeout=expected[-1] + 1)
    assert times == expected


async def test_after_an_overrun_the_grid_is_the_old_one_and_nothing_bunches() -> None:
    times = Times()
    lengths = iter([7, 0, 0, 0])
    await run(Every(2, times.noting() >> Call(lambda: next(lengths)).then(sleeping)), timeout=13)
    assert times == [0, 8, 10, 12]


async def test_two_runs_never_overlap() -> None:
    running: list[int] = []
    most: list[int] = []

    async def note(ev: EventLoop) -> None:
        running.append(1)
        most.append(len(running))
        await anyio.sleep(3)
        running.pop()

    await run(Every(1, Wire(note)), timeout=20)
    assert most == [1] * len(most)


async def test_a_rest_belongs_to_the_run() -> None:
    times = Times()
    rest = sleeping(3) >> times.noting()
    await run(Every(2, Wire(lambda ev: rest)), timeout=8)
    assert times == [3, 7]


async def test_no_period_runs_without_a_break_and_an_endless_one_once() -> None:
    times, endless = Times(), Times()
    await run(
        Every(0, times.noting() >> sleeping(1)), Every(math.inf, endless.noting()), timeout=3.5
    )
    assert times == [0, 1, 2, 3]
    assert endless == [0]


async def test_a_failure_ends_it() -> None:
    times = Times()
    with pytest.raises(UnhandledException):
        await run(Every(2, times.noting() >> sleeping(1) >> Wire(fail, OSError())))
    assert times == [0]


@pytest.mark.parametrize("at", [3, 4.5])
async def test_it_ends_when_its_loop_is_to_stop(at: float) -> None:
    """While it waits, at once; in a run, when that is over."""
    times = Times()
    async with EventLoop() as ev:
        ev.start(
            Every(2, times.noting() >> sleeping(0.75) >> times.noting("over")) >> times.noting()
        )
        await anyio.sleep(at)
        ev.stop()
    end = 3 if at == 3 else 4.75
    assert times == [0, (0.75, "over"), 2, (2.75, "over"), *([4, (4.75, "over")] * (at > 4)), end]


async def test_each_time_that_it_is_started_it_has_a_grid_of_its_own() -> None:
    times = Times()
    wire = Every(2, times.noting())
    await run(wire, sleeping(1) >> wire, timeout=4.5)
    assert times == [0, 1, 2, 3, 4]


async def test_it_can_be_a_branch_and_be_called_like_any_wire() -> None:
    times = Times()
    await run(
        Race(Every(2, times.noting()), sleeping(5)), All(Timeout(Every(4, times.noting()), 5))
    )
    assert times == [0, 0, 2, 4, 4]


async def test_a_subclass_is_called() -> None:
    class Each(Every):
        pass

    times = Times()
    await run(Each(2, times.noting()), timeout=5)
    assert times == [0, 2, 4]


async def test_what_is_left_after_the_first_run_reads_as_the_whole() -> None:
    async with EventLoop() as ev:
        rest = await Every(1, done)(ev)
    assert repr(rest) == repr(Every(1, done)) == "Every(1.0, done)"


async def test_a_failure_that_is_false_is_one_all_the_same() -> None:
    class EmptyError(Exception):
        def __len__(self) -> int:
            return 0

    async def both(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, ValueError()))
        await anyio.sleep(1)
        raise EmptyError

    async def body(ev: EventLoop) -> None:
        ev.start(Timeout(both, 9))

    (group,) = (await group_of(body)).exceptions
    assert isinstance(group, ExceptionGroup)
    assert [type(each) for each in group.exceptions] == [EmptyError, ValueError]
