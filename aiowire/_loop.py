"""The event loop: a block that runs wires, and is left when all of them have ended."""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from types import CodeType, TracebackType
from typing import overload

import anyio

from ._chain import AT_ONCE, ENDED, FullHandle, Handle, Handler, this_turn
from ._check import INFINITY, check_handler, check_seconds, check_wire
from ._crew import Crew
from ._errors import hung_on, parted, sort_out, unhandled
from ._interrupts import protect_loops, trio_lowlevel
from ._stoppable import Stoppable, hosts, note_host
from ._wire import AnyWire, is_callable

__all__ = ["EventLoop"]


class EventLoop(Stoppable):
    """Run wires, each as a chain of steps of its own, until all have ended.

    :param timeout: how many seconds after the block was entered everything in it is cancelled,
        its body included; ``None`` or :data:`math.inf` for no limit
    :raises TypeError: when ``timeout`` is not a number
    :raises ValueError: when ``timeout`` is negative or NaN

    Leaving the block waits for every chain, those too that were started by chains. A chain that
    fails with nobody to handle it cancels all others, and the block raises
    :exc:`UnhandledException`, a group of all failures, once everything is cleaned up. An
    exception from the body does the same, and leaves as itself. A loop can be entered again
    after it was left.

    *Cancellation*: cancelling the task that is in the block cancels the body and all chains.
    The block is left when the clean-up of all of them has run. ::

        async with EventLoop(timeout=5) as ev:
            ev.start(Call(anyio.sleep, 0.1) >> Call(print, "beep"))
    """

    _idle: anyio.Event | None  # of run(): set when the last chain has ended
    _background: dict[Handle, None] | None  # chains that the block does not wait for
    _timed_out = _cancelled = _is_winding = False
    _stop_deadline: float = INFINITY  # when the grace of stop() is over
    _crew: Crew
    _host: int  # the task that is in the block
    _outside: EventLoop | None  # whose block that task is in, too
    _raised: list[BaseException]  # failures, and KeyboardInterrupt, SystemExit and the like

    def __init__(self, timeout: float | None = None) -> None:
        self._seconds = check_seconds(timeout, "timeout")
        #: The time limit in seconds, as it was given.
        self.timeout = timeout
        self._is_entered = False
        self._go_inside(None)

    @property
    def timed_out(self) -> bool:
        """Whether the block was left, the last time it was, because its time was up."""
        return self._timed_out

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled since the block was last entered.

        It was by :meth:`cancel`, or because the grace of :meth:`stop` was over.
        """
        return self._cancelled

    @overload
    def start(
        self,
        wire: None,
        handler: Handler | None = None,
        *,
        name: str | None = None,
        background: bool = False,
    ) -> None: ...

    @overload
    def start(
        self,
        wire: AnyWire,
        handler: Handler | None = None,
        *,
        name: str | None = None,
        background: bool = False,
    ) -> Handle: ...

    def start(
        self,
        wire: AnyWire | None,
        handler: Handler | None = None,
        *,
        name: str | None = None,
        background: bool = False,
    ) -> Handle | None:
        """Start a chain: the wire, the wire that it leaves, and so on to the end.

        Nothing of the wire runs yet when this returns. Chains begin in the order in which they
        were started, each in its own copy of the present :mod:`context <contextvars>`.

        :param wire: the wire; ``None`` does nothing
        :param handler: called once with ``(ev, exc)`` when the chain fails, in that chain. It
            may be async. The wire that it returns, if any, goes on in the chain, under the same
            handler; what it raises has no handler. Cancellation, :exc:`KeyboardInterrupt` and
            :exc:`SystemExit` are not failures. A group with one failure is passed as that.
        :param name: what the handle, and so the person who debugs, calls the chain
        :param background: whether leaving the block does not wait for the chain. Once the others
            have ended, those in the background are cancelled, last started first, each dead
            before the next is cancelled.
        :return: a handle on the chain, or ``None`` for ``None``
        :raises TypeError: when ``wire`` or ``handler`` is not callable
        :raises RuntimeError: outside the block, and from another thread, where the right call
            is ``anyio.from_thread.run_sync(ev.start, wire)``
        """
        if wire is None:
            return None
        if not is_callable(wire):
            check_wire(wire, "ev.start({wire})")
        if handler is not None:
            check_handler(handler)
        caller = sys._getframe(1)
        return self._start(
            wire, handler, name, copy_context(), caller.f_code, caller.f_lasti, self, background
        )

    def _start(
        self,
        wire: AnyWire,
        handler: Handler | None,
        name: str | None,
        context: Context,
        code: CodeType,
        offset: int,
        ev: EventLoop,
        background: bool = False,
    ) -> Handle:
        """Start a chain whose wires are called with ``ev``, on behalf of the code at ``code``."""
        if not self._is_entered or self._closing or get_ident() != self._crew.thread:
            self._check_inside("start")  # without a call where there is nothing to look into
        crew = self._crew
        if handler is None and name is None:
            chain = Handle.__new__(Handle, self, ev, wire, context, code, offset)
        else:
            chain = FullHandle(handler, name, self, ev, wire, context, code, offset)
        if background:
            self._background = self._background or {}
            self._background[chain] = None
        else:
            self._live += 1
        crew.queue.append(chain)
        if not crew.coming and not crew.is_serving:
            crew.call(1)
        return chain

    def cancel(self) -> None:
        """Cancel everything in the block at once, its body included; it is left quietly.

        Wires that have not begun never will. :attr:`cancelled` is true from now on.

        :raises RuntimeError: outside the block, and from another thread
        """
        self._check_inside("cancel")
        self._cancelled = True
        self._cancel_all()

    def stop(self, grace: float | None = None) -> None:
        """Ask the loop to finish, and return at once.

        :attr:`stopping` is true from now on, here and in the loops inside. Pollers stop watching;
        ``Forever``, ``Repeat``, ``Every`` and ``OnSignal`` begin no further round. What is under
        way goes on to its end.

        :param grace: seconds after which what is left is cancelled; ``None`` for as long as it
            takes. Of several calls the earliest end counts.
        :raises RuntimeError: outside the block, and from another thread
        :raises ValueError: when ``grace`` is negative or NaN
        """
        self._check_inside("stop")
        seconds = check_seconds(grace, "grace")
        self._note_stop()
        if seconds < INFINITY:
            self._cancel_at(anyio.current_time() + seconds)

    def _cancel_at(self, deadline: float) -> None:
        self._stop_deadline = min(self._stop_deadline, deadline)
        self._limit.deadline = min(self._limit.deadline, deadline)

    async def run(self, timeout: float | None = None) -> None:
        """Wait in the body until no chain is left, or some time has passed; cancel nothing.

        Chains in the background are not waited for.

        :param timeout: how many seconds to wait at most; ``None`` for as long as it takes
        :raises RuntimeError: outside the block, and in a wire of this same loop, which would
            wait for itself
        :raises ValueError: when ``timeout`` is negative or NaN

        *Cancellation*: only the waiting is cancelled.
        """
        self._check_inside("run")
        chain = self._crew.turn.chain
        if chain is not None and chain._ev._is_in(self):
            raise RuntimeError(f"wire {chain.name!r} would wait for itself in ev.run()")
        with anyio.move_on_after(check_seconds(timeout, "timeout")):
            await anyio.lowlevel.checkpoint()
            while self._live:
                if self._idle is None:
                    self._idle = anyio.Event()
                await self._idle.wait()

    def _check_inside(self, method: str) -> None:
        if not self._is_entered or (self._closing and not self._live and not self._background):
            raise RuntimeError(
                f"ev.{method}() works inside the block only: async with EventLoop() as ev: ..."
            )
        if get_ident() != self._crew.thread:
            raise RuntimeError(
                f"ev.{method}() was called from another thread; "
                f"call anyio.from_thread.run_sync(ev.{method}, ...) there"
            )

    # The block.

    async def __aenter__(self) -> EventLoop:
        protect_loops(trio_lowlevel())
        if self._is_entered:
            raise RuntimeError("this EventLoop is entered already; make one for each block")
        self._block = self._run_block()
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        typ: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._block.__aexit__(typ, exc, tb)
        finally:
            del self._block

    @asynccontextmanager
    async def _run_block(self) -> AsyncGenerator[EventLoop, None]:
        self._reset()
        body: BaseException | None = None
        left: BaseException | None = None
        deadline = anyio.current_time() + self._seconds
        self._limit = anyio.CancelScope(deadline=deadline)
        try:
            with self._limit:
                async with anyio.create_task_group() as tasks:
                    self._crew = Crew(tasks)
                    try:
                        yield self
                    except BaseException as exc:
                        if not self._sort(exc)[1]:
                            raise
                        body = exc
                        self._cancel_all()
                    finally:
                        self._close()
        except BaseException as exc:
            left = exc  # cancellation from outside, or an interrupt
            self._sort(exc)
        finally:
            self._crew.leave()
            self._leave()
        # Asked of the clock: where nothing waited, nothing noticed that the time was up.
        now = anyio.current_time()
        self._timed_out = now >= deadline
        self._cancelled = self._cancelled or now >= self._stop_deadline
        try:
            self._raise(body, left)
        finally:
            del body, left  # they know this frame: no cycle is left behind

    def _begin(self) -> None:
        """Have no chains; what all of them look at is found in the instance faster."""
        self._is_entered, self._closing = True, False
        self._live = 0  # chains that have not ended, those in the background not counted
        self._idle = self._background = None

    def _reset(self) -> None:
        self._begin()
        self._timed_out = self._cancelled = False
        self._stop_deadline, self._raised = INFINITY, []
        self._host = anyio.get_current_task().id
        outside = hosts.get(self._host)
        self._outside = None if outside is None else outside()
        note_host(self._host, self)
        chain = this_turn().chain
        inside = None if chain is None else chain._ev
        is_inmost = inside is not None and (self._outside is None or inside._is_in(self._outside))
        self._go_inside(inside if is_inmost else self._outside)

    def _leave(self) -> None:
        self._is_entered = False
        self._come_out()
        note_host(self._host, self._outside)
        self._outside = None

    def _close(self) -> None:
        """Begin to leave, when the body has ended."""
        self._closing = True
        self._wind_down()

    def _wind_down(self) -> None:
        """Once the body and the chains have ended, end those in the background, last first."""
        if self._is_winding or self._live or not self._closing:
            return
        self._is_winding = True
        while self._background and not self._live:
            last = next(reversed(self._background))
            last.cancel()
            if not last.done:
                break  # when it is dead, this is called again
        self._is_winding = False
        if not self._background and not self._live:
            self._empty()

    def _empty(self) -> None:
        """Let the workers go: the task group waits for them."""
        self._crew.dismiss()

    def _raise(self, body: BaseException | None, left: BaseException | None) -> None:
        """Raise what the block ends with, if anything, and leave nothing out."""
        failures, interrupts = parted(self._raised, self._crew.cancellation)
        self._raised.clear()
        try:
            if interrupts:
                failures = [*hung_on(interrupts), *failures]
                if not failures:
                    raise interrupts[0]
                # Whoever closes a generator never sees its GeneratorExit, nor what hangs on that.
                if not isinstance(interrupts[0], GeneratorExit):
                    raise interrupts[0] from unhandled(failures)
            if body is not None and len(failures) == 1 and failures[0] is body:
                raise body
            if failures:
                raise unhandled(failures)
            if left is not None:
                raise left
        finally:
            del body, left, failures, interrupts

    def _chain_ended(self, chain: Handle, failure: Exception | None) -> None:
        chain._state = ENDED if failure is None else failure
        if chain._ended is not None:
            chain._ended.set()
        if self._background and chain in self._background:
            del self._background[chain]
        else:
            self._live -= 1
        if not self._live:
            if self._idle is not None:
                self._idle.set()
                self._idle = None
            if self._closing:
                self._wind_down()

    def _chain_stopped(self, chain: Handle, exc: BaseException) -> None:
        """End a chain that raised something."""
        failure = None
        try:
            failure, kept = self._sort(exc)
            for each in kept:
                chain.annotate(each)
            if kept:
                self._abort()
            else:
                chain._cancelled = True
        finally:
            self._chain_ended(chain, failure)

    def _sort(self, exc: BaseException) -> tuple[Exception | None, list[BaseException]]:
        """Keep all but cancellation for the end; give the failure in it, and what is kept."""
        failure, others = sort_out(exc)
        kept = [each for each in others if not isinstance(each, self._crew.cancellation)]
        if failure is not None:
            kept.append(failure)
        self._raised += kept
        return failure, kept

    def _abort(self) -> None:
        """End, because something has failed."""
        self._cancel_all()

    def _cancel_all(self) -> None:
        self._crew.tasks.cancel_scope.cancel()
        self._crew.is_cancelled = True
        self._crew.turn.until = AT_ONCE
        self._crew.drop_queue()
