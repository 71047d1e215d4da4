"""Descriptors of the operating system: pipes, sockets, terminals, devices, files.

A poller must start a wire once for each arrival of input, whether or not the wire reads it, and
again at once where the wire has read only a part. The kernel says neither directly. What can be
known, after a start, of a descriptor that is still readable:

- *input has arrived* since: an edge from :mod:`._arrivals`. Start.
- *some was read*: what :mod:`._unread` says has changed. Start.
- *nothing was read*: no edge, and it has not changed. Wait for the next edge.
- *unknown*: it says nothing, or there are no edges (files, other systems). Start again after a
  pause that doubles from 1 to 80 ms, so at most 20 times in a second, or when an edge comes.

A number may be closed, and be given to another file, without anybody telling. So before each
start, and twice a second, it is asked whether the number is still that of the file that was
registered: :mod:`._arrivals` knows; where that does not watch it, device and inode have to do.
"""

from __future__ import annotations

import math
import os
import select
import stat
from array import array
from collections.abc import Awaitable, Callable
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING, Any

import anyio

from .._errors import leaves
from ._protocol import LONGEST_PAUSE, POLLIN, POLLOUT, Readiness, is_unknown, next_pause
from ._unread import Unread

if TYPE_CHECKING:
    from ._arrivals import Arrivals

__all__ = ["DescriptorReadiness", "fileno_of"]

HANG_UP = select.POLLHUP | getattr(select, "POLLRDHUP", 0)


def fileno_of(source: Any) -> int:
    """Give the number of an open descriptor, or of the one that an object has.

    :raises ValueError: when there is none, or it is negative or closed
    """
    fd = source
    if not isinstance(source, int):
        try:
            fd = source.fileno()
        except (AttributeError, OSError, ValueError, TypeError) as exc:
            raise ValueError(
                f"{source!r} cannot be polled: a source is a descriptor number, an object with "
                f"a fileno() that is open, or a ZeroMQ socket"
            ) from exc
    if not isinstance(fd, int) or fd < 0:
        raise ValueError(f"{source!r} cannot be polled: it is closed, or no descriptor")
    try:
        os.fstat(fd)
    except (OSError, OverflowError) as exc:
        raise ValueError(f"{source!r} cannot be polled: descriptor {fd} is not open") from exc
    return fd


