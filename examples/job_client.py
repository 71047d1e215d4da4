"""A client of the job server: have a program run, show its output, exit with its status.

::

    JOB='count 3' aiowire run examples/job_client.py:main
    JOB_SERVER=tcp://127.0.0.1:5670 JOB='factors 5040' aiowire run examples/job_client.py:main

The exit status is that of the program; 124 if it took too long, 128 and its number if it was
killed by a signal, 2 if the job was refused, 1 if anything else went wrong. What is not output of
the program goes to stderr. Ctrl-C cancels the job.
"""

from __future__ import annotations

import os
import shlex
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import TypeAlias

import anyio
import zmq

from aiowire import EventLoop, Poller

__all__ = ["Show", "Submission", "main"]

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

#: Gets the kind of a message (out, err, queued, started, ended, refused …) and its text.
Show: TypeAlias = Callable[[str, bytes], object]

#: A server has nothing to say to a client for so many seconds only when it is gone.
SILENCE = 10.0

FAILED, REFUSED, TIMED_OUT, KILLED = 1, 2, 124, 128


class Submission:
    """One job, as its client sees it.

    :param server: where the server listens
    :param command: the name of a program of the server's, and its arguments
    :param show: gets everything that the server says about the job
    :param identity: the client's name, which no other client may have at the same time; the
        server makes one up if there is none
    """

    _socket: zmq.Socket[bytes]
    _poller: Poller
    _silence: anyio.CancelScope

    def __init__(
        self,
        context: Context,
        server: str,
        command: Sequence[str],
        show: Show,
        identity: bytes = b"",
    ) -> None:
        self._context = context
        self._server = server
        self._command = [each.encode() for each in command]
        self._show = show
        self._identity = identity
        self._tag = uuid.uuid4().hex.encode()
        self._status: int | None = None

    async def run(self) -> int:
        """Submit the job, see it through, and give back the exit status for it.

        *Cancellation*: cancels the job.
        """
        with self._context.socket(zmq.DEALER) as self._socket:
            self._connect()
            self._send(b"run", self._tag, *self._command)
            try:
                await self._listen()
            finally:
                if self._status is None:
                    self._send(b"cancel", self._tag)
        return FAILED if self._status is None else self._status

    def _connect(self) -> None:
        if self._identity:
            self._socket.setsockopt(zmq.IDENTITY, self._identity)
        self._socket.linger = 500
        self._socket.connect(self._server)
        self._poller = Poller({self._socket: self._receive})

    async def _listen(self) -> None:
        """Receive until the job has ended, or the server is gone."""
        with anyio.move_on_after(SILENCE) as self._silence:
            async with EventLoop() as ev:
                ev.start(self._poller)
        if self._status is None:
            self._show("error", f"{self._server} has been silent for {SILENCE:g} s".encode())

    def _send(self, *frames: bytes) -> None:
        """Send, if there is room, which for so few messages there is."""
        self._socket.send_multipart(frames, zmq.NOBLOCK)

    def _receive(self, ev: EventLoop) -> None:
        """Take one message."""
        kind, tag, *values = self._socket.recv_multipart(zmq.NOBLOCK)
        self._silence.deadline = anyio.current_time() + SILENCE
        if tag == self._tag:
            self._show(kind.decode(), b" ".join(values))
            self._status = status_of(kind, values)
        if self._status is not None:
            self._poller.shutdown()


def status_of(kind: bytes, values: Sequence[bytes]) -> int | None:
    """Give the exit status if this message is the last about a job."""
    match [kind, *values]:
        case [b"ended", b"exited", number]:
            return int(number)
        case [b"ended", b"killed", number]:
            return KILLED + int(number)
        case [b"ended", b"timed out", _]:
            return TIMED_OUT
        case [b"ended", *_]:
            return FAILED
        case [b"refused", *_]:
            return REFUSED
        case _:
            return None


def show(kind: str, text: bytes) -> None:
    """Write output of the program as it is, and the rest to stderr."""
    if kind in ("out", "err"):
        stream = sys.stdout.buffer if kind == "out" else sys.stderr.buffer
        stream.write(text)
        stream.flush()
    else:
        print(f"[{kind} {text.decode(errors='replace')}]", file=sys.stderr, flush=True)


async def main(ev: EventLoop) -> None:
    """Run the job in the environment variable JOB, and exit with its status."""
    command = shlex.split(os.environ.get("JOB", "hello"))
    server = os.environ.get("JOB_SERVER", "tcp://127.0.0.1:5670")
    with zmq.Context() as context:
        status = await Submission(context, server, command, show).run()
    sys.exit(status)
