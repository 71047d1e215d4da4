"""Short programs on one awaitable socket, run action by action, and judged in the silence after.

Stress hides lost wake-ups, since the next call on a socket rescues who sleeps. So here a script is
a few actions long, all scripts of a length are run, and then nothing more happens: whoever sleeps
now although the socket is ready would sleep for ever.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import zmq
from anyio.lowlevel import checkpoint

import aiowire.zmq

from .native import full_speed

#: After so many passes of the event loop nothing goes on that a script has set off.
SILENCE = 8


class Operation:
    """A task that receives or sends, and what became of it."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self.cancel: Callable[[], object] = lambda: None
        self.was_cancelled = False  # from outside
        self.outcome = "waits"
        self.message: Any = None

    @property
    def is_over(self) -> bool:
        return self.outcome != "waits"


class Script:
    """One socket under test, its peer, and all that was done with them."""

    def __init__(
        self, socket: aiowire.zmq.Socket, peer: zmq.Socket[bytes], start: Any, yields: bool
    ) -> None:
        self.socket = socket
        self.peer = peer
        # Each call yields before it does anything, or none does but to wait. Only these are served
        # in the order in which they were begun: trio shuffles tasks that are ready together.
        self._yields = yields
        socket._waiters._until = -math.inf if yields else math.inf
        self._start = start  # starts an async function in a task; gives what cancels it
        self.operations: list[Operation] = []
        self.begun: list[Operation] = []  # the same, in the order in which the tasks began
        self.from_peer: list[int] = []  # messages, in the order in which they were sent
        self.taken: list[int] = []  # those that were received behind the back of the tasks
        self.at_peer: list[int] = []
        self._numbers = itertools.count()

    async def run(self, actions: Any) -> None:
        for action in actions:
            await ACTIONS[action](self)
        for _ in range(SILENCE):
            await checkpoint()

    async def receive(self) -> None:
        self._begin(Operation("receive", next(self._numbers)))

    async def send(self) -> None:
        self._begin(Operation("send", next(self._numbers)))

    async def peer_send(self) -> None:
        number = next(self._numbers)
        with suppress(zmq.Again):
            self.peer.send(b"%d" % number, zmq.NOBLOCK)
            self.from_peer.append(number)

    async def peer_receive(self) -> None:
        with suppress(zmq.Again):
            self.at_peer.append(int(self.peer.recv(zmq.NOBLOCK)))

    async def cancel_oldest(self) -> None:
        self._cancel(0)

    async def cancel_newest(self) -> None:
        self._cancel(-1)

    async def read_events(self) -> None:
        self.socket.get(zmq.EVENTS)

    async def take(self) -> None:
        with suppress(zmq.Again):
            self.taken.append(int(self.socket._plain.recv(zmq.NOBLOCK)))
        self.socket.refresh()

    async def give_way(self) -> None:
        await checkpoint()

    async def settle(self) -> None:
        for _ in range(SILENCE):
            await checkpoint()

    def _begin(self, operation: Operation) -> None:
        self.operations.append(operation)
        operation.cancel = self._start(self._perform, operation)

    async def _perform(self, operation: Operation) -> None:
        self.begun.append(operation)
        try:
            if operation.kind == "receive":
                operation.message = int(await self.socket.recv())
            else:
                operation.message = operation.number
                await self.socket.send(b"%d" % operation.number)
        except anyio.get_cancelled_exc_class():
            operation.outcome = "cancelled"
            raise
        except Exception as exc:
            operation.outcome = repr(exc)
        else:
            operation.outcome = "done"

    def _cancel(self, index: int) -> None:
        waiting = [each for each in self.operations if not (each.is_over or each.was_cancelled)]
        if waiting:
            waiting[index].was_cancelled = True
            waiting[index].cancel()

    def faults(self) -> list[str]:
        """Say what is not as it must be, now that all is silent."""
        found = []
        events = self.socket._plain.get(zmq.EVENTS)
        for each in self.begun:
            flag = zmq.POLLIN if each.kind == "receive" else zmq.POLLOUT
            if each.was_cancelled and not each.is_over:
                found.append(f"{each.kind} {each.number} goes on though it was cancelled")
            elif not each.is_over and events & flag:
                found.append(f"{each.kind} {each.number} sleeps though the socket is ready")
            elif each.outcome not in ("waits", "done", "cancelled"):
                found.append(f"{each.kind} {each.number} failed: {each.outcome}")
            elif each.outcome == "cancelled" and not each.was_cancelled:
                found.append(f"{each.kind} {each.number} was cancelled by nobody")
        received = [each.message for each in self._done("receive")]
        left = drain(self.socket._plain)
        if sorted(received + self.taken + left) != self.from_peer:
            found.append(f"sent {self.from_peer}, got {received}, {self.taken} and {left}")
        if received != sorted(received) and not self._yields:
            found.append(f"not first come, first served: {received}")
        sent = [each.message for each in self._done("send")]
        arrived = self.at_peer + drain(self.peer)
        if sorted(sent) != sorted(arrived):
            found.append(f"sent {sent}, arrived {arrived}")
        if len(self.socket._waiters) != sum(not each.is_over for each in self.begun):
            found.append(f"{len(self.socket._waiters)} tasks are said to wait")
        return found

    def _done(self, kind: str) -> list[Operation]:
        return [each for each in self.begun if each.kind == kind and each.outcome == "done"]


