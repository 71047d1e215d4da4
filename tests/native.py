"""What exists on asyncio only: tasks that anybody can cancel, and factories of eager tasks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from .support import on_asyncio

__all__ = [
    "eager_tasks",
    "full_speed",
    "loop_errors_ignored",
    "native_tasks",
    "needs_eager_tasks",
    "on_asyncio",
    "own_task",
    "running_loop",
    "times_out",
]

needs_eager_tasks = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="tasks are never eager before Python 3.12"
)


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs, as asyncio knows it."""
    return asyncio.get_running_loop()


def own_task() -> asyncio.Task[Any]:
    """The task that is running, to be cancelled by ``task.cancel()``."""
    task = asyncio.current_task()
    assert task is not None
    return task


async def times_out(what: Awaitable[Any], seconds: float) -> bool:
    """Wait with asyncio's own time limit, and say whether it was reached."""
    try:
        await asyncio.wait_for(what, seconds)
    except asyncio.TimeoutError:
        return True
    return False


@contextmanager
def eager_tasks() -> Iterator[None]:
    """Let every new task run at once, up to its first wait."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        loop.set_task_factory(None)


@contextmanager
def full_speed() -> Iterator[None]:
    """Leave asyncio's debug mode, if asyncio runs, where it would take most of the time."""
    loop = asyncio._get_running_loop()
    if loop is not None:
        loop.set_debug(False)
    try:
        yield
    finally:
        if loop is not None:
            loop.set_debug(True)


@contextmanager
def loop_errors_ignored() -> Iterator[None]:
    """Let failures in callbacks of the event loop be."""
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: None)
    try:
        yield
    finally:
        loop.set_exception_handler(handler)


@asynccontextmanager
async def native_tasks() -> AsyncIterator[Callable[..., Callable[[], object]]]:
    """Start tasks that are cancelled by ``task.cancel()``."""
    tasks: list[asyncio.Task[Any]] = []

    def start(function: Callable[..., Any], *args: Any) -> Callable[[], object]:
        tasks.append(asyncio.create_task(function(*args)))
        return tasks[-1].cancel

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
