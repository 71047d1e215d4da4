"""Input that a wire leaves unread, or reads in parts: once for each arrival, and never a storm."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiowire import Call, EventLoop, Wire

from .support import (
    WAYS,
    Log,
    choose_way,
    counter,
    drain,
    feed,
    immediately,
    note,
    pair,
    pipe,
    polling,
    read,
    reading,
    settle,
    streams,
)


@pytest.fixture(params=WAYS, autouse=True)
def edges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    return choose_way(request, monkeypatch)


@streams
async def test_a_wire_that_reads_nothing_starts_once_for_each_arrival(
    open_stream: Any, edges: bool
) -> None:
    log = Log()
    with open_stream() as (source, peer):
        async with polling({source: Call(log.append, "start")}):
            for n in range(1, 6):
                feed(peer)
                await log.reach(n)
                await settle()
                assert len(log) == n or not edges


async def test_input_that_only_the_rest_of_a_wire_reads_starts_it_once(edges: bool) -> None:
    starts, ends = Log(), Log()
    with pair() as (source, peer):

        async def read_late(ev: EventLoop) -> None:
            await settle()
            drain(source)
            ends.append("end")

        def start(ev: EventLoop) -> Any:
            starts.append("start")
            return read_late

        async with polling({source: start}):
            for n in (1, 2, 3):
                feed(peer)
                await ends.reach(n)
                await settle()
                assert len(starts) == n or not edges


# Sources whose unread input nobody can count.

Open = Callable[[], AbstractContextManager[tuple[Any, Callable[[], object]]]]


@contextmanager
def datagrams(n: int, text: str = "{}") -> Iterator[tuple[Any, Callable[[], object]]]:
    with socket.socket(type=socket.SOCK_DGRAM) as source:
        source.bind(("127.0.0.1", 0))
        source.setblocking(False)
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            for number in range(n):
                peer.sendto(text.format(number).encode(), source.getsockname())
        yield source, lambda: source.recv(100)


@contextmanager
def callers(n: int, family: int) -> Iterator[tuple[Any, Callable[[], object]]]:
    """A listening socket that so many have called."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        source = stack.enter_context(socket.socket(family))
        source.bind(("127.0.0.1", 0) if family == socket.AF_INET else f"{folder}/socket")
        source.listen(n)
        source.setblocking(False)
        for _ in range(n):
            stack.enter_context(socket.socket(family)).connect(source.getsockname())
        yield source, lambda: stack.enter_context(source.accept()[0])


@contextmanager
def letters(n: int) -> Iterator[tuple[Any, Callable[[], object]]]:
    with pair() as (source, peer):
        feed(peer, b"x" * n)
        yield source, lambda: read(source, 1)


@contextmanager
def file_of(n: int) -> Iterator[tuple[Any, Callable[[], object]]]:
    with tempfile.TemporaryFile(buffering=0) as source:
        source.write(b"x" * n)
        source.seek(0)
        yield source, lambda: read(source, 1)


@contextmanager
def device(path: str) -> Iterator[tuple[Any, Callable[[], object]]]:
    with Path(path).open("rb", 0) as source:
        yield source, lambda: read(source, 1)


TOLD_APART: dict[str, Open] = {
    "letters of a stream": lambda: letters(100),
    "different datagrams": lambda: datagrams(100),
    "callers by TCP": lambda: callers(100, socket.AF_INET),
    "letters of a file": lambda: file_of(100),
}
NOT_TOLD_APART: dict[str, Open] = {
    "equal datagrams": lambda: datagrams(7, "beep"),
    "callers by a Unix socket": lambda: callers(7, socket.AF_UNIX),
    "events of a counter": lambda: counter(7),
}
if not hasattr(os, "eventfd"):
    del NOT_TOLD_APART["events of a counter"]


@pytest.mark.parametrize("open_source", TOLD_APART.values(), ids=TOLD_APART)
async def test_a_wire_that_reads_a_part_is_started_at_once_for_the_next(open_source: Open) -> None:
    log = Log()
    with open_source() as (source, read_part):
        async with polling({source: lambda ev: log.append(read_part())}):
            await immediately(lambda: log.reach(100), 3)


@pytest.mark.parametrize("open_source", NOT_TOLD_APART.values(), ids=NOT_TOLD_APART)
async def test_parts_that_cannot_be_told_apart_are_all_read(open_source: Open) -> None:
    log = Log()
    with open_source() as (source, read_part):
        async with polling({source: lambda ev: log.append(read_part())}):
            await immediately(lambda: log.reach(7), 5)
            await settle()
    assert len(log) == 7


async def test_a_wire_that_reads_nothing_is_started_20_times_in_a_second_at_most() -> None:
    unread: dict[str, Open] = {
        **{name: TOLD_APART[name] for name in ("different datagrams", "callers by TCP")},
        **NOT_TOLD_APART,
        "a file": lambda: file_of(100),
        "the end of a file": lambda: file_of(0),
        "the null device": lambda: device("/dev/null"),
        "a device without end": lambda: device("/dev/zero"),
    }
    starts = {name: Log() for name in [*unread, "a stream"]}
    turns = Log()
    with ExitStack() as stack:
        sources = {stack.enter_context(each())[0]: name for name, each in unread.items()}
        stream, peer = stack.enter_context(pair())
        sources[stream] = "a stream"
        feed(peer)
        busy, busy_peer = stack.enter_context(pipe())
        wires: dict[Any, Any] = {source: note(starts[name]) for source, name in sources.items()}
        async with polling({**wires, busy: reading(turns, busy)}):
            began = time.monotonic()
            with anyio.move_on_after(1):
                while True:
                    feed(busy_peer)
                    await turns.reach(len(turns) + 1)
                    await anyio.sleep(0.001)
            counts = {name: len(log) for name, log in starts.items()}
            most = 20 * (time.monotonic() - began)
    assert {name: n for name, n in counts.items() if n > most} == {}
    always_ready = {"a file", "the end of a file", "the null device", "a device without end"}
    assert min(counts[name] for name in always_ready) > 5
    assert len(turns) > max(counts.values())


@pytest.mark.parametrize("read_at_all", [True, False])
async def test_a_source_that_is_always_ready_leaves_the_others_their_turn(
    read_at_all: bool,
) -> None:
    log, turns = Log(), Log()
    with device("/dev/null") as (source, read_part), pipe() as (other, peer):
        wire = Wire(lambda ev: log.append(read_part() if read_at_all else None))
        async with polling({source: wire, other: reading(turns, other)}):
            await log.reach(3)
            for n in range(20):
                feed(peer)
                await immediately(lambda n=n: turns.reach(n + 1))


async def test_a_file_is_read_to_its_end_without_a_pause() -> None:
    log = Log()
    with file_of(1000) as (source, _):
        async with polling({source: reading(log, source, 10)}):
            await immediately(lambda: log.reach(101), 3)
    assert b"".join(log) == b"x" * 1000
    assert log[100] == b""


async def test_empty_datagrams_that_nobody_reads_are_no_storm() -> None:
    log = Log()
    with pair(socket.SOCK_DGRAM) as (source, peer):
        async with polling({source: note(log)}):
            peer.send(b"")
            await log.reach(1)
            with anyio.move_on_after(0.25):
                await log.reach(21)
    assert len(log) <= 20


async def test_an_empty_message_hides_none_that_follow() -> None:
    log = Log()
    with pair(socket.SOCK_SEQPACKET) as (source, peer):
        for text in (b"", b"x", b"y"):
            peer.send(text)
        async with polling({source: reading(log, source)}):
            await log.reach(3)
    assert log == [b"", b"x", b"y"]
