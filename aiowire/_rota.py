"""The rota: sources of a poller that are served in turns, all by one chain.

Where a wire only reads and returns, its source needs no task for that. Where such sources are busy,
to switch from the task of one to that of the next costs more than all the rest. So a watch whose
source can say that there may be more to read takes a *place* in the rota, and sleeps, until there
is something that it must do itself: a step has left something, or failed, or the source has to be
waited for in another way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import anyio

from ._chain import SLICE, Turn
from ._wire import Rest

if TYPE_CHECKING:
    from ._loop import EventLoop
    from ._watch import Session, Watch
    from .backends._arrivals import Arrivals

__all__: list[str] = []

#: For how long, in seconds, a source is served at least while others wait for their turn.
LEAST = 0.0001


class Step(NamedTuple):
    """A step of a wire, as far as the call goes."""

    context: Context
    result: Rest | Awaitable[Rest]
    failure: BaseException | None
    more: bool  # whether the source can be ready again


class Rota:
    """The sources that are served in turns, and who sees to it that they are told what has come.

    :param arrivals: what tells them, where the system has that
    """

    def __init__(self, session: Session, arrivals: Arrivals | None) -> None:
        self._session = session
        self._arrivals = arrivals
        self._ready: deque[Place] = deque()
        self._roused = anyio.Event()  # set when there is one
        self._rested = anyio.Event()  # set when there is none

    def add(self, place: Place) -> None:
        """Serve a source when its turn has come."""
        if not self._ready:
            self._roused.set()
        self._ready.append(place)

    async def listen(self, ev: EventLoop) -> None:
        """Wait for what comes, until cancelled; while sources are served it is looked for there."""
        assert self._arrivals is not None
        while True:
            await anyio.wait_readable(self._arrivals)
            self._arrivals.collect()
            while self._ready:
                self._rested = anyio.Event()
                await self._rested.wait()

    async def serve(self, ev: EventLoop) -> None:
        """Serve them until cancelled; they share the time."""
        turn, ready = ev._crew.turn, self._ready
        while True:
            while ready:
                now = monotonic()
                until = min(now + max(SLICE / len(ready), LEAST), turn.until)
                place = ready.popleft()
                if place.serve(turn, until):
                    ready.append(place)
                if monotonic() >= turn.until:
                    await self._session.give_turns(turn, max(len(ready), 1))
                    self._collect()
            self._collect()
            if not ready:
                self._roused = anyio.Event()
                self._rested.set()
                await self._roused.wait()

    def _collect(self) -> None:
        if self._arrivals is not None:
            self._arrivals.collect()


class Place:
    """The place of a source in the rota."""

    def __init__(
        self, rota: Rota, watch: Watch, ev: EventLoop, is_ready: Callable[[], bool]
    ) -> None:
        self._rota = rota
        self._watch = watch
        self._ev = ev
        self._is_ready = is_ready
        self._is_queued = False
        self._left: anyio.Event | None = None  # set when it is left, which it is if this is None
        self._step: Step | None = None  # that the watch has to finish

    async def hold(self) -> Step | None:
        """Be served in turns, as long as that can be.

        :return: a step that has to be finished, if any
        """
        self._left = left = anyio.Event()
        self._watch.is_waiting = True
        self.rouse()
        try:
            await left.wait()
        except anyio.get_cancelled_exc_class():
            if self._step is None:
                raise
            # It is finished first, and cancelled where it waits, as if it had been called there.
        finally:
            step, self._step = self._step, None
            self._left = None
            self._watch.is_waiting = False
        return step

    def rouse(self) -> None:
        """Be served when the turn has come: the source may be ready."""
        if not self._is_queued:
            self._is_queued = True
            self._rota.add(self)

    def serve(self, turn: Turn, until: float) -> bool:
        """Start the wire while the source is ready: this loop is all that an event costs.

        :param until: when it is the turn of another
        :return: whether it is to be served again
        """
        left, watch = self._left, self._watch
        if left is None or self._watch.is_stopped:
            self._is_queued = False
            return False
        is_ready, copy, wire, ev = self._is_ready, watch.context.copy, watch.wire, self._ev
        watch.is_waiting = False
        while True:
            context = copy()
            more = False
            try:
                more = is_ready()
                if not more:
                    break
                result = context.run(wire, ev)
            except BaseException as exc:
                if not more:
                    watch.is_over = watch.is_stopped = True
                self._step = Step(context, None, exc, more)
                break
            if result is not None:
                self._step = Step(context, result, None, True)
                break
            if watch.is_stopped:
                break
            now = monotonic()
            if now >= until or now >= turn.until:
                watch.is_waiting = True
                return True
        self._is_queued = False
        if not (more or watch.is_stopped) and watch.readiness.notify(watch.flags, self.rouse):
            watch.is_waiting = True
        else:
            self._left = None
            left.set()
        return False
