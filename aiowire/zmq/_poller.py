"""Waiting for whichever of several sockets is ready first, as code for ``zmq.asyncio`` does it."""

from __future__ import annotations

from typing import Any

import anyio
import zmq
from zmq import zmq_poll

from .._errors import leaves
from ..backends._protocol import POLLIN, check_flags
from ._socket import Socket
from ._timeouts import check_timeout

__all__ = ["Poller"]


class Poller(zmq.Poller):
    """A poller whose :meth:`poll` is awaited.

    What it polls are awaitable sockets, descriptors, and objects with a ``fileno()``; ``register``,
    ``modify`` and ``unregister`` are those of :class:`zmq.Poller`. While it waits it takes a task
    for each of them. :class:`aiowire.Poller` takes none for an event, and starts wires.
    """

    def register(self, socket: Any, flags: int = zmq.POLLIN | zmq.POLLOUT) -> None:
        """Add a socket, or change its flags; 0 is to remove it.

        :raises TypeError: for a socket that cannot be awaited
        :raises ValueError: for other flags than ``POLLIN``, ``POLLOUT``, both, or 0
        """
        if isinstance(socket, zmq.Socket) and not isinstance(socket, Socket):
            raise TypeError(
                f"{socket!r} cannot be awaited; poll a socket of aiowire.zmq, for example "
                f"aiowire.zmq.Socket.from_socket(socket)"
            )
        super().register(socket, check_flags(flags) if flags else 0)

    async def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]:  # type: ignore[override]
        """Wait until one of the sockets can be read or written; nothing is taken from it.

        :param timeout: how many milliseconds to wait at most; ``None`` or below 0 for ever
        :return: those that are ready, with the directions in which they are; none when the time
            is up
        :raises anyio.ClosedResourceError: when one of them is closed, or its context ends
        :raises ValueError: when ``timeout`` is NaN
        :raises TypeError: when ``timeout`` is not a number

        *Cancellation* loses nothing.
        """
        seconds = check_timeout(timeout)
        await anyio.lowlevel.checkpoint()
        ready = self._look()
        with anyio.move_on_after(seconds):
            while not ready:
                await self._wait()
                ready = self._look()
        return ready

    def _look(self) -> list[tuple[Any, int]]:
        awaitable = [socket for socket, _ in self.sockets if isinstance(socket, Socket)]
        for socket in awaitable:
            socket._waiters.claim()  # for a closed one would be taken for descriptor 0
        try:
            ready: list[tuple[Any, int]] = zmq_poll(self.sockets, 0)
        except zmq.ContextTerminated:
            for socket in awaitable:
                socket.refresh()
            return self._look()  # which says so
        for socket in awaitable:
            socket._waiters.called()
        return ready

    async def _wait(self) -> None:
        if not self.sockets:
            await anyio.sleep_forever()
        try:
            async with anyio.create_task_group() as tasks:
                for socket, flags in self.sockets:
                    for flag in (zmq.POLLIN, zmq.POLLOUT):
                        if flags & flag:
                            tasks.start_soon(wait_for, socket, flag, tasks.cancel_scope)
        except Exception as exc:
            raise next(leaves(exc)) from None


async def wait_for(socket: Any, flag: int, scope: anyio.CancelScope) -> None:
    """Wait until a socket is ready in one direction, and cancel those who wait for others."""
    if isinstance(socket, Socket):
        await socket.poll(None, flag)
    elif flag == POLLIN:
        await anyio.wait_readable(socket)
    else:
        await anyio.wait_writable(socket)
    scope.cancel()
