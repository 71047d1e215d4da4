"""Finally: its clean-up runs to its end, whatever becomes of the wire."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest

from aiowire import (
    Call,
    Catch,
    EventLoop,
    Every,
    Finally,
    Forever,
    Timeout,
    Wire,
    done,
    never,
)

from .steps import fail, failure_of, names, run
from .virtual import anyio_backend

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["anyio_backend"]


def cleaning(log: list[Any]) -> Wire:
    """Take some time, then note it."""
    return Call(anyio.sleep, 2) >> Call(log.append, "clean")


async def test_the_clean_up_runs_after_the_end() -> None:
    log: list[Any] = []
    a = Call(log.append, 1) >> Call(anyio.sleep, 1) >> Call(log.append, 2)
    await run(Finally(a, cleaning(log)) >> Call(log.append, "end"))
    assert log == [1, 2, "clean", "end"]


async def test_the_clean_up_runs_after_a_failure() -> None:
    log: list[Any] = []
    wire = Finally(Wire(fail, OSError()), cleaning(log)) >> Call(log.append, "no")
    assert names(await failure_of(wire)) == ["OSError"]
    assert log == ["clean"]


@pytest.mark.parametrize(
    "cleanup",
    [
        lambda a: a * 2,
        lambda a: Timeout(Forever(a), 5),
        lambda a: Timeout(Every(3, a), 5.5),
        lambda a: (a * 2) & done,
    ],
    ids=["Repeat", "Forever", "Every", "All"],
)
async def test_the_clean_up_runs_to_its_end_when_the_loop_is_to_stop(cleanup: Any) -> None:
    """Its rounds are not those of the loop, which begin no more."""
    log: list[Any] = []

    async def stop(ev: EventLoop) -> None:
        ev.stop(1)
        await anyio.sleep_forever()

    async with EventLoop() as ev:
        ev.start(Finally(stop, cleanup(cleaning(log))))
    assert log == ["clean", "clean"]
    assert ev.cancelled


@pytest.mark.parametrize("how", ["loop", "chain", "timeout", "race", "branch fails"])
async def test_the_clean_up_runs_to_its_end_when_cancelled(how: str) -> None:
    log: list[Any] = []
    wire: Wire = Finally(never, cleaning(log)) >> Call(log.append, "no")
    if how == "timeout":
        wire = Timeout(wire, 1)
    elif how == "race":
        wire = wire | Call(anyio.sleep, 1)
    elif how == "branch fails":
        failing = Call(anyio.sleep, 1) >> Wire(fail, OSError())
        wire = Catch(wire & failing, lambda ev, exc: None)
    async with EventLoop() as ev:
        handle = ev.start(wire)
        await anyio.sleep(1)
        if how == "loop":
            ev.cancel()
        elif how == "chain":
            handle.cancel()
    assert log == ["clean"]


async def test_what_has_not_begun_is_not_cleaned_up() -> None:
    log: list[Any] = []
    async with EventLoop() as ev:
        ev.start(never >> Finally(done, cleaning(log)))
        ev.start(Finally(done, cleaning(log)))
        ev.cancel()
    assert log == []


async def test_the_loop_of_a_clean_up_is_its_own_and_waited_for() -> None:
    log: list[Any] = []

    def clean(ev: EventLoop) -> None:
        ev.start(cleaning(log))
        ev.start(never, background=True)

    async with EventLoop() as ev:
        ev.start(Finally(never, clean))
        await anyio.sleep(1)
        ev.cancel()
    assert log == ["clean"]


async def test_both_failures_are_raised() -> None:
    both = Finally(Wire(fail, OSError()), Wire(fail, KeyError()))
    failure = await failure_of(both)
    assert isinstance(failure, ExceptionGroup)
    assert [repr(each) for each in failure.exceptions] == ["OSError()", "KeyError()"]


async def test_a_failure_of_the_clean_up_is_raised_also_when_cancelled() -> None:
    failing = Wire(fail, KeyError())
    assert names(await failure_of(Finally(done, failing))) == ["KeyError"]
    assert names(await failure_of(Timeout(Finally(never, failing), 1))) == ["KeyError"]


async def test_an_interrupt_is_raised_once_the_clean_up_has_run() -> None:
    log: list[Any] = []
    with pytest.raises(SystemExit):
        await run(Finally(Wire(fail, SystemExit()), cleaning(log)))
    assert log == ["clean"]


async def test_clean_ups_nest_from_the_inside_out() -> None:
    log: list[Any] = []
    inner = Finally(never, cleaning(log) >> Call(log.append, "inner"))
    await run(Timeout(Finally(inner, Call(log.append, "outer")), 1))
    assert log == ["clean", "inner", "outer"]


async def test_the_time_limit_of_the_loop_does_not_cut_a_clean_up_short() -> None:
    log: list[Any] = []
    ev = await run(Finally(never, cleaning(log)), timeout=1)
    assert ev.timed_out
    assert log == ["clean"]
