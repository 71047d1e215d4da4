"""A poller of ZeroMQ sockets at the moments at which its short cuts meet other calls."""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

import aiowire
import aiowire.zmq
from aiowire import Call, EventLoop, Poller, UnhandledException, _watch, never
from aiowire._watch import Session
from aiowire.backends import Readiness, _calls, _uses, _waiters
from aiowire.backends._owned import FORKED

from .support import Log, immediately, note, pair, pipe, polling, run_to_end, settle
from .test_zmq_hazards import parked
from .zeromq_support import connected, send

if TYPE_CHECKING:
    from collections.abc import Iterator

contexts = pytest.mark.parametrize(
    "make_context", [zmq.Context, aiowire.zmq.Context], ids=["plain", "awaitable"]
)


# What is told to stop.


@contexts
@pytest.mark.parametrize("who", ["its own wire", "another"])
@pytest.mark.parametrize("how", ["shutdown", "unregister"])
async def test_the_first_step_goes_on_though_its_source_was_ready_at_the_start(
    make_context: Any, who: str, how: str
) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        send(peer, b"order")

        def stop() -> None:
            if how == "shutdown":
                poller.shutdown()
            else:
                poller.unregister(source)

        async def work(ev: EventLoop) -> None:
            log.append("begins")
            if who == "its own wire":
                stop()
            await settle()
            log.append("ends")

        poller = Poller({source: work})
        async with polling(poller):
            await log.reach(1)
            if who == "another":
                stop()
            await log.reach(2)


@contextmanager
def source_of(kind: str) -> Iterator[tuple[Any, Any]]:
    """A source, and a function that gives it something to read."""
    if kind == "socket":
        with pair() as (source, peer):
            yield source, lambda: peer.send(b"x")
    elif kind == "pipe":
        with pipe() as (source, peer):
            yield source, lambda: peer.write(b"x")
    else:
        with connected({"plain": zmq, "awaitable": aiowire.zmq}[kind].Context) as (source, peer):
            yield source, lambda: peer.send(b"x")


@pytest.mark.parametrize("kind", ["socket", "pipe", "plain", "awaitable"])
async def test_what_was_unregistered_may_be_closed_just_when_input_comes(kind: str) -> None:
    for turns in range(8):
        with source_of(kind) as (source, feed):
            async with polling({source: note(Log())}) as poller:
                await settle()
                feed()
                for _ in range(turns):
                    await checkpoint()
                poller.unregister(source)
                source.close()
                await settle()


@pytest.mark.parametrize("kind", ["plain", "awaitable"])
async def test_what_was_left_unread_may_be_taken_and_the_source_closed(kind: str) -> None:
    log = Log()
    with source_of(kind) as (source, feed):
        async with polling({source: note(log)}) as poller:
            feed()
            await log.reach(2)
            message = source.recv()
            if kind == "awaitable":
                await message
            poller.unregister(source)
            source.close()
            await settle()


# To whom a socket belongs.


async def test_a_poller_of_a_socket_of_the_parent_process_is_refused() -> None:
    with connected(aiowire.zmq.Context) as (source, _):
        poller = Poller({source: note(Log())})
        before, source._waiters._thread = source._waiters._thread, FORKED
        with pytest.raises(UnhandledException) as info:
            await run_to_end(poller)
        source._waiters._thread = before
    assert "before the process was forked" in str(info.value.exceptions[0])


async def test_a_poller_in_another_thread_is_refused(backend_name: str) -> None:
    log = Log()
    with connected(aiowire.zmq.Context) as (source, peer):
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                assert await source.recv() == b"x"

            tasks.start_soon(receive)
            await parked(source)
            poller = Poller({source: note(log)})
            send(peer, b"x")
            with pytest.raises(UnhandledException) as info:
                await anyio.to_thread.run_sync(
                    lambda: aiowire.run(poller, backend=backend_name), abandon_on_cancel=True
                )
    assert "belongs to another thread" in str(info.value.exceptions[0])
    assert log == []


@pytest.mark.parametrize("quick", [False, True], ids=["slow", "quick"])
async def test_a_task_that_waits_in_another_loop_is_known_also_while_it_spins(
    quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiters, "SPIN", 3600)
    with connected(aiowire.zmq.Context) as (source, _):
        source._waiters._is_quick = quick
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.recv)
            await parked(source)
            monkeypatch.setattr(
                anyio.lowlevel, "current_token", lambda: SimpleNamespace(native_token=None)
            )
            with pytest.raises(RuntimeError, match="is waited for in another event loop"):
                await source.recv()
            monkeypatch.undo()
            tasks.cancel_scope.cancel()


