"""What the tests with ZeroMQ sockets share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
import zmq.asyncio

from aiowire import POLLOUT, EventLoop, Wire

from .support import Log

#: The kinds of ZeroMQ sockets that pyzmq has: the plain ones work on every backend.
on_zmq_kinds = pytest.mark.parametrize(
    ("anyio_backend", "make_context"),
    [
        *(pytest.param(each, zmq.Context, id=each) for each in ("asyncio", "uvloop", "trio")),
        *(
            pytest.param(each, zmq.asyncio.Context, id=f"{each}-zmq.asyncio")
            for each in ("asyncio", "uvloop")
        ),
    ],
    indirect=["anyio_backend"],
)

# What is polled, and what sends to it.
PAIRS = {
    "PAIR": (zmq.PAIR, zmq.PAIR),
    "PUSH to PULL": (zmq.PULL, zmq.PUSH),
    "DEALER to ROUTER": (zmq.ROUTER, zmq.DEALER),
    "DEALER to REP": (zmq.REP, zmq.DEALER),
    "PUB to SUB": (zmq.SUB, zmq.XPUB),
}
pairs = pytest.mark.parametrize("kinds", PAIRS.values(), ids=PAIRS)


@contextmanager
def connected(
    make_context: Any = zmq.Context, kinds: tuple[int, int] = PAIRS["PAIR"], by: str = "inproc"
) -> Iterator[tuple[Any, Any]]:
    """A socket to poll, and a plain one that sends to it."""
    with make_context() as context:
        plain = zmq.Context.shadow(context.underlying)
        with context.socket(kinds[0]) as source, plain.socket(kinds[1]) as peer:
            source.linger = peer.linger = 0
            if by == "tcp":
                port = peer.bind_to_random_port("tcp://127.0.0.1")
                source.connect(f"tcp://127.0.0.1:{port}")
            else:
                peer.bind("inproc://test")
                source.connect("inproc://test")
            if kinds[0] == zmq.SUB:
                source.subscribe(b"")
                peer.recv()  # that it has subscribed
            yield source, peer


def send(peer: Any, *frames: bytes) -> None:
    """Send a message; a DEALER that calls a REP puts an empty frame before it."""
    envelope = [b""] if peer.type == zmq.DEALER else []
    peer.send_multipart([*envelope, *frames])


def fill(source: Any) -> None:
    """Send until there is no more room."""
    raw = zmq.Socket.shadow(source.underlying)
    while raw.poll(0, POLLOUT):
        raw.send(b"x")


async def receive(source: Any) -> list[bytes]:
    """Receive a message without waiting, with the envelope of a ROUTER taken off."""
    frames = source.recv_multipart(zmq.DONTWAIT)
    if hasattr(frames, "__await__"):
        frames = await frames
    return frames[2:] if source.type == zmq.ROUTER else frames


def receiving(log: Log, source: Any) -> Wire:
    async def receive_one(ev: EventLoop) -> None:
        log.append(await receive(source))
        if source.type == zmq.REP:
            answer = source.send(b"ok")
            if hasattr(answer, "__await__"):
                await answer

    return Wire(receive_one)
