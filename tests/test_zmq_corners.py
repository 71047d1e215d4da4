"""Corners of awaitable sockets: wrong turns, callbacks, reused descriptors, many tasks at once."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

import aiowire.zmq
from aiowire.backends import _calls, _waiters

from .native import on_asyncio
from .support import Log, on_trio
from .test_zmq_hazards import parked, receive, two

# What ZeroMQ refuses is refused at once, also after calls that had to wait.


async def waited(socket: Any, peer: Any) -> None:
    """Receive a message, having waited for it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(socket.recv)
        await parked(socket)
        peer.send(b"x")


async def fill_for(socket: Any, name: bytes) -> None:
    """Send to a peer until it has no room."""
    with suppress(zmq.Again):
        while True:
            await socket.send_multipart([name, b"x"], zmq.DONTWAIT)


async def take(peer: Any, message: bytes) -> None:
    """Receive until this message comes."""
    with anyio.fail_after(5):
        while not peer.poll(0) or peer.recv() != message:
            await checkpoint()


async def test_a_request_out_of_turn_is_refused() -> None:
    with two((zmq.REP, zmq.REQ)) as (socket, peer), anyio.fail_after(5):
        for _ in range(3):
            await waited(socket, peer)
            with pytest.raises(zmq.ZMQError) as info:
                await socket.recv()
            assert info.value.errno == zmq.EFSM
            await socket.send(b"y")
            peer.recv()


async def test_a_request_that_another_task_has_taken_is_refused_to_the_next() -> None:
    failures = Log()
    with two((zmq.REP, zmq.REQ)) as (socket, peer), anyio.fail_after(5):

        async def receive_one() -> None:
            try:
                await socket.recv()
            except zmq.ZMQError as exc:
                failures.append(exc.errno)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive_one)
            tasks.start_soon(receive_one)
            await parked(socket, 2)
            peer.send(b"x")
    assert failures == [zmq.EFSM]


async def test_a_look_that_began_out_of_turn_sees_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))
    monkeypatch.setattr(_waiters, "RETRY", float("inf"))
    log = Log()
    with two((zmq.REP, zmq.DEALER)) as (socket, peer), anyio.fail_after(5):

        async def look() -> None:
            log.append(await socket.poll())

        for n in (1, 2):
            peer.send_multipart([b"", b"%d" % n])
        assert await socket.recv() == b"1"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            await parked(socket)
            await socket.send(b"answer")
            await log.reach(1)
    assert log == [zmq.POLLIN]


async def test_an_answer_out_of_turn_is_refused() -> None:
    with two((zmq.REQ, zmq.REP)) as (socket, peer), anyio.fail_after(5):
        for _ in range(3):
            with pytest.raises(zmq.ZMQError) as info:
                await socket.recv()
            assert info.value.errno == zmq.EFSM
            await socket.send(b"x")
            peer.recv()
            await waited(socket, peer)


async def test_an_unknown_peer_is_refused_while_the_known_one_is_full() -> None:
    with two((zmq.ROUTER, zmq.DEALER), hwm=1) as (socket, peer):
        socket.set(zmq.ROUTER_MANDATORY, 1)
        peer.send(b"here I am")
        name, _ = await socket.recv_multipart()
        await fill_for(socket, name)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(socket.send_multipart, [name, b"waits"])
            await parked(socket)
            with pytest.raises(zmq.ZMQError) as info, anyio.fail_after(5):
                await socket.send_multipart([b"nobody", b"x"])
            assert info.value.errno == zmq.EHOSTUNREACH
            await take(peer, b"waits")


async def test_what_a_socket_cannot_do_at_all_is_refused() -> None:
    with two((zmq.PUSH, zmq.PULL)) as (socket, _), anyio.fail_after(5):
        assert await socket.poll(1) == 0
        with pytest.raises(zmq.ZMQError) as info:
            await socket.recv()
        assert info.value.errno == zmq.ENOTSUP


