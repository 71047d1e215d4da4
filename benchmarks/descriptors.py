"""Those who are compared on descriptors, and what they do: read what comes, whenever some comes.

Two hundred stream sockets are fed by another process as fast as it can (:mod:`sender`), each
message on its own, and each event reads one. Beside them thousands of others may be watched at
which nothing ever comes.
"""

from __future__ import annotations

import resource
import select
import selectors
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from fcntl import ioctl
from termios import FIONREAD

import anyio
from clock import clock
from figures import Figures
from zeromq import SENDER

#: How many sockets are fed.
BUSY = 200

#: The size of a message, in bytes.
SIZE = 64

#: Events that come before those that are counted.
WARM_UP = 2000

Sockets = list[socket.socket]
#: Reads from a socket; says whether that was the last event.
Read = Callable[[socket.socket], bool]


class Events:
    """One way to wait for descriptors, and the jobs that are measured."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[None]:
        """Note how many sockets there are at which nothing comes: each job opens its own."""
        self._idle = idle
        yield

    async def watch(self, busy: Sockets, idle: Sockets, read: Read) -> None:
        """Watch sockets until the last event."""
        raise NotImplementedError

    async def events(self, number: int) -> Figures:
        """Read so many times; give the seconds of an event, and those of the processor."""
        left = number + WARM_UP
        began = ended = 0.0, 0.0

        def read(source: socket.socket) -> bool:
            nonlocal left, began, ended
            source.recv(SIZE)
            left -= 1
            if left == number:
                began = clock(), time.process_time()
            elif not left:
                ended = clock(), time.process_time()
            return left <= 0

        with pairs(BUSY) as (busy, peers), pairs(self._idle // 2) as (quiet, others):
            with fed(peers, number + WARM_UP + 100 * BUSY):
                await self.watch(busy, [*quiet, *others], read)
        return {
            "": (ended[0] - began[0]) / number,
            "processor": (ended[1] - began[1]) / number,
        }


@contextmanager
def pairs(number: int) -> Iterator[tuple[Sockets, Sockets]]:
    """Open so many pairs of sockets, of which the first do not block."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    made = [socket.socketpair() for _ in range(number)]
    try:
        for source, _ in made:
            source.setblocking(False)
        yield [source for source, _ in made], [peer for _, peer in made]
    finally:
        for pair in made:
            for each in pair:
                each.close()


@contextmanager
def fed(peers: Sockets, number: int) -> Iterator[None]:
    """Have another process write so many messages, to each in turn."""
    numbers = [peer.fileno() for peer in peers]
    command = [sys.executable, str(SENDER), "feed", ",".join(map(str, numbers)), str(number)]
    process = subprocess.Popen(command, pass_fds=numbers)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class PolledEvents(Events):
    """Our :class:`aiowire.Poller`, whose wires read."""

    async def watch(self, busy: Sockets, idle: Sockets, read: Read) -> None:
        """Watch sockets until the last event."""
        from aiowire import EventLoop, Poller

        def reading(source: socket.socket) -> Callable[[EventLoop], None]:
            def wire(ev: EventLoop) -> None:
                if read(source):
                    poller.shutdown()

            return wire

        poller = Poller({source: reading(source) for source in (*idle, *busy)})
        async with EventLoop() as ev:
            ev.start(poller)


class AddReader(Events):
    """``loop.add_reader`` of asyncio."""

    async def watch(self, busy: Sockets, idle: Sockets, read: Read) -> None:
        """Watch sockets until the last event."""
        import asyncio

        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def readable(source: socket.socket) -> None:
            if read(source):
                over.set()

        for source in (*idle, *busy):
            loop.add_reader(source, readable, source)
        await over.wait()
        for source in (*idle, *busy):
            loop.remove_reader(source)


class WaitReadable(Events):
    """A task for each descriptor, which waits for it with ``anyio.wait_readable``."""

    async def watch(self, busy: Sockets, idle: Sockets, read: Read) -> None:
        """Watch sockets until the last event."""

        async def run(source: socket.socket) -> None:
            while True:
                await anyio.wait_readable(source)
                if read(source):
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for source in (*idle, *busy):
                tasks.start_soon(run, source)


class Selector(Events):
    """A loop of :mod:`selectors`, with no event loop: what the system and Python cost."""

    async def watch(self, busy: Sockets, idle: Sockets, read: Read) -> None:
        """Watch sockets until the last event."""
        with selectors.DefaultSelector() as selector:
            for source in (*idle, *busy):
                selector.register(source, selectors.EVENT_READ, source)
            is_over = False
            while not is_over:
                for key, _ in selector.select():
                    is_over = read(key.data) or is_over


class Asking(Events):
    """A loop that asks before each event what a poller has to know, and does nothing else.

    That is how much there is to read, and whether the number is still that of the same file.
    """

    async def watch(self, busy: Sockets, idle: Sockets, read: Read) -> None:
        """Watch sockets until the last event."""
        sources = {source.fileno(): source for source in (*idle, *busy)}
        count = array("i", [0])
        with select.epoll() as ready, select.epoll() as files:
            for number in sources:
                ready.register(number, select.EPOLLIN)
                files.register(number, 0)
            is_over = False
            while not is_over:
                for number, _ in ready.poll():
                    ioctl(number, FIONREAD, count)
                    files.modify(number, 0)
                    is_over = read(sources[number]) or is_over
