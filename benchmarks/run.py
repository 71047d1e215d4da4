"""The benchmark: measure what the library promises to be fast at; print a table per backend. ::

    nox -s benchmarks                                  # all but losses
    nox -s benchmarks -- --quick                       # some minutes, and rougher; no growth
    nox -s benchmarks -- --json results.json --picture # and draw docs/benchmarks.svg, growth.svg
    nox -s benchmarks -- --rows step start --backend trio --json results.json
    nox -s benchmarks -- --rows growth losses          # what grows, what gets lost; see below
    nox -s benchmarks -- --instructions                # thousands of instructions, not time

Each line of the table is ours against one peer, measured side by side in the same minutes on the
same machine. The ratio, ours over theirs, is what counts, and what the targets are about; what
follows it says how far a round's ratio was from it. ``floor`` is what the same costs without any
library in between. *First use* opens a new block for each batch and leaves it, *warm* uses the
same block again and again.

The row ``growth`` is a table of its own, which shows how the cost of an operation grows with what
else there is (:mod:`growth`). The row ``losses`` is another, which counts messages that get lost
and tasks that sleep on, with ours and with its peers (:mod:`losses`). It takes hours, or three
minutes if ``--quick``, and is left out unless it is asked for.

In which order to read the files: :mod:`rows` says what is measured, :mod:`contenders` how,
:mod:`clock` by which clock, :mod:`probe`, :mod:`memory` and :mod:`imports` in which processes,
:mod:`turns` in which order, and :mod:`table` prints what came out. With ``--instructions`` it is
:mod:`instructions` that measures, where that makes sense.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from figures import Figures
from growth import Point, growth_as_text, measure_growth
from imports import import_samplers, imported_with_us
from instructions import measure_instructions
from losses import LossLine, losses_as_text, measure_losses
from machine import describe
from memory import MEASURABLE
from old import old_python
from processes import Probe, close_all, output_of
from rows import ASYNCIO_ONLY, DEFAULT, NAMES, QUICK, Row, import_rows, rows_of
from table import Line, as_text, lines_of
from turns import Sampler, Samples, take_turns

BACKENDS = ("asyncio", "uvloop", "trio")

#: Which part of the wires of another sample one has that runs several at a time, in each.
CONCURRENT = {"all": 0.2, "race": 0.2, "select": 0.2, "timeout": 0.2}

#: How many operations a sample has in which another process takes part.
WITH_OTHERS = {
    "flood": 50_000,
    "request": 2000,
    "ipc": 1000,
    "tcp": 1000,
    "jobs": 10_000,
    "idle_sockets": 500,
    "lost": 1000,
    "events": 200_000,
}

#: Those for which each sample takes a new process: what one has freed the next would use again.
ONCE = ("idle_sockets",)

#: What ``import aiowire`` must not import.
UNWANTED = ("zmq", "asyncio", "trio", "uvloop")


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int  # samples of each contender
    warm_up: int  # and how many before them do not count
    seconds: float  # how long a sample takes where that can be chosen
    wires: int  # how many one sample starts
    idle: int  # how many functions wait where their memory is measured
    processes: int  # samples of a kind that takes another process each
    share: float  # of the operations that such a sample has


THOROUGH = Effort(rounds=7, warm_up=1, seconds=0.1, wires=10_000, idle=50_000, processes=5, share=1)
ROUGH = Effort(rounds=2, warm_up=1, seconds=0.03, wires=2_000, idle=5_000, processes=1, share=0.1)


class Backend:
    """The probes of one backend, each started when it is first needed."""

    def __init__(self, name: str, effort: Effort) -> None:
        self.name = name
        self._effort = effort
        self._probes: dict[str, Probe] = {}

    def measure(self, rows: list[Row]) -> Iterator[Line]:
        """Measure rows, a job at a time: all who do the same job take turns."""
        try:
            for job in dict.fromkeys(row.job for row in rows):
                of_job = [row for row in rows if row.job == job]
                samples = self._take(job, list(dict.fromkeys(
                    each for row in of_job for each in row.contenders
                )))  # fmt: skip
                for row in of_job:
                    yield from lines_of(row, self.name, samples.figure(row.figure))
        finally:
            close_all(self._probes.values())

    def _take(self, job: str, contenders: list[str]) -> Samples:
        note(f"{self.name}: {job}")
        effort = self._effort
        if job == "memory":
            return take_turns(
                {each: partial(self._memory, each) for each in contenders}, effort.processes, 0
            )
        samplers = {each: self._sampler(job, each) for each in contenders}
        if job in WITH_OTHERS:
            return take_turns(samplers, effort.processes, 0)
        return take_turns(samplers, effort.rounds, effort.warm_up)

    def _memory(self, contender: str) -> Figures:
        return {"": float(output_of("memory.py", contender, self.name, str(self._effort.idle)))}

    def _sampler(self, job: str, contender: str) -> Sampler:
        effort = self._effort
        if job in ONCE:
            return partial(self._run_once, contender, job, int(WITH_OTHERS[job] * effort.share))
        if contender not in self._probes:
            self._probes[contender] = self._probe(contender)
        probe = self._probes[contender]
        if job == "step":
            number = probe.calibrate(job, effort.seconds)
        elif job in WITH_OTHERS:
            number = int(WITH_OTHERS[job] * effort.share)
        else:
            number = int(effort.wires * CONCURRENT.get(job, 1))
        return partial(probe.run, job, number)

    def _run_once(self, contender: str, job: str, number: int) -> Figures:
        probe = self._probe(contender)
        try:
            return probe.run(job, number)
        finally:
            probe.close()

    def _probe(self, contender: str) -> Probe:
        name, _, idle = contender.partition("+")
        backend = self.name
        if name in ASYNCIO_ONLY and backend == "trio":
            backend = "asyncio"
        return Probe(
            name, backend, int(idle or 0), old_python() if name.startswith("Old") else None
        )


def measure_imports(rows: list[Row], effort: Effort) -> Iterator[Line]:
    """Measure what has nothing to do with a backend."""
    for row in rows:
        note(row.what)
        samplers = import_samplers(row.job, row.contenders)
        yield from lines_of(row, "", take_turns(samplers, 2 * effort.rounds, 2).figure(""))


def measure(names: list[str], backends: list[str], effort: Effort) -> list[Line]:
    """Measure the rows that were asked for; give their lines."""
    lines: list[Line] = []
    for backend in backends:
        rows = [row for row in rows_of(backend) if row.name in names]
        if not MEASURABLE:
            note("memory: this system does not tell; left out")
            rows = [row for row in rows if row.name != "memory"]
        lines += Backend(backend, effort).measure(rows)
    if "import" in names:
        lines += measure_imports(import_rows(), effort)
    return lines


def note(text: str) -> None:
    """Tell on stderr what is going on: the table alone is the output."""
    print(f"measuring {text} ...", file=sys.stderr, flush=True)


def summary(lines: list[Line | LossLine], seconds: float) -> str:
    """Say how many targets were reached."""
    results = [line.result for line in lines if line.result]
    return f"{results.count('pass')} of {len(results)} targets reached; took {seconds:.0f} s"


def parse() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description="Measure aiowire and its peers, side by side.")
    parser.add_argument("--quick", action="store_true", help="some minutes, and rougher")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions instead of time"
    )
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--rows", nargs="+", choices=NAMES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--picture", action="store_true", help="draw them as the documents do")
    options = parser.parse_args()
    options.rows = options.rows or list(QUICK if options.quick else DEFAULT)
    return options


def main() -> None:
    """Run the command."""
    options = parse()
    if sys.version_info < (3, 11):
        raise SystemExit("asyncio.TaskGroup, a peer, is there from Python 3.11 on")
    machine = describe()
    since = perf_counter()
    if options.instructions:
        lines = measure_instructions(options.rows, options.backend, note)
    else:
        lines = measure(options.rows, options.backend, ROUGH if options.quick else THOROUGH)
    losses: list[LossLine] = []
    if "losses" in options.rows:
        size = "quick" if options.quick else "full"
        losses += measure_losses(options.backend, size, note)
    points: list[Point] = []
    if "growth" in options.rows:
        points += measure_growth(options.backend, 1 if options.quick else 5, note)
    unwanted = imported_with_us(*UNWANTED)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    if lines:
        print(as_text(lines), end="\n\n")
    if points:
        print(growth_as_text(points), end="\n\n")
    if losses:
        print(losses_as_text(losses), end="\n\n")
    print(f"import aiowire imports {', '.join(unwanted) or 'none'} of {', '.join(UNWANTED)}")
    print(summary([*lines, *losses], perf_counter() - since))
    results = {"machine": machine, "unwanted imports": unwanted,
               "lines": [line.as_dict() for line in lines],
               "growth": [point.as_dict() for point in points],
               "losses": [line.as_dict() for line in losses]}  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if options.picture:
        from picture import draw

        draw(results)


if __name__ == "__main__":
    main()
