"""Failures: to a handler, and to nobody.

handled: ZeroDivisionError
handled: TypeError
unhandled, because of ValueError('bad')
the loop was left by KeyError
a handler raised RuntimeError
"""

import asyncio

from aiowire import Call, EventLoop, UnhandledException, Wire


async def fail(ev: EventLoop, exc):
    await asyncio.sleep(0)
    raise exc


async def junk(ev: EventLoop):
    return 3


def handler(ev: EventLoop, exc: Exception) -> None:
    print("handled:", type(exc).__name__)


def strict(ev: EventLoop, exc: Exception) -> None:
    raise RuntimeError("no failures please") from exc


async def main():
    async with EventLoop() as ev:
        ev.start(Wire(fail, ZeroDivisionError()), handler)
        await ev.run()
        ev.start(junk, handler)

    try:
        async with EventLoop() as ev:
            ev.start(Wire(fail, ValueError("bad")))
            ev.start(Call(asyncio.sleep, 5))
    except UnhandledException as e:
        print("unhandled, because of", repr(e.__cause__))

    try:
        async with EventLoop() as ev:
            ev.start(Call(asyncio.sleep, 5))
            raise KeyError
    except KeyError:
        print("the loop was left by KeyError")

    try:
        async with EventLoop() as ev:
            ev.start(Wire(fail, ValueError()), strict)
    except Exception as e:
        if not isinstance(e, RuntimeError):
            e = e.__cause__
        print("a handler raised", type(e).__name__)


asyncio.run(main())
