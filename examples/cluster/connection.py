"""A client's or a worker's connection to the broker, made anew whenever it is lost.

It is a machine of two states, each a wire. *connected* is a session (see ``protocol.py``): a nested
loop of three chains, which read, write and beat, and end together. Its rest is a pause, which is
longer each time, and then *connected* once more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import anyio
import zmq
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from protocol import BEAT, FAREWELL_MS, FIRST_PAUSE, LIVENESS, LONGEST_FRAME, LONGEST_PAUSE, Kind
from settings import Say

from aiowire import AnyWire, Call, EventLoop, Forever, Wire
from aiowire.zmq import Context, Socket

__all__ = ["Connection", "Message"]

Message: TypeAlias = list[bytes]


class Connection:
    """A connection that comes back.

    :param context: for its sockets, one after another
    :param broker: where the broker listens
    :param role: ``client`` or ``worker``
    :param take: gets each message that is not about the connection; the wire that it gives back, if
        any, runs in the session and is cancelled with it
    :param resume: called when a session begins, to send what has to be sent again
    """

    def __init__(
        self,
        context: Context,
        broker: str,
        role: str,
        name: str,
        take: Callable[[Message], AnyWire | None],
        resume: Callable[[], object],
        say: Say,
    ) -> None:
        self._context = context
        self._broker = broker
        self._hello = [role.encode(), name.encode()]
        self._take = take
        self._resume = resume
        self._say = say
        self._pause = FIRST_PAUSE
        self._silent = 0  # beats since the broker was heard
        self._is_lost = False
        self._outbox: MemoryObjectSendStream[Message] | None = None  # of the session
        #: How many sessions there were.
        self.sessions = 0

    def send(self, *frames: bytes) -> None:
        """Have a message sent in this session; between sessions it is dropped."""
        if self._outbox is not None:
            self._outbox.send_nowait(list(frames))

    # The states.

    async def connected(self, ev: EventLoop) -> Wire:
        """Go through one session. It never ends by itself.

        *Cancellation*: the broker is told.
        """
        self.sessions += 1
        self._is_lost, self._silent = False, 0
        with self._context.socket(zmq.DEALER) as socket:
            socket.linger = 0  # what is lost is lost
            socket.maxmsgsize = LONGEST_FRAME
            socket.connect(self._broker)
            try:
                await self._talk(socket)
            finally:
                if not self._is_lost:
                    await say_goodbye(socket)
        pause = self._pause * random.uniform(0.5, 1)  # that not all come back at once
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return Call(anyio.sleep, pause) >> self.connected

    async def _talk(self, socket: Socket) -> None:
        self._outbox, outgoing = anyio.create_memory_object_stream[Message](math.inf)
        with self._outbox, outgoing:
            self.send(Kind.HELLO, *self._hello)
            self._resume()
            try:
                async with EventLoop() as session:
                    session.start(Wire(self._read, socket))
                    session.start(Wire(write, socket, outgoing))
                    session.start(Forever(Call(anyio.sleep, BEAT) >> self._beat))
            finally:
                self._outbox = None

    # What a session consists of. ``ev`` is its loop.

    async def _read(self, ev: EventLoop, socket: Socket) -> Wire:
        """Take one message; the rest is to read on."""
        message = await socket.recv_multipart()
        self._silent = 0
        self._pause = FIRST_PAUSE
        match message:
            case [Kind.ALIVE]:
                pass
            case [Kind.STRANGER]:
                self._lose(ev, "is a stranger to the broker, and begins anew")
            case _:
                ev.start(self._take(message))
        return Wire(self._read, socket)

    def _beat(self, ev: EventLoop) -> None:
        self._silent += 1
        if self._silent > LIVENESS:
            self._lose(ev, f"has not heard the broker for {LIVENESS} beats, and begins anew")
        self.send(Kind.ALIVE)

    def _lose(self, session: EventLoop, why: str) -> None:
        self._say(why)
        self._is_lost = True
        session.cancel()


async def write(
    ev: EventLoop, socket: Socket, outgoing: MemoryObjectReceiveStream[Message]
) -> Wire:
    """Send one message; the rest is to send more. There is one writer, which keeps the order."""
    await socket.send_multipart(await outgoing.receive())
    return Wire(write, socket, outgoing)


async def say_goodbye(socket: Socket) -> None:
    """Tell the broker, if there is room for it, so that it need not find out."""
    socket.linger = FAREWELL_MS
    with anyio.CancelScope(shield=True), suppress(zmq.Again):
        await socket.send_multipart([Kind.BYE], zmq.DONTWAIT)
