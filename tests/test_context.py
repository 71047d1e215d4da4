"""A stretch of a task in a context of its own."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire._context import InContext

var = ContextVar("var", default="unset")


async def test_each_stretch_runs_in_the_context_and_the_rest_of_the_task_does_not() -> None:
    async def stretch() -> str:
        for value in ("first", "second"):
            seen.append(var.get())
            var.set(value)
            await checkpoint()
        return var.get()

    seen: list[str] = []
    context = copy_context()
    context.run(var.set, "before")
    assert await InContext(context, stretch()) == "second"
    assert seen == ["before", "first"]
    assert var.get() == "unset"
    assert context[var] == "second"


async def test_cancellation_and_failures_pass_through() -> None:
    async def stretch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(var.get())
            raise ValueError

    seen: list[str] = []
    context = copy_context()
    context.run(var.set, "inside")
    with pytest.raises(ValueError), anyio.move_on_after(0.001):
        await InContext(context, stretch())
    assert seen == ["inside"]


def test_it_is_an_iterator_that_can_be_closed() -> None:
    class Pause:
        def __await__(self) -> Any:
            yield "pause"

    async def stretch() -> None:
        try:
            await Pause()
        finally:
            seen.append(var.get())

    seen: list[str] = []
    context = copy_context()
    context.run(var.set, "inside")
    steps = iter(InContext(context, stretch()))
    assert next(steps) == "pause"
    steps.close()  # type: ignore[attr-defined]
    assert seen == ["inside"]
    with pytest.raises(ValueError):
        InContext(context, stretch()).throw(ValueError)
