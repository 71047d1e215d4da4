"""The rota of a poller, which serves the sources whose wires only read.

A source comes there with its second event. So each of these tests begins with two that are read,
and the wire does what is tested at a later one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from itertools import groupby
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import POLLIN, POLLOUT, Call, EventLoop, Poller, UnhandledException
from aiowire.backends._arrivals import Arrivals

from .clock import Clock
from .support import (
    Log,
    feed,
    immediately,
    many,
    on_asyncio,
    pair,
    pipe,
    polling,
    read,
    settle,
    tcp,
)

KINDS = ["socket", "pipe", "number"]


@contextmanager
def opened(kind: str) -> Iterator[tuple[Any, Any]]:
    """Open a source and its peer."""
    with pair() if kind == "socket" else pipe() as (source, peer):
        if kind != "number":
            yield source, peer
            return
        number = os.dup(source.fileno())
        status = os.fstat(number)
        source.close()
        try:
            yield number, peer
        finally:
            with suppress(OSError):  # unless the test has closed it
                if os.path.samestat(os.fstat(number), status):
                    os.close(number)


class Served:
    """A source with its peer, the poller, and a log of what was read, byte by byte."""

    poller: Poller

    def __init__(self, source: Any, peer: Any, act: Act | None) -> None:
        self.source, self.peer = source, peer
        self.act = act
        self.log = Log()

    def wire(self, ev: EventLoop) -> Any:
        """Read a byte, and do what is tested."""
        data = read(self.source, 1)
        self.log.append(data)
        return None if self.act is None else self.act(self, ev, data)

    async def say(self, data: bytes) -> None:
        """Make an event, and see that the wire has read it."""
        number = len(self.log)
        feed(self.peer, data)
        await immediately(lambda: self.log.reach(number + 1))
        await settle()


async def say_twice(peer: socket.socket, log: Log, data: bytes) -> None:
    """Make two events, and see that the wire has read each."""
    for number in (1, 2):
        peer.send(data)
        await log.reach(number)
        await settle()


Act = Callable[[Served, EventLoop, bytes], Any]


@asynccontextmanager
async def serving(kind: str, act: Act | None = None, **options: Any) -> AsyncIterator[Served]:
    """Run a poller of one source, whose first two events were read."""
    with opened(kind) as (source, peer):
        served = Served(source, peer, act)
        async with polling({source: served.wire}, **options) as served.poller:
            await served.say(b".")
            await served.say(b".")
            yield served


@pytest.mark.parametrize("kind", KINDS)
async def test_what_steps_leave_is_finished_and_later_events_are_served(kind: str) -> None:
    ends = Log()

    async def later() -> Any:
        await checkpoint()
        ends.append("async")
        return Call(ends.append, "rest of async")

    def act(served: Served, ev: EventLoop, data: bytes) -> Any:
        if data == b"f":
            raise ValueError("of a step")
        if data == b"a":
            return later()
        return Call(ends.append, "rest") if data == b"r" else None

    def handler(ev: EventLoop, exc: Exception) -> None:
        ends.append(str(exc))

    async with serving(kind, act, handler=handler) as served:
        for data in (b".", b"a", b".", b"r", b"f", b".", b"r", b"."):
            await served.say(data)
    assert b"".join(served.log) == b"...a.rf.r."
    assert ends == ["async", "rest of async", "rest", "of a step", "rest"]


@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_is_left_unread_is_read_at_once(kind: str) -> None:
    async with serving(kind) as served:
        feed(served.peer, b"x" * 1000)
        await immediately(lambda: served.log.reach(1002))
        await settle()
    assert len(served.log) == 1002


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wire_that_reads_no_more_is_started_once_for_each_arrival(kind: str) -> None:
    starts = Log()
    with opened(kind) as (source, peer):

        def wire(ev: EventLoop) -> None:
            starts.append(None)
            if len(starts) <= 2:
                read(source)

        def started(number: int) -> Callable[[], Awaitable[None]]:
            return lambda: starts.reach(number)

        async with polling({source: wire}):
            for number in range(1, 6):
                feed(peer)
                await immediately(started(number))
                await settle()
                assert len(starts) == number


@pytest.mark.parametrize("kind", KINDS)
async def test_it_goes_on_when_as_much_has_come_as_was_read(kind: str) -> None:
    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"x" and len(served.log) < 100:
            feed(served.peer, b"x")

    async with serving(kind, act) as served:
        feed(served.peer, b"x")
        await immediately(lambda: served.log.reach(100))
        await settle()
    assert len(served.log) == 100


@pytest.mark.parametrize("kind", KINDS)
async def test_each_start_has_a_context_of_its_own(kind: str) -> None:
    var: ContextVar[int] = ContextVar("var", default=0)
    seen = Log()

    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        seen.append(var.get())
        var.set(var.get() + 1)

    async with serving(kind, act) as served:
        feed(served.peer, b"xxx")
        await immediately(lambda: seen.reach(5))
    assert seen == [0] * 5


@pytest.mark.parametrize("kind", KINDS)
async def test_its_own_wire_can_unregister_it(kind: str) -> None:
    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"u":
            served.poller.unregister(served.source)

    async with serving(kind, act) as served:
        await served.say(b"u")
        feed(served.peer, b"xxx")
        await settle()
        with pytest.raises(KeyError):
            served.poller.unregister(served.source)
    assert b"".join(served.log) == b"..u"


@pytest.mark.parametrize("kind", KINDS)
async def test_it_can_be_unregistered_while_it_waits_and_registered_again(kind: str) -> None:
    again = Log()
    async with serving(kind) as served:
        served.poller.unregister(served.source)
        served.poller.register(served.source, lambda ev: again.append(read(served.source, 1)))
        feed(served.peer, b"xyz")
        await immediately(lambda: again.reach(3))
        served.poller.unregister(served.source)
        feed(served.peer, b"x")
        await settle()
    assert again == [b"x", b"y", b"z"]


@pytest.mark.parametrize("kind", KINDS)
async def test_its_own_wire_can_shut_the_poller_down_which_can_run_again(kind: str) -> None:
    log = Log()
    with opened(kind) as (source, peer):

        def wire(ev: EventLoop) -> None:
            log.append(read(source, 1))
            if log[-1] == b"s":
                poller.shutdown()

        poller = Poller({source: wire})
        for data in (b"...s", b"s", b".s"):
            feed(peer, data)
            async with EventLoop(timeout=5) as ev:
                ev.start(poller)
            assert not ev.timed_out
    assert b"".join(log) == b"...ss.s"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_interrupt_in_a_wire_leaves_the_loop(kind: str) -> None:
    class Interrupt(BaseException):
        pass

    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"i":
            raise Interrupt

    async def run() -> None:
        async with serving(kind, act) as served:
            feed(served.peer, b"i")
            await anyio.sleep(5)

    with pytest.raises(Interrupt):
        await run()


@pytest.mark.filterwarnings("error")  # of a coroutine that was never awaited
@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_in_which_all_is_cancelled_is_cancelled_where_it_waits(kind: str) -> None:
    begun = Log()

    async def later() -> None:
        begun.append("begun")
        await checkpoint()
        begun.append("went on")

    def act(served: Served, ev: EventLoop, data: bytes) -> Any:
        if data != b"c":
            return None
        ev.cancel()
        return later()

    async with serving(kind, act) as served:
        feed(served.peer, b"c")
        await anyio.sleep(5)
    assert b"".join(served.log) == b"..c"
    assert begun == ["begun"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_of_the_step_in_which_all_is_cancelled_is_raised(
    kind: str, failure: type[BaseException]
) -> None:
    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"c":
            ev.cancel()
            raise failure

    async def run() -> None:
        async with serving(kind, act) as served:
            feed(served.peer, b"c")
            await anyio.sleep(5)

    with pytest.raises((failure, UnhandledException)) as caught:
        await run()
    raised = caught.value
    assert isinstance(getattr(raised, "exceptions", [raised])[0], failure)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_end_of_the_input_starts_the_wire_one_last_time(kind: str) -> None:
    async with serving(kind) as served:
        feed(served.peer, b"xy")
        served.peer.close()
        await immediately(lambda: served.log.reach(5))
        await settle()
        with pytest.raises(KeyError):
            served.poller.unregister(served.source)
    assert served.log == [b".", b".", b"x", b"y", b""]


@pytest.mark.parametrize("unread", [b"", b"x"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_that_its_wire_closed_is_an_error_once(kind: str, unread: bytes) -> None:
    failures = Log()

    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"c":
            os.close(served.source) if kind == "number" else served.source.close()

    def handler(ev: EventLoop, exc: Exception) -> None:
        failures.append(type(exc))

    async with serving(kind, act, handler=handler) as served:
        feed(served.peer, b"c" + unread)
        await failures.reach(1)
        await settle()
    assert failures == [anyio.ClosedResourceError]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_that_its_wire_unregistered_and_closed_is_no_error(kind: str) -> None:
    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"c":
            served.poller.unregister(served.source)
            os.close(served.source) if kind == "number" else served.source.close()

    async with serving(kind, act) as served:
        await served.say(b"cx")
    assert b"".join(served.log) == b"..c"


async def test_an_object_that_was_closed_without_its_descriptor_starts_its_wire_on() -> None:
    log = Log()
    with pipe() as (reader, peer), os.fdopen(reader.fileno(), "rb", 0, closefd=False) as source:

        def wire(ev: EventLoop) -> None:
            log.append(read(reader, 1))
            if log[-1] == b"c":
                source.close()

        async with polling({source: wire}):
            for number, data in enumerate((b".", b".", b"c", b".", b"."), 1):
                feed(peer, data)
                await log.reach(number)
                await settle()


async def test_what_arrives_while_a_source_waits_for_its_turn_is_all_read() -> None:
    with many(2) as ((busy, busy_peer), (other, other_peer)):
        log, others = Log(), Log()

        def wire(ev: EventLoop) -> None:
            log.append(read(busy, 1))
            if log[-1] == b"x" and len(log) < 100:
                feed(other_peer)
                feed(busy_peer)

        async with polling({busy: wire, other: lambda ev: others.append(read(other, 1))}):
            for data in (b".", b".", b"x"):
                feed(other_peer)
                feed(busy_peer, data)
                await settle()
            await immediately(lambda: others.reach(100))
    assert len(log) == 100
    assert len(others) == 100


async def test_sources_that_are_always_ready_share_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With this clock a source of two has time for some steps of a millisecond."""
    monkeypatch.setattr("aiowire._rota.monotonic", Clock())
    order = Log()
    with many(2) as sources:

        def reading(number: int) -> Callable[[EventLoop], None]:
            source, _ = sources[number]

            def wire(ev: EventLoop) -> None:
                read(source, 1)
                order.append(number)

            return wire

        async with polling({source: reading(n) for n, (source, _) in enumerate(sources)}):
            for data in (b".", b".", b"x" * 100):
                await settle()
                order.clear()
                for _, peer in sources:
                    feed(peer, data)
            await immediately(lambda: order.reach(200))
    first_end = min(max(i for i, each in enumerate(order) if each == n) for n in range(2))
    turns = [sum(1 for _ in same) for _, same in groupby(order[:first_end])]
    assert 1 < max(turns) < 10


