"""The protocol with one part of it taken out: what its tests must notice."""

from __future__ import annotations

from typing import Any

from anyio.lowlevel import checkpoint

from aiowire.backends._calls import Calls
from aiowire.backends._waiters import Waiter


class NoLookAfterCalls(Calls):
    """Calls take wake-ups and tell nobody."""

    def called(self) -> None:
        pass

    def _leave(self, waiter: Waiter) -> None:
        super()._leave(waiter)
        super().called()


class NoLookBeforeSleep(Calls):
    """Who had to wait the last time goes to sleep at once."""

    def _is_ready(self, flags: int) -> bool:
        return False

    async def _park(self, waiter: Waiter, looked: bool) -> None:
        await super()._park(waiter, looked=True)


class NoElection(Calls):
    """When the leader has gone nobody listens."""

    def _elect(self) -> None:
        pass


class NoHandingOn(Calls):
    """Who goes takes along the wake-up that it did not use, and the duty to listen."""

    def _leave(self, waiter: Waiter) -> None:
        called, self.called = self.called, lambda: None  # type: ignore[method-assign]
        try:
            super()._leave(waiter)
        finally:
            self.called = called  # type: ignore[method-assign]


class WakeNewest(Calls):
    """Who came last is served first."""

    def _wake_ready(self, events: int) -> None:
        for flag, queue in self._queues.items():
            if queue and events & flag:
                self._wake(next(reversed(queue)))


class Barging(Calls):
    """Who comes does not care for those who wait."""

    def _is_free(self, flags: int) -> bool:
        return True


class WaitAfterCall(Calls):
    """There is a wait between the call and the return."""

    async def perform(self, *args: Any) -> Any:
        result = await super().perform(*args)
        await checkpoint()
        return result


class DeafLeader(Calls):
    """The leader cannot be woken but by the descriptor, which calls may have silenced."""

    def _wake(self, waiter: Waiter) -> None:
        if waiter is not self._leader or not self._is_listening:
            super()._wake(waiter)


MUTANTS = [
    NoLookAfterCalls,
    NoLookBeforeSleep,
    NoElection,
    NoHandingOn,
    WakeNewest,
    Barging,
    WaitAfterCall,
    DeafLeader,
]
