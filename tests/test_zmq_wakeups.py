"""How soon a task goes on, in turns of the event loop, and how little is done for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

import aiowire.zmq
from aiowire.backends import _calls, _waiters

from .native import full_speed
from .support import STRESS, Log
from .test_zmq_hazards import fill, numbers, parked, two

ROUNDS = 5000 if STRESS else 100

pytestmark = pytest.mark.stress


@pytest.fixture(autouse=True)
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))


class Turns:
    """How many turns the event loop has made."""

    def __init__(self) -> None:
        self.number = 0

    async def count(self) -> None:
        while True:
            await checkpoint()
            self.number += 1


@asynccontextmanager
async def counted() -> AsyncIterator[tuple[Turns, Any]]:
    """Count turns, and run tasks until all but the one that counts are done."""
    turns = Turns()
    async with anyio.create_task_group() as counting:
        counting.start_soon(turns.count)
        async with anyio.create_task_group() as tasks:
            yield turns, tasks
        counting.cancel_scope.cancel()


# Whoever can go on does within four turns, whoever listens, and whatever took the wake-up.

MOST = 4


def send(socket: Any, peer: Any) -> None:
    peer.send(b"x")


def send_and_look(socket: Any, peer: Any) -> None:
    """Take the wake-up that the message has sent."""
    peer.send(b"x")
    socket.get(zmq.EVENTS)


def make_room(socket: Any, peer: Any) -> None:
    with suppress(zmq.Again):
        while True:
            peer.recv(zmq.NOBLOCK)


def make_room_and_look(socket: Any, peer: Any) -> None:
    make_room(socket, peer)
    socket.get(zmq.EVENTS)


CASES: dict[str, tuple[list[str], str, Callable[[Any, Any], None]]] = {
    "leader": (["receive"], "receive", send),
    "leader, by another call": (["receive"], "receive", send_and_look),
    "leader that sends": (["send"], "send", make_room),
    "follower": (["send", "receive"], "receive", send),
    "follower, by another call": (["send", "receive"], "receive", send_and_look),
    "follower that sends": (["receive", "send"], "send", make_room),
    "follower that sends, by another call": (["receive", "send"], "send", make_room_and_look),
    "first of two": (["receive", "receive"], "receive", send),
}


@pytest.mark.parametrize("rests", [True, False], ids=["", "after quick answers"])
@pytest.mark.parametrize("case", CASES)
async def test_who_can_go_on_does_within_four_turns(
    case: str, rests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, goes_on, make_ready = CASES[case]
    if rests:
        monkeypatch.setattr(_waiters, "QUICK", 0)
    log = Log()
    took: list[int] = []
    for _ in range(ROUNDS // 20):
        with full_speed(), two(hwm=1) as (socket, peer):
            calls = {"receive": socket.recv, "send": lambda socket=socket: socket.send(b"y")}

            async def wait(kind: str, calls: Any = calls) -> None:
                await calls[kind]()
                log.append(kind)

            for _ in range(20):
                filled = await fill(socket)
                async with counted() as (turns, tasks):
                    for n, kind in enumerate(order, 1):
                        tasks.start_soon(wait, kind)
                        await parked(socket, n)
                    log.clear()
                    begun = turns.number
                    make_ready(socket, peer)
                    while goes_on not in log:
                        await checkpoint()
                        assert turns.number - begun <= 1000, "it sleeps"
                    took.append(turns.number - begun)
                    tasks.cancel_scope.cancel()
                make_room(socket, peer)
                with suppress(zmq.Again):
                    socket._plain.recv(zmq.NOBLOCK)
                assert filled
    print(f"{case}: {min(took)} to {max(took)} turns")
    assert max(took) <= MOST


# One socket is flooded, a hundred are idle.


async def test_idle_sockets_are_served_beside_a_flooded_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock by which each call takes 0.05 ms, so that there is a turn each 20 messages."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.00005
        return now

    monkeypatch.setattr(_calls, "monotonic", clock)
    received = 0
    served = Log()
    context = aiowire.zmq.Context()
    plain: zmq.Context[Any] = zmq.Context.shadow(context.underlying)
    with full_speed(), context, two(hwm=0) as (hot, flood):

        async def receive_flood() -> None:
            nonlocal received
            while True:
                await hot.recv()
                received += 1
                flood.send(b"")

        async def receive_one(socket: Any, name: int) -> None:
            with socket:
                served.append((name, await socket.recv()))

        for _ in range(100):
            flood.send(b"")
        async with counted() as (turns, tasks):
            peers = []
            for n in range(100):
                address = f"inproc://idle-{next(numbers)}"
                socket = context.socket(zmq.PAIR)
                socket.bind(address)
                peers.append(plain.socket(zmq.PAIR))
                peers[n].connect(address)
                tasks.start_soon(receive_one, socket, n)
                await parked(socket)
            tasks.start_soon(receive_flood)
            took, shares = [], []
            for n, peer in enumerate(peers):
                await checkpoint()
                begun, before = turns.number, received
                peer.send(b"%d" % n)
                with anyio.fail_after(5):
                    await served.reach(n + 1)
                took.append(turns.number - begun)
                shares.append(received - before)
                peer.close(0)
            tasks.cancel_scope.cancel()
    print(f"{min(took)} to {max(took)} turns, {max(shares)} messages; {received} in all")
    assert served == [(n, b"%d" % n) for n in range(100)]
    assert max(took) <= MOST
    assert all(0 < share <= 25 * (MOST + 1) for share in shares)