async def test_a_time_out_that_is_no_number_is_refused() -> None:
    with two() as (socket, _), pytest.raises(ValueError, match="milliseconds or None, got nan"):
        await socket.poll(float("nan"))


async def test_a_look_says_what_is_so_while_others_wait() -> None:
    with two() as (socket, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(socket.recv)
            await parked(socket)
            assert await socket.poll(0, zmq.POLLIN | zmq.POLLOUT) == zmq.POLLOUT
            for n in range(3):
                peer.send(b"%d" % n)
            assert await socket.poll(0) == zmq.POLLIN
            assert int(await socket.recv(zmq.DONTWAIT)) in (0, 1)


# The end.


async def test_an_end_that_the_look_before_a_call_finds_is_told() -> None:
    context = aiowire.zmq.Context()
    socket = context.socket(zmq.PULL)
    assert await socket.poll(1) == 0
    with anyio.move_on_after(0.001):
        await socket.recv()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, context.term)
        await anyio.to_thread.run_sync(wait_for_end, socket)
        with pytest.raises(anyio.ClosedResourceError), anyio.fail_after(5):
            await socket.recv()
        socket.close()


def wait_for_end(socket: Any) -> None:
    try:
        while True:
            socket._plain.get(zmq.EVENTS)
            time.sleep(0.001)
    except zmq.ContextTerminated:
        return


# asyncio: callbacks, in which no task runs, and loops that stand still.


@pytest.mark.parametrize("call", ["close", "get", "connect"])
def test_a_callback_may_call_a_socket_for_which_a_task_waits(call: str) -> None:
    async def main() -> object:
        with two() as (socket, peer):
            receiving = asyncio.ensure_future(socket.recv())
            await parked(socket)

            def use() -> None:
                peer.send(b"x")
                if call == "close":
                    socket.close()
                elif call == "get":
                    socket.get(zmq.EVENTS)
                else:
                    socket.connect("inproc://elsewhere")

            asyncio.get_running_loop().call_soon(use)
            began = time.monotonic()
            await asyncio.wait([receiving])
            assert time.monotonic() - began < _waiters.RECHECK / 2
            return receiving.exception() or receiving.result()

    result = asyncio.run(main())
    assert isinstance(result, anyio.ClosedResourceError) if call == "close" else result == b"x"


def test_a_loop_that_stands_still_finds_out_when_it_goes_on() -> None:
    loop = asyncio.new_event_loop()
    try:
        with two() as (socket, peer):
            receiving = loop.create_task(socket.recv())
            loop.run_until_complete(parked(socket))
            peer.send(b"x")
            socket.get(zmq.EVENTS)  # takes the wake-up, and can tell nobody
            assert loop.run_until_complete(asyncio.wait_for(receiving, 5)) == b"x"
    finally:
        loop.close()


@on_asyncio
async def test_a_cancellation_at_the_moment_of_a_look_is_not_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", 0.002)
    with two() as (socket, _):
        for n in range(60):
            task = asyncio.ensure_future(socket.recv())
            while not len(socket._waiters):
                await checkpoint()
            await asyncio.sleep(0.0015 + n * 1e-5)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=5)
            assert done
            assert task.cancelled()


@on_asyncio
async def test_a_closed_socket_deafens_no_other_that_gets_its_descriptor() -> None:
    log = Log()
    with two() as (first, _), two() as (second, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failing, first)
            await parked(first)
            first.close()
            tasks.start_soon(receive, second, log)
            while not len(second._waiters):
                await checkpoint()
            await parked(second)
            peer.send(b"x")
            with anyio.fail_after(_waiters.RECHECK / 2):
                await log.reach(1)


async def failing(socket: aiowire.zmq.Socket) -> None:
    with pytest.raises(anyio.ClosedResourceError):
        await socket.recv()