async def test_those_in_the_rota_and_one_that_reads_by_itself_have_fair_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock is looked at once or twice in each step, so that steps are equally long."""
    clock = Clock()
    for module in ("_rota", "_watch", "_worker", "_chain"):
        monkeypatch.setattr(f"aiowire.{module}.monotonic", clock)
    starts = [0] * 11
    with many(11) as sources:

        def wire(number: int, source: Any, peer: Any) -> Callable[[EventLoop], Any]:
            def plain(ev: EventLoop) -> None:
                starts[number] += 1
                feed(peer, read(source, 1))

            async def by_itself(ev: EventLoop) -> None:
                plain(ev)

            return plain if number else by_itself

        async with polling({s: wire(n, s, peer) for n, (s, peer) in enumerate(sources)}) as poller:
            for _, peer in sources:
                feed(peer)
            while sum(starts) < 2000:
                await checkpoint()
            poller.shutdown()
    assert max(starts) < 4 * min(starts)


@on_asyncio
async def test_a_wire_that_cancels_the_task_it_happens_to_run_in_stops_nobody() -> None:
    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"c":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    with pipe() as (other, other_peer):
        others = Log()
        async with serving("socket", act) as served:
            served.poller.register(other, lambda ev: others.append(read(other, 1)))
            for number in (1, 2):
                feed(other_peer)
                await others.reach(number)
            feed(served.peer, b"c")
            await served.log.reach(3)
            await settle()
            await served.say(b"x")
            feed(other_peer)
            await immediately(lambda: others.reach(3))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_somebody_else_has_read_does_not_make_it_deaf(kind: str) -> None:
    """An edge has told of it, and when its turn comes there is nothing."""
    with pair() as (other, other_peer):
        async with serving(kind) as served:

            def steal(ev: EventLoop) -> None:
                if read(other) == b"steal":
                    read(served.source)

            served.poller.register(other, steal)
            for data in (b".", b".", b"steal"):
                feed(other_peer, data)
                if data == b"steal":
                    feed(served.peer, b"s")
                await settle()
            for data in (b"1", b"2", b"3"):
                await served.say(data)
    assert b"".join(served.log).replace(b"s", b"") == b"..123"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_arrives_while_the_edges_are_collected_is_not_taken_for_unread(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much as the wire then reads; so the number of bytes will be the same after that."""
    feeds: list[bytes] = []
    peers: list[Any] = []
    collect = Arrivals.collect

    def collect_when_more_has_come(self: Arrivals) -> None:
        if feeds:
            feed(peers[0], feeds.pop(0))
        collect(self)

    monkeypatch.setattr(Arrivals, "collect", collect_when_more_has_come)
    async with serving(kind) as served:
        feed(served.peer, b"1")
        peers.append(served.peer)
        feeds.extend([b"", b"2"])  # when it is roused, and when it looks
        await immediately(lambda: served.log.reach(4))
    assert b"".join(served.log) == b"..12"


