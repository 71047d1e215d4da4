"""Timers: two clocks, a measurement that fails, and a time limit for all of it.

Run it with ``aiowire run examples/timers.py:main``. It ends by itself, at the time limit.
"""

from __future__ import annotations

import anyio

from aiowire import Call, EventLoop, Forever, Wire


def timer(seconds: float, text: str) -> Wire:
    """Make a wire that says something again and again, at first after some seconds."""
    return Forever(Call(anyio.sleep, seconds) >> Call(print, text))


async def measure(ev: EventLoop) -> None:
    """Read the thermometer, which is out of order."""
    await anyio.sleep(0.5)
    raise OSError("no answer from the thermometer")


def give_up(ev: EventLoop, exc: Exception) -> Wire:
    """Take the failure of a wire, and return what is to be done in its place."""
    print("failed:", exc)
    return Call(anyio.sleep, 0.2) >> Call(print, "going on without it")


async def main(ev: EventLoop) -> None:
    """Run everything for one second."""
    async with EventLoop(timeout=1) as limited:
        limited.start(timer(0.2, "tick"))
        limited.start(timer(0.35, "        tock"))
        limited.start(measure, give_up)
    print("time is up" if limited.timed_out else "all wires have ended")
