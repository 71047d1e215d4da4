"""Plain ZeroMQ sockets.

ZeroMQ tells of its events through a descriptor (``ZMQ_FD``) that becomes readable when something
*may* have changed, and that every call on the socket may make silent again. So the events
themselves (``ZMQ_EVENTS``) are read before each wait, after each step of a wire of the same
socket, and every ``interval``, for other code may use the socket while it is watched.

The descriptor waited for is a duplicate: it belongs to this watch alone, so that nothing else
can be registered for the same number, and closing it leaves ZeroMQ's own open.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio
import zmq

from ._protocol import POLLOUT, Readiness
from ._receives import Receives

if TYPE_CHECKING:
    from ._arrivals import Arrivals

__all__ = ["SocketReadiness"]


class SocketReadiness(Readiness):
    """The readiness of one plain ZeroMQ socket in one or both directions."""

    def __init__(self, socket: zmq.Socket[bytes], interval_seconds: float) -> None:
        if socket.closed:
            raise ValueError(f"{socket!r} cannot be polled: it is closed")
        try:
            socket.get(zmq.FD)
        except zmq.ZMQError as exc:
            raise ValueError(f"{socket!r} cannot be polled: {exc}") from exc
        self._socket: Any = socket  # the stubs say of every option that it may be bytes
        self._interval = interval_seconds
        self._receives = Receives(socket, self.used)
        self._fd = -1
        self._waiting: anyio.CancelScope | None = None

    def open(self, arrivals: Arrivals | None) -> None:
        self._receives.open()

    def close(self) -> None:
        self._receives.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def wait(self, flags: int) -> bool:
        while True:
            ready = self._events() & flags
            if ready & POLLOUT or (ready and self._receives.start()):
                return True
            if ready:
                with anyio.move_on_after(self._receives.pause()) as self._waiting:
                    await anyio.sleep_forever()
            elif self._fd < 0:
                self._fd = os.dup(self._socket.get(zmq.FD))
                continue  # to look again: from now on nothing is missed
            else:
                self._receives.forget()
                with anyio.move_on_after(self._interval) as self._waiting:
                    await anyio.wait_readable(self._fd)
            self._waiting = None

    def used(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def check(self) -> None:
        if self._socket.closed:
            raise anyio.ClosedResourceError(
                f"{self._socket!r} was closed while it was watched; "
                f"unregister a source before you close it"
            )

    def _events(self) -> int:
        self.check()
        try:
            events: int = self._socket.get(zmq.EVENTS)
        except zmq.ContextTerminated as exc:
            raise anyio.ClosedResourceError(
                f"the context of {self._socket!r} was terminated while it was watched"
            ) from exc
        return events
