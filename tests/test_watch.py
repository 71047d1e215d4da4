"""What runs in a poller: first steps, rests, handlers, contexts and the limit."""

from __future__ import annotations

import sys
from contextvars import ContextVar, copy_context
from typing import Any

import anyio
import pytest

from aiowire import Call, EventLoop, Poller, UnhandledException, Wire

from .support import (
    Log,
    feed,
    many,
    pipe,
    polling,
    read,
    run_to_end,
    settle,
)

# Failures.


def fail(ev: EventLoop, source: Any) -> None:
    raise ValueError(read(source).decode())


async def fail_late(ev: EventLoop, source: Any) -> None:
    text = read(source).decode()
    await anyio.lowlevel.checkpoint()
    raise ValueError(text)


def fail_in_rest(ev: EventLoop, source: Any) -> Wire:
    return Wire(raise_text, read(source).decode())


def raise_text(ev: EventLoop, text: str) -> None:
    raise ValueError(text)


def junk(ev: EventLoop, source: Any) -> int:
    return len(read(source))


FAILING = [fail, fail_late, fail_in_rest]
failing = pytest.mark.parametrize("wire", FAILING)


@failing
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_failure_goes_to_the_handler_and_polling_goes_on(wire: Any, is_async: bool) -> None:
    failures = Log()

    def handle(ev: EventLoop, exc: Exception) -> None:
        failures.append((ev, str(exc)))

    async def handle_later(ev: EventLoop, exc: Exception) -> None:
        await anyio.lowlevel.checkpoint()
        failures.append((ev, str(exc)))

    with pipe() as (source, peer):
        async with EventLoop() as ev:
            handler = handle_later if is_async else handle
            poller = Poller({source: Wire(wire, source)}, handler=handler)
            ev.start(poller)
            for n in (1, 2, 3):
                feed(peer, b"%d" % n)
                await failures.reach(n)
            poller.shutdown()
    assert failures == [(ev, "1"), (ev, "2"), (ev, "3")]


@failing
async def test_the_wire_that_a_handler_returns_goes_on_in_its_place(wire: Any) -> None:
    log = Log()

    def handle(ev: EventLoop, exc: Exception) -> Wire:
        log.append(str(exc))
        if len(log) == 1:
            return Wire(raise_text, "again")  # under the same handler
        return Call(log.append, "in its place")

    with pipe() as (source, peer):
        async with polling({source: Wire(wire, source)}, handler=handle):
            feed(peer, b"first")
            await log.reach(3)
    assert log == ["first", "again", "in its place"]


