"""Two simulated sockets: what libzmq 4.3.5 does in a PAIR, but by one thread and without a clock.

Each socket has a mailbox, and a descriptor which is readable while commands lie in it. A message
sends a command only if its reader has looked and found nothing. Any call may empty the mailbox: a
look always does, a receive when it finds nothing and each hundredth time, a send once in a while.
``test_fake_zmq.py`` compares all that with the original.

What is hard to bring about there can be asked for here: :meth:`Fake.spur`, :meth:`Fake.block`,
:meth:`Fake.terminate`.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from aiowire.backends._calls import TAKES, Calls
from aiowire.backends._protocol import POLLIN, POLLOUT

#: Each how many receives in a row the mailbox is emptied.
RECEIVES = 100

#: After how many calls a send empties it again; libzmq counts the processor's cycles instead.
THROTTLE = 5


class Fake:
    """What :class:`zmq.Socket` does that is not to be waited for."""

    peer: Fake

    def __init__(self, hwm: int) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._mailbox: deque[Callable[[], object]] = deque()
        self._is_stopped = False
        # What comes in.
        self._queue: deque[bytes] = deque()
        self._is_asleep = False  # it was looked for messages, and there were none
        self._may_read = True
        self._ticks = self._read = 0
        # What goes out.
        self._may_write = True
        self._written = self._room = 0
        self._hwm = hwm
        self._is_blocked = False
        self._calls = 0
        self._next_drain = 0

    @property
    def can_send(self) -> bool:
        """Whether there is room, be it known or not; to be asked without consequences."""
        is_full = self._written - self.peer._read >= self._hwm
        return not (self._is_blocked or self._is_stopped or is_full)

    # What a program calls.

    def get(self, option: int) -> int:
        if option == zmq.FD:
            return self._fd
        assert option == zmq.EVENTS
        self._begin()
        self._drain()
        return POLLOUT * self._has_room() | POLLIN * self._has_message()

    def recv(self, flags: int = zmq.NOBLOCK) -> bytes:
        self._begin()
        self._ticks += 1
        if self._ticks == RECEIVES:
            self._drain()
            self._ticks = 0
        if not self._has_message():
            self._drain()
            self._ticks = 0
            if not self._has_message():
                raise zmq.Again
        self._read += 1
        if self._read % ((self._hwm + 1) // 2) == 0:
            self.peer._command(self.peer._activate_write, self._read)
        return self._queue.popleft()

    def send(self, message: bytes, flags: int = zmq.NOBLOCK) -> None:
        self._begin()
        if self.is_due():
            self._drain()
        if self._is_blocked or not self._has_room():
            raise zmq.Again
        self._written += 1
        self.peer._queue.append(message)
        if self.peer._is_asleep:
            self.peer._is_asleep = False
            self.peer._command(self.peer._activate_read)

    def is_due(self) -> bool:
        """Say whether a send is to empty the mailbox."""
        is_due = self._calls >= self._next_drain
        if is_due:
            self._next_drain = self._calls + THROTTLE
        return is_due

    def close(self) -> None:
        os.close(self._fd)

    # What goes wrong.

    def spur(self) -> None:
        """Make the descriptor readable though nothing has happened."""
        self._command(lambda: None)

    def block(self) -> None:
        """Refuse to send though there is room, as a ROUTER of whose peers one is full."""
        self._is_blocked = True

    def unblock(self) -> None:
        if self._is_blocked:
            self._is_blocked = False
            self.spur()

    def terminate(self) -> None:
        """End the context."""
        self._command(self._stop)

    # The mailbox.

    def _begin(self) -> None:
        self._calls += 1
        if self._is_stopped:
            raise zmq.ContextTerminated

    def _command(self, command: Callable[..., object], *args: Any) -> None:
        if not self._mailbox:
            os.eventfd_write(self._fd, 1)
        self._mailbox.append(lambda: command(*args))

    def _drain(self) -> None:
        if self._mailbox:
            os.eventfd_read(self._fd)
        while self._mailbox:
            self._mailbox.popleft()()
        if self._is_stopped:
            raise zmq.ContextTerminated

    def _stop(self) -> None:
        self._is_stopped = True

    def _activate_read(self) -> None:
        self._may_read = True

    def _activate_write(self, room: int) -> None:
        self._room = room
        self._may_write = True

    # The pipes.

    def _has_message(self) -> bool:
        if self._may_read and not self._queue:
            self._may_read = False
            self._is_asleep = True
        return self._may_read

    def _has_room(self) -> bool:
        if self._may_write and self._written - self._room >= self._hwm:
            self._may_write = False
        return self._may_write


@contextmanager
def fakes(hwm: int = 2) -> Iterator[tuple[Fake, Fake]]:
    """Two that are connected."""
    ends = Fake(hwm), Fake(hwm)
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def forever() -> float:
    return math.inf


class FakeSocket:
    """What is awaited of :class:`aiowire.zmq.Socket`, of a simulated socket."""

    def __init__(self, plain: Fake) -> None:
        self._plain = plain
        self._waiters = Calls(plain.get, "a fake")

    async def recv(self) -> bytes:
        return await self._waiters.perform(POLLIN | TAKES, forever, self._plain.recv)

    async def send(self, message: bytes) -> None:
        await self._waiters.perform(POLLOUT, forever, self._plain.send, message)

    def get(self, option: int) -> int:
        try:
            return self._plain.get(option)
        finally:
            self._waiters.called()

    def refresh(self) -> None:
        self._waiters.refresh()

    def close(self) -> None:
        self._waiters.close()
