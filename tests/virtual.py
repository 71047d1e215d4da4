"""Time that passes only while nothing else is to be done, and then at once.

A test with virtual time never sleeps, and what happens in it happens at exact moments. trio has
such a clock. asyncio gets an event loop whose selector, where it would sleep, moves the clock
instead. uvloop asks the kernel for the time and cannot be told another, so these tests are not
for it; what they show of the library holds there too, for it never looks at the time itself but
through anyio.

Descriptors that are ready are served before time passes. One that becomes ready by what another
thread or process does may be late: time does not wait for it.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

import pytest
import trio.testing

__all__ = ["UNIT", "anyio_backend"]

#: The grain of time, in seconds. Sums of a few hundred thousand seconds are exact.
UNIT = 2.0**-32


class JumpingSelector(selectors.DefaultSelector):
    """Asks which descriptors are ready; where none is, the time has come that it may wait for."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
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
        self._clock_resolution = UNIT / 4

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run every test on each backend that can have virtual time."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualEventLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
