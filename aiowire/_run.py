"""Run wires from ordinary code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

import anyio

from ._check import check_seconds, check_wires
from ._loop import EventLoop
from ._wire import AnyWire

__all__ = ["run"]


def run(
    wire: AnyWire,
    *more: AnyWire,
    timeout: float | None = None,
    backend: str = "asyncio",
    backend_options: Mapping[str, Any] | None = None,
) -> None:
    """Start an event loop, run wires in it until all have ended, and come back.

    :param wire: a wire
    :param more: further wires, to run at the same time
    :param timeout: seconds after which everything is cancelled; ``None`` for no limit
    :param backend: ``"asyncio"``, ``"uvloop"`` (asyncio on uvloop's event loop) or ``"trio"``
    :param backend_options: options for :func:`anyio.run`
    :raises UnhandledException: when wires failed with nobody to handle it
    :raises KeyboardInterrupt: after Ctrl-C, on every backend, once everything is cleaned up,
        also where it was pressed again meanwhile
    :raises RuntimeError: when an event loop is running in this thread already
    :raises LookupError: when the backend is unknown or not installed
    :raises TypeError: when a wire is not callable
    :raises ValueError: when ``timeout`` is negative or NaN ::

        aiowire.run((Call(anyio.sleep, 0.1) >> Call(print, "beep")) * 4, backend="trio")
    """
    wires = (wire, *more)
    check_wires(wires, "aiowire.run({wire})")
    check_seconds(timeout, "timeout")
    caller = sys._getframe(1)

    from ._signals import Signals, interrupts  # not needed by those who have a loop of their own

    signals = Signals(*interrupts())

    async def main() -> None:
        async with signals.cancelling(), EventLoop(timeout) as ev:
            for each in wires:
                ev._start(each, None, None, copy_context(), caller.f_code, caller.f_lasti, ev)

    name, options = backend_of(backend, backend_options)
    try:
        with signals.handled(signals.note):
            anyio.run(main, backend=name, backend_options=options)
    except Exception as exc:
        if signals.first:  # it failed in its clean-up
            raise KeyboardInterrupt from exc
        raise
    if signals.first:
        raise KeyboardInterrupt


def backend_of(name: str, options: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Give the backend as anyio knows it: uvloop is asyncio with an option."""
    if name == "uvloop":
        return "asyncio", {"use_uvloop": True, **(options or {})}
    return name, dict(options or {})