async def test_input_behind_urgent_data_is_read() -> None:
    """At the mark there are no bytes to read, and more behind it."""
    with tcp() as (source, peer):
        log = Log()
        async with polling({source: lambda ev: log.append(source.recv(100))}):
            await say_twice(peer, log, b".")
            peer.send(b"abc")
            peer.send(b"!", socket.MSG_OOB)
            peer.send(b"def")
            await immediately(lambda: log.reach(4))
            for number in (5, 6):
                peer.send(b"x")
                await immediately(lambda number=number: log.reach(number))  # type: ignore[misc]
                await settle()
    assert b"".join(log) == b"..abcdefxx"


async def test_input_below_the_mark_of_a_socket_starts_nothing() -> None:
    with tcp() as (source, peer):
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
        log = Log()
        async with polling({source: lambda ev: log.append(source.recv(10))}):
            await say_twice(peer, log, b"x" * 10)
            peer.send(b"x" * 15)
            await log.reach(3)
            await settle()
            assert len(log) == 3
            peer.send(b"x" * 5)
            await log.reach(4)
    assert log == [b"x" * 10] * 4


@pytest.mark.parametrize("kind", KINDS)
async def test_another_file_under_its_number_never_starts_its_wire(kind: str) -> None:
    failures = Log()
    with pair() as (foreign, foreign_peer):
        feed(foreign_peer, b"foreign")

        def act(served: Served, ev: EventLoop, data: bytes) -> None:
            if data == b"c":
                source = served.source
                number = source if isinstance(source, int) else source.fileno()
                os.dup2(foreign.fileno(), number)

        def handler(ev: EventLoop, exc: Exception) -> None:
            failures.append(type(exc))

        async with serving(kind, act, handler=handler) as served:
            feed(served.peer, b"c")
            await failures.reach(1)
            await settle()
            if kind == "number":
                os.close(served.source)
    assert b"".join(served.log) == b"..c"
    assert failures == [anyio.ClosedResourceError]


