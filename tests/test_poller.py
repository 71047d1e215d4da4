"""The poller: what can be registered, what runs, and how that ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import aiowire
from aiowire import POLLIN, Call, EventLoop, Poller, Wire

from .support import (
    Log,
    feed,
    immediately,
    note,
    pair,
    pipe,
    polling,
    read,
    reading,
    run_to_end,
    settle,
)


def wire(ev: EventLoop) -> None:
    """A wire that is not started."""


async def test_a_refused_registration_changes_nothing() -> None:
    log = Log()
    with pipe() as (source, peer):
        async with polling({source: reading(log, source)}) as poller:
            for bad in ((source, wire), (source.fileno(), wire), (source, 3), (source, wire, 9)):
                with pytest.raises((IndexError, TypeError, ValueError)):
                    poller.register(*bad)
            feed(peer)
            await log.reach(1)
            poller.unregister(source)
            with pytest.raises(KeyError):
                poller.unregister(source)


def test_the_flags_have_the_values_of_zmq() -> None:
    zmq = pytest.importorskip("zmq")
    assert (aiowire.POLLIN, aiowire.POLLOUT) == (zmq.POLLIN, zmq.POLLOUT)


def test_a_poller_is_a_wire_that_reads_as_what_it_watches() -> None:
    poller = Poller({0: wire})
    assert isinstance(poller, Wire)
    assert repr(poller) == "Poller({0: wire})"
    assert repr(poller >> wire) == "Poller({0: wire}) >> wire"
    assert (poller.default_flags, poller.interval) == (POLLIN, 1000)


# Changing a poller, from anywhere.


async def test_a_source_registered_while_it_runs_is_watched_at_once() -> None:
    log = Log()
    with pipe() as (first, first_peer), pipe() as (second, second_peer):

        def add(ev: EventLoop) -> None:
            log.append(read(first))
            poller.register(second, reading(log, second))

        async with polling({first: add}) as poller:
            feed(second_peer, b"second")
            feed(first_peer, b"first")
            await immediately(lambda: log.reach(2))
    assert log == [b"first", b"second"]


@pytest.mark.parametrize("by", ["the body", "its own wire", "another wire"])
async def test_an_unregistered_source_starts_its_wire_no_more(by: str) -> None:
    log, others = Log(), Log()
    with pipe() as (source, peer), pipe() as (other, other_peer):

        def start(ev: EventLoop) -> None:
            log.append(read(source))
            if by == "its own wire":
                poller.unregister(source)

        def start_other(ev: EventLoop) -> None:
            others.append(read(other))
            if by == "another wire":
                poller.unregister(source)

        async with polling({source: start, other: start_other}) as poller:
            feed(peer)
            await log.reach(1)
            if by == "the body":
                poller.unregister(source)
            feed(other_peer)
            await others.reach(1)
            feed(peer)
            await settle()
            with pytest.raises(KeyError):
                poller.unregister(source)
    assert len(log) == 1


async def test_a_source_made_ready_and_unregistered_at_once_starts_nothing() -> None:
    log = Log()
    with pipe() as (source, peer):
        async with polling({source: note(log)}) as poller:
            await settle()
            feed(peer)
            poller.unregister(source)
            await settle()
    assert log == []


@pytest.mark.parametrize("by", ["the body", "its own wire"])
async def test_a_source_can_be_given_another_wire_at_once(by: str) -> None:
    log, new = Log(), Log()
    with pair() as (source, peer):

        def swap() -> None:
            poller.unregister(source)
            poller.register(source, reading(new, source))

        async def start(ev: EventLoop) -> None:
            log.append(read(source))
            if by == "its own wire":
                swap()
                await settle()

        async with polling({source: start}) as poller:
            feed(peer, b"a")
            await log.reach(1)
            if by == "the body":
                swap()
            for n in (1, 2, 3):
                feed(peer, b"%d" % n)
                await immediately(lambda n=n: new.reach(n))
                await settle()
    assert log == [b"a"]
    assert new == [b"1", b"2", b"3"]


async def test_unregistering_leaves_a_step_under_way_alone() -> None:
    began, ended = Log(), Log()
    with pipe() as (source, peer):

        async def slow(ev: EventLoop) -> Any:
            began.append(read(source))
            await settle()
            return Call(ended.append, "rest")

        async with polling({source: slow}) as poller:
            feed(peer)
            await began.reach(1)
            poller.unregister(source)
            await ended.reach(1)


async def test_it_can_be_changed_before_it_runs() -> None:
    log = Log()
    with pipe() as (a, peer_a), pipe() as (b, peer_b):
        poller = Poller({a: note(log, "a")})
        poller.register(b, reading(log, b))
        poller.unregister(a)
        async with polling(poller):
            feed(peer_a)
            feed(peer_b, b"b")
            await log.reach(1)
            await settle()
    assert log == [b"b"]


# The end.


@pytest.mark.parametrize("by", ["the body", "a wire of its own", "another wire"])
async def test_shutdown_ends_it_at_once(by: str) -> None:
    with pipe() as (source, peer):
        poller = Poller({source: lambda ev: poller.shutdown()}, interval=None)
        async with EventLoop() as ev:
            handle = ev.start(poller)
            await settle()
            if by == "the body":
                poller.shutdown()
            elif by == "another wire":
                ev.start(lambda ev: poller.shutdown())
            else:
                feed(peer)
            await immediately(handle.wait, 5)


@pytest.mark.parametrize("sources", [True, False])
async def test_shutdown_before_it_runs_ends_the_next_run_only(sources: bool) -> None:
    log = Log()
    with pipe() as (source, peer):
        feed(peer)
        poller = Poller({source: reading(log, source)} if sources else {})
        poller.shutdown()
        await run_to_end(poller)
        assert log == []
        if sources:
            async with polling(poller):
                await log.reach(1)


async def test_it_goes_on_without_sources_until_shut_down() -> None:
    log = Log()
    with pipe() as (source, peer):
        async with polling({}) as poller:
            await settle()
            poller.register(source, reading(log, source))
            feed(peer)
            await log.reach(1)


async def test_it_can_be_started_again_with_what_is_registered() -> None:
    log = Log()
    with pipe() as (source, peer):
        poller = Poller({source: reading(log, source)})
        for n in (1, 2, 3):
            async with polling(poller):
                feed(peer)
                await log.reach(n)
            with pytest.raises(IndexError):
                poller.register(source, wire)


async def test_shutdown_lets_steps_and_rests_finish() -> None:
    ended = Log()
    gate = anyio.Event()
    with pipe() as (a, peer_a), pipe() as (b, peer_b):

        async def step(ev: EventLoop) -> Any:
            read(a)
            await gate.wait()
            return Call(ended.append, "rest of a slow step")

        async def rest(ev: EventLoop) -> None:
            await gate.wait()
            ended.append("slow rest")

        async with EventLoop() as ev:
            poller = Poller({a: step, b: lambda ev: Wire(rest) if read(b) else None})
            handle = ev.start(poller)
            feed(peer_a)
            feed(peer_b)
            await settle()
            poller.shutdown()
            await settle()
            assert not handle.done
            gate.set()
            await handle.wait()
    assert sorted(ended) == ["rest of a slow step", "slow rest"]


async def test_cancelling_it_cancels_its_steps_and_rests_and_cleans_up() -> None:
    ended = Log()
    with pipe() as (a, peer_a), pipe() as (b, peer_b):

        async def work(ev: EventLoop) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                    ended.append("cleaned up")

        async with EventLoop() as ev:
            poller = Poller({a: work, b: lambda ev: work})
            handle = ev.start(poller)
            feed(peer_a)
            feed(peer_b)
            await settle()
            handle.cancel()
            await handle.wait()
            assert ended == ["cleaned up"] * 2
            again = ev.start(poller)  # it is as good as new
            await settle()
            again.cancel()
    assert len(ended) == 4


async def test_it_runs_once_at_a_time() -> None:
    async with EventLoop() as ev:
        poller = Poller({})
        first = ev.start(poller)
        failures = Log()
        second = ev.start(poller, lambda ev, exc: failures.append(exc))
        await second.wait()
        assert not first.done
        poller.shutdown()
    assert isinstance(failures[0], RuntimeError)
    assert "running already" in str(failures[0])


@pytest.mark.parametrize("ends", ["shutdown", "cancel", "time-out"])
async def test_it_runs_in_nested_loops(ends: str) -> None:
    log = Log()
    with pipe() as (source, peer):
        poller = Poller({source: reading(log, source)})

        async def nested(ev: EventLoop) -> None:
            async with EventLoop(0.05 if ends == "time-out" else None) as inner:
                inner.start(poller)
                feed(peer)
                await log.reach(1)
                if ends == "shutdown":
                    poller.shutdown()
                elif ends == "cancel":
                    inner.cancel()

        while not log:  # on a busy machine the time may run out before the input is read
            await run_to_end(nested)
        before = len(log)
        async with polling(poller):
            feed(peer)
            await log.reach(before + 1)
