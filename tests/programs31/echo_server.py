"""A ROUTER that echoes what DEALER and REQ clients send, through a poller.

dealer got [b'one', b'1']
dealer got [b'two']
req got [b'hello']
req got [b'world']
the server answered 4 messages
"""

import asyncio

import zmq
import zmq.asyncio

from aiowire import EventLoop, Poller, Wire

ADDRESS = "inproc://echo"


class Server:
    def __init__(self, ctx):
        self.sock = ctx.socket(zmq.ROUTER)
        self.sock.bind(ADDRESS)
        self.answered = 0

    async def echo(self, ev):
        await self.sock.send_multipart(await self.sock.recv_multipart())
        self.answered += 1


async def client(ev, name, sock, messages, then=None):
    if not messages:
        return then
    await sock.send_multipart(messages[0])
    print(name, "got", await sock.recv_multipart())
    return Wire(client, name, sock, messages[1:], then)


async def main():
    ctx = zmq.asyncio.Context()
    server = Server(ctx)
    dealer = ctx.socket(zmq.DEALER)
    dealer.connect(ADDRESS)
    req = ctx.socket(zmq.REQ)
    req.connect(ADDRESS)

    requesting = Wire(client, "req", req, [[b"hello"], [b"world"]])
    dealing = Wire(client, "dealer", dealer, [[b"one", b"1"], [b"two"]], then=requesting)
    async with EventLoop(timeout=0.4) as ev:
        ev.start(Poller({server.sock: Wire(server.echo)}, zmq.POLLIN, 100))
        ev.start(dealing)
    print("the server answered", server.answered, "messages")
    ctx.destroy(linger=0)


asyncio.run(main())
