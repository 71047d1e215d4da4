"""Scenarios that count messages: what was accepted and never arrives is lost.

Each takes a contender, how many messages there are, and the counts that it fills in. What has not
been received when nothing goes on any more is looked for in the socket, past the contender: that
is not lost, but whoever sleeps then is hung.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import zmq
from anyio.lowlevel import checkpoint
from clock import clock
from counts import Counts, Tally
from peers import Peer, addresses, native, passes, scopes, until_silent


async def storm(peer: Peer, number: int, counts: Counts) -> None:
    """Let four tasks send and four receive on each end of ROUTER and DEALER, in one process."""
    address = next(addresses)
    with peer.context() as context:
        # Without ROUTER_MANDATORY it drops what there is no room for, which is nobody's fault.
        router_options = {"ROUTER_MANDATORY": 1}
        async with (
            peer.open(context, zmq.ROUTER, **router_options) as router,
            peer.open(context, zmq.DEALER, IDENTITY=b"dealer") as dealer,
        ):
            router.bind(address)
            dealer.connect(address)
            await peer.call(dealer, "send", b"here I am")
            await peer.call(router, "recv_multipart")
            there = Way(peer, dealer, router, [], number)
            back = Way(peer, router, dealer, [b"dealer"], number)
            await blow(there, back, counts)


class Way:
    """One direction of a storm."""

    def __init__(self, peer: Peer, source: Any, target: Any, head: list[bytes], number: int):
        self.peer = peer
        self.source = source
        self.target = target
        self.head = head
        self.tally = Tally(number)
        self.refused = 0
        self.accepted = 0
        self.full = anyio.Event()

    async def send(self, first: int) -> None:
        """Send every fourth message."""
        for n in range(first, self.tally.number, 4):
            await self.send_one([*self.head, b"%d" % n, b"end"])
            self.tally.send(n)
            self.accepted += 1

    async def send_one(self, frames: list[bytes]) -> None:
        """Send a message, again and again where it is refused instead of waited for."""
        while True:
            try:
                await self.peer.call(self.source, "send_multipart", frames)
            except self.peer.again:
                self.refused += 1
                await checkpoint()
            else:
                return

    async def receive(self) -> None:
        """Receive until all is there."""
        while True:
            self.note(await self.peer.call(self.target, "recv_multipart"))

    def note(self, frames: list[bytes]) -> None:
        """Note a message that has arrived, whole as it must be."""
        if frames[-1] != b"end" or len(frames) != 3 - len(self.head):
            raise ValueError(f"torn: {frames}")
        self.tally.receive(int(frames[-2]))
        if self.tally.received == self.tally.number:
            self.full.set()


async def blow(there: Way, back: Way, counts: Counts) -> None:
    """Let both ways of a storm go on until all is there, or nothing goes on any more."""
    ways = (there, back)
    try:
        async with until_silent(lambda: sum(w.tally.received + w.accepted for w in ways)) as tasks:
            for way in ways:
                for first in range(4):
                    tasks.start_soon(way.send, first)
                    tasks.start_soon(way.receive)
            for way in ways:
                await way.full.wait()
    finally:
        complete = there.full.is_set() and back.full.is_set()
        left = sum(drain(way.target, way.note) for way in ways)
        unsent = sum(way.tally.number - way.tally.sent for way in ways)
        counts.hung = int(not complete and bool(left or unsent))
        add(counts, there.tally)
        add(counts, back.tally)
        counts.refused = there.refused + back.refused


#: The ways to receive: the method, its arguments, and the frames of a message with a number.
Kind = tuple[str, dict[str, Any], Callable[[bytes], list[bytes]]]
RECEIVES: dict[str, Kind] = {
    "recv": ("recv", {}, lambda n: [n]),
    "frame": ("recv", {"copy": False}, lambda n: [n]),
    "string": ("recv_string", {}, lambda n: [n]),
    "json": ("recv_json", {}, lambda n: [n]),
    "multipart": ("recv_multipart", {}, lambda n: [n, b"more", b""]),
    "serialized": (
        "recv_serialized", {"deserialize": lambda frames: frames[0]}, lambda n: [n, b"more"]
    ),
}  # fmt: skip


async def scope_cancellations(peer: Peer, number: int, counts: Counts) -> None:
    """Cancel receives by the scopes that they are in."""
    await cancellations(peer, number, counts, scopes)


async def native_cancellations(peer: Peer, number: int, counts: Counts) -> None:
    """Cancel receives by ``task.cancel()``."""
    await cancellations(peer, number, counts, native)


async def cancellations(peer: Peer, number: int, counts: Counts, starting: Any) -> None:
    """Cancel receives of all kinds, so many of each that it makes the number in all."""
    hung = []
    for name, kind in RECEIVES.items():
        tally = Tally(number // len(RECEIVES))
        ended = False
        async with until_silent(lambda tally=tally: tally.sent + tally.received):
            await cancel_each(peer, tally, kind, starting)
            ended = True
        add(counts, tally)
        if tally.lost:
            counts.lost_by[name] = tally.lost
        if not ended:
            hung.append(name)
    counts.hung = len(hung)
    counts.note = f"hung: {', '.join(hung)}" if hung else ""


async def cancel_each(peer: Peer, tally: Tally, kind: Kind, starting: Any) -> None:
    """Cancel each receive a few passes of the loop after it began, and after its message came."""
    name, kwargs, frames_of = kind

    async def receive() -> None:
        tally.receive(number_in(await peer.call(socket, name, **kwargs)))

    with peer.context() as context:
        async with peer.pair(context) as (socket, other), starting() as start:
            try:
                for n in range(tally.number):
                    task = start(receive)
                    await passes(n % 7)
                    other.send_multipart(frames_of(b"%d" % n))
                    tally.send(n)
                    await passes(n % 5)
                    task.cancel()
                    await task.ended.wait()
                    with suppress(peer.again):  # take what is left, so that the next one waits
                        frames = await peer.call(socket, "recv_multipart", zmq.DONTWAIT)
                        tally.receive(number_in(frames))
            finally:
                drain(socket, lambda frames: tally.receive(number_in(frames)))


async def time_outs_of_anyio(peer: Peer, number: int, counts: Counts) -> None:
    """Receive within a cancel scope that has a deadline."""

    async def within(seconds: float, receive: Callable[[], Any]) -> Any:
        with anyio.fail_after(seconds):
            return await receive()

    await time_outs(peer, number, counts, within)


async def time_outs_of_timeout(peer: Peer, number: int, counts: Counts) -> None:
    """Receive within ``asyncio.timeout``."""
    import asyncio

    async def within(seconds: float, receive: Callable[[], Any]) -> Any:
        async with asyncio.timeout(seconds):
            return await receive()

    await time_outs(peer, number, counts, within)


async def time_outs_of_wait_for(peer: Peer, number: int, counts: Counts) -> None:
    """Receive by ``asyncio.wait_for(socket.recv(), seconds)``."""
    import asyncio

    async def within(seconds: float, receive: Callable[[], Any]) -> Any:
        return await asyncio.wait_for(receive(), seconds)

    await time_outs(peer, number, counts, within)


async def time_outs(peer: Peer, number: int, counts: Counts, within: Any) -> None:
    """Do the job of the benchmark's row, with another means to wait for so long at most."""
    job: Any = peer.messages
    job.within = within
    job.recv = lambda socket: peer.call(socket, "recv")  # with no coroutine in between
    counts.lost = int(await job.lost(number))


