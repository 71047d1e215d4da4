"""Programs as wires: :class:`Process`.

A program is started, waited for, and, when it is to end, terminated, killed and reaped. What it
writes and reads goes through pipes, see ``_pipes.py``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from contextvars import copy_context
from io import FileIO
from subprocess import DEVNULL, STDOUT, CalledProcessError
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint_if_cancelled

from ._call import Then
from ._check import _mistaken, check_seconds, discard, options_text
from ._fork import Branch, Fork, origin
from ._pipes import Input, OnLine, Output, Stream, open_pipe
from ._wire import Rest, Wire

if TYPE_CHECKING:
    from ._chain import Handle
    from ._loop import EventLoop

__all__ = ["Process"]

#: An item of a command line.
Argument: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
#: The options, as they are when they are not given.
DEFAULTS: dict[str, object] = {
    "stdout": None,
    "stderr": None,
    "input": None,
    "check": True,
    "cwd": None,
    "env": None,
    "start_new_session": False,
    "grace": 5.0,
    "keepends": False,
    "limit": None,
}
#: Those whose values may be long, or secret: notes quote the text of a wire.
SECRET = ("env", "input")


class Process(Wire):
    """Run a program, and call functions with its output, line by line, as it comes.

    It ends when the program has ended, the functions have got every line that it wrote, and the
    wires that they gave back have ended. It does not wait for processes that the program leaves
    behind, even if they keep its output open; what they write after its end is not read.

    :param command: the program and its arguments; or one string, which the shell runs
    :param stdout: called with each line (bytes) of the standard output. It may be async: meanwhile
        no more is read, which in the end holds up the program. The wire that it returns, if any, is
        started, and runs at the same time as all else, with a nested loop as its ``ev``. Or
        :data:`subprocess.DEVNULL`, for output that nobody gets; or ``None``, as with
        :mod:`subprocess`, for the standard output of this program.
    :param stderr: the same for the standard error; or :data:`subprocess.STDOUT`, for the way that
        the standard output goes
    :param input: bytes that the program can read as its standard input; it need not. ``None`` for
        the standard input of this program.
    :param check: whether an exit status other than 0 is an error
    :param cwd: the directory that it runs in; ``None`` for that of this program
    :param env: all its environment variables; ``None`` for those of this program
    :param start_new_session: whether it gets a session, and so a process group, of its own. Ctrl-C
        at the terminal does not reach it then. The whole group is terminated, and what the program
        leaves behind there is killed when it has ended, however it did.
    :param grace: seconds from being terminated to being killed; ``None`` for no limit
    :param keepends: whether lines keep the ``b"\\n"`` that ends them, and that the last may lack;
        nothing else ends a line
    :param limit: the number of bytes from which on lines are cut into pieces; ``None`` for never: a
        line is kept until it is complete, however long it is
    :raises ValueError: for an empty command, and for numbers that make no sense
    :raises TypeError: for what is no command, no function, no bytes, no number

    *Errors*: :exc:`subprocess.CalledProcessError`, once all has ended, for an exit status other
    than 0; a negative one is the number of the signal that ended the program.
    :exc:`FileNotFoundError`, or another :exc:`OSError`, that names the program or ``cwd``, when it
    cannot be started. When a function or its wire fails, the program is terminated as when
    cancelled; a single failure is raised as it is, several as an :exc:`ExceptionGroup`.

    *Cancellation*: the program is terminated (SIGTERM), killed when the grace is over, and always
    reaped before the cancellation goes on. Wires are cancelled at once, and none is started any
    more. What the program still writes goes to the functions: all of it to a plain one, while an
    async one is cancelled where it waits, unless it is shielded, and then gets no more. The same
    happens when a wire calls ``ev.cancel()``; then the status is never an error. ::

        build = Process(["make", "-k"], stderr=lambda line: Call(log.send, line))
        ev.start(Timeout(build, 600, Call(print, "make takes too long")))
    """

    __slots__ = ("_command", *(f"_{name}" for name in DEFAULTS))

    def __init__(
        self,
        command: str | Sequence[Argument],
        *,
        stdout: OnLine | int | None = None,
        stderr: OnLine | int | None = None,
        input: bytes | None = None,  # noqa: A002  # its name in the standard library
        check: bool = True,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
        grace: float | None = 5.0,
        keepends: bool = False,
        limit: int | None = None,
    ) -> None:
        self._command = check_command(command)
        self._stdout = check_output(stdout, "stdout", DEVNULL=DEVNULL)
        self._stderr = check_output(stderr, "stderr", DEVNULL=DEVNULL, STDOUT=STDOUT)
        self._input = check_input(input)
        self._check = check
        self._cwd = None if cwd is None else check_path(cwd, "cwd")
        self._env = None if env is None else dict(env)
        self._start_new_session = start_new_session
        self._grace = check_seconds(grace, "grace")
        self._keepends = keepends
        self._limit = check_limit(limit)

    async def __call__(self, ev: EventLoop) -> Rest:
        """Run the program."""
        await self._result(ev)
        return None

    async def _result(self, ev: EventLoop) -> int:
        program = Program(self)
        with program.ours:
            await Fork(ev).host(program, anyio.CancelScope())
        if self._check and program.status and not program.branch.cancelled:
            raise CalledProcessError(program.status, self._command)
        return program.status

    def then(self, k: Callable[[int], Rest | Awaitable[Rest]], /) -> Then:
        """Continue with the wire, or ``None``, that ``k(status)`` returns.

        :param k: a function, async or plain, of the exit status, which can be other than 0 only
            with ``check=False``, or after ``ev.cancel()``
        :raises TypeError: when ``k`` is not callable

        *Cancellation*: that of the program; ``k`` is not called then. ::

            ev.start(Process(["cmp", a, b], check=False).then(lambda status: Call(print, status)))
        """
        return Then(self, k)

    def __repr__(self) -> str:
        return f"Process({self._command!r}{options_text(self, DEFAULTS, SECRET)})"


class Program:
    """A program that runs: what a wire, being a value, cannot hold.

    :param process: what is to run
    """

    #: The loop of all that belongs to it.
    branch: Branch
    _running: anyio.abc.Process

    def __init__(self, process: Process) -> None:
        self._process = process
        self._streams: list[Stream] = []
        #: Closes our ends of the pipes when all has ended.
        self.ours = ExitStack()
        #: Its exit status.
        self.status = 0

    async def __call__(self, ev: EventLoop) -> None:
        """Run it from its start to its end, within a branch."""
        assert isinstance(ev, Branch)
        self.branch = ev
        await checkpoint_if_cancelled()
        await self._spawn()
        served = [
            (stream, ev._start(stream, None, None, copy_context(), *origin(), ev))
            for stream in self._streams
        ]
        try:
            await self._running.wait()
        except BaseException:
            ev._cancel_chains()
            await self._end(ev, served, is_to_stop=True)
            raise
        await self._end(ev, served)

    async def _end(
        self, ev: Branch, served: list[tuple[Stream, Handle]], *, is_to_stop: bool = False
    ) -> None:
        """Come to the end of it, and see that all pipes are served till then.

        Chains that have not begun may never do so, if all is being cancelled.
        """
        async with anyio.create_task_group() as late:
            for stream, chain in served:
                if not stream.has_begun:
                    chain.cancel()
                    late.start_soon(self._serve, ev, stream, chain)
            try:
                if is_to_stop:
                    with anyio.CancelScope(shield=True):
                        await self._stop()
            finally:  # a second Ctrl-C gets here, too
                self._finish()

    async def _serve(self, ev: Branch, stream: Stream, chain: Handle) -> None:
        """Serve a pipe in the place of its chain."""
        try:
            await stream(ev)
        except BaseException as exc:
            for each in ev._sort(exc)[1]:
                chain.annotate(each)

    def _finish(self) -> None:
        """Note how it has ended, and what is left to be read."""
        if self._process._start_new_session:
            self._signal(signal.SIGKILL)
        self.status = self._running.returncode or 0
        for stream in self._streams:
            stream.finish()

    async def _spawn(self) -> None:
        """Start it. A cancellation waits until there is something to stop."""
        what = self._process
        with ExitStack() as theirs, anyio.CancelScope(shield=True):
            stdin = self._open_input(what._input, theirs)
            stdout = self._open_output(what._stdout, theirs)
            stderr = self._open_output(what._stderr, theirs)
            try:
                self._running = await anyio.open_process(
                    what._command,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=what._cwd,
                    env=what._env,
                    start_new_session=what._start_new_session,
                )
            except OSError as exc:
                name_missing(exc, what._command, what._cwd)
                raise

    def _open_input(self, data: bytes | None, theirs: ExitStack) -> FileIO | int | None:
        if not data:
            return None if data is None else DEVNULL
        reader, writer = open_pipe()
        theirs.enter_context(reader)
        self._streams.append(Input(self._process, self._keep(writer), data))
        return reader

    def _open_output(self, given: OnLine | int | None, theirs: ExitStack) -> FileIO | int | None:
        if given is None or isinstance(given, int):
            return given
        reader, writer = open_pipe()
        theirs.enter_context(writer)
        self._streams.append(Output(self._process, self._keep(reader), given))
        return writer

    def _keep(self, end: FileIO) -> FileIO:
        os.set_blocking(end.fileno(), False)
        return self.ours.enter_context(end)

    async def _stop(self) -> None:
        """Terminate it, kill it if it lingers, and reap it."""
        try:
            self._signal(signal.SIGTERM)
            with anyio.move_on_after(self._process._grace):
                await self._running.wait()
        finally:  # a second Ctrl-C gets here, too
            self._signal(signal.SIGKILL)
            await self._running.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal, unless there is nobody left who could get it.

        It is not sent by way of the event loop: before Python 3.13 that of asyncio reaps a program
        which it finds dead, behind the back of its own code that waits for that.
        """
        if self._process._start_new_session:
            with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all are dead
                os.killpg(self._running.pid, number)
        elif self._running.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._running.pid, number)


