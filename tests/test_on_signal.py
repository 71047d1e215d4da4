"""``OnSignal``: wires that run when a signal arrives."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from signal import SIGINT, SIGTERM, SIGUSR1, SIGUSR2
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import aiowire
from aiowire import Call, EventLoop, Handle, OnSignal, Timeout, UnhandledException, Wire, done
from aiowire._signals import restore

from .support import Log, run_to_end

USED = (SIGINT, SIGTERM, SIGUSR1, SIGUSR2)


@pytest.fixture
def run(backend_name: str) -> Callable[..., None]:
    """Run wires; afterwards each signal does what it did before."""

    def run(*wires: Any) -> None:
        before = [signal.getsignal(number) for number in USED]
        try:
            aiowire.run(*wires, backend=backend_name, timeout=10)
        finally:
            assert [signal.getsignal(number) for number in USED] == before

    return run


def test_a_wire_runs_each_time_that_the_signal_arrives(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        ev.start(OnSignal(SIGUSR1, SIGUSR2, Call(log.append, "x")), background=True)
        await anyio.wait_all_tasks_blocked()
        for n, number in enumerate((SIGUSR1, SIGUSR2, SIGUSR1), 1):
            signal.raise_signal(number)
            await log.reach(n)
        await anyio.wait_all_tasks_blocked()
        assert log == ["x"] * 3

    run(main)


def test_a_signal_that_arrives_during_a_run_is_kept(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()

        async def work() -> None:
            log.append("begins")
            if len(log) == 1:
                signal.raise_signal(SIGUSR1)
                await anyio.wait_all_tasks_blocked()
            log.append("ends")

        listening = OnSignal(SIGUSR1, Call(work))
        ev.start(listening, background=True)
        await anyio.wait_all_tasks_blocked()
        signal.raise_signal(SIGUSR1)
        await log.reach(4)
        assert log == ["begins", "ends"] * 2

    run(main)


def test_each_of_several_wires_hears_a_signal(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        for n in range(3):
            ev.start(OnSignal(SIGUSR1, Call(log.append, n)), background=True)
        await anyio.wait_all_tasks_blocked()
        signal.raise_signal(SIGUSR1)
        await log.reach(3)
        assert sorted(log) == [0, 1, 2]

    run(main)


async def two(ev: EventLoop, log: Log) -> Handle:
    """Start two that hear a signal; give the first."""
    first = ev.start(OnSignal(SIGUSR1, Call(log.append, "first")))
    await anyio.wait_all_tasks_blocked()
    ev.start(OnSignal(SIGUSR1, Call(log.append, "second")), background=True)
    await anyio.wait_all_tasks_blocked()
    return first


def test_when_one_ends_the_others_go_on_to_hear(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        first = await two(ev, log)
        first.cancel()
        await first.wait()
        await anyio.wait_all_tasks_blocked()
        signal.raise_signal(SIGUSR1)
        await log.reach(1)
        assert log == ["second"]

    run(main)


def test_when_one_ends_in_the_moment_of_a_signal_the_others_hear_it(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        first = await two(ev, log)
        signal.raise_signal(SIGUSR1)
        first.cancel()
        for _ in range(8):  # no moment of these belongs to nobody
            signal.raise_signal(SIGUSR1)
            await checkpoint()
        await log.reach(9)
        assert log == ["second"] * 9

    run(main)


def test_a_signal_that_is_given_twice_is_one(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        ev.start(OnSignal(SIGUSR1, SIGUSR1, Call(log.append, "x")), background=True)
        await anyio.wait_all_tasks_blocked()
        signal.raise_signal(SIGUSR1)
        await anyio.wait_all_tasks_blocked()
        assert log == ["x"]

    run(main)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
async def test_afterwards_the_signal_is_handled_as_before(handler: Any) -> None:
    before = signal.signal(SIGUSR1, handler)
    try:
        for _ in range(2):
            await run_to_end(Timeout(OnSignal(SIGUSR1, done), 0.001))
            assert signal.getsignal(SIGUSR1) is handler
    finally:
        signal.signal(SIGUSR1, before)


def test_a_handler_that_python_does_not_know_is_the_default_afterwards() -> None:
    restore(SIGUSR1, None)
    assert signal.getsignal(SIGUSR1) is signal.SIG_DFL


def test_it_ends_when_its_loop_is_to_stop(run: Any) -> None:
    def main(ev: EventLoop) -> None:
        ev.start(OnSignal(SIGUSR1, Wire(lambda ev: ev.stop())))
        ev.start(OnSignal(SIGUSR2, Call(print)))
        ev.start(Call(anyio.wait_all_tasks_blocked) >> Call(signal.raise_signal, SIGUSR1))

    run(main)


def test_the_loop_of_the_wire_is_the_one_around(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        ev.start(OnSignal(SIGUSR1, Wire(lambda given: log.append(given is ev))), background=True)
        await anyio.wait_all_tasks_blocked()
        signal.raise_signal(SIGUSR1)
        await log.reach(1)
        assert log == [True]

    run(main)


def test_ctrl_c_is_a_signal_as_any_other(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        log = Log()
        ev.start(OnSignal(SIGINT, Call(log.append, "x")), background=True)
        await anyio.wait_all_tasks_blocked()
        for n in range(1, 4):
            signal.raise_signal(SIGINT)
            await log.reach(n)

    run(main)


def test_ctrl_c_is_an_interrupt_again_afterwards(run: Any) -> None:
    async def main(ev: EventLoop) -> None:
        await Timeout(OnSignal(SIGINT, Call(print)), 0.01)(ev)
        signal.raise_signal(SIGINT)
        await anyio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_a_failure_is_that_of_the_wire(run: Any) -> None:
    def fail() -> None:
        raise ValueError("bad")

    def main(ev: EventLoop) -> None:
        ev.start(OnSignal(SIGUSR1, Call(fail)))
        ev.start(Call(anyio.wait_all_tasks_blocked) >> Call(signal.raise_signal, SIGUSR1))

    with pytest.raises(UnhandledException) as info:
        run(main)
    (failure,) = info.value.exceptions
    assert str(failure) == "bad"


async def test_in_another_thread_it_is_refused() -> None:
    with pytest.raises(UnhandledException) as info:
        await anyio.to_thread.run_sync(aiowire.run, OnSignal(SIGUSR1, Call(checkpoint)))
    (failure,) = info.value.exceptions
    assert isinstance(failure, RuntimeError)
    assert "works in the main thread only" in str(failure)
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((), TypeError, r"write OnSignal\(signal, ..., wire\)"),
        ((SIGUSR1,), TypeError, r"write OnSignal\(signal, ..., wire\)"),
        ((SIGUSR1, 3), TypeError, "a wire is a callable that takes the event loop, got 3"),
        ((0, print), ValueError, "0 is not a signal"),
        (("x", print), ValueError, "'x' is not a signal"),
        ((signal.SIGKILL, print), ValueError, "SIGKILL cannot be received"),
    ],
)
def test_bad_arguments(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        OnSignal(*arguments)


def test_its_text() -> None:
    assert repr(OnSignal(SIGTERM, SIGINT, Call(print))) == "OnSignal(SIGTERM, SIGINT, Call(print))"
