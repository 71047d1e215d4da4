"""Instructions instead of time: figures that do not depend on the mood of the machine.

Each contender runs under callgrind, which counts the instructions that the program executes, those
of the kernel left out. What an operation takes is the difference between two runs that differ in
nothing but how many there are. The counts of two runs of the same thing differ by less than 1 %.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from old import old_python
from processes import HERE, environment
from rows import ASYNCIO_ONLY, rows_of
from table import Line, lines_of
from turns import Values

#: How many operations the two runs have, by job.
NUMBERS = {
    "step": (1000, 21000),
    "start_warm": (1000, 6000),
    "all": (200, 700),
    "race": (200, 700),
    "select": (200, 700),
    "timeout": (200, 1200),
}

COLLECTED = re.compile(rb"Collected\s*:\s*(\d+)")


def measure_instructions(
    names: list[str], backends: list[str], note: Callable[[str], None]
) -> list[Line]:
    """Count for the rows that were asked for, as far as they can be counted."""
    if shutil.which("valgrind") is None:
        raise SystemExit("instructions are counted by valgrind, which is not installed")
    lines: list[Line] = []
    total(backends[0], "step", "Bare", 1)  # what is imported for the first time is compiled
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for backend in backends:
            for row in rows_of(backend):
                if row.name not in names or row.job not in NUMBERS or "+" in row.ours:
                    continue
                note(f"{backend}: {row.what}")
                counts = list(pool.map(partial(count, backend, row.job), row.contenders))
                values = Values({
                    name: [each] for name, each in zip(row.contenders, counts, strict=True)
                })  # fmt: skip
                lines += lines_of(replace(row, job="instructions"), backend, values)
    return lines


def count(backend: str, job: str, contender: str) -> float:
    """Give the instructions that one operation takes."""
    few, many = NUMBERS[job]
    return (total(backend, job, contender, many) - total(backend, job, contender, few)) / (
        many - few
    )


def total(backend: str, job: str, contender: str, number: int) -> int:
    """Give the instructions of a process that does so many operations."""
    where = "asyncio" if contender in ASYNCIO_ONLY else backend
    python = old_python() if contender.startswith("Old") else None
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    result = subprocess.run(
        [*valgrind, str(python or sys.executable), "probe.py", contender, where, "0", "slowly"],
        cwd=HERE,
        env=environment(python) | {"PYTHONHASHSEED": "0"},
        input=f"{job} {number}\n".encode(),
        capture_output=True,
        check=True,
    )
    found = COLLECTED.search(result.stderr)
    assert found is not None
    return int(found[1])
