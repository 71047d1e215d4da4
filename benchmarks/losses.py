"""The rows ``losses``: what each contender loses where time-outs, cancellations and calls coincide.

The rates of the other table are worth nothing if a message is lost, or a task sleeps on. So the
same scenarios are run with every contender, each in a process of its own that is killed if it does
not end. They are written once: :mod:`storms` counts messages, :mod:`silences` counts who sleeps on,
and :mod:`peers` says how each contender is used.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from counts import Counts
from processes import HERE, environment
from rows import ASYNCIO_ONLY, TITLES
from table import drawn

CONTENDERS = ("OurMessages", "ZmqAsyncio", "ZmqAnyio")

#: A scenario that lasts longer is cancelled, and killed after a grace, all in seconds.
LIMITS = {"quick": 60, "full": 3600}
GRACE = 10


@dataclass(frozen=True)
class Scenario:
    """What is run, and how often: messages or rounds, in a quick and in a full measurement."""

    name: str  # for :mod:`victim`
    what: str
    quick: int
    full: int
    asyncio_only: bool = False  # the means to cancel that it is about


def silence(name: str, what: str, native: bool = False) -> Scenario:
    """Give a scenario of :mod:`silences`."""
    how = "native" if native else "scopes"
    return Scenario(f"silence:{name}:{how}", what, 50, 10_000, native)


SCENARIOS = (
    Scenario("storm", "storm, ROUTER and DEALER, messages each way", 5000, 1_000_000),
    Scenario("scope_cancellations", "receives of all kinds, cancel scope", 2400, 120_000),
    Scenario("native_cancellations", "receives of all kinds, task.cancel()", 2400, 120_000, True),
    Scenario("time_outs_of_anyio", "time-out at the message, anyio", 1000, 10_000),
    Scenario("time_outs_of_timeout", "time-out at the message, timeout()", 1000, 10_000, True),
    Scenario("time_outs_of_wait_for", "time-out at the message, wait_for()", 1000, 10_000, True),
    silence("send", "1 awaited send takes the wake-up of a recv"),
    silence("shadow", "1 send by a shadow takes it"),
    silence("connect", "2 connect takes it"),
    silence("bind", "2 bind takes it"),
    silence("disconnect", "2 disconnect takes it"),
    silence("get", "2 get(EVENTS) takes it"),
    silence("poll", "2 zmq.Poller takes it"),
    silence("receive", "3 recv(DONTWAIT) takes that of a send"),
    silence("two", "4 recv(DONTWAIT) takes one message of two"),
    silence("hundredth", "5 120 receives take the wake-up of a send"),
    silence("receiver_left", "6 first recv cancelled, second sleeps on"),
    silence("receiver_left", "6 the same, task.cancel()", native=True),
    silence("sender_left", "6 recv cancelled, send sleeps on"),
    silence("sender_left", "6 the same, task.cancel()", native=True),
    silence("woken", "7 woken recv cancelled, second sleeps on"),
    silence("woken", "7 the same, task.cancel()", native=True),
    Scenario("busy", "queue full of messages: longest gap of others", 50_000, 50_000),
)


@dataclass(frozen=True)
class LossLine:
    """One scenario on one backend: what each contender that runs there has lost."""

    what: str
    backend: str
    of: int
    counts: dict[str, Counts]

    @property
    def result(self) -> str:
        """``pass`` if ours has lost nothing, and nobody sleeps on; otherwise ``MISS``."""
        ours = self.counts["OurMessages"]
        return "MISS" if ours.lost or ours.twice or ours.hung or ours.note else "pass"

    def cells(self) -> tuple[str, ...]:
        """Give the texts of the line."""
        cells = [self.counts[each].cell() if each in self.counts else "" for each in CONTENDERS]
        return (self.what, self.backend, f"{self.of:,}", *cells)

    def as_dict(self) -> dict[str, object]:
        """Give everything as JSON has it."""
        counts = {TITLES[name]: each.as_dict() for name, each in self.counts.items()}
        return {"what": self.what, "backend": self.backend, "of": self.of, "counts": counts,
                "result": self.result}  # fmt: skip


def measure_losses(
    backends: list[str], size: str, note: Callable[[str], None]
) -> Iterator[LossLine]:
    """Run all scenarios on some backends, one process at a time."""
    for scenario in SCENARIOS:
        for backend in backends:
            if scenario.asyncio_only and backend == "trio":
                continue
            note(f"{backend}: {scenario.what}")
            number = scenario.quick if size == "quick" else scenario.full
            counts = {
                each: run(scenario.name, each, backend, number, LIMITS[size])
                for each in CONTENDERS
                if backend != "trio" or each not in ASYNCIO_ONLY
            }
            yield LossLine(scenario.what, backend, number, counts)


def run(name: str, contender: str, backend: str, number: int, seconds: int) -> Counts:
    """Run a scenario in a process, and kill it with all that it has started if it does not end."""
    args = ["victim.py", name, contender, backend, str(number), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *args],  # zmq.asyncio warns of each message it drops
        cwd=HERE,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=seconds + GRACE)
    except subprocess.TimeoutExpired:
        return Counts(number, hung=1, note=f"killed after {seconds + GRACE} s")
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        return Counts(number, note=f"ended with status {process.returncode}")
    return Counts(**json.loads(printed))


def losses_as_text(lines: Iterable[LossLine]) -> str:
    """Draw the table."""
    contenders = ("aiowire.zmq", *(TITLES[each] for each in CONTENDERS[1:]))
    table = [("lost / twice / hung", "backend", "of", *contenders)]
    previous = ""
    for line in lines:
        table.append(("" if line.what == previous else line.what, *line.cells()[1:]))
        previous = line.what
    return drawn(table)
