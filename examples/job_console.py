"""Lines typed on standard input, whatever that is: a terminal, a pipe, a file, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

from aiowire import EventLoop, Poller

__all__ = ["Console"]

#: Of a line that is longer only the end counts, which is no command.
LONGEST = 1000


class Console:
    """Pass each line that is typed to a function.

    :param fd: the descriptor to read
    :param poller: what watches it
    :param command: gets the lines
    """

    def __init__(self, fd: int, poller: Poller, command: Callable[[str], object]) -> None:
        self._fd = fd
        self._poller = poller
        self._command = command
        self._typed = b""
        poller.register(fd, self._read)

    def _read(self, ev: EventLoop) -> None:
        """Take what was typed."""
        if is_in_background(self._fd):
            return  # what is typed is for others
        try:
            text = os.read(self._fd, 4096)
        except OSError:  # the terminal has gone
            text = b""
        *lines, rest = (self._typed + text).split(b"\n")
        self._typed = rest[-LONGEST:]
        if not text:
            lines.append(rest)
            self._poller.unregister(self._fd)
        for line in lines:
            if words := line.decode(errors="replace").strip():
                self._command(words)


def is_in_background(fd: int) -> bool:
    """Say whether this is a terminal that would stop the process if it read there."""
    try:
        return os.tcgetpgrp(fd) != os.getpgrp()
    except OSError:  # it is no terminal, or not that of this process
        return False
