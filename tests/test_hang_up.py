"""Descriptors whose peer has gone, that were closed, or whose number is another file's now."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from aiowire import POLLIN, POLLOUT, EventLoop, Poller, UnhandledException

from .support import (
    STREAMS,
    WAYS,
    Log,
    choose_way,
    feed,
    fill,
    immediately,
    note,
    pair,
    pipe,
    polling,
    read,
    reading,
    reset,
    settle,
    tcp,
    terminal,
)


@pytest.fixture(params=WAYS, autouse=True)
def edges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    return choose_way(request, monkeypatch)


def half_close(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)


def close(peer: Any) -> None:
    peer.close()


# How a peer goes, and what its end reads then.
HANG_UPS: dict[str, tuple[Any, Callable[[Any], None]]] = {
    "the writer of a pipe closes it": (pipe, close),
    "the peer closes a Unix socket": (pair, close),
    "the peer closes a TCP connection": (tcp, close),
    "the peer closes its half of a TCP connection": (tcp, half_close),
    "the peer resets a TCP connection": (tcp, reset),
    "the terminal is closed": (terminal, close),
}
hang_ups = pytest.mark.parametrize(("open_stream", "hang_up"), HANG_UPS.values(), ids=HANG_UPS)


@hang_ups
async def test_a_hang_up_starts_the_wire_once_and_unregisters(
    open_stream: Any, hang_up: Callable[[Any], None]
) -> None:
    log = Log()
    with open_stream() as (source, peer), pipe() as (other, other_peer):
        async with polling({source: note(log), other: reading(log, other)}) as poller:
            await settle()
            hang_up(peer)
            await log.reach(1)
            await settle()
            assert log == [None]
            with pytest.raises(KeyError):
                poller.unregister(source)
            feed(other_peer, b"goes on")
            await log.reach(2)
    assert log == [None, b"goes on"]


@pytest.mark.parametrize("open_stream", [pipe, pair, tcp])
@pytest.mark.parametrize("size", [2, 4096])
async def test_input_before_the_hang_up_is_read_first(open_stream: Any, size: int) -> None:
    log = Log()
    with open_stream() as (source, peer):
        feed(peer, b"abcd")
        peer.close()
        async with polling({source: reading(log, source, size)}):
            await log.reach(2 if size > 2 else 3)
            await settle()
    assert log == [b"abcd", b""] if size > 2 else [b"ab", b"cd", b""]


async def test_input_left_unread_at_the_hang_up_starts_no_storm(edges: bool) -> None:
    log = Log()
    with pair() as (source, peer):
        async with polling({source: note(log)}):
            feed(peer)
            await log.reach(1)
            peer.close()
            await log.reach(2)
            await settle()
            assert len(log) == 2 or not edges


@pytest.mark.parametrize("open_stream", [pipe, pair])
async def test_output_that_nobody_can_read_any_more_starts_the_wire_once(open_stream: Any) -> None:
    log = Log()
    with open_stream() as (reader, writer):
        fill(writer)
        async with polling({writer: note(log)}, POLLOUT) as poller:
            await settle()
            assert log == []
            reader.close()
            await log.reach(1)
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(writer)
    assert len(log) == 1


async def test_a_hang_up_unregisters_both_directions_of_one_wire() -> None:
    log = Log()
    with pair() as (source, peer):
        fill(source)
        async with polling({source: note(log)}, POLLIN | POLLOUT) as poller:
            await settle()
            peer.close()
            await log.reach(1)
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(source)
    assert 1 <= len(log) <= 2


async def test_the_last_start_may_unregister_and_close_its_source() -> None:
    log = Log()
    with pair() as (source, peer):

        async def echo(ev: EventLoop) -> None:
            data = read(source)
            if not data:
                poller.unregister(source)
                await settle()
                source.close()
            log.append(data)

        async with polling({source: echo}) as poller:
            feed(peer, b"a")
            await log.reach(1)
            peer.close()
            await log.reach(2)
            await settle()
    assert log == [b"a", b""]


async def test_a_source_that_hung_up_can_be_replaced_by_one_of_the_same_number() -> None:
    log = Log()
    with ExitStack() as stack:
        old, old_peer = stack.enter_context(pair())
        old_peer.close()

        def reconnect(ev: EventLoop) -> None:
            number = old.fileno()
            old.close()
            source, peer = stack.enter_context(pair())
            assert source.fileno() == number
            poller.register(source, reading(log, source))
            feed(peer, b"new")

        async with polling({old: reconnect}) as poller:
            await log.reach(1)
            await settle()
    assert log == [b"new"]


# Closed, and nobody told the poller.


@pytest.fixture
def failures() -> Log:
    return Log()


@pytest.mark.parametrize(
    ("open_stream", "flags"),
    [(each, POLLIN) for each in STREAMS.values()]
    + [(each, flags) for each in (pair, tcp) for flags in (POLLOUT, POLLIN | POLLOUT)],
)
async def test_a_source_that_was_closed_is_an_error_within_a_second(
    open_stream: Any, flags: int, failures: Log
) -> None:
    log = Log()
    with open_stream() as (source, _), pipe() as (other, peer):
        if flags & POLLOUT:
            fill(source)
        number, name = source.fileno(), repr(source)
        poller = Poller({source: note(log)}, flags, handler=lambda ev, exc: failures.append(exc))
        poller.register(other, reading(log, other), POLLIN)
        async with polling(poller):
            await settle()
            source.close()
            await immediately(lambda: failures.reach(1))
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(source)
            feed(peer, b"goes on")
            await log.reach(1)
    assert log == [b"goes on"]
    (exc,) = failures
    assert isinstance(exc, anyio.ClosedResourceError)
    assert name.split(",")[0].rstrip(">") in str(exc) or repr(source) in str(exc)
    assert str(number) in str(exc)


async def test_a_source_that_was_closed_fails_a_poller_without_a_handler() -> None:
    async def close_early() -> None:
        with pipe() as (source, _):
            async with polling({source: note(Log())}):
                await settle()
                source.close()
                await anyio.sleep(1)

    with pytest.raises(UnhandledException) as info:
        await close_early()
    (exc,) = info.value.exceptions
    assert isinstance(exc, anyio.ClosedResourceError)


async def test_a_source_closed_before_the_poller_runs_is_the_same_error(failures: Log) -> None:
    with pipe() as (source, _):
        poller = Poller({source: note(Log())}, handler=lambda ev, exc: failures.append(exc))
        source.close()
        async with polling(poller):
            await immediately(lambda: failures.reach(1))
    assert isinstance(failures[0], anyio.ClosedResourceError)
    assert "closed" in str(failures[0])


@pytest.mark.parametrize("end", ["unregister", "shutdown", "cancel"])
@pytest.mark.parametrize("closed", ["before", "after"])
async def test_a_source_can_be_closed_when_the_poller_leaves_it(end: str, closed: str) -> None:
    with pair() as (source, _), anyio.fail_after(5):
        async with EventLoop() as ev:
            poller = Poller({source: note(Log())})
            handle = ev.start(poller)
            await settle()
            if closed == "before":
                source.close()
            if end == "unregister":
                poller.unregister(source)
            elif end == "shutdown":
                poller.shutdown()
            else:
                handle.cancel()
            source.close()
            await settle()
            poller.shutdown()


async def test_a_source_closed_by_its_own_wire_is_the_same_error(failures: Log) -> None:
    with pipe() as (source, peer):
        poller = Poller({}, handler=lambda ev, exc: failures.append(exc))
        poller.register(source, lambda ev: source.close())
        async with polling(poller):
            feed(peer)
            await immediately(lambda: failures.reach(1))
    assert isinstance(failures[0], anyio.ClosedResourceError)


async def test_a_closed_source_whose_file_lives_on_costs_no_time(failures: Log) -> None:
    log = Log()
    with pipe() as (source, peer):
        copy = os.dup(source.fileno())
        try:
            poller = Poller({source: note(log)}, handler=lambda ev, exc: failures.append(exc))
            async with polling(poller):
                await settle()
                source.close()
                feed(peer)
                began = time.process_time()
                await immediately(lambda: failures.reach(1))
                await anyio.sleep(0.1)
                assert time.process_time() - began < 0.2
        finally:
            os.close(copy)
    assert log == []


# Numbers that are used again.


@pytest.mark.parametrize("kind", ["pipe", "counter"])
async def test_a_number_used_again_never_starts_the_wire_of_the_old_file(
    kind: str, failures: Log, edges: bool
) -> None:
    if kind == "counter" and not (hasattr(os, "eventfd") and edges):
        pytest.skip("counters are told from each other by epoll only")
    old, new = Log(), Log()
    with pipe() as (a, _), pipe() as (b, peer):
        number = os.dup(a.fileno()) if kind == "pipe" else os.eventfd(0)
        try:
            poller = Poller({number: note(old)}, handler=lambda ev, exc: failures.append(exc))
            async with polling(poller):
                await settle()
                if kind == "pipe":
                    os.dup2(b.fileno(), number)
                    feed(peer)
                else:
                    other = os.eventfd(1)
                    os.dup2(other, number)
                    os.close(other)
                await immediately(lambda: failures.reach(1))
                poller.register(number, note(new))
                await new.reach(1)
        finally:
            os.close(number)
    assert old == []
    assert str(number) in str(failures[0])


async def test_a_number_can_be_registered_again_at_once_for_its_new_file() -> None:
    old, new = Log(), Log()
    with pipe() as (a, _), pipe() as (b, peer):
        number = os.dup(a.fileno())
        try:
            async with polling({number: note(old)}) as poller:
                await settle()
                for n in range(1, 4):
                    poller.unregister(number)
                    os.dup2(b.fileno(), number)
                    poller.register(number, reading(new, number))
                    feed(peer)
                    await immediately(lambda n=n: new.reach(n))
        finally:
            os.close(number)
    assert old == []


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("number", [200, 900])
async def test_a_number_can_be_unregistered_after_it_was_closed(number: int, closed: bool) -> None:
    with pipe() as (a, _):
        source = os.dup2(a.fileno(), int(str(number)))
        async with polling({source: note(Log())}) as poller:
            await settle()
            if closed:
                os.close(source)
            poller.unregister(int(str(number)))
            if not closed:
                os.close(source)
            await anyio.sleep(0.6 if closed else 0)
