"""Signals as events: a wire that runs another each time that one arrives."""

from __future__ import annotations

import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from ._chain import follow
from ._check import check_wire, name_of
from ._signals import listening, poster
from ._wire import Rest, Wire

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["OnSignal"]


class Arrivals:
    """The signals that have come for one wire."""

    def __init__(self) -> None:
        self._queue: deque[int] = deque()
        self._news = anyio.Event()
        self._post = poster()

    def add(self, number: int) -> None:
        """Note that a signal has come; called in the handler of that."""
        self._queue.append(number)
        self._post(self.wake)

    def wake(self) -> None:
        """Let who waits look."""
        self._news.set()

    def take(self) -> bool:
        """Take a signal, if one has come."""
        if self._queue:
            self._queue.popleft()
            return True
        self._news = anyio.Event()
        return False  # one that has come between the two wakes what waits

    async def wait(self) -> None:
        """Wait for news."""
        await self._news.wait()


class OnSignal(Wire):
    """Run a wire to its end each time that one of some signals arrives.

    Signals that arrive while it runs are kept, and it runs again for each. What the signals do
    otherwise, such as to end the program, they do not do meanwhile. It ends when its loop is to
    stop.

    :param signals: the signals, and last the wire
    :raises ValueError: for what is no signal, and for one that no program can receive
    :raises TypeError: when the last argument is not a wire, or no signal is given

    *Errors*: :exc:`RuntimeError` outside the main thread, where Python receives no signals; the
    failure of the wire.

    *Cancellation*: that of the wire. ::

        ev.start(OnSignal(signal.SIGTERM, Call(ev.stop, 5)), background=True)
    """

    __slots__ = ("_numbers", "_wire")

    def __init__(self, *signals: Any) -> None:
        if len(signals) < 2:
            raise TypeError("write OnSignal(signal, ..., wire): one signal at least, and a wire")
        *numbers, wire = signals
        check_wire(wire, "OnSignal(signal, {wire})")
        self._numbers = tuple(dict.fromkeys(map(check_signal, numbers)))
        self._wire = wire

    async def __call__(self, ev: EventLoop) -> Rest:
        """Wait for signals, and run the wire."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{self!r} works in the main thread only: no other gets signals")
        arrivals = Arrivals()
        ev._tell(arrivals, arrivals.wake)
        try:
            with listening(self._numbers, arrivals.add):
                while not ev.stopping:
                    if arrivals.take():
                        await follow(self._wire, ev, ev._crew.turn)
                    else:
                        await arrivals.wait()
        finally:
            ev._forget(arrivals)
        return None

    def __repr__(self) -> str:
        names = [signal.Signals(number).name for number in self._numbers]
        return f"OnSignal({', '.join([*names, name_of(self._wire)])})"


def check_signal(number: Any) -> int:
    """Refuse anything but a signal that can be received."""
    try:
        known = signal.Signals(number)
    except ValueError:
        raise ValueError(f"OnSignal(signal, ..., wire): {number!r} is not a signal") from None
    if known.name in ("SIGKILL", "SIGSTOP"):
        raise ValueError(f"{known.name} cannot be received by any program")
    return known
