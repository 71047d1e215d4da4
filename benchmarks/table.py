"""The tables: one for each backend, a line for each peer of each row, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from rows import Row, title
from turns import Values

HEADERS = ("what", "ours", "against", "theirs", "ratio", "target", "result", "floor")

#: How the numbers of a job, or of one figure of it, are printed: the factor, and the unit.
UNITS = {
    "memory": (1 / 1024, "KiB"),
    "idle_sockets": (1 / 1024, "KiB"),
    "jobs.memory": (1 / 2**20, "MiB"),
    "import": (1e3, "ms"),
    "process": (1e3, "ms"),
    "lost": (100, "%"),
    "instructions": (1e-3, "k"),
}


@dataclass(frozen=True)
class Line:
    """Ours against one peer: medians, in seconds or bytes per operation."""

    what: str
    backend: str
    job: str
    ours: float
    against: str
    theirs: float
    ratio: float  # ours / theirs, the median over the rounds
    spread: float  # how far the ratios of the rounds are from it, in the median
    target: float | None  # the greatest ratio that passes
    floor: float

    @property
    def result(self) -> str:
        """``pass``, ``MISS``, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "pass" if self.ratio <= self.target else "MISS"

    def cells(self) -> tuple[str, ...]:
        """Give the texts of the line."""
        scale, unit = UNITS.get(self.job, (1e6, "µs"))
        numbers = [number * scale for number in (self.ours, self.theirs, self.floor)]
        ours, theirs, floor = (
            f"{number:.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
            for number in numbers
        )
        ratio = f"{self.ratio:.3g} ±{self.spread / self.ratio:.0%}" if self.ratio else "0"
        target = "" if self.target is None else f"≤ {self.target:.3g}"
        return self.what, ours, self.against, theirs, ratio, target, self.result, floor

    def as_dict(self) -> dict[str, object]:
        """Give everything as JSON has it."""
        return {**asdict(self), "result": self.result or None}


def lines_of(row: Row, backend: str, values: Values) -> list[Line]:
    """Compare ours with each peer of a row."""
    return [
        Line(
            row.what,
            backend,
            row.measured,
            values.median(row.ours),
            title(peer, backend),
            values.median(peer),
            *values.ratio(row.ours, peer),
            limit,
            values.median(row.floor),
        )
        for peer, limit in row.peers.items()
    ]


def as_text(lines: Iterable[Line]) -> str:
    """Draw a table for each backend."""
    of_backend: dict[str, list[Line]] = {}
    for line in lines:
        of_backend.setdefault(line.backend, []).append(line)
    return "\n\n".join(
        f"{backend or 'on any backend'}:\n\n{of_one(group)}"
        for backend, group in of_backend.items()
    )


def of_one(lines: Iterable[Line]) -> str:
    """Draw a table; what a line has in common with the one above it is left out."""
    table: list[tuple[str, ...]] = [HEADERS]
    previous = ""
    for line in lines:
        cells = line.cells()
        table.append(("", "", *cells[2:7], "") if line.what == previous else cells)
        previous = line.what
    return drawn(table)


def drawn(table: list[tuple[str, ...]]) -> str:
    """Draw lines of cells below each other, the first of which is the header."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [table[0], rule, *table[1:]]
    )
