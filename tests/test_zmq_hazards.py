"""What is known to go wrong with ZeroMQ sockets that are awaited: each case, again and again.

Each round ends in silence: nothing is done with the socket that would rescue who sleeps.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import count
from typing import Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

import aiowire.zmq
from aiowire.backends import _calls, _waiters

from .native import full_speed, on_asyncio, times_out
from .support import STRESS, Log

ROUNDS = 10_000 if STRESS else 60

pytestmark = pytest.mark.stress
numbers = count()


@pytest.fixture(autouse=True)
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))


@contextmanager
def two(
    kinds: tuple[int, int] = (zmq.PAIR, zmq.PAIR), hwm: int = 1000
) -> Iterator[tuple[Any, Any]]:
    """An awaitable socket, and a plain one connected to it."""
    address = f"inproc://hazard-{next(numbers)}"
    with full_speed() if STRESS else nullcontext(), aiowire.zmq.Context() as context:
        plain: zmq.Context[Any] = zmq.Context.shadow(context.underlying)
        with context.socket(kinds[0]) as socket, plain.socket(kinds[1]) as peer:
            for each in (socket, peer):
                each.set(zmq.LINGER, 0)
                each.set(zmq.SNDHWM, hwm)
                each.set(zmq.RCVHWM, hwm)
            socket.bind(address)
            peer.connect(address)
            yield socket, peer


async def parked(socket: aiowire.zmq.Socket, number: int = 1) -> None:
    """Wait until so many tasks wait for a socket, and nothing else goes on."""
    while len(socket._waiters) < number:
        await checkpoint()
    for _ in range(6):
        await checkpoint()


async def receive(socket: aiowire.zmq.Socket, log: Log) -> None:
    log.append(await socket.recv())


async def fill(socket: aiowire.zmq.Socket) -> int:
    """Send until there is no room."""
    number = 0
    with suppress(zmq.Again):
        while True:
            await socket.send(b"fill", zmq.DONTWAIT)
            number += 1
    return number


def send_plainly(socket: Any) -> None:
    socket._plain.send(b"out", zmq.DONTWAIT)
    socket.refresh()


def refuse(call: Callable[[], object]) -> None:
    with suppress(zmq.ZMQError):
        call()


CALLS: dict[str, Callable[[Any], object]] = {
    "send": send_plainly,
    "get": lambda socket: socket.get(zmq.EVENTS),
    "getsockopt": lambda socket: socket.getsockopt(zmq.EVENTS),
    "attribute": lambda socket: socket.events,
    "set": lambda socket: socket.set(zmq.SNDHWM, 1000),
    "setsockopt": lambda socket: socket.setsockopt(zmq.SNDHWM, 1000),
    "hwm": lambda socket: socket.set_hwm(1000),
    "bind": lambda socket: socket.bind(f"inproc://other-{next(numbers)}"),
    "connect": lambda socket: socket.connect(f"inproc://other-{next(numbers)}"),
    "disconnect": lambda socket: refuse(lambda: socket.disconnect("inproc://nowhere")),
    "unbind": lambda socket: refuse(lambda: socket.unbind("inproc://nowhere")),
    "monitor": lambda socket: socket.disable_monitor(),
    "refresh": lambda socket: socket.refresh(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_no_call_takes_the_wake_up_of_a_task_that_receives(call: Any) -> None:
    log = Log()
    rounds = ROUNDS if call not in (CALLS["bind"], CALLS["connect"]) else min(ROUNDS, 500)
    with two() as (socket, peer):
        for n in range(rounds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, socket, log)
                await parked(socket)
                peer.send(b"%d" % n)
                call(socket)
                with anyio.fail_after(5):
                    await log.reach(n + 1)
            with suppress(zmq.Again):
                peer.recv(zmq.NOBLOCK)
    assert [int(each) for each in log] == list(range(rounds))


async def test_an_awaited_send_does_not_take_it_either() -> None:
    log = Log()
    with two() as (socket, peer):
        for n in range(ROUNDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, socket, log)
                await parked(socket)
                peer.send(b"in")
                await socket.send(b"out")
                with anyio.fail_after(5):
                    await log.reach(n + 1)
            assert peer.recv(zmq.NOBLOCK) == b"out"


async def test_a_poll_does_not_take_it_either() -> None:
    log = Log()
    with two() as (socket, peer):
        for n in range(ROUNDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, socket, log)
                await parked(socket)
                peer.send(b"in")
                await socket.poll(0)
                with anyio.fail_after(5):
                    await log.reach(n + 1)


async def test_a_receive_does_not_take_the_wake_up_of_a_task_that_sends() -> None:
    with two(hwm=1) as (socket, peer):
        for _ in range(ROUNDS):
            filled = await fill(socket)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(socket.send, b"last")
                await parked(socket)
                peer.recv(zmq.NOBLOCK)
                with pytest.raises(zmq.Again):
                    await socket.recv(zmq.DONTWAIT)
                with anyio.fail_after(5):
                    while len(socket._waiters):
                        await checkpoint()
            for _ in range(filled):
                peer.recv()


async def test_a_message_taken_by_another_call_hides_none_that_follows() -> None:
    log = Log()
    with two() as (socket, peer):
        for n in range(ROUNDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, socket, log)
                await parked(socket)
                peer.send(b"taken")
                with suppress(zmq.Again):
                    socket._plain.recv(zmq.NOBLOCK)
                    socket.refresh()
                peer.send(b"%d" % n)
                with anyio.fail_after(5):
                    await log.reach(n + 1)
    assert [int(each) for each in log] == list(range(ROUNDS))


async def test_many_receives_do_not_take_the_wake_up_of_a_task_that_sends() -> None:
    """Every hundredth receive empties the mailbox."""
    with two(hwm=400) as (socket, peer):
        for _ in range(max(ROUNDS // 60, 3)):
            filled = await fill(socket)
            for n in range(300):
                peer.send(b"%d" % n)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(socket.send, b"last")
                await parked(socket)
                for _ in range(filled):
                    peer.recv()
                for n in range(300):
                    assert int(await socket.recv()) == n
                with anyio.fail_after(5):
                    while len(socket._waiters):
                        await checkpoint()
            assert peer.recv() == b"last"


@pytest.mark.parametrize("ready", ["receive", "send"])
async def test_when_the_leader_is_cancelled_another_listens(ready: str) -> None:
    for _ in range(ROUNDS):
        with two(hwm=1) as (socket, peer):
            filled = await fill(socket)
            async with anyio.create_task_group() as tasks:
                leader = anyio.CancelScope()

                async def lead(leader: Any = leader, socket: Any = socket) -> None:
                    with leader:
                        await socket.recv()

                tasks.start_soon(lead)
                await parked(socket)
                tasks.start_soon(
                    socket.recv if ready == "receive" else socket.send, *NOTHING[ready]
                )
                await parked(socket, 2)
                leader.cancel()
                await settled(socket, 1)
                if ready == "receive":
                    peer.send(b"in")
                else:
                    for _ in range(filled):
                        peer.recv()
                with anyio.fail_after(5):
                    await settled(socket, 0)


NOTHING: dict[str, tuple[Any, ...]] = {"receive": (), "send": (b"out",)}


async def settled(socket: aiowire.zmq.Socket, number: int) -> None:
    while len(socket._waiters) != number:
        await checkpoint()


async def test_a_task_that_is_cancelled_when_it_is_woken_lets_the_next_receive() -> None:
    log = Log()
    with two() as (socket, peer):
        for n in range(ROUNDS):
            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()

                async def first(scope: Any = scope) -> None:
                    with scope:
                        log.append(await socket.recv())

                tasks.start_soon(first)
                await parked(socket)
                tasks.start_soon(receive, socket, log)
                await parked(socket, 2)
                peer.send(b"%d" % n)
                socket.refresh()  # wakes the first
                scope.cancel()
                with anyio.fail_after(5):
                    await log.reach(n + 1)
                tasks.cancel_scope.cancel()
    assert [int(each) for each in log] == list(range(ROUNDS))


# Nothing is lost when a receive is cancelled, whatever it makes of the message.

RECEIVES: dict[str, tuple[Callable[[Any], Any], Callable[[int], list[bytes]]]] = {
    "recv": (lambda socket: socket.recv(), lambda n: [b"%d" % n]),
    "frame": (lambda socket: socket.recv(copy=False), lambda n: [b"%d" % n]),
    "string": (lambda socket: socket.recv_string(), lambda n: [b"%d" % n]),
    "json": (lambda socket: socket.recv_json(), lambda n: [b"%d" % n]),
    "multipart": (lambda socket: socket.recv_multipart(), lambda n: [b"%d" % n, b"more", b""]),
    "serialized": (
        lambda socket: socket.recv_serialized(lambda frames: frames[0]),
        lambda n: [b"%d" % n, b"more"],
    ),
}


def number_in(message: Any) -> int:
    if isinstance(message, list):
        assert message[1:] == [b"more", b""]
        message = message[0]
    return int(message.bytes if isinstance(message, zmq.Frame) else message)


@pytest.mark.parametrize("kind", RECEIVES)
async def test_a_cancelled_receive_loses_nothing(kind: str) -> None:
    """A time-out of as long as it takes for the next message to come."""
    call, frames_of = RECEIVES[kind]
    received: list[int] = []
    cancelled = 0
    with two(hwm=0) as (socket, peer):  # what was not received piles up
        for n in range(ROUNDS * 2):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def receive_one() -> None:
                        received.append(number_in(await call(socket)))

                    tasks.start_soon(receive_one)
                    for _ in range(n % 7):
                        await checkpoint()
                    peer.send_multipart(frames_of(n))
                    for _ in range(n % 5):
                        await checkpoint()
                    scope.cancel()
            cancelled += scope.cancelled_caught
        with suppress(zmq.Again):
            while True:
                received.append(number_in(socket._plain.recv_multipart(zmq.NOBLOCK)[0]))
        assert len(socket._waiters) == 0
    assert received == list(range(ROUNDS * 2))
    assert cancelled


async def test_a_cancelled_send_was_sent_or_was_not() -> None:
    sent: list[bytes] = []
    arrived: list[bytes] = []
    with two(hwm=1) as (socket, peer):
        await fill(socket)
        for n in range(ROUNDS * 2):
            message = b"%d" % n
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def send_one(message: bytes = message) -> None:
                        await socket.send_multipart([message, b"more"])
                        sent.append(message)

                    tasks.start_soon(send_one)
                    for _ in range(n % 7):
                        await checkpoint()
                    with suppress(zmq.Again):
                        arrived.append(peer.recv_multipart(zmq.NOBLOCK)[0])
                    for _ in range(n % 5):
                        await checkpoint()
                    scope.cancel()
        with suppress(zmq.Again):
            while True:
                arrived.append(peer.recv_multipart(zmq.NOBLOCK)[0])
    assert [each for each in arrived if each != b"fill"] == sent


# Many tasks.


@pytest.mark.parametrize("by", ["inproc", "tcp"])
async def test_a_storm_in_both_directions(by: str) -> None:
    """Four senders and four receivers on each end, ROUTER and DEALER."""
    each = (250_000 if by == "inproc" else 50_000) if STRESS else 500
    address = f"inproc://storm-{next(numbers)}" if by == "inproc" else "tcp://127.0.0.1:0"
    got: dict[str, list[int]] = {"router": [], "dealer": []}
    with (
        full_speed(),
        aiowire.zmq.Context() as context,
        context.socket(zmq.ROUTER) as router,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.set(zmq.IDENTITY, b"dealer")
        router.set(zmq.ROUTER_MANDATORY, 1)  # or it drops what there is no room for
        router.bind(address)
        dealer.connect(router.get(zmq.LAST_ENDPOINT))
        await dealer.send(b"here I am")
        assert await router.recv_multipart() == [b"dealer", b"here I am"]

        async def send(socket: Any, head: list[bytes], first: int) -> None:
            for n in range(first, 4 * each, 4):
                await socket.send_multipart([*head, b"%d" % n, b"end"])

        async def receive(socket: Any, name: str) -> None:
            while len(got[name]) < 4 * each:
                frames = await socket.recv_multipart()
                assert frames[-1] == b"end"
                assert len(frames) == (3 if name == "router" else 2)
                got[name].append(int(frames[-2]))
            everybody[name].cancel()

        everybody = {"router": anyio.CancelScope(), "dealer": anyio.CancelScope()}

        async def receive_all(socket: Any, name: str) -> None:
            with everybody[name]:
                async with anyio.create_task_group() as receivers:
                    for _ in range(4):
                        receivers.start_soon(receive, socket, name)

        with anyio.fail_after(500):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive_all, router, "router")
                tasks.start_soon(receive_all, dealer, "dealer")
                for first in range(4):
                    tasks.start_soon(send, router, [b"dealer"], first)
                    tasks.start_soon(send, dealer, [], first)
        assert router.missed_edges == dealer.missed_edges == 0
    for numbers_got in got.values():
        assert sorted(numbers_got) == list(range(4 * each))


async def test_receivers_are_served_in_turn() -> None:
    shares = [0] * 8
    with two(hwm=0) as (socket, peer):

        async def receive_all(index: int) -> None:
            while True:
                await socket.recv()
                shares[index] += 1
                await checkpoint()

        async with anyio.create_task_group() as tasks:
            for index in range(8):
                tasks.start_soon(receive_all, index)
            await parked(socket, 8)
            for n in range(1, 101):
                for _ in range(8):
                    peer.send(b"")
                while sum(shares) < 8 * n:
                    await checkpoint()
                await parked(socket, 8)
            tasks.cancel_scope.cancel()
    assert sum(shares) == 800
    assert max(shares) <= 105


# What nobody told, and what the price is.


async def test_what_was_done_unseen_is_found_after_a_while_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", 0.05)
    log = Log()
    with two() as (socket, peer):
        shadow = zmq.Socket.shadow(socket.underlying)
        for n in range(1, 4):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, socket, log)
                await parked(socket)
                peer.send(b"hidden")
                shadow.get(zmq.EVENTS)
                with anyio.fail_after(5):
                    await log.reach(n)
            assert socket.missed_edges == n


async def test_what_was_done_unseen_is_found_at_once_when_told() -> None:
    log = Log()
    with two() as (socket, peer):
        shadow = zmq.Socket.shadow(socket.underlying)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive, socket, log)
            await parked(socket)
            peer.send(b"hidden")
            shadow.get(zmq.EVENTS)
            socket.refresh()
            with anyio.fail_after(5):
                await log.reach(1)
        assert socket.missed_edges == 0


async def test_a_socket_full_of_messages_leaves_turns_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """About one in a millisecond: each call takes 0.3 ms by this clock."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.0003
        return now

    turns = 0
    with two(hwm=0) as (socket, peer):
        for _ in range(1000):
            peer.send(b"")
        monkeypatch.setattr(_calls, "monotonic", clock)

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            for _ in range(1000):
                await socket.recv()
            tasks.cancel_scope.cancel()
    assert turns >= 200


