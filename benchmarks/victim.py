"""A process that runs one scenario with one contender on one backend, and prints its counts. ::

    python victim.py storm OurMessages trio 5000 60       # 5000 messages, for a minute at most
    python victim.py silence:woken:native ZmqAsyncio uvloop 50 60

Whatever goes wrong is part of the result. A scenario that does not come to its end is cancelled,
and if that does not help, this process is killed by who has started it (:mod:`losses`).
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import anyio
import peers
import silences
import storms
from counts import Counts
from probe import backend_of


def scenario_of(name: str) -> Any:
    """Find a scenario by its name."""
    kind, *args = name.split(":")
    if kind == "silence":
        which, how = args
        return partial(silences.silence, name=which, starting=getattr(peers, how))
    return getattr(storms, kind)


async def run(scenario: Any, contender: str, counts: Counts, seconds: float) -> None:
    """Run a scenario, and note how it ended if not well."""
    try:
        with anyio.move_on_after(seconds) as scope:
            await scenario(peers.peer_of(contender), counts.of, counts)
    except Exception as exc:
        counts.note = first_of(exc)
    if scope.cancelled_caught:
        counts.hung = counts.hung or 1
        counts.note = f"cancelled after {seconds:.0f} s"


def first_of(exc: BaseException) -> str:
    """Give the first failure of a group, in a line."""
    while several := getattr(exc, "exceptions", None):
        exc = several[0]
    return repr(exc)


def main(scenario: str, contender: str, backend: str, number: str, seconds: str) -> None:
    """Run a scenario on a backend, and print the counts as JSON."""
    counts = Counts(int(number))
    job = partial(run, scenario_of(scenario), contender, counts, float(seconds))
    anyio.run(job, **backend_of(backend))
    print(json.dumps(counts.as_dict()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
