"""Watches: what runs in a poller.

A running poller is a nested loop, its *session*. In that, each registration has a chain, its
*watch*, which goes round this::

    wait until the source is ready
    take the first step of its wire        # this is what reads the source
    start the rest of that wire, if any, as a chain of its own

So there is no task, nor anything else, for each event. While its wire does no more than read, a
watch sleeps, and the *rota* of the session does this for it (see ``_rota.py``). The wires get as
``ev`` the loop in which the poller was started, and what they start there is no longer the poller's
affair.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, copy_context
from time import monotonic
from types import CodeType
from typing import Any

import anyio

from ._chain import SLICE, Handle, Handler, Turn, handle
from ._check import name_of
from ._context import InContext, InStretches
from ._errors import annotate, bare
from ._loop import EventLoop
from ._rota import Place, Rota
from ._wire import AnyWire, Rest, Wire, finish_step, take_step
from .backends import Readiness
from .backends._arrivals import make_arrivals

__all__: list[str] = []

#: How often, in seconds, sources are checked for having been closed behind the poller's back.
CHECK_SECONDS = 0.5


class Watch:
    """One registration: a source, the directions, and the wire to start."""

    def __init__(
        self,
        source: Any,
        wire: AnyWire,
        flags: int,
        readiness: Readiness,
        handler: Handler | None,
        registry: dict[Any, list[Watch]],
        key: Any,
        code: CodeType,
        offset: int,
    ) -> None:
        self.source = source
        self.wire = wire
        self.flags = flags
        self.readiness = readiness
        self.handler = handler
        self.registry = registry  # the watches of each source, and
        self.key = key  # the key of this one's
        self.context = copy_context()  # that of the call that registers
        self.code, self.offset = code, offset  # where that call stands
        self._chain: Handle | None = None
        self._is_open = False
        self.is_waiting = False  # for the source: it can be stopped at once
        self.is_stopped = False  # it shall start no more
        self.is_over = False  # nor can it ever
        self.has_slot = False  # a place is kept for the rest of the step under way
        # Whether its steps are made known; not if the next thing done is to look anyway.
        self.tells = type(readiness).look is Readiness.look
        self._can_notify = type(readiness).notify is not Readiness.notify

    def begin(self, session: Session) -> None:
        """Start the chain that watches."""
        self.is_stopped = False
        self.is_waiting = True
        self._session = session
        self._chain = session.start(self, self.run, self.context.copy())

    def stop(self) -> None:
        """Start the wire no more; leave a step that is under way alone."""
        self.is_stopped = True
        if self.is_waiting and self._chain is not None:
            self._chain.cancel()

    def forget(self) -> None:
        """Unregister the source in this direction, unless its wire has done so."""
        watches = self.registry.get(self.key, [])
        if self in watches:
            watches.remove(self)
        if not watches:
            self.registry.pop(self.key, None)

    async def run(self, ev: EventLoop) -> None:
        """Start the wire each time that the source is ready.

        Where a source is ready at once, and the step of its wire waits for nothing and leaves
        nothing, this loop is all that an event costs.
        """
        wire = self.wire
        turn, copy = self._session._loop._crew.turn, self.context.copy
        is_limited, tells = self._session.slots is not None, self.tells
        self.is_waiting = False
        self.readiness.open(self._session.arrivals)
        is_ready = self.readiness.look(self.flags)
        place = Place(self._session.rota, self, ev, is_ready)
        self._is_open = True
        try:
            while not self.is_stopped:
                context = copy()
                failure = rest = None
                more: bool | None = False
                try:
                    more = (not is_limited and is_ready()) or await self._wait()
                    if more is None:
                        break
                    if not more:
                        self.is_over = self.is_stopped = True
                    rest = context.run(wire, ev)
                except Exception as exc:
                    if self.is_stopped and isinstance(exc, anyio.ClosedResourceError) and not more:
                        break  # it was unregistered, and then closed
                    if not more:
                        self.is_over = self.is_stopped = True
                    failure = exc
                if rest is not None or failure is not None or not more or is_limited:
                    await self._finish(ev, context, rest, failure, more)
                elif tells:
                    self.used()
                elif self._can_notify and not self.is_stopped:
                    await self._hold(ev, place)
                if monotonic() >= turn.until:
                    await self._session.give_turns(turn)
        finally:
            self._give_room()
            self._is_open = False
            self.readiness.close()

    async def _hold(self, ev: EventLoop, place: Place) -> None:
        """Have the rota serve the source, if it can, and finish the step that ends that."""
        if self.readiness.notify(self.flags, place.rouse):
            step = await place.hold()
            if step is not None:
                await self._finish(ev, *step)

    async def _wait(self) -> bool | None:
        """Wait until the source is ready, and there is room.

        :return: whether it may become ready again; ``None`` if told to stop meanwhile
        """
        self.is_waiting = True
        try:
            more = await self.readiness.wait(self.flags)
            while not await self._has_room() and not self.is_stopped:
                more = await self.readiness.wait(self.flags)
        finally:
            self.is_waiting = False
        return None if self.is_stopped else more

    async def _has_room(self) -> bool:
        """At the limit, wait for a place for the rest; say if the source is still ready then."""
        slots = self._session.slots
        if slots is None or slots.value:
            return True
        await slots.acquire()
        self.has_slot = True
        is_ready = False
        try:
            is_ready = self.readiness.still(self.flags)
        finally:
            if not is_ready:
                self._give_room()
        return is_ready

    def _give_room(self) -> None:
        """Give back the place that was kept for a rest, if there is one."""
        if self.has_slot and self._session.slots is not None:
            self.has_slot = False
            self._session.slots.release()

    def used(self) -> None:
        """Let the readinesses of the source look again."""
        for watch in self.registry.get(self.key, ()):
            if watch._is_open:
                watch.readiness.used()

    async def _finish(
        self,
        ev: EventLoop,
        context: Context,
        result: Rest | Awaitable[Rest],
        failure: BaseException | None,
        more: bool | None,
    ) -> None:
        """Finish the step of which the call gave or raised this, and start what it leaves."""
        rest: Rest = None
        try:
            if failure is not None:
                if not isinstance(failure, Exception):
                    raise failure
                rest = await InContext(context, self.fail(ev, failure))
            elif result is not None:
                rest = await InContext(context, self._settle(ev, result))
        finally:
            if not more:
                self.forget()
            if rest is None:
                self._give_room()
        self.used()
        if rest is not None:
            await self._session.start_rest(self, rest, context)

    async def _settle(self, ev: EventLoop, result: Rest | Awaitable[Rest]) -> Rest:
        """Give the rest of the wire, of which the call gave this."""
        try:
            return await finish_step(self.wire, result)
        except Exception as exc:
            return await self.fail(ev, exc)

    async def fail(self, ev: EventLoop, exc: Exception) -> Rest:
        """Pass a failure to the handler, or on."""
        failure = bare(exc)
        annotate(failure, self.wire, self.code, self.offset)
        if self.handler is None:
            raise exc
        return await handle(self.handler, ev, failure)


class Using(Wire):
    """The rest of a wire of a source that has to look again whenever it may have been used."""

    __slots__ = ("_rest", "_watch")

    def __init__(self, rest: AnyWire, watch: Watch) -> None:
        self._rest = rest
        self._watch = watch

    async def __call__(self, ev: EventLoop) -> Rest:
        rest = await InStretches(take_step(self._rest, ev), self._watch.used)
        return None if rest is None else Using(rest, self._watch)

    def __repr__(self) -> str:
        return name_of(self._rest)


class Slot:
    """A place among the rests in flight, told when the chain in it has ended."""

    def __init__(self, slots: anyio.Semaphore) -> None:
        self.set = slots.release


class Session:
    """One run of a poller."""

    def __init__(
        self, ev: EventLoop, watches: Callable[[], Iterable[Watch]], limit: int | None
    ) -> None:
        self.arrivals = make_arrivals()
        self.slots = None if limit is None else anyio.Semaphore(limit)
        self._ev = ev
        self._watches = watches
        self._loop = EventLoop()
        self._stopped = anyio.Event()
        self._giving = 0  # watches that are giving others a turn
        self._serving: list[Handle] = []  # the chains that are there for all watches
        self.rota = Rota(self, self.arrivals)

    async def run(self) -> None:
        """Watch the sources until told to stop, and let what is under way come to its end."""
        try:
            async with self._loop:
                if not self._stopped.is_set():
                    self._serving.append(self._loop.start(self._serve))
                    if self.arrivals is not None:
                        self._serving.append(self._loop.start(self.rota.listen))
                for watch in self._watches():
                    self.begin(watch)
                while not self._stopped.is_set():
                    with anyio.move_on_after(CHECK_SECONDS):
                        await self._stopped.wait()
                    await self._check()
        finally:
            if self.arrivals is not None:
                self.arrivals.close()

    def begin(self, watch: Watch) -> None:
        """Watch a source, unless the session is stopping."""
        if not self._stopped.is_set():
            watch.begin(self)

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        for watch in self._watches():
            watch.stop()
        for chain in self._serving:
            chain.cancel()

    async def give_turns(self, turn: Turn, number: int = 1) -> None:
        """Let others run, and share the time until the next turn among those who do likewise.

        :param number: how many sources are served in the turn
        """
        self._giving += number
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            self._giving -= number
        share = number / (number + self._giving)
        turn.until = min(turn.until, monotonic() + SLICE * share)

    async def _serve(self, ev: EventLoop) -> None:
        """Run the rota; a wire may have cancelled the task that it happened to run in."""
        try:
            await self.rota.serve(ev)
        except anyio.get_cancelled_exc_class():
            if not self._stopped.is_set():
                self._serving.append(self._loop.start(self._serve))
            raise

    def start(self, watch: Watch, wire: AnyWire, context: Context) -> Handle:
        """Start a chain on behalf of a watch."""
        return self._loop._start(wire, None, None, context, watch.code, watch.offset, self._ev)

    async def start_rest(self, watch: Watch, rest: AnyWire, context: Context) -> None:
        """Start the rest of a wire as soon as there is a place for it."""
        if self.slots is not None and not watch.has_slot:
            await self.slots.acquire()
        watch.has_slot = False
        if type(watch.readiness).used is not Readiness.used:
            rest = Using(rest, watch)
        chain = self._loop._start(
            rest, watch.handler, None, context, watch.code, watch.offset, self._ev
        )
        if self.slots is not None:
            chain._ended = Slot(self.slots)

    async def _check(self) -> None:
        """Find the sources that were closed without a word."""
        until = monotonic() + SLICE
        for watch in list(self._watches()):
            if monotonic() >= until:
                await anyio.lowlevel.checkpoint()
                until = monotonic() + SLICE
            if self._stopped.is_set():
                return
            if watch.is_stopped or not watch._is_open:
                continue
            try:
                watch.readiness.check()
            except Exception as exc:
                watch.stop()
                watch.forget()
                self._start_failure(watch, exc)

    def _start_failure(self, watch: Watch, exc: Exception) -> None:
        context = watch.context.copy()

        async def fail(ev: EventLoop) -> None:
            rest = await watch.fail(ev, exc)
            if rest is not None:
                await self.start_rest(watch, rest, context)

        self.start(watch, fail, context)
