"""SIGINT and SIGTERM, sent to programs in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import anyio
import pytest

import aiowire
from aiowire import Call, EventLoop
from aiowire._crew import Crew
from aiowire._loop import hosts
from aiowire._signals import Signals
from aiowire._worker import Worker

from .support import Log

PROGRAM = """\
import os
import signal
import sys
import time

import anyio

from aiowire import Call, EventLoop, Forever, OnSignal, Wire


async def idle(ev):
    try:
        print("began")
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            print("cleaning")
            await anyio.wait_readable(0)
            print("cleaned")


def busy(ev):
    ev.start(Forever(lambda ev: None))
    ev.start(spin)
    return Call(idle, ev)


async def spin(ev):
    return spin


async def fail_at_end(ev):
    try:
        print("began")
        await anyio.sleep_forever()
    finally:
        raise ValueError("in clean-up")


async def parent(ev):
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(1000)"]
    async with await anyio.open_process(command) as child:
        await child.stdout.receive()
        print(child.pid)
        await child.wait()


async def exit_at_end(ev):
    try:
        print("began")
        await anyio.sleep_forever()
    finally:
        sys.exit(7)


async def listen(ev):
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        print("began")
        async for number in signals:
            print("heard", number.name)
            return


say = Call(print, "ran")


def server(ev):
    stop = Call(print, "stops") >> Call(ev.stop, 5)
    ev.start(OnSignal(signal.SIGTERM, stop), background=True)
    ev.start(OnSignal(signal.SIGINT, Call(ev.stop, 0)), background=True)
    ev.start(Call(beat), background=True)
    ev.start(Forever(Call(anyio.sleep, 0.001)))
    ev.start(work)


async def beat():
    try:
        await anyio.sleep_forever()
    finally:
        print("no more beats")


async def work(ev):
    print("began")
    try:
        await anyio.wait_readable(0)
        print("done")
    finally:
        print("ends")


async def until_input(ev):
    print("began")
    await anyio.wait_readable(0)


def block(ev):
    ev.start(idle)
    return Call(anyio.sleep, 0.001) >> Call(hold)


def hold():
    try:
        print("holding")
        while True:  # one long sleep would miss a signal that comes just before it
            time.sleep(0.01)
    finally:
        print("let go")
"""


class Child:
    """A running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def line(self) -> str:
        """Wait until it prints a line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def lines(self, n: int) -> list[str]:
        return [self.line() for _ in range(n)]

    def send(self, *signals: signal.Signals) -> None:
        for each in signals:
            self._process.send_signal(each)

    def end(self, text: str = "") -> tuple[int, str, str]:
        """Give it input; wait for its end; give its status, and what it printed meanwhile."""
        out, err = self._process.communicate(text, timeout=30)
        return self._process.returncode, out, err


@pytest.fixture(autouse=True)
def heed_signals() -> Iterator[None]:
    """Let the programs heed both signals, also where SIGINT is ignored, as in the background."""
    before = {number: signal.getsignal(number) for number in STATUS}
    for number in STATUS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., AbstractContextManager[Child]]:
    """Run Python in a process of its own, in a folder with the program above.

    Its coverage is measured on request only: a Ctrl-C that strikes anywhere may strike between
    the two lines of coverage that take a lock, which then nobody gives back.
    """
    (tmp_path / "program.py").write_text(PROGRAM)
    path = {"PYTHONPATH": str(Path(aiowire.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE

    @contextmanager
    def start(*args: str, measured: bool = False) -> Iterator[Child]:
        env = os.environ | path
        if not measured:
            env.pop("COVERAGE_PROCESS_CONFIG", None)
        with subprocess.Popen(
            [sys.executable, "-W", "error", *args],
            cwd=tmp_path,
            env=env,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        ) as process:
            try:
                yield Child(process)
            finally:
                process.kill()

    return start


@pytest.fixture
def aiowire_run(
    python: Callable[..., AbstractContextManager[Child]], backend_name: str
) -> Callable[..., AbstractContextManager[Child]]:
    """Run the command, after some code that prepares it for the test."""

    def start(target: str, prepare: str = "") -> AbstractContextManager[Child]:
        code = f"import sys, aiowire.__main__ as command\n{prepare}\nsys.exit(command.main())"
        return python("-c", code, "run", target, "--backend", backend_name, measured=True)

    return start


Run = Callable[..., AbstractContextManager[Child]]

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
each_signal = pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)

# The command.


def test_sigterm_can_be_an_orderly_stop(aiowire_run: Run) -> None:
    with aiowire_run("program.py:server") as child:
        assert child.line() == "began"
        child.send(signal.SIGTERM)
        assert child.line() == "stops"
        status, out, err = child.end("go on\n")
    assert (status, out, err) == (0, "done\nends\nno more beats\n", "")


def test_a_stop_without_grace_cancels(aiowire_run: Run) -> None:
    with aiowire_run("program.py:server") as child:
        assert child.line() == "began"
        child.send(signal.SIGINT)
        assert sorted(child.lines(2)) == ["ends", "no more beats"]
        assert child.end() == (0, "", "")


@each_signal
@pytest.mark.parametrize("wire", ["idle", "busy"])
def test_signal_cancels_and_lets_clean_up(
    aiowire_run: Run, wire: str, number: signal.Signals
) -> None:
    with aiowire_run(f"program:{wire}") as child:
        assert child.line() == "began"
        child.send(number)
        assert child.line() == "cleaning"
        assert child.end("go on") == (STATUS[number], "cleaned\n", "")


@each_signal
def test_more_signals_do_not_disturb_the_clean_up(aiowire_run: Run, number: signal.Signals) -> None:
    with aiowire_run("program:idle") as child:
        assert child.line() == "began"
        child.send(number)
        assert child.line() == "cleaning"
        child.send(signal.SIGTERM, signal.SIGINT)
        assert child.end("go on") == (STATUS[number], "cleaned\n", "")


def test_signals_that_come_together(aiowire_run: Run) -> None:
    with aiowire_run("program:idle") as child:
        assert child.line() == "began"
        child.send(signal.SIGINT, signal.SIGTERM, signal.SIGINT)
        assert child.line() == "cleaning"
        status, out, err = child.end("go on")
    assert status in STATUS.values()  # the kernel may deliver the later one first
    assert (out, err) == ("cleaned\n", "")


@each_signal
def test_programs_that_wires_run_are_reaped(aiowire_run: Run, number: signal.Signals) -> None:
    with aiowire_run("program:parent") as child:
        pid = int(child.line())
        child.send(number)
        assert child.end() == (STATUS[number], "", "")
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@each_signal
def test_failure_in_clean_up_is_shown(aiowire_run: Run, number: signal.Signals) -> None:
    with aiowire_run("program:fail_at_end") as child:
        assert child.line() == "began"
        child.send(number)
        status, _, err = child.end()
    assert status == STATUS[number]
    assert err.count("ValueError: in clean-up") == 1


def test_wire_may_choose_the_status_in_its_clean_up(aiowire_run: Run) -> None:
    with aiowire_run("program:exit_at_end") as child:
        assert child.line() == "began"
        child.send(signal.SIGTERM)
        assert child.end() == (7, "", "")


def test_wire_may_listen_for_a_signal_itself(aiowire_run: Run) -> None:
    with aiowire_run("program:listen") as child:
        assert child.line() == "began"
        child.send(signal.SIGTERM)
        assert child.end() == (0, "heard SIGTERM\n", "")


@each_signal
def test_signal_while_the_module_is_imported(
    python: Run, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "slow.py").write_text("import program\nprogram.hold()")
    with python("-m", "aiowire", "run", "slow:wire", measured=True) as child:
        assert child.line() == "holding"
        child.send(number)
        assert child.end() == (STATUS[number], "let go\n", "")


AROUND_LOOP = """
import anyio, os
def run(*args, run=anyio.run, **options):
    {before}
    failure = run(*args, **options)
    {after}
    return failure
