"""A watchdog: it keeps a service running, and the service alone does not notice.

A service is started as a program. It is asked how it is, first again and again with growing waits
until it answers, then at regular times. When it dies, or does not answer in time, it is ended and
started anew; when that happens too often, the watchdog gives up. When either ends for good the
other is stopped, too. All that is one wire, :func:`watch`. ::

    python examples/watchdog.py                     # a service that hangs after three answers
    python examples/watchdog.py 5671 my-service     # one of your own, which answers at this port

A service is healthy if it takes a connection at its port and says something. When it ends by
itself, with status 0, so does the watchdog; when it cannot be kept running, with its last failure.
"""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import anyio

import aiowire
from aiowire import (
    Call,
    Catch,
    EventLoop,
    Every,
    OnSignal,
    Process,
    Retry,
    Timeout,
    Wire,
)

__all__ = ["main", "watch"]

#: What makes it necessary to start the service anew.
FAILURES = (OSError, subprocess.CalledProcessError)

#: A service to try it with: it answers some times, and then hangs.
SERVICE = """
import socket, sys, time
port, answers = map(int, sys.argv[1:])
with socket.create_server(("127.0.0.1", port)) as server:
    print("serves at", port, flush=True)
    for _ in range(answers):
        server.accept()[0].send(b"I am fine")
    time.sleep(1000)
"""


async def ask(port: int) -> None:
    """See that the service takes a connection, and says something."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.receive()


def hang() -> None:
    """Say that it does not."""
    raise TimeoutError("the service does not answer")


def watch(
    command: Sequence[str],
    port: int,
    say: Callable[[str], object] = print,
    *,
    period: float = 1.0,
    patience: float = 2.0,
    intensity: tuple[int, float] = (5, 60),
) -> Wire:
    """Make the wire that keeps a service running.

    :param command: starts the service
    :param port: where it answers
    :param say: gets what happens, and what the service prints, a line at a time
    :param period: seconds from one question to the next
    :param patience: seconds that an answer may take
    :param intensity: give up after more than so many failures within so many seconds
    """

    def report(ev: EventLoop, exc: Exception) -> None:
        say(f"fails: {exc}")
        raise exc

    question = Timeout(Call(ask, port), patience, Call(hang))
    health = Retry(question, OSError, attempts=8, wait_initial=0.05) >> Every(period, question)
    service = Process(command, stdout=lambda line: Call(say, line.decode()), start_new_session=True)
    life = Call(say, "starts") >> (service | health)
    return Retry(
        Catch(life, report, FAILURES),
        FAILURES,
        attempts=math.inf,
        wait_initial=0.1,
        intensity=intensity,
    )


def main(ev: EventLoop) -> Wire:
    """Watch the service that is named by the arguments, or the one above."""
    ev.start(OnSignal(signal.SIGTERM, Call(ev.cancel)), background=True)
    if sys.argv[1:]:
        port, *command = sys.argv[1:]
        return watch(command, int(port))
    number = free_port()
    command = [sys.executable, "-c", SERVICE, str(number), "3"]
    return watch(command, number, period=0.2, patience=0.5, intensity=(2, 60))


def free_port() -> int:
    """Find a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    aiowire.run(main)
