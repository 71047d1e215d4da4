"""The whole cluster on one host: a broker, three workers, two clients, and what goes wrong.

::

    aiowire run examples/cluster/demo.py:demo

One worker is a process of its own, and is killed in the middle of its work; later the broker is
started again. All else are wires in this process. It ends by itself after some seconds, when each
client has the answer to each of its jobs exactly once, or fails.

The files, in the order in which to read them: ``protocol.py``, which says how it works and why
nothing is lost; ``settings.py``; ``connection.py``, what workers and clients have in common;
``broker.py``, ``worker.py`` and ``client.py``, each of which also runs alone, on a host of its own.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
from broker import Broker
from client import Client, square_all
from settings import in_words, say
from worker import Worker, square

from aiowire import EventLoop, Handle, Wire
from aiowire.zmq import Context

__all__ = ["demo"]

#: How many jobs each client has, and how many milliseconds a worker takes for one.
JOBS, MS = 120, 20

#: After so many answers a worker is killed.
ENOUGH = 40


class Diary:
    """What was said by all; one can wait for a line."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._spoken = anyio.Event()

    def say(self, who: str, text: str) -> None:
        """Print a line, and note it."""
        say(who, text)
        self._said.append(text)
        self._spoken.set()

    async def until(self, condition: Callable[[str], bool]) -> None:
        """Wait until a line has been said which meets a condition."""
        while not any(map(condition, self._said)):
            self._spoken = anyio.Event()
            await self._spoken.wait()


class Tally:
    """Which answers a client has got, and how often each."""

    def __init__(self) -> None:
        self._answers: Counter[int] = Counter()
        self._wrong = 0
        self._enough = anyio.Event()

    def add(self, number: int, value: int) -> None:
        """Note an answer."""
        self._answers[number] += 1
        self._wrong += value != number**2
        if len(self._answers) >= ENOUGH:
            self._enough.set()

    async def enough(self) -> None:
        """Wait until there are some."""
        await self._enough.wait()

    def counts(self) -> dict[str, int]:
        """Count answers."""
        times = Counter(self._answers[number] for number in range(JOBS))
        more = JOBS - times[0] - times[1]
        return {
            "jobs": JOBS,
            "answered once": times[1],
            "more than once": more,
            "never": times[0],
            "wrongly": self._wrong,
        }

    def is_right(self) -> bool:
        """Say whether each job was answered once, and well."""
        return self._answers == Counter(range(JOBS)) and not self._wrong


async def demo(ev: EventLoop) -> None:
    """Show the cluster, and end with status 0 if every job was answered exactly once."""
    diary = Diary()
    tallies = {"ann": Tally(), "bob": Tally()}
    with Context() as context:
        async with EventLoop() as servers:
            broker, endpoint = start_broker(servers, "tcp://127.0.0.1:*", diary)
            for name in "cid", "dan":
                compute, tell = partial(square, ms=MS), partial(diary.say, name)
                servers.start(Worker(context, endpoint, name, compute, tell).run)
            async with EventLoop() as acts:
                eve = acts.start(Wire(be_killed, endpoint, tallies["ann"]))
                await diary.until(lambda text: text.endswith("3 workers"))
                acts.start(Wire(restart, servers, broker, endpoint, eve, diary))
                for name, tally in tallies.items():
                    client = Client(context, endpoint, name, partial(diary.say, name))
                    acts.start(Wire(ask, client, name, diary, tally))
            servers.cancel()
    for name, tally in tallies.items():
        say(name, in_words(tally.counts()))
    if not all(tally.is_right() for tally in tallies.values()):
        raise SystemExit("not every job was answered exactly once")


async def ask(ev: EventLoop, client: Client, name: str, diary: Diary, tally: Tally) -> None:
    """Have all jobs of a client done."""
    await square_all(ev, client, range(JOBS), tally.add)
    diary.say(name, f"has ended: {in_words(client.counts())}")


async def be_killed(ev: EventLoop, broker: str, tally: Tally) -> None:
    """Run a worker in a process of its own, and kill it in the middle of its work."""
    place = Path(__file__).with_name("worker.py")
    command = [sys.executable, "-m", "aiowire", "run", f"{place}:main"]
    settings = {"CLUSTER_BROKER": broker, "CLUSTER_NAME": "eve", "CLUSTER_MS": str(MS)}
    async with await anyio.open_process(
        command, stdin=None, stdout=None, stderr=None, env={**os.environ, **settings}
    ) as process:
        try:
            await tally.enough()
        finally:
            process.kill()


async def restart(
    ev: EventLoop, servers: EventLoop, broker: Handle, endpoint: str, eve: Handle, diary: Diary
) -> None:
    """Start the broker again after it has missed the worker that was killed."""
    await eve.wait()
    diary.say("demo", "has killed the worker eve")
    await diary.until(lambda text: text.startswith("worker eve has been silent"))
    diary.say("demo", "ends the broker, and starts another one")
    broker.cancel()
    await broker.wait()
    start_broker(servers, endpoint, diary)


def start_broker(servers: EventLoop, endpoint: str, diary: Diary) -> tuple[Handle, str]:
    """Start a broker in a context of its own, and give where it listens."""
    context = Context()
    broker = Broker(context, endpoint, partial(diary.say, "broker"))
    return servers.start(Wire(serve, context, broker)), broker.endpoint


async def serve(ev: EventLoop, context: Context, broker: Broker) -> None:
    """Run a broker to its end. When its context has ended its port is free again."""
    with context, broker:
        await broker.run(ev)