anyio.run = run
"""


@each_signal
def test_signal_just_before_the_event_loop_runs(aiowire_run: Run, number: signal.Signals) -> None:
    kill = f"os.kill(os.getpid(), {number:d})"
    with aiowire_run("program:idle", AROUND_LOOP.format(before=kill, after="")) as child:
        assert child.end() == (STATUS[number], "", "")  # the wire does not begin


@each_signal
def test_signal_just_after_the_event_loop_ran(aiowire_run: Run, number: signal.Signals) -> None:
    kill = f"os.kill(os.getpid(), {number:d})"
    with aiowire_run("program:say", AROUND_LOOP.format(before="", after=kill)) as child:
        assert child.end() == (STATUS[number], "ran\n", "")


def test_a_second_signal_that_is_not_noticed_for_long_interrupts() -> None:
    signals, told = Signals(signal.SIGINT), Log()
    signals._stop = lambda: told.append("stop")
    signals.note(signal.SIGINT)
    signals._impatient_at = 0
    with pytest.raises(KeyboardInterrupt):
        signals.note(signal.SIGTERM)
    assert told == ["stop"]
    assert signals.first == signal.SIGINT


def test_code_that_holds_up_the_event_loop_is_interrupted_by_a_second_signal(
    python: Run, backend_name: str
) -> None:
    """Its coverage is not measured, see above: the interrupt strikes anywhere."""
    code = "import sys, aiowire._signals as s, aiowire.__main__ as command; s.PATIENCE = 0; "
    code += "sys.exit(command.main())"
    with python("-c", code, "run", "program:block", "--backend", backend_name) as child:
        assert child.lines(2) == ["began", "holding"]
        child.send(signal.SIGINT, signal.SIGTERM)
        assert child.lines(2) == ["let go", "cleaning"]
        status, out, err = child.end("go on")
    assert status in STATUS.values()
    assert (out, err) == ("cleaned\n", "")


def test_ignored_sigint_stays_ignored(aiowire_run: Run) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child inherits it
    with aiowire_run("program:idle") as child:
        assert child.line() == "began"
        child.send(signal.SIGINT, signal.SIGTERM)
        assert child.line() == "cleaning"
        assert child.end("go on") == (143, "cleaned\n", "")


def test_ignored_signals_stay_ignored(aiowire_run: Run) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with aiowire_run("program:until_input") as child:
        assert child.line() == "began"
        child.send(signal.SIGINT, signal.SIGTERM)
        assert child.end("input") == (0, "", "")


# Ctrl-C in programs of one's own.

OWN = """
import anyio, aiowire, program

