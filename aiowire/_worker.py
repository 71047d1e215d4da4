"""Workers: the child tasks that run chains, many of them one after another.

A task costs some 20 microseconds to start, a chain that never waits should cost one. So a chain
gets no task of its own. All chains that wait to begin stand in one queue. A worker takes the
first, runs it, and takes the next: for as long as chains end without waiting for anything, one
task serves them all. When a chain does wait, its worker becomes the task of that chain, and
stays with it to its end, for cancel scopes, locks and the like belong to a task. The queue is
then left to other workers: the one that leaves it wakes two, while more chains are queued than
workers are on their way. A worker that finds nothing to do waits in a pool to be woken again.

What is each chain's own nevertheless:

- its *context*: each stretch of a chain, from one wait to the next, is run inside the chain's
  own :class:`contextvars.Context`;
- its *cancellation*: a worker is a task with a cancel scope (anyio's ``TaskHandle``). Once that
  is cancelled the worker ends with its chain, and never serves another.

To know when a chain waits, a worker has to stand between the chain's coroutine and the task. It
is a coroutine written by hand: ``send`` and ``throw`` pass on what comes from the task, and what
the chain's coroutine yields is what it waits for. That coroutine, the *follower*, serves one chain
after another as well: it yields ``OVER`` when one has ended, and is resumed in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from time import monotonic
from types import CodeType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

import anyio

from ._chain import AT_ONCE, OVER, SLICE, Handle, follow, follow_handled

if TYPE_CHECKING:
    from typing import TypeAlias

    from ._crew import Crew

    #: What a chain runs in: ``follow_handled()`` or ``follow()``.
    Steps: TypeAlias = Coroutine[Any, Any, None] | Generator[Any, Any, None]

__all__: list[str] = []

#: At most so many workers are on their way at a time. If all were called at once all queued
#: chains would begin in one pass of the event loop, and 10,000 chains that wait at the same time
#: cost more than 10 times 1,000: their tasks no longer fit into the processor's cache.
EAGER = 4

#: Where a worker takes longer than so many seconds to arrive, and so much more for each turn
#: that workers had meanwhile, something else makes the passes of the event loop slow, and chains
#: would wait for many of them. So with each such pass the number above doubles.
PATIENCE = 0.005
TURN = 0.0001

#: A worker that nobody needed for so many seconds is let go when the next one comes back.
KEEP = 10.0


#: One number of each kind: those over 256 are objects, which a chain that waits would keep.
OFFSETS: dict[int, int] = {}


def is_cancelled() -> bool:
    """Say whether a cancel scope round the running task is cancelled."""
    return anyio.current_effective_deadline() == AT_ONCE


class Idle:
    """A worker that waits for work."""

    __slots__ = ("since", "woken", "worker")

    def __init__(self, worker: Worker, woken: anyio.Event, since: float) -> None:
        self.worker = worker
        self.woken = woken  # set to make it go on: to serve the queue, or else to end
        self.since = since


class Worker(Coroutine[Any, Any, None]):
    """A coroutine that serves the queue of a loop.

    It lives for as long as the chain that waits in it, so each slot costs memory.
    """

    __slots__ = ("_chain", "_coro", "_crew", "task")

    task: anyio.TaskHandle[None] | None  # none when it has ended

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._chain: Handle | None = None  # the chain that waits for something
        self._coro: Steps | None = None  # what the task waits in
        crew.called(self)

    # What a coroutine is made of. The frame and what is awaited are those of the chain, so that
    # tools that print the stack of a waiting task see into the chain.

    def __await__(self) -> Generator[Any, Any, None]:
        return self

    __iter__ = __await__

    def __next__(self) -> Any:
        """Do what ``send(None)`` does; it is this that ``await`` calls."""
        coro = self._coro
        return self._arrive() if coro is None else self._advance(coro.send, None)

    def send(self, value: Any) -> Any:
        """Run until the chain waits for something; give back what it waits for."""
        coro = self._coro
        try:
            return self._arrive() if coro is None else self._advance(coro.send, value)
        finally:
            del value  # see _retire()

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise an exception where the chain waits."""
        try:
            return self._advance(self._coro.throw, typ if val is None else val)  # type: ignore[union-attr]
        finally:
            del typ, val

    def close(self) -> None:
        """Give up the chain for good: its event loop is gone."""
        if self._chain is not None:
            self._chain._context.run(self._coro.close)  # type: ignore[union-attr]
        elif self._coro is not None:
            self._coro.close()

    @property
    def cr_await(self) -> Any:
        return self._look("yieldfrom", "await")

    @property
    def cr_frame(self) -> FrameType | None:
        frame: FrameType | None = self._look("frame", "frame")
        return frame

    @property
    def cr_code(self) -> CodeType | None:
        code: CodeType | None = self._look("code", "code")
        return code

    def _look(self, of_generator: str, of_coroutine: str) -> Any:
        """Look at what the task waits in, which is either."""
        coro = self._coro
        is_generator = isinstance(coro, GeneratorType)
        return getattr(coro, f"gi_{of_generator}" if is_generator else f"cr_{of_coroutine}", None)

    # The work.

    def _arrive(self) -> Any:
        """Begin to serve the queue, having been called."""
        crew = self._crew
        crew.arrived(self)
        if crew.queue and is_cancelled():
            crew.drop_queue()  # the block is being cancelled: nothing begins any more
            self._coro = anyio.lowlevel.checkpoint()
            return self._coro.send(None)  # it is here that this task is cancelled
        return self._serve(None)

    def _serve(self, follower: Any) -> Any:
        """Run chains from the queue until one of them waits, or none is left.

        :param follower: a ``follow()`` to go on with
        """
        crew = self._crew
        queue = crew.queue
        turn = crew.turn
        until = monotonic() + SLICE
        while queue:
            chain = queue.popleft()
            if chain._state is not None:  # cancelled before it began
                continue
            chain._state = self
            if chain._handler is not None:
                coro: Any = follow_handled(chain)
            else:
                if follower is None:
                    follower = follow(chain._wire, chain._ev, turn, again=True)
                coro = follower
            turn.until = until
            turn.chain = chain
            try:
                waits_for = chain._context.run(coro.send, None)
            except StopIteration:
                waits_for = OVER
            except BaseException as exc:
                chain._loop._chain_stopped(chain, exc)
                del chain
                return self._retire(exc)
            if waits_for is not OVER:
                self._chain = chain
                self._coro = coro
                chain._offset = OFFSETS.setdefault(chain._offset, chain._offset)
                return self._wait(waits_for, len(crew.coming) + 2)
            chain._loop._chain_ended(chain, None)
            if chain._cancelled:  # by itself: the cancel scope is this worker's
                return self._retire()
            if queue and monotonic() >= until:
                break
        return self._rest()

    def _advance(self, method: Callable[[Any], Any], arg: Any) -> Any:
        """Go on after a wait: that of the chain, or that for work."""
        chain = self._chain
        if chain is None:
            try:
                return self._resume_rest(method, arg)
            finally:
                del arg
        crew = self._crew
        turn = crew.turn
        is_to_end = chain._cancelled or crew.is_cancelled
        turn.until = AT_ONCE if is_to_end else monotonic() + SLICE
        turn.chain = chain
        try:
            waits_for = chain._context.run(method, arg)
        except StopIteration:
            waits_for = OVER
        except BaseException as exc:
            self._chain = self._coro = None
            is_own = chain._cancelled
            chain._loop._chain_stopped(chain, exc)
            del chain
            return self._retire(exc, is_own)
        finally:
            del arg
        if waits_for is OVER:
            follower = self._coro if chain._handler is None else None
            self._chain = self._coro = None
            chain._loop._chain_ended(chain, None)
            return self._retire() if chain._cancelled else self._serve(follower)
        # What _wait() does, without the call: this is done each time that a chain waits.
        turn.chain = None
        crew.turns += 1
        if crew.queue:
            crew.call(1)
        return waits_for

    def _wait(self, waits_for: Any, workers: int) -> Any:
        """Let the task wait for something, and see that others are on their way to the queue."""
        crew = self._crew
        crew.turn.chain = None
        crew.turns += 1
        if crew.queue:
            crew.call(workers)
        return waits_for

    def _rest(self) -> Any:
        """Wait in the pool of the loop until there is work."""
        crew = self._crew
        if crew.is_dismissed:
            return self._retire()
        woken = anyio.Event()
        self._coro = woken.wait()
        now = monotonic()
        pool = crew.pool
        if pool and now - pool[0].since > KEEP:
            pool.popleft().woken.set()
        waits_for = self._wait(self._coro.send(None), 1)
        pool.append(Idle(self, woken, now))  # last, for a task cannot be woken before it waits
        return waits_for

    def _resume_rest(self, method: Callable[[Any], Any], arg: Any) -> Any:
        """Go on after the wait for work: to serve, or to end when the loop is cancelled."""
        try:
            return method(arg)
        except StopIteration:
            self._coro = None
            return self._arrive() if self in self._crew.coming else self._retire()
        except BaseException as exc:
            crew = self._crew
            crew.coming.pop(self, None)
            if isinstance(exc, crew.cancellation) and not is_cancelled():
                for idle in [each for each in crew.pool if each.worker is self]:
                    crew.pool.remove(idle)
                return self._retire()
            crew.pool.clear()
            crew.drop_queue()
            self.task = None
            del arg
            raise

    def _retire(self, exc: BaseException | None = None, is_own: bool = False) -> Any:
        """End the task.

        :param is_own: whether it was the chain that was cancelled, and alone

        A cancellation goes on to the cancel scope that asked for it, be it this task's or one
        further out. One that no scope asked for, such as asyncio's ``task.cancel()``, ends
        here: it was meant for the chain that runs, or has run, in this task, and would take the
        whole task group along.

        What was raised knows the frames that it came through. None of them keeps it, so that both
        are gone at once, and do not wait for the garbage collector. On trio the frames of who has
        cancelled the chain would, and where it was waiting then is of no interest to anyone.
        """
        self._wait(None, 1)
        self.task = None
        try:
            if isinstance(exc, self._crew.cancellation) and is_cancelled():
                raise exc.with_traceback(None) if is_own else exc
        finally:
            del exc
        raise StopIteration
