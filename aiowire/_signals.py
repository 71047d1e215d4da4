"""SIGINT, SIGTERM and others: the same on every backend, and gentle to clean-up.

What Python and the event loops do of themselves differs. Python raises KeyboardInterrupt wherever
the program happens to be. asyncio cancels the main task instead, but only once: when Ctrl-C is
pressed again, during clean-up, that is broken off. None of them takes care of SIGTERM.

The event loops can receive signals, but have one receiver for each, and when it is closed the
signal does what it does by default, which may be to end the program. No receiver could take over
from another without such a moment. So functions of Python handle signals here, which run between
two instructions of the main thread. They only note the signal and have the event loop call
something soon, which each of them lets such functions do.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any

import anyio
from anyio.lowlevel import current_token

__all__: list[str] = []

#: How long, in seconds, a signal waits for the event loop to notice it.
PATIENCE = 1.0

#: Who hears a signal, and what handled it before anybody did.
listeners: dict[int, list[Callable[[int], object]]] = {}
replaced: dict[int, Any] = {}


def poster() -> Callable[[Callable[[], object]], object]:
    """Give what has the running event loop call a function soon, from a handler of signals."""
    loop: Any = current_token().native_token
    post = loop.run_sync_soon if hasattr(loop, "run_sync_soon") else loop.call_soon_threadsafe

    def post_if_it_runs(function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop has come to its end: nobody is left to be told
            post(function)

    return post_if_it_runs


@contextmanager
def listening(
    numbers: Iterable[int], listener: Callable[[int], object]
) -> Generator[None, None, None]:
    """Have a function called with each signal that arrives, right in the handler of that."""
    for number in numbers:
        listeners.setdefault(number, []).append(listener)
        if number not in replaced:
            replaced[number] = signal.signal(number, tell)
    try:
        yield
    finally:
        for number in numbers:
            listeners[number].remove(listener)
            if not listeners[number]:
                restore(number, replaced.pop(number))


def tell(number: int, frame: FrameType | None) -> None:
    """Handle a signal: tell all who listen."""
    for listener in tuple(listeners[number]):
        listener(number)


def restore(number: int, handler: Any) -> None:
    """Have a signal do what it did before."""
    # Python does not know what it was, if it was not from Python.
    signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Signals:
    """Signals that are to stop a program.

    The first cancels a block, and those that follow change nothing. There is one exception: code
    that holds up the event loop holds up the cancellation too. If that goes on for more than a
    second, the next signal raises KeyboardInterrupt right there.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        #: The first that came, or 0.
        self.first: int = 0
        self._stop: Callable[[], object] | None = None  # has the event loop cancel the block
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
                restore(number, handler_before)

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal: note it, and cancel the block, if there is one."""
        self.first = self.first or number
        if self._stop is not None:
            now = monotonic()
            if now >= self._impatient_at:
                raise KeyboardInterrupt
            self._impatient_at = min(self._impatient_at, now + PATIENCE)
            self._stop()

    @asynccontextmanager
    async def cancelling(self) -> AsyncGenerator[None, None]:
        """Cancel the block when a signal comes, or if one was noted before."""
        post = poster()
        with anyio.CancelScope() as scope:

            def cancel() -> None:
                self._stop = None  # those that follow change nothing
                scope.cancel()

            self._stop = lambda: post(cancel)
            if self.first:
                cancel()
            try:
                yield
            finally:
                self._stop = None


def interrupts() -> list[signal.Signals]:
    """Give the signals that would raise KeyboardInterrupt: SIGINT, or none.

    Those of other threads never do, nor does one that the program handles in its own way.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return [signal.SIGINT] if is_heeded else []
