"""The other process of the rows on ZeroMQ and on descriptors, which blocks.

What it does, and the address to which it connects, are its arguments::

    python sender.py flood tcp://127.0.0.1:5555 100000     # sends so many messages of 64 bytes
    python sender.py answer ipc:///tmp/x                   # answers requests until it is killed
    python sender.py feed 10,11,12 100000                  # writes to descriptors in turn
    python sender.py pace tcp://127.0.0.1:5555 2000        # sends numbers, one each millisecond
"""

from __future__ import annotations

import os
import sys
import time

import zmq


def flood(address: str, number: str) -> None:
    """Send as fast as it can."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(address)
        for _ in range(int(number)):
            socket.send(b"x" * 64)


def answer(address: str) -> None:
    """Send each request back."""
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.connect(address)
        while True:
            socket.send(socket.recv())


def feed(numbers: str, messages: str) -> None:
    """Write to descriptors that were opened before, 64 bytes to each in turn."""
    descriptors = list(map(int, numbers.split(",")))
    for _ in range(int(messages) // len(descriptors)):
        for descriptor in descriptors:
            os.write(descriptor, b"x" * 64)
    while True:
        time.sleep(1000)  # their end would be an event


def pace(address: str, number: str) -> None:
    """Send a number each millisecond."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(address)
        begun = time.monotonic()
        for n in range(int(number)):
            time.sleep(max(0, begun + n / 1000 - time.monotonic()))
            socket.send(b"%d" % n)


if __name__ == "__main__":
    {"flood": flood, "answer": answer, "feed": feed, "pace": pace}[sys.argv[1]](*sys.argv[2:])
