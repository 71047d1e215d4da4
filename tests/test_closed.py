"""Descriptors that were closed without a word, or whose number is another file's now."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiowire import POLLIN, POLLOUT, Call, EventLoop, Poller, UnhandledException

from .support import (
    STREAMS,
    WAYS,
    Log,
    choose_way,
    feed,
    fill,
    immediately,
    note,
    pair,
    pipe,
    polling,
    read,
    reading,
    settle,
    tcp,
)


@pytest.fixture(params=WAYS, autouse=True)
def edges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    return choose_way(request, monkeypatch)


@pytest.fixture
def failures() -> Log:
    return Log()


@pytest.fixture
def checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is found by looking, where it does not matter how soon."""
    monkeypatch.setattr("aiowire._watch.CHECK_SECONDS", 0.03)


CLOSED = [(each, POLLIN) for each in STREAMS.values()]
CLOSED += [(each, flags) for each in (pair, tcp) for flags in (POLLOUT, POLLIN | POLLOUT)]


async def test_sources_that_were_closed_are_errors_within_a_second(failures: Log) -> None:
    log, names = Log(), []
    poller = Poller({}, handler=lambda ev, exc: failures.append(exc))
    with ExitStack() as stack, pipe() as (other, peer):
        sources = [stack.enter_context(each())[0] for each, _ in CLOSED]
        for source, (_, flags) in zip(sources, CLOSED, strict=True):
            if flags & POLLOUT:
                fill(source)
            poller.register(source, note(log), flags)
            names.append(f"(descriptor {source.fileno()}) was closed")
        poller.register(other, reading(log, other))
        async with polling(poller):
            await settle()
            for source in sources:
                source.close()
            await immediately(lambda: failures.reach(len(sources)))
            for source in sources:
                with pytest.raises(KeyError):
                    poller.unregister(source)
            feed(peer, b"goes on")
            await log.reach(1)
    assert log == [b"goes on"]
    assert {type(exc) for exc in failures} == {anyio.ClosedResourceError}
    for source, name in zip(sources, names, strict=True):
        assert any(repr(source) in str(exc) and name in str(exc) for exc in failures)


@pytest.mark.usefixtures("checked_often")
async def test_a_source_that_was_closed_fails_a_poller_without_a_handler() -> None:
    async def close_early() -> None:
        with pipe() as (source, _):
            async with polling({source: note(Log())}):
                await settle()
                source.close()
                await anyio.sleep(1)

    with pytest.raises(UnhandledException) as info:
        await close_early()
    (exc,) = info.value.exceptions
    assert isinstance(exc, anyio.ClosedResourceError)


@pytest.mark.usefixtures("checked_often")
@pytest.mark.parametrize("flags", [POLLIN, POLLOUT, POLLIN | POLLOUT])
async def test_a_source_closed_before_the_poller_runs_is_the_same_error(
    flags: int, failures: Log
) -> None:
    with pair() as (source, _):
        poller = Poller({source: note(Log())}, flags, handler=lambda ev, exc: failures.append(exc))
        source.close()
        async with polling(poller):
            await immediately(lambda: failures.reach(1))
    assert isinstance(failures[0], anyio.ClosedResourceError)
    assert "closed" in str(failures[0])


@pytest.mark.parametrize("end", ["unregister", "shutdown", "cancel"])
@pytest.mark.parametrize("closed", ["before", "after"])
async def test_a_source_can_be_closed_when_the_poller_leaves_it(end: str, closed: str) -> None:
    with pair() as (source, _), anyio.fail_after(5):
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


@pytest.mark.usefixtures("checked_often")
async def test_a_source_closed_by_its_own_wire_is_the_same_error(failures: Log) -> None:
    with pipe() as (source, peer):
        poller = Poller({}, handler=lambda ev, exc: failures.append(exc))
        poller.register(source, lambda ev: source.close())
        async with polling(poller):
            feed(peer)
            await immediately(lambda: failures.reach(1))
    assert isinstance(failures[0], anyio.ClosedResourceError)


@pytest.mark.usefixtures("checked_often")
async def test_a_closed_source_whose_file_lives_on_costs_no_time(failures: Log) -> None:
    log = Log()
    with pipe() as (source, peer):
        copy = os.dup(source.fileno())
        try:
            poller = Poller({source: note(log)}, handler=lambda ev, exc: failures.append(exc))
            async with polling(poller):
                await settle()
                source.close()
                feed(peer)
                began = time.process_time()
                await immediately(lambda: failures.reach(1))
                await anyio.sleep(0.1)
                assert time.process_time() - began < 0.2
        finally:
            os.close(copy)
    assert log == []


# Numbers that are used again.


@pytest.mark.usefixtures("checked_often")
async def test_a_number_used_again_never_starts_the_wire_of_the_old_file(failures: Log) -> None:
    old, new = Log(), Log()
    with pipe() as (a, _), pipe() as (b, peer):
        number = os.dup(a.fileno())
        try:
            poller = Poller({number: note(old)}, handler=lambda ev, exc: failures.append(exc))
            async with polling(poller):
                await settle()
                os.dup2(b.fileno(), number)
                feed(peer)
                await immediately(lambda: failures.reach(1))
                poller.register(number, note(new))
                await new.reach(1)
        finally:
            os.close(number)
    assert old == []
    assert f"descriptor {number}" in str(failures[0])


