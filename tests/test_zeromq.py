"""ZeroMQ sockets: plain ones on every backend, those of zmq.asyncio where asyncio runs."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import zmq
import zmq.asyncio

from aiowire import POLLIN, POLLOUT, EventLoop, Poller

from .support import (
    Log,
    immediately,
    note,
    polling,
    settle,
)
from .zeromq_support import connected, fill, on_zmq_kinds, pairs, receive, receiving, send


@on_zmq_kinds
@pairs
@pytest.mark.parametrize("by", ["inproc", "tcp"])
async def test_each_message_starts_the_wire_once(make_context: Any, kinds: Any, by: str) -> None:
    log = Log()
    with connected(make_context, kinds, by) as (source, peer):
        async with polling({source: receiving(log, source)}):
            await settle()
            assert log == []
            for n in range(1, 4):
                send(peer, b"%d" % n, b"more")
                await log.reach(n)
            await settle()
    assert log == [[b"1", b"more"], [b"2", b"more"], [b"3", b"more"]]


@on_zmq_kinds
@pairs
async def test_messages_that_came_in_one_go_are_all_received_at_once(
    make_context: Any, kinds: Any
) -> None:
    log = Log()
    with connected(make_context, kinds) as (source, peer):
        for n in range(50):
            send(peer, b"%d" % n)
        async with polling({source: receiving(log, source)}):
            await immediately(lambda: log.reach(50))
    assert [int(frame) for (frame,) in log] == list(range(50))


@on_zmq_kinds
async def test_a_slow_receiver_is_started_once_for_each_message(make_context: Any) -> None:
    began, ended = Log(), Log()
    with connected(make_context) as (source, peer):

        async def slow(ev: EventLoop) -> None:
            began.append("began")
            await settle()
            ended.append(await receive(source))

        async with polling({source: slow}):
            for n in range(1, 4):
                send(peer, b"%d" % n)
                await ended.reach(n)
            await settle()
    assert len(began) == 3


@on_zmq_kinds
async def test_a_wire_for_output_starts_when_there_is_room(make_context: Any) -> None:
    starts = Log()
    with connected(make_context, (zmq.PUSH, zmq.PULL)) as (source, peer):

        def send_all(ev: EventLoop) -> None:
            starts.append("start")
            fill(source)

        def drain() -> None:
            while peer.poll(0):
                peer.recv()

        async with polling({source: send_all}, POLLOUT):
            for n in (1, 2, 3):
                await starts.reach(n)
                await settle()
                assert len(starts) == n
                drain()


async def test_each_direction_can_have_a_wire_of_its_own() -> None:
    received, sent = Log(), Log()
    with connected() as (source, peer):

        def answer(ev: EventLoop) -> None:
            source.send(b"answer")
            sent.append(b"answer")
            poller.unregister(source)
            poller.register(source, receiving(received, source))

        async with polling({source: receiving(received, source)}) as poller:
            for n in (1, 2, 3):
                send(peer, b"question")
                await received.reach(n)
                poller.register(source, answer, POLLOUT)
                await sent.reach(n)
                assert peer.recv() == b"answer"


async def test_a_wire_that_uses_its_socket_hides_no_message_from_the_others() -> None:
    log = Log()
    with connected() as (source, peer):

        def send_only(ev: EventLoop) -> None:
            if len(log) < 200:
                peer.send(b"question")  # its edge comes before the events below are read
                source.get(zmq.EVENTS)

        async with polling({source: receiving(log, source)}, interval=None) as poller:
            poller.register(source, send_only, POLLOUT)
            await immediately(lambda: log.reach(200))


@pytest.mark.parametrize("where", ["first step", "rest", "late in the rest"])
async def test_a_wire_that_uses_its_socket_hides_no_message_from_itself(where: str) -> None:
    log = Log()
    with connected() as (source, peer):

        async def answer(ev: EventLoop) -> None:
            if where == "late in the rest":
                await settle()
            if len(log) < 5:
                peer.send(b"question")
                source.send(b"answer")
                source.get(zmq.EVENTS)  # as a send does when the last was a while ago

        async def serve(ev: EventLoop) -> Any:
            log.append(source.recv(zmq.DONTWAIT))
            return await answer(ev) if where == "first step" else answer

        async with polling({source: serve}, interval=None):
            await settle()
            peer.send(b"question")
            await immediately(lambda: log.reach(5))


@pytest.mark.parametrize("interval", [50, None])
async def test_a_message_hidden_by_other_code_is_found_after_the_interval(
    interval: int | None,
) -> None:
    log = Log()
    with connected() as (source, peer):
        async with polling({source: receiving(log, source)}, POLLIN, interval):
            await settle()
            peer.send(b"hidden")
            source.get(zmq.EVENTS)  # takes away what would have woken the poller
            if interval == 50:
                await immediately(lambda: log.reach(1), 0.5)
            else:
                await anyio.sleep(0.1)
                assert log == []


async def test_a_message_that_other_code_took_starts_nothing() -> None:
    log = Log()
    with connected() as (source, peer):
        async with polling({source: note(log)}):
            await settle()
            for _ in range(3):
                peer.send(b"x")
                source.recv()
                await settle()
    assert log == []


async def test_every_connection_wakes_the_poller_but_starts_no_wire() -> None:
    log = Log()
    with connected(by="tcp") as (source, _), zmq.Context() as context:
        source.bind("tcp://127.0.0.1:*")
        async with polling({source: note(log)}):
            for _ in range(10):
                with context.socket(zmq.DEALER) as caller:
                    caller.connect(source.last_endpoint)
                    await settle()
    assert log == []


# One socket in one loop after another.


def test_a_socket_made_before_any_loop_serves_in_one_loop_after_another(backend_name: str) -> None:
    import aiowire

    log = Log()
    with connected() as (source, peer):

        def take(ev: EventLoop) -> None:
            log.append(source.recv(zmq.DONTWAIT))
            poller.shutdown()

        poller = Poller({source: take})
        for n in (1, 2, 3):
            peer.send(b"%d" % n)
            aiowire.run(poller, backend=backend_name, timeout=5)
    assert log == [b"1", b"2", b"3"]
