"""How little is done for nothing: when the descriptor says nothing, or nobody has room."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

import aiowire.zmq
from aiowire.backends import _waiters
from aiowire.backends._calls import Calls
from aiowire.backends._waiters import Waiter

from .native import full_speed
from .support import STRESS, Log
from .test_zmq_corners import fill_for
from .test_zmq_hazards import numbers, parked, two

pytestmark = pytest.mark.stress


@pytest.fixture(autouse=True)
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))


# The descriptor is readable, and there is nothing.


class Counting(Calls):
    """What is done, and how often."""

    looks = edges = wakes = 0

    def refresh(self) -> int:
        Counting.looks += 1
        return super().refresh()

    async def _listen(self, seconds: float) -> None:
        await super()._listen(seconds)
        Counting.edges += 1

    def _wake(self, waiter: Waiter) -> None:
        Counting.wakes += 1
        super()._wake(waiter)


@pytest.mark.parametrize("by", ["inproc", "tcp"])
async def test_peers_that_come_and_go_wake_nobody(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each the listener looks, and goes on listening."""
    monkeypatch.setattr(aiowire.zmq._socket, "Calls", Counting)
    monkeypatch.setattr(_waiters, "QUICK", 0)
    log = Log()
    context = aiowire.zmq.Context()
    plain: zmq.Context[Any] = zmq.Context.shadow(context.underlying)
    with full_speed(), context, context.socket(zmq.PULL) as socket:
        socket.bind(f"inproc://edges-{next(numbers)}" if by == "inproc" else "tcp://127.0.0.1:0")
        address = socket.get(zmq.LAST_ENDPOINT)

        async def receive() -> None:
            log.append(await socket.recv())

        async with anyio.create_task_group() as tasks:
            for n in range(3):
                tasks.start_soon(receive)
                await parked(socket, n + 1)
            receives = socket._waiters.receives
            Counting.looks = Counting.edges = Counting.wakes = 0
            for _ in range(1000 if STRESS else 60):
                before = Counting.edges
                with plain.socket(zmq.PUSH) as peer:
                    peer.connect(address)
                    with anyio.fail_after(5):
                        while Counting.edges == before:
                            await checkpoint()
            await parked(socket, 3)
            looks, edges, wakes = Counting.looks, Counting.edges, Counting.wakes
            with plain.socket(zmq.PUSH) as peer:
                peer.connect(address)
                for n in range(3):
                    peer.send(b"%d" % n)
                with anyio.fail_after(5):
                    await log.reach(3)
    print(f"{edges} edges, {looks} looks, {wakes} wake-ups")
    assert edges >= 60
    assert looks <= 2 * edges
    assert wakes == 0
    assert socket._waiters.receives == receives
    assert sorted(log) == [b"0", b"1", b"2"]


# Refused, and then nobody has room.


async def test_a_refused_task_does_not_spin_when_all_peers_are_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_waiters, "RETRY", 0.001)
    tries = Log()
    with two((zmq.ROUTER, zmq.DEALER), hwm=1) as (socket, peer):
        context = zmq.Context.shadow(socket.context.underlying)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        with context.socket(zmq.DEALER) as other:
            other.linger = 0
            other.set(zmq.RCVHWM, 1)
            other.connect(socket.get(zmq.LAST_ENDPOINT))
            names = []
            for each in (peer, other):
                each.send(b"here I am")
                names.append((await socket.recv_multipart())[0])
            await fill_for(socket, names[0])
            plain = socket._plain.send_multipart

            def send_counted(*args: Any) -> None:
                tries.append(args)
                if len(tries) > 1000:
                    raise AssertionError("it tries again and again")
                plain(*args)

            monkeypatch.setattr(socket._plain, "send_multipart", send_counted, raising=False)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(socket.send_multipart, [names[0], b"waits"])
                await tries.reach(3)  # refused, though the other has room
                await fill_for(socket, names[1])
                await tries.reach(len(tries) + 3)
                tasks.cancel_scope.cancel()


# Signals.


@contextmanager
def interrupts(seconds: float) -> Iterator[list[int]]:
    """Interrupt the system calls of the main thread again and again; give how often."""
    count = [0]

    def handle(number: int, frame: FrameType | None) -> None:
        count[0] += 1

    before = signal.signal(signal.SIGALRM, handle)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield count
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def echo(address: str, number: int) -> None:
    """Answer, but so late that who waits sleeps by then."""
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.connect(address)
        for _ in range(number):
            message = socket.recv()
            time.sleep(0.002)
            socket.send(message)


async def test_system_calls_that_are_interrupted() -> None:
    number = 2000 if STRESS else 100
    with full_speed(), aiowire.zmq.Context() as context, context.socket(zmq.REQ) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        answering = threading.Thread(target=echo, args=(f"tcp://127.0.0.1:{port}", number))
        answering.start()
        with interrupts(0.0007) as count, anyio.fail_after(number / 100 + 10):
            for n in range(number):
                await socket.send(b"%d" % n)
                assert int(await socket.recv()) == n
        answering.join()
        assert socket.missed_edges == 0
    print(f"{count[0]} signals")
    assert count[0] >= number