async def test_sources_that_are_always_ready_leave_turns_to_others() -> None:
    def act(served: Served, ev: EventLoop, data: bytes) -> None:
        if data == b"x":
            feed(served.peer, b"x")  # so that there is always something to read

    turns = 0
    async with serving("socket", act) as served:
        feed(served.peer, b"x")
        await immediately(lambda: served.log.reach(100))
        for _ in range(100):
            number = len(served.log)
            await checkpoint()
            turns += len(served.log) > number
        served.poller.unregister(served.source)
    assert turns


async def test_what_arrives_elsewhere_while_a_source_is_busy_is_told() -> None:
    """Of a source whose wire waits, so that it is not served in turns itself.

    What is left to read at the busy one grows less each time, and needs no look at what has come.
    """
    log, much = Log(), 50_000
    with pair() as (source, peer):

        async def wire(ev: EventLoop) -> None:
            await checkpoint()
            log.append(read(source))

        async with serving("socket") as served:
            served.poller.register(source, wire)
            feed(served.peer, b"x" * much)
            await served.log.reach(100)
            for number in range(1, 4):
                feed(peer, b"y")
                await log.reach(number)
            assert len(served.log) < much  # it is busy still
            served.poller.unregister(served.source)
    assert log == [b"y"] * 3


async def test_a_stream_of_which_the_system_counts_no_bytes_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOTTY, "no count")

    monkeypatch.setattr("aiowire.backends._unread.fcntl.ioctl", refuse)
    monkeypatch.setattr("aiowire.backends._descriptor.ioctl", refuse)
    async with serving("socket") as served:
        for data in (b"1", b"2", b"3"):
            await served.say(data)
    assert b"".join(served.log) == b"..123"


