"""SIGINT and SIGTERM: the same on every backend, and gentle to clean-up.

What Python and the event loops do of themselves differs. Python raises KeyboardInterrupt wherever
the program happens to be. asyncio cancels the main task instead, but only once: when Ctrl-C is
pressed again, during clean-up, that is broken off. None of them takes care of SIGTERM.

Here the first signal cancels a block, and those that follow change nothing. There is one
exception: code that holds up the event loop holds up the cancellation too. If that goes on for
more than a second, the next signal raises KeyboardInterrupt right there.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any

import anyio

from ._on_signal import deliver, received

__all__: list[str] = []

#: How long, in seconds, a signal waits for the event loop to notice it.
PATIENCE = 1.0


class Signals:
    """Signals that are to stop a program."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        #: The first that came, or 0.
        self.first: int = 0
        self._impatient_at = math.inf

    @contextmanager
    def handled(
        self, handler: Callable[[int, FrameType | None], object]
    ) -> Generator[None, None, None]:
        """Have a function handle the signals in the block."""
        before = [(number, signal.signal(number, handler)) for number in self._numbers]
        try:
            yield
        finally:
            for number, handler_before in before:
                signal.signal(number, handler_before)

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal, and do no more about it."""
        self.first = self.first or number

    @asynccontextmanager
    async def cancelling(self) -> AsyncGenerator[None, None]:
        """Cancel the block when a signal comes, or if one was noted before."""
        if not self._numbers:
            yield
            return
        failure: BaseException | None = None
        with self._received() as arriving:
            async with anyio.create_task_group() as group:
                scope = anyio.CancelScope()
                group.start_soon(self._cancel, scope, arriving)
                if self.first:
                    scope.cancel()
                try:
                    with scope:
                        yield
                except BaseException as exc:
                    failure = exc
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @contextmanager
    def _received(self) -> Generator[AsyncIterator[int], None, None]:
        """Have the event loop handle the signals, and watch that it does."""
        with anyio.open_signal_receiver(*map(signal.Signals, self._numbers)) as arriving:
            for number in self._numbers:
                receive: Any = signal.getsignal(number)
                signal.signal(number, partial(self._hurry, receive))
            received.update(dict.fromkeys(self._numbers, over := anyio.Event()))
            try:
                yield arriving
            finally:
                over.set()
                for number in self._numbers:
                    del received[number]
        for number in self._numbers:  # asyncio has left Python's handlers behind
            signal.signal(number, self.note)

    def _hurry(self, receive: Any, number: int, frame: FrameType | None) -> None:
        receive(number, frame)
        now = monotonic()
        if not self.first and now >= self._impatient_at:
            raise KeyboardInterrupt
        self._impatient_at = min(self._impatient_at, now + PATIENCE)

    async def _cancel(self, scope: anyio.CancelScope, arriving: AsyncIterator[int]) -> None:
        async for number in arriving:
            if deliver(number):
                self._impatient_at = math.inf
            else:
                self.note(number)
                scope.cancel()


def interrupts() -> list[signal.Signals]:
    """Give the signals that would raise KeyboardInterrupt: SIGINT, or none.

    Those of other threads never do, nor does one that the program handles in its own way.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return [signal.SIGINT] if is_heeded else []
