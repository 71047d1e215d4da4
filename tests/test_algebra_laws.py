"""The laws of the algebra, on generated programs of everything there is, in virtual time.

Two programs are equal if they do the same at the same moments, and end in the same way: quietly,
out of time, or with the same failures, however they are grouped.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowire import All, Catch, Forever, Race, Repeat, Sequence, Timeout, Wire, done, never

from .oracle import generated, times
from .programs import after_mark, closed, numbered, operand, programs, run, walk
from .reference import MARK, P
from .virtual import anyio_backend

__all__ = ["anyio_backend"]


class UnraisedError(Exception):
    """What no program raises."""


def unused(ev: Any, exc: Exception) -> None:
    raise AssertionError("handled what is no failure of this kind")


Law = Callable[..., tuple[Any, Any]]

LAWS: dict[str, Law] = {
    "(a >> b) >> c = a >> (b >> c)": lambda a, b, c: ((a >> b) >> c, a >> (b >> c)),
    "Sequence(a, b, c) = a >> b >> c": lambda a, b, c: (Sequence(a, b, c), a >> b >> c),
    "done >> a = a": lambda a: (done >> a, a),
    "a >> done = a": lambda a: (a >> done, a),
    "a * (m + n) = a*m >> a*n": lambda a, m, n: (a * (m + n), a * m >> a * n),
    "(a * m) * n = a * (m*n)": lambda a, m, n: ((a * m) * n, a * (m * n)),
    "a * 0 = done": lambda a, b: (a * 0 >> b, done >> b),
    "a * 1 = a": lambda a: (a * 1, a),
    "(a & b) & c = a & (b & c)": lambda a, b, c: ((a & b) & c, a & (b & c)),
    "All(a, b, c) = a & b & c": lambda a, b, c: (All(a, b, c), a & b & c),
    "a & b = b & a": lambda a, b: (a & b, b & a),
    "All(a, b, c) = All(c, a, b)": lambda a, b, c: (All(a, b, c), All(c, a, b)),
    "a & done = a": lambda a: (a & done, a),
    "All(a) = a": lambda a: (All(a), a),
    "All() = done": lambda a: (All() >> a, a),
    "(a | b) | c = a | (b | c)": lambda a, b, c: ((a | b) | c, a | (b | c)),
    "Race(a, b, c) = a | b | c": lambda a, b, c: (Race(a, b, c), a | b | c),
    "a | b = b | a": lambda a, b: (a | b, b | a),
    "Race(a, b, c) = Race(c, a, b)": lambda a, b, c: (Race(a, b, c), Race(c, a, b)),
    "a | never = a": lambda a: (a | never, a),
    "Race(a) = a": lambda a: (Race(a), a),
    "Race() = never": lambda a: (Race() | a, a),
    "Forever(a) >> b = Forever(a)": lambda a, b: (Forever(a) >> b, Forever(a)),
    "Forever(a) = a >> Forever(a)": lambda a: (Forever(a), a >> Forever(a)),
    "a * inf = Forever(a)": lambda a: (Repeat(a, math.inf), Forever(a)),
    "Timeout(a, inf) = a": lambda a, b: (Timeout(a, math.inf, b), a),
    "Catch(a, h) = a": lambda a: (Catch(a, unused, on=UnraisedError), a),
}

#: What may stand round a program that asks nothing of the loop that it runs in.
CONTEXTS: list[Callable[[Wire, Wire], Wire]] = [
    lambda a, mark: a >> mark,
    lambda a, mark: (mark >> a) * 2 >> mark,
    lambda a, mark: (a | mark) >> mark,
    lambda a, mark: (mark & a) >> mark,
    lambda a, mark: Timeout(a, 5) >> mark,
    lambda a, mark: Catch(a, lambda ev, exc: mark) >> mark,
]


def alone(a: Wire, mark: Wire) -> Wire:
    return a


def without(kind: str, p: P) -> bool:
    return all(part.kind != kind for part in walk(p))


# A loop that is to stop begins no round, not even that of a * 1: none of these stops.
unstopped = programs.filter(partial(without, "stop"))
SETTINGS = st.one_of(
    st.tuples(st.just(alone), unstopped, unstopped, unstopped),
    st.tuples(st.sampled_from(CONTEXTS), closed, closed, closed),
)


@pytest.fixture(autouse=True)
async def one_event_loop() -> AsyncIterator[None]:
    """Run all examples of a test in the same event loop, which is faster."""
    yield  # noqa: PT022 (the generator is what keeps the event loop)


async def check(law: Law, setting: tuple[Any, ...], **numbers: int) -> None:
    """Run both sides of a law of operands none of which begins and ends at once."""
    context, *given = setting
    step, *operands = map(operand, numbered(MARK, *map(after_mark, given)))
    values = dict(zip("abc", operands, strict=True)) | numbers
    left, right = law(*[values[name] for name in inspect.signature(law).parameters])
    assert await run(context(left, step)) == await run(context(right, step))


@pytest.mark.stress
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@generated
@given(setting=SETTINGS, m=times, n=times)
async def test_law(law: Law, setting: Any, m: int, n: int) -> None:
    await check(law, setting, m=m, n=n)