@pytest.mark.parametrize("taken", ["by the wire", "before the mark is met"])
async def test_input_behind_urgent_data_that_was_taken_is_read(taken: str) -> None:
    """Nothing tells of urgent data any more then, but there are no bytes to read at the mark."""
    with tcp() as (source, peer):
        log, urgent = Log(), Log()

        def wire(ev: EventLoop) -> None:
            log.append(source.recv(100))
            if taken == "by the wire" and b"?" in log[-1]:
                urgent.append(source.recv(1, socket.MSG_OOB))

        async with polling({source: wire}):
            await say_twice(peer, log, b".")
            peer.send(b"a?")
            peer.send(b"!", socket.MSG_OOB)
            if taken == "before the mark is met":
                urgent.append(source.recv(1, socket.MSG_OOB))
            await immediately(lambda: urgent.reach(1))
            peer.send(b"b")
            await immediately(lambda: log.reach(4))
            peer.send(b"c")
            await immediately(lambda: log.reach(5))
    assert b"".join(log) == b"..a?bc"
    assert urgent == [b"!"]


async def test_a_socket_that_listens_only_after_it_was_registered_is_served() -> None:
    accepted = Log()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        poller = Poller({server: lambda ev: accepted.append(server.accept()[0])})
        server.listen()
        try:
            async with polling(poller):
                for number in (1, 2, 3):
                    with socket.create_connection(server.getsockname()):
                        await immediately(lambda number=number: accepted.reach(number))  # type: ignore[misc]
        finally:
            for each in accepted:
                each.close()


async def test_the_same_file_may_be_put_back_under_its_number() -> None:
    log, failures = Log(), Log()
    with pair() as (source, peer):
        number = os.dup(source.fileno())

        def wire(ev: EventLoop) -> None:
            log.append(os.read(number, 1))

        def handler(ev: EventLoop, exc: Exception) -> None:
            failures.append(type(exc))

        try:
            async with polling({number: wire}, handler=handler) as poller:
                await settle()
                os.close(number)
                await failures.reach(1)
                assert os.dup2(source.fileno(), number) == number
                poller.register(number, wire)
                feed(peer, b"a")
                await immediately(lambda: log.reach(1))
        finally:
            os.close(number)
    assert (log, failures) == ([b"a"], [anyio.ClosedResourceError])


@pytest.mark.parametrize("passes", range(12))
async def test_another_file_never_starts_a_wire_that_reads_and_writes(passes: int) -> None:
    """Whenever the number is given to it after input has arrived."""
    wrong, failures = Log(), Log()
    with tcp() as (source, peer), tcp() as (other, _):
        number, inode = source.fileno(), os.fstat(source.fileno()).st_ino
        source.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                source.send(b"x" * 65536)  # until it cannot be written

        def wire(ev: EventLoop) -> None:
            if os.fstat(number).st_ino != inode:
                wrong.append("start")

        def handler(ev: EventLoop, exc: Exception) -> None:
            failures.append(type(exc))

        options: Any = {"default_flags": POLLIN | POLLOUT, "handler": handler}
        async with polling({source: wire}, **options):
            await settle()
            peer.send(b"hello")
            for _ in range(passes):
                await checkpoint()
            os.dup2(other.fileno(), number)
            await failures.reach(1)
    assert not wrong
    assert failures == [anyio.ClosedResourceError]
