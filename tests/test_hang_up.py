"""Descriptors whose peer has gone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from aiowire import POLLIN, POLLOUT, EventLoop

from .support import (
    WAYS,
    Log,
    choose_way,
    feed,
    fill,
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


async def test_what_is_left_at_the_hang_up_is_read_in_both_directions_too() -> None:
    log = Log()
    with pair() as (source, peer):
        feed(peer, b"0123456789")
        peer.close()
        async with polling({source: reading(log, source, 1)}, POLLIN | POLLOUT) as poller:
            await log.reach(11)
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(source)
    assert log == [b"%d" % n for n in range(10)] + [b""]


async def test_a_pipe_that_nobody_reads_any_more_ends_in_both_directions() -> None:
    log = Log()
    with pipe() as (reader, writer):
        async with polling({writer: note(log)}, POLLIN | POLLOUT) as poller:
            reader.close()
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(writer)
    assert log


async def test_the_hang_up_is_seen_when_a_rest_has_read_what_was_left() -> None:
    log, gate = Log(), anyio.Event()
    with pair() as (source, peer):

        async def read_late(ev: EventLoop) -> None:
            await gate.wait()
            log.append(read(source))

        feed(peer, b"left")
        peer.close()
        async with polling({source: lambda ev: read_late}) as poller:
            await settle()
            gate.set()
            await log.reach(2)
            with anyio.fail_after(1):  # it may be looked at after a pause only, of up to 80 ms
                while poller._watches:
                    await settle()
            with pytest.raises(KeyError):
                poller.unregister(source)
    assert set(log) == {b"left", b""}
