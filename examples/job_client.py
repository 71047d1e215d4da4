"""A client of the job server: have a program run, show its output, exit with its status.

::

    python examples/job_client.py count 3
    python examples/job_client.py --server tcp://127.0.0.1:5670 factors 5040
    JOB='count 3' aiowire run examples/job_client.py:main

A server that was started with ``--curve`` asks for a key, and has to prove its own; for the files
see ``job_keys.py``::

    python examples/job_client.py --key ann.key_secret --server-key server.key count 3

The exit status is that of the program; 124 if it took too long, 128 and its number if it was
killed by a signal, 2 if the job was refused, 1 if anything else went wrong. What is not output of
the program goes to stderr. Ctrl-C cancels the job.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import anyio
import zmq
from job_keys import unlock

from aiowire import EventLoop
from aiowire.__main__ import main as aiowire
from aiowire.zmq import Context, Socket

__all__ = ["Show", "Submission", "main", "script"]

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
    :param keys: the files of its secret key and of the server's public key, if the server asks
        for any
    """

    _socket: Socket

    def __init__(
        self,
        context: Context,
        server: str,
        command: Sequence[str],
        show: Show,
        identity: bytes = b"",
        keys: tuple[Path, Path] | None = None,
    ) -> None:
        self._context = context
        self._server = server
        self._command = [each.encode() for each in command]
        self._show = show
        self._identity = identity
        self._keys = keys
        self._tag = uuid.uuid4().hex.encode()
        self._status: int | None = None

    async def run(self) -> int:
        """Submit the job, see it through, and give back the exit status for it.

        *Cancellation*: cancels the job.
        """
        with self._context.socket(zmq.DEALER) as self._socket:
            self._connect()
            try:
                await self._submit()
            except zmq.Again:
                self._show("error", f"{self._server} has been silent for {SILENCE:g} s".encode())
            finally:
                if self._status is None:
                    with anyio.CancelScope(shield=True), suppress(zmq.Again):  # no room: it is gone
                        await self._socket.send_multipart([b"cancel", self._tag], zmq.DONTWAIT)
        return FAILED if self._status is None else self._status

    def _connect(self) -> None:
        if self._identity:
            self._socket.setsockopt(zmq.IDENTITY, self._identity)
        if self._keys:
            unlock(self._socket, *self._keys)
        self._socket.linger = 500
        self._socket.sndtimeo = self._socket.rcvtimeo = round(1000 * SILENCE)
        self._socket.connect(self._server)

    async def _submit(self) -> None:
        """Ask for the job, and listen until it has ended; :exc:`zmq.Again` in case of silence."""
        await self._socket.send_multipart([b"run", self._tag, *self._command])
        while self._status is None:
            kind, tag, *values = await self._socket.recv_multipart()
            if tag == self._tag:
                self._show(kind.decode(), b" ".join(values))
                self._status = status_of(kind, values)


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


def keys_in_environment() -> tuple[Path, Path] | None:
    """Take JOB_KEY and JOB_SERVER_KEY, of which the one is of no use without the other."""
    own, server = os.environ.get("JOB_KEY"), os.environ.get("JOB_SERVER_KEY")
    if own and server:
        return Path(own), Path(server)
    if own or server:
        raise SystemExit("a client needs both: its own key, and that of the server")
    return None


async def main(ev: EventLoop) -> None:
    """Run the job in the environment variable JOB, and exit with its status."""
    command = shlex.split(os.environ.get("JOB", "hello"))
    server = os.environ.get("JOB_SERVER", "tcp://127.0.0.1:5670")
    with Context() as context:
        job = Submission(context, server, command, show, keys=keys_in_environment())
        try:
            status = await job.run()
        except (OSError, ValueError) as exc:
            raise SystemExit(f"cannot use the keys: {exc}") from None
    sys.exit(status)


def script() -> int:
    """Run the job that is given as arguments."""
    parser = argparse.ArgumentParser(description="Have a job server run a program.")
    parser.add_argument("--server", metavar="ENDPOINT", help="where the server listens")
    parser.add_argument("--key", metavar="FILE", help="the secret key of this client")
    parser.add_argument("--server-key", metavar="FILE", help="the public key of the server")
    parser.add_argument("--backend", metavar="NAME", default="asyncio", help="the event loop")
    parser.add_argument("job", nargs=argparse.REMAINDER, help="a program, and its arguments")
    options = vars(parser.parse_args())
    backend = options.pop("backend")
    if job := options.pop("job"):
        os.environ["JOB"] = shlex.join(job)
    os.environ |= {f"JOB_{name.upper()}": text for name, text in options.items() if text}
    return aiowire(["run", "--backend", backend, f"{__file__}:main"])


if __name__ == "__main__":
    sys.exit(script())
