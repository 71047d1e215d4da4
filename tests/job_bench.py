"""What the tests of the job server share: a server in this process, and clients driven by hand."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import zmq

from aiowire import EventLoop, Poller
from aiowire.zmq import Context

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import job_keys
from job_client import Submission
from job_console import Console
from job_gate import Gate
from job_peers import Peer
from job_programs import PROGRAMS, Program, whole
from job_runner import LONGEST, run_program
from job_server import MOST_JOBS, MOST_OF_ONE, Server, Settings

from .support import Log

__all__ = [
    # from the examples
    "LONGEST",
    "MOST_JOBS",
    "MOST_OF_ONE",
    "PROGRAMS",
    "Console",
    "Gate",
    "Peer",
    "Server",
    "Settings",
    "Submission",
    "job_keys",
    "run_program",
    "whole",
    # from here
    "EXAMPLES",
    "TABLE",
    "Bench",
    "Client",
    "assert_dies",
    "assert_gone",
    "assert_no_children",
    "lines",
    "serving",
]

EXAMPLES = Path(__file__).parent.parent / "examples"


def shell(code: str, seconds: float = 60.0) -> Program:
    return Program(("sh", "-c", code), (), seconds)


LINES = "import sys; [print(str(i).zfill(499)) for i in range(int(sys.argv[1]))]"

UNTIL_TOLD = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print(os.getpid(), flush=True)
signal.sigwait({signal.SIGUSR1})
"""

TABLE = {
    "hello": shell("echo hello"),
    "wait": shell("echo $$; exec sleep 1000"),
    "until told": Program((sys.executable, "-ISc", UNTIL_TOLD)),
    "slow": shell("echo $$; exec sleep 1000", seconds=0.2),
    "stubborn": shell("trap '' TERM; echo $$; while :; do sleep 1000; done"),
    "lines": Program((sys.executable, "-ISc", LINES), (whole(1, 100_000),)),
    "suicide": shell("kill -9 $$"),
    "missing": Program(("/nowhere/at-all",)),
}


def lines(number: int) -> list[bytes]:
    """What the program of this name prints."""
    return [b"%0499d\n" % i for i in range(number)]


class Client:
    """A client that sends what a test wants, and keeps what comes."""

    def __init__(self, context: Context, endpoint: str, **options: Any) -> None:
        self.socket = context.socket(zmq.DEALER, zmq.Socket)
        self.socket.linger = 0
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.connect(endpoint)
        self.received: deque[list[bytes]] = deque()
        self.beats = Log()
        self._came = anyio.Event()

    def ask(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames, zmq.NOBLOCK)

    def read(self, ev: EventLoop) -> None:
        message = self.socket.recv_multipart(zmq.NOBLOCK)
        if message[0] == b"alive":
            self.beats.append(message)
        else:
            self.received.append(message)
            self._came.set()

    async def next(self) -> list[bytes]:
        """The next message, whatever it is."""
        while not self.received:
            self._came = anyio.Event()
            await self._came.wait()
        return self.received.popleft()

    async def until(self, kind: bytes, tag: bytes = b"1") -> list[bytes]:
        """Pass over messages until one of this kind comes; give what is in it."""
        while (message := await self.next())[:2] != [kind, tag]:
            assert message[0] not in (b"refused", b"ended", b"error") or message[1] != tag
        return message[2:]

    async def pid(self, tag: bytes = b"1") -> int:
        """The number that the program prints at first."""
        return int((await self.until(b"out", tag))[0])

    async def output(self, tag: bytes = b"1") -> list[bytes]:
        """All lines until the job ends, which it must well."""
        pieces = []
        while (message := await self.next())[0] != b"ended":
            if message[0] == b"out":
                assert message[1] == tag
                pieces.append(message[2])
        assert message[1:] == [tag, b"exited", b"0"]
        return pieces


class Bench:
    """A server, and what is needed to test it."""

    def __init__(
        self, context: Context, settings: Settings, ev: EventLoop, gate: Gate | None
    ) -> None:
        self.said: list[str] = []
        self._spoke = anyio.Event()
        self.context = context
        self.settings = settings
        self.server = Server(context, settings, TABLE, self._say, gate)
        self.ev = ev
        self.serving = ev.start(self.server.run)
        self._clients: list[Client] = []

    def client(self, *, reading: bool = True, **options: Any) -> Client:
        client = Client(self.context, self.settings.server, **options)
        self._clients.append(client)
        if reading:
            self.ev.start(Poller({client.socket: client.read}))
        return client

    def _say(self, text: str) -> None:
        self.said.append(text)
        self._spoke.set()

    async def until_said(self, is_it: Callable[[str], bool]) -> str:
        """Wait until the server says, or has said, something."""
        while not any(map(is_it, self.said)):
            self._spoke = anyio.Event()
            await self._spoke.wait()
        return next(filter(is_it, self.said))

    def close(self) -> None:
        for client in self._clients:
            client.socket.close(0)
        self.server.close()


@asynccontextmanager
async def serving(transport: str = "inproc", **settings: Any) -> AsyncIterator[Bench]:
    """Run a server during the block; afterwards it must still be there, and be able to end."""
    place = f"ipc://@jobs{os.getpid()}" if transport == "ipc" else "inproc://jobs"
    default = {"server": place, "heartbeats": "inproc://beats", "grace": 5, "beat": 100}
    given = Settings(**(default | settings))
    with Context() as context, ExitStack() as stack, anyio.fail_after(30):
        async with EventLoop() as ev:
            gate = stack.enter_context(Gate(context, given.curve)) if given.curve else None
            bench = Bench(context, given, ev, gate)
            stack.callback(bench.close)
            yield bench
            bench.server.quit()
            await bench.serving.wait()
            ev.cancel()
    assert bench.said[-1].startswith("has ended: 0 running, 0 queued, 0 clients")
    assert "failures" not in bench.said[-1]


def assert_gone(pid: int) -> None:
    """There is no such process, nor has it left a zombie."""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def assert_dies(pid: int) -> None:
    """This process, which is not ours to reap, ends soon."""
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_no_children() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
