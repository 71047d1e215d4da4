"""One program of the job server: its output, its end, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import sys

import anyio
import pytest

from .job_bench import (
    LONGEST,
    PROGRAMS,
    assert_dies,
    assert_gone,
    assert_no_children,
    run_program,
    whole,
)

WAIT = "; import signal; signal.pause()"
PID = "import os; print(os.getpid()); "


class Received:
    """What a program has sent."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, bytes]] = []
        self.came = anyio.Event()

    async def __call__(self, stream: bytes, piece: bytes) -> None:
        self.pieces.append((stream, piece))
        self.came.set()

    def of(self, stream: bytes) -> list[bytes]:
        return [piece for name, piece in self.pieces if name == stream]

    @property
    def pids(self) -> list[int]:
        return [int(piece) for piece in self.of(b"out")]


async def python(code: str, received: Received, *, grace: float = 5) -> str:
    """Run a few lines of Python."""
    command = [sys.executable, "-ISu", "-c", code]
    return " ".join(await run_program(command, 60, received, grace))


async def shell(code: str, received: Received, *, seconds: float = 60, grace: float = 5) -> str:
    """Run a few lines of shell, which begins within milliseconds."""
    return " ".join(await run_program(["sh", "-c", code], seconds, received, grace))


async def test_output_comes_in_lines() -> None:
    received = Received()
    assert await shell(r"printf 'one\n\ntwo\nlast'; printf 'three\r\n' >&2", received) == "exited 0"
    assert received.of(b"out") == [b"one\n", b"\n", b"two\n", b"last"]
    assert received.of(b"err") == [b"three\r\n"]


async def test_all_of_much_output_comes_in_order() -> None:
    received = Received()
    assert await python("for i in range(5000): print(i)", received) == "exited 0"
    assert received.of(b"out") == [b"%d\n" % i for i in range(5000)]


async def test_long_lines_come_in_pieces() -> None:
    lengths = [LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST, 20 * LONGEST + 5]
    received = Received()
    code = f"for n in {lengths}: print('x' * n)\nprint('y' * {2 * LONGEST + 1}, end='')"
    assert await python(code, received) == "exited 0"
    pieces = received.of(b"out")
    lines = [*(b"x" * length for length in lengths), b"y" * (2 * LONGEST + 1)]
    assert b"".join(pieces) == b"\n".join(lines)
    assert max(map(len, pieces)) == LONGEST
    assert len(pieces) == sum((len(line) + LONGEST) // LONGEST for line in lines)


async def test_a_line_comes_before_the_next() -> None:
    received = Received()
    async with anyio.create_task_group() as group:
        group.start_soon(python, "print('first')" + WAIT, received)
        await received.came.wait()
        group.cancel_scope.cancel()
    assert received.of(b"out") == [b"first\n"]


async def test_the_ending_is_that_of_the_program() -> None:
    assert await shell("exit 3", Received()) == "exited 3"
    assert await shell("kill -9 $$", Received()) == "killed 9"
    assert await shell("exec >&- 2>&-; sleep 0.1; exit 4", Received()) == "exited 4"
    assert await shell("cat", Received()) == "exited 0"  # it has nothing to read


async def test_what_cannot_be_started_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        await run_program(["/nowhere/at-all"], 10, Received())


async def test_a_program_that_takes_too_long_is_terminated() -> None:
    received = Received()
    code = "echo $$; printf 2; exec sleep 1000"
    assert await shell(code, received, seconds=0.3) == "timed out after 0.3 s"
    pid, last = received.pids
    assert last == 2
    assert_gone(pid)


async def test_the_last_words_of_a_terminated_program_are_sent() -> None:
    received = Received()
    code = "trap 'echo cleaned up; exit' TERM; echo ready; sleep 1000 & wait"
    async with anyio.create_task_group() as group:
        group.start_soon(shell, code, received)
        await received.came.wait()
        group.cancel_scope.cancel()
    assert received.of(b"out") == [b"ready\n", b"cleaned up\n"]


STUBBORN = "trap '' TERM; echo $$; while :; do sleep 1000; done"


async def test_a_program_that_ignores_its_termination_is_killed() -> None:
    received = Received()
    ending = await shell(STUBBORN, received, seconds=0.3, grace=0.1)
    assert ending == "timed out after 0.3 s"
    assert_gone(*received.pids)


async def test_a_cancelled_program_is_killed_if_it_lingers() -> None:
    received = Received()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: shell(STUBBORN, received, grace=0.1))
        await received.came.wait()
        group.cancel_scope.cancel()
    assert_gone(*received.pids)