@failing
async def test_a_failure_without_a_handler_is_that_of_the_poller(wire: Any) -> None:
    failures, rests = Log(), Log()

    async def wait(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            rests.append("cancelled")

    with pipe() as (source, peer), pipe() as (other, other_peer):

        def begin(ev: EventLoop) -> Any:
            read(other)
            return wait

        async with EventLoop() as ev:
            poller = Poller({source: Wire(wire, source), other: begin})
            handle = ev.start(poller, lambda ev, exc: failures.append(exc))
            feed(other_peer)
            await settle()
            feed(peer, b"text")
            await handle.wait()
    assert [type(exc) for exc in failures] == [ValueError]
    assert str(failures[0]) == "text"
    assert rests == ["cancelled"]


async def test_what_a_handler_raises_is_the_failure_of_the_poller() -> None:
    failures = Log()

    def handle(ev: EventLoop, exc: Exception) -> None:
        raise KeyError(str(exc)) from exc

    with pipe() as (source, peer):
        async with EventLoop() as ev:
            poller = Poller({source: Wire(fail, source)}, handler=handle)
            ev.start(poller, lambda ev, exc: failures.append(exc))
            feed(peer, b"text")
    assert [type(exc) for exc in failures] == [KeyError]


async def test_several_failures_at_once_are_a_group_of_all() -> None:
    with many(3) as pipes:

        async def both() -> None:
            for _, peer in pipes:
                feed(peer, b"text")
            await run_to_end(Poller({source: Wire(fail_at_end, source) for source, _ in pipes}))

        begun = Log()

        async def fail_at_end(ev: EventLoop, source: Any) -> None:
            begun.append(source)
            try:
                await begun.reach(3)
            finally:
                fail(ev, source)

        with pytest.raises(UnhandledException) as info:
            await both()
    (group,) = info.value.exceptions
    assert isinstance(group, UnhandledException)
    assert [type(exc) for exc in group.exceptions] == [ValueError] * 3


async def test_a_wire_that_returns_junk_is_a_failure_that_names_it() -> None:
    failures = Log()
    with pipe() as (source, peer):
        handler = lambda ev, exc: failures.append(exc)  # noqa: E731
        async with polling({source: Wire(junk, source)}, handler=handler):
            feed(peer, b"abc")
            await failures.reach(1)
    assert isinstance(failures[0], TypeError)
    assert "'junk' returned 3; a wire returns None or another wire" in str(failures[0])


async def test_a_failure_notes_the_wire_and_the_line_that_registered_it() -> None:
    failures = Log()
    handler = lambda ev, exc: failures.append(exc)  # noqa: E731
    with pipe() as (a, peer_a), pipe() as (b, peer_b):
        poller = Poller({a: Wire(fail, a)}, handler=handler)
        line = sys._getframe().f_lineno - 1
        poller.register(b, Wire(fail_in_rest, b))
        async with polling(poller):
            feed(peer_a)
            await failures.reach(1)
            feed(peer_b)
            await failures.reach(2)
    first, second = ("\n".join(exc.__notes__) for exc in failures)
    assert f"started at {__file__}:{line}" in first
    assert "Wire(fail, " in first
    assert f"started at {__file__}:{line + 2}" in second


async def test_an_interrupt_is_never_given_to_a_handler() -> None:
    failures = Log()

    def interrupt(ev: EventLoop) -> None:
        raise KeyboardInterrupt

    with pipe() as (source, peer):
        feed(peer)
        poller = Poller({source: interrupt}, handler=lambda ev, exc: failures.append(exc))
        with pytest.raises(KeyboardInterrupt):
            await run_to_end(poller)
    assert failures == []


# The loop that wires get.


async def test_wires_get_the_loop_in_which_the_poller_was_started() -> None:
    loops, handles = Log(), Log()
    with pipe() as (source, peer):

        def start(ev: EventLoop) -> Any:
            read(source)
            loops.append(ev)
            handles.append(ev.start(note_loop))
            return note_loop

        def note_loop(ev: EventLoop) -> None:
            loops.append(ev)

        async with EventLoop() as ev:
            poller = Poller({source: start})
            ev.start(poller)
            feed(peer)
            await loops.reach(3)
            poller.shutdown()
    assert loops == [ev] * 3


async def test_what_its_wires_start_outlives_the_poller() -> None:
    gate, log = anyio.Event(), Log()
    with pipe() as (source, peer):

        async def outlive(ev: EventLoop) -> None:
            await gate.wait()
            log.append("outlived")

        async with EventLoop() as ev:
            poller = Poller({source: lambda ev: ev.start(outlive) and poller.shutdown()})
            feed(peer)
            await ev.start(poller).wait()
            assert log == []
            gate.set()
    assert log == ["outlived"]


@pytest.mark.parametrize("where", ["first step", "rest"])
async def test_a_wire_cannot_wait_for_all_others_of_its_loop(where: str) -> None:
    failures = Log()
    with pipe() as (source, peer):

        async def wait_for_all(ev: EventLoop) -> None:
            await ev.run()

        def start(ev: EventLoop) -> Any:
            read(source)
            return wait_for_all

        wire = wait_for_all if where == "first step" else start
        handler = lambda ev, exc: failures.append(exc)  # noqa: E731
        async with polling({source: wire}, handler=handler) as poller:
            feed(peer)
            await failures.reach(1)
            poller.unregister(source)
    assert isinstance(failures[0], RuntimeError)
    assert "would wait for itself in ev.run()" in str(failures[0])


# Contexts.

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def test_a_wire_runs_in_a_copy_of_the_context_of_its_registration() -> None:
    seen = Log()
    with pipe() as (a, peer_a), pipe() as (b, peer_b):

        async def look(ev: EventLoop, source: Any) -> Wire:
            seen.append(variable.get())
            variable.set("changed by the step")
            read(source)
            await anyio.lowlevel.checkpoint()
            return Call(lambda: seen.append(variable.get()))

        def make() -> Poller:
            variable.set("of the poller")
            return Poller({a: Wire(look, a)})

        poller = copy_context().run(make)
        variable.set("of the body")
        async with polling(poller):
            for n in (1, 2):
                feed(peer_a)
                await seen.reach(2 * n)
            token = variable.set("of register")
            poller.register(b, Wire(look, b))
            variable.reset(token)
            feed(peer_b)
            await seen.reach(6)
        assert variable.get() == "of the body"
    assert seen[::2] == ["of the poller", "of the poller", "of register"]
    assert seen[1::2] == ["changed by the step"] * 3


async def test_a_handler_sees_what_the_wire_set() -> None:
    seen = Log()
    with pipe() as (source, peer):

        def set_and_fail(ev: EventLoop) -> None:
            variable.set("set by the step")
            fail(ev, source)

        handler = lambda ev, exc: seen.append(variable.get())  # noqa: E731
        async with polling({source: set_and_fail}, handler=handler):
            feed(peer)
            await seen.reach(1)
    assert seen == ["set by the step"]
