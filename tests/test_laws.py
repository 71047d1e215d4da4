"""The laws of the sequential algebra, and the meaning of every program, on generated programs.

Two programs are equal if they have the same effects in the same order, and the same ending.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given

from aiowire import Call, Forever, Repeat, Sequence, done, never

from .oracle import (
    FUSE,
    by_definition,
    by_the_loop,
    generated,
    mark,
    programs,
    small_wires,
    times,
    wires,
)

LAWS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "(a >> b) >> c = a >> (b >> c)": lambda a, b, c: ((a >> b) >> c, a >> (b >> c)),
    "Sequence(a, b, c) = a >> b >> c": lambda a, b, c: (Sequence(a, b, c), a >> b >> c),
    "Sequence(a) = a": lambda a: (Sequence(a), a),
    "Sequence() = done": lambda a: (Sequence() >> a, done >> a),
    "done >> a = a": lambda a: (done >> a, a),
    "a >> done = a": lambda a: (a >> done, a),
    "a * (m + n) = a*m >> a*n": lambda a, m, n: (a * (m + n), a * m >> a * n),
    "(a * m) * n = a * (m*n)": lambda a, m, n: ((a * m) * n, a * (m * n)),
    "a * n = n * a": lambda a, n: (a * n, n * a),
    "Repeat(a, n) = a * n": lambda a, n: (Repeat(a, n), a * n),
    "a * 0 = done": lambda a, b: (a * 0 >> b, done >> b),
    "a * 1 = a": lambda a: (a * 1, a),
    "a * inf = Forever(a)": lambda a: (visible(a) * math.inf, Forever(visible(a))),
    "Forever(a) >> b = Forever(a)": lambda a, b: (
        Forever(visible(a)) >> b,
        Forever(visible(a)),
    ),
    "Forever(a) = a >> Forever(a)": lambda a: (
        Forever(visible(a)),
        visible(a) >> Forever(visible(a)),
    ),
    "never >> a = never": lambda a: (never >> a, never),
    "b >> never >> a = b >> never": lambda a, b: (b >> never >> a, b >> never),
}


def visible(a: Any) -> Any:
    """A program that has an effect, so that the fuse ends it where nothing else does."""
    return Call(mark, 0) >> a


@pytest.fixture(autouse=True)
async def one_event_loop() -> AsyncIterator[None]:
    """Run all examples of a test in the same event loop, which is faster."""
    yield  # noqa: PT022 (the generator is what keeps the event loop)


@pytest.mark.stress
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@generated
@given(a=wires, b=small_wires, c=small_wires, m=times, n=times)
async def test_law(law: Callable[..., tuple[Any, Any]], **operands: Any) -> None:
    left, right = law(*[operands[name] for name in inspect.signature(law).parameters])
    turns = 5 * FUSE if "never" in repr(left) else math.inf
    assert await by_the_loop(left, turns) == await by_the_loop(right, turns)


@pytest.mark.stress
@generated
@given(program=programs)
async def test_a_loop_runs_a_program_as_it_is_defined(program: Any) -> None:
    assert await by_the_loop(program) == await by_definition(program)


@pytest.mark.stress
@generated
@given(program=programs)
async def test_a_program_is_a_value_that_runs_the_same_each_time(program: Any) -> None:
    text = repr(program)
    first = await by_the_loop(program)
    assert await by_the_loop(program) == first
    assert repr(program) == text
