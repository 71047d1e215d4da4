"""Turns: those that a chain leaves to others, however little it waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from aiowire import EventLoop, Forever, Repeat, Wire, done, never

from .clock import Clock, clock

__all__ = ["clock"]


def spin_in_states(step: Callable[[], Any]) -> Any:
    def ping(ev: EventLoop) -> Any:
        return Wire(pong) if step() else None

    async def pong(ev: EventLoop) -> Any:
        return ping if step() else None

    return ping


def spin_on_itself(step: Callable[[], Any]) -> Any:
    return itself if (itself := lambda ev: itself if step() else None) else None


def spin_in_rounds(step: Callable[[], Any]) -> Any:
    return Forever(Wire(lambda ev: None if step() else never)) >> done


def spin_in_repeats(step: Callable[[], Any]) -> Any:
    return Repeat(Repeat(lambda ev: None if step() else never, 10), 10**9)


def spin_in_chains(step: Callable[[], Any]) -> Any:
    def again(ev: EventLoop) -> None:
        if step():
            ev.start(again)

    return again


def spin_by_handler(step: Callable[[], Any]) -> Any:
    def fail(ev: EventLoop) -> None:
        if step():
            raise BeginAgainError

    return fail


class BeginAgainError(Exception):
    """A failure whose handler begins anew."""


SPINNING = [
    spin_in_states,
    spin_on_itself,
    spin_in_rounds,
    spin_in_repeats,
    spin_in_chains,
    spin_by_handler,
]


@pytest.mark.parametrize("spin", SPINNING)
async def test_steps_that_never_block_leave_turns_to_others(spin: Any) -> None:
    turns = steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        if steps > 5_000_000:
            pytest.fail("nobody else had a turn")
        return turns < 5

    async with EventLoop() as ev:
        wire = spin(step)
        ev.start(wire, lambda ev, exc: wire)
        while turns < 5:
            await checkpoint()
            turns += 1
        ev.cancel()


@pytest.mark.parametrize("spin", SPINNING)
async def test_a_chain_holds_the_loop_for_a_millisecond(spin: Any, clock: Clock) -> None:
    """Each step looks at the clock once at least, so there is time for ten of them."""
    steps_in_turn = 0
    turns: list[int] = []

    def step() -> bool:
        nonlocal steps_in_turn
        steps_in_turn += 1
        if steps_in_turn > 22:
            pytest.fail("it holds the loop for too long")
        return True

    async with EventLoop() as ev:
        wire = spin(step)
        ev.start(wire, lambda ev, exc: wire)
        while len(turns) < 5:
            await checkpoint()
            turns.append(steps_in_turn)
            steps_in_turn = 0
        ev.cancel()
    assert max(turns) >= 3, "it is hardly let run"


async def test_chains_that_compute_between_waits_leave_turns_to_others(clock: Clock) -> None:
    turns = 0

    async def compute(ev: EventLoop) -> Any:
        clock.now += 0.0004
        if turns % 2:
            await checkpoint()
        return compute

    async with EventLoop() as ev:
        for _ in range(20):
            ev.start(compute)
        for turns in range(50):  # noqa: B007
            await checkpoint()
        ev.cancel()


async def test_many_short_chains_leave_turns_to_others(clock: Clock) -> None:
    begun = 0
    seen = []

    def begin(ev: EventLoop) -> None:
        nonlocal begun
        begun += 1

    async with EventLoop() as ev:
        for _ in range(100):
            ev.start(begin)
        while begun < 100:
            await checkpoint()
            seen.append(begun)
    held = [b - a for a, b in zip([0, *seen], seen, strict=False)]
    assert max(held) <= 22
