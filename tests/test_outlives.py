"""Nothing outlives: when a combinator, or the block of a loop, has ended, all in it is dead.

Steps that are cancelled take some turns to die, and note it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowire import Call, EventLoop, Sequence, UnhandledException

from .oracle import FULL, generated
from .programs import LIMIT, Record, closed, numbered, programs, record, run, walk, wire
from .reference import P
from .virtual import UNIT, anyio_backend

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["anyio_backend"]

pytestmark = pytest.mark.timeout(300)

many = settings(generated, max_examples=1000 if FULL else 50)


@pytest.fixture(autouse=True)
async def one_event_loop() -> AsyncIterator[None]:
    """Run all examples of a test in the same event loop, which is faster."""
    yield  # noqa: PT022 (the generator is what keeps the event loop)


def checked(p: P, made: Any) -> Any:
    """Have a combinator followed by the question whether any step in it is alive."""
    if p.kind not in ("all", "race", "timeout"):
        return made
    inside = {part.n for part in walk(p)}

    def check() -> None:
        assert not inside & {*record.get().alive}

    return Sequence(made, Call(check))


@pytest.mark.stress
@many
@given(program=closed)
async def test_when_a_combinator_ends_all_in_it_is_dead(program: P) -> None:
    (program,) = numbered(program)
    assert "AssertionError" not in "".join((await run(wire(program, checked))).failures)


# The ways to end a program before its time.


async def cancel_loop(ev: EventLoop, handle: Any) -> None:
    ev.cancel()


async def cancel_chain(ev: EventLoop, handle: Any) -> None:
    handle.cancel()


async def stop(ev: EventLoop, handle: Any) -> None:
    ev.stop(1)


async def fail(ev: EventLoop, handle: Any) -> None:
    ev.start(Call(int, "x"))


async def leave(ev: EventLoop, handle: Any) -> None:
    raise KeyError


async def cancel_twice(ev: EventLoop, handle: Any) -> None:
    handle.cancel()
    await checkpoint()
    ev.cancel()


ENDS: list[Callable[..., Any]] = [cancel_loop, cancel_chain, stop, fail, leave, cancel_twice]


async def turns(number: int) -> None:
    for _ in range(number):
        await checkpoint()


moments = st.one_of(
    st.tuples(st.just(turns), st.integers(0, 12)),
    st.tuples(st.just(lambda grains: anyio.sleep(grains * UNIT)), st.integers(1, LIMIT // 2)),
)


class Witness:
    """Something that a program holds."""

    def see(self, ev: Any) -> None:
        """Be a step."""


async def run_until(moment: Any, end: Any, made: Any) -> None:
    """Run a program until some moment, and end it in some way."""
    wait, number = moment
    try:
        async with EventLoop(timeout=LIMIT * UNIT) as ev:
            handle = ev.start(made)
            with anyio.CancelScope(shield=True):
                await wait(number)
            await end(ev, handle)
    except (UnhandledException, ExceptionGroup, KeyError):
        pass


@pytest.mark.stress
@many
@given(program=programs, moment=moments, end=st.sampled_from(ENDS))
async def test_whenever_a_program_is_cancelled_nothing_of_it_is_left(
    program: P, moment: Any, end: Any
) -> None:
    (program,) = numbered(program)
    witness = Witness()
    last = weakref.ref(witness)
    made = Sequence(wire(program), witness.see)
    alive: list[int] = []
    record.set(Record(anyio.current_time(), [], alive))
    tasks = {task.id for task in anyio.get_running_tasks()}
    await run_until(moment, end, made)
    assert alive == []
    assert {task.id for task in anyio.get_running_tasks()} == tasks
    del made, witness
    gc.collect()
    assert last() is None
