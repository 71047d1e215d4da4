"""Catch: which failures it handles, and what comes then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import (
    All,
    Call,
    Catch,
    EventLoop,
    Forever,
    Race,
    Wire,
    done,
    never,
)

from .steps import (
    clean_up,
    fail,
    fail_later,
    fail_when_cancelled,
    failure_of,
    names,
    notes,
    run,
)
from .virtual import anyio_backend

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["anyio_backend"]


def noting(log: list[Any], rest: Any = None) -> Callable[[EventLoop, Exception], Any]:
    def note(ev: EventLoop, exc: Exception) -> Any:
        log.append(repr(exc))
        return rest

    return note


async def test_a_failure_goes_to_the_handler_and_its_wire_is_the_rest() -> None:
    log: list[Any] = []
    rest = Call(log.append, "rest")
    await run(Catch(Wire(fail, OSError(1)), noting(log, rest)) >> Call(log.append, "end"))
    assert log == ["OSError(1)", "rest", "end"]


async def test_a_handler_may_be_async_and_gets_the_loop_of_the_wire() -> None:
    loops: list[Any] = []

    async def handler(ev: EventLoop, exc: Exception) -> None:
        await checkpoint()
        loops.append(ev)

    async with EventLoop() as ev:
        ev.start(Catch(Wire(fail, OSError()), handler))
    assert loops == [ev]


async def test_without_a_failure_the_handler_is_not_called() -> None:
    log: list[Any] = []
    await run(Catch(Call(log.append, 1) * 2, noting(log)) >> Call(log.append, "end"))
    assert log == [1, 1, "end"]


async def test_a_failure_in_any_step_is_caught_and_what_was_to_follow_does_not_run() -> None:
    log: list[Any] = []
    inside = Call(log.append, 1) >> (Call(checkpoint) >> Wire(fail_later, OSError())) * 2
    await run(Catch(inside >> Call(log.append, "no"), noting(log)) >> Call(log.append, "end"))
    assert log == [1, "OSError()", "end"]


async def test_a_wire_that_gives_back_itself_is_still_watched() -> None:
    log: list[int] = []

    async def again(ev: EventLoop) -> Any:
        log.append(len(log))
        if len(log) == 5:
            raise OSError
        return again

    caught: list[Any] = []
    await run(Catch(again, noting(caught)))
    assert log == [0, 1, 2, 3, 4]
    assert caught == ["OSError()"]


@pytest.mark.parametrize(
    ("on", "failure", "caught"),
    [
        (OSError, OSError(), True),
        (OSError, FileNotFoundError(), True),
        (OSError, KeyError(), False),
        ((OSError, KeyError), KeyError(), True),
        ((), KeyError(), False),
        (OSError, ExceptionGroup("", [OSError()]), True),
        (OSError, ExceptionGroup("", [OSError(), KeyError()]), False),
        ((OSError, KeyError), ExceptionGroup("", [OSError(), KeyError()]), True),
        (OSError, ExceptionGroup("", [OSError(), ExceptionGroup("", [OSError()])]), True),
        (ExceptionGroup, ExceptionGroup("", [OSError(), KeyError()]), True),
    ],
    ids=repr,
)
async def test_which_failures_are_caught(on: Any, failure: Exception, caught: bool) -> None:
    log: list[Any] = []
    wire = Catch(Wire(fail, failure), noting(log), on)
    if caught:
        await run(wire)
        assert len(log) == 1
    else:
        assert await failure_of(wire) is failure
        assert log == []


async def test_a_group_with_one_failure_is_given_as_that_one() -> None:
    log: list[Any] = []
    await run(Catch(Wire(fail_later, OSError(1)) & (done & never), noting(log)))
    await run(Catch(All(Wire(fail, OSError()), Wire(fail, KeyError())), noting(log)))
    assert log == ["OSError(1)", "OSError()"]


async def test_a_group_of_several_is_given_as_a_group() -> None:
    log: list[Any] = []
    both = Race(Wire(fail_when_cancelled, OSError()), Wire(fail_later, KeyError()))
    await run(Catch(both, lambda ev, exc: log.append(names(exc))))
    assert log == [["KeyError", "OSError"]]


async def test_what_the_handler_and_its_wire_raise_is_raised() -> None:
    failing = Wire(fail, OSError())
    assert names(await failure_of(Catch(failing, lambda ev, exc: fail(ev, KeyError())))) == [
        "KeyError"
    ]
    later = Wire(fail_later, IndexError())
    assert names(await failure_of(Catch(failing, lambda ev, exc: later))) == ["IndexError"]


async def test_what_a_handler_gives_must_be_a_wire() -> None:
    handler: Any = lambda ev, exc: 3  # noqa: E731
    assert "returned 3" in str(await failure_of(Catch(Wire(fail, OSError()), handler)))


async def test_cancellation_is_never_handled() -> None:
    log: list[Any] = []
    async with EventLoop() as ev:
        handle = ev.start(Catch(Wire(clean_up, log), noting(log)))
        await anyio.wait_all_tasks_blocked()
        handle.cancel()
    assert log == ["cleaned up"]


async def test_catches_nest_and_the_inner_one_is_asked_first() -> None:
    log: list[Any] = []
    inner = Catch(Wire(fail, OSError()), noting(log), on=KeyError)
    middle = Catch(inner, lambda ev, exc: Wire(fail, IndexError()), on=OSError)
    await run(Catch(middle, noting(log), on=(IndexError, KeyError)))
    assert log == ["IndexError()"]


async def test_a_failure_that_is_handled_is_noted_with_the_wire_and_its_start() -> None:
    caught: list[Exception] = []
    async with EventLoop() as ev:
        ev.start(Catch(Wire(fail, OSError()), lambda ev, exc: caught.append(exc)))
    (note,) = notes(caught[0])
    assert note.startswith("in wire Wire(fail, OSError()), started at")
    assert __file__ in note


async def test_a_long_program_is_caught_in_constant_stack() -> None:
    count = [0]

    def add(ev: EventLoop) -> None:
        count[0] += 1
        if count[0] == 20_000:
            raise OSError

    caught: list[Any] = []
    await run(Catch(Forever(add), noting(caught)))
    assert caught == ["OSError()"]


async def test_a_catch_called_by_hand_takes_a_step() -> None:
    """Without a loop that runs chains the note names the caller."""
    caught: list[Exception] = []
    ev = EventLoop()
    await Catch(Wire(fail, OSError()), lambda ev, exc: caught.append(exc))(ev)
    assert "started at" in notes(caught[0])[0]
