"""The examples as programs of their own, run by the command as a reader would run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

import aiowire
from aiowire import Call, EventLoop, OnSignal, UnhandledException

from .job_bench import EXAMPLES, assert_gone

# From the examples, which job_bench has put on the path.
from watchdog import free_port, watch  # isort: skip

#: Everything that the interpreter could complain about is an error.
AIOWIRE = [sys.executable, "-W", "error", "-m", "aiowire", "run"]


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach the examples where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(name: str, backend: str, **environment: str) -> subprocess.Popen[str]:
    """Start an example."""
    return subprocess.Popen(
        [*AIOWIRE, "--backend", backend, str(EXAMPLES / name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def output(example: subprocess.Popen[str], typed: str = "") -> list[str]:
    """Wait for the end of an example, which must be a good one, and give what it has written."""
    out, err = example.communicate(typed, timeout=30)
    assert (example.returncode, err) == (0, "")
    return out.splitlines()


def test_the_small_ones(backend_name: str) -> None:
    names = "alarms.py:main", "echo.py:main", "echo.py:main", "states.py:main", "timers.py:main"
    alarms, echo, silence, states, timers = (start(name, backend_name) for name in names)
    assert output(echo, "hello\n") == ["echo: hello"]
    assert output(silence) == []
    assert output(states) == [
        *["idle", "dialling", "engaged"] * 2,
        *["idle", "dialling", "talking"],
    ]
    lines = output(alarms)
    assert lines.pop(0).startswith("The alarm is (Call(print, 'beep') >> Call(sleep, 0.1)) * 3 >>")
    lines.remove("The water boils.")
    assert lines == ["Good morning!", *["beep"] * 5, "BEEP"]
    lines = output(timers)
    assert lines[:2] == ["tick", "        tock"]
    failed = lines.index("failed: no answer from the thermometer")
    assert failed < lines.index("going on without it")
    assert 2 <= lines.count("tick") <= 5
    assert lines[-1] == "time is up"


# The demonstration.


def test_the_demo_shows_everything_and_ends_by_itself(backend_name: str) -> None:
    began = time.monotonic()
    lines = output(start("job_server.py:demo", backend_name))
    assert time.monotonic() - began < 10
    said = {who: [line for line in lines if line.startswith(who)] for who in ("ann", "bob", "cid")}
    assert said["ann"] == [
        "ann    | wants: count 4",
        "ann    | started: 300",
        *(f"ann    | out: {number}" for number in range(1, 5)),
        "ann    | ended: exited 0",
        "ann    | leaves with exit status 0",
    ]
    assert said["bob"] == [
        "bob    | wants: sleep 60",
        "bob    | started: 1",
        "bob    | ended: timed out after 1 s",
        "bob    | leaves with exit status 124",
    ]
    refused, failed = said["cid"][:3], said["cid"][3:]
    assert refused == [
        "cid    | wants: rm -rf /",
        "cid    | refused: the programs are: hello, count, factors, calendar, sleep, fail",
        "cid    | leaves with exit status 2",
    ]
    assert failed[0] == "cid    | wants: fail"
    assert sorted(failed[-4:-2]) == ["cid    | err: this went wrong", "cid    | out: about to fail"]
    assert failed[-2:] == ["cid    | ended: exited 1", "cid    | leaves with exit status 1"]
    assert sum(line.startswith("beat   | ") for line in lines) >= 2
    assert lines[-1].startswith("server | has ended: 0 running, 0 queued, 0 clients, 1 refused")


# The watchdog.


def test_the_watchdog_starts_a_service_anew_until_it_fails_too_often() -> None:
    watchdog = subprocess.run(
        [sys.executable, str(EXAMPLES / "watchdog.py")], capture_output=True, text=True, check=False
    )
    assert watchdog.returncode == 1
    lines = [line.partition(" at ")[0] for line in watchdog.stdout.splitlines()]
    assert lines == ["starts", "serves", "fails: the service does not answer"] * 3
    assert "TimeoutError: the service does not answer" in watchdog.stderr


@pytest.mark.parametrize("ending", ["ends well", "dies", "is stopped"])
def test_the_watchdog_ends_with_its_service(backend_name: str, ending: str) -> None:
    port = free_port()
    end = "os._exit(0)" if ending == "ends well" else "os.abort()"
    said = []

    def say(text: str) -> None:
        said.append(text)
        if text == "serves" and ending == "is stopped":
            os.kill(os.getpid(), signal.SIGTERM)

    service = f"import os, socket; print('serves', flush=True); {end}"
    if ending == "is stopped":
        service = "import time; print('serves', flush=True); time.sleep(1000)"

    def main(ev: EventLoop) -> Any:
        ev.start(OnSignal(signal.SIGTERM, Call(ev.cancel)), background=True)
        return watch([sys.executable, "-c", service], port, say, intensity=(2, 60))

    if ending == "dies":
        with pytest.raises(UnhandledException) as info:
            aiowire.run(main, backend=backend_name)
        assert isinstance(leaf(info.value), subprocess.CalledProcessError)
        assert said.count("starts") == 3
    else:
        aiowire.run(main, backend=backend_name)
        assert said == ["starts", "serves"]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def leaf(exc: Any) -> BaseException:
    """Give the failure in groups of one."""
    while hasattr(exc, "exceptions"):
        (exc,) = exc.exceptions
    return exc


# The job server and its clients, each in a process.

SERVER = """
import dataclasses, sys
sys.path.insert(0, {examples!r})
import job_programs, job_server
from job_programs import Program, python, whole

