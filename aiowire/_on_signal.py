"""Signals as events: a wire that runs another each time that one arrives.

An event loop has one receiver for each signal, the one that was opened last. So whoever wants a
signal is entered here, and the receiver, be it that of :func:`aiowire.run`, of the command, or of
such a wire, gives each signal to all of them. When a receiver is closed the next one opens its own.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from ._chain import follow
from ._check import check_wire, name_of
from ._fork import Fork
from ._wire import AnyWire, Rest, Wire

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["OnSignal"]

#: Those who want a signal.
wanted: dict[int, list[Arrivals]] = {}

#: The signals that somebody receives, and what is set when that is over.
received: dict[int, anyio.Event] = {}


class Arrivals:
    """The signals that have come for one wire."""

    def __init__(self) -> None:
        self._queue: deque[int] = deque()
        self._news = anyio.Event()

    def add(self, number: int) -> None:
        """Note that a signal has come."""
        self._queue.append(number)
        self._news.set()

    def wake(self) -> None:
        """Let who waits look."""
        self._news.set()

    def take(self) -> bool:
        """Take a signal, if one has come."""
        if self._queue:
            self._queue.popleft()
            return True
        self._news = anyio.Event()
        return False

    async def wait(self) -> None:
        """Wait for news."""
        await self._news.wait()


def deliver(number: int) -> bool:
    """Give a signal to those who want it, and say whether there is one."""
    takers = wanted.get(number, [])
    for each in takers:
        each.add(number)
    return bool(takers)


async def receive(number: int) -> None:
    """See that a signal is received, by others or here."""
    while True:
        while number in received:
            await received[number].wait()
        received[number] = over = anyio.Event()
        try:
            with anyio.open_signal_receiver(signal.Signals(number)) as arriving:
                async for each in arriving:
                    deliver(each)
        finally:
            del received[number]
            over.set()


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
        self._numbers = tuple(map(check_signal, numbers))
        self._wire = wire

    async def __call__(self, ev: EventLoop) -> Rest:
        """Wait for signals, and run the wire."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{self!r} works in the main thread only: no other gets signals")
        arrivals = Arrivals()
        ev._tell(arrivals, arrivals.wake)
        for number in self._numbers:
            wanted.setdefault(number, []).append(arrivals)

        async def rounds(branch: EventLoop) -> None:
            for number in self._numbers:
                branch.start(receiving(number), background=True)
            while not ev.stopping:
                if arrivals.take():
                    await follow(self._wire, ev, ev._crew.turn)
                else:
                    await arrivals.wait()

        try:
            await Fork(ev).host(rounds, anyio.CancelScope())
        finally:
            ev._forget(arrivals)
            for number in self._numbers:
                wanted[number].remove(arrivals)
        return None

    def __repr__(self) -> str:
        names = [signal.Signals(number).name for number in self._numbers]
        return f"OnSignal({', '.join([*names, name_of(self._wire)])})"


def receiving(number: int) -> AnyWire:
    """Give the wire that receives a signal."""
    return Wire(lambda ev: receive(number))


def check_signal(number: Any) -> int:
    """Refuse anything but a signal that can be received."""
    try:
        known = signal.Signals(number)
    except ValueError:
        raise ValueError(f"OnSignal(signal, ..., wire): {number!r} is not a signal") from None
    if known.name in ("SIGKILL", "SIGSTOP"):
        raise ValueError(f"{known.name} cannot be received by any program")
    return known
