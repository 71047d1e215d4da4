"""Plain descriptors: a pipe read through a poller, which ends when the pipe does.

read b'abc'
read b'def'
end of input
"""

import asyncio
import os

import zmq

from aiowire import Call, EventLoop, Poller, Wire

r, w = os.pipe()
os.set_blocking(r, False)
closed = []


async def on_input(ev: EventLoop, poller: Poller):
    try:
        data = os.read(r, 100)
    except BlockingIOError:
        return
    if data:
        print("read", data)
        ev.start(Call(os.write, w, b"def") if data == b"abc" else Call(os.close, w))
    elif not closed:
        closed.append(r)
        print("end of input")
        poller.unregister(r)
        poller.shutdown()


async def main():
    poller = Poller({}, zmq.POLLIN, 50)
    poller.register(r, Wire(on_input, poller))
    async with EventLoop() as ev:
        ev.start(poller)
        ev.start(Call(os.write, w, b"abc"))
    os.close(r)


asyncio.run(main())
