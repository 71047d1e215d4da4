"""The poller: wires that start when a source is ready.

This file holds what is registered; ``_watch.py`` what runs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any

from ._check import check_handler, check_wire, name_of
from ._errors import UnhandledException, bare
from ._watch import Session, Watch
from ._wire import AnyWire, Rest, Wire
from .backends import POLLIN, check_flags, key_of, readiness_of

if TYPE_CHECKING:
    from ._chain import Handler
    from ._loop import EventLoop
    from .backends._protocol import Source

__all__ = ["Poller"]


class Poller(Wire):
    """Start a wire each time that a source is ready.

    :param sources: what to watch, and the wire of each: descriptor numbers, objects with a
        ``fileno()`` (sockets, pipes, terminals, devices), ``zmq.Socket``,
        ``zmq.asyncio.Socket`` on asyncio, or objects of a class of your own that derives from
        :class:`aiowire.backends.Readiness`
    :param default_flags: ``POLLIN``, ``POLLOUT`` or both, where ``register`` gets none
    :param interval: milliseconds after which a plain ``zmq.Socket`` is looked at again at the
        latest, in case that it was used unseen while it was watched; ``None`` for never
    :param handler: called with ``(ev, exc)`` when a wire fails; what it returns, if anything,
        goes on in its place. Without it, the failure of a wire is that of the poller.
    :param limit: how many rests of wires may be in flight; at that number the poller starts
        nothing more until one of them has ended. ``None`` for no limit.
    :raises IndexError: when a source is registered twice
    :raises ValueError: for a source that cannot be polled, unknown flags, a negative interval
    :raises TypeError: for a wire that is not callable

    When a source is ready, the first step of its wire runs, concurrently with everything else;
    that is the step that reads. The source is watched again when that step has returned, and the
    rest of the wire, if any, runs on by itself. So a wire is started once for each event,
    however slowly it reads, and slow work after that does not hold up the next read.

    A wire that leaves its input unread is started once for each arrival of input, at most 20
    times in a second where that cannot be known. Regular files are always ready. At the end of
    its input (hang-up, end of file on a pipe or connection) a source starts its wire one last
    time and is unregistered. A source that is closed while it is watched is an
    :exc:`anyio.ClosedResourceError` within a second.

    A poller runs until :meth:`shutdown`, even with no sources left, and can then be started
    again. It can be changed while it runs.

    *Cancellation* of the poller cancels the steps and the rests in flight. ::

        async def echo(ev):
            sock.send(sock.recv(4096))

        ev.start(Poller({sock: echo}))
    """

    def __init__(
        self,
        sources: Mapping[Any, AnyWire],
        default_flags: int = POLLIN,
        interval: float | None = 1000,
        *,
        handler: Handler | None = None,
        limit: int | None = None,
    ) -> None:
        check_handler(handler)
        if not isinstance(sources, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Poller takes a mapping {{source: wire}}, got {sources!r}")
        self.default_flags: int = check_flags(default_flags)
        self.interval = interval
        self._interval_seconds = check_interval(interval)
        self._handler = handler
        self._limit = check_limit(limit)
        self._watches: dict[Any, list[Watch]] = {}
        self._session: Session | None = None
        self._shut_down = False
        caller = sys._getframe(1)
        for source, wire in sources.items():
            self._register(source, wire, self.default_flags, caller.f_code, caller.f_lasti)

    def register(self, source: Source, wire: AnyWire, flags: int | None = None) -> None:
        """Start a wire each time that a source is ready, from now on.

        The wires run in copies of the present :mod:`context <contextvars>`. A source may have
        one wire for ``POLLIN`` and another for ``POLLOUT``.

        :param source: see the class
        :param wire: the wire to start
        :param flags: ``POLLIN``, ``POLLOUT`` or both; ``None`` for ``default_flags``
        :raises IndexError: when the source has a wire for the same direction already
        :raises ValueError: for a source that cannot be polled or is closed, or unknown flags
        :raises TypeError: when ``wire`` is not callable, and for a ``zmq.asyncio`` socket where
            asyncio does not run
        """
        caller = sys._getframe(1)
        number = self.default_flags if flags is None else check_flags(flags)
        self._register(source, wire, number, caller.f_code, caller.f_lasti)

    def unregister(self, source: Source) -> None:
        """Start no wire for a source any more; a step of its wire under way goes on.

        :raises KeyError: when the source is not registered
        """
        for watch in self._watches.pop(self._find(source)):
            watch.stop()

    def shutdown(self) -> None:
        """Start no wires any more, and end the poller; steps and rests under way go on first.

        Before the poller runs, it makes the next run end at once. What is registered stays.
        """
        self._shut_down = True
        if self._session is not None:
            self._session.stop()

    async def __call__(self, ev: EventLoop) -> Rest:
        """Watch the sources until :meth:`shutdown`, or until the loop is to stop.

        :raises RuntimeError: when the poller is running already
        """
        if self._session is not None:
            raise RuntimeError("this Poller is running already; make another one")
        self._session = Session(ev, self._all, self._limit)
        failure: BaseException | None = None
        ev._tell(self, self.shutdown)
        try:
            if self._shut_down or ev.stopping:
                self._session.stop()
            await self._session.run()
        except UnhandledException as group:
            failure = bare(group)
        finally:
            ev._forget(self)
            self._session = None
            self._shut_down = False
        if failure is not None:
            raise failure
        return None

    def __repr__(self) -> str:
        text = ", ".join(f"{watch.source!r}: {name_of(watch.wire)}" for watch in self._all())
        return f"Poller({{{text}}})"

    def _all(self) -> list[Watch]:
        return [watch for watches in self._watches.values() for watch in watches]

    def _find(self, source: Any) -> Any:
        """Give the key under which a source, which may be closed by now, is registered."""
        try:
            key = key_of(source)
        except ValueError:  # closed, or nothing that was ever registered
            key = None
        if all(watch.source is not source for watch in self._watches.get(key, [])):
            for other, watches in self._watches.items():
                if other == source or any(watch.source is source for watch in watches):
                    key = other
        if not self._watches.get(key):
            raise KeyError(f"{source!r} is not registered with this Poller")
        return key

    def _register(
        self, source: Any, wire: AnyWire, flags: int, code: CodeType, offset: int
    ) -> None:
        check_wire(wire, "poller.register(source, {wire})")
        key = key_of(source)
        watches = self._watches.get(key, [])
        for other in watches:
            if other.flags & flags and not other.is_over:
                direction = "POLLIN" if other.flags & flags & POLLIN else "POLLOUT"
                raise IndexError(
                    f"{source!r} has a wire for {direction} already, {name_of(other.wire)}; "
                    f"unregister it first"
                )
        readiness = readiness_of(source, wire, self._interval_seconds)
        watch = Watch(
            source, wire, flags, readiness, self._handler, self._watches, key, code, offset
        )
        self._watches[key] = [*watches, watch]
        for each in watches:
            each.tells = watch.tells = True
        if self._session is not None:
            self._session.begin(watch)


def check_interval(interval: object) -> float:
    """Give back a number of milliseconds in seconds; ``None`` is never."""
    if interval is None:
        return math.inf
    if not isinstance(interval, (int, float)):
        raise TypeError(f"interval is a number of milliseconds or None, got {interval!r}")
    if not interval > 0:
        raise ValueError(f"interval is more than 0 milliseconds, or None, got {interval!r}")
    return interval / 1000


def check_limit(limit: object) -> int | None:
    """Give back a limit on the rests in flight: a whole number from 1, or ``None``."""
    if limit is None:
        return None
    if not isinstance(limit, int):
        raise TypeError(f"limit is a whole number or None, got {limit!r}")
    if limit < 1:
        raise ValueError(f"limit is 1 or more, or None for no limit, got {limit!r}")
    return limit
