"""Those who are compared on a real server: one that runs jobs for many clients at a time.

A client sends the key of a job. The job takes three steps: it notes that it has begun, lets others
have a turn, and answers. Jobs of all clients run at the same time, and each is known to the server
while it runs. The same server is written with wires, by hand for ``zmq.asyncio``, and by hand for
trio with plain ZeroMQ sockets, which takes the care that is in :class:`TrioJobs`. The clients are
another process (:mod:`clients`).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import zmq
from figures import Figures, percentiles

CLIENTS_PROGRAM = Path(__file__).parent / "clients.py"

#: How many clients there are.
CLIENTS = 50

#: What to do, by key, while it runs: the table that every server keeps.
Running = dict[tuple[bytes, bytes], str]


class Jobs:
    """One way to write the server, and what is measured of it."""

    @asynccontextmanager
    async def block(self, idle: int = 0) -> AsyncIterator[None]:
        """Open nothing: each measurement runs a server."""
        yield

    async def jobs(self, number: int) -> Figures:
        """Serve so many jobs.

        :return: the seconds per job that the clients counted, what an answer took in the median
            and at the 99th percentile, what the processor of the server took per job, and the
            greatest memory that the server ever had
        """
        since = time.process_time()
        async with self.serving() as address:
            command = [sys.executable, str(CLIENTS_PROGRAM), address, str(CLIENTS), str(number)]
            clients = await anyio.run_process(command, stderr=None)
        told = json.loads(clients.stdout)
        return {
            "": told["seconds"] / number,
            **percentiles(told["took"]),
            "processor": (time.process_time() - since) / number,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
        }

    def serving(self) -> Any:
        """Run the server in a block, which gives its address."""
        raise NotImplementedError


def bound(context: Any) -> Any:
    """Make the socket of a server, and bind it."""
    socket = context.socket(zmq.ROUTER)
    socket.set(zmq.LINGER, 0)
    socket.set_hwm(0)
    socket.bind("tcp://127.0.0.1:0")
    return socket


def address_of(socket: Any) -> str:
    """Say where a socket is bound."""
    where: bytes = socket.get(zmq.LAST_ENDPOINT)
    return where.decode()


class WireJobs(Jobs):
    """Ours: the server is a wire, and each job is one."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Run the server."""
        import aiowire
        import aiowire.zmq

        running: Running = {}

        def job(client: bytes, key: bytes) -> aiowire.Wire:
            def begin() -> None:
                running[client, key] = "running"

            async def answer() -> None:
                await socket.send_multipart([client, key])
                del running[client, key]

            turn = aiowire.Call(anyio.lowlevel.checkpoint)
            return aiowire.Call(begin) >> turn >> aiowire.Call(answer)

        async def accept(ev: aiowire.EventLoop) -> Any:
            client, key = await socket.recv_multipart()
            ev.start(job(client, key))
            return accept

        with aiowire.zmq.Context() as context, bound(context) as socket:
            async with aiowire.EventLoop() as ev:
                ev.start(accept)
                yield address_of(socket)
                ev.cancel()


class AsyncioJobs(Jobs):
    """``zmq.asyncio``, and a task of asyncio for each job."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Run the server."""
        import asyncio

        import zmq.asyncio

        running: Running = {}

        async def job(client: bytes, key: bytes) -> None:
            running[client, key] = "running"
            await asyncio.sleep(0)
            await socket.send_multipart([client, key])
            del running[client, key]

        async def accept() -> None:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    client, key = await socket.recv_multipart()
                    tasks.create_task(job(client, key))

        with zmq.asyncio.Context() as context, bound(context) as socket:
            server = asyncio.create_task(accept())
            yield address_of(socket)
            server.cancel()
            await asyncio.wait([server])


class TrioJobs(Jobs):
    """Plain sockets on trio: a task of trio for each job.

    The descriptor of a socket tells of changes only, and any call may use such a change up. So
    after each the socket itself is asked, on behalf of the one who waits.
    """

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Run the server."""
        import trio

        running: Running = {}
        readable = trio.Event()

        def look() -> None:
            if socket.get(zmq.EVENTS) & zmq.POLLIN:
                readable.set()

        async def watch() -> None:
            while True:
                await trio.lowlevel.wait_readable(socket.fileno())
                look()

        async def receive() -> list[bytes]:
            nonlocal readable
            while True:
                try:
                    message: list[bytes] = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    readable = trio.Event()
                    look()
                    await readable.wait()
                else:
                    await trio.lowlevel.checkpoint()
                    return message

        async def job(client: bytes, key: bytes) -> None:
            running[client, key] = "running"
            await trio.lowlevel.checkpoint()
            socket.send_multipart([client, key], zmq.NOBLOCK)
            look()
            del running[client, key]

        async def accept(tasks: trio.Nursery) -> None:
            while True:
                client, key = await receive()
                tasks.start_soon(job, client, key)

        with zmq.Context() as context, bound(context) as socket:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(watch)
                tasks.start_soon(accept, tasks)
                yield address_of(socket)
                tasks.cancel_scope.cancel()
