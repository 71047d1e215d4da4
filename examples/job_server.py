"""A job server: clients send the names of programs, and get their output, line by line.

Alone, for those only who have a key (see ``job_keys.py``), or as a demonstration with three clients
in one process::

    python examples/job_server.py
    python examples/job_server.py --curve DIR
    aiowire run examples/job_server.py:demo

Lines typed while it runs are answered: ``status``, ``stop``, ``quit``. ``stop`` and SIGTERM are an
orderly end: no new jobs are taken, and those it has may go on to their ends for some seconds.
``quit``, and Ctrl-C, end it at once. Each way every program that is left is terminated, killed if
it lingers, and reaped, and heartbeats come to the last. Where it listens and how many programs may
run at a time is set by arguments, or in the environment where it is run as
``aiowire run examples/job_server.py:serve``; see :class:`Settings`.

A client is a ZeroMQ DEALER, and each message is one request or one answer. TAG is the client's
own name for one of its jobs::

    run TAG PROGRAM ARGUMENT...     refused TAG WHY
    cancel TAG                      queued TAG PLACE        each time that it changes
                                    started TAG SECONDS     its time limit
                                    out TAG TEXT            a line, or a piece of a long one,
                                    err TAG TEXT            its line break included
                                    ended TAG HOW DETAIL    see job_runner.Ending
                                    error "" WHY            to what is no request
                                    alive ""                to those with jobs, at each beat

Heartbeats come from a PUB socket, in two frames: ``heartbeat``, and the counts as JSON.

The files, in the order in which to read them: ``job_programs.py``, the table of what may be run;
``job_runner.py``, one program and its output; ``job_peers.py``, clients and their socket;
``job_console.py``, standard input; ``job_keys.py`` and ``job_gate.py``, who is let in; and this
one. ``job_client.py`` is the other side.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import anyio
import zmq
from anyio.lowlevel import checkpoint
from job_client import Submission
from job_console import Console
from job_gate import Gate
from job_peers import Job, Peer, Router
from job_programs import PROGRAMS, Program
from job_runner import Ending, run_program

from aiowire import Call, EventLoop, OnSignal, Poller, Wire
from aiowire.__main__ import main as aiowire
from aiowire.zmq import Context

__all__ = ["Server", "Settings", "demo", "script", "serve"]

Say: TypeAlias = Callable[[str], object]

#: So many jobs may run or wait, and so many of them be one client's.
MOST_JOBS, MOST_OF_ONE = 100, 20

#: So many bytes may the tag of a job have.
LONGEST_TAG = 64

#: Seconds for a client to take the last messages when the server ends.
FAREWELL = 1.0


@dataclass(frozen=True)
class Settings:
    """What can be set."""

    server: str = "tcp://127.0.0.1:5670"
    heartbeats: str = "tcp://127.0.0.1:5671"
    slots: int = 2  # how many programs may run at a time
    beat: float = 1.0  # seconds between heartbeats
    grace: float = 2.0  # seconds for a program to end that was terminated
    patience: float = 30.0  # seconds after which a client is given up that takes nothing
    drain: float = 5.0  # seconds for jobs to end by themselves when the server is stopped
    curve: Path | None = None  # the folder of the keys of those who are let in; else all are

    @staticmethod
    def from_environment() -> Settings:
        """Take JOB_SERVER, JOB_HEARTBEATS, JOB_SLOTS, JOB_DRAIN, JOB_CURVE where they are set."""
        default, get = Settings(), os.environ.get
        slots = get("JOB_SLOTS", str(default.slots))
        if not slots.isdecimal() or int(slots) < 1:
            raise SystemExit(f"JOB_SLOTS is a whole number from 1, not {slots!r}")
        drain = get("JOB_DRAIN", str(default.drain))
        if not drain.replace(".", "", 1).isdecimal():
            raise SystemExit(f"JOB_DRAIN is a number of seconds, 0 or more, not {drain!r}")
        return Settings(
            get("JOB_SERVER", default.server),
            get("JOB_HEARTBEATS", default.heartbeats),
            int(slots),
            drain=float(drain),
            curve=Path(folder) if (folder := get("JOB_CURVE")) else None,
        )


class Server:
    """The job server.

    :param context: for its sockets; the caller's to end
    :param programs: what clients may run, by name
    :param say: gets a line whenever something happens
    :param gate: lets clients in, or not; without one anybody is
    :raises zmq.ZMQError: when it cannot listen at the endpoints of the settings
    """

    def __init__(
        self,
        context: Context,
        settings: Settings,
        programs: Mapping[str, Program] = PROGRAMS,
        say: Say = print,
        gate: Gate | None = None,
    ) -> None:
        self.settings = settings
        self._programs = programs
        self._say = say
        self._gate = gate
        self._quitting, self._stopping = anyio.Event(), anyio.Event()
        self._jobs: list[Job] = []  # that have not ended, in order of arrival
        self._peers: dict[bytes, Peer] = {}  # that have such jobs
        self._moved = anyio.Event()  # set when a job has ended, and others move up
        self._counts: Counter[str] = Counter()
        guard = gate.guard if gate else no_guard
        self._router = Router(context, settings.server, settings.patience, guard)
        self._beats = context.socket(zmq.PUB)
        self._beats.linger = 0
        #: Watches all that the server reads.
        self.poller = Poller({self._router.socket: self._accept}, handler=self._report)
        try:
            guard(self._beats)
            self._beats.bind(settings.heartbeats)
        except zmq.ZMQError:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._router.socket.close()
        self._beats.close()

    # What runs.

    async def run(self, ev: EventLoop) -> None:
        """Serve until :meth:`stop` or :meth:`quit`.

        *Cancellation*, like ``quit``: all programs are ended and their clients told.
        """
        try:
            async with EventLoop() as loop:
                loop.start(Call(self._beat_for_ever), background=True)
                if self._gate:
                    loop.start(Call(self._gate.watch, self._deny), background=True)
                stop = Call(self._stopping.wait) >> Call(loop.stop, self.settings.drain)
                quit_ = Call(self._quitting.wait) >> Call(loop.cancel)
                loop.start(stop, background=True)
                loop.start(quit_, background=True)
                loop.start(self.poller)
                try:
                    await loop.run()
                finally:
                    self._router.hurry(FAREWELL)
        finally:
            with anyio.CancelScope(shield=True):
                for job in list(self._jobs):  # that have not even begun
                    self._forget(job)
                    await self._router.offer(job.peer, "ended", job.tag, *job.ending)
            self._say(f"has ended: {in_words(self.counts())}")

    def stop(self) -> None:
        """Take no more jobs, and end when those there are have ended, or some seconds later."""
        self._say(f"takes no more jobs: {in_words(self.counts())}")
        self._stopping.set()

    def quit(self) -> None:
        """End the server at once."""
        self._quitting.set()

    def _report(self, ev: EventLoop, exc: Exception) -> None:
        """Take a failure that nobody has thought of, and go on."""
        self._counts["failures"] += 1
        traceback.print_exception(type(exc), exc, exc.__traceback__)

    def _deny(self, number: int, why: str) -> None:
        """Take note of those who have been turned away."""
        self._counts["denied"] += number
        self._say(f"denies {'a client' if number == 1 else f'{number} more'}: {why}")

    # Requests.

    async def _accept(self, ev: EventLoop) -> Wire | None:
        """Read a message; the rest is what it asks for."""
        identity, *request = await self._router.socket.recv_multipart()
        peer = self._peers.get(identity)
        if peer is None or peer.is_gone:
            peer = Peer(identity)
        match request:
            case [b"run", tag, program, *arguments] if len(tag) <= LONGEST_TAG:
                return await self._admit(peer, tag, program, arguments)
            case [b"cancel", tag]:
                if tag in peer.jobs:
                    peer.jobs[tag].cancel("as its client wished")
            case _:
                self._counts["junk"] += 1
                why = "a request is: run TAG PROGRAM ARGUMENT..., or: cancel TAG"
                await self._router.offer(peer, "error", b"", why)
        return None

    async def _admit(
        self, peer: Peer, tag: bytes, program: bytes, arguments: Sequence[bytes]
    ) -> Wire | None:
        """Give the wire that sees a job through, unless the job is refused."""
        try:
            job = self._make_job(peer, tag, program, arguments)
        except ValueError as exc:
            self._counts["refused"] += 1
            self._say(f"refuses {program[:40]!r} for {peer}: {exc}")
            await self._router.offer(peer, "refused", tag, str(exc))
            return None
        self._jobs.append(job)
        peer.jobs[tag] = job
        self._peers[peer.identity] = peer
        return Wire(self._see_through, job)

    def _make_job(self, peer: Peer, tag: bytes, name: bytes, arguments: Sequence[bytes]) -> Job:
        """Make a job of a request; a ValueError says why not."""
        program = self._programs.get(name.decode(errors="replace"))
        if program is None:
            raise ValueError(f"the programs are: {', '.join(self._programs)}")
        command = program.command_line(arguments)
        if tag in peer.jobs:
            raise ValueError("there is a job with this tag already")
        if len(self._jobs) >= MOST_JOBS or len(peer.jobs) >= MOST_OF_ONE:
            raise ValueError("there are too many jobs, try again later")
        title = b" ".join([name, *arguments]).decode()
        return Job(peer, tag, title, command, program.seconds)

    # Jobs.

    async def _see_through(self, ev: EventLoop, job: Job) -> None:
        """Wait for a job's turn, run it, and tell how it ended."""
        try:
            with job.scope:
                await self._wait_for_turn(job)
                job.ending = await self._run(job)
        except Exception:
            job.ending = Ending("failed", "by an error in the server")
            raise
        finally:
            self._forget(job)
            with anyio.CancelScope(shield=True):
                await self._router.send(job.peer, "ended", job.tag, *job.ending)

    async def _wait_for_turn(self, job: Job) -> None:
        """Wait until there is a slot, and tell the client its place in the queue meanwhile."""
        await checkpoint()  # it may have been cancelled already
        told = 0
        while (place := self._jobs.index(job) + 1 - self.settings.slots) > 0:
            moved = self._moved  # while its client is told, it may be set, and be another then
            if place != told and await self._router.offer(job.peer, "queued", job.tag, str(place)):
                told = place
            await moved.wait()

    async def _run(self, job: Job) -> Ending:
        """Run the program of a job."""
        job.is_running = True
        self._say(f"starts {job}")
        await self._router.send(job.peer, "started", job.tag, f"{job.seconds:g}")

        async def send(stream: bytes, text: bytes) -> None:
            await self._router.send(job.peer, stream.decode(), job.tag, text)

        try:
            return await run_program(job.command, job.seconds, send, self.settings.grace)
        except OSError as exc:
            return Ending("failed", f"{job.command[0]}: {exc.strerror}")

    def _forget(self, job: Job) -> None:
        """Let the others move up."""
        self._counts[job.ending.how] += 1
        self._jobs.remove(job)
        peer = job.peer
        del peer.jobs[job.tag]
        if not peer.jobs and self._peers.get(peer.identity) is peer:
            del self._peers[peer.identity]
        self._moved.set()
        self._moved = anyio.Event()
        self._say(f"has done {job}: {' '.join(job.ending)}")

    # What it says by itself, and when asked.

    def counts(self) -> dict[str, int]:
        """Count jobs, clients and messages."""
        running = sum(job.is_running for job in self._jobs)
        waiting = len(self._jobs) - running
        return {"running": running, "queued": waiting, "clients": len(self._peers), **self._counts}

    def command(self, line: str) -> None:
        """Do what was typed."""
        if line == "quit":
            self.quit()
        elif line == "stop":
            self.stop()
        elif line == "status":
            self._say(in_words(self.counts()))
            for job in self._jobs:
                self._say(f"{'runs' if job.is_running else 'has queued'} {job}")
        else:
            self._say("knows these commands: status, stop, quit")

    async def _beat_for_ever(self) -> None:
        """Publish heartbeats, and see which clients are still there.

        It is no ``Forever``, which would end when the server is stopped: it goes on to the last.
        """
        while True:
            await self._beat()
            await anyio.sleep(self.settings.beat)

    async def _beat(self) -> None:
        await self._beats.send_multipart([b"heartbeat", json.dumps(self.counts()).encode()])
        for peer in list(self._peers.values()):
            await self._router.offer(peer, "alive", b"")


