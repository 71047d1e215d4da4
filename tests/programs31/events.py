"""Two chains that count the same events, until the time is up.

running
running
event 1
running
event 2
running
event 3
running
stopped after 3
"""

import asyncio
from typing import Optional

from aiowire import EventLoop, Wire

count = 0


async def show_event(ev: EventLoop) -> Optional[Wire]:
    global count
    print("running")
    await asyncio.sleep([0.04, 0.09, 0.03, 9, 9][count + turn(ev)])
    count += 1
    print(f"event {count}")
    return Wire(show_event)


turns = iter([0, 1, 1, 1, 1])


def turn(ev):
    return next(turns)


async def main():
    async with EventLoop(timeout=0.3) as ev:
        ev.start(show_event)
        ev.start(show_event)
    print(f"stopped after {count}")


asyncio.run(main())
