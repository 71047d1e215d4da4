"""The clients of the job server, their jobs, and the socket that they are reached by.

A ROUTER keeps a queue of messages for each client, of limited length. By itself it drops what
does not fit, and what is for nobody. With ``ROUTER_MANDATORY`` it says so: ``EAGAIN`` when that
client's queue is full, ``EHOSTUNREACH`` when it has gone. So each client has a bounded buffer,
a sender knows when to wait, and no client waits for another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import zmq
from job_runner import Ending

__all__ = ["Context", "Job", "Peer", "Router"]

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

#: How many messages ZeroMQ keeps for a client that is slow to take them.
MOST_UNSENT = 256

#: A frame of a request may have so many bytes; who sends more is disconnected.
LONGEST_FRAME = 65536

#: Milliseconds for the last messages to leave when the socket is closed.
LINGER = 500

#: How often, in seconds, a client is tried again that had no room.
RETRY = 0.02

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
    """The socket for requests and answers. Nothing in it ever blocks.

    :param endpoint: where to listen
    :param patience: seconds after which a client is given up that takes nothing
    :raises zmq.ZMQError: when it cannot listen there
    """

    def __init__(self, context: Context, endpoint: str, patience: float) -> None:
        self.patience = patience
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
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
            self.socket.bind(endpoint)
        except zmq.ZMQError:
            self.socket.close()
            raise

    def receive(self) -> list[bytes] | None:
        """Give a message, the identity of its sender first, or ``None`` if there is none."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    async def send(self, peer: Peer, kind: str, tag: bytes, *values: bytes | str) -> None:
        """Send a message as soon as the client has room for it.

        A client that has had none for :attr:`patience` seconds is given up.
        """
        began = anyio.current_time()
        while not self.offer(peer, kind, tag, *values):
            if anyio.current_time() - began > self.patience:
                peer.give_up("for its client takes nothing")
                return
            # POLLOUT tells that some client has room, not that this one has.
            await anyio.sleep(RETRY)

    def offer(self, peer: Peer, kind: str, tag: bytes, *values: bytes | str) -> bool:
        """Send a message if the client has room for it now; say if the matter is settled."""
        if peer.is_gone:
            return True
        encoded = [each.encode() if isinstance(each, str) else each for each in values]
        try:
            self.socket.send_multipart([peer.identity, kind.encode(), tag, *encoded], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as exc:
            if exc.errno != zmq.EHOSTUNREACH:
                raise
            peer.give_up("for its client has gone")
        return True
