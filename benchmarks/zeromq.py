"""Those who are compared on ZeroMQ sockets, and what they do.

Each gives a context, receives and sends; the jobs are written once, in :class:`Messages`. Except in
:meth:`Messages.request` the other end is a process of its own (:mod:`sender`).
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import zmq
from clock import clock
from figures import Figures, percentiles

SENDER = Path(__file__).parent / "sender.py"

#: How much the kernel keeps of what has come, in bytes: more than comes at once.
ROOM = 4 * 2**20

#: Messages that come before those that are counted.
WARM_UP = 1000

#: For how long a receive waits where it is to lose messages, in seconds: as often as one is sent.
PERIOD = 0.001


@contextmanager
def other_process(*args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the other end."""
    process = subprocess.Popen([sys.executable, str(SENDER), *args])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Messages:
    """One way to receive and send, and the jobs that are measured."""

    def make_context(self) -> Any:
        """Make a context."""
        raise NotImplementedError

    @asynccontextmanager
    async def using(self, socket: Any) -> AsyncIterator[Any]:
        """Make of a socket of the context what :meth:`recv` and :meth:`send` take."""
        yield socket

    async def recv(self, socket: Any) -> bytes:
        """Receive a message."""
        message: bytes = await socket.recv()
        return message

    async def send(self, socket: Any, message: bytes) -> None:
        """Send a message."""
        await socket.send(message)

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[None]:
        """Open nothing: each job makes its sockets."""
        yield

    @asynccontextmanager
    async def socket(self, kind: int, address: str = "tcp://127.0.0.1:0") -> AsyncIterator[Any]:
        """Make a socket, bound to an address."""
        with self.make_context() as context, context.socket(kind) as socket:
            socket.set(zmq.LINGER, 0)
            # A TCP connection of which the kernel had to drop something goes on after 200 ms.
            socket.set(zmq.RCVBUF, ROOM)
            socket.bind(address)
            async with self.using(socket) as used:
                yield used

    def address_of(self, socket: Any) -> str:
        """Say where a socket is bound."""
        where: bytes = socket.get(zmq.LAST_ENDPOINT)
        return where.decode()

    async def flood(self, number: int) -> float:
        """Receive so many messages of 64 bytes that come as fast as they can."""
        async with self.socket(zmq.PULL) as socket:
            with other_process("flood", self.address_of(socket), str(number + WARM_UP)):
                await self.receive(socket, WARM_UP)
                since = clock()
                await self.receive(socket, number)
                return clock() - since

    async def receive(self, socket: Any, number: int) -> None:
        """Receive so many messages."""
        for _ in range(number):
            await self.recv(socket)

    async def request(self, number: int) -> float:
        """Send requests and answer them, in one event loop."""
        with self.make_context() as context:
            with context.socket(zmq.REP) as rep, context.socket(zmq.REQ) as req:
                rep.bind("tcp://127.0.0.1:0")
                req.connect(self.address_of(rep))
                async with self.using(rep) as server, self.using(req) as client:
                    return await self._request(server, client, number)

    async def _request(self, server: Any, client: Any, number: int) -> float:
        async def serve() -> None:
            for _ in range(number):
                await self.send(server, await self.recv(server))

        since = clock()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            for _ in range(number):
                await self.send(client, b"x" * 64)
                await self.recv(client)
        return clock() - since

    async def ipc(self, number: int) -> Figures:
        """Make so many round trips to another process, by ``ipc``."""
        return percentiles(await self._round_trips("ipc", number))

    async def tcp(self, number: int) -> Figures:
        """Make so many by ``tcp``."""
        return percentiles(await self._round_trips("tcp", number))

    async def _round_trips(self, by: str, number: int) -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            address = f"ipc://{folder}/x" if by == "ipc" else "tcp://127.0.0.1:0"
            async with self.socket(zmq.REQ, address) as socket:
                with other_process("answer", self.address_of(socket)):
                    took = []
                    for _ in range(number + 100):
                        since = clock()
                        await self.send(socket, b"x" * 64)
                        await self.recv(socket)
                        took.append(clock() - since)
        return took[100:]

    async def idle_sockets(self, number: int) -> float:
        """Give the bytes that so many open sockets take for which nobody waits."""
        from memory import private_bytes

        with self.make_context() as context:
            async with AsyncExitStack() as stack:
                for _ in range(100):
                    await stack.enter_async_context(self.using(context.socket(zmq.PULL)))
                before = private_bytes()
                for _ in range(number):
                    await stack.enter_async_context(self.using(context.socket(zmq.PULL)))
                took = private_bytes() - before
            context.destroy(0)
        return took

    async def lost(self, number: int) -> float:
        """Give how many of so many messages are lost by receives that time out meanwhile."""
        got = set()
        async with self.socket(zmq.PULL) as socket:
            with other_process("pace", self.address_of(socket), str(number)) as process:
                until = math.inf
                while (now := anyio.current_time()) < until:
                    with suppress(TimeoutError):
                        got.add(await self.within(PERIOD, lambda: self.recv(socket)))
                    if until == math.inf and process.poll() is not None:  # all is sent
                        until = now + 0.5
        return float(number - len(got))

    async def within(self, seconds: float, receive: Callable[[], Any]) -> Any:
        """Wait for so long at most, by the means of who runs the loop."""
        if anyio.get_cancelled_exc_class().__module__.startswith("trio"):
            with anyio.fail_after(seconds):
                return await receive()
        import asyncio

        async with asyncio.timeout(seconds):
            return await receive()


