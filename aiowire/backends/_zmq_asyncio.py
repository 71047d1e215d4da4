"""The sockets of ``zmq.asyncio``, which run on asyncio only.

They watch their own descriptor, and would no longer be woken if something else did, so what is
waited for is their own ``poll``.
"""

from __future__ import annotations

import math

import anyio
import zmq.asyncio

from ._protocol import Readiness

__all__ = ["AsyncioSocketReadiness"]


class AsyncioSocketReadiness(Readiness):
    """The readiness of one ``zmq.asyncio.Socket``."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        if socket.closed:
            raise ValueError(f"{socket!r} cannot be polled: it is closed")
        self._socket = socket
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

    async def wait(self, flags: int) -> bool:
        self._check_backend()
        self.check()
        try:
            await self._socket.poll(None, flags)  # type: ignore[call-arg]  # stub is wrong
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() > -math.inf:
                self.check()  # nobody cancels this task: close() cancels the future of poll()
            raise
        return True

    def check(self) -> None:
        if self._socket.closed:
            raise anyio.ClosedResourceError(
                f"{self._socket!r} was closed while it was watched; "
                f"unregister a source before you close it"
            )
