"""Samples taken in turns: in each round every contender once, and each round begins with another.

The machine is never as quiet as one would like. What disturbs a round disturbs all that are in it,
so contenders are compared round by round: the ratio of two of them is the median of the ratios
within the rounds, and not the ratio of their medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import TypeAlias

import pyperf
from figures import Figures

#: Takes one sample.
Sampler: TypeAlias = "Callable[[], Figures]"


class Samples:
    """The samples of some contenders, of each as many as there were rounds."""

    def __init__(self, values: Mapping[str, list[Figures]]) -> None:
        self._values = values

    def figure(self, name: str) -> Values:
        """Give one figure of each sample."""
        return Values({
            contender: [figures[name] for figures in samples]
            for contender, samples in self._values.items()
        })  # fmt: skip


class Values:
    """One figure of the samples of some contenders."""

    def __init__(self, values: Mapping[str, list[float]]) -> None:
        self.values = values

    def median(self, name: str) -> float:
        """Give the median of a contender's samples."""
        if not all(self.values[name]):  # pyperf knows no 0
            return statistics.median(self.values[name])
        run = pyperf.Run(self.values[name], metadata={"name": name}, collect_metadata=False)
        return pyperf.Benchmark([run]).median()

    def ratio(self, name: str, other: str) -> tuple[float, float]:
        """Give the median ratio of two contenders, and how far a ratio is from it."""
        pairs = zip(self.values[name], self.values[other], strict=True)
        ratios = [mine / (theirs or 1e-9) for mine, theirs in pairs]  # nothing may be lost at all
        middle = statistics.median(ratios)
        return middle, statistics.median(abs(ratio - middle) for ratio in ratios)


def take_turns(samplers: Mapping[str, Sampler], rounds: int, warm_up: int = 1) -> Samples:
    """Take so many samples of each, after a round or two that do not count."""
    values: dict[str, list[Figures]] = {name: [] for name in samplers}
    names = list(samplers)
    for number in range(warm_up + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            sample = samplers[name]()
            if number >= warm_up:
                values[name].append(sample)
    return Samples(values)