async def busy(peer: Peer, number: int, counts: Counts) -> None:
    """Receive from a full queue, beside a task that wants a turn in each pass of the loop."""
    tally = Tally(number)
    turns = [clock()]
    gaps = [0.0]

    async def tick() -> None:
        while True:
            await checkpoint()
            turns.append(clock())
            gaps[0] = max(gaps[0], turns[-1] - turns[-2])

    with peer.context() as context:
        async with peer.pair(context, SNDHWM=0, RCVHWM=0) as (socket, other):
            for n in range(number):
                other.send(b"%d" % n)
                tally.send(n)
            async with until_silent(lambda: tally.received) as tasks:
                tasks.start_soon(tick)
                await passes(3)
                turns[:], gaps[0] = [clock()], 0.0
                for _ in range(number):
                    tally.receive(int(await peer.call(socket, "recv")))
                counts.turns = len(turns) - 1
                await passes(3)
            counts.longest_ms = gaps[0] * 1000
            counts.hung = int(drain(socket, lambda frames: tally.receive(number_in(frames))) > 0)
    add(counts, tally)


def add(counts: Counts, tally: Tally) -> None:
    """Add what a tally has found."""
    counts.lost = (counts.lost or 0) + tally.lost
    counts.twice = (counts.twice or 0) + tally.twice


def number_in(message: Any) -> int:
    """Read a message of any kind."""
    first = message[0] if isinstance(message, list) else message
    return int(first.bytes if isinstance(first, zmq.Frame) else first)


def drain(socket: Any, note: Callable[[list[bytes]], None]) -> int:
    """Take what is still in a socket, past who has it; say how much that was."""
    number = 0
    raw: Any = zmq.Socket.shadow(socket.underlying)
    with suppress(zmq.Again):
        while True:
            note(raw.recv_multipart(zmq.NOBLOCK))
            number += 1
    return number
