"""Wires that run at the same time: all to their ends, to the first end, to the first step.

They are the three ways to use a :class:`~aiowire._fork.Fork`::

    All(a, b)    = branches, until all have ended
    Race(a, b)   = branches, until one has ended
    Select(a, b) = branches of the first steps, until one is complete; then what it leaves
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import anyio

from ._check import check_wires, name_of
from ._fork import Fork
from ._wire import AnyWire, Rest, Sequence, Wire, operand
from ._worker import is_cancelled

if TYPE_CHECKING:
    from ._loop import EventLoop

__all__ = ["All", "Race", "Select"]


class Concurrent(Wire):
    """A wire of branches that run at the same time."""

    __slots__ = ("_parts",)

    #: What stands between the parts, where that makes an expression.
    operator = ""

    def __init__(self, *wires: AnyWire) -> None:
        check_wires(wires, f"{type(self).__name__}({{wire}}, ...)")
        self._parts = tuple(chain.from_iterable(map(self._flat, wires)))

    def _flat(self, wire: AnyWire) -> tuple[AnyWire, ...]:
        """Take a wire of the same kind apart: that the operators are associative is exact then."""
        if self.operator and isinstance(wire, Concurrent) and type(wire) is type(self):
            return wire._parts
        return (wire,)

    @property
    def is_expression(self) -> bool:
        """Whether it is written with an operator: one of the first two parts knows about that."""
        return bool(self.operator and len(self._parts) >= 2) and any(
            isinstance(part, Wire) for part in self._parts[:2]
        )

    def __repr__(self) -> str:
        if not self.is_expression:
            return f"{type(self).__name__}({', '.join(map(name_of, self._parts))})"
        return f" {self.operator} ".join(map(operand, self._parts))


class All(Concurrent):
    """Run wires at the same time, until all have ended; ``All(a, b)`` is ``a & b``.

    Each has a nested loop as its ``ev``, and has ended when its chain and all that it started there
    have ended. ``All()`` is :data:`done`.

    :param wires: any wires, plain functions among them
    :raises TypeError: when one of them is not callable

    *Errors*: when a branch fails the others are cancelled; all failures are raised as an
    :exc:`ExceptionGroup`, also a single one.

    *Cancellation* cancels all branches; it goes on when they are dead. ::

        ev.start(Call(download, "a") & Call(download, "b"))
    """

    __slots__ = ()
    operator = "&"

    async def __call__(self, ev: EventLoop) -> Rest:
        """Run the branches."""
        await Fork(ev).run(self._parts)
        return None


class Race(Concurrent):
    """Run wires at the same time, until the first has ended; ``Race(a, b)`` is ``a | b``.

    The others are cancelled then, and dead when the race ends. ``Race()`` is :data:`never`.

    :param wires: any wires, plain functions among them
    :raises TypeError: when one of them is not callable

    *Errors*: as with :class:`All`; a failure in the clean-up of a loser is one.

    *Cancellation*: as with :class:`All`. ::

        ev.start(Call(receive) | Call(anyio.sleep, 5))
    """

    __slots__ = ()
    operator = "|"

    async def __call__(self, ev: EventLoop) -> Rest:
        """Run the branches."""
        if not self._parts:
            await anyio.sleep_forever()
        await Fork(ev, by_end=True).run(self._parts)
        return None


class Select(Concurrent):
    """Run the first steps of wires at the same time, and go on with that which is complete first.

    The others are cancelled, and dead before that goes on. No step that is complete is lost: where
    several were by the time the others were dead, their rests run one after another, in the order
    of the branches. ``Select()`` is :data:`never`.

    :param wires: any wires, plain functions among them
    :raises TypeError: when one of them is not callable

    *Errors*: as with :class:`All`, in the first steps; rests fail as any wire does.

    *Cancellation* of the first steps cancels all. Of one that is complete already the rest is that
    of the select, and begins, or does not, as after any step in which a chain is cancelled. ::

        ev.start(Select(Call(socket.recv).then(serve), Call(anyio.sleep, 5).then(give_up)))
    """

    __slots__ = ()

    async def __call__(self, ev: EventLoop) -> Rest:
        """Run the first steps."""
        if not self._parts:
            await anyio.sleep_forever()
        fork = Fork(ev)
        try:
            await fork.select(self._parts)
        except BaseException as exc:
            if not (fork.rests and isinstance(exc, ev._crew.cancellation) and is_cancelled()):
                raise
        rests = [rest for _, rest in sorted(fork.rests.items()) if rest is not None]
        if len(rests) <= 1:
            return rests[0] if rests else None
        return Sequence(*rests)
