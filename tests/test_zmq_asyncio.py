"""The sockets of zmq.asyncio: on asyncio they serve, elsewhere they are refused."""

from __future__ import annotations

import threading

import anyio
import pytest
import zmq
import zmq.asyncio

from aiowire import EventLoop, Poller, Wire

from .support import (
    Log,
    note,
    on_asyncio,
    on_trio,
    polling,
)
from .zeromq_support import connected, receiving, send


@on_trio
async def test_a_socket_of_zmq_asyncio_elsewhere_is_an_error_that_says_what_to_use() -> None:
    failures = Log()
    with connected(zmq.asyncio.Context) as (source, _):
        with pytest.raises(TypeError, match=r"works on asyncio only; use .* aiowire\.zmq"):
            Poller({source: note(Log())})
        made_before: list[Poller] = []
        thread = threading.Thread(target=lambda: made_before.append(Poller({source: note(Log())})))
        thread.start()
        thread.join()
        await run_to_end_with(failures, made_before[0])
    assert isinstance(failures[0], TypeError)
    assert "aiowire.zmq" in str(failures[0])


async def run_to_end_with(failures: Log, poller: Poller) -> None:
    async with EventLoop() as ev:
        await ev.start(poller, lambda ev, exc: failures.append(exc)).wait()


@on_asyncio
async def test_a_socket_of_zmq_asyncio_still_receives_beside_the_poller() -> None:
    log = Log()
    with connected(zmq.asyncio.Context) as (source, peer):
        async with polling({source: receiving(log, source)}):
            for n in range(1, 51):
                send(peer, b"x")
                await log.reach(n)
        for _ in range(50):
            send(peer, b"beside")
            with anyio.fail_after(5):
                assert await source.recv_multipart() == [b"beside"]


@on_asyncio
async def test_a_server_of_zmq_asyncio_answers_while_it_receives() -> None:
    answers = Log()
    with connected(zmq.asyncio.Context, (zmq.ROUTER, zmq.DEALER)) as (source, peer):

        async def serve(ev: EventLoop) -> Wire:
            frames = await source.recv_multipart()

            async def answer(ev: EventLoop) -> None:
                await source.send_multipart(frames)
                answers.append(frames)

            return Wire(answer)

        async with polling({source: serve}):
            for n in range(50):
                peer.send(b"%d" % n)
                await answers.reach(n + 1)
                assert peer.recv() == b"%d" % n
