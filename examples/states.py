"""A state machine: each state is a wire, and returns the state that comes next.

A telephone. Run it with ``aiowire run examples/states.py:main``. It ends by itself, when the line
is free at the third try. However many states a machine goes through, it needs no more memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio

from aiowire import Call, EventLoop, Wire

Line = Iterator[str]  # what is heard in the line, one try after another


def idle(ev: EventLoop, line: Line) -> Wire:
    """Lift the receiver. This state is a plain function, for it does not wait."""
    print("idle")
    return Wire(dialling, line)


async def dialling(ev: EventLoop, line: Line) -> Wire:
    """Dial, and listen which state comes next."""
    print("dialling")
    await anyio.sleep(0.1)
    return Wire(engaged if next(line) == "engaged" else talking, line)


def engaged(ev: EventLoop, line: Line) -> Wire:
    """Try again later. What is returned may be any wire, with more than one state in it."""
    print("engaged")
    return Call(anyio.sleep, 0.2) >> Wire(idle, line)


async def talking(ev: EventLoop, line: Line) -> None:
    """Talk. This state leaves nothing to do, so it is the last."""
    print("talking")


def main(ev: EventLoop) -> Wire:
    """Begin with the first state."""
    return Wire(idle, iter(["engaged", "engaged", "free"]))
