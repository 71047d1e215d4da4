"""Four alarms, some time apart.

beep
beep
beep
beep
"""

import asyncio

from aiowire import Call, EventLoop

prog = (Call(asyncio.sleep, 0.02) >> Call(print, "beep")) * 4


async def main():
    async with EventLoop() as ev:
        ev.start(prog)


asyncio.run(main())
