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

# In follow() it is not known to a type checker what a wire is, and to tell it would take time.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from _thread import _local as local  # without the rest of `threading`, which takes long to import
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from time import monotonic
from types import CodeType, CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, cast

import anyio

from ._check import bad_rest, name_of
from ._errors import annotate, bare, sort_out
from ._wire import COMPOSITES, AnyWire, Rest, Todo, is_awaitable, is_callable

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._loop import EventLoop
    from ._watch import Slot
    from ._worker import Worker

__all__ = ["Handle", "Handler"]

#: Gets the failure of a chain; may be async; the wire that it returns goes on in that chain.
Handler: TypeAlias = Callable[["EventLoop", Exception], "Rest | Awaitable[Rest]"]

#: How long a chain may run, in seconds, before other tasks get their turn.
SLICE = 0.001

#: For type checkers a generator, as which a generator may delegate to it.
COROUTINE = cast("type[Generator[Any, Any, Any]]", CoroutineType)

#: The state of a chain that has ended, and not with a failure.
ENDED: Literal["ended"] = "ended"

#: What a follower of chains yields at the end of one. Nobody else has it, to yield it to a worker.
OVER = object()

#: The time when the slice of a chain ends that has to stop.
AT_ONCE = float("-inf")

new = object.__new__


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

    # It lives for as long as the chain, so each slot costs memory.
    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_code",
        "_context",
        "_ended",
        "_ev",
        "_loop",
        "_offset",
        "_state",
        "_wire",
    )

    _handler: Handler | None = None
    _name: str | None = None

    _loop: EventLoop  # the loop that the chain belongs to
    _ev: EventLoop  # the loop that its wires are called with
    _wire: AnyWire
    _context: Context
    _code: CodeType  # where it was started, see annotate()
    _offset: int
    # None until it has begun; the task that runs it; the failure that it ended with, or ENDED.
    _state: Worker | Exception | Literal["ended"] | None
    _ended: anyio.Event | Slot | None  # told when it has ended
    _cancelled: bool

    # Not __init__: to call a class that has slots takes twice the time of a call of this alone.
    def __new__(
        cls,
        loop: EventLoop,
        ev: EventLoop,
        wire: AnyWire,
        context: Context,
        code: CodeType,
        offset: int,
    ) -> Self:
        self = new(cls)
        self._loop = loop
        self._ev = ev
        self._wire = wire
        self._context = context
        self._code = code
        self._offset = offset
        self._state = self._ended = None
        self._cancelled = False
        return self

    @property
    def name(self) -> str:
        """The name given to ``start``, or else the wire as text."""
        return name_of(self._wire) if self._name is None else self._name

    @property
    def done(self) -> bool:
        """Whether the chain has ended: run to its end, failed, or been cancelled."""
        return self._state is ENDED or isinstance(self._state, Exception)

    @property
    def exception(self) -> Exception | None:
        """The failure that the chain ended with, or ``None``.

        It is ``None`` while the chain runs, and after it has run to its end, was cancelled, or
        had its failure taken by its handler.
        """
        return self._state if isinstance(self._state, Exception) else None

    def cancel(self) -> None:
        """Cancel the chain, and leave all others alone.

        A chain that has not begun never will. One that waits for something gets the
        cancellation there; one that is between two steps stops. The chain ends once its
        clean-up has run: ``await handle.wait()`` to know. A chain that has ended is left as it
        is. The failure handler never sees a cancellation.
        """
        state = self._state
        if state is None:
            self._cancelled = True
            self._loop._chain_ended(self, None)
        elif not isinstance(state, (str, Exception)):
            self._cancelled = True
            assert state.task is not None  # that is so only after a chain's end
            state.task.cancel()
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
        if self.done:
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
        state = "done" if self.done else "waiting to begin" if self._state is None else "running"
        return f"<aiowire.Handle {self.name!r} {state}>"


class FullHandle(Handle):
    """The handle of a chain that has a handler or a name; most have neither."""

    __slots__ = ("_handler", "_name")

    def __new__(cls, handler: Handler | None, name: str | None, *args: Any) -> Self:
        self = super().__new__(cls, *args)
        self._handler = handler
        self._name = name
        return self


@coroutine
def follow(
    wire: Any, ev: EventLoop, turn: Turn, *, again: bool = False
) -> Generator[Any, Any, None]:
    """Run a wire, and the wires that it leaves, to the end.

    It lives for as long as the chain, so each name in it costs memory, and so does what is on its
    stack. It is a generator, and awaited like a coroutine, so that a worker can use it again for
    the next chain, which is quicker than to let it end and make another.

    :param wire: any wire
    :param ev: what the wires are called with
    :param turn: that of the thread
    :param again: whether to yield ``OVER`` at the end, and then to go on with the chain whose turn
        it is when resumed
    """
    todo: Todo = None
    while True:
        while type(wire) in COMPOSITES:
            wire, todo = wire.unfold(todo, ev)
        while True:
            rest: Any = wire(ev)
            if type(rest) is COROUTINE:
                rest = yield from rest
            elif rest is not None and is_awaitable(rest):
                rest = yield from awaited(rest).__await__()
            if rest is not wire:
                break
            if monotonic() >= turn.until:
                yield from anyio.lowlevel.checkpoint()
        if rest is not None:
            wire = rest if is_callable(rest) else refuse(wire, rest)
        elif todo is not None:
            wire, todo = todo
        elif again:
            del wire, ev  # nothing that the chain had in hand is kept
            yield OVER
            wire, ev = turn.chain._wire, turn.chain._ev  # type: ignore[union-attr]
            continue
        else:
            return
        if monotonic() >= turn.until:
            yield from anyio.lowlevel.checkpoint()


async def awaited(value: Awaitable[Any]) -> Any:
    """Await what is no coroutine."""
    return await value


def refuse(wire: AnyWire, rest: object) -> NoReturn:
    """Raise an error for a step that left what is no wire."""
    raise bad_rest(wire, rest)


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