class OurMessages(Messages):
    """``aiowire.zmq``."""

    def make_context(self) -> Any:
        """Make a context."""
        import aiowire.zmq

        return aiowire.zmq.Context()


class ZmqAsyncio(Messages):
    """pyzmq's own, on asyncio only."""

    def make_context(self) -> Any:
        """Make a context."""
        import zmq.asyncio

        return zmq.asyncio.Context()


class ZmqAnyio(Messages):
    """``zmq-anyio``."""

    def make_context(self) -> Any:
        """Make a context."""
        return zmq.Context()

    @asynccontextmanager
    async def using(self, socket: Any) -> AsyncIterator[Any]:
        """Give its socket, which wraps a plain one."""
        import zmq_anyio

        async with zmq_anyio.Socket(socket) as used:
            yield used

    async def recv(self, socket: Any) -> bytes:
        """Receive a message."""
        message: bytes = await socket.arecv()
        return message

    async def send(self, socket: Any, message: bytes) -> None:
        """Send a message."""
        await socket.asend(message)


class BlockingMessages(Messages):
    """A loop of ``zmq.Poller``, with no event loop: what ZeroMQ and Python cost."""

    def make_context(self) -> Any:
        """Make a context."""
        return zmq.Context()

    async def recv(self, socket: Any) -> bytes:
        """Receive a message."""
        message: bytes = socket.recv()
        return message

    async def send(self, socket: Any, message: bytes) -> None:
        """Send a message."""
        socket.send(message)

    async def receive(self, socket: Any, number: int) -> None:
        """Receive so many messages, one for each time that the poller says so."""
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        for _ in range(number):
            poller.poll()
            socket.recv(zmq.NOBLOCK)


class PolledMessages(BlockingMessages):
    """Our :class:`aiowire.Poller` of a plain socket, whose wire receives one message.

    Beside it may be others, at which nothing comes.
    """

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[None]:
        """Open the others."""
        with ExitStack() as stack:
            context = stack.enter_context(zmq.Context())
            self._idle = [stack.enter_context(context.socket(zmq.PULL)) for _ in range(idle)]
            yield

    async def flood(self, number: int) -> float:
        """Receive so many messages in wires, those that do not count before in the same poller."""
        from aiowire import EventLoop, Poller

        left, since = number + WARM_UP, 0.0

        def receive_one(ev: Any) -> None:
            nonlocal left, since
            socket.recv(zmq.NOBLOCK)
            left -= 1
            if left == number:
                since = clock()
            elif not left:
                poller.shutdown()

        async with self.socket(zmq.PULL) as socket:
            poller = Poller(dict.fromkeys((socket, *self._idle), receive_one))
            with other_process("flood", self.address_of(socket), str(number + WARM_UP)):
                async with EventLoop() as ev:
                    ev.start(poller)
                return clock() - since


class OldPolledMessages(ZmqAsyncio):
    """The poller of aiowire 3.1.0, which takes sockets of ``zmq.asyncio``."""

    async def receive(self, socket: Any, number: int) -> None:
        """Receive so many messages in wires."""
        from aiowire import EventLoop, Poller

        left = number

        async def receive_one(ev: Any) -> None:
            nonlocal left
            with suppress(zmq.Again):
                await socket.recv(zmq.DONTWAIT)
                left -= 1
                if not left:
                    poller.shutdown()

        poller = Poller({socket: receive_one})
        async with EventLoop() as ev:
            ev.start(poller)
            await ev.run()
