"""What a program means: generated programs, and the definition that they are held to.

The effects of a program are the numbers that its steps mark, in order. Programs are made of
steps of every kind that there is; where none of them ends it, the fuse does, after so many marks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from inspect import isawaitable
from types import SimpleNamespace
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from aiowire import Call, EventLoop, Forever, Repeat, Sequence, UnhandledException, Wire, done

FULL = os.environ.get("AIOWIRE_STRESS") == "full"
FUSE = 25

#: For a test with generated programs.
generated = settings(
    max_examples=500 if FULL else 50,
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

effects: ContextVar[list[int]] = ContextVar("effects")


class StepError(Exception):
    """What failing steps raise."""


# Steps. Each call of one marks its number, once.


def mark(n: int) -> int:
    effects.get().append(n)
    if len(effects.get()) >= FUSE:
        raise StepError("fuse")
    return n


async def mark_later(n: int) -> int:
    await checkpoint()
    return mark(n)


def plain(ev: Any, n: int, rest: Any = None) -> Any:
    mark(n)
    return rest


async def slow(ev: Any, n: int, rest: Any = None) -> Any:
    mark(n)
    await checkpoint()
    return rest


def future(ev: Any, n: int, rest: Any = None) -> Awaitable[Any]:
    """Give back an awaitable that is no coroutine."""

    class Later:
        def __await__(self) -> Any:
            return slow(ev, n, rest).__await__()

    return Later()


def count_down(ev: Any, n: int, k: int) -> Any:
    mark(n)
    return Wire(count_down, n, k - 1) if k else None


def fail(ev: Any, n: int) -> None:
    mark(n)
    raise StepError(n)


async def cancel(ev: Any, n: int, *, within: bool) -> None:
    mark(n)
    ev.cancel()
    if within:
        await checkpoint()
        mark(n)


class Steps:
    """An object whose methods are steps, and which is one itself."""

    def __init__(self, n: int) -> None:
        self.n = n

    def plain(self, ev: Any) -> None:
        mark(self.n)

    async def slow(self, ev: Any) -> None:
        await slow(ev, self.n)

    __call__ = plain

    def __repr__(self) -> str:
        return f"Steps({self.n})"


class Again(Wire):
    """A user's wire, which gives back itself every other time."""

    def __init__(self, n: int) -> None:
        self.n = n

    async def __call__(self, ev: Any) -> Any:
        mark(self.n)
        return self if effects.get().count(self.n) % 2 else None

    def __repr__(self) -> str:
        return f"Again({self.n})"


def give(value: Any, _: object) -> Any:
    """A continuation that does not look at the result."""
    return value


# Programs.


def then(a: Any, b: Any) -> Wire:
    """``a >> b``, also where both are plain functions."""
    return a >> b if isinstance(a, Wire) or isinstance(b, Wire) else Sequence(a, b)


def endless(a: Any) -> Wire:
    """A ``Forever`` that has effects, and so is ended by the fuse at the latest."""
    return Forever(then(Call(mark, 0), a))


def leaving(n: int, rest: Any, kind: int) -> Any:
    """A step that leaves a program to be run."""
    return [
        Wire(plain, n, rest),
        Wire(slow, n, rest),
        partial(plain, n=n, rest=rest),
        partial(future, n=n, rest=rest),
        Call(mark, n).then(partial(give, rest)),
        Call(mark_later, n).then(partial(give, rest)),
    ][kind]


KINDS: list[Callable[[int], Any]] = [
    lambda n: Wire(plain, n),
    lambda n: Wire(slow, n),
    lambda n: Call(mark, n),
    lambda n: Call(mark_later, n),
    lambda n: partial(plain, n=n),
    lambda n: partial(slow, n=n),
    lambda n: partial(future, n=n),
    lambda n: Steps(n),
    lambda n: Steps(n).plain,
    lambda n: Steps(n).slow,
    lambda n: Again(n),
    lambda n: Wire(count_down, n, 2),
]
ENDINGS: list[Callable[[int], Any]] = [
    lambda n: Wire(fail, n),
    lambda n: Wire(cancel, n, within=False),
    lambda n: partial(cancel, n=n, within=True),
]
numbers = st.integers(1, 9)
times = st.integers(0, 3)
steps = st.builds(
    lambda make, n: make(n),
    st.sampled_from(KINDS * 2 + ENDINGS),
    numbers,
)


def compounds(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(then, parts, parts),
        st.lists(parts, min_size=2, max_size=4).map(lambda ps: Sequence(*ps)),
        st.builds(leaving, numbers, parts, st.integers(0, 5)),
        st.builds(Repeat, parts, times),
        st.builds(lambda a, n: n * then(a, done), parts, times),
    )


small = st.one_of(steps, compounds(steps))
medium = compounds(small)
large = compounds(st.one_of(medium, st.builds(endless, small), st.just(Sequence())))
#: Any program: a wire, or a function or other callable that is none.
programs = st.one_of(large, medium, steps, st.builds(endless, medium))


def with_operators(program: Any) -> Wire:
    return program if isinstance(program, Wire) else Sequence(program)


wires = programs.map(with_operators)
small_wires = small.map(with_operators)


# Running them.


class Ran(SimpleNamespace):
    """What could be seen of a run: the effects, and how it ended."""

    effects: list[int]
    ending: str


async def by_definition(wire: Any) -> Ran:
    """Run a program by calling it, and then what it leaves, which is what a program means."""
    trace: list[int] = []
    effects.set(trace)
    ending = "quietly"
    try:
        with anyio.CancelScope() as scope:
            ev = SimpleNamespace(cancel=scope.cancel)
            while wire is not None and not scope.cancel_called:
                before = len(trace)
                rest = wire(ev)
                wire = await rest if isawaitable(rest) else rest
                assert len(trace) <= before + 1, "a call performed more than one step"
    except StepError as exc:
        ending = repr(exc)
    return Ran(effects=trace, ending=ending)


async def by_the_loop(wire: Any, turns: float = math.inf) -> Ran:
    """Run a program in an event loop, and cancel it if it still waits after so many turns."""
    trace: list[int] = []
    effects.set(trace)
    ending = "quietly"
    try:
        async with EventLoop() as ev:
            handle = ev.start(wire)
            while turns < math.inf and not handle.done:
                await checkpoint()
                turns -= 1
                if not turns:
                    ending = "waiting"
                    ev.cancel()
    except UnhandledException as group:
        ending = repr(group.exceptions[0])
    return Ran(effects=trace, ending=ending)
