"""Programs as wires: their output in lines, their input, their end, and that nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from aiowire import Call, EventLoop, Process, Race, Timeout, UnhandledException, Wire, never
from aiowire._pipes import Lines
from aiowire._process import Program

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

from .steps import raised_by
from .support import STRESS, Log, label, run_to_end

MEGABYTE = 1 << 20


def python(code: str, **options: Any) -> Process:
    """A program of a few lines of Python, whose output is not held back."""
    return Process([sys.executable, "-ISuc", code], **options)


#: A program that says that it is there, and never ends by itself.
READY = "import os, signal; print(os.getpid())\nwhile True: signal.pause()"
#: The same, but it cannot be terminated.
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}"
#: It has something to say when it is terminated.
LAST_WORDS = """
import signal, sys
def end(*args):
    print('more ' * 50_000 + '\\nlast')
    sys.exit(4)
signal.signal(signal.SIGTERM, end)
print('ready')
while True: signal.pause()
"""


def is_alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def until_dead(pid: int) -> None:
    """Wait for the end of a process that is no child of this one."""
    with anyio.fail_after(10):
        while is_alive(pid):  # noqa: ASYNC110  # nothing tells
            await anyio.sleep(0.005)


@contextmanager
def nobody_left() -> Iterator[None]:
    """See that no child is left, not even a zombie."""
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture(autouse=True)
def no_children() -> Iterator[None]:
    with nobody_left():
        yield


async def failure_of(wire: Wire) -> Exception:
    """Run a wire that fails, and give the failure."""
    with pytest.raises(UnhandledException) as caught:
        await run_to_end(wire)
    (failure,) = caught.value.exceptions
    return failure


async def status_of(process: Process) -> int:
    statuses: list[int] = []
    await run_to_end(process.then(statuses.append))
    (status,) = statuses
    return status


# Output.


async def test_lines_come_while_the_program_runs() -> None:
    """The program goes on only when its first line has been seen."""
    wait = "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"
    code = f"{wait}; print(os.getpid()); signal.sigwait([signal.SIGUSR1]); print('seen')"
    lines: list[bytes] = []

    def on_line(line: bytes) -> None:
        lines.append(line)
        if line != b"seen":
            os.kill(int(line), signal.SIGUSR1)

    await run_to_end(python(code, stdout=on_line))
    assert lines[1:] == [b"seen"]


@pytest.mark.parametrize("keepends", [False, True])
async def test_the_last_line_need_not_end(keepends: bool) -> None:
    lines: list[bytes] = []
    code = r"import os; os.write(1, b'one\n\n\r\n two \n\xff\x00three')"
    await run_to_end(python(code, stdout=lines.append, keepends=keepends))
    assert lines == [
        line + b"\n" * (keepends and line != b"\xff\x00three")
        for line in (b"one", b"", b"\r", b" two ", b"\xff\x00three")
    ]


async def test_no_line_of_much_output_is_lost_and_all_are_in_order() -> None:
    lines: list[bytes] = []
    code = "print(*range(200_000), sep='\\n', end='')"
    await run_to_end(python(code, stdout=lines.append))
    assert lines == [b"%d" % i for i in range(200_000)]


async def test_it_need_not_be_true_that_there_is_something_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("anyio.wait_readable", lambda file: anyio.sleep(0.001))
    lines: list[bytes] = []
    code = "import time\nfor i in range(3): print(i); time.sleep(0.01)"
    await run_to_end(python(code, stdout=lines.append))
    assert lines == [b"0", b"1", b"2"]


async def test_megabytes_without_a_line_break_are_one_line() -> None:
    lines: list[bytes] = []
    code = f"import sys; sys.stdout.write('x' * {8 * MEGABYTE} + '\\ny')"
    await run_to_end(python(code, stdout=lines.append))
    assert lines == [b"x" * 8 * MEGABYTE, b"y"]


async def test_a_program_can_write_megabytes_to_both_streams_at_once() -> None:
    out: list[bytes] = []
    err: list[bytes] = []
    code = (
        "import os, threading\n"
        "def write(fd, text):\n"
        "    for i in range(400): os.write(fd, text * 9999 + b'\\n')\n"
        "one = threading.Thread(target=write, args=(1, b'o'))\n"
        "one.start(); write(2, b'e'); one.join()\n"
    )
    await run_to_end(python(code, stdout=out.append, stderr=err.append))
    assert out == [b"o" * 9999] * 400
    assert err == [b"e" * 9999] * 400


async def test_a_program_may_close_its_output_long_before_it_ends() -> None:
    lines: list[bytes] = []
    code = "import os, time; print('all'); os.close(1); os.close(2); time.sleep(0.05); os._exit(7)"
    process = python(code, stdout=lines.append, stderr=lines.append, check=False)
    assert await status_of(process) == 7
    assert lines == [b"all"]


async def test_streams_that_nobody_asked_for_are_inherited(capfd: Any) -> None:
    code = "import sys; print(sys.stdin.read()); print('err', file=sys.stderr)"
    reader, writer = os.pipe()
    os.write(writer, b"typed")
    os.close(writer)
    before = os.dup(0)
    os.dup2(reader, 0)
    try:
        await run_to_end(python(code))
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reader)
    assert capfd.readouterr() == ("typed\n", "err\n")


async def test_output_can_go_nowhere(capfd: Any) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    nowhere = subprocess.DEVNULL
    await run_to_end(python(code, stdout=nowhere, stderr=nowhere))
    assert capfd.readouterr() == ("", "")


async def test_both_streams_can_go_the_same_way(capfd: Any) -> None:
    lines: list[bytes] = []
    code = "import os; [os.write(fd, b'%d\\n' % fd) for fd in (1, 2, 1, 2)]"
    await run_to_end(python(code, stdout=lines.append, stderr=subprocess.STDOUT))
    assert lines == [b"1", b"2", b"1", b"2"]
    await run_to_end(python(code, stderr=subprocess.STDOUT))
    assert capfd.readouterr() == ("1\n2\n1\n2\n", "")


async def test_long_lines_come_in_pieces_if_wanted() -> None:
    pieces: list[bytes] = []
    code = "print('abcdefg\\nabcdef\\nabc\\n', end='abcd')"
    await run_to_end(python(code, stdout=pieces.append, limit=3))
    assert pieces == [b"abc", b"def", b"g", b"abc", b"def", b"abc", b"abc", b"d"]


def split(chunks: list[bytes], *, keepends: bool = False, limit: int | None = None) -> list[bytes]:
    """Split what comes in these chunks."""
    lines = Lines(keepends, limit)
    whole = [line for chunk in chunks for line in lines.of(chunk)]
    return [*whole, bytes(lines.rest)] if lines.rest else whole


@given(st.lists(st.text("ab\r\n").map(str.encode)), st.integers(1, 5) | st.none(), st.booleans())
def test_lines_do_not_depend_on_how_the_output_comes(
    chunks: list[bytes], limit: int | None, keepends: bool
) -> None:
    whole = b"".join(chunks).split(b"\n")
    lines = [line + b"\n" * keepends for line in whole[:-1]] + [each for each in whole[-1:] if each]
    size = limit or MEGABYTE
    pieces = [line[at : at + size] for line in lines for at in range(0, len(line) or 1, size)]
    assert split(chunks, limit=limit, keepends=keepends) == pieces


@pytest.mark.parametrize("limit", [None, 7 * MEGABYTE])
def test_a_line_that_comes_in_many_chunks_takes_time_in_proportion(limit: int | None) -> None:
    """Copying the line for each chunk would be 500 gigabytes."""
    lines = split([b"x" * 100] * 100_000 + [b"\n"], limit=limit)
    assert b"".join(lines) == b"x" * 10_000_000


# Functions of a line, and what they start.


async def test_the_wire_that_a_function_gives_is_started() -> None:
    log = Log()

    async def later(line: bytes) -> Any:
        await checkpoint()
        return Call(log.append, line)

    def note(line: bytes, ev: EventLoop) -> Any:
        return Call(log.append, line)

    code = "import sys; print('out'); print('err', file=sys.stderr)"
    await run_to_end(
        python(code, stdout=lambda line: partial(note, line), stderr=later) >> Call(log.append, 1)
    )
    assert sorted(log[:-1]) == [b"err", b"out"]
    assert log[-1] == 1


async def test_wires_run_beside_the_program_and_it_waits_for_them() -> None:
    log = Log()
    go_on = anyio.Event()

    def on_line(line: bytes) -> Any:
        return Call(go_on.wait) >> Call(log.append, line) >> started_inside

    def started_inside(ev: EventLoop) -> None:
        assert ev is not outer
        ev.start(Call(checkpoint) >> Call(log.append, "inside"))

    async with EventLoop() as outer:
        code = "print('a\\nb')"
        ended = python(code, stdout=on_line).then(lambda status: Call(log.append, status))
        chain = outer.start(ended)
        for _ in range(20):
            await anyio.sleep(0.005)
        assert not chain.done
        go_on.set()
    assert set(log[:2]) == {b"a", b"b"}
    assert log[2:] == ["inside", "inside", 0]


async def test_an_async_function_holds_up_the_program_and_loses_nothing() -> None:
    lines = Log()
    go_on = anyio.Event()

    async def on_line(line: bytes) -> None:
        lines.append(line)
        await go_on.wait()

    async with EventLoop() as ev:
        chain = ev.start(python("for i in range(3000): print(str(i) * 100)", stdout=on_line))
        await lines.reach(1)
        await anyio.sleep(0.1)
        assert len(lines) == 1
        assert not chain.done
        go_on.set()
    assert lines == [b"%d" % i * 100 for i in range(3000)]


async def test_a_flood_of_lines_leaves_others_their_turn() -> None:
    turns = 0

    async def count(ev: EventLoop) -> Any:
        nonlocal turns
        await checkpoint()
        turns += 1
        return count

    lines: list[bytes] = []
    flood = python("import os\nfor i in range(3): os.write(1, b'\\n' * 65536)", stdout=lines.append)
    await run_to_end(Race(flood, count))
    assert len(lines) == 3 * 65536
    assert turns > 20


@pytest.mark.parametrize("kind", ["function", "async function", "wire", "junk"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_failure_terminates_the_program_and_is_raised_as_it_is(
    kind: str, stream: str
) -> None:
    def fail(*args: object) -> None:
        raise ValueError(kind)

    async def fail_later(line: bytes) -> None:
        await checkpoint()
        fail()

    pids: list[int] = []
    functions = {
        "function": fail,
        "async function": fail_later,
        "wire": lambda line: fail,
        "junk": lambda line: 3,
    }

    def on_line(line: bytes) -> Any:
        pids.append(int(line))
        return functions[kind](line)

    code = READY.replace("os.getpid()", f"os.getpid(), file={stream}")
    process = python("from sys import stdout, stderr\n" + code, **{stream: on_line})
    with nobody_left():
        failure = await failure_of(process)
    if kind == "junk":
        assert str(failure) == "wire 'on_line' returned 3; a wire returns None or another wire"
    else:
        assert str(failure) == kind
    assert type(failure) is (TypeError if kind == "junk" else ValueError)
    assert not is_alive(*pids)


async def test_a_failure_says_where_the_program_was_started() -> None:
    async with EventLoop() as ev:
        failures: list[Any] = []
        ev.start(
            python("print(1)", stdout=lambda line: 1 / 0), lambda ev, exc: failures.append(exc)
        )
    (failure,) = failures
    (note,) = failure.__notes__
    assert note.startswith(f"in wire Process(['{sys.executable}'")
    assert "test_process.py" in note


async def test_several_failures_are_a_group() -> None:
    both = Log()

    async def fail(line: bytes) -> None:
        both.append(line)
        await both.reach(2)
        raise ValueError(line)

    code = f"import sys; print('err', file=sys.stderr)\n{READY}"
    failure = await failure_of(python(code, stdout=fail, stderr=fail))
    assert isinstance(failure, ExceptionGroup)
    assert len(failure.exceptions) == 2


async def test_a_failed_function_gets_no_more_but_the_program_can_end_in_order(
    tmp_path: Path,
) -> None:
    lines: list[bytes] = []

    def fail(line: bytes) -> None:
        lines.append(line)
        raise ValueError

    note = tmp_path / "note"
    code = LAST_WORDS.replace("sys.exit", f"open({str(note)!r}, 'w').write('done'); sys.exit")
    failure = await failure_of(python(code, stdout=fail, grace=None))
    assert type(failure) is ValueError
    assert lines == [b"ready"]
    assert note.read_text() == "done"


# Input.


@pytest.mark.parametrize("size", [0, 1, 65536, 8 * MEGABYTE])
async def test_the_program_reads_its_input(size: int) -> None:
    lines: list[bytes] = []
    code = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    data = random.Random(size).randbytes(size).replace(b"\n", b".")
    await run_to_end(python(code, input=data, stdout=lines.append))
    assert lines == [data] * bool(size)


NO_READERS = {
    "ends": "pass",
    "closes it": "import os, time; os.read(0, 10); os.close(0); time.sleep(0.02)",
    "leaves it to a child": (
        "import os, signal\nif not (child := os.fork()): os.close(1); signal.pause()\nprint(child)"
    ),
}


@pytest.mark.parametrize("code", NO_READERS.values(), ids=NO_READERS)
async def test_input_that_is_not_read_is_no_error(code: str) -> None:
    lines: list[bytes] = []
    await run_to_end(python(code, input=b"x" * 4 * MEGABYTE, stdout=lines.append))
    for child in map(int, lines):
        os.kill(child, signal.SIGKILL)
        await until_dead(child)


# The end.


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(3)", 3), ("KILL", -9)])
async def test_an_exit_status_other_than_0_is_an_error_unless_it_is_not_checked(
    code: str, status: int
) -> None:
    code = code.replace("KILL", "import os; os.kill(os.getpid(), 9)")
    failure = await failure_of(python(code))
    assert isinstance(failure, subprocess.CalledProcessError)
    assert failure.returncode == status
    assert failure.cmd == [sys.executable, "-ISuc", code]
    await run_to_end(python(code, check=False))
    assert await status_of(python(code, check=False)) == status


async def test_the_status_is_an_error_only_when_all_else_has_ended() -> None:
    log = Log()
    code = "print('line'); raise SystemExit(3)"
    slow = Call(anyio.sleep, 0.02) >> Call(log.append, "done")
    failure = await failure_of(python(code, stdout=lambda line: slow))
    assert isinstance(failure, subprocess.CalledProcessError)
    assert log == ["done"]


async def test_then_continues_with_the_wire_that_it_returns() -> None:
    log = Log()

    async def later(status: int) -> Any:
        await checkpoint()
        return Call(log.append, ("later", status))

    process = python("raise SystemExit(3)", check=False)
    await run_to_end(process.then(lambda status: Call(log.append, status)) >> process.then(later))
    assert log == [3, ("later", 3)]
    await run_to_end(python("").then(log.append))
    assert log[2:] == [0]


WRONG_STARTS: dict[str, tuple[dict[str, Any], type[OSError], str]] = {
    "no program": ({"command": ["/no/where"]}, FileNotFoundError, "/no/where"),
    "none in the path": ({"command": [b"no-such-program", "x"]}, FileNotFoundError, "no-such-prog"),
    "no permission": ({"command": [Path("/etc/passwd")]}, PermissionError, "/etc/passwd"),
    "no directory": ({"cwd": "/no/where"}, FileNotFoundError, "/no/where"),
    "a file": ({"cwd": Path("/etc/passwd")}, NotADirectoryError, "/etc/passwd"),
    "no directory for the shell": (
        {"command": "true", "cwd": "/no/where"},
        FileNotFoundError,
        "/no/where",
    ),
}


@pytest.mark.parametrize(("given", "kind", "name"), WRONG_STARTS.values(), ids=WRONG_STARTS)
async def test_what_cannot_be_started_is_named(given: Any, kind: Any, name: str) -> None:
    lines: list[bytes] = []
    options = {"command": [sys.executable], "stdout": lines.append, "input": b"x", **given}
    failure = await failure_of(Process(**options))
    assert type(failure) is kind
    assert name in str(failure)


async def test_a_string_is_for_the_shell() -> None:
    lines: list[bytes] = []
    await run_to_end(
        Process("echo $((1 + 1)) | cat; echo three >&2", stdout=lines.append, stderr=lines.append)
    )
    assert sorted(lines) == [b"2", b"three"]
    failure = await failure_of(Process("no-such-program 2>&-"))
    assert isinstance(failure, subprocess.CalledProcessError)
    assert failure.returncode == 127


CHILD = """
import os, signal
reader, writer = os.pipe()
child = os.fork()
if child:
    os.close(writer)
    os.read(reader, 1)
    print(child)
