"""A chain: a started wire, followed from step to step until nothing is left to do.

:func:`follow` is the inner loop of the whole library. It does what this does, only faster and
with a turn for the other tasks in between::

    while wire is not None:
        wire = await take_step(wire, ev)

The speed comes from three things. Composed wires are unfolded here instead of being called, so
a step costs one call whatever surrounds it. A wire that returns itself skips all checks. And
the clock is the only thing looked at between steps: a chain that has to stop or to give way
finds that its time is up.
"""

from __future__ import annotations

from _thread import _local as local  # without the rest of `threading`, which takes long to import
from collections.abc import Awaitable, Callable
from contextvars import Context
from time import monotonic
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio

from ._check import bad_rest, name_of
from ._errors import annotate, bare, sort_out
from ._wire import COMPOSITES, AnyWire, Rest, Todo, expose, is_awaitable, is_callable

if TYPE_CHECKING:
    from ._loop import EventLoop
    from ._watch import Slot
    from ._worker import Worker

__all__ = ["Handle", "Handler"]

#: Gets the failure of a chain; may be async; the wire that it returns goes on in that chain.
Handler: TypeAlias = Callable[["EventLoop", Exception], "Rest | Awaitable[Rest]"]

#: How long a chain may run, in seconds, before other tasks get their turn.
SLICE = 0.001

#: The time when the slice of a chain ends that has to stop.
AT_ONCE = float("-inf")


class Turn:
    """Whose turn it is in a thread, and until when that chain may go on.

    Chains do not run inside one another: a thread has one event loop at a time. So whoever cancels
    something need not look for the chains that must stop. Only one can be running, and it sees at
    its next step that its time is up.
    """

    __slots__ = ("chain", "until")

    def __init__(self) -> None:
        self.chain: Handle | None = None  # the one whose code is running this moment
        self.until = AT_ONCE


_of_thread = local()


def this_turn() -> Turn:
    """Give the turn of this thread."""
    try:
        turn: Turn = _of_thread.turn
    except AttributeError:
        turn = _of_thread.turn = Turn()
    return turn


class Handle:
    """One chain, as the code sees it that started the wire.

    Made by :meth:`EventLoop.start() <aiowire.EventLoop.start>`, never by hand.
    """

    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_code",
        "_context",
        "_done",
        "_ended",
        "_ev",
        "_exception",
        "_handler",
        "_loop",
        "_name",
        "_offset",
        "_wire",
        "_worker",
    )

    def __init__(
        self,
        loop: EventLoop,
        ev: EventLoop,
        wire: AnyWire,
        handler: Handler | None,
        name: str | None,
        context: Context,
        code: CodeType,
        offset: int,
    ) -> None:
        self._loop = loop  # the loop that the chain belongs to
        self._ev = ev  # the loop that its wires are called with
        self._wire = wire
        self._handler = handler
        self._name = name
        self._context = context
        self._code = code  # where it was started, see annotate()
        self._offset = offset
        self._worker: Worker | None = None  # the task that runs it, once it has begun
        self._ended: anyio.Event | Slot | None = None  # told when it has ended
        self._exception: Exception | None = None
        self._cancelled = False
        self._done = False

    @property
    def name(self) -> str:
        """The name given to ``start``, or else the wire as text."""
        return name_of(self._wire) if self._name is None else self._name

    @property
    def done(self) -> bool:
        """Whether the chain has ended: run to its end, failed, or been cancelled."""
        return self._done

    @property
    def exception(self) -> Exception | None:
        """The failure that the chain ended with, or ``None``.

        It is ``None`` while the chain runs, and after it has run to its end, was cancelled, or
        had its failure taken by its handler.
        """
        return self._exception

    def cancel(self) -> None:
        """Cancel the chain, and leave all others alone.

        A chain that has not begun never will. One that waits for something gets the
        cancellation there; one that is between two steps stops. The chain ends once its
        clean-up has run: ``await handle.wait()`` to know. A chain that has ended is left as it
        is. The failure handler never sees a cancellation.
        """
        if self._done:
            return
        self._cancelled = True
        if self._worker is None:
            self._loop._chain_ended(self)
        else:
            assert self._worker.task is not None  # that is so only after a chain's end
            self._worker.task.cancel()
            self._loop._crew.turn.until = AT_ONCE

    async def wait(self) -> None:
        """Wait until the chain has ended, however it ends; its failure is not raised here.

        :raises RuntimeError: when called by the very chain it would wait for

        *Cancellation*: only the waiting is cancelled; the chain runs on.
        """
        if self._loop._crew.turn.chain is self:
            raise RuntimeError(f"wire {self.name!r} cannot wait for its own end")
        if self._ended is None:
            self._ended = anyio.Event()
        if self._done:
            self._ended.set()
        assert isinstance(self._ended, anyio.Event)  # a Slot: only where nobody has the handle
        await self._ended.wait()

    def annotate(self, exc: BaseException) -> None:
        """Note on a failure which wire it ended, and where that was started."""
        annotate(exc, self._wire, self._code, self._offset)

    async def fail(self, exc: Exception) -> Rest:
        """Pass a failure to the handler, of which there must be one."""
        exc = bare(exc)
        self.annotate(exc)
        try:
            return await handle(cast("Handler", self._handler), self._ev, exc)
        finally:
            del exc  # it may know this frame: no cycle is left behind

    def __repr__(self) -> str:
        state = "done" if self._done else "running" if self._worker else "waiting to begin"
        return f"<aiowire.Handle {self.name!r} {state}>"


