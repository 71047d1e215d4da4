"""However long a program is or runs, it needs no more stack, and no more memory than itself."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from aiowire import EventLoop, Forever, Repeat, Sequence, Wire, done

from .oracle import FULL

DEEP = 100_000


async def run(wire: Any) -> None:
    async with EventLoop() as ev:
        ev.start(wire)


def left_nested(part: Any) -> Wire:
    wire: Wire = Sequence(part)
    for _ in range(DEEP - 1):
        wire = wire >> part
    return wire


def right_nested(part: Any) -> Wire:
    wire: Wire = Sequence(part)
    for _ in range(DEEP - 1):
        wire = part >> wire
    return wire


def all_in_one(part: Any) -> Wire:
    return Sequence(*[part] * DEEP)


def nested_repeats(part: Any) -> Wire:
    wire: Wire = Sequence(part)
    for _ in range(DEEP - 1):
        wire = part >> wire * 1
    return wire


@pytest.mark.parametrize("build", [left_nested, right_nested, all_in_one, nested_repeats])
async def test_100_000_parts_need_constant_stack(build: Callable[[Any], Wire]) -> None:
    count = 0
    depths: list[int] = []

    def step(ev: Any) -> None:
        nonlocal count
        count += 1
        if count in (1, DEEP // 2, DEEP):
            depths.append(depth())

    wire = build(step)
    await run(wire)
    assert count == DEEP
    assert max(depths) - min(depths) < 10
    rest = await wire(None)  # type: ignore[arg-type]
    del wire
    await rest(None)  # type: ignore[misc, arg-type]
    del rest
    gc.collect()


@pytest.mark.parametrize("build", [left_nested, right_nested, all_in_one])
def test_100_000_parts_read_flat(build: Callable[[Any], Wire]) -> None:
    text = repr(build(done))
    assert text == " >> ".join(["done"] * DEEP)


def depth() -> int:
    frame: Any = sys._getframe()
    n = 0
    while frame is not None:
        frame = frame.f_back
        n += 1
    return n


@pytest.mark.stress
@pytest.mark.parametrize("kind", ["states", "itself", "rounds"])
async def test_millions_of_steps_need_constant_memory(kind: str) -> None:
    end = 10_000_000 if FULL else 100_000
    blocks = []
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        if steps % (end // 10) == 0:
            blocks.append(sys.getallocatedblocks())
        return steps < end

    async def ping(ev: Any) -> Any:
        return pong if count() else None

    async def pong(ev: Any) -> Any:
        return Wire(ping) if count() else None

    async def itself(ev: Any) -> Any:
        return itself if count() else None

    def round_(ev: Any) -> None:
        if not count():
            ev.cancel()

    await run(
        {"states": ping, "itself": itself, "rounds": Forever(done >> Repeat(round_, 3))}[kind]
    )
    assert steps == end
    assert max(blocks) - min(blocks) < 1000
