"""What aiowire 3.1 got wrong, one test each."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import anyio
import pytest

from aiowire import Call, EventLoop, Poller, Repeat, Sequence, UnhandledException, Wire, done, never

from .support import Log, feed, immediately, pipe, polling, read, run_to_end, settle


def steps(log: Log, *texts: str) -> Wire:
    """A wire that takes a step for each text."""

    async def step(ev: EventLoop, n: int = 0) -> Wire | None:
        await anyio.lowlevel.checkpoint()
        log.append(texts[n])
        return Wire(step, n + 1) if n + 1 < len(texts) else None

    return Wire(step)


async def test_a_sequence_runs_in_order() -> None:
    log = Log()
    await run_to_end(steps(log, "a1", "a2", "a3") >> steps(log, "b1", "b2") >> steps(log, "c"))
    assert log == ["a1", "a2", "a3", "b1", "b2", "c"]


async def test_what_follows_a_repetition_runs_after_it() -> None:
    log = Log()
    await run_to_end((steps(log, "a1", "a2") * 3) >> steps(log, "b"))
    assert log == ["a1", "a2"] * 3 + ["b"]


@pytest.mark.parametrize(
    "make",
    [
        lambda log: Repeat(steps(log, "a"), 3),
        lambda log: steps(log, "a", "a") >> steps(log, "a"),
        lambda log: Sequence(steps(log, "a"), steps(log, "a") * 2),
    ],
    ids=["Repeat", ">>", "Sequence"],
)
async def test_a_wire_can_be_started_again(make: Callable[[Log], Wire]) -> None:
    log = Log()
    wire = make(log)
    for n in (1, 2, 3):
        await run_to_end(wire)
        assert len(log) == 3 * n
    await run_to_end(wire, wire)
    assert len(log) == 15


async def test_a_plain_function_can_be_returned() -> None:
    log = Log()

    def first(ev: EventLoop) -> Any:
        return second

    async def second(ev: EventLoop) -> Any:
        return lambda ev: log.append("third")

    await run_to_end(first)
    assert log == ["third"]


@contextlib.asynccontextmanager
async def cleaning_up(log: Log, timeout: float | None = None) -> Any:
    """Run a block in which two wires, one of them slow to clean up, wait for ever."""

    async def wait(ev: EventLoop, rounds: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(rounds):
                    await anyio.lowlevel.checkpoint()
            log.append("clean")

    async with EventLoop(timeout) as ev:
        ev.start(Wire(wait, 1))
        ev.start(Wire(wait, 50))
        await settle()
        yield ev


async def time_out(log: Log) -> None:
    async with cleaning_up(log, timeout=0.3) as ev:
        pass
    assert ev.timed_out
    log.append("left")


async def fail_in_a_wire(log: Log) -> None:
    with contextlib.suppress(UnhandledException):
        async with cleaning_up(log) as ev:
            ev.start(Call(int, "no number"))
    log.append("left")


async def fail_in_the_body(log: Log) -> None:
    with contextlib.suppress(ValueError):
        async with cleaning_up(log):
            raise ValueError
    log.append("left")


async def cancel_from_outside(log: Log) -> None:
    with anyio.CancelScope() as scope:
        async with cleaning_up(log):
            scope.cancel()
    log.append("left")


@pytest.mark.parametrize("end", [time_out, fail_in_a_wire, fail_in_the_body, cancel_from_outside])
async def test_clean_up_is_awaited_before_the_block_is_left(end: Any) -> None:
    log = Log()
    await end(log)
    assert log == ["clean", "clean", "left"]


@pytest.mark.parametrize("how", ["step", "rest", "part", "junk", "repetition"])
async def test_a_handler_gets_every_failure_of_its_wire(how: str) -> None:
    failures = Log()

    def fail(ev: EventLoop) -> None:
        raise ValueError

    wires: dict[str, Any] = {
        "step": fail,
        "rest": lambda ev: Wire(fail),
        "part": done >> Wire(fail) >> done,
        "junk": lambda ev: 3,
        "repetition": Wire(lambda ev: Sequence(done, fail)) * 3,
    }
    async with EventLoop() as ev:
        ev.start(wires[how], lambda ev, exc: failures.append(exc))
    assert [type(exc) for exc in failures] == [TypeError if how == "junk" else ValueError]


async def test_a_wire_that_is_slow_to_read_is_started_once() -> None:
    starts = Log()
    with pipe() as (source, peer):

        async def read_late(ev: EventLoop) -> None:
            starts.append("start")
            await anyio.sleep(0.05)
            read(source)

        async with polling({source: read_late}):
            feed(peer)
            await starts.reach(1)
            await anyio.sleep(0.1)
    assert len(starts) == 1


async def test_a_wire_that_never_reads_makes_no_storm() -> None:
    starts = Log()
    with pipe() as (source, peer):
        async with polling({source: Call(starts.append, "received input")}):
            feed(peer)
            await starts.reach(1)
            await anyio.sleep(0.1)
    assert len(starts) == 1 or (len(starts) < 10 and sys.platform != "linux")


async def test_register_unregister_and_shutdown_act_at_once() -> None:
    log = Log()
    with pipe() as (source, peer):
        async with EventLoop() as ev:
            poller = Poller({}, interval=10_000)
            handle = ev.start(poller)
            await settle()
            feed(peer)
            poller.register(source, lambda ev: log.append(read(source)))
            await immediately(lambda: log.reach(1), 5)
            feed(peer)
            poller.unregister(source)
            await settle()
            assert len(log) == 1
            poller.shutdown()
            await immediately(handle.wait, 5)


async def test_a_socket_object_is_a_source() -> None:
    log = Log()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept(ev: EventLoop) -> None:
            connection, _ = server.accept()
            poller.register(connection, Wire(answer, connection))

        def answer(ev: EventLoop, connection: socket.socket) -> None:
            data = connection.recv(100)
            log.append(data)
            if not data:
                poller.unregister(connection)
                connection.close()

        async with polling({server: accept}) as poller:
            with socket.create_connection(server.getsockname()) as client:
                client.send(b"hello")
                await log.reach(1)
            await log.reach(2)
    assert log == [b"hello", b""]


async def test_two_pollers_can_watch_one_pipe_in_turn() -> None:
    log = Log()
    with pipe() as (source, peer):
        for poller in (Poller({source.fileno(): lambda ev: log.append(read(source))}),) * 2:
            for _ in range(2):
                async with polling(poller):
                    feed(peer)
                    await log.reach(len(log) + 1)
    assert len(log) == 4


async def test_a_sequence_of_100_000_parts_runs() -> None:
    log: list[int] = []

    def count(ev: EventLoop) -> None:
        log.append(1)

    from_the_left: Wire = done
    from_the_right: Wire = done
    for _ in range(100_000):
        from_the_left = from_the_left >> count
        from_the_right = count >> from_the_right
    await run_to_end(from_the_left, from_the_right)
    assert len(log) == 200_000


async def count_calls_per_step(idle_wires: int) -> float:
    """Count the functions that run, in Python and in C, while a chain takes 100 steps."""
    calls: list[str] = []

    async def step(ev: EventLoop, left: int) -> Any:
        if left == 100:
            sys.setprofile(lambda frame, event, arg: calls.append(event))
        await anyio.lowlevel.checkpoint()
        if left:
            return Wire(step, left - 1)
        sys.setprofile(None)
        return ev.cancel()

    async with EventLoop() as ev:
        for _ in range(idle_wires):
            ev.start(never)
        await settle()
        ev.start(Wire(step, 100))
    return len(calls) / 100


async def test_a_step_costs_the_same_whatever_the_number_of_wires() -> None:
    alone = await count_calls_per_step(0)
    among_many = await count_calls_per_step(300)
    assert among_many < 1.5 * alone


async def test_unhandled_failures_are_a_group_with_a_cause() -> None:
    errors = ValueError("first"), KeyError("in the clean-up")

    began = anyio.Event()

    async def fail(ev: EventLoop) -> None:
        await began.wait()
        raise errors[0]

    async def fail_in_clean_up(ev: EventLoop) -> None:
        try:
            began.set()
            await anyio.sleep_forever()
        finally:
            raise errors[1]

    with pytest.raises(UnhandledException) as info:
        await run_to_end(fail, fail_in_clean_up)
    assert info.value.exceptions == errors
    assert info.value.__cause__ is errors[0]
    assert info.value.split(ValueError)[0].exceptions == (errors[0],)


async def test_the_time_limit_counts_from_entering_the_block() -> None:
    async with EventLoop(timeout=0.05) as ev:
        await anyio.sleep_forever()
    assert ev.timed_out


def test_the_types_are_there_for_strict_checkers() -> None:
    """They are checked, on good calls and on bad ones, by ``typing/check.py``."""
    assert files("aiowire").joinpath("py.typed").is_file()
