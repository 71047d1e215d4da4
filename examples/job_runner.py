"""Run one program: its output in lines, a time limit, and nothing of it left behind.

The program gets a session, and so a process group, of its own. Thus Ctrl-C on the server's
terminal does not reach it, but the server, which then ends it in good order; and what it has
started is ended with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import anyio

from aiowire import EventLoop, Process

__all__ = ["LONGEST", "Ending", "Send", "run_program"]

#: Gets b"out" or b"err", and a line or a piece of one; returns when it has room for more.
Send: TypeAlias = Callable[[bytes, bytes], Awaitable[None]]

#: Longer lines are cut into pieces of so many bytes.
LONGEST = 8192


class Ending(NamedTuple):
    """How a job ended: one word, and a number or a text that goes with it."""

    how: str  # exited, killed, timed out, cancelled or failed
    detail: str  # the exit status, the number of the signal, or more words


async def run_program(
    command: Sequence[str], seconds: float, send: Send, grace: float = 2.0
) -> Ending:
    """Run a program to its end and that of its output.

    :param command: the program and its arguments
    :param seconds: after so many it is terminated
    :param send: gets every line of its output as it comes, the line break included; what has no
        line break is the last line, or a piece of one that is too long
    :param grace: seconds from being terminated to being killed
    :raises OSError: when it cannot be started

    *Cancellation*: the program is terminated, killed if it lingers, and reaped. What it has
    written is still sent. ::

        await run_program(["date"], 10, send)
    """

    async def forward(stream: bytes, line: bytes) -> None:
        with anyio.CancelScope(shield=True):  # a cancelled program may have last words
            await send(stream, line)

    statuses: list[int] = []
    program = Process(
        command,
        stdout=partial(forward, b"out"),
        stderr=partial(forward, b"err"),
        input=b"",
        check=False,
        start_new_session=True,
        grace=grace,
        keepends=True,
        limit=LONGEST,
    )
    async with EventLoop() as ev:
        with anyio.move_on_after(seconds):
            await program.then(statuses.append)(ev)
    if not statuses:
        return Ending("timed out", f"after {seconds:g} s")
    status = statuses[0]
    return Ending("exited", str(status)) if status >= 0 else Ending("killed", str(-status))
