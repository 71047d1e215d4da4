"""Wires and failure: what handles them, tries again, and cleans up."""

from __future__ import annotations

import random
import sys
from functools import partial
from typing import Any, NamedTuple, cast

import anyio

from ._call import Call
from ._chain import Handler, follow, handle
from ._check import (
    INFINITY,
    check_handler,
    check_seconds,
    check_times,
    check_wire,
    name_of,
    options_text,
)
from ._errors import annotate, bare, hung_on, leaves, parted, sort_out
from ._fork import origin
from ._loop import EventLoop
from ._wire import AnyWire, Rest, Sequence, Wire, take_step

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["Catch", "Finally", "Retry"]


class Catch(Wire):
    """Run a wire to its end; if it fails, go on with the wire that a function gives for that. ::

        Catch(a, h) = the first step of a, and Catch(what it leaves, h), or h(ev, exc)

    :param a: the wire
    :param handler: called with ``(ev, exc)``; may be async; its wire, or ``None``, is the rest
    :param on: the class of failures, or a tuple of classes, that it is for. A group with one
        failure counts as that failure, and is given as such; a group of several counts if all do.
    :raises TypeError: when ``a`` or ``handler`` is not callable, or ``on`` is no such class

    *Errors*: failures that do not match, and those of the handler and its wire, are raised.

    *Cancellation*: that of ``a``; it is never handled. ::

        ev.start(Catch(Call(connect), lambda ev, exc: Call(print, exc), on=OSError))
    """

    __slots__ = ("_handler", "_on", "_wire")

    def __init__(
        self,
        a: AnyWire,
        handler: Handler,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> None:
        check_wire(a, "Catch({wire}, handler)")
        if handler is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise TypeError("Catch needs a handler, a function of (ev, exc), got None")
        check_handler(handler)
        self._on = check_kinds(on)
        self._wire = a
        self._handler = handler

    async def __call__(self, ev: EventLoop) -> Rest:
        """Take a step of the wire, or handle its failure."""
        try:
            rest = await take_step(self._wire, ev)
        except BaseException as exc:
            failure = self._caught(exc, ev)
            if failure is None:
                raise
            annotate(failure, self._wire, *origin())
            try:
                return await handle(self._handler, ev, failure)
            finally:
                del failure  # it knows this frame: no cycle is left behind
        if rest is None or rest is self._wire:
            return None if rest is None else self
        return Catch(rest, self._handler, self._on)

    def _caught(self, exc: BaseException, ev: EventLoop) -> Exception | None:
        """Give the failure in what was raised, if it is one to be handled."""
        failure, others = sort_out(exc)
        if failure is None or not all(isinstance(x, ev._crew.cancellation) for x in others):
            return None
        failure = bare(failure)
        return failure if matches(failure, self._on) else None

    def __repr__(self) -> str:
        on = "" if self._on is Exception else f", on={kinds_text(self._on)}"
        return f"Catch({name_of(self._wire)}, {name_of(self._handler)}{on})"


#: The options of a retry, as they are kept when they are not given.
DEFAULTS: dict[str, object] = {
    "attempts": 10,
    "timeout": INFINITY,
    "wait_initial": 0.1,
    "wait_max": 5.0,
    "wait_jitter": 1.0,
    "intensity": (INFINITY, 0.0),
}


class Retry(Wire):
    """Run a wire to its end; each time that it fails, wait, and run it afresh.

    The waits grow exponentially up to a limit, and are shortened at random, so that many who have
    failed at the same time do not try again at the same time. When no more attempts are left the
    last failure is raised. ::

        Retry(a) = Catch(a, wait a while >> Retry with an attempt less)

    :param a: the wire
    :param on: the class of failures, or a tuple of classes, to try again after; see :class:`Catch`
    :param attempts: how many, the first one included; :data:`math.inf` for no limit
    :param timeout: how many seconds from its beginning no attempt begins any more; ``None`` for no
        limit. It does not cut an attempt short: that is ``Timeout(a, seconds)``.
    :param wait_initial: seconds of the first wait; each one after it is twice as long
    :param wait_max: seconds of the longest
    :param wait_jitter: which part of a wait is left to chance, 0 to 1: with 1 it is any time
        between none and the whole, with 0 always the whole
    :param intensity: ``(number, seconds)``: give up when it fails more than so many times within so
        many seconds, as the supervisors of Erlang's OTP do; ``None`` for no such limit
    :raises ValueError: for numbers that make no sense
    :raises TypeError: for what are no numbers, no wire, no class of failures

    *Cancellation*: that of the wire, or of the wait. ::

        ev.start(Retry(Call(connect), on=OSError, attempts=5))

    Full jitter is that of M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog,
    2015).
    """

    __slots__ = (
        "_attempts",
        "_intensity",
        "_on",
        "_timeout",
        "_wait_initial",
        "_wait_jitter",
        "_wait_max",
        "_wire",
    )

    def __init__(
        self,
        a: AnyWire,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        *,
        attempts: float = 10,
        timeout: float | None = None,
        wait_initial: float = 0.1,
        wait_max: float = 5.0,
        wait_jitter: float = 1.0,
        intensity: tuple[int, float] | None = None,
    ) -> None:
        check_wire(a, "Retry({wire})")
        self._on = check_kinds(on)
        self._attempts = check_attempts(attempts)
        self._timeout = check_seconds(timeout, "timeout")
        self._wait_initial = check_seconds(wait_initial, "wait_initial")
        self._wait_max = check_seconds(wait_max, "wait_max")
        self._wait_jitter = check_part(wait_jitter, "wait_jitter")
        self._intensity = check_intensity(intensity)
        self._wire = a

    async def __call__(self, ev: EventLoop) -> Rest:
        """Take the first step of the first attempt."""
        return await self._attempt(Record(anyio.current_time()))(ev)

    def _attempt(self, record: Record) -> Catch:
        return Catch(self._wire, partial(self._again, record), self._on)

    def _again(self, record: Record, ev: EventLoop, exc: Exception) -> Rest:
        """Give another attempt, or the failure."""
        now = anyio.current_time()
        number, window = self._intensity
        failed = (*[time for time in record.failed if time > now - window], now)
        wait = min(self._wait_initial * 2 ** min(record.number, 1000), self._wait_max)
        wait *= 1 - self._wait_jitter * random.random()
        if (
            record.number + 1 >= self._attempts
            or len(failed) > number
            or now + wait > record.begun + self._timeout
        ):
            try:
                raise exc
            finally:
                del exc  # it knows this frame: no cycle is left behind
        return Sequence(
            Call(anyio.sleep, wait), self._attempt(Record(record.begun, record.number + 1, failed))
        )

    def __repr__(self) -> str:
        on = "" if self._on is Exception else f", on={kinds_text(self._on)}"
        return f"Retry({name_of(self._wire)}{on}{options_text(self, DEFAULTS)})"


class Record(NamedTuple):
    """What a retry knows of its past."""

    begun: float
    number: int = 0  # of attempts that have failed
    failed: tuple[float, ...] = ()  # the times of those that count for the intensity


class Finally(Wire):
    """Run a wire to its end, and then another, whatever becomes of the first.

    The clean-up runs when the wire has ended, failed or been cancelled, and is itself shielded from
    cancellation, and from an orderly stop: it runs to its end, all its rounds included. Its ``ev``
    is a loop of its own. The two are one step. ::

        try: a to its end
        finally: shielded, cleanup to its end

    :param a: the wire
    :param cleanup: the wire that runs last; one that has not begun when the loop is cancelled never
        does, nor does its clean-up
    :raises TypeError: when one of them is not callable

    *Errors*: that of either; if both fail, an :exc:`ExceptionGroup` of the two.

    *Cancellation*: that of ``a``; it goes on when the clean-up has run. ::

        ev.start(Finally(Call(measure), Call(switch_off)))
    """

    __slots__ = ("_cleanup", "_wire")

    def __init__(self, a: AnyWire, cleanup: AnyWire) -> None:
        check_wire(a, "Finally({wire}, cleanup)")
        check_wire(cleanup, "Finally(a, {wire})")
        self._wire = a
        self._cleanup = cleanup

    async def __call__(self, ev: EventLoop) -> Rest:
        """Run both."""
        raised: list[BaseException] = []
        try:
            await follow(self._wire, ev, ev._crew.turn)
        except BaseException as exc:
            raised.append(exc)
        try:
            with anyio.CancelScope(shield=True):
                inner = EventLoop()
                inner._is_shielded = True  # from an orderly stop, too
                async with inner:
                    await follow(self._cleanup, inner, inner._crew.turn)
        except BaseException as exc:
            raised.append(exc)
        try:
            if raised:
                raise leaving(raised, ev._crew.cancellation)
        finally:
            raised.clear()
        return None

    def __repr__(self) -> str:
        return f"Finally({name_of(self._wire)}, {name_of(self._cleanup)})"


def leaving(raised: list[BaseException], cancellation: type[BaseException]) -> BaseException:
    """Give what is raised in the end by a wire and its clean-up, of which either may have failed.

    A failure takes the place of a cancellation, as it does wherever Python cleans up.
    """
    failures, interrupts = parted(raised, cancellation)
    if len(raised) == 1 or not (failures or interrupts):
        return raised[0]
    failures = [*hung_on(interrupts), *failures]
    failure = failures[0] if failures else None
    if len(failures) > 1:
        failure = ExceptionGroup("a wire and its clean-up failed", failures)
    if not interrupts:
        return cast("Exception", failure)
    interrupts[0].__cause__ = failure
    return interrupts[0]


def matches(failure: Exception, on: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Say whether a failure is of some class, or a group of failures that all are."""
    return isinstance(failure, on) or all(isinstance(each, on) for each in leaves(failure))


def kinds_text(on: type[Exception] | tuple[type[Exception], ...]) -> str:
    """Write classes of failures as they stand in a program."""
    if isinstance(on, tuple):
        return f"({', '.join(each.__name__ for each in on)}{',' if len(on) == 1 else ''})"
    return on.__name__


def check_kinds(on: Any) -> type[Exception] | tuple[type[Exception], ...]:
    """Refuse anything but a class of failures, or a tuple of them."""
    kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)  # pyright: ignore[reportUnknownVariableType]
    for each in kinds:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise TypeError(f"on is a class of exceptions or a tuple of them, got {on!r}")
    return cast("type[Exception] | tuple[type[Exception], ...]", on)


def check_attempts(attempts: float) -> float:
    """Refuse anything but a whole number from 1, or ``math.inf``."""
    number = check_times(attempts)
    if number < 1:
        raise ValueError(f"attempts is 1 or more, the first one included, got {attempts!r}")
    return number


def check_part(part: object, name: str) -> float:
    """Refuse anything but a number from 0 to 1."""
    if not isinstance(part, (int, float)):
        raise TypeError(f"{name} is a number from 0 to 1, got {part!r}")
    if not 0 <= part <= 1:
        raise ValueError(f"{name} is a number from 0 to 1, got {part!r}")
    return part


def check_intensity(intensity: Any) -> tuple[float, float]:
    """Give back a number of failures and the seconds within which they are too many."""
    if intensity is None:
        return INFINITY, 0.0
    try:
        number, seconds = intensity
    except (TypeError, ValueError):
        raise TypeError(
            f"intensity is (number of failures, seconds) or None, got {intensity!r}"
        ) from None
    return check_times(number), check_seconds(seconds, "the seconds of intensity")