def shell(code, seconds=60):
    return Program(("sh", "-c", code), (), seconds)

job_programs.PROGRAMS |= dict(
    wait=shell("echo $$; exec sleep 1000"),
    slow=shell("echo $$; exec sleep 1000", seconds=0.3),
    stubborn=shell("trap '' TERM; echo $$; while :; do sleep 1000; done"),
    careful=shell("trap 'echo cleaned up; exit' TERM; echo $$; sleep 1000 & wait"),
    lines=python("for i in range(3000): print(i)\\nprint('end', end='')"),
)

# Shorter times than one would like to have.
job_server.Settings.from_environment = lambda take=job_server.Settings.from_environment: (
    dataclasses.replace(take(), grace=0.2, beat=0.1)
)
serve = job_server.serve
"""


class Server:
    """A server in a process of its own."""

    def __init__(
        self,
        folder: Path,
        backend: str,
        stdin: int,
        launcher: Sequence[str],
        drain: float,
    ) -> None:
        self.place = f"ipc://{folder}/jobs"
        self.environment = {
            **os.environ,
            "JOB_SERVER": self.place,
            "JOB_HEARTBEATS": f"ipc://{folder}/beats",
            "JOB_DRAIN": str(drain),
        }
        file = folder / "server.py"
        file.write_text(SERVER.format(examples=str(EXAMPLES)))
        self.process = subprocess.Popen(
            [*launcher, *AIOWIRE, "--backend", backend, f"{file}:serve"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        self.said: list[str] = []

    def until(self, is_it: Callable[[str], bool]) -> str:
        """Read what the server writes up to a certain line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if is_it(line):
                return line
        raise AssertionError(f"the server has ended: {self.said}")

    def end(self) -> int:
        """Read the rest, and give the exit status."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.readlines()
        return self.process.wait()

    def client(self, job: str) -> subprocess.Popen[str]:
        """Start a client."""
        return subprocess.Popen(
            [*AIOWIRE, str(EXAMPLES / "job_client.py:main")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment, "JOB": job},
        )


@contextmanager
def serving(
    backend: str,
    stdin: int = subprocess.DEVNULL,
    launcher: Sequence[str] = (),
    drain: float = 0.1,
) -> Iterator[Server]:
    # Not tmp_path, which may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="jobs") as folder:
        server = Server(Path(folder), backend, stdin, launcher, drain)
        try:
            server.until(lambda line: "listens" in line)
            yield server
        finally:
            server.process.terminate()  # does nothing to one that has ended
            try:
                server.process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.communicate()


@contextmanager
def asking(server: Server, *requests: Sequence[bytes]) -> Iterator[Callable[[bytes], list[bytes]]]:
    """A client in this process: sends the requests, and gives a function to receive.

    That waits for a message of a kind, and gives what is in it.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = 30_000
        socket.connect(server.place)
        for request in requests:
            socket.send_multipart(request)

        def receive(kind: bytes) -> list[bytes]:
            while (message := socket.recv_multipart())[0] != kind:
                assert message[0] not in (b"refused", b"error", b"ended")
            return message[1:]

        yield receive


def test_clients_get_their_output_and_exit_with_the_status(backend_name: str) -> None:
    with serving(backend_name) as server:
        jobs = ["lines", "slow", "fail", "rm -rf /"]
        clients = [server.client(job) for job in jobs]
        ended = [(*client.communicate(timeout=30), client.returncode) for client in clients]
        (lines, _, a), (pid, slow, b), (told, failed, c), (_, refused, d) = ended
        assert (a, b, c, d) == (0, 124, 1, 2)
        assert lines == "".join(f"{i}\n" for i in range(3000)) + "end"
        assert slow.endswith("[ended timed out after 0.3 s]\n")
        assert_gone(int(pid))
        assert told == "about to fail\n"
        assert "\nthis went wrong\n" in failed
        assert refused.startswith("[refused the programs are: hello, ")
        server.process.send_signal(signal.SIGINT)
        assert server.end() == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_every_program(
    backend_name: str, number: signal.Signals
) -> None:
    with serving(backend_name) as server, ExitStack() as stack:
        receive, pids = [], []
        for job, kind in (b"careful", b"out"), (b"stubborn", b"out"), (b"wait", b"queued"):
            receive.append(stack.enter_context(asking(server, [b"run", b"1", job])))
            pids.append(int(receive[-1](kind)[1]))
        assert pids.pop() == 1  # a place in the queue
        server.process.send_signal(number)
        assert receive[0](b"out") == [b"1", b"cleaned up\n"]
        for each in receive:
            assert each(b"ended") == [b"1", b"cancelled", b"for the server ends"]
        assert server.end() == (0 if number == signal.SIGTERM else 128 + number)
        for pid in pids:
            assert_gone(pid)
    assert "Traceback" not in "".join(server.said)


