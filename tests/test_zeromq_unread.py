"""Wires that receive nothing from the ZeroMQ socket that started them, at first or at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
import zmq

from aiowire import POLLIN, POLLOUT, Call, EventLoop, Poller, Wire
from aiowire.backends import _uses

from .support import Log, feed, immediately, note, pipe, polling, reading, settle
from .zeromq_support import connected, on_zmq_kinds, receive, receiving, send


@on_zmq_kinds
async def test_it_starts_20_times_in_a_second_at_most(make_context: Any) -> None:
    log, turns = Log(), Log()
    with connected(make_context) as (source, peer), pipe() as (other, other_peer):
        async with polling({source: note(log), other: reading(turns, other)}):
            send(peer, b"unread")
            await log.reach(2)
            feed(other_peer)
            await immediately(lambda: turns.reach(1))
            with anyio.move_on_after(0.5):
                await log.reach(21)
            assert len(log) <= 20


@pytest.fixture
def no_pause_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the wire started for what was received only, and never because a pause is over."""
    monkeypatch.setattr(_uses, "next_pause", lambda pause: 1e6)


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
async def test_it_starts_at_once_when_something_was_received(make_context: Any) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        async with polling({source: note(log)}):
            send(peer, b"left")
            await log.reach(1)
            send(peer, b"next")
            await settle()
            assert len(log) == 1
            await receive(source)
            await immediately(lambda: log.reach(2))


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
async def test_a_rest_that_receives_is_as_good_as_a_first_step(make_context: Any) -> None:
    log = Log()
    with connected(make_context) as (source, peer):

        async def try_to_receive(ev: EventLoop) -> None:
            if source.get(zmq.EVENTS) & POLLIN:
                log.append(await receive(source))

        async with polling({source: Call(anyio.lowlevel.checkpoint) >> Wire(try_to_receive)}):
            for n in range(100):
                send(peer, b"%d" % n)
            await immediately(lambda: log.reach(100), 10)
    assert log == [[b"%d" % n] for n in range(100)]


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
async def test_another_task_may_receive(make_context: Any) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        send_wakes, wakes = anyio.create_memory_object_stream[None](100)
        wake = Call(send_wakes.send, None)

        async def consume() -> None:
            async for _ in wakes:
                if source.get(zmq.EVENTS) & POLLIN:
                    log.append(await receive(source))

        with send_wakes, wakes:
            async with anyio.create_task_group() as tasks, polling({source: wake}):
                tasks.start_soon(consume)
                for n in range(100):
                    send(peer, b"%d" % n)
                await immediately(lambda: log.reach(100), 10)
                tasks.cancel_scope.cancel()
    assert log == [[b"%d" % n] for n in range(100)]


@on_zmq_kinds
async def test_a_receive_that_is_refused_does_not_count(make_context: Any) -> None:
    log = Log()
    with connected(make_context, (zmq.PAIR, zmq.PAIR)) as (source, peer):

        async def misuse(ev: EventLoop) -> None:
            log.append("began")
            with pytest.raises(TypeError):
                await source.recv("not a number")

        async with polling({source: misuse}):
            send(peer, b"stays")
            await log.reach(2)
            with anyio.move_on_after(0.5):
                await log.reach(21)
            assert len(log) <= 20


@on_zmq_kinds
async def test_the_socket_gets_its_own_methods_back(make_context: Any) -> None:
    log, received = Log(), Log()
    with connected(make_context) as (source, peer):
        plain = getattr(source, "_shadow_sock", source)
        mine = spy(received, plain.recv)
        mine.uses = 3  # type: ignore[attr-defined]  # which says nothing to us
        plain.recv = mine
        before = dict(vars(plain))
        async with polling({source: receiving(log, source)}) as poller:
            send(peer, b"1")
            await log.reach(1)
            assert vars(plain)["recv"] is not mine
            plain.poll = mine
            before = dict(vars(plain), recv=mine)
            poller.unregister(source)
            await settle()
            assert changed(before, plain) == set()
            poller.register(source, receiving(log, source))
            send(peer, b"2")
            await log.reach(2)
        assert changed(before, plain) == set()
    assert len(received) == 2


def spy(log: Log, function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **options: Any) -> Any:
        log.append(args)
        return function(*args, **options)

    return called


def changed(before: dict[str, Any], source: Any) -> set[str]:
    names = ("recv", "poll")
    return {name for name in names if vars(source).get(name) != before.get(name)}


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
async def test_two_watches_of_a_socket_count_together(make_context: Any) -> None:
    log, room = Log(), Log()
    with connected(make_context) as (source, peer):
        first = Poller({source: receiving(log, source)})
        second = Poller({source: note(room)}, POLLOUT)
        async with EventLoop() as ev:
            ending = ev.start(second)
            ev.start(first)
            await immediately(lambda: room.reach(3))
            second.shutdown()
            assert ending is not None
            await ending.wait()
            for n in range(100):
                send(peer, b"%d" % n)
            await immediately(lambda: log.reach(100), 10)
            first.shutdown()
        assert changed({}, source) == set()


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
async def test_a_rest_that_receives_nothing_starts_nothing(make_context: Any) -> None:
    starts, ends = Log(), Log()
    with connected(make_context) as (source, peer):
        wire = Wire(note(starts)) >> Call(anyio.lowlevel.checkpoint) * 5 >> Wire(note(ends))
        async with polling({source: wire}):
            send(peer, b"unread")
            await ends.reach(1)
            await settle()
            assert len(starts) == 1


METHODS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "a method": lambda source: source.recv,
    "a partial": lambda source: partial(partial(source.recv, zmq.DONTWAIT), copy=True),
    "recv_multipart": lambda source: source.recv_multipart,
}


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_a_method_that_was_taken_from_the_socket_before_receives_too(
    make_context: Any, method: Callable[[Any], Callable[..., Any]]
) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        for n in range(100):
            send(peer, b"%d" % n)
        wire = Call(method(source)).then(log.append) >> Call(anyio.lowlevel.checkpoint)
        async with polling({source: wire}):
            await immediately(lambda: log.reach(100), 10)  # zmq.asyncio is slow


@on_zmq_kinds
@pytest.mark.usefixtures("no_pause_ends")
async def test_a_socket_that_was_emptied_by_ways_unseen_is_not_held_up(make_context: Any) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        raw = zmq.Socket.shadow(source.underlying)

        def receive_unseen(ev: EventLoop) -> None:
            log.append(raw.recv(zmq.DONTWAIT))

        async with polling({source: receive_unseen}):
            send(peer, b"first")
            await log.reach(1)
            if make_context is not zmq.Context:
                return  # all messages of the others are seen
            await settle()
            for n in range(100):
                send(peer, b"%d" % n)
            await immediately(lambda: log.reach(101), 10)
