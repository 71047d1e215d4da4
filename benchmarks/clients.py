"""The clients of a job server, in a process of their own, which blocks. ::

    python clients.py tcp://127.0.0.1:5555 50 10000    # so many clients, and jobs of them all

Each client has a few jobs under way at a time, and asks for another when one is done. What is
printed in the end are the seconds from the first request to the last answer, and how long each
answer took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack

import zmq

#: How many jobs of one client are under way at a time.
WINDOW = 4


def main(address: str, clients: int, jobs: int) -> None:
    """Ask for all jobs, and print how long that took."""
    asked: dict[bytes, float] = {}
    took: list[float] = []
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        poller = zmq.Poller()
        sockets = [stack.enter_context(context.socket(zmq.DEALER)) for _ in range(clients)]
        for socket in sockets:
            socket.connect(address)
            poller.register(socket, zmq.POLLIN)
        left = iter(range(jobs))

        def ask(socket: zmq.Socket[bytes]) -> None:
            number = next(left, None)
            if number is not None:
                key = b"%d" % number
                asked[key] = time.perf_counter()
                socket.send(key)

        begun = time.perf_counter()
        for socket in sockets * WINDOW:
            ask(socket)
        while len(took) < jobs:
            for ready, _ in poller.poll():
                key = ready.recv()
                took.append(time.perf_counter() - asked.pop(key))
                ask(ready)
        seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "took": took}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
