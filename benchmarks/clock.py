"""The clock that jobs are timed with: it stands still while the machine does something else.

It is the clock on the wall, less the time for which this thread was ready to run and the kernel ran
others instead, which Linux counts. So a busy machine does not spoil the measurement, as it would
with the wall's clock alone, and time in which all tasks sleep counts, as it would not with the
processor's. Where the kernel does not count, it is the wall's.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

STATISTICS = Path("/proc/thread-self/schedstat")


def stood_aside() -> float:
    """Give the seconds for which this thread has waited for a processor."""
    return int(STATISTICS.read_text().split()[1]) / 1e9


def wall_clock_less_waiting() -> float:
    """Give the time in seconds, from some moment on."""
    return perf_counter() - stood_aside()


clock = wall_clock_less_waiting if STATISTICS.exists() else perf_counter
