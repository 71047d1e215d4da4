"""The broker of the cluster: hands the jobs of clients to workers, and passes the answers on.

::

    CLUSTER_BROKER=tcp://127.0.0.1:5680 aiowire run examples/cluster/broker.py:main

It keeps everything in memory, and may be killed and started again at any time; see ``protocol.py``.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import TracebackType

import anyio
import zmq
from connection import Message
from protocol import BEAT, LIVENESS, LONGEST_FRAME, Kind
from settings import Say, Settings, in_words, say

from aiowire import AnyWire, Call, EventLoop, Forever
from aiowire.zmq import Context

__all__ = ["Broker", "main"]

#: Milliseconds after which a connection that is cut is closed: one that is never made again
#: would stay open for ever.
CUT_MS = 5000


@dataclass(eq=False)
class Member:
    """A client or a worker that has said hello."""

    identity: bytes
    role: str
    name: str
    silent: int = 0  # beats since it was heard
    job: Job | None = None  # that it works on

    def __str__(self) -> str:
        return f"{self.role} {self.name}"


@dataclass(eq=False)
class Job:
    """A job that is not answered yet."""

    client: Member
    number: bytes  # the client's
    argument: bytes
    attempt: bytes = b""  # the number of the last attempt at it


class Broker:
    """The broker.

    :param context: for its socket; the caller's to end
    :param endpoint: where to listen; with ``*`` for the port one is found
    :raises zmq.ZMQError: when it cannot listen there
    """

    def __init__(self, context: Context, endpoint: str, say: Say = print) -> None:
        self._say = say
        self._members: dict[bytes, Member] = {}
        self._waiting: deque[Job] = deque()
        self._free: deque[Member] = deque()  # workers, the one first that has been free longest
        self._attempts = count(1)
        self._counts = Counter({"jobs": 0, "answers": 0, "requeued": 0, "lost": 0, "junk": 0})
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        # A ROUTER never waits, but drops what is above this mark. There are no more answers for a
        # client than it has jobs.
        self._socket.sndhwm = 0
        self._socket.maxmsgsize = LONGEST_FRAME
        self._socket.heartbeat_ivl = CUT_MS
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.close()
            raise
        #: Where it listens.
        self.endpoint: str = self._socket.get(zmq.LAST_ENDPOINT).decode()

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    async def run(self, ev: EventLoop) -> None:
        """Serve until cancelled."""
        self._say(f"listens at {self.endpoint}")
        try:
            async with EventLoop() as loop:
                loop.start(self._listen)
                loop.start(Forever(Call(anyio.sleep, BEAT) >> Call(self.beat)))
        finally:
            self._say(f"has ended: {in_words(self.counts())}")

    def counts(self) -> dict[str, int]:
        """Count members and jobs."""
        roles = Counter(member.role for member in self._members.values())
        return {
            "clients": roles["client"],
            "workers": roles["worker"],
            "queued": len(self._waiting),
            **self._counts,
        }

    async def beat(self) -> None:
        """Give those up that have been silent for too long.

        Beats are counted, and not seconds: who was held up itself must not blame others for it.
        """
        for member in list(self._members.values()):
            member.silent += 1
            if member.silent > LIVENESS:
                self._counts["lost"] += 1
                self._forget(member, f"has been silent for {LIVENESS} beats")
        await self._hand_out()

    # Messages.

    async def _listen(self, ev: EventLoop) -> AnyWire:
        """Take one message; the rest is to listen on."""
        identity, *message = await self._socket.recv_multipart()
        member = self._members.get(identity)
        if member is None:
            await self._meet(identity, message)
        else:
            member.silent = 0
            await self._take(member, message)
        await self._hand_out()
        return self._listen

    async def _meet(self, identity: bytes, message: Message) -> None:
        """Take a message from a stranger."""
        match message:
            case [Kind.HELLO, (b"client" | b"worker") as role, name]:
                member = Member(identity, role.decode(), name.decode(errors="replace"))
                self._members[identity] = member
                if member.role == "worker":
                    self._free.append(member)
                self._say(f"{member} has come: {self._census()}")
                await self._send(identity, Kind.ALIVE)
            case [Kind.BYE]:
                pass
            case _:
                await self._send(identity, Kind.STRANGER)

    async def _take(self, member: Member, message: Message) -> None:
        """Take a message from a member."""
        match member.role, message:
            case _, [Kind.ALIVE]:
                await self._send(member.identity, Kind.ALIVE)
            case _, [Kind.BYE]:
                self._forget(member, "has left")
            case "client", [Kind.JOB, number, argument]:
                self._counts["jobs"] += 1
                self._waiting.append(Job(member, number, argument))
            case "worker", [Kind.ANSWER, attempt, how, value] if (
                member.job is not None and member.job.attempt == attempt
            ):
                job, member.job = member.job, None
                self._free.append(member)
                if job.client.identity in self._members:
                    self._counts["answers"] += 1
                    await self._send(job.client.identity, Kind.ANSWER, job.number, how, value)
            case _:
                self._counts["junk"] += 1

    async def _send(self, identity: bytes, *frames: bytes) -> None:
        await self._socket.send_multipart([identity, *frames])

    # Jobs.

    async def _hand_out(self) -> None:
        """Give jobs to workers while there are both."""
        while self._waiting and self._free:
            worker, job = self._free.popleft(), self._waiting.popleft()
            worker.job = job
            job.attempt = b"%d" % next(self._attempts)
            await self._send(worker.identity, Kind.JOB, job.attempt, job.argument)

    def _forget(self, member: Member, why: str) -> None:
        """Take back the job of a worker, or throw away the jobs of a client."""
        del self._members[member.identity]
        self._waiting = deque(job for job in self._waiting if job.client is not member)
        if member in self._free:
            self._free.remove(member)
        self._say(f"{member} {why}: {self._census()}")
        job = member.job
        if job is not None and job.client.identity in self._members:
            self._counts["requeued"] += 1
            self._waiting.appendleft(job)
            self._say(f"job {job.number.decode(errors='replace')} of {job.client} is queued again")

    def _census(self) -> str:
        counts = self.counts()
        return f"{counts['clients']} clients, {counts['workers']} workers"


async def main(ev: EventLoop) -> None:
    """Serve until told to end."""
    settings = Settings.from_environment()
    with Context() as context:
        try:
            broker = Broker(context, settings.broker, partial(say, "broker"))
        except zmq.ZMQError as exc:
            raise SystemExit(f"cannot listen at {settings.broker}: {exc}") from None
        with broker:
            await broker.run(ev)