async def follow(wire: AnyWire, ev: EventLoop, turn: Turn) -> None:
    """Run a wire, and the wires that it leaves, to the end.

    It lives for as long as the chain, so each name in it costs memory.

    :param ev: what the wires are called with
    :param turn: that of the thread
    """
    clock = monotonic
    coroutine: type[CoroutineType[Any, Any, Any]] = CoroutineType
    todo: Todo = None
    while True:
        if type(wire) in COMPOSITES:
            wire, todo = expose(wire, todo, ev)
        while True:
            rest: Any = wire(ev)
            if type(rest) is coroutine:
                rest = await rest
            elif rest is not None and is_awaitable(rest):
                rest = await rest
            if rest is not wire:
                break
            if clock() >= turn.until:
                await anyio.lowlevel.checkpoint()
        if rest is not None:
            if not is_callable(rest):
                raise bad_rest(wire, rest)
            wire = rest
        elif todo is None:
            return
        else:
            wire, todo = todo
        if clock() >= turn.until:
            await anyio.lowlevel.checkpoint()


async def follow_handled(chain: Handle) -> None:
    """Follow a wire, and where it fails the wire that the handler gives, and so on."""
    todo: Rest = chain._wire
    while todo is not None:
        try:
            await follow(todo, chain._ev, chain._loop._crew.turn)
        except BaseException as exc:
            failure, others = sort_out(exc)
            cancelled = anyio.get_cancelled_exc_class()
            if failure is None or not all(isinstance(other, cancelled) for other in others):
                raise
            is_cancelled = bool(others)
            try:
                todo = await chain.fail(failure)
            finally:
                del failure, others  # which would keep alive whatever the failure has seen
        else:
            return
        if is_cancelled or monotonic() >= chain._loop._crew.turn.until:
            await anyio.lowlevel.checkpoint()  # for those cancelled, it ends here


async def handle(handler: Handler, ev: EventLoop, exc: Exception) -> Rest:
    """Pass a failure to a handler, and give back the wire that goes on in its place."""
    try:
        rest = handler(ev, exc)
        if is_awaitable(rest):
            rest = await rest
    finally:
        del exc  # as above
    if rest is not None and not is_callable(rest):
        raise bad_rest(handler, rest)
    return cast("Rest", rest)
