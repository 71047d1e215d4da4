"""A soak: a server of jobs under load for half an hour, with clients that die at random. ::

    nox -s soak                                    # 30 minutes on each backend
    nox -s soak -- --minutes 3 --backend trio

It is the server written with wires (:mod:`jobs`). Several processes of clients (:mod:`clients`)
come and go all the time, and some are killed while their jobs are under way. The time is cut into
30 intervals; at the end of each all clients have gone, and what the server then holds is looked at.
In the end it fails if memory, descriptors or latencies have grown since the first tenth.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from figures import percentiles
from jobs import CLIENTS_PROGRAM, WireJobs
from machine import describe
from probe import backend_of
from table import drawn

INTERVALS = 30

#: Processes at a time, clients in each, and the jobs that they ask for.
PROCESSES, CLIENTS, JOBS = 4, 10, 1000

#: How many latencies of such a process are kept: this process is the one that must not grow.
LOOKED_AT = 50

#: Which part of the processes is killed, after how many seconds at most.
KILLED, LIFE = 0.5, 0.5

#: How much more of each there may be in the end than in the beginning.
MOST = {"p50": 1.5, "p99": 2.0, "memory": 1.05, "descriptors": 1.0}

HEADERS = ("interval", "jobs", "killed", "p50", "p99", "memory", "descriptors")


@dataclass
class Interval:
    """What was seen in an interval, and at its end."""

    p50: float = 0.0  # seconds
    p99: float = 0.0
    memory: float = 0.0  # bytes
    descriptors: float = 0
    killed: int = 0
    jobs: int = 0

    def cells(self, number: int) -> tuple[str, ...]:
        """Give the texts of the line."""
        return (
            str(number), f"{self.jobs:,}", str(self.killed), f"{self.p50 * 1e3:.2f} ms",
            f"{self.p99 * 1e3:.2f} ms", f"{self.memory / 2**20:.1f} MiB", str(self.descriptors),
        )  # fmt: skip


async def load(address: str, seconds: float) -> Interval:
    """Let clients come and go for some time, and look at what is left when all have gone."""
    seen = Interval()
    took: list[float] = []
    command = [sys.executable, str(CLIENTS_PROGRAM), address, str(CLIENTS), str(JOBS)]

    async def come_and_go() -> None:
        while anyio.current_time() < end:
            async with await anyio.open_process(command, stderr=None) as process:
                assert process.stdout is not None
                if random.random() < KILLED:
                    await anyio.sleep(random.random() * LIFE)
                    with suppress(ProcessLookupError):  # it was done
                        process.kill()
                printed = b"".join([part async for part in process.stdout])
                if await process.wait() == 0:
                    seen.jobs += JOBS
                    took.extend(random.sample(json.loads(printed)["took"], LOOKED_AT))
                else:
                    seen.killed += 1

    end = anyio.current_time() + seconds
    async with anyio.create_task_group() as tasks:
        for _ in range(PROCESSES):
            tasks.start_soon(come_and_go)
    await anyio.sleep(0.5)  # until ZeroMQ has seen that they have gone
    gc.collect()
    seen.p50, seen.p99 = percentiles(took).values()
    seen.memory, seen.descriptors = held()
    return seen


def held() -> tuple[float, int]:
    """Give the bytes of memory that this process has, and how many open descriptors."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE"), len(os.listdir("/dev/fd"))


async def soak(minutes: float) -> list[Interval]:
    """Run the server, and load it."""
    async with WireJobs().serving() as address:
        return [await load(address, minutes * 60 / INTERVALS) for _ in range(INTERVALS)]


def grown(intervals: list[Interval]) -> Iterable[str]:
    """Say what has grown from the first tenth, less the first interval, to the last tenth."""
    tenth = INTERVALS // 10
    for name, most in MOST.items():
        values = [getattr(each, name) for each in intervals]
        begun = statistics.median(values[1 : tenth + 1])
        ended = statistics.median(values[-tenth:])
        if ended > most * begun:
            yield f"{name} has grown from {begun:.4g} to {ended:.4g}"


def run(minutes: float, backend: str) -> None:
    """Soak on one backend, in this process; end it with what has grown, if anything."""
    intervals = anyio.run(partial(soak, minutes), **backend_of(backend))
    print(drawn([HEADERS, *(each.cells(n) for n, each in enumerate(intervals, 1))]))
    failures = list(grown(intervals))
    print("; ".join(failures) or f"{backend}: nothing has grown in {minutes:g} minutes")
    sys.exit(bool(failures))


def main() -> None:
    """Run the command: each backend in a process of its own."""
    parser = argparse.ArgumentParser(description="Load a server of jobs for long.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--backend", nargs="+", default=["asyncio", "uvloop", "trio"])
    options = parser.parse_args()
    if len(options.backend) == 1:
        print("\n".join(f"{name}: {value}" for name, value in describe().items()), end="\n\n")
        run(options.minutes, options.backend[0])
    command = [sys.executable, __file__, "--minutes", str(options.minutes), "--backend"]
    ended = [subprocess.run([*command, each], check=False) for each in options.backend]
    sys.exit(any(each.returncode for each in ended))


if __name__ == "__main__":
    main()
