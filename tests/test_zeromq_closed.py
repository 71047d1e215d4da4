"""ZeroMQ sockets that are closed, or whose context ends, and what they are known by."""

from __future__ import annotations

import threading
from contextlib import nullcontext, suppress
from typing import Any

import anyio
import pytest
import zmq
import zmq.asyncio

from aiowire import POLLIN, POLLOUT, EventLoop, Poller

from .native import loop_errors_ignored
from .support import (
    Log,
    feed,
    immediately,
    note,
    pipe,
    polling,
    reading,
    settle,
)
from .zeromq_support import connected, fill, on_zmq_kinds, send


@on_zmq_kinds
async def test_a_closed_socket_is_refused(make_context: Any) -> None:
    with connected(make_context) as (source, _):
        source.close()
        with pytest.raises(ValueError, match="cannot be polled: it is closed"):
            Poller({source: note(Log())})


@on_zmq_kinds
@pytest.mark.parametrize("when", ["before it runs", "while it runs"])
async def test_a_socket_that_was_closed_is_an_error_within_a_second(
    make_context: Any, when: str
) -> None:
    failures, log = Log(), Log()
    with connected(make_context) as (source, _), pipe() as (other, peer):
        name = repr(source).split(" at ")[0].split("(")[0]
        sources = {source: note(log), other: reading(log, other)}
        handler = lambda ev, exc: failures.append(exc)  # noqa: E731
        poller = Poller(sources, POLLIN, None, handler=handler)
        if when == "before it runs":
            source.close()
        async with polling(poller):
            await settle()
            source.close()
            await immediately(lambda: failures.reach(1))
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(source)
            feed(peer)
            await log.reach(1)
    (exc,) = failures
    assert isinstance(exc, anyio.ClosedResourceError)
    assert f"{name}" in str(exc)
    assert "was closed while it was watched" in str(exc)
    assert len(log) == 1


@on_zmq_kinds
async def test_a_socket_closed_by_its_own_wire_is_an_error_for_each_direction(
    make_context: Any,
) -> None:
    failures = Log()
    with connected(make_context) as (source, peer):
        fill(source)

        async def close(ev: EventLoop) -> None:
            source.close()

        handler = lambda ev, exc: failures.append(exc)  # noqa: E731
        async with polling({source: close}, handler=handler) as poller:
            poller.register(source, note(Log()), POLLOUT)
            await settle()
            send(peer, b"x")
            await immediately(lambda: failures.reach(2))
    assert [type(exc) for exc in failures] == [anyio.ClosedResourceError] * 2


@on_zmq_kinds
@pytest.mark.parametrize("end", ["unregister", "shutdown", "cancel"])
@pytest.mark.parametrize("closed", ["before", "after"])
async def test_a_socket_can_be_closed_when_the_poller_leaves_it(
    make_context: Any, end: str, closed: str
) -> None:
    with connected(make_context) as (source, _), anyio.fail_after(5):
        async with EventLoop() as ev:
            poller = Poller({source: note(Log())})
            handle = ev.start(poller)
            await settle()
            if closed == "before":
                source.close()
            if end == "unregister":
                poller.unregister(source)
            elif end == "shutdown":
                poller.shutdown()
            else:
                handle.cancel()
            source.close()
            await settle()
            poller.shutdown()


@on_zmq_kinds
async def test_a_context_that_was_terminated_is_an_error_that_names_the_socket(
    make_context: Any,
) -> None:
    failures = Log()
    # pyzmq's own callback fails as well, and tells the event loop.
    ignoring = nullcontext() if make_context is zmq.Context else loop_errors_ignored()
    with ignoring, make_context() as context, context.socket(zmq.PAIR) as source:
        handler = lambda ev, exc: failures.append(exc)  # noqa: E731
        ending = threading.Thread(target=context.term)  # waits until the socket is closed
        async with polling({source: note(Log())}, handler=handler):
            await settle()
            ending.start()
            await immediately(lambda: failures.reach(1))
        with pytest.raises(ValueError, match="cannot be polled"):
            Poller({source: note(Log())})
        source.close()
        ending.join()
    assert isinstance(failures[0], anyio.ClosedResourceError)
    assert "the context of" in str(failures[0])
    assert "was terminated" in str(failures[0])


async def test_sockets_are_known_by_themselves() -> None:
    with connected() as (source, peer):
        poller = Poller({source: note(Log())})
        poller.register(peer, note(Log()))
        with pytest.raises(IndexError, match="POLLIN already"):
            poller.register(source, note(Log()))
        poller.register(source, note(Log()), POLLOUT)
        poller.unregister(source)
        with pytest.raises(KeyError):
            poller.unregister(source)
        source.close()
        with pytest.raises(KeyError):
            poller.unregister(source)


async def test_a_context_that_ended_before_the_poller_began_is_an_error_too() -> None:
    failures, log = Log(), Log()
    context = zmq.Context()
    with context.socket(zmq.PAIR) as source:
        poller = Poller({source: note(log)}, handler=lambda ev, exc: failures.append(exc))
        ending = threading.Thread(target=context.term)
        ending.start()
        with suppress(zmq.ContextTerminated):
            while True:
                source.get(zmq.EVENTS)
        async with polling(poller):
            await failures.reach(1)
    ending.join()
    assert "was terminated" in str(failures[0])
    assert log == []
