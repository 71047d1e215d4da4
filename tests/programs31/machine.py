"""A machine of two states, which hand over to each other.

new task 1
working
working
complete 1
new task 2
working
working
complete 2
nothing left to do
"""

import asyncio

from aiowire import Call, EventLoop, Wire


class Info:
    def __init__(self, tasks):
        self.tasks = tasks
        self.task = 0
        self.effort = 0

    def new_task(self):
        if self.task == self.tasks:
            return False
        self.task += 1
        self.effort = 2
        return True

    def complete(self):
        return self.effort == 0


async def ready(ev: EventLoop, info: Info) -> Wire | None:
    if info.new_task():
        print(f"new task {info.task}")
        return Wire(working, info)
    return Call(asyncio.sleep, 0.01) >> Call(print, "nothing left to do")


async def working(ev: EventLoop, info: Info) -> Wire:
    if info.complete():
        print(f"complete {info.task}")
        return Wire(ready, info)
    print("working")
    info.effort -= 1
    await asyncio.sleep(0.01)
    return Wire(working, info)


async def main():
    async with EventLoop() as ev:
        ev.start(Wire(ready, Info(tasks=2)))


asyncio.run(main())
