"""ZeroMQ sockets whose operations are awaited, on asyncio, uvloop and trio.

A program that uses ``zmq.asyncio`` runs on every backend with this import in place of that one.
What is guaranteed beyond it: no wake-up is lost, whatever else is done with a socket meanwhile, and
no message when a task is cancelled. ::

    import aiowire.zmq

    async def serve(ev):
        with aiowire.zmq.Context() as context, context.socket(zmq.REP) as socket:
            socket.bind("tcp://127.0.0.1:5555")
            while True:
                await socket.send(await socket.recv())
"""

from __future__ import annotations

from ._context import Context
from ._poller import Poller
from ._socket import Socket

__all__ = ["Context", "Poller", "Socket"]