def drain(socket: zmq.Socket[bytes]) -> list[int]:
    messages = []
    with suppress(zmq.Again):
        while True:
            messages.append(int(socket.recv(zmq.NOBLOCK)))
    return messages


ACTIONS: dict[str, Callable[[Script], Any]] = {
    "receive": Script.receive,
    "send": Script.send,
    "peer sends": Script.peer_send,
    "peer receives": Script.peer_receive,
    "cancel oldest": Script.cancel_oldest,
    "cancel newest": Script.cancel_newest,
    "read events": Script.read_events,
    "take": Script.take,
    "give way": Script.give_way,
    "settle": Script.settle,
}


def all_scripts(length: int) -> Iterator[tuple[str, ...]]:
    return itertools.product(ACTIONS, repeat=length)


@asynccontextmanager
async def scopes() -> AsyncIterator[Any]:
    """Start tasks that are cancelled by a cancel scope of their own."""
    async with anyio.create_task_group() as tasks:

        def start(function: Any, *args: Any) -> Any:
            scope = anyio.CancelScope()

            async def run() -> None:
                with scope:
                    await function(*args)

            tasks.start_soon(run)
            return scope.cancel

        yield start
        tasks.cancel_scope.cancel()


names = itertools.count()


async def faults_of(
    actions: Any,
    context: aiowire.zmq.Context,
    plain: zmq.Context[Any],
    starting: Any = scopes,
    yields: bool = False,
) -> list[str]:
    """Run one script on a new pair of sockets of which each queue holds one message."""
    address = f"inproc://script-{next(names)}"
    with context.socket(zmq.PAIR) as socket, plain.socket(zmq.PAIR) as peer:
        for each in (socket, peer):
            each.set(zmq.LINGER, 0)
            each.set(zmq.SNDHWM, 1)
            each.set(zmq.RCVHWM, 1)
        socket.bind(address)
        peer.connect(address)
        async with starting() as start:
            script = Script(socket, peer, start, yields)
            await script.run(actions)
            found = script.faults()
        if len(socket._waiters):
            found.append("tasks wait though all were cancelled")
        return found


async def first_fault(
    scripts: Any, starting: Any = scopes, *, yields: bool = False
) -> tuple[int, Any, list[str]] | None:
    """Run scripts until one goes wrong: its number, its actions, and what went wrong."""
    with full_speed(), aiowire.zmq.Context() as context:
        plain: zmq.Context[Any] = zmq.Context.shadow(context.underlying)
        for number, actions in enumerate(scripts):
            with anyio.fail_after(10):
                found = await faults_of(actions, context, plain, starting, yields)
            if found:
                return number, actions, found
    return None