else:
    {first}
    os.close(writer)
    {then}
"""


@pytest.mark.parametrize(
    "then",
    ["signal.pause()", "while True: os.write(1, b' ' * 4999 + b'\\n')"],
    ids=["rest", "flood"],
)
async def test_a_child_that_keeps_the_output_open_is_not_waited_for(then: str) -> None:
    lines: list[bytes] = []
    code = CHILD.format(first="", then=then)
    await run_to_end(python(code, stdout=lines.append, stderr=subprocess.DEVNULL))
    (child,) = (int(line) for line in lines if line.strip())
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    await until_dead(child)


async def test_all_that_a_program_wrote_is_read_though_a_child_keeps_the_output_open() -> None:
    """When the program ends, the pipe is full of it."""
    lines: list[bytes] = []
    end = "print(child); os.write(1, b'%d\\n' % os.getpid() + b'line\\n' * 40_000)"
    code = CHILD.format(first="", then="signal.pause()").replace("print(child)", end)

    async def on_line(line: bytes) -> None:
        lines.append(line)
        if len(lines) == 30_000:
            await until_dead(int(lines[1]))

    await run_to_end(python(code, stdout=on_line))
    assert lines[2:] == [b"line"] * 40_000
    os.kill(int(lines[0]), signal.SIGKILL)
    await until_dead(int(lines[0]))


# Cancellation.


async def cancel_when_ready(process: Callable[..., Process], **options: Any) -> Log:
    """Cancel a program when its first line has come; give all its lines."""
    lines = Log()
    async with EventLoop() as ev:
        chain = ev.start(process(stdout=lines.append, **options) >> Call(lines.append, "went on"))
        await lines.reach(1)
        chain.cancel()
        with nobody_left():
            await chain.wait()
    assert chain.done
    assert chain.exception is None
    return lines


async def test_a_cancelled_program_is_terminated_and_reaped() -> None:
    (pid,) = await cancel_when_ready(partial(python, READY), grace=None)
    assert not is_alive(int(pid))


async def test_a_program_that_lingers_is_killed() -> None:
    (pid,) = await cancel_when_ready(partial(python, STUBBORN), grace=0.05)
    assert not is_alive(int(pid))


async def test_it_is_not_killed_before_its_grace_is_over() -> None:
    code = READY.replace(
        "print", "signal.signal(15, lambda *_: (print('end'), os._exit(0))); print"
    )
    lines = await cancel_when_ready(partial(python, code), grace=30)
    assert lines[1:] == [b"end"]


async def test_last_words_are_heard() -> None:
    lines = await cancel_when_ready(partial(python, LAST_WORDS), grace=None)
    assert lines == [b"ready", b"more " * 50_000, b"last"]


async def test_a_time_limit_is_a_cancellation() -> None:
    lines: list[Any] = []
    late = Call(lines.append, "late")
    await run_to_end(Timeout(python(READY, stdout=lines.append), 0.2, late))
    assert lines[-1] == "late"
    for pid in lines[:-1]:
        assert not is_alive(int(pid))


async def test_the_loser_of_a_race_is_dead_when_the_race_is_over() -> None:
    lines = Log()
    winner = Call(lines.reach, 1)
    await run_to_end(
        Race(python(READY, stdout=lines.append), winner)
        >> Call(lambda: lines.append(is_alive(int(lines[0]))))
    )
    assert lines[1:] == [False]


@pytest.mark.parametrize("is_shielded", [False, True])
async def test_an_async_function_is_cancelled_where_it_waits(is_shielded: bool) -> None:
    lines = Log()

    async def on_line(line: bytes) -> None:
        lines.append(line[:5])
        with anyio.CancelScope(shield=is_shielded):
            await anyio.sleep(0.1)
        lines.append("end of " + line[:5].decode())

    async with EventLoop() as ev:
        chain = ev.start(python(LAST_WORDS, stdout=on_line, grace=None))
        await lines.reach(1)
        chain.cancel()
    shielded = [b"ready", "end of ready", b"more ", "end of more ", b"last", "end of last"]
    assert lines == (shielded if is_shielded else [b"ready"])


async def test_wires_are_cancelled_at_once_and_none_is_started_any_more() -> None:
    log = Log()

    async def wait(ev: EventLoop) -> None:
        log.append("wire")
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    def on_line(line: bytes) -> Any:
        log.append(line[:5])
        return wait

    async with EventLoop() as ev:
        chain = ev.start(python(LAST_WORDS, stdout=on_line, grace=None))
        await log.reach(2)
        chain.cancel()
    assert log == [b"ready", "wire", "cancelled", b"more ", b"last"]


async def test_cancelled_after_the_end_of_the_program_no_line_is_lost() -> None:
    log = Log()

    def on_line(line: bytes) -> Any:
        log.append(line)
        return never

    async with EventLoop() as ev:
        chain = ev.start(python("print('line')", stdout=on_line))
        await log.reach(1)
        await anyio.sleep(0.1)
        chain.cancel()
    assert log == [b"line"]


async def test_a_wire_can_end_the_program() -> None:
    lines: list[Any] = []

    def on_line(line: bytes) -> Any:
        lines.append(line)
        return lambda ev: ev.cancel()

    process = python(READY, stdout=on_line)
    await run_to_end(process >> process.then(lines.append))
    assert len(lines) == 3
    assert lines[2] == -signal.SIGTERM


async def test_what_is_cancelled_before_it_begins_is_not_started() -> None:
    with anyio.CancelScope() as scope:
        async with EventLoop() as ev:
            scope.cancel()
            await python("open('/no/where', 'w')", check=True)(ev)
    assert scope.cancelled_caught


@pytest.mark.stress
async def test_cancelled_at_any_moment_nothing_is_left() -> None:
    """The moments are spread over the life of a program; the fixtures count descriptors."""
    chance = random.Random(4)
    code = "import os; os.write(1, b'line\\n' * 99); os.write(2, b'x' * 99); os.read(0, 99)"
    for number in range(2000 if STRESS else 60):
        process = python(
            code,
            input=b"y" * 200_000,
            stdout=lambda line: Call(anyio.sleep, 0.01),
            stderr=lambda line: checkpoint() if line else None,
            check=False,
            start_new_session=bool(number % 2),
        )
        with nobody_left():
            async with EventLoop() as ev:
                ev.start(process)
                if number % 4:
                    await anyio.sleep(chance.uniform(0, 0.04))
                else:
                    for _ in range(number // 4):
                        await checkpoint()
                ev.cancel()


# Sessions.


async def test_a_session_of_its_own_is_terminated_as_a_whole() -> None:
    code = "import os, signal\n" + CHILD.format(first="", then="signal.pause()") + "signal.pause()"
    (child,) = await cancel_when_ready(partial(python, code), start_new_session=True)
    await until_dead(int(child))


async def test_what_is_left_in_its_session_is_killed_when_it_ends() -> None:
    lines: list[bytes] = []
    first = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.closerange(0, 3)"
    code = CHILD.format(first=first, then="signal.pause()")
    await run_to_end(python(code, stdout=lines.append, start_new_session=True))
    await until_dead(int(lines[0]))


@pytest.mark.parametrize("is_own", [False, True])
async def test_the_session_is_ours_or_its_own(is_own: bool) -> None:
    lines: list[bytes] = []
    code = "import os; print(os.getsid(0) == os.getpid())"
    await run_to_end(python(code, stdout=lines.append, start_new_session=is_own))
    assert lines == [str(is_own).encode()]


# Values.


async def test_it_runs_where_and_with_what_it_is_told(tmp_path: Path) -> None:
    lines: list[bytes] = []
    code = "import os; print(os.getcwd()); print(os.environ.get('AIOWIRE_TEST'))"
    env = {"AIOWIRE_TEST": "given"}
    process = python(code, stdout=lines.append, cwd=tmp_path, env=env)
    env.clear()
    await run_to_end(process)
    assert lines == [str(tmp_path).encode(), b"given"]


async def test_it_is_a_value() -> None:
    lines: list[bytes] = []
    command = [sys.executable, "-ISc", "print('x')"]
    process = Process(command, stdout=lines.append)
    command.clear()
    await run_to_end(process * 2, process & process)
    assert lines == [b"x"] * 4


REPRS = {
    "plain": (Process(["ls", "-l"]), "Process(['ls', '-l'])"),
    "shell": (Process("ls | wc", check=False), "Process('ls | wc', check=False)"),
    "then": (Process(("a", b"b")).then(print), "Process(['a', b'b']).then(print)"),
    "options": (
        Process(["a"], stdout=print, stderr=subprocess.STDOUT, cwd=Path("/"), grace=1, limit=9),
        "Process(['a'], stdout=print, stderr=-2, cwd='/', grace=1.0, limit=9)",
    ),
    "secrets": (
        Process(["a"], input=b"secret", env={"PASSWORD": "secret"}),
        "Process(['a'], input=..., env=...)",
    ),
}


@pytest.mark.parametrize(("wire", "text"), REPRS.values(), ids=REPRS)
def test_it_reads_as_the_expression_that_made_it(wire: Wire, text: str) -> None:
    assert repr(wire) == text


MISTAKES: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (TypeError, "a command is", {"command": 3}),
    (TypeError, "a command is", {"command": b"ls"}),
    (TypeError, "a command is", {"command": Path("/bin/ls")}),
    (TypeError, "an item of a command .* got 3", {"command": ["sleep", 3]}),
    (ValueError, "a command begins with", {"command": []}),
    (ValueError, "a command begins with", {"command": [""]}),
    (ValueError, "a command begins with", {"command": " "}),
    (TypeError, "stdout", {"stdout": 3}),
    (TypeError, "stdout", {"stdout": subprocess.PIPE}),
    (TypeError, "stdout", {"stdout": subprocess.STDOUT}),
    (TypeError, "stderr", {"stderr": "a file"}),
    (TypeError, "input is bytes", {"input": "text"}),
    (TypeError, "cwd", {"cwd": 3}),
    (TypeError, "grace", {"grace": "5"}),
    (ValueError, "grace", {"grace": -1}),
    (ValueError, "grace", {"grace": float("nan")}),
    (TypeError, "limit", {"limit": 2.5}),
    (ValueError, "limit", {"limit": 0}),
]


@pytest.mark.parametrize(("kind", "text", "given"), MISTAKES, ids=label)
def test_mistakes_are_refused_where_they_are_made(kind: Any, text: str, given: Any) -> None:
    with pytest.raises(kind, match=text):
        Process(**{"command": ["ls"], **given})


def test_then_needs_a_function() -> None:
    with pytest.raises(TypeError, match="then"):
        Process(["ls"]).then(3)  # type: ignore[arg-type]


def test_it_is_imported_when_it_is_asked_for() -> None:
    code = "import sys, aiowire; print('aiowire._process' in sys.modules, aiowire.Process.__name__)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
    assert output.split() == ["False", "Process"]


async def test_no_line_is_lost_by_a_cancellation_while_it_is_being_started(tmp_path: Path) -> None:
    """Chains that serve the pipes may not have begun, and never do then."""
    path = tmp_path / "written"
    for passes in range(200 if STRESS else 12):
        path.write_bytes(b"")
        code = f"for i in 1 2 3; do echo $i; echo $i >>'{path}'; done"
        lines: list[bytes] = []
        program = Process(["sh", "-c", code], stdout=lines.append, input=b"x", grace=None)
        async with EventLoop() as ev:
            ev.start(program)
            for _ in range(passes % 12):
                await checkpoint()
            ev.cancel()
        assert lines[: len(written := path.read_bytes().split())] == written


async def test_what_fails_in_the_place_of_a_chain_that_never_began_is_raised() -> None:
    failures: set[str] = set()
    for passes in range(12):

        def on_line(line: bytes) -> None:
            raise ValueError(line)

        async with EventLoop() as ev:
            ev.start(
                Process(["echo", "x"], stdout=on_line, input=b"x", check=False),
                lambda ev, exc: failures.add(type(exc).__name__),
            )
            for _ in range(passes):
                await checkpoint()
            ev._crew.drop_queue()
    assert failures == {"ValueError"}


def test_a_command_has_no_zero_byte_in_it() -> None:
    with pytest.raises(ValueError, match="an item of a command has no zero byte"):
        Process(["echo", "a\0b"])


async def test_an_interrupt_while_it_is_terminated_waits_for_nothing_it_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it left behind keeps the pipe open, and lives on."""
    lines = Log()
    stop = Program._stop

    async def stop_and_interrupt(self: Program) -> None:
        await stop(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Program, "_stop", stop_and_interrupt)
    program = Process(["sh", "-c", "sleep 1000 & echo $!; exec sleep 1000"], stdout=lines.append)

    async def cancel(ev: EventLoop) -> None:
        chain = ev.start(program)
        await lines.reach(1)
        chain.cancel()

    await raised_by(cancel, KeyboardInterrupt)
    os.kill(int(lines[0]), signal.SIGKILL)