def name_missing(exc: OSError, command: str | list[str | bytes], cwd: str | bytes | None) -> None:
    """Note on an error what it is about, which uvloop does not say."""
    if exc.filename is None:
        program = "/bin/sh" if isinstance(command, str) else command[0]
        exc.filename = program if cwd is None or os.path.isdir(cwd) else cwd


# Checks of arguments.


def check_command(command: Any) -> str | list[str | bytes]:
    """Give back a command for the shell, or a program and its arguments."""
    if isinstance(command, (list, tuple)):
        items = cast("Sequence[Any]", command)
        given = [check_path(item, "an item of a command") for item in items]
        if given and given[0]:
            return given
    elif not isinstance(command, str):
        raise TypeError(
            f"a command is [program, argument, ...], or one string for the shell, got {command!r}"
        )
    elif command.strip():
        return command
    raise ValueError(f"a command begins with the name of a program, got {command!r}")


def check_path(path: Any, name: str) -> str | bytes:
    """Refuse anything but a string, bytes, and paths."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} is a string or a path, got {path!r}")
    given: str | bytes = os.fspath(cast("Argument", path))
    if "\0" in os.fsdecode(given):
        raise ValueError(f"{name} has no zero byte in it, got {path!r}")
    return given


def check_output(given: Any, name: str, **constants: int) -> OnLine | int | None:
    """Refuse anything but a function of a line, some constants, and ``None``."""
    if given is None or callable(given) or given in constants.values():
        return cast("OnLine | int | None", given)
    others = ", ".join(f"subprocess.{each}" for each in constants)
    problem = _mistaken(given)
    discard(given)
    raise TypeError(f"{name} is a function of a line, {others}, or None: got {problem}")


def check_input(data: Any) -> bytes | None:
    """Refuse anything but bytes, and ``None``."""
    if data is None or isinstance(data, bytes):
        return data
    raise TypeError(f"input is bytes, such as text.encode() gives, or None, got {data!r}")


def check_limit(limit: Any) -> int | None:
    """Refuse anything but a number of bytes from 1, and ``None``."""
    if limit is not None and not isinstance(limit, int):
        raise TypeError(f"limit is a number of bytes or None, got {limit!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is 1 byte or more, or None for no limit, got {limit!r}")
    return limit
