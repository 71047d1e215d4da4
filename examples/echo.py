"""An echo: what is typed on stdin goes to a ZeroMQ server, and comes back.

Run it with ``aiowire run examples/echo.py:main``, and type. The end of input (Ctrl-D) ends it.
"""

from __future__ import annotations

import os

import zmq

from aiowire import EventLoop, Poller
from aiowire.zmq import Context

__all__ = ["main"]


async def main(ev: EventLoop) -> None:
    """Run a server that echoes, and its client. One poller watches both, and stdin."""
    with (
        Context() as context,
        context.socket(zmq.PAIR) as server,
        context.socket(zmq.PAIR) as client,
    ):
        server.bind("inproc://echo")
        client.connect("inproc://echo")

        async def typed(ev: EventLoop) -> None:
            await client.send(os.read(0, 4096))

        async def echo(ev: EventLoop) -> None:
            await server.send(await server.recv())

        async def answered(ev: EventLoop) -> None:
            if text := await client.recv():
                print("echo:", text.decode(errors="replace").rstrip())
            else:  # nothing was typed: that is how the end of the input reads
                poller.shutdown()

        poller = Poller({0: typed, server: echo, client: answered})
        await poller(ev)
