"""How the cost of one operation grows with what else there is: it should not.

Each line of the table is one kind of operation, and how long one takes among more and more idle
wires, descriptors or sockets, or in longer and longer chains. What is linear shows as the same time
for each operation.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from processes import Probe, close_all
from table import drawn

HEADERS = ("what", "among", "backend", "size", "time", "to the first")


@dataclass(frozen=True)
class Growth:
    """One operation, and what grows.

    :param grows: what there is more and more of, in words; steps are those of the chain itself
    :param number: how many operations make a sample
    """

    what: str
    grows: str
    contender: str
    job: str
    sizes: tuple[int, ...]
    number: int = 0


IDLE = (1, 100, 10_000, 100_000)

GROWTHS = (
    Growth("one step", "idle wires", "Ours", "step", IDLE, 100_000),
    Growth("start, end at once", "idle wires", "Ours", "start_warm", IDLE, 10_000),
    Growth("start, sleep 10 ms", "idle wires", "Ours", "sleep_warm", IDLE, 10_000),
    Growth("fd event, 200 busy", "idle descriptors", "PolledEvents", "events",
           (10, 100, 1000, 10_000), 200_000),
    Growth("ZeroMQ message", "idle sockets", "PolledMessages", "flood", (1, 10, 100, 1000),
           400_000),
    Growth("one step", "steps", "Ours", "step", (10, 1000, 100_000, 10_000_000)),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """The time of one operation, in seconds, at one size."""

    what: str
    grows: str
    backend: str
    size: int
    seconds: float
    ratio: float  # to that at the smallest size

    def cells(self) -> tuple[str, ...]:
        """Give the texts of the line."""
        return (
            self.what, self.grows, self.backend, f"{self.size:,}", f"{self.seconds * 1e6:.3g} µs",
            f"{self.ratio:.2f}",
        )  # fmt: skip

    def as_dict(self) -> dict[str, object]:
        """Give everything as JSON has it."""
        return asdict(self)


def measure_growth(
    backends: list[str], samples: int, note: Callable[[str], None]
) -> Iterator[Point]:
    """Measure all of them on some backends, and each so many times."""
    for growth in GROWTHS:
        for backend in backends:
            first: float | None = None
            for size in growth.sizes:
                note(f"{backend}: {growth.what} among {size:,} {growth.grows}")
                seconds = time_of(growth, backend, size, samples)
                first = first or seconds
                yield Point(growth.what, growth.grows, backend, size, seconds, seconds / first)


def time_of(growth: Growth, backend: str, size: int, samples: int) -> float:
    """Give the median time of an operation, of samples in one process."""
    idle, number = (size, growth.number) if growth.number else (0, size)
    probe = Probe(growth.contender, backend, idle)
    try:
        probe.run(growth.job, number)  # which warms up
        return statistics.median(probe.run(growth.job, number)[""] for _ in range(samples))
    finally:
        close_all([probe])


def growth_as_text(points: list[Point]) -> str:
    """Draw the table."""
    return drawn([HEADERS, *(point.cells() for point in points)])
