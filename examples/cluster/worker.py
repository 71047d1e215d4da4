"""A worker of the cluster: works on one job at a time, for as long as it lives.

::

    CLUSTER_BROKER=tcp://127.0.0.1:5680 aiowire run examples/cluster/worker.py:main

A job here is to square a number, and takes CLUSTER_MS milliseconds. See ``protocol.py`` for why a
job must be *pure*: it may be worked on twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import anyio
from connection import Connection, Message
from protocol import Kind
from settings import Say, Settings, in_words, say

from aiowire import AnyWire, EventLoop, Wire
from aiowire.zmq import Context

__all__ = ["Worker", "main", "square"]

#: Makes the answer of the argument of a job.
Compute: TypeAlias = Callable[[bytes], Awaitable[bytes]]


class Worker:
    """A worker.

    :param compute: works on a job; if it fails, the client is told
    """

    def __init__(
        self, context: Context, broker: str, name: str, compute: Compute, say: Say = print
    ) -> None:
        self._compute = compute
        self._say = say
        self._connection = Connection(
            context, broker, "worker", name, self._take, resume=lambda: None, say=say
        )
        self._counts = Counter(jobs=0, failed=0)

    async def run(self, ev: EventLoop) -> None:
        """Work until cancelled."""
        try:
            async with EventLoop() as loop:
                loop.start(self._connection.connected)
        finally:
            self._say(f"has ended: {in_words(self.counts())}")

    def counts(self) -> dict[str, int]:
        """Count jobs and sessions."""
        return {**self._counts, "sessions": self._connection.sessions}

    def _take(self, message: Message) -> AnyWire | None:
        match message:
            case [Kind.JOB, number, argument]:
                return Wire(self._work, number, argument)
            case _:
                self._say(f"does not understand {message!r}")
                return None

    async def _work(self, ev: EventLoop, number: bytes, argument: bytes) -> None:
        """Work on a job. When the session ends this is cancelled: nobody waits for it then."""
        try:
            how, value = b"done", await self._compute(argument)
        except Exception as exc:
            how, value = b"failed", f"{type(exc).__name__}: {exc}".encode()
            self._counts["failed"] += 1
        self._counts["jobs"] += 1
        self._connection.send(Kind.ANSWER, number, how, value)


async def square(argument: bytes, ms: int = 0) -> bytes:
    """Square a number, slowly."""
    await anyio.sleep(ms / 1000)
    return b"%d" % int(argument) ** 2


async def main(ev: EventLoop) -> None:
    """Work until told to end."""
    settings = Settings.from_environment()
    with Context() as context:
        compute = partial(square, ms=settings.ms)
        worker = Worker(
            context, settings.broker, settings.name, compute, partial(say, settings.name)
        )
        await worker.run(ev)
