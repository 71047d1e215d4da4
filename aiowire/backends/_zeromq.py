"""ZeroMQ sockets, plain ones and those of :mod:`aiowire.zmq`.

A poller is one of those who wait for a socket, by the protocol of ``_waiters.py``, and takes
nothing from it. What that protocol asks for, a look after each call, an awaitable socket does by
itself. Of a plain one the calls are seen that are made by the same object (``_uses.py``). What is
not seen is made up for by time: the poller looks again after 1, 2, 4 … ms, up to ``interval``, so
that a message is hidden for no longer than the socket had been silent. From half a second on that
is done for all sockets in one go, and a socket that stays silent costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import zmq
from zmq import zmq_poll

from ._calls import AT_ONCE
from ._protocol import POLLOUT, Readiness
from ._uses import Restarts, Uses, begins_with, check_socket, fail

if TYPE_CHECKING:
    from .._wire import AnyWire
    from ._arrivals import Arrivals
    from ._calls import Calls

__all__ = ["SocketReadiness"]

#: As a plain number, which is much faster than zmq's.
EVENTS = int(zmq.EVENTS)

FIRST_LOOK = 0.001


class SocketReadiness(Readiness):
    """The readiness of one ZeroMQ socket in one or both directions."""

    def __init__(self, socket: zmq.Socket[Any], wire: AnyWire, interval_seconds: float) -> None:
        check_socket(socket)
        self._socket: Any = socket
        self._receives = begins_with(wire, socket)
        self._interval = interval_seconds

    def open(self, arrivals: Arrivals | None) -> None:
        self._uses: Uses | None = None
        if "_waiters" in self._socket.__dict__:
            self._socket._waiters.check()
        else:
            self._uses = Uses.of(self._socket)
        self._waiters: Calls = self._socket._waiters if self._uses is None else self._uses.waiters
        self._restarts = Restarts(self._waiters, receives=self._receives)
        if self._uses is not None and self._interval < math.inf:
            longest = min(self._waiters.longest_recheck, self._interval)
            self._waiters.longest_recheck = longest
            self._waiters.first_recheck = min(FIRST_LOOK, longest)
        self._waiters.begin_to_inspect()

    def close(self) -> None:
        self._waiters.cease_to_inspect()
        self._waiters.called()  # the last step may have taken a wake-up, unseen
        if self._uses is not None:
            self._uses.leave()

    def look(self, flags: int) -> Callable[[], bool]:
        """Look by ``zmq_poll``, which costs less than to read an option."""
        socket, waiters, restarts = self._socket, self._waiters, self._restarts
        sockets = [(socket, flags)]
        may_send = flags & POLLOUT

        def is_ready() -> bool:
            if socket.closed:
                return False  # as wait() will say
            try:
                found = zmq_poll(sockets, 0)
            except zmq.ContextTerminated:
                return False  # as wait() will say
            if waiters.all or waiters.told:
                waiters.called()
            if not found or (may_send and found[0][1] & POLLOUT):
                return bool(found)
            if waiters.receives != restarts.at_start and not restarts.pause_seconds:
                restarts.at_start = waiters.receives
                return True
            return restarts.start()

        return is_ready

    async def wait(self, flags: int) -> bool:
        was_started = True  # just now, by whoever calls this again
        while True:
            ready = self._events() & flags or await self._become_ready(flags, was_started)
            if ready & POLLOUT or self._restarts.start():
                return True
            await self._pause(self._restarts.pause())
            was_started = False

    async def _become_ready(self, flags: int, was_started: bool) -> int:
        self._restarts.empty(was_started)

        def look() -> int:
            ready: int = self._waiters.get(zmq.EVENTS) & flags
            if not ready:
                raise zmq.Again
            return ready

        try:
            return await self._waiters.perform(flags | AT_ONCE, lambda: math.inf, look)
        except anyio.ClosedResourceError:
            await anyio.lowlevel.checkpoint_if_cancelled()  # who leaves may close it meanwhile
        return self._events() & flags  # but this says that it was closed while it was watched

    async def _pause(self, seconds: float) -> None:
        """Give a wire time to receive that has not yet; go on when the socket is used."""
        used = anyio.Event()
        self._waiters.told.append(used.set)
        try:
            with anyio.move_on_after(seconds):
                await used.wait()
        finally:
            self._waiters.told.remove(used.set)

    def used(self) -> None:
        self._waiters.called()

    def still(self, flags: int) -> bool:
        return bool(self._events() & flags)

    def check(self) -> None:
        self._waiters.inspect()
        self._events()

    def _events(self) -> int:
        waiters = self._waiters
        try:
            events: int = waiters.get(EVENTS)
        except zmq.ZMQError as exc:
            fail(self._socket, exc)
        if waiters.all or waiters.told:
            waiters.called()  # for to read the events is a call too
        return events
