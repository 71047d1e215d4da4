"""How a loop finishes: ev.stop(), ev.stopping, and chains in the background."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aiowire import (
    All,
    Call,
    EventLoop,
    Every,
    Forever,
    Race,
    Repeat,
    Select,
    Timeout,
    Wire,
    done,
    never,
)

from .steps import clean_up, fail, fail_later, fail_when_cancelled, group_of
from .support import Log
from .virtual import anyio_backend

__all__ = ["anyio_backend"]

ROUNDS: dict[str, Callable[[Any], Any]] = {
    "Forever": Forever,
    "Repeat": lambda a: Repeat(a, 100),
    "Repeat without end": lambda a: Repeat(a, math.inf),
    "Every": lambda a: Every(1, a),
    "a subclass": type("Again", (Forever,), {}),
}
rounds = pytest.mark.parametrize("make", ROUNDS.values(), ids=ROUNDS)

#: What gives its wires a loop inside the one around it.
INSIDE: dict[str, Callable[[Any], Any]] = {
    "no loop": lambda a: a,
    "All": All,
    "Race": Race,
    "Select": lambda a: Select(Wire(lambda ev: a)),
    "Select, first step": lambda a: Select(Wire(through, a)),
    "Timeout": lambda a: Timeout(a, 1000),
    "block": lambda a: Wire(block, a),
    "All in All": lambda a: All(All(a)),
    "block in All": lambda a: All(Wire(block, a)),
    "All in block": lambda a: Wire(block, All(a)),
    "Timeout in block": lambda a: Wire(block, Timeout(a, 1000)),
}
inside = pytest.mark.parametrize("around", INSIDE.values(), ids=INSIDE)


async def block(ev: EventLoop, wire: Any) -> None:
    async with EventLoop() as inner:
        inner.start(wire)


async def through(ev: EventLoop, wire: Any) -> None:
    """Run a wire to its end in one step."""
    ev.start(wire)


# Stopping.


@rounds
@inside
async def test_no_further_round_begins(make: Any, around: Any) -> None:
    log = Log()
    wire = make(Call(log.append, "begun") >> Call(anyio.sleep, 3) >> Call(log.append, "over"))
    async with EventLoop() as ev:
        ev.start(around(wire >> Call(log.append, "then")))
        await anyio.sleep(1)
        ev.stop()
        assert ev.stopping
    assert log == ["begun", "over", "then"]
    assert not ev.cancelled
    assert not ev.timed_out


@rounds
async def test_no_first_round_begins_in_a_loop_that_is_to_stop(make: Any) -> None:
    log = Log()
    async with EventLoop() as ev:
        ev.stop()
        ev.start(make(Call(log.append, "no")) >> Call(log.append, "then"))
        ev.start(All(make(Call(log.append, "no"))))
    assert log == ["then"]


@inside
async def test_stopping_turns_true_in_loops_inside(around: Any) -> None:
    seen: list[bool] = []

    async def look(ev: EventLoop) -> None:
        seen.append(ev.stopping)
        await anyio.sleep(2)
        seen.append(ev.stopping)

    async with EventLoop() as ev:
        ev.start(around(Wire(look)))
        await anyio.sleep(1)
        ev.stop()
        ev.start(around(Wire(look)))
    assert seen == [False, True, True, True]


async def test_a_loop_inside_that_is_to_stop_stops_nothing_around_it() -> None:
    seen: list[bool] = []

    def look(ev: EventLoop) -> None:
        seen.append(ev.stopping)

    def stop(ev: EventLoop) -> None:
        ev.stop()
        look(ev)

    async with EventLoop() as ev:
        ev.start(All(stop, Call(anyio.sleep, 1) >> look) >> look)
    assert seen == [True, False, False]


async def test_what_is_under_way_may_go_on_to_its_end() -> None:
    log = Log()
    async with EventLoop() as ev:
        ev.start(Call(anyio.sleep, 100) >> Call(log.append, 1) >> Call(log.append, 2))
        await anyio.sleep(1)
        ev.stop()
        ev.start(Call(log.append, 0))
    assert log == [0, 1, 2]


# Grace.


async def took(ev: EventLoop, body: Callable[[EventLoop], Any]) -> float:
    begun = anyio.current_time()
    async with ev:
        await body(ev)
    return anyio.current_time() - begun


@pytest.mark.parametrize(
    ("calls", "end"),
    [
        ([5], 6),
        ([0], 1),
        ([5, 3], 4),
        ([3, 5], 4),
        ([None, 3], 4),
        ([3, None], 4),
        ([math.inf, 2], 3),
    ],
    ids=repr,
)
async def test_what_is_left_after_the_grace_is_cancelled(calls: list[Any], end: float) -> None:
    """Of several calls the earliest end counts."""
    log = Log()

    async def body(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log))
        await anyio.sleep(1)
        for grace in calls:
            ev.stop(grace)

    ev = EventLoop()
    assert await took(ev, body) == end
    assert log == ["cleaned up"]
    assert ev.cancelled
    assert not ev.timed_out


async def test_a_loop_that_ends_within_the_grace_was_not_cancelled() -> None:
    async def body(ev: EventLoop) -> None:
        ev.start(Call(anyio.sleep, 2))
        ev.stop(3)

    ev = EventLoop()
    assert await took(ev, body) == 2
    assert not ev.cancelled


async def test_the_grace_does_not_put_off_the_time_limit() -> None:
    async def body(ev: EventLoop) -> None:
        ev.start(never)
        ev.stop(9)

    ev = EventLoop(timeout=4)
    assert await took(ev, body) == 4
    assert ev.timed_out


@pytest.mark.parametrize(
    "fork",
    [All, Race, lambda a: Timeout(a, 100, Call(int, "x"))],
    ids=["All", "Race", "Timeout"],
)
async def test_the_grace_of_a_branch_is_over_for_that_branch(fork: Any) -> None:
    log = Log()

    async def stop(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log, "started"))
        await anyio.sleep(1)
        ev.stop(9)
        ev.stop(3)
        await clean_up(ev, log, "chain")

    async def body(ev: EventLoop) -> None:
        ev.start(fork(stop) >> Call(log.append, "end"))

    assert await took(EventLoop(), body) == 4
    assert sorted(log[:2]) == ["chain", "started"]
    assert log[2:] == ["end"]


async def test_a_branch_that_ends_within_its_grace_does_not_wait_for_the_rest_of_it() -> None:
    async def body(ev: EventLoop) -> None:
        ev.start(All(lambda ev: ev.stop(100), Call(anyio.sleep, 2)))

    assert await took(EventLoop(), body) == 2


@pytest.mark.parametrize("grace", [-1, math.nan])
async def test_a_grace_that_makes_no_sense_is_refused(grace: float) -> None:
    async with EventLoop() as ev:
        with pytest.raises(ValueError, match="grace is 0 seconds or more"):
            ev.stop(grace)
        with pytest.raises(TypeError, match="grace is a number of seconds"):
            ev.stop("1")  # type: ignore[arg-type]
        assert not ev.stopping


async def test_a_loop_that_is_entered_again_is_not_to_stop() -> None:
    ev = EventLoop()
    for _ in range(2):
        async with ev:
            assert not ev.stopping
            assert not ev.cancelled
            ev.start(never)
            ev.stop(1)
        assert ev.cancelled


async def test_outside_the_block_there_is_nothing_to_stop() -> None:
    with pytest.raises(RuntimeError, match=r"ev\.stop\(\) works inside the block only"):
        EventLoop().stop()


# In the background.


@inside
async def test_those_in_the_background_are_cancelled_last_started_first(around: Any) -> None:
    """Each is dead before the next is cancelled."""
    log = Log()

    async def wait(ev: EventLoop, n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(("cancelled", n))
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            log.append(("dead", n))

    def start(ev: EventLoop) -> Any:
        for n in range(3):
            ev.start(Wire(wait, n), background=True)
        return Call(anyio.sleep, 5) >> Call(log.append, "last of others")

    async with EventLoop() as ev:
        ev.start(around(start))
    assert log == ["last of others", *[(x, n) for n in (2, 1, 0) for x in ("cancelled", "dead")]]


async def test_run_does_not_wait_for_the_background() -> None:
    async with EventLoop() as ev:
        ev.start(never, background=True)
        await ev.run()
        ev.start(Call(anyio.sleep, 1))
        await ev.run()


async def test_one_in_the_background_may_start_others_while_it_dies() -> None:
    log = Log()

    async def wait(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ev.start(Call(anyio.sleep, 1) >> Call(log.append, "started"))
            ev.start(Wire(clean_up, log, "background"), background=True)

    async with EventLoop() as ev:
        ev.start(Wire(clean_up, log, "first"), background=True)
        ev.start(wait, background=True)
        await anyio.sleep(1)
    assert log == ["started", "background", "first"]


async def test_one_in_the_background_may_end_by_itself() -> None:
    log = Log()
    async with EventLoop() as ev:
        ev.start(Call(log.append, 1), background=True)
        handle = ev.start(never, background=True)
        ev.start(Call(anyio.sleep, 1))
        await anyio.sleep(0.5)
        handle.cancel()
    assert log == [1]


async def test_one_in_the_background_that_has_not_begun_never_does() -> None:
    log = Log()
    async with EventLoop() as ev:
        ev.start(Call(log.append, "no"), background=True)
        ev.start(Call(log.append, "no"), background=True)
    assert log == []


@pytest.mark.parametrize(
    "wire", [Wire(fail_later, OSError()), Wire(fail_when_cancelled, OSError())]
)
async def test_a_failure_in_the_background_is_one(wire: Any) -> None:
    async def body(ev: EventLoop) -> None:
        ev.start(wire, background=True)
        ev.start(Call(anyio.sleep, 1))

    group = await group_of(body)
    assert [repr(each) for each in group.exceptions] == ["OSError()"]


async def test_a_failure_in_the_background_goes_to_its_handler() -> None:
    log = Log()
    async with EventLoop() as ev:
        ev.start(Wire(fail, OSError()), lambda ev, exc: log.append(repr(exc)), background=True)
        ev.start(Call(anyio.sleep, 1) >> done)
    assert log == ["OSError()"]
