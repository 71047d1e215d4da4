"""Those who are compared where messages may be lost: the adapters, and what scenarios need.

A scenario is written once and knows a contender by its :class:`Peer` alone. That one has contexts
and sockets from where the rates are measured (:mod:`zeromq`), each used as its documentation says:

- ``aiowire.zmq``: ``await socket.recv()`` on sockets of its ``Context``;
- ``zmq.asyncio``: the same. What is awaited is the future that ``recv()`` returns, and nothing
  around it, since its fate at a time-out may depend on that;
- ``zmq-anyio``: a plain socket, wrapped and opened by ``async with zmq_anyio.Socket(socket)``. Then
  ``bind``, ``connect`` and options are called on the wrapper, which is a ``zmq.Socket``, and what
  waits is ``await socket.arecv()``, as in its README. Its futures raise ``FutureFailed`` where the
  others raise ``zmq.Again``. They are not cancelled with the task that awaits them, and go on to
  take a message. Who keeps the future and cancels it by hand loses fewer, but not none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
import zmq
from anyio.lowlevel import checkpoint
from zeromq import Messages, OurMessages, ZmqAnyio, ZmqAsyncio

#: Nothing goes on any more when nothing has gone on for so many times so long, in seconds.
SLICES, SLICE = 10, 0.1

addresses = (f"inproc://{n}" for n in count())


@dataclass(frozen=True)
class Peer:
    """One way to await ZeroMQ."""

    messages: Messages
    prefix: str = ""  # of the methods that are awaited
    again: type[Exception] = zmq.Again

    def call(self, socket: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method by the name that pyzmq has for it; give what is to be awaited."""
        return getattr(socket, self.prefix + name)(*args, **kwargs)

    @contextmanager
    def context(self) -> Iterator[Any]:
        """Make a context, and destroy it with what may be left in it."""
        context = self.messages.make_context()
        try:
            yield context
        finally:
            context.destroy(0)

    @asynccontextmanager
    async def open(self, context: Any, kind: int, **options: Any) -> AsyncIterator[Any]:
        """Open a socket that can be awaited."""
        with with_options(context.socket(kind), options) as socket:
            async with self.messages.using(socket) as used:
                yield used

    @asynccontextmanager
    async def pair(
        self, context: Any, kinds: tuple[int, int] = (zmq.PAIR, zmq.PAIR), **options: Any
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Open a socket that can be awaited, and a plain one that is connected to it."""
        address = next(addresses)
        plain: Any = zmq.Context.shadow(context.underlying)
        async with self.open(context, kinds[0], **options) as socket:
            with with_options(plain.socket(kinds[1]), swapped(options)) as other:
                socket.bind(address)
                other.connect(address)
                yield socket, other


def with_options(socket: Any, options: dict[str, Any]) -> Any:
    """Set options of a socket, by their names."""
    for name, value in {"LINGER": 0, **options}.items():
        socket.set(getattr(zmq, name), value)
    return socket


def swapped(options: dict[str, Any]) -> dict[str, Any]:
    """Give the options of the other end: what one sends the other receives."""
    other = {"SNDHWM": "RCVHWM", "RCVHWM": "SNDHWM"}
    return {other[name]: value for name, value in options.items()}


def peer_of(name: str) -> Peer:
    """Give the adapter of a contender, which is written as its class in :mod:`zeromq`."""
    if name == "ZmqAnyio":
        from anyio import FutureFailed  # newer than what our library asks for

        return Peer(ZmqAnyio(), "a", FutureFailed)
    return Peer({"OurMessages": OurMessages, "ZmqAsyncio": ZmqAsyncio}[name]())


@dataclass
class Running:
    """A task that was started."""

    cancel: Callable[[], object]
    ended: anyio.Event


#: Starts an async function in a task.
Start = Callable[..., Running]


@asynccontextmanager
async def scopes() -> AsyncIterator[Start]:
    """Start tasks that are cancelled by a cancel scope of their own."""

    async def run(running: Running, scope: Any, function: Any, *args: Any) -> None:
        with scope:
            await function(*args)
        running.ended.set()

    async with anyio.create_task_group() as tasks:

        def start(function: Any, *args: Any) -> Running:
            scope = anyio.CancelScope()
            running = Running(scope.cancel, anyio.Event())
            tasks.start_soon(run, running, scope, function, *args)
            return running

        yield start
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def native() -> AsyncIterator[Start]:
    """Start tasks of asyncio that are cancelled by ``task.cancel()``."""
    import asyncio

    left: set[asyncio.Task[Any]] = set()
    async with asyncio.TaskGroup() as tasks:

        def start(function: Any, *args: Any) -> Running:
            task = tasks.create_task(function(*args))
            running = Running(task.cancel, anyio.Event())
            left.add(task)
            task.add_done_callback(left.discard)
            task.add_done_callback(lambda task: running.ended.set())
            return running

        yield start
        for each in left:
            each.cancel()


@asynccontextmanager
async def until_silent(progress: Callable[[], int]) -> AsyncIterator[Any]:
    """Open a task group for as long as its block runs, or for a second after nothing goes on.

    Time is counted in slices, in each of which the event loop has had its turns: a machine that is
    busy with something else is not taken for silence.
    """
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            slices, last = 0, progress()
            while slices < SLICES:
                await anyio.sleep(SLICE)
                slices, last = slices + 1 if progress() == last else 0, progress()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield tasks
        tasks.cancel_scope.cancel()


async def passes(number: int) -> None:
    """Let the event loop go round so many times."""
    for _ in range(number):
        await checkpoint()
