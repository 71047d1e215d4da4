"""The protocol between a poller and the kinds of readiness."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from ._arrivals import Arrivals

__all__ = ["POLLIN", "POLLOUT", "Readiness", "check_flags", "next_pause"]

#: The source can be read; zmq's value.
POLLIN = 1
#: The source can be written; zmq's value.
POLLOUT = 2


def check_flags(flags: object) -> int:
    """Give back flags that can be polled for.

    :raises ValueError: for anything but ``POLLIN``, ``POLLOUT`` or both; ``POLLPRI`` too, for
        which no event loop waits
    """
    if isinstance(flags, int) and flags in (POLLIN, POLLOUT, POLLIN | POLLOUT):
        return int(flags)
    raise ValueError(f"flags are POLLIN (1), POLLOUT (2) or POLLIN | POLLOUT (3), got {flags!r}")


LONGEST_PAUSE = 0.08


def next_pause(pause: float) -> float:
    """Give the seconds after which to start a wire again that may not have read, from the last.

    They double from 1 to 80 ms, so it is started at most 20 times in any second.
    """
    return min(max(2 * pause, 0.001), LONGEST_PAUSE)


#: What a poller can watch: a descriptor number, an object with ``fileno()``, also a
#: ``zmq.Socket``, or one of the class below.
Source: TypeAlias = "FileDescriptorLike | Readiness"


def is_unknown() -> bool:
    """Say that a source is not known to be ready."""
    return False


class Readiness(ABC):
    """What can become ready, and how to wait for that: subclass it for a source of your own.

    Only :meth:`wait` has to be written. A poller calls it, starts the wire when it returns, and
    calls it again when the first step of that wire has returned. ::

        class Changed(Readiness):
            async def wait(self, flags):
                await self.event.wait()
                return True
    """

    @abstractmethod
    async def wait(self, flags: int, /) -> bool:
        """Wait until the source is ready in one of the directions in ``flags``.

        Give back whether it may become ready again: after ``False`` the wire is started one
        last time, and the source is then unregistered.

        *Cancellation* must lose nothing: what was ready is found ready by the next call.
        """

    def look(self, flags: int, /) -> Callable[[], bool]:
        """Give a function that says whether the source is ready already.

        A poller asks it before it calls :meth:`wait`, which need not wait then. Where that cannot
        be said without a wait, it says no.
        """
        return is_unknown

    def notify(self, flags: int, function: Callable[[], object], /) -> bool:
        """Call a function once, when the source may have become ready.

        A poller asks for that when a wire has left nothing to be done, and looks when the function
        was called. Give back whether it will be; if not, or at any later time, the poller calls
        :meth:`wait` instead, and nothing is to be called any more.
        """
        return False

    def still(self, flags: int, /) -> bool:
        """Say whether what :meth:`wait` has found is still so.

        A poller asks when it has waited for something else since, at its limit.
        """
        return True

    def check(self) -> None:
        """Raise an exception that names the source if it can never become ready any more.

        It is called about twice a second while the source is watched.
        """

    def used(self) -> None:
        """Look again: a wire of this source has taken a step, and may have changed its state."""

    def open(self, arrivals: Arrivals | None, /) -> None:
        """Begin to be watched."""

    def close(self) -> None:
        """Be watched no longer; give back what :meth:`open` took."""
