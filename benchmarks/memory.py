"""What a function that waits costs in memory, measured in a process of its own. ::

    python memory.py Ours trio 50000      # prints bytes per function

The process counts its private pages (what would be free if it ended) when a hundred functions wait
and when so many more do: the first hundred have paid for what is there once. Asking the kernel
counts everything, what extension modules allocate too, which :mod:`tracemalloc` does not see.
"""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from pathlib import Path

import anyio
import contenders
from probe import backend_of

ROLLUP = Path("/proc/self/smaps_rollup")

#: Whether this system can say how much memory a process has to itself.
MEASURABLE = ROLLUP.exists()


def private_bytes() -> int:
    """Give the memory that this process shares with no other."""
    gc.collect()
    lines = ROLLUP.read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


async def measure(contender: contenders.Contender, number: int) -> None:
    """Let so many functions wait, print what each of them costs, and end the process."""
    async with contender.block() as start:
        start(contenders.park, 100)
        await anyio.wait_all_tasks_blocked()
        before = private_bytes()
        start(contenders.park, number)
        await anyio.wait_all_tasks_blocked()
        print((private_bytes() - before) / number, flush=True)
        os._exit(0)  # they wait for ever, and to cancel them takes long


if __name__ == "__main__":
    name, backend, number = sys.argv[1:]
    contender = getattr(contenders, name)()
    anyio.run(partial(measure, contender, int(number)), **backend_of(backend))
