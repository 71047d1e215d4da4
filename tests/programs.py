"""Programs as wires: those that ``reference.py`` works out, generated, built, and run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
from hypothesis import strategies as st

from aiowire import (
    All,
    Call,
    Catch,
    EventLoop,
    Every,
    Finally,
    Forever,
    Race,
    Retry,
    Select,
    Sequence,
    Timeout,
    UnhandledException,
    Wire,
    done,
    never,
)
from aiowire._errors import leaves

from .reference import MARK, SECOND, P, grains
from .virtual import UNIT

#: No program runs for longer.
LIMIT = 24 * SECOND + 1


class EarlyError(Exception):
    """A kind of failure."""


class LateError(Exception):
    """Another kind of failure."""


ERRORS: dict[str, type[Exception]] = {"EarlyError": EarlyError, "LateError": LateError}


class Record(NamedTuple):
    """What a run has done, and since when it runs."""

    begun: float
    trace: list[tuple[int, int]]
    alive: list[int]  # the steps that have begun and not ended


record: ContextVar[Record] = ContextVar("record")


def seconds(n: int, use: str = "step") -> float:
    return grains(n, use) * UNIT


def mark(n: int) -> int:
    """Note a number, and when that was."""
    begun, trace, _ = record.get()
    trace.append((int((anyio.current_time() - begun) / UNIT), n))
    return n


async def mark_later(n: int) -> int:
    """Take some time, then mark; when cancelled, take some turns to die."""
    alive = record.get().alive
    alive.append(n)
    try:
        await anyio.sleep(seconds(n))
    except BaseException:
        with anyio.CancelScope(shield=True):
            for _ in range(n % 4):
                await anyio.lowlevel.checkpoint()
        raise
    finally:
        alive.remove(n)
    return mark(n)


async def leave(ev: Any, n: int, rest: Any = None) -> Any:
    await mark_later(n)
    return rest


async def fail(ev: Any, n: int, kind: str) -> None:
    await mark_later(n)
    raise ERRORS[kind](n)


async def cancel(ev: EventLoop, n: int) -> None:
    await mark_later(n)
    ev.cancel()
    await anyio.sleep_forever()


async def stop(ev: EventLoop, n: int, grace: float | None) -> None:
    await mark_later(n)
    ev.stop(grace)


def start(ev: EventLoop, wire: Any, *, background: bool) -> None:
    ev.start(wire, background=background)


#: A step may be written in any of these ways.
WAYS: list[Callable[[int, Any], Any]] = [
    lambda n, rest: Wire(leave, n, rest),
    lambda n, rest: partial(leave, n=n, rest=rest),
    lambda n, rest: Call(mark_later, n).then(lambda _: rest),
]

MAKERS: dict[str, Callable[..., Any]] = {
    "mark": lambda p: WAYS[p.n % 3](p.n, None),
    "leave": lambda p, rest: WAYS[p.n % 3](p.n, rest),
    "now": lambda p: Call(mark, p.n),
    "fail": lambda p: Wire(fail, p.n, p.k),
    "cancel": lambda p: Wire(cancel, p.n),
    "stop": lambda p: Wire(stop, p.n, seconds(p.n, "grace") if p.k else None),
    "start": lambda p, a: Wire(start, a, background=False),
    "background": lambda p, a: Wire(start, a, background=True),
    "done": lambda p: done,
    "never": lambda p: never,
    "seq": lambda p, *parts: Sequence(*parts),
    "repeat": lambda p, a: Sequence(a) * p.k,
    "forever": lambda p, a: Forever(a),
    "all": lambda p, *parts: All(*parts),
    "race": lambda p, *parts: Race(*parts),
    "select": lambda p, *parts: Select(*parts),
    "timeout": lambda p, a, otherwise: Timeout(a, seconds(p.n, "timeout"), otherwise),
    "every": lambda p, a: Every(seconds(p.n, "period"), a),
    "catch": lambda p, a, b: Catch(a, lambda ev, exc: b, ERRORS.get(p.k, Exception)),
    "retry": lambda p, a: Retry(
        a, attempts=p.k, wait_initial=seconds(p.n, "wait"), wait_max=math.inf, wait_jitter=0
    ),
    "finally": lambda p, a, cleanup: Finally(a, cleanup),
}


def wire(p: P, around: Callable[[P, Any], Any] = lambda p, made: made) -> Any:
    """Build the wire that a program stands for, and put something round each part of it."""
    parts = [wire(part, around) for part in p.parts]
    return around(p, MAKERS[p.kind](p, *parts))


def operand(p: P) -> Wire:
    """Build it so that it has the operators."""
    made = wire(p)
    return made if isinstance(made, Wire) else Sequence(made)


def numbered(*programs: P) -> list[P]:
    """Give each part of the programs a number, and so a time, of its own."""
    count = itertools.count(1)

    def number(p: P) -> P:
        return replace(p, n=next(count), parts=tuple(map(number, p.parts)))

    return [number(p) for p in programs]


def walk(p: P) -> Iterator[P]:
    yield p
    for part in p.parts:
        yield from walk(part)


# Generated programs. Where it matters who is first a step comes first, which takes time.


def compound(kind: str, *parts: Any, k: Any = None) -> st.SearchStrategy[P]:
    return st.builds(
        lambda parts, k: P(kind, parts=tuple(parts), k=k),
        st.tuples(*parts),
        k if isinstance(k, st.SearchStrategy) else st.just(k),
    )


def after_mark(p: P) -> P:
    return P("seq", parts=(MARK, p))


def several(kind: str, parts: st.SearchStrategy[P], low: int, high: int) -> st.SearchStrategy[P]:
    return st.lists(parts, min_size=low, max_size=high).map(lambda ps: P(kind, parts=tuple(ps)))


def sequential(parts: st.SearchStrategy[P]) -> st.SearchStrategy[P]:
    return st.one_of(
        several("seq", parts, 2, 3),
        compound("repeat", parts.map(after_mark), k=st.integers(0, 3)),
        compound("leave", st.one_of(parts, st.just(P("now")))),
        compound("catch", parts, parts, k=st.sampled_from(["EarlyError", "LateError", ""])),
        compound("retry", parts, k=st.integers(1, 3)),
    )


def concurrent(parts: st.SearchStrategy[P]) -> st.SearchStrategy[P]:
    return st.one_of(
        several("all", parts, 0, 3),
        several("race", parts, 1, 3),
        several("select", compound("leave", parts), 1, 3),
        compound("timeout", parts, parts),
    )


def endless(parts: st.SearchStrategy[P]) -> st.SearchStrategy[P]:
    return st.one_of(
        compound("forever", parts.map(after_mark)),
        compound("every", parts.map(after_mark)),
    )


FAILING = [P("fail", k=kind) for kind in ERRORS]
ASKING = [P("cancel"), P("stop", k=False), P("stop", k=True)]

marks = st.just(MARK)
leaf = st.sampled_from([*[MARK] * 9, *FAILING, P("never"), P("done")])
finite = st.recursive(
    st.sampled_from([*[MARK] * 6, *FAILING]),
    lambda parts: st.one_of(sequential(parts), concurrent(parts)),
    max_leaves=3,
)


def cleaning(parts: st.SearchStrategy[P]) -> st.SearchStrategy[P]:
    return compound("finally", parts, finite).map(after_mark)


def starting(parts: st.SearchStrategy[P]) -> st.SearchStrategy[P]:
    simple = st.one_of(marks, compound("forever", marks), cleaning(marks))
    return st.one_of(compound("start", parts), compound("background", simple))


#: What knows nothing of the loop that it runs in, and is dead the moment that it is cancelled.
simple = st.recursive(
    leaf,
    lambda parts: st.one_of(sequential(parts), concurrent(parts), endless(parts)),
    max_leaves=5,
)
#: What knows nothing of the loop that it runs in.
closed = st.recursive(
    leaf,
    lambda parts: st.one_of(sequential(parts), concurrent(parts), endless(parts), cleaning(parts)),
    max_leaves=5,
)
#: Any program.
programs = st.recursive(
    st.sampled_from([*[MARK] * 12, *FAILING, *ASKING, P("never"), P("done")]),
    lambda parts: st.one_of(
        sequential(parts),
        concurrent(parts),
        endless(parts),
        cleaning(parts),
        starting(parts),
    ),
    max_leaves=8,
)


class Ran(NamedTuple):
    """What could be seen of a run: what was marked when, the failures, whether time was up."""

    trace: list[tuple[int, int]]
    failures: list[str]
    timed_out: bool


async def run(wire: Any, limit: float = LIMIT) -> Ran:
    """Run a wire in an event loop for so many grains of time."""
    trace: list[tuple[int, int]] = []
    record.set(Record(anyio.current_time(), trace, []))
    failures: list[str] = []
    ev = EventLoop(timeout=limit * UNIT)
    try:
        async with ev:
            ev.start(wire)
    except UnhandledException as group:
        failures = sorted(repr(each) for each in leaves(group))
    return Ran(trace, failures, ev.timed_out)
