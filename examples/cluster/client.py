"""A client of the cluster: has jobs done, and gets the answer to each exactly once.

::

    CLUSTER_BROKER=tcp://127.0.0.1:5680 CLUSTER_JOBS=100 aiowire run examples/cluster/client.py:main

Each answer is printed, and at last the counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TypeAlias

import anyio
from connection import Connection, Message
from protocol import Kind
from settings import Say, Settings, in_words, say

from aiowire import EventLoop, Wire
from aiowire.zmq import Context

__all__ = ["Client", "JobFailedError", "main", "square_all"]

#: How many jobs a client hands in before it waits for answers.
WINDOW = 8

#: Gets a number, and its square as it was answered.
Show: TypeAlias = Callable[[int, int], object]


class JobFailedError(Exception):
    """A worker has tried; the text says why it could not do the job."""


@dataclass(eq=False)
class Job:
    """A job that is not answered yet."""

    argument: bytes
    answered: anyio.Event = field(default_factory=anyio.Event)
    how: bytes = b""
    value: bytes = b""


class Client:
    """A client. Its :meth:`run` has to run for :meth:`ask` to be answered."""

    def __init__(self, context: Context, broker: str, name: str, say: Say = print) -> None:
        self._say = say
        self._connection = Connection(
            context, broker, "client", name, self._take, self._resume, say
        )
        self._numbers = count(1)
        self._jobs: dict[bytes, Job] = {}  # that are not answered yet, by their numbers
        self._counts = Counter({"jobs": 0, "answers": 0, "sent again": 0, "duplicates dropped": 0})

    def run(self, ev: EventLoop) -> Wire:
        """Be connected until cancelled."""
        return Wire(self._connection.connected)

    async def ask(self, argument: bytes) -> bytes:
        """Have a job done, and give its answer. It is asked for until there is one.

        :raises JobFailedError: when the job has failed

        *Cancellation*: the answer is dropped when it comes.
        """
        number = b"%d" % next(self._numbers)
        job = self._jobs[number] = Job(argument)
        self._counts["jobs"] += 1
        self._connection.send(Kind.JOB, number, argument)
        try:
            await job.answered.wait()
        finally:
            self._jobs.pop(number, None)
        if job.how != b"done":
            raise JobFailedError(job.value.decode(errors="replace"))
        return job.value

    def counts(self) -> dict[str, int]:
        """Count jobs, answers and sessions."""
        return {**self._counts, "sessions": self._connection.sessions}

    def _resume(self) -> None:
        """Ask again for all that is not answered, in a new session."""
        for number, job in self._jobs.items():
            self._counts["sent again"] += self._connection.sessions > 1
            self._connection.send(Kind.JOB, number, job.argument)

    def _take(self, message: Message) -> None:
        match message:
            case [Kind.ANSWER, number, how, value]:
                job = self._jobs.pop(number, None)
                if job is None:
                    self._counts["duplicates dropped"] += 1
                    return
                self._counts["answers"] += 1
                job.how, job.value = how, value
                job.answered.set()
            case _:
                self._say(f"does not understand {message!r}")


async def square_all(ev: EventLoop, client: Client, numbers: Iterable[int], show: Show) -> None:
    """Run a client until it has the squares of all numbers, several at a time."""
    remaining = iter(numbers)
    async with EventLoop() as loop:
        connection = loop.start(client.run)
        async with EventLoop() as asking:
            for _ in range(WINDOW):
                asking.start(Wire(square_next, client, remaining, show))
        connection.cancel()


async def square_next(
    ev: EventLoop, client: Client, remaining: Iterator[int], show: Show
) -> Wire | None:
    """Ask for one square; the rest is to ask for the next."""
    number = next(remaining, None)
    if number is None:
        return None
    show(number, int(await client.ask(b"%d" % number)))
    return Wire(square_next, client, remaining, show)


async def main(ev: EventLoop) -> None:
    """Have numbers squared, and print how that went."""
    settings = Settings.from_environment()
    tell = partial(say, settings.name)

    def show(number: int, value: int) -> None:
        tell(f"{number} squared is {value}")

    with Context() as context:
        client = Client(context, settings.broker, settings.name, tell)
        try:
            await square_all(ev, client, range(settings.jobs), show)
        finally:
            tell(f"has ended: {in_words(client.counts())}")
