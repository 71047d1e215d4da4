"""Two chains that take turns at the same counter, until the time is up.

running 1
running 2
event 1
running 3
event 2
running 4
event 3
running 5
event 4
stopped, with 5 begun
"""

import asyncio

from aiowire import EventLoop, Wire

begun = []


async def show_event(ev: EventLoop) -> Wire | None:
    mine = len(begun) + 1
    begun.append(mine)
    print(f"running {mine}")
    await asyncio.sleep(mine * 0.04)
    print(f"event {mine}")
    if mine < 4:
        return Wire(show_event)
    return None


async def main():
    async with EventLoop(timeout=0.3) as ev:
        ev.start(show_event)
        ev.start(show_event)
    print(f"stopped, with {len(begun)} begun")


asyncio.run(main())
