"""Scenarios that end in silence: somebody waits, the socket is ready, and nothing more happens.

Busy traffic hides a lost wake-up, because the next operation makes up for it. So each round is a
socket of its own on which a few things are done, and then nothing. Many rounds wait at the same
time, since a silence takes a second. What must end and has not ended by then is hung.

The numbers keep together what takes the same thing away: 1 a send, 2 other calls, 3 to 5 receives,
6 and 7 a cancellation. A *shadow* is a second object of the same socket, of
which no library can know what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import zmq
from clock import clock
from counts import Counts
from peers import Peer, Running, Start, addresses, passes, until_silent

#: The kinds of the sockets: a PAIR would refuse a second connection, and make noise by that.
KINDS = (zmq.DEALER, zmq.DEALER)

#: How many rounds wait at the same time.
TOGETHER = 200

#: After so many passes of the event loop a task that was started waits.
PARKED = 10


class Round:
    """One round: a socket that is awaited, and a plain one that is connected to it."""

    def __init__(self, peer: Peer, socket: Any, other: Any, start: Start, number: int) -> None:
        self.peer = peer
        self.socket = socket
        self.other = other
        self.number = number
        self.calls = 0
        self.finished: list[Running] = []  # those who have returned, and were not cancelled
        self.since = clock()  # when there was what must wake somebody
        self._start = start

    async def park(self, name: str, *args: Any) -> Running:
        """Start a task that calls a method, and let it go to sleep."""

        async def call() -> None:
            await self.call(name, *args)
            self.finished.append(running)

        running = self._start(call)
        await passes(PARKED)
        return running

    def call(self, name: str, *args: Any) -> Any:
        """Call a method of the socket."""
        self.calls += 1
        return self.peer.call(self.socket, name, *args)

    def shadow(self) -> Any:
        """Give a second object of the socket."""
        return zmq.Socket.shadow(self.socket.underlying)

    def arrive(self, message: bytes = b"in") -> None:
        """Let a message arrive."""
        self.since = clock()
        self.other.send(message, zmq.NOBLOCK)

    async def fill(self) -> None:
        """Send until there is no room."""
        with suppress(self.peer.again):
            while True:
                await self.call("send", b"fill", zmq.DONTWAIT)

    def make_room(self) -> None:
        """Let the other end receive all."""
        self.since = clock()
        with suppress(zmq.Again):
            while True:
                self.other.recv(zmq.NOBLOCK)


Scenario = Callable[[Round], Coroutine[Any, Any, None]]


async def awaited_send(round_: Round) -> None:
    """1. A send takes the wake-up of a task that receives."""
    waiting = await round_.park("recv")
    round_.arrive()
    await round_.call("send", b"out")
    await waiting.ended.wait()


async def other_call(round_: Round, call: Callable[[Round], object]) -> None:
    """1 and 2. Another call takes it, in the pass in which the message comes."""
    waiting = await round_.park("recv")
    round_.arrive()
    with suppress(zmq.ZMQError):
        call(round_)
    await waiting.ended.wait()


async def receive_without_waiting(round_: Round) -> None:
    """3. A receive takes the wake-up of a task that sends."""
    await round_.fill()
    waiting = await round_.park("send", b"last")
    round_.make_room()
    with suppress(round_.peer.again):
        await round_.call("recv", zmq.DONTWAIT)
    await waiting.ended.wait()


async def one_of_two(round_: Round) -> None:
    """4. The first of two messages is received without waiting: the other makes no edge."""
    waiting = await round_.park("recv")
    round_.arrive(b"taken")
    with suppress(round_.peer.again):
        await round_.call("recv", zmq.DONTWAIT)
    round_.arrive()
    await waiting.ended.wait()


async def hundredth_receive(round_: Round) -> None:
    """5. Every hundredth receive takes the wake-up of a task that sends."""
    await round_.fill()
    for _ in range(120):
        round_.arrive()
    waiting = await round_.park("send", b"last")
    round_.make_room()
    for _ in range(120):
        await round_.call("recv")
    await waiting.ended.wait()


async def receiver_left(round_: Round) -> None:
    """6. Of two who receive the first is cancelled; then a message comes."""
    first = await round_.park("recv")
    second = await round_.park("recv")
    first.cancel()
    await passes(PARKED)
    round_.arrive()
    await second.ended.wait()


async def sender_left(round_: Round) -> None:
    """6. Who receives is cancelled; then there is room for who sends."""
    await round_.fill()
    first = await round_.park("recv")
    second = await round_.park("send", b"last")
    first.cancel()
    await passes(PARKED)
    round_.make_room()
    await second.ended.wait()


async def woken_cancelled(round_: Round) -> None:
    """7. Of two who wait the first is cancelled just when it is woken: the message is not its."""
    first = await round_.park("recv")
    second = await round_.park("recv")
    round_.arrive()
    await passes(round_.number % 5)
    first.cancel()
    await first.ended.wait()
    if first in round_.finished:  # too late: there must be another for the second
        round_.arrive()
    await second.ended.wait()


CALLS: dict[str, Callable[[Round], object]] = {
    "shadow": lambda round_: round_.shadow().send(b"out", zmq.NOBLOCK),
    "connect": lambda round_: round_.socket.connect(next(addresses)),
    "bind": lambda round_: round_.socket.bind(next(addresses)),
    "disconnect": lambda round_: round_.socket.disconnect("inproc://nowhere"),
    "get": lambda round_: round_.socket.get(zmq.EVENTS),
    "poll": lambda round_: poll(round_.socket),
}


def poll(socket: Any) -> None:
    """Look by pyzmq's own poller, which does not wait."""
    poller = zmq.Poller()
    poller.register(zmq.Socket.shadow(socket.underlying), zmq.POLLIN)
    poller.poll(0)


SCENARIOS: dict[str, Scenario] = {
    "send": awaited_send,
    **{name: partial(other_call, call=call) for name, call in CALLS.items()},
    "receive": receive_without_waiting,
    "two": one_of_two,
    "hundredth": hundredth_receive,
    "receiver_left": receiver_left,
    "sender_left": sender_left,
    "woken": woken_cancelled,
}


async def silence(peer: Peer, number: int, counts: Counts, name: str, starting: Any) -> None:
    """Play so many rounds of a scenario; count those in which somebody sleeps on."""
    counts.hung = 0
    scenario = SCENARIOS[name]
    for first in range(0, number, TOGETHER):
        numbers = range(first, min(first + TOGETHER, number))
        with peer.context() as context:
            counts.hung += await play(peer, context, numbers, counts, scenario, starting)


async def play(
    peer: Peer, context: Any, numbers: range, counts: Counts, scenario: Scenario, starting: Any
) -> int:
    """Play some rounds together; say how many have not ended."""
    ended: list[float] = []
    rounds: list[Round] = []

    async def play_one(number: int) -> None:
        async with peer.pair(context, KINDS, SNDHWM=1, RCVHWM=400) as (socket, other):
            async with starting() as start:
                rounds.append(round_ := Round(peer, socket, other, start, number))
                await scenario(round_)
                ended.append((clock() - round_.since) * 1000)

    async with until_silent(lambda: sum(each.calls for each in rounds) + len(ended)) as tasks:
        async with anyio.create_task_group() as players:
            for number in numbers:
                players.start_soon(play_one, number)
        tasks.cancel_scope.cancel()
    if ended:
        counts.longest_ms = max([counts.longest_ms or 0.0, *ended])
    return len(numbers) - len(ended)
