"""Descriptors of the operating system: when their wires start, and how often.

Everything here is promised with and without the kernel's help to tell new input from old.
"""

from __future__ import annotations

import subprocess
from typing import Any

import anyio
import pytest

from aiowire import POLLIN, POLLOUT, EventLoop, Wire

from .support import (
    STRESS,
    WAYS,
    Log,
    choose_way,
    drain,
    feed,
    fill,
    many,
    note,
    pair,
    pipe,
    polling,
    read,
    reading,
    settle,
    streams,
    tcp,
)


@pytest.fixture(params=WAYS, autouse=True)
def edges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    return choose_way(request, monkeypatch)


@streams
@pytest.mark.parametrize("given_as", ["object", "number"])
async def test_a_wire_starts_when_its_source_can_be_read(open_stream: Any, given_as: str) -> None:
    log = Log()
    with open_stream() as (source, peer):
        key = source if given_as == "object" else source.fileno()
        async with polling({key: reading(log, key)}):
            await settle()
            assert log == []
            for n in range(1, 4):
                feed(peer, b"%d" % n)
                await log.reach(n)
    assert log == [b"1", b"2", b"3"]


async def test_input_that_was_there_before_starts_the_wire() -> None:
    log = Log()
    with pipe() as (source, peer):
        feed(peer, b"early")
        async with polling({source: reading(log, source)}):
            await log.reach(1)
    assert log == [b"early"]


