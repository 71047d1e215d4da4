"""ZeroMQ sockets: plain ones on every backend, those of zmq.asyncio where asyncio runs."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio
import pytest
import zmq
import zmq.asyncio

from aiowire import POLLIN, POLLOUT, Call, EventLoop, Poller

from .support import (
    Log,
    feed,
    immediately,
    note,
    pipe,
    polling,
    read,
    settle,
)
from .zeromq_support import connected, fill, on_zmq_kinds, pairs, receive, receiving, send

numbers = count()


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
            await immediately(lambda: log.reach(50), 3)
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
            await immediately(lambda: log.reach(200), 10)


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


@on_zmq_kinds
@pytest.mark.parametrize(
    "use",
    [
        lambda source, peer: source.get(zmq.EVENTS),
        lambda source, peer: source.events,
        lambda source, peer: source.bind(f"inproc://{next(numbers)}"),
        lambda source, peer: source.poll(0, POLLOUT),
        lambda source, peer: source.send(b"answer"),
        lambda source, peer: (source.recv(zmq.DONTWAIT), peer.send(b"another")),
    ],
    ids=["get", "events", "bind", "poll", "send", "recv"],
)
async def test_a_wire_of_another_source_hides_no_message(make_context: Any, use: Any) -> None:
    log = Log()
    with connected(make_context) as (source, peer), pipe() as (other, other_peer):

        async def use_source(ev: EventLoop) -> None:
            read(other)
            peer.send(b"hidden?")
            results = use(source, peer)
            for result in results if isinstance(results, tuple) else [results]:
                if hasattr(result, "__await__"):
                    await result

        wires = {source: receiving(log, source), other: use_source}
        async with polling(wires, POLLIN, None):
            for n in (1, 2, 3):
                await settle()
                feed(other_peer)
                await immediately(lambda n=n: log.reach(n))


@pytest.mark.parametrize("interval", [50, 1000, None])
async def test_a_message_hidden_by_other_code_is_found_after_the_interval(
    interval: int | None,
) -> None:
    log = Log()
    with connected() as (source, peer):
        async with polling({source: receiving(log, source)}, POLLIN, interval):
            await settle()
            peer.send(b"hidden")
            # This takes away what would have woken the poller, and goes past the object.
            zmq.Socket.get(source, zmq.EVENTS)
            if interval is not None:
                await immediately(lambda: log.reach(1), 5)
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


async def test_a_proxy_of_two_wires_stalls_for_nothing() -> None:
    log = Log()
    with (
        connected(kinds=(zmq.ROUTER, zmq.DEALER)) as (front, client),
        connected(kinds=(zmq.DEALER, zmq.DEALER)) as (back, server),
    ):

        def ask(ev: EventLoop) -> None:
            message = front.recv_multipart()
            server.send(b"from before")  # whose edge the next line eats
            back.send_multipart(message)

        def answer(ev: EventLoop) -> None:
            log.append(back.recv_multipart())

        async with polling({front: ask, back: answer}, POLLIN, None):
            for n in range(1, 101):
                client.send(b"question")
                await immediately(lambda n=n: log.reach(n))


async def test_a_socket_can_be_received_from_in_a_thread_and_after_a_restart() -> None:
    log = Log()
    with connected() as (source, peer):

        async def receive_in_thread(ev: EventLoop) -> None:
            log.append(await anyio.to_thread.run_sync(source.recv))

        poller = Poller({source: receive_in_thread})
        for n in (1, 2, 3):
            async with polling(poller):
                await settle()
                send(peer, b"%d" % n)
                await log.reach(n)
    assert log == [b"1", b"2", b"3"]


@on_zmq_kinds
async def test_looking_for_closed_sockets_hides_no_message(
    make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowire._watch.CHECK_SECONDS", 0.0001)
    log = Log()
    with connected(make_context) as (source, peer):
        async with polling({source: receiving(log, source)}, POLLIN, None):
            for n in range(1, 301):
                await anyio.lowlevel.checkpoint()
                send(peer, b"message")
                await immediately(lambda n=n: log.reach(n))


@on_zmq_kinds
async def test_at_the_limit_messages_wait_in_their_socket(make_context: Any) -> None:
    log, gate = Log(), anyio.Event()
    with connected(make_context) as (source, peer), pipe() as (other, other_peer):

        def hold(ev: EventLoop) -> Any:
            read(other)
            return Call(gate.wait)

        async with polling({other: hold, source: receiving(log, source)}, limit=1):
            feed(other_peer)
            await settle()
            send(peer, b"waits")
            await settle()
            assert log == []
            gate.set()
            await log.reach(1)


@on_zmq_kinds
async def test_a_use_in_another_thread_leaves_the_poller_alone(make_context: Any) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        plain = getattr(source, "_shadow_sock", source)
        async with polling({source: receiving(log, source)}):
            await settle()
            await anyio.to_thread.run_sync(plain.get, zmq.EVENTS)
            await settle()
            send(peer, b"message")
            await log.reach(1)


async def test_a_wire_may_receive_until_there_is_nothing_left() -> None:
    log = Log()
    with connected(zmq.Context) as (source, peer):

        def drain(ev: EventLoop) -> None:
            while True:
                try:
                    log.append(source.recv(zmq.NOBLOCK))
                except zmq.Again:
                    return

        async with polling({source: drain}):
            for n in (3, 6):
                for _ in range(3):
                    send(peer, b"x")
                await log.reach(n)
