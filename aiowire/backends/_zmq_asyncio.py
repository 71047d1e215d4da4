"""The sockets of ``zmq.asyncio``, which run on asyncio only.

They watch their own descriptor, and would no longer be woken if something else did, so what is
waited for is their own ``poll``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import zmq.asyncio

from ._protocol import POLLOUT, Readiness
from ._receives import Receives

if TYPE_CHECKING:
    from ._arrivals import Arrivals

__all__ = ["AsyncioSocketReadiness"]


class AsyncioSocketReadiness(Readiness):
    """The readiness of one ``zmq.asyncio.Socket``."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        if socket.closed:
            raise ValueError(f"{socket!r} cannot be polled: it is closed")
        self._socket = socket
        self._receives = Receives(socket, self._look_again)
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
        self._receives.open()

    def close(self) -> None:
        self._receives.close()

    def _look_again(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()

    async def wait(self, flags: int) -> bool:
        self._check_backend()
        while True:
            ready = await self._poll(flags)
            if ready & POLLOUT or self._receives.start():
                return True
            with anyio.move_on_after(self._receives.pause()) as self._pausing:
                await anyio.sleep_forever()
            self._pausing = None

    async def _poll(self, flags: int) -> int:
        self.check()
        try:
            poll: Any = self._socket.poll  # pyzmq's type is that of a poller's poll()
            ready: int = await poll(None, flags)
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() > -math.inf:
                self.check()  # nobody cancels this task: close() cancels the future of poll()
            raise
        return ready

    def check(self) -> None:
        if self._socket.closed:
            raise anyio.ClosedResourceError(
                f"{self._socket!r} was closed while it was watched; "
                f"unregister a source before you close it"
            )
