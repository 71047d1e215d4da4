"""New input at descriptors, told from input that was there before.

``poll`` and its like say that a descriptor *is* readable. A wire that does not read would then
be started again and again for the same input. Linux can also say that a descriptor *became*
readable, or that more has come, whatever was there before: its edge-triggered ``epoll``. One
epoll object serves all descriptors of a poller, and is itself a descriptor that one task waits
for, through anyio like for any other, so that a poller with thousands of sources costs the event
loop one registration.

A second one never tells of anything. It is asked whether a descriptor is open still, on the file
for which it was added: nothing else answers that in one call, for any file, and as fast.

Where there is no ``epoll`` :func:`make_arrivals` gives ``None``.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._descriptor import DescriptorReadiness

__all__ = ["Arrivals", "make_arrivals"]


def make_arrivals() -> Arrivals | None:
    """Make the object for the descriptors of one poller, where the system can."""
    return Arrivals() if hasattr(select, "epoll") else None


class Arrivals:
    """Tell descriptors that input has arrived."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._files = select.epoll()
        #: What :meth:`has` asks: called with a number and 0, it raises an :exc:`OSError` if not.
        self.confirm: Callable[[int, int], object] = self._files.modify
        self._watched: dict[int, DescriptorReadiness] = {}

    def add(self, fd: int, readiness: DescriptorReadiness) -> bool:
        """Watch a descriptor; say whether the kernel can: for regular files it cannot.

        One that is watched under this number already is watched no longer.
        """
        self._watched.pop(fd, None)
        self._forget(fd)  # also a file that was closed meanwhile, and is back
        try:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        except PermissionError:
            return False
        self._files.register(fd, 0)
        self._watched[fd] = readiness
        return True

    def has(self, fd: int) -> bool:
        """Say whether the file that was added under this number is open under it still."""
        try:
            self.confirm(fd, 0)
        except OSError:
            return False
        return True

    def remove(self, fd: int, readiness: DescriptorReadiness) -> None:
        """Watch a descriptor no longer on behalf of this readiness."""
        if self._watched.get(fd) is readiness:
            del self._watched[fd]
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        for epoll in (self._epoll, self._files):
            with suppress(OSError):  # it is not there, or was closed, and the kernel has forgotten
                epoll.unregister(fd)

    def collect(self) -> None:
        """Tell about everything that has arrived so far."""
        find, plain = self._watched.get, select.POLLIN
        for fd, events in self._epoll.poll(0):
            readiness = find(fd)
            if readiness is None:
                continue
            if events == plain and readiness.tell is None:
                readiness.has_arrived = True  # all that arrived() would do, many times
            else:
                readiness.arrived(events)

    def fileno(self) -> int:
        """Give the descriptor that is readable when something has arrived."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Give back the descriptors of the epoll objects."""
        self._epoll.close()
        self._files.close()
