"""Calls on a ZeroMQ socket that are made as soon as they can be made.

A call is tried at once, where nobody waits who came before. Who has to wait does so by the protocol
of ``_waiters.py``, tries again when woken, and returns the result with no wait in between.
"""

from __future__ import annotations

import math
from _thread import get_ident
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import Any, TypeVar

import anyio
import zmq

from .._chain import SLICE
from .._interrupts import trio_lowlevel
from ._waiters import AT_ONCE, Waiter, Waiters

__all__ = ["AT_ONCE", "TAKES", "Calls"]

T = TypeVar("T")

#: Said of a call that takes a message from the socket.
TAKES = 16

#: Those who are giving others a turn; only their number counts.
giving: list[object] = []


class Calls(Waiters):
    """The calls on one socket, and the tasks that wait to make theirs."""

    async def perform(
        self, flags: int, timeout: Callable[[], float], call: Callable[..., T], *args: Any
    ) -> T:
        """Make a call as soon as it can be made.

        :param flags: the directions in which the socket has to be ready, and what is said of the
            call: :data:`TAKES`, :data:`AT_ONCE`
        :param timeout: gives the seconds after which to give up; it is called if it has to wait
        :param call: raises :exc:`zmq.Again` if it cannot be made yet
        :raises zmq.Again: when the time is up
        """
        if self._thread != get_ident():
            self.claim()
        if monotonic() < self._until:
            await anyio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._give_turns()
        if self._end is not None:
            self.claim()
        if flags & TAKES:
            self.receives += 1
        if flags & AT_ONCE or (not self._dry & flags and (not self.all or self._is_free(flags))):
            try:
                return call(*args)
            except zmq.Again:
                pass
            except zmq.ZMQError as exc:
                self._fail(exc)
                raise
            finally:
                if self.all or self.told:
                    self.called()
        return await self._perform_later(flags, timeout, call, args)

    async def _perform_later(
        self,
        flags: int,
        timeout: Callable[[], float],
        call: Callable[..., T],
        args: tuple[Any, ...],
    ) -> T:
        """Make a call that will have to wait: it was refused, or it is not its turn.

        Or it is to be expected, as the last one had to: to be refused costs more than to look.
        """
        seconds = self._call(timeout, ())
        looked = False
        if self._dry & flags and self._is_free(flags):
            looked = not self._is_ready(flags)
            if not looked:
                self._dry &= ~flags
                return await self.perform(flags, timeout, call, *args)
        if not seconds:
            raise zmq.Again
        waiter = Waiter(flags)
        self._enter(waiter)
        if not flags & AT_ONCE:
            self._dry |= flags
        try:
            if seconds == math.inf:
                return await self._wait(waiter, looked, call, args)
            with anyio.move_on_after(seconds):
                return await self._wait(waiter, looked, call, args)
        finally:
            self._leave(waiter)
            self._until = monotonic() + SLICE
        raise zmq.Again

    async def _give_turns(self) -> None:
        """Let the others run, and share the time until the next turn among those who do likewise.

        All of them go on in one pass of the event loop.
        """
        protect_from_interrupts(trio_lowlevel())
        giving.append(self)
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            giving.pop()
        self._until = monotonic() + SLICE / (1 + len(giving))

    def _is_free(self, flags: int) -> bool:
        """Say whether nobody waits who is to be served first."""
        return not any(queue and flags & flag for flag, queue in self._queues.items())

    def _is_ready(self, flags: int) -> bool:
        events = self.refresh()
        return bool(events & flags or (self.takes_turns and events))

    def _call(self, call: Callable[..., T], args: tuple[Any, ...]) -> T:
        try:
            return call(*args)
        except zmq.Again:
            raise
        except zmq.ZMQError as exc:
            self._fail(exc)
            raise

    def _fail(self, exc: zmq.ZMQError) -> None:
        if exc.errno in (zmq.ETERM, zmq.ENOTSOCK):
            self.end(exc)
            self.claim()

    async def _wait(
        self, waiter: Waiter, looked: bool, call: Callable[..., T], args: tuple[Any, ...]
    ) -> T:
        while True:
            await self._park(waiter, looked)
            looked = False
            # It may have become possible between the call and the look.
            for _ in range(1 if waiter.is_refused else 2):
                try:
                    return self._call(call, args)
                except zmq.Again:
                    waiter.tried = self._edges
                    if not self.refresh() & waiter.flags:
                        break
            else:
                self._refuse(waiter)


@cache
def protect_from_interrupts(lowlevel: Any) -> None:
    """Keep Ctrl-C out of a call, on trio, which raises it between any two instructions.

    Of a message of several parts the first ones would be lost, and the next to receive would take
    the last ones for a message.
    """
    if lowlevel is not None:
        lowlevel.enable_ki_protection(Calls.perform)
