"""Running wires from ordinary code, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import aiowire
from aiowire import Call, EventLoop, Forever, UnhandledException, Wire, done, never

from .native import running_loop
from .steps import notes

Run = Callable[..., None]


@pytest.fixture
def run(backend_name: str) -> Run:
    """``aiowire.run`` on one of the backends."""
    return lambda *wires, **options: aiowire.run(*wires, backend=backend_name, **options)


def test_it_runs_wires_at_the_same_time_until_all_have_ended(run: Run) -> None:
    log: list[str] = []
    met = []

    async def meet(ev: EventLoop, name: str) -> Any:
        met.append(name)
        while len(met) < 3:
            await checkpoint()
        return Call(log.append, name)

    assert run(*[Wire(meet, name) for name in "abc"]) is None
    assert sorted(log) == ["a", "b", "c"]


def test_it_takes_any_callable_and_a_single_wire(run: Run) -> None:
    log: list[Any] = []

    async def wire(ev: EventLoop) -> None:
        log.append(type(ev))

    run(wire)
    run(lambda ev: log.append(type(ev)))
    assert log == [EventLoop] * 2


def test_at_its_timeout_everything_is_cancelled_and_cleaned_up(run: Run) -> None:
    log: list[str] = []

    async def work(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            log.append("cleaned up")

    run(work, never, timeout=0.5)
    assert log == ["cleaned up"]


def test_failures_leave_in_a_group(run: Run) -> None:
    with pytest.raises(UnhandledException) as info:
        run(never, Call(int, "x"))
    failure = info.value.__cause__
    assert isinstance(failure, ValueError)
    assert f"in wire Call(int, 'x'), started at {__file__}:" in notes(failure)[0]


@pytest.mark.parametrize("interrupt", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_interrupt_in_a_wire_leaves_plain(run: Run, interrupt: BaseException) -> None:
    def fail(ev: EventLoop) -> None:
        raise interrupt

    with pytest.raises(type(interrupt)) as info:
        run(never, Call(checkpoint) >> fail)
    assert info.value is interrupt


def test_wires_see_the_context_of_the_caller(run: Run) -> None:
    var: ContextVar[str] = ContextVar("var")
    var.set("caller")
    seen = []
    run(lambda ev: seen.append(var.get()))
    assert seen == ["caller"]


async def test_it_cannot_be_called_where_an_event_loop_runs(backend_name: str) -> None:
    with pytest.raises(RuntimeError):
        aiowire.run(done, backend=backend_name)


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(LookupError, match="no_such_backend"):
        aiowire.run(done, backend="no_such_backend")


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.usefixtures("anyio_backend")
def test_asyncio_is_the_backend_unless_one_is_named() -> None:
    libraries: list[str] = []
    aiowire.run(lambda ev: libraries.append(anyio.get_cancelled_exc_class().__module__))
    assert libraries == ["asyncio.exceptions"]


def test_options_go_to_the_backend(anyio_backend: Any) -> None:
    name, options = anyio_backend
    ran: list[bool] = []
    aiowire.run(lambda ev: ran.append(True), backend=name, backend_options=options)
    assert ran == [True]


@pytest.mark.parametrize("anyio_backend", ["uvloop"], indirect=True)
def test_uvloop_takes_the_options_of_asyncio(run: Run) -> None:
    debug: list[bool] = []
    run(lambda ev: debug.append(running_loop().get_debug()), backend_options={"debug": True})
    run(lambda ev: debug.append(running_loop().get_debug()))
    assert debug == [True, False]


# Ctrl-C.


def interrupt() -> None:
    """Do what Ctrl-C does, from another thread, as if at any moment."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def handler() -> Any:
    """Python's own handler of SIGINT, whatever the test run uses, and a look at what is left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def spin(ev: EventLoop) -> Any:
    return spin


async def idle(ev: EventLoop) -> None:
    await anyio.sleep_forever()


async def nested(ev: EventLoop) -> None:
    async with EventLoop() as inner:
        inner.start(never)
        await anyio.sleep_forever()


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize(
    "program",
    [idle, spin, Forever(Call(checkpoint)), nested],
    ids=["idle", "busy", "turns", "nested"],
)
def test_ctrl_c_leaves_as_keyboard_interrupt_with_everything_cleaned_up(
    run: Run, program: Any
) -> None:
    log: list[str] = []
    begun = threading.Event()

    async def work(ev: EventLoop) -> None:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            log.append("cleaned up")

    def press() -> None:
        begun.wait()
        interrupt()

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        # A pause now and then, since asyncio can miss a signal just as it goes to sleep.
        run(program, work, work, Forever(Call(anyio.sleep, 0.01)))
    thread.join()
    assert log == ["cleaned up"] * 2


@pytest.mark.usefixtures("handler")
def test_ctrl_c_in_the_step_of_a_wire_is_the_same(run: Run) -> None:
    log: list[str] = []

    async def press(ev: EventLoop) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await anyio.sleep_forever()
        finally:
            log.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run(Call(checkpoint) >> press, never)
    assert log == ["cleaned up"]


@pytest.mark.usefixtures("handler")
def test_ctrl_c_goes_before_failures_in_the_clean_up_and_carries_them(run: Run) -> None:
    async def work(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError

    press = Call(anyio.wait_all_tasks_blocked) >> Call(signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as info:
        run(work, press >> never)
    assert "UnhandledException" in "".join(traceback.format_exception(info.value))