def no_guard(socket: object) -> None:
    """Let anybody in."""


def in_words(counts: Mapping[str, int]) -> str:
    """Say counts in one line."""
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def say(who: str, text: str) -> None:
    """Print a line. The server goes on where nobody reads it any more."""
    with suppress(BrokenPipeError):
        print(f"{who:6} | {text}", flush=True)


async def serve(ev: EventLoop) -> None:
    """Run the server until it is told to end."""
    settings = Settings.from_environment()
    with Context() as context, ExitStack() as stack:
        try:
            gate = Gate(context, settings.curve) if settings.curve else None
            if gate:
                stack.enter_context(gate)
            server = Server(context, settings, say=partial(say, "server"), gate=gate)
        except zmq.ZMQError as exc:
            raise SystemExit(f"cannot listen: {exc}") from None
        except (OSError, ValueError) as exc:
            raise SystemExit(f"cannot use the keys: {exc}") from None
        with server:
            if sys.stdin is not None:
                Console(sys.stdin.fileno(), server.poller, server.command)
            ev.start(OnSignal(signal.SIGTERM, Call(server.stop)), background=True)
            say("server", f"listens at {settings.server}, heartbeats at {settings.heartbeats}")
            await server.run(ev)


async def demo(ev: EventLoop) -> None:
    """Run the server and three clients in this process, and end when all are served."""
    settings = Settings("inproc://jobs", "inproc://heartbeats", beat=0.5)
    with Context() as context, Server(context, settings, say=partial(say, "server")) as server:
        async with EventLoop() as everything:
            everything.start(server.run)
            listening = everything.start(Wire(listen, context, settings.heartbeats))
            order = partial(submit, context, settings.server)
            async with EventLoop() as clients:
                clients.start(order("ann", "count 4"))
                clients.start(order("bob", "sleep 60"))
                clients.start(order("cid", "rm -rf /") >> order("cid", "fail"))
            server.quit()
            listening.cancel()


