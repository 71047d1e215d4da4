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
closed = False


async def on_input(ev: EventLoop, poller: Poller):
    global closed
    try:
        data = os.read(r, 100)
    except BlockingIOError:
        return
    if data:
        print("read", data)
    elif not closed:
        closed = True
        print("end of input")
        poller.unregister(r)
        poller.shutdown()


async def main():
    poller = Poller({}, zmq.POLLIN, 50)
    poller.register(r, Wire(on_input, poller))
    write = Call(os.write, w, b"abc") >> Call(asyncio.sleep, 0.03)
    then = Call(os.write, w, b"def") >> Call(asyncio.sleep, 0.03)
    async with EventLoop() as ev:
        ev.start(poller)
        ev.start(write)
        await ev.run(0.1)
        ev.start(then)
        await ev.run(0.1)
        os.close(w)
    os.close(r)


asyncio.run(main())
