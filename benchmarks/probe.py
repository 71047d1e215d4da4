"""A process that runs one contender on one backend, and a job of it whenever it is asked to.

Each contender has a process of its own, so that none pays for what another has left in memory, and
all are there at the same time, so that they can be asked in turns (see :mod:`turns`): what else
the machine is doing then slows all of them down alike. ::

    python probe.py Ours trio 100      # the contender, the backend, and how many functions idle

Then it reads lines such as ``step 1000`` and answers each, as JSON, with the seconds that the job
took in all, or with several figures by their names, per operation.
"""

from __future__ import annotations

import gc
import json
import sys
from functools import partial
from typing import Any

import algebra
import anyio
import contenders
import descriptors
import jobs
import zeromq

#: Where contenders are.
MODULES = (contenders, algebra, descriptors, jobs, zeromq)


async def serve(contender: contenders.Contender, idle: int) -> None:
    """Do the jobs that come in, and answer with how long each took.

    What idles is hidden from Python's garbage collector, which would otherwise walk through all of
    it at some point of every other batch: that is what ten thousand idle tasks cost, whoever
    started them (a bare nursery of trio is slowed down by a third), and not what is asked here.
    """
    async with contender.block(idle) as contender.start:
        if idle:
            gc.collect()
            gc.freeze()
        answer("ready")
        for line in sys.stdin:  # nothing else is to run meanwhile: the wait may block
            job, number = line.split()
            gc.collect()  # what the last job has left does not go on the bill of this one
            answer(json.dumps(await getattr(contender, job)(int(number))))


def answer(text: object) -> None:
    print(text, flush=True)


def backend_of(name: str) -> dict[str, Any]:
    """Give the arguments of ``anyio.run`` for a backend: uvloop is asyncio with an option."""
    if name == "uvloop":
        return {"backend": "asyncio", "backend_options": {"use_uvloop": True}}
    return {"backend": name}


def be_patient() -> None:
    """Have ours take a minute for what is a moment, where all takes much longer than it does.

    Else a chain would give way after a few steps, and workers that arrive late be taken for a sign
    that more are needed.
    """
    from aiowire import _crew, _worker

    _crew.SLICE = _worker.SLICE = _crew.PATIENCE = 60.0


def main(name: str, backend: str, idle: str, pace: str = "") -> None:
    """Open a contender's block on a backend, and serve.

    :param pace: "slowly" where the process is run by a tool that counts
    """
    if pace and not name.startswith("Old"):
        be_patient()
    (kind,) = (getattr(module, name) for module in MODULES if hasattr(module, name))
    contender = kind(int(idle)) if kind is contenders.Old else kind()
    parked = 0 if kind is contenders.Old else int(idle)
    anyio.run(partial(serve, contender, parked), **backend_of(backend))


if __name__ == "__main__":
    main(*sys.argv[1:])