async def test_a_number_used_again_while_its_wire_pauses_starts_nothing(failures: Log) -> None:
    log = Log()
    with pair(socket.SOCK_DGRAM) as (a, peer), pair(socket.SOCK_DGRAM) as (b, _):
        number = os.dup(a.fileno())
        try:
            peer.send(b"unread")
            poller = Poller({number: note(log)}, handler=lambda ev, exc: failures.append(exc))
            async with polling(poller):
                await log.reach(4)  # after pauses that grow
                os.dup2(b.fileno(), number)
                started = len(log)
                await immediately(lambda: failures.reach(1))
        finally:
            os.close(number)
    assert len(log) == started
    assert f"descriptor {number}" in str(failures[0])


async def test_a_number_used_again_while_it_waits_at_the_limit_starts_nothing(
    failures: Log,
) -> None:
    log, gate = Log(), anyio.Event()
    with pipe() as (a, a_peer), pipe() as (b, _), pipe() as (other, other_peer):
        number = os.dup(a.fileno())

        def start(ev: EventLoop) -> Any:
            read(other)
            return Call(gate.wait)

        try:
            poller = Poller(
                {other: start, number: note(log)},
                handler=lambda ev, exc: failures.append(exc),
                limit=1,
            )
            async with polling(poller):
                feed(other_peer)
                await settle()
                feed(a_peer)
                await settle()
                os.dup2(b.fileno(), number)
                gate.set()
                await immediately(lambda: failures.reach(1))
        finally:
            os.close(number)
    assert log == []


@pytest.mark.usefixtures("checked_often")
async def test_a_fifo_opened_again_under_the_same_number_is_an_error(
    failures: Log, tmp_path: Path, edges: bool
) -> None:
    log, path = Log(), tmp_path / "fifo"
    os.mkfifo(path)
    flags = os.O_RDWR | os.O_NONBLOCK
    number = os.open(path, flags)
    poller = Poller({number: reading(log, number)}, handler=lambda ev, exc: failures.append(exc))
    async with polling(poller):
        await settle()
        again = os.open(path, flags)
        os.dup2(again, number)
        os.write(again, b"x")
        await immediately(lambda: (failures if edges else log).reach(1))
    os.close(number)
    os.close(again)


@pytest.mark.usefixtures("checked_often")
async def test_a_source_that_its_own_wire_closed_is_reported_once(failures: Log) -> None:
    async def handler(ev: EventLoop, exc: Exception) -> None:
        failures.append(exc)
        await anyio.sleep(0.1)  # while others are looked at

    with pipe() as (source, peer):

        def read_and_close(ev: EventLoop) -> None:
            read(source)
            source.close()

        async with polling(Poller({source: read_and_close}, handler=handler)):
            feed(peer)
            await failures.reach(1)
            await anyio.sleep(0.15)
    assert len(failures) == 1


@pytest.mark.usefixtures("checked_often")
async def test_the_wire_of_a_handler_has_the_handler_too(failures: Log) -> None:
    def fail(ev: EventLoop) -> None:
        raise ValueError

    def handler(ev: EventLoop, exc: Exception) -> Any:
        failures.append(exc)
        return fail if len(failures) == 1 else None

    with pipe() as (source, _):
        async with polling(Poller({source: note(Log())}, handler=handler)):
            await settle()
            source.close()
            await failures.reach(2)
    assert isinstance(failures[1], ValueError)


async def test_a_number_can_be_registered_again_at_once_for_its_new_file() -> None:
    old, new = Log(), Log()
    with pipe() as (a, _), pipe() as (b, peer):
        number = os.dup(a.fileno())
        try:
            async with polling({number: note(old)}) as poller:
                await settle()
                for n in range(1, 4):
                    poller.unregister(number)
                    os.dup2(b.fileno(), number)
                    poller.register(number, reading(new, number))
                    feed(peer)
                    await immediately(lambda n=n: new.reach(n))
        finally:
            os.close(number)
    assert old == []


@pytest.mark.usefixtures("checked_often")
@pytest.mark.parametrize("closed", ["before", "after"])
@pytest.mark.parametrize("number", [200, 900])
async def test_a_number_can_be_unregistered_and_closed_in_any_order(
    number: int, closed: str
) -> None:
    with pipe() as (a, _):
        source = os.dup2(a.fileno(), number)
        async with polling({source: note(Log())}) as poller:
            await settle()
            if closed == "before":
                os.close(source)
            poller.unregister(int(str(number)))  # equal, and not the same object
            if closed == "after":
                os.close(source)
            await anyio.sleep(0.06)


async def test_input_for_a_descriptor_that_was_closed_and_lives_on_in_a_copy() -> None:
    # It cannot be taken out of an epoll object any more, which goes on to tell of its input.
    log, other_log = Log(), Log()
    with pipe() as (a, a_peer), pipe() as (b, b_peer):
        source = os.dup(a.fileno())
        async with polling({source: note(log), b: reading(other_log, b)}) as poller:
            await settle()
            os.close(source)
            poller.unregister(source)
            for n in (1, 2):
                feed(a_peer)
                feed(b_peer)
                await other_log.reach(n)
            await settle()
    assert log == []