class DescriptorReadiness(Readiness):
    """The readiness of one descriptor."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._fd = fileno_of(source)
        status = os.fstat(self._fd)
        self._device, self._inode = status.st_dev, status.st_ino
        # The error of a pipe is that nobody reads it; that of a socket is one of many things.
        is_socket = stat.S_ISSOCK(status.st_mode)
        self._end = HANG_UP if is_socket else HANG_UP | select.POLLERR
        self._offered: Arrivals | None = None  # used if there is input to wait for
        self._arrivals: Arrivals | None = None
        self.has_arrived: bool = False
        self._is_plain = True  # nothing has happened but that input arrived, of which bytes tell
        self.tell: Callable[[], object] | None = None  # is called when something arrives
        self._unread = Unread(self._fd)
        self._is_stream = self._unread.is_bytes and (is_socket or stat.S_ISFIFO(status.st_mode))
        self._last_unread: Any = None  # what was there to read at the last start
        self._started = False  # whether there was a start since it was last not readable
        self._pause = 0.0

    def open(self, arrivals: Arrivals | None) -> None:
        self.has_arrived = self._started = False
        self._is_plain = True
        self._offered = arrivals
        self.tell = None

    def close(self) -> None:
        if self._arrivals is not None:
            self._arrivals.remove(self._fd, self)
        self._offered = self._arrivals = None

    def arrived(self, events: int) -> None:
        """Note that input has arrived, or what else has happened."""
        self.has_arrived = True
        if events != select.POLLIN:
            self._is_plain = False
        if self.tell is not None:
            tell, self.tell = self.tell, None
            tell()

    def check(self) -> None:
        if not (self._is_same() if self._arrivals is None else self._arrivals.has(self._fd)):
            raise anyio.ClosedResourceError(
                f"{self._source!r} (descriptor {self._fd}) was closed while it was watched; "
                f"unregister a source before you close it"
            )

    def _is_same(self) -> bool:
        """Say whether the number is that of the file that was registered, as far as one can see."""
        try:
            status = os.fstat(self._fd)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (self._device, self._inode)

    def still(self, flags: int) -> bool:
        self.check()
        return bool(self._poll(flags | HANG_UP))

    def look(self, flags: int) -> Callable[[], bool]:
        """Look for what is there to read in a stream, as :meth:`wait` does, only faster.

        It says yes only where :meth:`wait` would return at once.
        """
        arrivals = self._offered
        if flags != POLLIN or not self._is_stream or arrivals is None:
            return is_unknown
        fd, confirm = self._fd, arrivals.confirm
        count = array("i", [0])  # one for all calls, which are many
        left = select.poll()
        left.register(fd, select.POLLIN | HANG_UP)

        def is_ready() -> bool:
            if not self._started:
                return False
            try:
                ioctl(fd, FIONREAD, count)
                unread = count[0]
                is_new = self.has_arrived or unread < self._last_unread
                if not is_new:
                    arrivals.collect()  # there may be new input, as much as what was read
                    ioctl(fd, FIONREAD, count)  # all that had arrived by then
                    unread = count[0]
                    is_new = self.has_arrived or unread != self._last_unread
                if unread and is_new:
                    confirm(fd, 0)
                    self.has_arrived = False
                    self._last_unread = unread
                    return True
            except OSError:
                self._is_plain = False  # wait() says what is wrong, if anything is
                return False
            if not unread:
                self.has_arrived = False  # it has been read
                # Or is it the end, or the mark where there was urgent input? No edge need tell of
                # these: it may have been used up, and the urgent input been taken meanwhile.
                self._is_plain = not left.poll(0)
            return False

        return is_ready

    def notify(self, flags: int, function: Callable[[], object]) -> bool:
        """Notify of arrivals to a stream, as long as they are nothing but input."""
        if flags != POLLIN or not self._is_stream:
            return False
        if self._arrivals is None or not self._is_plain:
            return False
        self.tell = function
        return True

    async def wait(self, flags: int) -> bool:
        self.tell = None
        if flags == POLLIN:
            return await self._wait_in()
        if flags == POLLOUT:
            return await self._wait_out()
        return await self._wait_either()

    async def _wait_either(self) -> bool:
        results: list[bool] = []

        async def wait_in() -> None:
            results.append(await self._wait_in())
            group.cancel_scope.cancel()

        async def wait_out() -> None:
            if await self._wait_out():
                results.append(True)
                group.cancel_scope.cancel()
            # After a hang-up there may be something left to read: that side says when it ends.

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(wait_in)
                group.start_soon(wait_out)
        except Exception as exc:
            failure = next(iter(leaves(exc)))  # both sides find a source that was closed
        else:
            self.check()  # to leave the group has taken some passes of the event loop
            return all(results)
        raise failure

    async def _wait_out(self) -> bool:
        while True:
            self.check()
            events = self._poll(select.POLLOUT)
            if events:
                return not events & (select.POLLHUP | select.POLLERR)
            await self._wait_for(anyio.wait_writable)

    async def _wait_in(self) -> bool:
        is_due = False  # to be started, though nothing may be new
        while True:
            self.check()
            if self._offered is not None:
                if self._offered.add(self._fd, self):
                    self._arrivals = self._offered
                self._offered = None
            if self._arrivals is not None:
                self._arrivals.collect()
            events = self._poll(select.POLLIN | HANG_UP)
            if not events:
                self._started = self.has_arrived = is_due = False
                self._is_plain = True
                await self._next_arrival(math.inf)
                continue
            unread = self._unread.count()
            if self._is_news(unread) or is_due:
                return self._start(unread, events)
            if not (unread and self._unread.is_exact and self._arrivals is not None):
                self._pause = next_pause(self._pause)
                is_due = not await self._next_arrival(self._pause)
            elif events & HANG_UP:
                await self._next_arrival(LONGEST_PAUSE)  # to see the end when all has been read
            else:
                await self._next_arrival(math.inf)

    async def _wait_for(self, ready: Callable[[int], Awaitable[None]]) -> None:
        """Let the event loop wait, for a duplicate: others may wait for the same descriptor."""
        fd = os.dup(self._fd)
        try:
            await ready(fd)
        finally:
            os.close(fd)

    def _poll(self, events: int) -> int:
        poll = select.poll()
        poll.register(self._fd, events)
        found = poll.poll(0)
        return found[0][1] if found else 0

    def _start(self, unread: Any, events: int) -> bool:
        """Note what the wire is started for; say whether there can be more."""
        self._started = True
        self.has_arrived = False
        self._last_unread = unread
        return not (events & self._end and not unread)

    def _is_news(self, unread: Any) -> bool:
        """Say whether there is anything that was not there at the last start."""
        if not self._started or self.has_arrived or unread != self._last_unread:
            self._pause = 0.0
            return True
        return False

    async def _next_arrival(self, seconds: float) -> bool:
        """Wait for input to arrive, for so many seconds at most; say if it did."""
        if self._arrivals is None:
            if seconds == math.inf:
                await self._wait_for(anyio.wait_readable)
            else:
                await anyio.sleep(seconds)
            return seconds == math.inf
        arrival = anyio.Event()
        self.tell = arrival.set
        if seconds == math.inf:
            await arrival.wait()
        else:
            with anyio.move_on_after(seconds):
                await arrival.wait()
        return self.has_arrived