async def main():
    async with aiowire.EventLoop() as ev:
        ev.start(program.{wire})

try:
    {call}
except BaseException as exc:
    print(repr(exc), exc.__cause__)
"""

WAYS = {
    "aiowire.run": "aiowire.run(program.{wire}, backend={name!r})",
    "anyio.run": "anyio.run(main, backend={backend[0]!r}, backend_options={backend[1]!r})",
    "asyncio": "import asyncio; asyncio.run(main())",
    "uvloop": "import uvloop; uvloop.run(main())",
    "trio": "import trio; trio.run(main)",
}


@pytest.mark.parametrize("way", ["aiowire.run", "anyio.run", "the event loop's own"])
@pytest.mark.parametrize("wire", ["idle", "busy"])
def test_ctrl_c_is_a_plain_keyboard_interrupt(
    python: Run, wire: str, way: str, backend_name: str, anyio_backend: Any
) -> None:
    if way != "aiowire.run" and backend_name != "trio" and sys.version_info < (3, 11):
        pytest.skip("asyncio interrupts itself there, and anyio.run() ends in a cancellation")
    call = WAYS[way if way in WAYS else backend_name]
    call = call.format(wire=wire, name=backend_name, backend=anyio_backend)
    with python("-c", OWN.format(wire=wire, call=call)) as child:
        assert child.line() == "began"
        child.send(signal.SIGINT)
        assert child.line() == "cleaning"
        # There may be a word about a coroutine that was interrupted before it was awaited.
        status, out, _ = child.end("go on")
    assert (status, out) == (0, "cleaned\nKeyboardInterrupt() None\n")


def test_pressing_ctrl_c_again_does_not_disturb_the_clean_up(
    python: Run, backend_name: str
) -> None:
    call = WAYS["aiowire.run"].format(wire="idle", name=backend_name)
    with python("-c", OWN.format(wire="idle", call=call)) as child:
        assert child.line() == "began"
        child.send(signal.SIGINT)
        assert child.line() == "cleaning"
        child.send(signal.SIGINT, signal.SIGINT)
        assert child.end("go on") == (0, "cleaned\nKeyboardInterrupt() None\n", "")


def test_ctrl_c_hides_no_failure_in_the_clean_up(python: Run, backend_name: str) -> None:
    call = WAYS["aiowire.run"].format(wire="fail_at_end", name=backend_name)
    with python("-c", OWN.format(wire="fail_at_end", call=call)) as child:
        assert child.line() == "began"
        child.send(signal.SIGINT)
        status, out, err = child.end()
    assert (status, err) == (0, "")
    assert out == "KeyboardInterrupt() a wire failed with no handler (1 sub-exception)\n"


def test_run_leaves_sigint_alone_where_the_program_handles_it(backend_name: str) -> None:
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, hear)
    aiowire.run(aiowire.Call(signal.raise_signal, signal.SIGINT), backend=backend_name)
    assert heard == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is hear


def test_run_works_in_other_threads(backend_name: str) -> None:
    ran: list[str] = []
    call = aiowire.Call(ran.append, "ran")
    thread = threading.Thread(target=lambda: aiowire.run(call, backend=backend_name))
    thread.start()
    thread.join()
    assert ran == ["ran"]


@pytest.mark.parametrize(
    "place",
    [Worker._wait, EventLoop._reset, EventLoop._close, EventLoop.__aexit__, Crew.drop_queue],
    ids=lambda place: place.__name__,
)
def test_ctrl_c_anywhere_in_the_library(anyio_backend: Any, place: FunctionType) -> None:
    # trio raises KeyboardInterrupt between any two instructions: here just as one begins that is
    # between a step and its wait, or between the body of a block and what is around it.
    if anyio_backend[0] == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("there anyio.run() ends in a cancellation")
    log: list[str] = []

    def press(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code is place.__code__:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    async def work(ev: EventLoop) -> None:
        try:
            log.append("began")
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            log.append("cleaned up")

    async def main() -> None:
        async with EventLoop() as ev:
            ev.start(Call(anyio.lowlevel.checkpoint))
        sys.setprofile(press)
        async with EventLoop(timeout=0.05) as ev:
            ev.start(work)
        await anyio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend=anyio_backend[0], backend_options=anyio_backend[1])
    assert log in ([], ["began", "cleaned up"])
    assert not hosts


def test_ctrl_c_ends_a_script_as_it_does_any_other(python: Run, backend_name: str) -> None:
    run = f"import aiowire, program; aiowire.run(program.idle, backend={backend_name!r})"
    with python("-c", run) as child:
        assert child.line() == "began"
        child.send(signal.SIGINT)
        status, out, err = child.end("go on")
    assert (status, out) == (-signal.SIGINT, "cleaning\ncleaned\n")
    assert "\nKeyboardInterrupt\n" in err
    assert "Group" not in err