def submit(context: Context, server: str, who: str, command: str) -> Wire:
    """Make the wire of a client that submits a job, and tells all about it."""

    def show(kind: str, text: bytes) -> None:
        say(who, f"{kind}: {text.decode().rstrip()}")

    def leave(status: int) -> None:
        say(who, f"leaves with exit status {status}")

    job = Submission(context, server, command.split(), show, who.encode())
    return Call(say, who, f"wants: {command}") >> Call(job.run).then(leave)


async def listen(ev: EventLoop, context: Context, heartbeats: str) -> None:
    """Print each heartbeat."""
    with context.socket(zmq.SUB) as socket:
        socket.connect(heartbeats)
        socket.subscribe(b"")
        while True:
            _, counts = await socket.recv_multipart()
            say("beat", in_words(json.loads(counts)))


def script() -> int:
    """Serve, with the settings that are given as arguments."""
    parser = argparse.ArgumentParser(description="Run programs for clients.")
    keys = "let only those in whose keys are in DIR/clients; see job_keys.py"
    parser.add_argument("--curve", metavar="DIR", help=keys)
    parser.add_argument("--server", metavar="ENDPOINT", help="where to listen")
    parser.add_argument("--heartbeats", metavar="ENDPOINT", help="where to publish heartbeats")
    parser.add_argument("--slots", metavar="N", help="how many programs may run at a time")
    parser.add_argument("--backend", metavar="NAME", default="asyncio", help="the event loop")
    options = vars(parser.parse_args())
    backend = options.pop("backend")
    os.environ |= {f"JOB_{name.upper()}": text for name, text in options.items() if text}
    return aiowire(["run", "--backend", backend, f"{__file__}:serve"])


if __name__ == "__main__":
    sys.exit(script())
