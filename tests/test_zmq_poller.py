"""A poller of awaitable sockets, and of plain ones, by the one protocol."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import zmq

import aiowire.zmq
from aiowire import POLLIN, POLLOUT, Call, EventLoop, Poller

from .support import Log, immediately, note, polling, settle
from .zeromq_support import PAIRS, connected, pairs, send


def awaiting(log: Log, source: aiowire.zmq.Socket) -> Any:
    async def receive(ev: EventLoop) -> None:
        log.append(await source.recv_multipart())
        if source.type == zmq.REP:
            await source.send(b"got it")

    return receive


@pairs
@pytest.mark.parametrize("by", ["inproc", "tcp"])
async def test_each_message_starts_the_wire_once(kinds: Any, by: str) -> None:
    log = Log()
    with connected(aiowire.zmq.Context, kinds, by) as (source, peer):
        async with polling({source: awaiting(log, source)}):
            await settle()
            for n in range(1, 4):
                send(peer, b"%d" % n, b"more")
                await log.reach(n)
            await settle()
    assert [frames[-2:] for frames in log] == [[b"%d" % n, b"more"] for n in (1, 2, 3)]


async def test_many_messages_are_received_at_once() -> None:
    log = Log()
    with connected(aiowire.zmq.Context) as (source, peer):
        for n in range(200):
            send(peer, b"%d" % n)
        async with polling({source: awaiting(log, source)}):
            await immediately(lambda: log.reach(200), 3)
    assert [int(frame) for (frame,) in log] == list(range(200))


async def test_a_wire_that_does_not_receive_is_not_started_in_a_storm() -> None:
    log = Log()
    with connected(aiowire.zmq.Context) as (source, peer):
        send(peer, b"unread")
        async with polling({source: note(log)}):
            await log.reach(1)
            await anyio.sleep(0.5)
    assert len(log) <= 15


async def test_a_rest_that_receives_lets_the_next_message_start_at_once() -> None:
    log, go = Log(), anyio.Event()
    with connected(aiowire.zmq.Context) as (source, peer):

        async def receive(ev: EventLoop) -> None:
            await go.wait()
            log.append(await source.recv())

        def later(ev: EventLoop) -> Any:
            return receive

        async with polling({source: later}, limit=1):
            send(peer, b"1")
            await settle()
            send(peer, b"2")
            go.set()
            await immediately(lambda: log.reach(2))
    assert log == [b"1", b"2"]


async def test_a_task_that_receives_beside_the_poller_misses_nothing() -> None:
    log, beside = Log(), Log()
    with connected(aiowire.zmq.Context) as (source, peer):

        async def receive(ev: EventLoop) -> None:
            while True:
                beside.append(await source.recv())

        async with EventLoop() as ev:
            poller = Poller({source: Call(lambda: log.append("started"))}, POLLOUT)
            ev.start(poller)
            receiver = ev.start(receive)
            for n in range(20):
                send(peer, b"%d" % n)
                with anyio.fail_after(1):
                    await beside.reach(n + 1)
            poller.shutdown()
            receiver.cancel()
    assert [int(frame) for frame in beside] == list(range(20))


async def test_a_poller_and_a_task_share_a_socket_in_both_directions() -> None:
    log = Log()
    with connected(aiowire.zmq.Context) as (source, peer):
        async with polling({source: awaiting(log, source)}):
            for n in range(50):
                await source.send(b"out")
                send(peer, b"%d" % n)
            await immediately(lambda: log.reach(50), 3)
            for _ in range(50):
                assert peer.recv(zmq.NOBLOCK) == b"out"


async def test_a_socket_closed_while_it_is_watched_is_an_error_that_names_it() -> None:
    failures = Log()
    with connected(aiowire.zmq.Context) as (source, _):
        name = repr(source)
        poller = Poller({source: note(Log())}, handler=lambda ev, exc: failures.append(exc))
        async with polling(poller):
            await settle()
            source.close()
            with anyio.fail_after(1):
                await failures.reach(1)
    assert isinstance(failures[0], anyio.ClosedResourceError)
    assert name.split(" at ")[0] in str(failures[0])


def test_a_closed_socket_is_refused() -> None:
    with connected(aiowire.zmq.Context) as (source, _):
        source.close()
        with pytest.raises(ValueError, match="closed"):
            Poller({source: note(Log())}, POLLIN)


@pytest.mark.parametrize(
    "make_context", [zmq.Context, aiowire.zmq.Context], ids=["plain", "awaitable"]
)
async def test_two_pollers_of_one_socket_both_start(make_context: Any) -> None:
    first, second = Log(), Log()
    with connected(make_context, PAIRS["PAIR"]) as (source, peer):
        async with polling({source: note(first)}), polling({source: note(second)}):
            await settle()
            send(peer, b"for both")
            await immediately(lambda: first.reach(1))
            await immediately(lambda: second.reach(1))


async def test_the_note_on_the_failure_of_a_rest_names_it() -> None:
    failures = Log()
    with connected(zmq.Context) as (source, peer):

        def answer_badly(ev: EventLoop) -> None:
            raise ValueError("bad")

        def receive(ev: EventLoop) -> Any:
            source.recv(zmq.NOBLOCK)
            return answer_badly

        poller = Poller({source: receive}, handler=lambda ev, exc: failures.append(exc))
        async with polling(poller):
            send(peer, b"x")
            await immediately(lambda: failures.reach(1))
    assert "answer_badly" in failures[0].__notes__[0]
