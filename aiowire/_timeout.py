"""Wires and time: a limit, and an absolute grid."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import anyio

from ._check import check_seconds, check_wire, name_of
from ._fork import Fork
from ._wire import COMPOSITES, AnyWire, Composite, Rest, Sequence, Todo, Wire, done

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["Every", "Timeout"]


class Timeout(Wire):
    """Run a wire to its end, or, when its time is up, cancel it and run another.

    The wire has a nested loop as its ``ev``; its end is that of all that it started there. Time
    counts from when it begins. There is no task for it.

    :param a: the wire
    :param seconds: for how long it may run; :data:`math.inf` for ever
    :param otherwise: what runs when it was cancelled, once it is dead
    :raises ValueError: when ``seconds`` is negative or NaN
    :raises TypeError: when ``seconds`` is not a number, or a wire is not callable

    *Errors*: a single failure as it is, several as an :exc:`ExceptionGroup`.

    *Cancellation*: that of the wire. ::

        ev.start(Timeout(Call(connect), 5, Call(print, "no answer")))
    """

    __slots__ = ("_otherwise", "_seconds", "_wire")

    def __init__(self, a: AnyWire, seconds: float, otherwise: AnyWire = done) -> None:
        check_wire(a, "Timeout({wire}, seconds)")
        check_wire(otherwise, "Timeout(a, seconds, {wire})")
        self._seconds = check_given(seconds)
        self._wire = a
        self._otherwise = otherwise

    def __call__(self, ev: EventLoop) -> Awaitable[Rest]:
        """Run the wire within the time."""
        return Fork(ev).host(self._wire, anyio.move_on_after(self._seconds), self._otherwise)

    def __repr__(self) -> str:
        otherwise = "" if self._otherwise is done else f", {name_of(self._otherwise)}"
        return f"Timeout({name_of(self._wire)}, {self._seconds!r}{otherwise})"


class Every(Composite):
    """Run a wire at once, and then after each ``seconds``, counted from when it began.

    The times are on a grid: that a run takes long, or begins late, does not shift those after it. A
    run that overruns its period skips the times that it missed. Two runs never overlap. ::

        Every(seconds, a) = a >> (wait for the next time on the grid) >> a >> ...

    It ends when its loop is to stop.

    :param seconds: the period; with 0 one run follows the other
    :param a: the wire
    :raises ValueError: when ``seconds`` is negative or NaN
    :raises TypeError: when ``seconds`` is not a number, or ``a`` is not callable

    *Cancellation*: that of ``a``; no further run begins. ::

        ev.start(Every(1, Call(print, "tick")))
    """

    __slots__ = ("_seconds", "_wire")

    def __init__(self, seconds: float, a: AnyWire) -> None:
        check_wire(a, "Every(seconds, {wire})")
        self._seconds = check_given(seconds)
        self._wire = a

    def unfold(self, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
        if getattr(ev, "stopping", False):
            return done, todo
        return self._wire, (Tick(self._seconds, self._wire, anyio.current_time(), 1), todo)

    def __repr__(self) -> str:
        return f"Every({self._seconds!r}, {name_of(self._wire)})"


class Tick(Wire):
    """The wait for the time of a run, and that run."""

    __slots__ = ("_begun", "_number", "_seconds", "_wire")

    def __init__(self, seconds: float, wire: AnyWire, begun: float, number: int) -> None:
        self._seconds = seconds
        self._wire = wire
        self._begun = begun
        self._number = number  # of the first time on the grid that it may be

    async def __call__(self, ev: EventLoop) -> Rest:
        """Wait for the time, unless the loop is to stop before."""
        number = self._number
        if self._seconds:
            late = (anyio.current_time() - self._begun) / self._seconds
            if math.isfinite(late):  # else the period is too short for numbers to tell
                number = max(number, math.ceil(late))
        with anyio.CancelScope(deadline=self._begun + number * self._seconds):
            await ev._wait_for_stop()
        if ev.stopping:
            return None
        return Sequence(self._wire, Tick(self._seconds, self._wire, self._begun, number + 1))

    def __repr__(self) -> str:
        return f"Every({self._seconds!r}, {name_of(self._wire)})"


def check_given(seconds: object) -> float:
    """Give back a number of seconds; other than elsewhere, ``None`` is not "no limit" here."""
    if seconds is None:
        raise TypeError("seconds is a number of seconds, or math.inf for ever, got None")
    return check_seconds(seconds, "seconds")


COMPOSITES.add(Every)