def test_an_impatient_user_leaves_no_program_behind(backend_name: str) -> None:
    """A second and third Ctrl-C come while the programs are being ended."""
    with serving(backend_name) as server, asking(server, [b"run", b"1", b"stubborn"]) as receive:
        pid = int(receive(b"out")[1])
        for _ in range(3):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        server.end()
        assert_gone(pid)


def test_a_client_that_is_killed_ends_its_program(backend_name: str) -> None:
    with serving(backend_name) as server:
        for number in signal.SIGKILL, signal.SIGINT:
            client = server.client("wait")
            assert client.stdout is not None
            pid = int(client.stdout.readline())
            client.send_signal(number)
            client.communicate()
            assert client.returncode == (130 if number == signal.SIGINT else -9)
            assert "cancelled" in server.until(lambda line: "has done wait" in line)
            assert_gone(pid)


def test_the_server_goes_on_where_nobody_reads_what_it_says(backend_name: str) -> None:
    with serving(backend_name) as server:
        assert server.process.stdout is not None
        server.process.stdout.close()
        for _ in range(2):
            with asking(server, [b"run", b"1", b"hello"]) as receive:
                assert receive(b"ended") == [b"1", b"exited", b"0"]
        server.process.terminate()
        server.process.wait()


def test_lines_typed_at_a_pipe_are_answered_and_its_end_is_not_the_end(backend_name: str) -> None:
    reader, writer = os.pipe()
    with serving(backend_name, stdin=reader) as server:
        os.close(reader)
        os.write(writer, b"what?\nstatus\n")
        server.until(lambda line: "knows these commands: status, stop, quit" in line)
        server.until(lambda line: "0 running, 0 queued, 0 clients" in line)
        os.close(writer)
        with asking(server, [b"run", b"1", b"hello"]) as receive:
            assert receive(b"ended") == [b"1", b"exited", b"0"]
        server.process.terminate()
        assert server.end() == 0


def test_lines_typed_at_a_terminal_are_answered(backend_name: str) -> None:
    ours, theirs = os.openpty()
    with serving(backend_name, stdin=theirs) as server:
        os.close(theirs)
        with asking(server, [b"run", b"1", b"wait"]) as receive:
            pid = int(receive(b"out")[1])
            os.write(ours, b"status\n")
            server.until(lambda line: "1 running, 0 queued, 1 clients" in line)
            os.write(ours, b"quit\n")
            assert receive(b"ended") == [b"1", b"cancelled", b"for the server ends"]
        assert server.end() == 0
        assert_gone(pid)
    os.close(ours)


#: Starts a program in the background of a terminal, as a shell does with &.
IN_BACKGROUND = """
import os, subprocess, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
server = subprocess.Popen(sys.argv[2:], stdin=terminal, preexec_fn=os.setpgrp)
print(server.pid, flush=True)
sys.exit(server.wait())
"""


def test_a_server_in_the_background_leaves_the_terminal_alone(backend_name: str) -> None:
    """One that reads there is stopped by the kernel, and serves nobody."""
    ours, theirs = os.openpty()
    launcher = [sys.executable, "-c", IN_BACKGROUND, os.ttyname(theirs)]
    with serving(backend_name, launcher=launcher) as server:
        os.close(theirs)
        os.write(ours, b"status\nquit\n")
        with asking(server, [b"run", b"1", b"hello"]) as receive:
            assert receive(b"ended") == [b"1", b"exited", b"0"]
        os.kill(int(server.said[0]), signal.SIGTERM)
        assert server.end() == 0
        assert not any("0 clients" in line for line in server.said[:-2])
    os.close(ours)


def test_a_place_that_is_taken_is_a_clear_error(backend_name: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as other:
        place = f"tcp://127.0.0.1:{other.bind_to_random_port('tcp://127.0.0.1')}"
        server = start("job_server.py:serve", backend_name, JOB_SERVER=place)
        assert server.communicate() == (
            "",
            f"cannot listen: Address already in use (addr='{place}')\n",
        )
        assert server.returncode == 1
