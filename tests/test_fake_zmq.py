"""The simulated sockets do what those of libzmq do, call by call and script by script."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

import aiowire.zmq
from aiowire.backends import _calls, _waiters
from aiowire.backends._waiters import has_input

from .native import full_speed, on_asyncio
from .support import STRESS
from .zmq_scripts import Script, all_scripts, scopes

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(not hasattr(os, "eventfd"), reason="this system has no eventfd"),
]

if hasattr(os, "eventfd"):
    from .fake_zmq import Fake, FakeSocket, fakes

SEED = random.randrange(2**32)
numbers = itertools.count()


@contextmanager
def originals(context: zmq.Context[Any], hwm: int = 2) -> Iterator[list[Any]]:
    """Two of libzmq's sockets, of which one's queue and the other's count together."""
    address = f"inproc://original-{next(numbers)}"
    with context.socket(zmq.PAIR) as socket, context.socket(zmq.PAIR) as peer:
        for each in (socket, peer):
            each.set(zmq.LINGER, 0)
            each.set(zmq.SNDHWM, hwm // 2)
            each.set(zmq.RCVHWM, hwm // 2)
        socket.bind(address)
        peer.connect(address)
        for each in (socket, peer):
            each.get(zmq.EVENTS)  # that they are connected is known
        yield [socket, peer]


def answer(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except zmq.Again:
        return "again"
    except zmq.ContextTerminated:
        return "terminated"


class Comparison:
    """The same calls on both."""

    def __init__(self, originals: Any, copies: tuple[Fake, Fake]) -> None:
        self.originals = originals
        self.copies = copies
        self._descriptors = [each.get(zmq.FD) for each in (*originals, *copies)]
        self._numbers = itertools.count()
        for each in copies:
            each.get(zmq.EVENTS)

    def call(self, end: int, name: str) -> None:
        original, copy = self.originals[end], self.copies[end]
        args: Any = (zmq.NOBLOCK,)
        if name == "get":
            args = (zmq.EVENTS,)
        elif name == "send":
            args = (b"%d" % next(self._numbers), zmq.NOBLOCK)
        expected = answer(getattr(original, name), *args)
        # Whether a send empties the mailbox is up to the clock, and to be seen.
        was_emptied = not has_input(self._descriptors[end])
        copy.is_due = lambda: was_emptied  # type: ignore[method-assign]
        assert answer(getattr(copy, name), *args) == expected
        readable = [has_input(each) for each in self._descriptors]
        assert readable[:2] == readable[2:]

    def wait_until_readable(self) -> None:
        """Wait until something has happened to both originals."""
        while not all(map(has_input, self._descriptors[:2])):
            pass


CALLS = list(itertools.product([0, 1], ["recv", "send", "get"]))


def test_the_fake_answers_all_short_sequences_of_calls_as_libzmq_does() -> None:
    with zmq.Context() as context:
        for calls in itertools.product(CALLS, repeat=6 if STRESS else 4):
            with originals(context) as real, fakes() as fake:
                comparison = Comparison(real, fake)
                for each in calls:
                    comparison.call(*each)


@pytest.mark.parametrize("hwm", [2, 4, 1000])
def test_the_fake_answers_long_sequences_of_calls_as_libzmq_does(hwm: int) -> None:
    choose = random.Random(SEED)
    with zmq.Context() as context, originals(context, hwm) as real, fakes(hwm) as fake:
        comparison = Comparison(real, fake)
        for _ in range(1000 if STRESS else 20):
            weights = [choose.random() for _ in CALLS]  # else a queue hardly ever fills
            for each in choose.choices(CALLS, weights, k=250):
                comparison.call(*each)


def test_the_fake_ends_as_libzmq_does() -> None:
    context: zmq.Context[Any] = zmq.Context()
    with originals(context) as real, fakes() as fake:
        comparison = Comparison(real, fake)
        comparison.call(0, "send")  # which empties no mailbox for a while, and does not notice
        ending = threading.Thread(target=context.term)
        ending.start()
        comparison.wait_until_readable()
        for each in fake:
            each.terminate()
        for end, name in [(0, "recv"), (1, "get"), (0, "get"), (1, "recv"), (0, "send")]:
            comparison.call(end, name)
    ending.join()


# A script on the fake goes as it does on a socket of libzmq.


async def outcome(actions: Any, socket: Any, peer: Any) -> Any:
    """What becomes of each operation, and of each message."""
    async with scopes() as start:
        script = Script(socket, peer, start, False)
        await script.run(actions)
        operations = [(each.kind, each.outcome, each.message) for each in script.operations]
        return operations, script.from_peer, script.taken, script.at_peer


async def copied_outcome(actions: Any, empties: tuple[bool, ...]) -> Any:
    with fakes() as (plain, peer):
        peer.is_due = iter(empties).__next__  # type: ignore[method-assign]
        socket = FakeSocket(plain)
        try:
            return await outcome(actions, socket, peer)
        finally:
            socket.close()


@pytest.fixture
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))
    monkeypatch.setattr(_waiters, "QUICK", 0)
    monkeypatch.setattr(_calls, "SLICE", float("inf"))


@on_asyncio  # where tasks run in the order in which they were started
@pytest.mark.usefixtures("no_safety_net")
async def test_a_script_on_the_fake_goes_as_it_does_on_libzmq() -> None:
    with full_speed(), aiowire.zmq.Context() as context:
        for actions in all_scripts(4 if STRESS else 3):
            with originals(context) as (socket, peer):
                expected = await outcome(actions, socket, zmq.Socket.shadow(peer.underlying))
            # The clock decides which sends of the peer empty its mailbox.
            ways = itertools.product([False, True], repeat=actions.count("peer sends"))
            for empties in ways:
                if await copied_outcome(actions, empties) == expected:
                    break
            else:
                raise AssertionError(f"{actions}: not on the fake: {expected}")
