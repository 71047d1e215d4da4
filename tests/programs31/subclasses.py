"""Classes of wires, with a constructor and a step of their own.

3
2
1
lift-off
tick
tick
tick
done
"""

import asyncio

from aiowire import Call, EventLoop, Forever, Repeat, Wire


class Countdown(Wire):
    def __init__(self, n):
        self.n = n

    async def __call__(self, ev):
        print(self.n)
        if self.n > 1:
            return Countdown(self.n - 1)
        return Call(print, "lift-off")


class Tick(Wire):
    def __init__(self, seconds=0.01):
        self.seconds = seconds

    async def __call__(self, ev):
        await asyncio.sleep(self.seconds)
        print("tick")


class Until(Wire):
    def __init__(self, ev, seconds):
        self.seconds = seconds

    async def __call__(self, ev):
        await asyncio.sleep(self.seconds)


async def main():
    async with EventLoop() as ev:
        ev.start(Countdown(3))
    async with EventLoop() as ev:
        ev.start(Repeat(Tick(), 2))
        await ev.run()
        ev.start(Tick() >> Call(print, "done"))
    async with EventLoop(0.05) as ev:
        ev.start(Forever(Until(ev, 0.01)))


asyncio.run(main())
