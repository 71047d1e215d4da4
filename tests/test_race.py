"""All, Race, Select: who is waited for, who is cancelled, and what is raised."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import All, Call, EventLoop, Race, Select, Timeout, Wire, done, never
from aiowire._errors import leaves

from .steps import clean_up, fail_later, fail_when_cancelled, group_of
from .support import Log, run_to_end

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

FORKS: list[Callable[..., Wire]] = [All, Race, Select]
forks = pytest.mark.parametrize("fork", FORKS)


async def failures_of(*wires: Any) -> list[str]:
    """Run wires, of which each fails alone, and give what failed in the first."""
    group = await group_of(lambda ev: run_each(ev, *wires))
    (failure,) = group.exceptions
    assert isinstance(failure, ExceptionGroup)
    return sorted(repr(each) for each in leaves(failure))


async def run_each(ev: EventLoop, *wires: Any) -> None:
    for wire in wires:
        ev.start(wire)


def waiting(event: anyio.Event, *then: Any) -> Wire:
    """Wait for an event, and leave the rest."""
    return Call(event.wait).then(lambda _: then[0] if then else None)


# All.


async def test_all_ends_when_every_branch_has_ended() -> None:
    log, first, second = Log(), anyio.Event(), anyio.Event()
    async with EventLoop() as ev:
        ev.start(All(waiting(first), waiting(second)) >> Call(log.append, "end"))
        first.set()
        await anyio.wait_all_tasks_blocked()
        assert log == []
        second.set()
    assert log == ["end"]


async def test_branches_run_at_the_same_time_and_begin_in_order() -> None:
    log, meet = Log(), anyio.Event()

    async def come(ev: EventLoop, n: int) -> None:
        log.append(n)
        if n == 3:
            meet.set()
        await meet.wait()

    await run_to_end(All(*[Wire(come, n) for n in range(4)]))
    assert log == [0, 1, 2, 3]


@forks
async def test_a_branch_runs_in_a_loop_of_its_own(fork: Any) -> None:
    loops: list[EventLoop] = []
    async with EventLoop() as ev:
        ev.start(fork(loops.append, Call(checkpoint) >> loops.append))
        ev.start(All(loops.append))
    assert ev not in loops
    assert len({*map(id, loops)}) == len(loops) >= 2


@pytest.mark.parametrize("fork", [All, Race])
async def test_a_branch_has_ended_when_all_that_it_started_has(fork: Any) -> None:
    log, event = Log(), anyio.Event()
    inner = waiting(event, Call(log.append, "started"))

    def start(ev: EventLoop) -> None:
        ev.start(lambda ev: ev.start(inner) and None)

    async with EventLoop() as ev:
        ev.start(fork(start) >> Call(log.append, "end"))
        await anyio.wait_all_tasks_blocked()
        assert log == []
        event.set()
    assert log == ["started", "end"]


async def test_all_and_race_of_nothing() -> None:
    log = Log()
    await run_to_end(All() >> Call(log.append, "all"), Race(Race(), Select(), done))
    assert log == ["all"]


@forks
async def test_a_failure_cancels_the_other_branches_and_is_raised_in_a_group(fork: Any) -> None:
    log: list[str] = []
    wire = fork(Wire(clean_up, log), Wire(fail_later, ValueError()))
    assert await failures_of(wire) == ["ValueError()"]
    assert log == ["cleaned up"]


@forks
async def test_all_failures_are_raised(fork: Any) -> None:
    wire = fork(
        Wire(fail_when_cancelled, OSError()),
        Wire(fail_later, ValueError()),
        Wire(fail_when_cancelled, KeyError()),
    )
    assert await failures_of(wire) == ["KeyError()", "OSError()", "ValueError()"]


@forks
async def test_a_single_failure_of_a_single_branch_is_raised_in_a_group(fork: Any) -> None:
    assert await failures_of(fork(Wire(fail_later, ValueError()))) == ["ValueError()"]


@forks
async def test_a_failure_of_what_a_branch_started_is_that_of_the_branch(fork: Any) -> None:
    log: list[str] = []

    async def start(ev: EventLoop) -> None:
        ev.start(Wire(fail_later, ValueError()))
        await anyio.sleep_forever()

    assert await failures_of(fork(start, Wire(clean_up, log))) == ["ValueError()"]
    assert log == ["cleaned up"]


@forks
@pytest.mark.parametrize("how", ["loop", "chain", "scope"])
async def test_cancellation_cancels_all_branches_and_goes_on_when_they_are_dead(
    fork: Any, how: str
) -> None:
    log: list[str] = []
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            handle = ev.start(
                fork(Wire(clean_up, log, "a"), Wire(clean_up, log, "b")) >> Call(log.append, "no")
            )
            await anyio.wait_all_tasks_blocked()
            if how == "chain":
                handle.cancel()
                await handle.wait()
                assert sorted(log) == ["a", "b"]
            else:
                (ev if how == "loop" else scope).cancel()
    assert sorted(log) == ["a", "b"]


@forks
async def test_a_failure_in_clean_up_is_raised_although_all_is_cancelled(fork: Any) -> None:
    async def body(ev: EventLoop) -> None:
        ev.start(fork(Wire(fail_when_cancelled, OSError()), never))
        await anyio.wait_all_tasks_blocked()
        ev.cancel()

    group = await group_of(body)
    assert [repr(each) for each in leaves(group)] == ["OSError()"]


@forks
async def test_branches_have_copies_of_the_context(fork: Any) -> None:
    var: ContextVar[str] = ContextVar("var", default="none")
    seen: list[str] = []

    def use(ev: EventLoop, value: str) -> None:
        seen.append(var.get())
        var.set(value)

    def outside(ev: EventLoop) -> Wire:
        var.set("outside")
        return fork(Wire(use, "a"), Call(checkpoint) >> Wire(use, "b"))

    await run_to_end(Wire(outside) >> (lambda ev: seen.append(var.get())))
    assert {*seen} == {"outside"}


# Race.


async def test_the_first_branch_to_end_wins_and_the_losers_are_dead_then() -> None:
    log = Log()
    await run_to_end(
        Race(Wire(clean_up, log), Call(anyio.wait_all_tasks_blocked) >> Call(log.append, "won"))
        >> Call(log.append, "end")
    )
    assert log == ["won", "cleaned up", "end"]


async def test_a_loser_that_has_not_begun_never_does() -> None:
    log = Log()
    await run_to_end(Race(done, Call(log.append, "begun")) >> Call(log.append, "end"))
    assert log == ["end"]


async def test_what_a_loser_has_started_is_cancelled_too() -> None:
    log = Log()

    async def loser(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log, "started"))
        ev.start(Wire(clean_up, log, "background"), background=True)
        await clean_up(ev, log, "loser")

    await run_to_end(Race(loser, Call(anyio.wait_all_tasks_blocked)) >> Call(log.append, "end"))
    assert sorted(log[:3]) == ["background", "loser", "started"]
    assert log[3:] == ["end"]


async def test_a_branch_that_is_cancelled_by_itself_has_ended() -> None:
    log = Log()

    async def give_up(ev: EventLoop) -> None:
        ev.cancel()
        await anyio.sleep_forever()

    await run_to_end(Race(give_up, Wire(clean_up, log)) >> Call(log.append, "end"))
    assert log == ["cleaned up", "end"]


async def test_a_failure_in_the_clean_up_of_a_loser_is_raised() -> None:
    wire = Race(Wire(fail_when_cancelled, OSError()), Call(anyio.wait_all_tasks_blocked))
    assert await failures_of(wire) == ["OSError()"]


# Select.


async def test_select_goes_on_with_the_rest_of_the_step_that_is_complete_first() -> None:
    log = Log()
    rest = Call(log.append, "rest") >> Call(log.append, "of rest")
    slow = Call(anyio.wait_all_tasks_blocked).then(lambda _: rest)
    await run_to_end(Select(Wire(clean_up, log), slow) >> Call(log.append, "end"))
    assert log == ["cleaned up", "rest", "of rest", "end"]


async def test_only_first_steps_run_at_the_same_time() -> None:
    """The second step of the winner has nobody beside it."""
    log = Log()
    first = Call(log.append, 1) >> Call(checkpoint) >> Call(log.append, 2)
    await run_to_end(Select(first, Call(checkpoint) >> Call(log.append, "other")))
    assert log == [1, 2]


async def test_a_rest_runs_in_the_loop_of_the_select() -> None:
    loops: list[Any] = []
    async with EventLoop() as ev:
        ev.start(Select(Call(checkpoint) >> loops.append))
    assert loops == [ev]


async def test_rests_of_steps_that_are_complete_together_run_one_after_another() -> None:
    log = Log()
    late = Wire(complete_though_cancelled, Call(log.append, "late") >> Call(log.append, "end"))
    await run_to_end(Select(late, Call(log.append, "first") >> Call(log.append, "second")))
    assert log == ["first", "late", "end", "second"]


async def complete_though_cancelled(ev: EventLoop, rest: Any) -> Any:
    with anyio.CancelScope(shield=True):
        await anyio.wait_all_tasks_blocked()
    return rest


async def test_a_step_that_leaves_nothing_ends_the_select() -> None:
    log = Log()
    await run_to_end(Select(done, never) >> Call(log.append, "end"))
    assert log == ["end"]


async def test_what_the_winning_step_has_started_is_waited_for() -> None:
    log, event = Log(), anyio.Event()

    def step(ev: EventLoop) -> Any:
        ev.start(waiting(event, Call(log.append, "started")))
        return Call(log.append, "rest")

    async with EventLoop() as ev:
        ev.start(Select(step, never))
        await anyio.wait_all_tasks_blocked()
        assert log == []
        event.set()
    assert log == ["started", "rest"]


async def test_a_failure_of_a_rest_is_raised_as_it_is() -> None:
    group = await group_of(
        lambda ev: run_each(ev, Select(Call(checkpoint) >> Wire(fail_later, KeyError())))
    )
    assert [repr(each) for each in group.exceptions] == ["KeyError()"]


async def test_a_select_whose_branches_are_all_cancelled_by_themselves_ends() -> None:
    log = Log()

    async def give_up(ev: EventLoop) -> None:
        ev.cancel()
        await anyio.sleep_forever()

    await run_to_end(Select(give_up, give_up) >> Call(log.append, "end"))
    assert log == ["end"]


@pytest.mark.parametrize("around", [lambda a: a, partial(Select, never), partial(Race, never), All])
async def test_after_a_step_that_cancels_the_loop_no_other_begins(around: Any) -> None:
    log = Log()

    async with EventLoop() as ev:

        async def take(_: EventLoop) -> Any:
            ev.cancel()
            log.append("taken")
            return Call(log.append, "given")

        ev.start(around(take))
    assert log == ["taken"]


@pytest.mark.parametrize("nothing", [Race(), Select()])
async def test_a_race_of_nobody_never_ends(nothing: Any) -> None:
    log = Log()
    await run_to_end(Timeout(nothing, 0.01, Call(log.append, "time is up")))
    assert log == ["time is up"]
