"""A connection that breaks again and again: what arrives is whole, and comes once."""

from __future__ import annotations

import math
import random
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import anyio
import pytest
import zmq

import aiowire.zmq
from aiowire.backends import _waiters

from .native import full_speed
from .support import STRESS, reset

SEED = random.randrange(2**32)
CUTS = 500 if STRESS else 20

pytestmark = pytest.mark.stress


class Proxy:
    """Passes on one TCP connection after the other, and resets each after so many bytes.

    :param port: where to connect to
    :param cuts: after how many bytes each connection ends; those after the last go on for ever
    """

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._target = ("127.0.0.1", port)
        self._cuts = cuts
        self._server = socket.create_server(("127.0.0.1", 0))
        self._stop, self._stopped = socket.socketpair()
        self.port = self._server.getsockname()[1]
        self.ended = 0

    def run(self) -> None:
        with self._server, self._stopped:
            while self._is_ready(self._server):
                with ExitStack() as stack:
                    ends = self._server.accept()[0], socket.create_connection(self._target)
                    for end in ends:
                        stack.callback(reset, end)
                    with suppress(OSError):
                        self._pass_on(dict(zip(ends, reversed(ends), strict=True)))
                self.ended += 1

    def stop(self) -> None:
        self._stop.close()

    def _is_ready(self, *sources: socket.socket) -> list[socket.socket]:
        """Wait for sources; give none when it is to stop."""
        ready, _, _ = select.select([*sources, self._stopped], [], [])
        return [] if self._stopped in ready else ready

    def _pass_on(self, targets: dict[socket.socket, socket.socket]) -> None:
        left = self._cuts[self.ended] if self.ended < len(self._cuts) else math.inf
        while left > 0:
            ready = self._is_ready(*targets)
            for source in ready:
                data = source.recv(int(min(left, 4096)))
                left -= len(data)
                if not data:
                    return
                targets[source].sendall(data)
            if not ready:
                return


@contextmanager
def proxied(port: int, cuts: list[int]) -> Iterator[Proxy]:
    proxy = Proxy(port, cuts)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()


def message(n: int) -> list[bytes]:
    """A message that shows whether its parts belong together."""
    return [b"%d" % n, b"%d" % n * (n % 700), b"", b"%d" % -n]


END = 10**9  # is the number of the last one

KINDS = {"push": (zmq.PUSH, zmq.PULL), "dealer": (zmq.DEALER, zmq.DEALER)}


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
async def test_a_connection_that_is_cut_again_and_again(
    kinds: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within greetings, parts and between messages; who sends and who receives go on."""
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))
    choose = random.Random(SEED)
    cuts = [choose.randrange(choose.choice([200, 200_000])) for _ in range(CUTS)]
    received: list[int] = []
    sent, last = 0, -1  # how many, and the last one before the last cut

    async def send(sender: aiowire.zmq.Socket) -> None:
        nonlocal sent
        while last < 0 or received[-1] <= last:
            await sender.send_multipart(message(sent))
            sent += 1
        await sender.send_multipart(message(END))

    async def receive(receiver: aiowire.zmq.Socket) -> None:
        parts = await receiver.recv_multipart()
        received.append(int(parts[0]))
        assert parts == message(received[-1]), f"torn; seed {SEED}"

    with full_speed(), aiowire.zmq.Context() as context:
        sender, receiver = map(context.socket, kinds)
        for each in (sender, receiver):
            each.set(zmq.RECONNECT_IVL, 1)
            each.set(zmq.LINGER, 0)
            each.set_hwm(10)
        port = receiver.bind_to_random_port("tcp://127.0.0.1")
        with proxied(port, cuts) as proxy, sender, receiver, anyio.fail_after(CUTS / 10 + 15):
            sender.connect(f"tcp://127.0.0.1:{proxy.port}")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, sender)
                while proxy.ended < CUTS:
                    await receive(receiver)
                last = sent
                # All that is sent now arrives. To close a socket with a part of a message on its
                # way makes libzmq 4.3.5 abort the process, if the connection breaks just then.
                while received[-1] != END:
                    await receive(receiver)
            assert sender.missed_edges == receiver.missed_edges == 0
    print(f"{CUTS} cuts: {sent + 1 - len(received)} of {sent + 1} messages lost")
    assert len(received) == len(set(received)), f"twice; seed {SEED}"
