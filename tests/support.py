"""What the tests of the poller share: sources, wires that note what they did, a running poller."""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import pytest

from aiowire import EventLoop, Poller

STRESS = os.environ.get("AIOWIRE_STRESS") == "full"

#: For the few tests of what exists on asyncio only, and of what happens elsewhere.
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio", "uvloop"], indirect=True)
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)


#: With and without the kernel's help to tell new input from old.
WAYS = ["edges", "no edges"]


def choose_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Go the way that a fixture is asked for; say whether the kernel helps."""
    if request.param == "no edges":
        monkeypatch.setattr("aiowire._watch.make_arrivals", lambda: None)
    elif not hasattr(select, "epoll"):
        pytest.skip("this system has no epoll")
    return request.param == "edges"


def label(value: object) -> str:
    """Give the name of a value in the name of a test, the same in every run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:30]


def open_descriptors() -> set[str]:
    """Give the numbers of all open descriptors, but for the one that this takes to find out."""
    return {number for number in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{number}")}


@asynccontextmanager
async def within_slices(number: int) -> AsyncIterator[None]:
    """Fail if the block takes longer than so many tenths of a second in which the machine runs.

    A machine that stands still for a moment takes no more than one of them.
    """
    over = False

    async def watch() -> None:
        nonlocal over
        for _ in range(number):
            await anyio.sleep(0.1)
        over = True
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()
    assert not over


@contextmanager
def lost_time() -> Iterator[list[float]]:
    """Measure for how long, in seconds, the machine stood still in the block, or was not ours."""
    lost, is_over = [0.0], threading.Event()

    def measure() -> None:
        while not is_over.is_set():
            since = time.monotonic()
            time.sleep(0.002)
            lost[0] += max(0, time.monotonic() - since - 0.004)  # as late as it may be

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield lost
    finally:
        is_over.set()
        thread.join()


class Log(list[Any]):
    """What happened, in order; one can wait until so much has."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = anyio.Event()

    def append(self, item: Any) -> None:
        super().append(item)
        self._changed.set()

    async def reach(self, n: int) -> None:
        while len(self) < n:
            self._changed = anyio.Event()
            await self._changed.wait()


def note(log: Log, item: Any = None) -> Callable[[EventLoop], None]:
    """A wire that notes its start, and reads nothing."""
    return lambda ev: log.append(item)


def reading(log: Log, source: Any, size: int = 4096) -> Callable[[EventLoop], None]:
    """A wire that notes what it reads."""

    def read_some(ev: EventLoop) -> None:
        log.append(read(source, size))

    return read_some


def read(source: Any, size: int = 4096) -> bytes:
    return os.read(source if isinstance(source, int) else source.fileno(), size)


def feed(peer: Any, data: bytes = b"x") -> None:
    os.write(peer if isinstance(peer, int) else peer.fileno(), data)


async def settle() -> None:
    """Give whatever might happen, but must not, the time to."""
    for _ in range(3):
        await anyio.sleep(0.004)


@asynccontextmanager
async def polling(
    sources: dict[Any, Any] | Poller, *args: Any, **options: Any
) -> AsyncIterator[Poller]:
    """Run a poller in the block, and shut it down at its end."""
    poller = sources if isinstance(sources, Poller) else Poller(sources, *args, **options)
    with anyio.fail_after(20):
        async with EventLoop() as ev:
            ev.start(poller)
            yield poller
            poller.shutdown()


async def run_to_end(*wires: Any) -> None:
    """Run wires that end by themselves."""
    with anyio.fail_after(20):
        async with EventLoop() as ev:
            for wire in wires:
                ev.start(wire)


async def immediately(call: Callable[[], Awaitable[Any]], seconds: float = 1) -> None:
    """Await what must not wait for any timer; the bound allows for a busy machine."""
    with anyio.fail_after(seconds):
        await call()


# Sources: what a poller watches, and the peer that makes it ready.


@contextmanager
def pipe() -> Iterator[tuple[Any, Any]]:
    ends = os.pipe()
    with open(ends[0], "rb", 0) as reader, open(ends[1], "wb", 0) as writer:
        os.set_blocking(ends[0], False)
        os.set_blocking(ends[1], False)
        yield reader, writer


@contextmanager
def pair(kind: int = socket.SOCK_STREAM) -> Iterator[tuple[socket.socket, socket.socket]]:
    source, peer = socket.socketpair(type=kind)
    with source, peer:
        source.setblocking(False)
        peer.setblocking(False)
        yield source, peer


@contextmanager
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        source, _ = server.accept()
    with source, peer:
        source.setblocking(False)
        yield source, peer


@contextmanager
def terminal() -> Iterator[tuple[Any, Any]]:
    """The end of a pseudo-terminal that a program reads, and the one that a person types at."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with open(slave, "rb", 0) as source, open(master, "wb", 0) as peer:
        os.set_blocking(slave, False)
        yield source, peer


STREAMS = {"pipe": pipe, "unix socket": pair, "tcp socket": tcp, "terminal": terminal}
streams = pytest.mark.parametrize("open_stream", STREAMS.values(), ids=STREAMS)


@contextmanager
def counter(n: int) -> Iterator[tuple[int, Callable[[], object]]]:
    """A counter of events, and the function that takes one from it."""
    source = os.eventfd(n, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
    try:
        yield source, lambda: os.eventfd_read(source)
    finally:
        os.close(source)


@contextmanager
def many(n: int) -> Iterator[list[tuple[Any, Any]]]:
    """So many pipes."""
    with ExitStack() as stack:
        yield [stack.enter_context(pipe()) for _ in range(n)]


def fill(source: Any) -> None:
    """Write until no more can be written."""
    with suppress(BlockingIOError):
        while os.write(source.fileno(), b"x" * 65536):
            pass


def drain(peer: Any) -> None:
    """Read until no more can be read."""
    with suppress(BlockingIOError):
        while os.read(peer.fileno(), 1 << 20):
            pass


def reset(peer: socket.socket) -> None:
    """Close a TCP connection as a crash does."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
