"""Loops with a time limit, and the loop run for some time in its own body.

0 rounds before the first run
some rounds after it
more rounds at the end
never too late
"""

import asyncio
import time

from aiowire import Call, EventLoop, Forever

rounds = []


def count():
    rounds.append(time.monotonic())


async def main():
    async with EventLoop(timeout=0.3) as ev:
        ev.start(Forever(Call(asyncio.sleep, 0.01) >> Call(count)))
        print(len(rounds), "rounds before the first run")
        await ev.run(0.1)
        first = len(rounds)
        print("some" if first else "no", "rounds after it")
        assert ev.timeout == 0.3
    print("more" if len(rounds) > first else "no more", "rounds at the end")

    began = time.monotonic()
    async with EventLoop(0.05) as ev:
        ev.start(Call(asyncio.sleep, 10) >> Call(print, "too late"))
    if time.monotonic() - began < 2:
        print("never too late")


asyncio.run(main())
