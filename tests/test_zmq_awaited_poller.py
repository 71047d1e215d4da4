"""The poller of ``aiowire.zmq``, whose ``poll`` is awaited."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import zmq

import aiowire.zmq

from .support import feed, pipe
from .test_zmq_hazards import parked, two

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def polled(flags: int = zmq.POLLIN) -> Iterator[tuple[aiowire.zmq.Poller, Any, Any]]:
    """Make a poller of one socket, that socket, and its peer."""
    poller = aiowire.zmq.Poller()
    with two() as (socket, peer):
        poller.register(socket, flags)
        yield poller, socket, peer


async def test_it_finds_what_is_ready() -> None:
    with polled() as (poller, socket, peer):
        peer.send(b"x")
        assert await poller.poll() == [(socket, zmq.POLLIN)]
        assert await socket.recv() == b"x"


async def test_it_waits_for_a_message() -> None:
    with polled() as (poller, socket, peer):
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await parked(socket)
                peer.send(b"x")

            tasks.start_soon(send)
            assert await poller.poll(10_000) == [(socket, zmq.POLLIN)]
        assert len(socket._waiters) == 0


@pytest.mark.parametrize("timeout", [0, 1, 1.5])
async def test_it_gives_nothing_when_the_time_is_up(timeout: float) -> None:
    with polled() as (poller, socket, _):
        assert await poller.poll(timeout) == []
        assert len(socket._waiters) == 0


async def test_it_takes_no_wake_up_from_who_receives() -> None:
    with polled() as (poller, socket, peer), anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                assert await socket.recv() == b"x"

            tasks.start_soon(receive)
            await parked(socket)
            peer.send(b"x")
            await poller.poll(0)  # which may see the message, or come too late for that
        assert len(socket._waiters) == 0


async def test_it_waits_for_room() -> None:
    with polled(zmq.POLLIN | zmq.POLLOUT) as (poller, socket, _):
        assert await poller.poll() == [(socket, zmq.POLLOUT)]


async def test_it_waits_for_descriptors_too() -> None:
    with polled() as (poller, socket, _), pipe() as (source, peer):
        poller.register(source, zmq.POLLIN)
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                await parked(socket)
                feed(peer)

            tasks.start_soon(write)
            assert await poller.poll() == [(source.fileno(), zmq.POLLIN)]
        poller.unregister(source)
        poller.register(peer, zmq.POLLOUT)
        assert await poller.poll() == [(peer.fileno(), zmq.POLLOUT)]


async def test_it_waits_for_a_descriptor_that_can_be_written() -> None:
    poller = aiowire.zmq.Poller()
    with pipe() as (source, peer):
        while True:
            try:
                feed(peer, b"x" * 1024)
            except BlockingIOError:
                break
        poller.register(peer, zmq.POLLOUT)
        assert await poller.poll(0) == []
        async with anyio.create_task_group() as tasks:

            async def drain() -> None:
                await anyio.wait_readable(source)
                source.read(1 << 20)

            tasks.start_soon(drain)
            assert await poller.poll() == [(peer.fileno(), zmq.POLLOUT)]


async def test_a_socket_that_is_closed_meanwhile_is_told() -> None:
    with polled() as (poller, socket, _):
        async with anyio.create_task_group() as tasks:

            async def close() -> None:
                await parked(socket)
                socket.close()

            tasks.start_soon(close)
            with pytest.raises(anyio.ClosedResourceError, match="was closed"):
                await poller.poll()
        with pytest.raises(anyio.ClosedResourceError, match="was closed"):
            await poller.poll()


async def test_each_poll_can_be_cancelled_and_leaves_nothing() -> None:
    with polled() as (poller, socket, peer):
        peer.send(b"x")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await poller.poll()
        assert scope.cancelled_caught
        assert await socket.recv() == b"x"
        with anyio.move_on_after(0.01) as scope:
            await poller.poll()
        assert scope.cancelled_caught
        assert len(socket._waiters) == 0


async def test_without_sources_it_waits_for_the_time() -> None:
    assert await aiowire.zmq.Poller().poll(1) == []


async def test_what_cannot_be_polled_is_refused() -> None:
    poller = aiowire.zmq.Poller()
    with (
        zmq.Context() as context,
        context.socket(zmq.PAIR) as plain,
        pytest.raises(TypeError, match=r"cannot be awaited; poll a socket of aiowire\.zmq"),
    ):
        poller.register(plain)
    with pytest.raises(ValueError, match="got nan"):
        await poller.poll(math.nan)
    with pytest.raises(TypeError, match="got 'x'"):
        await poller.poll("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("sources", ["one in both directions", "two"])
async def test_a_context_that_is_destroyed_meanwhile_is_told_as_one_error(sources: str) -> None:
    poller = aiowire.zmq.Poller()
    with aiowire.zmq.Context() as context:
        socket, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        socket.bind("inproc://x")
        poller.register(socket)
        if sources == "two":
            poller.register(other)
        async with anyio.create_task_group() as tasks:

            async def destroy() -> None:
                await parked(socket)
                context.destroy()

            tasks.start_soon(destroy)
            with pytest.raises(anyio.ClosedResourceError, match="was closed"):
                await poller.poll()


async def test_a_context_that_has_ended_is_told() -> None:
    poller = aiowire.zmq.Poller()
    context = aiowire.zmq.Context()
    with context.socket(zmq.PAIR) as socket:
        poller.register(socket, zmq.POLLIN)
        ending = threading.Thread(target=context.term)
        ending.start()
        with pytest.raises(anyio.ClosedResourceError, match="its context was terminated"):
            await poll_for_ever(poller)
    ending.join()


async def poll_for_ever(poller: aiowire.zmq.Poller) -> None:
    """Look again and again, without waiting."""
    while True:
        await poller.poll(0)


async def test_descriptors_alone_can_be_polled_too() -> None:
    poller = aiowire.zmq.Poller()
    with pipe() as (source, peer):
        poller.register(source, zmq.POLLIN)
        assert await poller.poll(0) == []
        feed(peer)
        assert await poller.poll(0) == [(source.fileno(), zmq.POLLIN)]


def test_flags_that_nobody_waits_for_are_refused() -> None:
    poller = aiowire.zmq.Poller()
    with pipe() as (source, _):
        with pytest.raises(ValueError, match="flags are POLLIN"):
            poller.register(source, zmq.POLLERR)
        poller.register(source, zmq.POLLIN)
        poller.register(source, 0)
        assert source not in poller
