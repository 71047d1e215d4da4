"""What a job gives: one figure or several, each the seconds (or bytes) of one operation."""

from __future__ import annotations

import statistics
from typing import TypeAlias

#: By their names; most jobs have one figure, whose name is empty.
Figures: TypeAlias = "dict[str, float]"


def percentiles(took: list[float]) -> Figures:
    """Give the median, and what 99 of 100 are below of."""
    return {"p50": statistics.median(took), "p99": statistics.quantiles(took, n=100)[98]}