def running(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_the_output_of_a_program_is_a_source() -> None:
    log = Log()
    with running("cat") as process:
        async with polling({process.stdout: reading(log, process.stdout)}):
            feed(process.stdin, b"line\n")
            await log.reach(1)
            process.stdin.close()
            await log.reach(2)
    assert log == [b"line\n", b""]


async def test_a_slow_reader_is_started_once_for_each_event() -> None:
    began, ended = Log(), Log()
    with pair() as (source, peer):

        async def slow(ev: EventLoop) -> None:
            began.append("began")
            await settle()
            ended.append(read(source))

        async with polling({source: slow}):
            for n in range(1, 4):
                feed(peer, b"%d" % n)
                await ended.reach(n)
                assert len(began) == n
            await settle()
    assert len(began) == 3
    assert ended == [b"1", b"2", b"3"]


@pytest.mark.parametrize("size", [1, 4096])
async def test_input_that_arrives_while_a_wire_reads_starts_it_again_if_left(size: int) -> None:
    log = Log()
    with pair() as (source, peer):

        async def read_late(ev: EventLoop) -> None:
            if not log:
                feed(peer, b"b")
                await settle()
            log.append(read(source, size))

        async with polling({source: read_late}):
            feed(peer, b"a")
            await log.reach(1 if size > 1 else 2)
            await settle()
            feed(peer, b"c")
            await log.reach(2 if size > 1 else 3)
            await settle()
    assert log == ([b"ab", b"c"] if size > 1 else [b"a", b"b", b"c"])


async def test_the_rest_of_a_wire_does_not_hold_up_the_next_read() -> None:
    begun, gate, ended = Log(), anyio.Event(), Log()
    with pair() as (source, peer):

        async def work(ev: EventLoop, data: bytes) -> None:
            begun.append(data)
            await gate.wait()
            ended.append(data)

        async with polling({source: lambda ev: Wire(work, read(source))}):
            for n in range(5):
                feed(peer, b"%d" % n)
                await begun.reach(n + 1)
            assert ended == []
            gate.set()
            await ended.reach(5)


async def test_many_sources_are_all_served() -> None:
    log = Log()
    with many(50) as pipes:
        async with polling({source: reading(log, source) for source, _ in pipes}):
            for n, (_, peer) in enumerate(pipes):
                feed(peer, b"%d" % n)
            await log.reach(50)
    assert sorted(map(int, log)) == list(range(50))


# Output.


async def test_a_wire_for_output_starts_when_its_source_can_be_written() -> None:
    log = Log()
    with pair() as (source, peer):
        fill(source)

        def write_all(ev: EventLoop) -> None:
            log.append("start")
            fill(source)

        async with polling({source: write_all}, POLLOUT):
            await settle()
            assert log == []
            for n in (1, 2, 3):
                drain(peer)
                await log.reach(n)
            await settle()
    assert len(log) == 3


async def test_a_source_that_can_always_be_written_leaves_the_others_their_turn() -> None:
    writable, log = Log(), Log()
    with pair() as (a, b), pair() as (source, peer):
        async with polling({source: reading(log, source)}) as poller:
            poller.register(a, note(writable), POLLOUT)
            for n in range(20):
                await anyio.lowlevel.checkpoint()
                feed(peer)
                await log.reach(n + 1)
    assert len(writable) >= 1
    assert b.fileno() == -1


@pytest.mark.parametrize("ready", ["input", "output", "both"])
async def test_one_wire_for_both_directions_starts_for_either(ready: str) -> None:
    log = Log()
    with pair() as (source, peer):
        fill(source)

        def start(ev: EventLoop) -> None:
            log.append("start")
            fill(source)
            drain(source)

        async with polling({source: start}, POLLIN | POLLOUT):
            await settle()
            assert log == []
            for n in (1, 2):
                if ready != "output":
                    feed(peer)
                if ready != "input":
                    drain(peer)
                await log.reach(n)
                await settle()
                assert len(log) == n


async def test_each_direction_can_have_a_wire_of_its_own() -> None:
    received, sent = Log(), Log()
    with pair() as (source, peer):
        fill(source)

        def send(ev: EventLoop) -> None:
            sent.append("sent")
            fill(source)

        async with polling({source: reading(received, source)}) as poller:
            poller.register(source, send, POLLOUT)
            for n in range(1, 4):
                feed(peer, b"%d" % n)
                await received.reach(n)
                drain(peer)
                await sent.reach(n)
            poller.unregister(source)
            feed(peer)
            drain(peer)
            await settle()
    assert received == [b"1", b"2", b"3"]
    assert len(sent) == 3


# Sharing.


@pytest.mark.parametrize("flags", [POLLIN, POLLOUT])
async def test_two_pollers_may_watch_one_source_at_the_same_time(flags: int) -> None:
    logs = Log(), Log()
    with pair() as (source, peer):
        if flags == POLLOUT:
            fill(source)
        async with polling({source: note(logs[0])}, flags), polling({source: note(logs[1])}, flags):
            await settle()
            feed(peer)
            drain(peer)
            await logs[0].reach(1)
            await logs[1].reach(1)


async def test_two_pollers_may_watch_one_source_in_turn() -> None:
    log = Log()
    with pipe() as (source, peer):
        for n in (1, 2, 3):
            async with polling({source: reading(log, source)}):
                feed(peer, b"%d" % n)
                await log.reach(n)
    assert log == [b"1", b"2", b"3"]


async def test_a_wire_may_wait_for_its_own_source() -> None:
    log = Log()
    with pair() as (source, peer):

        async def read_two(ev: EventLoop) -> None:
            first = read(source)
            feed(peer, b"b")
            await anyio.wait_readable(source)
            log.append(first + read(source))

        async with polling({source: read_two}):
            feed(peer, b"a")
            await log.reach(1)
    assert log == [b"ab"]


@pytest.mark.stress
@pytest.mark.parametrize("open_pair", [pair, tcp], ids=["unix", "tcp"])
async def test_ping_pong_of_equal_messages_never_stalls(open_pair: Any) -> None:
    rounds = 10_000 if STRESS else 300
    log = Log()
    with open_pair() as (a, b):
        b.setblocking(False)

        def echo(ev: EventLoop) -> None:
            feed(b, read(b))

        def count(ev: EventLoop) -> None:
            log.append(read(a))
            feed(a, b"12345678")

        async def play() -> None:
            async with polling({a: count, b: echo}):
                feed(a, b"12345678")
                await log.reach(rounds)

        with anyio.fail_after(rounds / 60):
            await play()
    assert set(log) == {b"12345678"}