async def test_a_call_in_another_loop_leaves_the_task_that_listens_its_net(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cannot be woken from there, and so must not be taken for woken."""
    monkeypatch.setattr(_waiters, "RECHECK", 0.05)
    with connected(aiowire.zmq.Context) as (source, peer):
        source._waiters.first_recheck = 0.05
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.recv)
            await parked(source)
            peer.send(b"x")
            with monkeypatch.context() as patch:
                patch.setattr(_waiters, "is_running", lambda token: False)
                source.get(zmq.EVENTS)
            assert source._waiters._is_listening


# Who looks although nobody has told.


class Observed(_calls.Calls):
    """Those who wait for a socket; a poller looks often, and notes that."""

    looks, listens = Log(), Log()

    def inspect(self) -> None:
        self.looks.append(self)
        super().inspect()

    async def _listen(self, seconds: float) -> None:
        self.listens.append(seconds)
        await super()._listen(seconds)


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> type[Observed]:
    monkeypatch.setattr(_waiters, "RECHECK", 0.004)
    monkeypatch.setattr(_watch, "CHECK_SECONDS", 0.004)
    monkeypatch.setattr(Observed, "looks", Log())
    monkeypatch.setattr(Observed, "listens", Log())
    monkeypatch.setattr(aiowire.zmq._socket, "Calls", Observed)
    monkeypatch.setattr(_uses, "Calls", Observed)
    return Observed


@contexts
async def test_a_silent_socket_is_looked_at_by_the_poller_alone(
    make_context: Any, observed: type[Observed]
) -> None:
    """To wake the task of each socket for that would cost more."""
    with connected(make_context) as (source, _):
        async with polling({source: note(Log())}):
            await observed.looks.reach(50)
    assert observed.listens[-1] == math.inf
    assert len(observed.listens) <= 5  # a plain one after 1, 2 and 4 ms, too


async def test_where_nobody_waits_nothing_can_be_missed() -> None:
    with connected(aiowire.zmq.Context) as (source, peer):
        peer.send(b"x")
        source._waiters.inspect()
        assert source.missed_edges == 0


async def test_when_the_poller_has_ended_the_task_that_listens_looks_again(
    observed: type[Observed],
) -> None:
    log = Log()

    async def receive() -> None:
        log.append(await source.recv())

    with connected(aiowire.zmq.Context) as (source, peer):
        shadow = zmq.Socket.shadow(source.underlying)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await parked(source)
            async with polling({source: never}):
                while math.inf not in observed.listens:
                    await observed.listens.reach(len(observed.listens) + 1)
            peer.send(b"hidden")
            shadow.get(zmq.EVENTS)
            await immediately(lambda: log.reach(1), 5)
        assert source.missed_edges == 1


async def test_what_the_poller_finds_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "CHECK_SECONDS", 0.004)
    log = Log()
    with connected(aiowire.zmq.Context) as (source, peer):
        shadow = zmq.Socket.shadow(source.underlying)
        async with polling({source: Call(source.recv) >> Call(log.append, 0)}):
            for n in (1, 2, 3):
                await parked(source)
                peer.send(b"hidden")
                shadow.get(zmq.EVENTS)
                await immediately(lambda n=n: log.reach(n), 5)
                assert source.missed_edges == n


# What is not seen.


async def starts_in(seconds: float, log: Log) -> int:
    """How often a wire is started in so many seconds."""
    before = len(log)
    await anyio.sleep(seconds)
    return len(log) - before


def waiters_of(source: Any) -> Any:
    """Give those who wait for a socket that is watched."""
    return source.recv.uses.waiters if type(source) is zmq.Socket else source._waiters


@contexts
async def test_a_message_that_another_took_unseen_is_not_taken_for_one_of_the_wire(
    make_context: Any,
) -> None:
    log = Log()
    with connected(make_context) as (source, peer):
        shadow = zmq.Socket(shadow=source.underlying)
        async with polling({source: note(log)}):
            for _ in range(2):
                send(peer, b"x")
                await log.reach(len(log) + 2)
                while not waiters_of(source).told:  # the poller waits before it starts it again
                    await checkpoint()
                with suppress(zmq.Again):
                    while True:
                        shadow.recv(zmq.NOBLOCK)
                await settle()
            send(peer, b"x")
            assert await starts_in(0.3, log) <= 10


class Counting(zmq.Socket[bytes]):
    """A socket of one's own, with a method that receives nothing."""

    def count(self, log: Log) -> None:
        log.append("count")

    def recv(  # type: ignore[override]
        self, flags: int = 0, copy: bool = True, track: bool = False, *, note: str = ""
    ) -> Any:
        return note.encode() + super().recv(flags, copy, track)


class CountingContext(zmq.Context[Counting]):
    _socket_class = Counting


async def test_a_method_that_receives_nothing_is_not_taken_for_one_that_does() -> None:
    log = Log()
    with connected(CountingContext) as (source, peer):
        send(peer, b"x")
        async with polling({source: Call(source.count, log)}):
            assert await starts_in(0.3, log) <= 10


async def test_a_recv_of_ones_own_keeps_its_parameters() -> None:
    log = Log()
    with connected(CountingContext) as (source, peer):

        def receive(ev: EventLoop) -> None:
            log.append(source.recv(zmq.NOBLOCK, note="got "))

        async with polling({source: receive}):
            for n in range(1, 3):
                send(peer, b"x")
                await log.reach(n)
    assert log == [b"got x"] * 2


# Turns.


async def test_watches_that_are_busy_share_the_time_until_others_have_their_turn() -> None:
    session = Session(EventLoop(), list, None)
    turns = [SimpleNamespace(until=float("inf")) for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for turn in turns:
            tasks.start_soon(session.give_turns, turn)
    left = sorted(turn.until for turn in turns)
    assert left[-1] - left[0] > 0.0005  # a quarter of a millisecond the first, a whole the last


class Broken(Readiness):
    """A source of which nobody can say whether it is ready."""

    def look(self, flags: int) -> Any:
        return self.fail

    def fail(self) -> bool:
        raise OSError("broken")

    async def wait(self, flags: int) -> bool:
        return True


async def test_a_look_that_fails_ends_the_watch() -> None:
    failures = Log()
    poller = Poller({Broken(): note(Log())}, handler=lambda ev, exc: failures.append(exc))
    async with polling(poller):
        await immediately(lambda: failures.reach(1))
        await settle()
    assert [str(each) for each in failures] == ["broken"]
