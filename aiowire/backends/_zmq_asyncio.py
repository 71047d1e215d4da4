"""The sockets of ``zmq.asyncio``, which run on asyncio only.

They watch their own descriptor, and would no longer be woken if something else did, so what is
waited for is their own ``poll``. That can miss a message, like any wait for ZeroMQ's descriptor,
when the socket is used meanwhile. To read the events makes them look again.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import zmq.asyncio

from ._protocol import POLLOUT, Readiness
from ._uses import Restarts, Uses, check_socket, fail

if TYPE_CHECKING:
    from ._arrivals import Arrivals

__all__ = ["AsyncioSocketReadiness"]


class AsyncioSocketReadiness(Readiness):
    """The readiness of one ``zmq.asyncio.Socket``."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        check_socket(socket)
        self._socket: Any = socket
        self._pausing: anyio.CancelScope | None = None
        try:
            self._check_backend()
        except anyio.NoEventLoopError:
            return  # registered before any event loop runs: checked when it is first waited for

    def _check_backend(self) -> None:
        if not anyio.get_cancelled_exc_class().__module__.startswith("asyncio"):
            raise TypeError(
                f"{self._socket!r} works on asyncio only; "
                f"use a socket of aiowire.zmq, which runs on every backend"
            )

    def open(self, arrivals: Arrivals | None) -> None:
        # A plain socket, the shadow of this one, through which all its messages pass.
        self._uses = Uses.of(self._socket._shadow_sock)
        self._restarts = Restarts(self._uses.waiters, receives=False)

    def close(self) -> None:
        self._uses.leave()

    async def wait(self, flags: int) -> bool:
        self._check_backend()
        self._uses.waiters.told.append(self._look)
        try:
            while True:
                ready = await self._poll(flags)
                if ready & POLLOUT or self._restarts.start():
                    return True
                with anyio.move_on_after(self._restarts.pause()) as self._pausing:
                    await anyio.sleep_forever()
                self._pausing = None
        finally:
            self._pausing = None
            self._uses.waiters.told.remove(self._look)

    async def _poll(self, flags: int) -> int:
        self.check()
        try:
            ready: int = await self._socket.poll(None, flags)
        except BaseException:
            # If nobody cancels this task, close() has cancelled the future of poll(), or the end
            # of the context has made it fail.
            if anyio.current_effective_deadline() > -math.inf:
                self.check()
            raise
        return ready

    def _look(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
            return
        with suppress(zmq.ZMQError):  # that it is no more, which check() will find too
            self._socket.get(zmq.EVENTS)

    def check(self) -> None:
        try:
            self._socket.get(zmq.EVENTS)  # which makes it look again
        except zmq.ZMQError as exc:
            fail(self._socket, exc)