@on_trio
async def test_a_socket_of_another_loop_before_is_protected_from_interrupts() -> None:
    """Of a message of several parts none is left behind."""
    import trio

    seen: list[bool] = []
    with two() as (socket, peer):
        socket._waiters._thread = own_thread()  # as if it had been awaited on asyncio
        _calls.protect_from_interrupts.cache_clear()
        peer.send(b"x")
        plain = socket._plain

        class Plain:
            def recv(self, *args: Any) -> bytes:
                seen.append(trio.lowlevel.currently_ki_protected())
                return plain.recv(*args)

        object.__setattr__(socket, "_plain", Plain())
        await socket.recv()
        object.__setattr__(socket, "_plain", plain)
    assert seen == [True]


def own_thread() -> int:
    import threading

    return threading.get_ident()


# Many tasks.


async def test_many_tasks_share_the_time_until_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many receive, others get a turn about each millisecond by this clock."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.00005
        return now

    gaps: list[float] = []
    with two(hwm=0) as (socket, peer):
        for _ in range(4000):
            peer.send(b"")
        monkeypatch.setattr(_calls, "monotonic", clock)

        async def tick() -> None:
            before = now
            while True:
                await checkpoint()
                gaps.append(now - before)
                before = now

        async def receive_some() -> None:
            for _ in range(200):
                await socket.recv()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            async with anyio.create_task_group() as receivers:
                for _ in range(20):
                    receivers.start_soon(receive_some)
            tasks.cancel_scope.cancel()
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.005


async def test_many_refused_tasks_cost_next_to_nothing() -> None:
    calls = 0
    with two((zmq.ROUTER, zmq.DEALER), hwm=1) as (socket, peer):
        context = zmq.Context.shadow(socket.context.underlying)
        with context.socket(zmq.DEALER) as other:
            other.linger = 0
            socket.set(zmq.ROUTER_MANDATORY, 1)
            other.connect(socket.get(zmq.LAST_ENDPOINT))
            peer.send(b"full soon")
            name, _ = await socket.recv_multipart()
            other.send(b"has room")
            await socket.recv_multipart()
            await fill_for(socket, name)
            plain = socket._plain

            class Plain:
                def send_multipart(self, *args: Any) -> None:
                    nonlocal calls
                    calls += 1
                    plain.send_multipart(*args)

                def get(self, option: int) -> Any:
                    return plain.get(option)

            object.__setattr__(socket, "_plain", Plain())
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(socket.send_multipart, [name, b"waits"])
                await parked(socket, 50)
                await anyio.sleep(0.5)
                tasks.cancel_scope.cancel()
            object.__setattr__(socket, "_plain", plain)
    assert calls < 50 * 12


async def test_a_refused_task_goes_on_as_soon_as_there_is_room() -> None:
    with two((zmq.ROUTER, zmq.DEALER), hwm=1) as (socket, peer):
        context = zmq.Context.shadow(socket.context.underlying)
        with context.socket(zmq.DEALER) as other:
            other.linger = 0
            socket.set(zmq.ROUTER_MANDATORY, 1)
            other.connect(socket.get(zmq.LAST_ENDPOINT))
            peer.send(b"full soon")
            name, _ = await socket.recv_multipart()
            other.send(b"has room")
            await socket.recv_multipart()
            for _ in range(5):
                await fill_for(socket, name)
                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(socket.send_multipart, [name, b"waits"])
                    while not len(socket._waiters):
                        await checkpoint()
                    for _ in range(3):
                        await take(peer, b"waits")


async def test_a_call_in_the_moment_in_which_the_context_ends_is_told() -> None:
    context = aiowire.zmq.Context()
    with context.socket(zmq.PAIR) as socket:
        ending = threading.Thread(target=context.term)
        ending.start()
        with pytest.raises(anyio.ClosedResourceError, match="its context was terminated"):
            await receive_for_ever(socket)
    ending.join()


async def receive_for_ever(socket: Any) -> None:
    """Receive again and again, without waiting."""
    while True:
        with suppress(zmq.Again):
            await socket.recv(zmq.DONTWAIT)
