"""The pipes between a program and the wire that runs it.

The end of a program and the end of its output are two things. A program may close its output and
run on, and it may leave a child behind that keeps the pipe open for ever. What counts here is the
end of the program. All that it wrote is in the pipe by then, and the kernel says how many bytes
those are; so many are read, and no more.

For that the pipes have to be ours. Those of the event loops read ahead, each in its own way, and
cannot say what is left. A program gets one end of a pipe, and a chain serves the other. The wait of
a chain that reads is shielded, and ends with the program: it is needed most while the program is
being terminated, which must not be stuck in writing its last words.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from io import FileIO
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from ._check import INFINITY
from ._fork import origin
from ._wire import Rest, finish_step
from ._worker import is_cancelled

if TYPE_CHECKING:
    from ._loop import EventLoop
    from ._process import Process

__all__: list[str] = []

#: Gets a line; may be async; the wire that it gives back is started.
OnLine: TypeAlias = Callable[[bytes], "Rest | Awaitable[Rest]"]

#: How many bytes are read at a time; as a rule a pipe holds no more.
CHUNK = 65536

#: Lines, and what begins one.
LINES = re.compile(rb"[^\n]*\n|[^\n]+")


class Stream:
    """A chain that serves our end of a pipe. In notes on its failures it is the program."""

    def __init__(self, process: Process, file: FileIO) -> None:
        self._process = process
        self._file = file
        #: Whether it serves the pipe; a chain may be cancelled before it begins.
        self.has_begun = False

    async def __call__(self, ev: EventLoop) -> None:
        """Serve the pipe to its end."""
        raise NotImplementedError

    def finish(self) -> None:
        """Come to an end soon, for the program has ended."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self._process)


class Input(Stream):
    """The chain that writes to a program."""

    def __init__(self, process: Process, file: FileIO, data: bytes) -> None:
        super().__init__(process, file)
        self._data = data
        self._writing = anyio.CancelScope()

    async def __call__(self, ev: EventLoop) -> None:
        """Write until all is written, or nobody can read it any more."""
        self.has_begun = True
        left = memoryview(self._data)
        with self._file, suppress(BrokenPipeError), self._writing:
            while left:
                await anyio.wait_writable(self._file)
                left = left[self._file.write(left) or 0 :]

    def finish(self) -> None:
        """Stop, for the program has ended; only what it left behind could still read."""
        self._writing.cancel()


class Output(Stream):
    """The chain that reads what a program writes, and calls a function with each line."""

    def __init__(self, process: Process, file: FileIO, function: OnLine) -> None:
        super().__init__(process, file)
        self._function = function
        self._lines = Lines(process._keepends, process._limit)
        self._left = INFINITY  # how many bytes to read at most
        self._waiting = anyio.CancelScope()

    async def __call__(self, ev: EventLoop) -> None:
        """Read to the end, and call the function with each line."""
        self.has_begun = True
        try:
            while chunk := await self._read():
                for line in self._lines.of(chunk):
                    await self._give(line, ev)
            if self._lines.rest:
                await self._give(bytes(self._lines.rest), ev)
        except BaseException:
            ev._cancel_all()
            while await self._read():  # or the program might never come to its end
                pass
            raise

    async def _read(self) -> bytes:
        """Give what has come; nothing at the end."""
        while self._left:
            with anyio.CancelScope(shield=True) as self._waiting:
                await anyio.wait_readable(self._file)
            chunk: bytes | None = self._file.read(int(min(self._left, CHUNK)))
            if chunk is not None:
                self._left -= len(chunk)
                return chunk
        return b""

    async def _give(self, line: bytes, ev: EventLoop) -> None:
        """Call the function, start its wire, and let others have their turn."""
        rest = await finish_step(cast("Any", self._function), self._function(line))
        if rest is not None and not is_cancelled():
            ev._start(rest, None, None, copy_context(), *origin(), ev)
        if monotonic() >= ev._crew.turn.until:
            await cancel_shielded_checkpoint()

    def finish(self) -> None:
        """Read no more than what is in the pipe, for the program has ended."""
        unread = fcntl.ioctl(self._file, termios.FIONREAD, bytes(4))
        self._left = int.from_bytes(unread, sys.byteorder)
        self._waiting.cancel()


class Lines:
    """What comes in chunks, taken apart into lines, and pieces of lines that are too long.

    The time is in proportion to what comes, whatever the sizes of the chunks and the lines.
    """

    def __init__(self, keepends: bool, limit: int | None) -> None:
        self._keepends = keepends
        self._limit = limit or sys.maxsize
        #: Of a line whose end has not come.
        self.rest = bytearray()

    def of(self, chunk: bytes) -> Iterator[bytes]:
        """Give the lines that end in a chunk, and all but the last piece of what is too long."""
        rest = self.rest
        for part in LINES.findall(chunk):
            rest += part
            has_end = part.endswith(b"\n")
            if has_end and not self._keepends:
                del rest[-1:]
            while len(rest) > self._limit:
                yield bytes(rest[: self._limit])
                del rest[: self._limit]
            if has_end:
                yield bytes(rest)
                rest.clear()


def open_pipe() -> tuple[FileIO, FileIO]:
    """Open a pipe, and give the end to read from and the one to write to."""
    reader, writer = os.pipe()
    return FileIO(reader, "r"), FileIO(writer, "w")