async def test_a_child_that_keeps_the_output_open_is_ended() -> None:
    received = Received()
    assert await shell("sleep 1000 & echo $!", received, grace=0.2) == "exited 0"
    assert_dies(*received.pids)


async def test_a_child_that_has_closed_the_output_is_ended() -> None:
    received = Received()
    code = (
        "import os, signal\n"
        "child = os.fork()\n"
        "if child: print(child)\n"
        # Some event loops let more descriptors through than 0, 1 and 2.
        "else: os.closerange(0, 4096); signal.pause()\n"
    )
    assert await python(code, received) == "exited 0"
    assert_dies(*received.pids)


ESCAPE = """
import os, signal
reader, writer = os.pipe()
child = os.fork()
if child:
    os.close(writer)
    os.read(reader, 1)
    print(child)
else:
    os.setsid()
    os.close(writer)
    {then}
"""


async def test_a_child_that_has_left_the_group_is_not_waited_for() -> None:
    received = Received()
    code = ESCAPE.format(then="signal.pause()")
    assert await python(code, received, grace=0.2) == "exited 0"
    (child,) = received.pids
    os.kill(child, signal.SIGKILL)


async def test_a_flood_from_a_child_that_has_left_the_group_has_an_end() -> None:
    received = Received()
    code = ESCAPE.format(then="while True: os.write(1, b' ' * 4999 + b'\\n')")
    assert await python(code, received, grace=0.2) == "exited 0"
    (child,) = (int(piece) for piece in received.of(b"out") if piece.strip())
    os.kill(child, signal.SIGKILL)


async def test_a_slow_receiver_holds_up_the_program_and_loses_nothing() -> None:
    received = Received()
    go_on = anyio.Event()
    endings = []

    async def send(stream: bytes, piece: bytes) -> None:
        await received(stream, piece)
        await go_on.wait()

    async def program() -> None:
        command = [sys.executable, "-ISc", "for i in range(3000): print(str(i) * 100)"]
        endings.append(await run_program(command, 60, send))

    async with anyio.create_task_group() as group:
        group.start_soon(program)
        await received.came.wait()
        await anyio.sleep(0.1)
        assert len(received.pieces) == 1
        go_on.set()
    assert endings == [("exited", "0")]
    assert received.of(b"out") == [b"%d" % i * 100 + b"\n" for i in range(3000)]


async def test_cancelled_at_any_moment_nothing_is_left() -> None:
    """Cancel after 0, 1, 2 ... passes of the event loop, from before the start on."""
    for passes in range(25):
        received = Received()
        async with anyio.create_task_group() as group:
            group.start_soon(shell, "echo $$; exec sleep 1000", received)
            for _ in range(passes):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        for pid in received.pids:
            assert_gone(pid)
        assert_no_children()


@pytest.mark.parametrize("given", [b"1", b"007", b"1000"])
def test_whole_numbers_are_accepted(given: bytes) -> None:
    assert whole(1, 1000)(given) == str(int(given))


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"0",
        b"1001",
        b"-5",
        b"+5",
        b" 5",
        b"5\n",
        b"5.0",
        b"1e3",
        b"\xb2",
        b"\xd9\xa3",
        b"9" * 99,
    ],
)
def test_anything_else_is_refused(given: bytes) -> None:
    with pytest.raises(ValueError, match="a whole number from 1 to 1000"):
        whole(1, 1000)(given)


@pytest.mark.parametrize("given", [[], [b"1", b"2"], [b"--help"]])
def test_arguments_are_checked(given: list[bytes]) -> None:
    with pytest.raises(ValueError, match="argument"):
        PROGRAMS["count"].command_line(given)
