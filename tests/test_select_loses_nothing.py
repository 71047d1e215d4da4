"""Select loses nothing: each first step that is complete is gone on with, whatever comes then.

Several sources get items at the same time. In the end each item was given to a rest, once and in
order, or is still where it was.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

import aiowire.zmq
from aiowire import Call, EventLoop, Select, Wire

from .support import STRESS, pipe
from .zeromq_support import connected

ROUNDS = 10_000 if STRESS else 100
pytestmark = [pytest.mark.stress, pytest.mark.timeout(600)]


class Source:
    """Where items come from, and what has become of them."""

    def __init__(
        self, receive: Callable[[], Any], send: Callable[[int], Any], rest: Callable[[], list[int]]
    ) -> None:
        self.receive = receive
        self._send = send
        self._rest = rest
        self.sent: list[int] = []
        self.given: list[int] = []

    def send(self) -> None:
        """Send an item, if not many are there already."""
        if len(self.sent) - len(self.given) < 5:
            self._send(len(self.sent) % 256)
            self.sent.append(len(self.sent) % 256)

    def check(self) -> None:
        """Account for all items."""
        assert self.given + self._rest() == self.sent


@contextmanager
def channel() -> Iterator[Source]:
    send, receive = anyio.create_memory_object_stream[int](10)

    def rest() -> list[int]:
        return [receive.receive_nowait() for _ in range(receive.statistics().current_buffer_used)]

    with send, receive:
        yield Source(receive.receive, send.send_nowait, rest)


@contextmanager
def stream() -> Iterator[Source]:
    with pipe() as (source, peer):

        async def receive() -> int:
            await anyio.wait_readable(source)
            return os.read(source.fileno(), 1)[0]

        yield Source(
            receive, lambda item: peer.write(bytes([item])), lambda: list(source.read(100) or b"")
        )


@contextmanager
def socket() -> Iterator[Source]:
    with connected(aiowire.zmq.Context) as (source, peer):
        plain = zmq.Socket.shadow(source.underlying)

        async def receive() -> int:
            message: bytes = await source.recv()
            return message[0]

        def rest() -> list[int]:
            items: list[int] = []
            while plain.poll(100):
                items.append(plain.recv()[0])
            return items

        yield Source(receive, lambda item: peer.send(bytes([item])), rest)


KINDS = {
    "channels": [channel] * 4,
    "pipes": [stream] * 4,
    "sockets": [socket] * 3,
    "all kinds": [socket, channel, stream, channel, socket],
}
kinds = pytest.mark.parametrize("makers", KINDS.values(), ids=KINDS)


@pytest.fixture
def sources(makers: list[Any]) -> Iterator[list[Source]]:
    with ExitStack() as stack:
        yield [stack.enter_context(make()) for make in makers]


def taking(sources: list[Source], order: list[int]) -> Select:
    """A select whose branches each take an item, and leave a wire that is given it."""

    def branch(number: int) -> Wire:
        def give(item: int) -> None:
            sources[number].given.append(item)
            order.append(number)

        return Call(sources[number].receive).then(lambda item: Call(give, item))

    return Select(*map(branch, range(len(sources))))


async def feed(sources: list[Source], chance: random.Random) -> None:
    """Send to some sources, at some turn, in one go."""
    for _ in range(chance.randrange(4)):
        await checkpoint()
    for source in chance.sample(sources, chance.randrange(1, len(sources) + 1)):
        source.send()


@kinds
async def test_each_item_that_was_taken_is_given_to_a_rest(sources: list[Source]) -> None:
    chance = random.Random("items")
    together = 0
    for _ in range(ROUNDS):
        order: list[int] = []
        with anyio.fail_after(20):
            async with EventLoop() as ev:
                ev.start(taking(sources, order))
                await feed(sources, chance)
        assert order
        assert order == sorted(set(order))
        together += len(order) > 1
    for source in sources:
        source.check()


async def complete(ev: Any, n: int, turns: int, ready: anyio.Event, order: list[int]) -> Any:
    """Be complete some turns after an event, whether cancelled or not."""
    with anyio.CancelScope(shield=True):
        await ready.wait()
        for _ in range(turns):
            await checkpoint()
    return Call(order.append, n) >> Call(order.append, n)


async def test_rests_of_steps_that_are_complete_together_run_in_the_order_of_branches() -> None:
    for number in range(ROUNDS):
        order: list[int] = []
        ready = anyio.Event()

        steps = [Wire(complete, n, n * number % 5, ready, order) for n in range(4)]
        async with EventLoop() as ev:
            ev.start(Select(*steps) >> Call(order.append, 9))
            for _ in range(3 + number % 3):
                await checkpoint()
            ready.set()
        assert order == [0, 0, 1, 1, 2, 2, 3, 3, 9]
