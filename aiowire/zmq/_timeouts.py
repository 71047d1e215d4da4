"""The time-outs of a socket, in seconds; ZeroMQ has them in milliseconds."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import zmq

__all__: list[str] = []


# As plain numbers, which are found much faster than zmq's.
RCVTIMEO, SNDTIMEO = int(zmq.RCVTIMEO), int(zmq.SNDTIMEO)


class Timeouts:
    """The options ``RCVTIMEO`` and ``SNDTIMEO`` of a socket.

    To read one costs more than to wait for most answers. So they are read again only when they
    may have changed: by any awaitable socket, for several can share what is underneath. Where a
    plain one does, each time.
    """

    changes: ClassVar[int] = 0  # of all sockets

    def __init__(self, socket: zmq.Socket[Any], *, is_shared: bool) -> None:
        self._get = socket.get
        self._is_shared = is_shared
        self._seen = -1  # of the changes
        self._known: dict[int, float] = {}

    def receive(self) -> float:
        """Say for how long to wait for a message."""
        return self._seconds(RCVTIMEO)

    def send(self) -> float:
        """Say for how long to wait for room."""
        return self._seconds(SNDTIMEO)

    @classmethod
    def note(cls, option: int) -> None:
        """Note that an option is set."""
        cls.changes += option in (RCVTIMEO, SNDTIMEO)

    def _seconds(self, option: int) -> float:
        if self._is_shared or self._seen != Timeouts.changes:
            self._known.clear()
            self._seen = Timeouts.changes
        if option not in self._known:
            self._known[option] = seconds_of(self._get(option))
        return self._known[option]


def at_once() -> float:
    """Wait for no time at all."""
    return 0.0


def seconds_of(milliseconds: Any) -> float:
    """Give a time-out as ZeroMQ has it in seconds: those below 0 never come."""
    return math.inf if milliseconds < 0 else milliseconds / 1000


def check_timeout(timeout: object) -> float:
    """Give a time-out in milliseconds, or ``None`` for ever, in seconds."""
    if timeout is None:
        return math.inf
    if not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is a number of milliseconds or None, got {timeout!r}")
    if math.isnan(timeout):
        raise ValueError(f"timeout is a number of milliseconds or None, got {timeout!r}")
    return seconds_of(timeout)
