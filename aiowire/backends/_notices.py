"""What is said of a descriptor that somebody waits for: that it is closing, that it is readable."""

from __future__ import annotations

import select
import sys

import anyio

__all__: list[str] = []


def is_running(token: object) -> bool:
    """Say whether no other event loop runs than that of this token."""
    try:
        return anyio.lowlevel.current_token() == token
    except anyio.NoEventLoopError:
        return True  # a callback, or no event loop at all


def notify_closing(fd: int) -> bool:
    """Wake who waits for a descriptor, also from a callback of asyncio's event loop.

    There no task runs, and anyio may not see which event loop does. Where none runs at all nobody
    can be woken, and it says so.
    """
    try:
        anyio.notify_closing(fd)
    except anyio.NoEventLoopError:
        return "sniffio" in sys.modules and notify_asyncio(fd)
    return True


def notify_asyncio(fd: int) -> bool:
    """Say to anyio that the event loop, if one runs, is asyncio's."""
    library = sys.modules["sniffio"].current_async_library_cvar
    before = library.set("asyncio")
    try:
        anyio.notify_closing(fd)
    except RuntimeError:
        return False
    finally:
        library.reset(before)
    return True


def has_input(fd: int) -> bool:
    """Say whether a descriptor is readable at this moment."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
