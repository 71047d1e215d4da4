"""Steps that fail and steps that clean up, for the tests of what goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import EventLoop, UnhandledException
from aiowire._errors import leaves

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


E = TypeVar("E", bound=BaseException)


class Stop(BaseException):
    """An exception that is no failure."""


INTERRUPTS = [SystemExit, KeyboardInterrupt, GeneratorExit, Stop]


def fail(ev: EventLoop, exc: BaseException) -> None:
    raise exc


async def fail_later(ev: EventLoop, exc: BaseException) -> None:
    await checkpoint()
    raise exc


def fail_as_group(ev: EventLoop, exc: BaseException) -> None:
    raise BaseExceptionGroup("", [BaseExceptionGroup("", [exc])])


async def fail_when_cancelled(ev: EventLoop, exc: BaseException) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise exc


async def clean_up(ev: EventLoop, log: list[str], name: str = "cleaned up") -> None:
    """Wait, and when cancelled take some time to clean up."""
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            for _ in range(5):
                await checkpoint()
        log.append(name)


def notes(exc: BaseException) -> list[str]:
    return getattr(exc, "__notes__", [])


async def raised_by(use: Callable[[EventLoop], Any], sort: type[E]) -> E:
    """What leaves the block of a loop whose body is this function."""
    with pytest.raises(sort) as info:
        async with EventLoop() as ev:
            await use(ev)
    return info.value


async def group_of(use: Callable[[EventLoop], Any]) -> UnhandledException:
    """The same, where it is a group of failures."""
    return await raised_by(use, UnhandledException)


async def run(*wires: Any, timeout: float | None = None) -> EventLoop:
    """Run wires in a loop, and give that."""
    async with EventLoop(timeout) as ev:
        for wire in wires:
            ev.start(wire)
    return ev


async def failure_of(wire: Any) -> Exception:
    """Run a wire that fails."""

    async def start(ev: EventLoop) -> None:
        ev.start(wire)

    (failure,) = (await group_of(start)).exceptions
    return failure


def names(exc: Exception) -> list[str]:
    """Name the kinds of the failures in one."""
    return sorted(type(each).__name__ for each in leaves(exc))
