"""Programs, run as wires: what they print starts more wires.

first: hello
second: hello again
both have run
"""

import asyncio
import sys

from aiowire import Call, EventLoop, Sequence, Wire

output = {}


async def run_program(ev: EventLoop, name, code, follow=None):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", code, stdout=asyncio.subprocess.PIPE
    )
    text, _ = await process.communicate()
    output[name] = text.decode().strip()
    print(f"{name}: {output[name]}")
    return follow


async def main():
    second = Wire(run_program, "second", "print('hello again')")
    first = Wire(run_program, "first", "print('hello')", follow=second)
    async with EventLoop() as ev:
        ev.start(first)
    async with EventLoop(2) as ev:
        ev.start(Sequence(Call(asyncio.sleep, 0), Call(print, "both have run")))


asyncio.run(main())
