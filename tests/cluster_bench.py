"""What the tests of the cluster share: its programs as processes, and hand-made peers."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import zmq

from aiowire import EventLoop
from aiowire.zmq import Context, Socket

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "cluster"))

import broker as broker_module
import connection as connection_module
from broker import Broker
from client import Client, JobFailedError
from protocol import LIVENESS, LONGEST_PAUSE
from settings import Settings
from worker import Worker, square

__all__ = [
    # from the examples
    "LIVENESS",
    "LONGEST_PAUSE",
    "Broker",
    "Client",
    "JobFailedError",
    "Settings",
    "Worker",
    "broker_module",
    "connection_module",
    "square",
    # from here
    "AIOWIRE",
    "CLUSTER",
    "Bench",
    "Peer",
    "Program",
    "Switchboard",
    "assert_each_once",
    "quiet",
    "serving",
]

CLUSTER = Path(__file__).parent.parent / "examples" / "cluster"

#: Everything that the interpreter could complain about is an error.
AIOWIRE = [sys.executable, "-W", "error", "-m", "aiowire", "run"]

ANSWER = re.compile(r".* \| (\d+) squared is (\d+)")

#: A test waits for so many seconds at most for anything; less than the limit of the whole test.
PATIENCE = 40.0


class Program:
    """A broker, a worker or a client in a process of its own. What it prints is kept."""

    def __init__(self, name: str, command: Sequence[str], stderr: Path, **settings: str) -> None:
        self.name = name
        self.lines: list[str] = []
        self.answers: list[tuple[int, int]] = []  # of a client
        self.has_closed = False  # its output
        self._rest = b""
        self._stderr = stderr
        with stderr.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **settings},
            )
        assert self._process.stdout is not None
        self.stdout = self._process.stdout

    def read(self) -> None:
        """Read what there is; it must not be called unless there is something."""
        data = os.read(self.stdout.fileno(), 65536)
        self.has_closed = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in map(bytes.decode, lines):
            self.lines.append(line)
            if found := ANSWER.fullmatch(line):
                self.answers.append((int(found[1]), int(found[2])))

    def said(self, text: str) -> bool:
        """Say whether it has printed a text."""
        return self.count(text) > 0

    def count(self, text: str) -> int:
        """Say how many lines with a text it has printed."""
        return sum(text in line for line in self.lines)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended, without a word of complaint; give its status."""
        status = self._process.wait(PATIENCE)
        complaints = self._stderr.read_text()
        assert not complaints, complaints
        return status

    def close(self) -> None:
        """End it if it has not, and reap it."""
        self._process.kill()
        self._process.wait()
        self.stdout.close()


class Bench:
    """Programs of one cluster. At the end of the block all of them are gone.

    :param folder: for files
    """

    def __init__(self, backend: str, folder: Path) -> None:
        self._backend = backend
        self._folder = folder
        self._programs: list[Program] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._selector.close()
        for program in self._programs:
            program.close()
        if exc is not None:
            for program in self._programs:
                print(*program.lines, sep="\n")

    def start(
        self, role: str, name: str, broker: str, at: Sequence[str] = (), jobs: int = 0, ms: int = 20
    ) -> Program:
        """Start a program.

        :param broker: where the broker listens
        :param at: goes before the command
        """
        program = Program(
            name,
            [*at, *AIOWIRE, "--backend", self._backend, f"{CLUSTER / role}.py:main"],
            self._folder / f"{len(self._programs)}-{name}",
            CLUSTER_BROKER=broker,
            CLUSTER_NAME=name,
            CLUSTER_JOBS=str(jobs),
            CLUSTER_MS=str(ms),
        )
        self._programs.append(program)
        self._selector.register(program.stdout, selectors.EVENT_READ, program)
        return program

    def start_broker(self, endpoint: str, at: Sequence[str] = ()) -> tuple[Program, str]:
        """Start a broker, and give where it listens."""
        broker = self.start("broker", "broker", endpoint, at)
        self.until(lambda: broker.said("listens at"))
        return broker, broker.lines[0].split()[-1]

    def until(self, condition: Callable[[], object]) -> None:
        """Read what the programs print until a condition is met."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            ready = self._selector.select(deadline - time.monotonic())
            assert ready, "it takes too long"
            for key, _ in ready:
                program: Program = key.data
                program.read()
                if program.has_closed:
                    self._selector.unregister(program.stdout)

    def until_more(self, clients: Collection[Program], number: int) -> None:
        """Wait until the clients, together, have so many more answers. None may be done by then."""
        wanted = sum(len(client.answers) for client in clients) + number
        self.until(lambda: sum(len(client.answers) for client in clients) >= wanted)
        assert not any(client.said("has ended") for client in clients), "this is no load"

    def end(self, program: Program, number: signal.Signals = signal.SIGTERM) -> int:
        """Have a program ended by a signal, and give its status."""
        program.send(number)
        return self.status(program)

    def status(self, program: Program) -> int:
        """Wait until a program has ended, and give its status."""
        self.until(lambda: program.has_closed)
        return program.wait()


def assert_each_once(clients: Iterable[Program], jobs: int) -> None:
    """Each client has the right answer to each of its jobs, and that once."""
    for client in clients:
        counts = Counter(client.answers)
        once = sum(counts[number, number**2] == 1 for number in range(jobs))
        print(f"{client.name}: {jobs} jobs, {len(client.answers)} answers, {once} exactly once")
        print(client.lines[-1])
        assert counts == Counter((number, number**2) for number in range(jobs))


# Hand-made peers, in this process.


def quiet(text: str) -> None:
    """Say nothing."""


class Peer:
    """A client or a worker that sends what a test wants."""

    def __init__(self, context: Context, endpoint: str) -> None:
        self.socket: Socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    async def send(self, *frames: bytes) -> None:
        await self.socket.send_multipart(frames)

    async def next(self) -> list[bytes]:
        return await self.socket.recv_multipart()

    async def ping(self) -> None:
        """Return when the broker has dealt with all that was sent before, and has said so."""
        await self.send(b"alive")
        assert await self.next() == [b"alive"]


class Switchboard:
    """A running broker, and peers of it."""

    def __init__(self, context: Context, broker: Broker) -> None:
        self.context = context
        self.broker = broker
        self._peers: list[Peer] = []

    def stranger(self) -> Peer:
        peer = Peer(self.context, self.broker.endpoint)
        self._peers.append(peer)
        return peer

    async def peer(self, role: bytes, name: bytes) -> Peer:
        peer = self.stranger()
        await peer.send(b"hello", role, name)
        assert await peer.next() == [b"alive"]
        return peer

    def close(self) -> None:
        for peer in self._peers:
            peer.socket.close()

    async def expire(self, *living: Peer) -> None:
        """Let all peers be silent for too long, but these."""
        for _ in range(LIVENESS + 1):
            for peer in living:
                await peer.ping()
            await self.broker.beat()


@asynccontextmanager
async def serving(monkeypatch: Any) -> AsyncIterator[Switchboard]:
    """Run a broker whose beats the test makes."""
    monkeypatch.setattr(broker_module, "BEAT", 1000)
    with (
        anyio.fail_after(20),
        Context() as context,
        Broker(context, "inproc://broker", quiet) as broker,
    ):
        board = Switchboard(context, broker)
        async with EventLoop() as ev:
            running = ev.start(broker.run)
            try:
                yield board
            finally:
                board.close()
            running.cancel()
