"""Run one program: its output in lines, a time limit, and nothing of it left behind.

The program gets a session, and so a process group, of its own. Thus Ctrl-C on the server's
terminal does not reach it, but the server, which then ends it in good order; and what it has
started is ended with it.

Its output comes through pipes that are ours. The end of the output and the end of the program
are two things: a program may close its output long before it ends, and it may leave a child
behind that keeps the pipe open, for which nobody can wait for ever.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import NamedTuple, TypeAlias

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop

__all__ = ["LONGEST", "Ending", "Send", "run_program"]

#: Gets b"out" or b"err", and a line or a piece of one; returns when it has room for more.
Send: TypeAlias = Callable[[bytes, bytes], Awaitable[None]]

#: Longer lines are cut into pieces of so many bytes.
LONGEST = 8192

#: No pipe holds more. After its end, so much may still come from a program.
LARGEST_PIPE = 1 << 20

PIECE = re.compile(rb"[^\n]{0,%d}\n|[^\n]{%d}" % (LONGEST - 1, LONGEST))


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
    :param grace: seconds from being terminated to being killed, and for what it has started to
        end after it
    :raises OSError: when it cannot be started

    *Cancellation*: the program is terminated, killed if it lingers, and reaped. What it has
    written is still sent. ::

        await run_program(["date"], 10, send)
    """
    group = Group()
    with Output("out", send) as out, Output("err", send) as err:
        await group.spawn(command, out, err)
        async with EventLoop() as ev:
            ev.start(Call(out.forward))
            ev.start(Call(err.forward))
            try:
                with anyio.move_on_after(seconds) as limit:
                    await group.process.wait()
                if not limit.cancelled_caught:
                    await ev.run(grace)
            finally:
                await group.stop(grace)
                out.finish()
                err.finish()
    if limit.cancelled_caught:
        return Ending("timed out", f"after {seconds:g} s")
    status = await group.process.wait()
    return Ending("exited", str(status)) if status >= 0 else Ending("killed", str(-status))


class Group:
    """A program and all that it starts, as long as they stay together: a process group."""

    process: anyio.abc.Process

    async def spawn(self, command: Sequence[str], out: Output, err: Output) -> None:
        """Start the program. A cancellation waits until there is something to stop."""
        with anyio.CancelScope(shield=True):
            self.process = await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out.writer,
                stderr=err.writer,
                start_new_session=True,
            )
        out.close_writer()
        err.close_writer()

    async def stop(self, grace: float) -> None:
        """Terminate what is left, kill what lingers, and reap the program."""
        with anyio.CancelScope(shield=True):
            try:
                self.signal(signal.SIGTERM)
                with anyio.move_on_after(grace):
                    await self.process.wait()
            finally:  # a second Ctrl-C gets here, too
                self.signal(signal.SIGKILL)
            await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all that is left."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # nothing is left; macOS says so in its own way where there are zombies


class Output:
    """A pipe that a program writes to, and what comes out of it, line by line."""

    def __init__(self, name: str, send: Send) -> None:
        self._name = name.encode()
        self._send = send
        self._left = LARGEST_PIPE  # bytes to read once the program is dead
        self._is_finished = False
        self._waiting = anyio.CancelScope()

    def __enter__(self) -> Output:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._reader)
        self.close_writer()

    def close_writer(self) -> None:
        """Leave the writing to the program alone, or there would be no end of the output."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def forward(self) -> None:
        """Send each line until the end of the output; only :meth:`finish` hurries this."""
        rest = b""
        with anyio.CancelScope(shield=True):
            while chunk := await self._read():
                pieces = PIECE.findall(text := rest + chunk)
                rest = text[sum(map(len, pieces)) :]
                for piece in pieces:
                    await checkpoint()  # in a flood of lines others have a turn, too
                    await self._send(self._name, piece)
            if rest:
                await self._send(self._name, rest)

    async def _read(self) -> bytes:
        """Give what has come; nothing at the end."""
        while True:
            try:
                chunk = os.read(self._reader, min(65536, self._left))
            except BlockingIOError:
                if self._is_finished:
                    return b""
                with anyio.CancelScope() as self._waiting:
                    await anyio.wait_readable(self._reader)
            else:
                self._left -= len(chunk) if self._is_finished else 0
                return chunk

    def finish(self) -> None:
        """Wait for no more: what the dead program has written is in the pipe by now.

        More could only come from a process that has left the program's group, and is no
        longer the program's.
        """
        self._is_finished = True
        self._waiting.cancel()