async def test_receives_that_time_out_leave_nothing_behind() -> None:
    number = ROUNDS * 10
    with full_speed(), two() as (socket, _):  # in debug mode asyncio remembers what is slow

        async def time_out(times: int) -> None:
            for _ in range(times):
                with anyio.CancelScope(deadline=anyio.current_time()):
                    await socket.recv()
                assert await socket.poll(0) == 0

        async def grown() -> int:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            await time_out(number)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        tracemalloc.start()
        try:
            grew = [await grown() for _ in range(4)]
        finally:
            tracemalloc.stop()
        assert len(socket._waiters) == 0
    assert min(grew) < 2 * number


# A message comes just when the receive times out.

PACE = """
import sys, time, zmq
with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
    socket.connect(sys.argv[1])
    begun = time.monotonic()
    for n in range(int(sys.argv[2])):
        time.sleep(max(0, begun + n / 1000 - time.monotonic()))
        socket.send(b"%d" % n)
"""


async def receive_all(number: int, within: Callable[..., Any]) -> None:
    """Receive what another process sends each millisecond, with a time-out of a millisecond."""
    received: list[int] = []
    with aiowire.zmq.Context() as context, context.socket(zmq.PULL) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        command = [sys.executable, "-c", PACE, f"tcp://127.0.0.1:{port}", str(number)]

        async def receive_one() -> None:
            received.append(int(await socket.recv()))

        process = subprocess.Popen(command)  # noqa: ASYNC220
        try:
            with anyio.fail_after(number / 1000 + 20):
                while len(received) < number:
                    await within(receive_one)
        finally:
            process.kill()
            process.wait()
    assert received == list(range(number))


async def test_no_message_is_lost_by_time_outs() -> None:
    async def within(receive_one: Any) -> None:
        with anyio.move_on_after(0.001):
            await receive_one()

    await receive_all(10_000 if STRESS else 300, within)


@on_asyncio
async def test_no_message_is_lost_by_the_time_outs_of_asyncio() -> None:
    async def within(receive_one: Any) -> None:
        await times_out(receive_one(), 0.001)

    await receive_all(10_000 if STRESS else 300, within)
