"""To whom a ZeroMQ socket belongs: to one thread, of one process, until it is closed."""

from __future__ import annotations

import os
import weakref
from _thread import get_ident

import anyio
import zmq

__all__ = ["Owned"]

#: The thread of sockets that were there before the process was forked.
FORKED = -1


class Owned:
    """What says whether a socket may be used here and now.

    :param name: the socket, for messages
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = 0  # where the socket is used
        self._end: BaseException | None = None  # why it cannot be used any more
        everywhere.add(self)

    @property
    def is_forked(self) -> bool:
        """Whether the socket belongs to the process that this one was forked from."""
        return self._thread == FORKED

    def claim(self) -> None:
        """Make the first thread that awaits something the one to which the socket belongs."""
        if self._thread == 0:
            self._thread = get_ident()
        self.check()
        if self._end is not None:
            what = "was closed"
            if isinstance(self._end, zmq.ContextTerminated):
                what = "cannot be used any more: its context was terminated"
            raise anyio.ClosedResourceError(f"{self._name} {what}") from self._end

    def check(self) -> None:
        """Refuse to be used in another thread than before, and after a fork.

        :raises RuntimeError: there
        """
        if self._thread == FORKED:
            raise RuntimeError(
                f"{self._name} was made before the process was forked; "
                f"make another one, with a context of its own"
            )
        if self._thread not in (0, get_ident()):
            raise RuntimeError(f"{self._name} belongs to another thread; make one for each")


#: All that exist in this process.
everywhere: weakref.WeakSet[Owned] = weakref.WeakSet()


def after_fork() -> None:
    """Give up the sockets that the parent goes on to use."""
    for owned in everywhere:
        owned._thread = FORKED


os.register_at_fork(after_in_child=after_fork)
