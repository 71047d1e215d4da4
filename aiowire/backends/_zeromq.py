"""Plain ZeroMQ sockets.

ZeroMQ tells of its events through a descriptor (``ZMQ_FD``) that becomes readable when something
*may* have changed, and that every call on the socket may make silent again. So the events
themselves (``ZMQ_EVENTS``) are read before each wait, and whenever the socket was used meanwhile,
as far as that is seen (``_uses.py``). What is not seen is made up for by time: while it waits it
looks again after 1, 2, 4 … ms, up to ``interval``, so that a message is hidden for no longer than
the socket had been silent, and a socket that stays silent costs next to nothing.

The descriptor waited for is a duplicate: it belongs to this watch alone, so that nothing else
can be registered for the same number, and closing it leaves ZeroMQ's own open.
"""

from __future__ import annotations

import math
import os
from _thread import get_ident
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import zmq

from ._protocol import POLLOUT, Readiness
from ._uses import Restarts, Uses, begins_with, check_socket, events_of

if TYPE_CHECKING:
    from .._wire import AnyWire
    from ._arrivals import Arrivals

__all__ = ["SocketReadiness"]

FIRST_LOOK = 0.001


class SocketReadiness(Readiness):
    """The readiness of one plain ZeroMQ socket in one or both directions."""

    def __init__(self, socket: zmq.Socket[bytes], wire: AnyWire, interval_seconds: float) -> None:
        check_socket(socket)
        self._socket: Any = socket  # the stubs say of every option that it may be bytes
        self._receives = begins_with(wire, socket)
        self._interval = interval_seconds
        self._fd = -1
        self._waiting: anyio.CancelScope | None = None

    def open(self, arrivals: Arrivals | None) -> None:
        self._thread = get_ident()
        self._uses = Uses.of(self._socket)
        self._restarts = Restarts(self._uses, receives=self._receives)

    def close(self) -> None:
        self._uses.leave()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def wait(self, flags: int) -> bool:
        self._flags = flags
        never = self._interval == math.inf
        next_look = math.inf if never else min(FIRST_LOOK, self._interval)
        while True:
            ready = self._events() & flags
            if ready & POLLOUT or (ready and self._restarts.start()):
                return True
            if ready:
                await self._wait(self._restarts.pause(), anyio.sleep_forever)
            elif self._fd < 0:
                self._fd = os.dup(self._uses.get(zmq.FD))  # and look again: from now on it tells
            else:
                self._restarts.empty()
                await self._wait(next_look, anyio.wait_readable, self._fd)
                next_look = min(2 * next_look, self._interval)

    async def _wait(self, seconds: float, wait: Callable[..., Awaitable[None]], *args: int) -> None:
        """Wait for something, or for so long, or until the socket was used and is ready."""
        with anyio.move_on_after(seconds) as self._waiting:
            self._uses.waiting.append(self._look)
            try:
                await wait(*args)
            finally:
                self._uses.waiting.remove(self._look)

    def _look(self) -> None:
        """Wake the watch if the socket is ready, or unfit; this is called by who used it."""
        if get_ident() != self._thread:
            return  # ZeroMQ's sockets belong to one thread, and so does the watch
        try:
            is_idle = not self._events() & self._flags
        except (zmq.ZMQError, anyio.ClosedResourceError):
            is_idle = False  # the watch will find and raise the same
        if not is_idle and self._waiting is not None:
            self._waiting.cancel()

    def used(self) -> None:
        self._uses.tell()

    def still(self, flags: int) -> bool:
        return bool(self._events() & flags)

    def check(self) -> None:
        self._events()
        self._uses.tell()  # for to read the events is a use too

    def _events(self) -> int:
        return events_of(self._socket, self._uses.get)
