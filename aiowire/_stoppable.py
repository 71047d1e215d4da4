"""The orderly stop: which loop is inside which, who is to finish, and who is told so.

A loop that is asked to stop tells the loops inside it, and whoever does things again and again. It
knows only those who asked to be told, so that a loop in which nobody does costs nothing for this.
"""

from __future__ import annotations

from _weakref import ref  # without the rest of `weakref`, which takes long to import
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__: list[str] = []

#: The loops whose blocks are entered, the innermost for each task, by the number of that.
hosts: dict[int, ref[EventLoop]] = {}


def note_host(task: int, loop: EventLoop | None) -> None:
    """Note the innermost loop of a task, for as long as it is there: its block may be given up."""
    if loop is None:
        del hosts[task]
    else:
        hosts[task] = ref(loop, lambda _: hosts.pop(task, None))


class Stoppable:
    """What can be asked to stop, and is when that around it is."""

    _around: EventLoop | None
    _is_shielded = False  # from a stop of the loop around
    _stopping: bool
    _stopped: anyio.Event | None  # set when the loop is to stop
    _told: dict[object, Callable[[], object]] | None  # what is called then

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called, of this loop or of one around it."""
        if self._stopping or self._around is None or self._is_shielded:
            return self._stopping
        return self._around.stopping

    def _is_in(self, loop: EventLoop) -> bool:
        """Say whether it is that loop, or inside it."""
        inside: Stoppable | None = self
        while inside is not None and inside is not loop:
            inside = inside._around
        return inside is not None

    def _note_stop(self) -> None:
        self._stopping = True
        for tell in tuple((self._told or {}).values()):
            tell()

    def _tell(self, who: object, function: Callable[[], object]) -> None:
        """Call a function when the loop is to stop, or one around it."""
        if self._told is None:
            self._told = {}
            if self._around is not None and not self._is_shielded:
                self._around._tell(self, self._note_stop)
        self._told[who] = function

    def _forget(self, who: object) -> None:
        if self._told is not None:
            self._told.pop(who, None)

    async def _wait_for_stop(self) -> None:
        """Wait until the loop is to stop."""
        if self._stopped is None:
            self._stopped = anyio.Event()
            self._tell(self._stopped, self._stopped.set)
        if self.stopping:
            self._stopped.set()
        await self._stopped.wait()

    def _go_inside(self, around: EventLoop | None) -> None:
        """Be inside a loop, or none, and not yet asked to stop."""
        self._around = around
        self._stopping = False
        self._stopped = None
        self._told = None

    def _come_out(self) -> None:
        """Be inside no loop any more, and remember whether it was to stop."""
        if self._around is not None:
            self._around._forget(self)
            self._stopping = self.stopping
            self._around = None
