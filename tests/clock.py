"""A clock for tests of how long something runs."""

from __future__ import annotations

import pytest

__all__ = ["Clock", "clock"]


class Clock:
    """A clock that shows a tenth of a millisecond more each time that it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.0001
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("aiowire._chain.monotonic", clock)
    monkeypatch.setattr("aiowire._crew.monotonic", clock)
    monkeypatch.setattr("aiowire._worker.monotonic", clock)
    return clock
