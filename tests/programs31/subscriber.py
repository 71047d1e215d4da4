"""A SUB socket, registered and unregistered while the poller runs.

registered twice: IndexError
news: sunny
news: rain
unregistered
"""

import asyncio

import zmq
import zmq.asyncio

from aiowire import Call, EventLoop, Poller, Wire

ctx = zmq.asyncio.Context()
pub = ctx.socket(zmq.PUB)
sub = ctx.socket(zmq.SUB)
poller = Poller({}, interval=20)


async def on_news(ev):
    topic, text = await sub.recv_multipart()
    print(f"{topic.decode()}: {text.decode()}")


async def publish(ev, texts):
    await pub.send_multipart([b"news", texts[0]])
    await pub.send_multipart([b"other", texts[0]])
    await asyncio.sleep(0.03)
    return Wire(publish, texts[1:]) if texts[1:] else None


def leave():
    poller.unregister(sub)
    print("unregistered")


async def main():
    pub.bind("inproc://news")
    sub.connect("inproc://news")
    sub.setsockopt(zmq.SUBSCRIBE, b"news")

    poller.register(sub, Wire(on_news), zmq.POLLIN)
    try:
        poller.register(sub, Wire(on_news))
    except IndexError:
        print("registered twice: IndexError")

    async with EventLoop(timeout=0.4) as ev:
        ev.start(poller)
        ev.start(Call(asyncio.sleep, 0.05) >> Wire(publish, [b"sunny", b"rain"]))
        ev.start(Call(asyncio.sleep, 0.2) >> Call(leave))
        ev.start(Call(asyncio.sleep, 0.25) >> Wire(publish, [b"fog"]))
    ctx.destroy(linger=0)


asyncio.run(main())
