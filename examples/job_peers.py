"""The clients of the job server, their jobs, and the socket that they are reached by.

A ROUTER keeps a queue of messages for each client, of limited length. By itself it drops what
does not fit, and what is for nobody. With ``ROUTER_MANDATORY`` it says so: ``EAGAIN`` when that
client's queue is full, ``EHOSTUNREACH`` when it has gone. So each client has a bounded buffer,
whoever sends to one that is full waits, and no client waits for another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import zmq
from job_runner import Ending

from aiowire.zmq import Context, Socket

__all__ = ["Guard", "Job", "Peer", "Router"]

#: Prepares a socket before it listens.
Guard: TypeAlias = Callable[[Socket], object]

#: How many messages ZeroMQ keeps for a client that is slow to take them.
MOST_UNSENT = 256

#: A frame of a request may have so many bytes; who sends more is disconnected.
LONGEST_FRAME = 65536

#: Milliseconds for the last messages to leave when the socket is closed.
LINGER = 500

#: How a job ends that is not told otherwise.
CANCELLED = Ending("cancelled", "for the server ends")


@dataclass(eq=False, repr=False)
class Peer:
    """A client, while it has jobs."""

    identity: bytes
    jobs: dict[bytes, Job] = field(default_factory=dict[bytes, "Job"])
    is_gone: bool = False

    def give_up(self, why: str) -> None:
        """Send it nothing more, and end its jobs."""
        self.is_gone = True
        for job in self.jobs.values():
            job.cancel(why)

    def __str__(self) -> str:
        text = self.identity.decode("ascii", errors="replace")
        return text if text.isprintable() and text.isascii() else self.identity.hex()


@dataclass(eq=False, repr=False)
class Job:
    """A program that a client has asked for."""

    peer: Peer
    tag: bytes
    title: str
    command: list[str]
    seconds: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ending: Ending = CANCELLED
    is_running: bool = False

    def cancel(self, why: str) -> None:
        """End it before its time."""
        self.ending = Ending("cancelled", why)
        self.scope.cancel()

    def __str__(self) -> str:
        return f"{self.title} for {self.peer}"

    __repr__ = __str__  # the failure of a wire is noted with its arguments


class Router:
    """The socket for requests and answers.

    :param endpoint: where to listen
    :param patience: seconds after which a client is given up that takes nothing
    :param guard: prepares the socket before it listens
    :raises zmq.ZMQError: when it cannot listen there
    """

    def __init__(self, context: Context, endpoint: str, patience: float, guard: Guard) -> None:
        self._patience = patience
        self._waiting: dict[anyio.CancelScope, Peer] = {}  # sends, and to whom
        self.socket = context.socket(zmq.ROUTER)
        options = {
            zmq.ROUTER_MANDATORY: 1,
            zmq.ROUTER_HANDOVER: 1,  # a client that comes back under its name is that client
            zmq.SNDHWM: MOST_UNSENT,
            zmq.MAXMSGSIZE: LONGEST_FRAME,
            zmq.LINGER: LINGER,
            zmq.TCP_KEEPALIVE: 1,
        }
        for option, value in options.items():
            self.socket.setsockopt(option, value)
        try:
            guard(self.socket)
            self.socket.bind(endpoint)
        except zmq.ZMQError:
            self.socket.close()
            raise

    async def send(self, peer: Peer, kind: str, tag: bytes, *values: bytes | str) -> None:
        """Send a message as soon as the client has room for it.

        A client that has none for so long as patience lasts is given up.
        """
        with anyio.move_on_after(self._patience) as limit:
            self._waiting[limit] = peer
            try:
                await self._send(0, peer, kind, tag, *values)
            finally:
                del self._waiting[limit]
        if limit.cancelled_caught:
            self._give_up(peer, "for its client takes nothing")

    async def offer(self, peer: Peer, kind: str, tag: bytes, *values: bytes | str) -> bool:
        """Send a message if the client has room for it now; say if the matter is settled."""
        try:
            await self._send(zmq.DONTWAIT, peer, kind, tag, *values)
        except zmq.Again:
            return False
        return True

    async def _send(
        self, flags: int, peer: Peer, kind: str, tag: bytes, *values: bytes | str
    ) -> None:
        if peer.is_gone:
            return
        encoded = [each.encode() if isinstance(each, str) else each for each in values]
        try:
            await self.socket.send_multipart([peer.identity, kind.encode(), tag, *encoded], flags)
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            self._give_up(peer, "for its client has gone")

    def _give_up(self, peer: Peer, why: str) -> None:
        """Give a client up, and what waits to be sent to it."""
        if not peer.is_gone:
            peer.give_up(why)
            for limit in [each for each, waits_for in self._waiting.items() if waits_for is peer]:
                limit.cancel()

    def hurry(self, seconds: float) -> None:
        """Have no more patience than so many seconds from now on."""
        self._patience = min(seconds, self._patience)
        for limit in self._waiting:
            limit.deadline = min(limit.deadline, anyio.current_time() + self._patience)
