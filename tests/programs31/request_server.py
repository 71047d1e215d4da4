"""A REP server that clients ask one after another; it shuts its poller down when told to.

2 -> 4
3 -> 9
stop -> stopped
the loop has ended
"""

import asyncio

import zmq
import zmq.asyncio

from aiowire import EventLoop, Poller, Wire

ctx = zmq.asyncio.Context()
rep = ctx.socket(zmq.REP)
req = ctx.socket(zmq.REQ)


async def serve(ev: EventLoop, poller: Poller):
    if not await rep.poll(0):
        return
    question = await rep.recv_string()
    if question == "stop":
        poller.unregister(rep)
        poller.shutdown()
        await rep.send_string("stopped")
    else:
        await rep.send_string(str(int(question) ** 2))


async def ask(ev: EventLoop, questions):
    for question in questions:
        await req.send_string(question)
        print(question, "->", await req.recv_string())


async def main():
    rep.bind("inproc://squares")
    req.connect("inproc://squares")
    poller = Poller({}, zmq.POLLIN, 50)
    poller.register(rep, Wire(serve, poller))
    async with EventLoop() as ev:
        ev.start(poller)
        ev.start(Wire(ask, ["2", "3", "stop"]))
    print("the loop has ended")
    ctx.destroy(linger=0)


asyncio.run(main())
