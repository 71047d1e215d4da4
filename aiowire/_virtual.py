"""An event loop of asyncio whose time is virtual; see ``testing.py``.

It is the one file that needs asyncio itself: anyio has no clock that can be replaced.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import SelectorKey

__all__: list[str] = []

#: How far apart two times are at least, in seconds, that asyncio tells apart.
RESOLUTION = 2.0**-34


class JumpingSelector(selectors.DefaultSelector):
    """Says which descriptors are ready; where none is, moves the clock as far as it may wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)  # it is for the world outside to go on
        self.now += timeout
        return []


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self._jumping.now
