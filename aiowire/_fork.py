"""Branches: parts of a wire that run in loops of their own, at the same time.

All that runs at the same time inside a wire comes from here. A :class:`Branch` is a nested loop: it
counts the chains that are started in it, and ends with the last of them. A :class:`Fork` is what
the wire that has the branches waits for. It is over when all its branches are, and nothing that was
started in one outlives it.

A branch is not a task group inside that of the loop around it. Its chains are served by the crew of
that loop, so a branch costs about as much as a chain, and one in which nothing is started costs
next to nothing. That no chain is left is the fork's to see: when it is cancelled, or a branch
fails, it cancels the chains of all branches and waits until they are dead, whatever comes then.

There are two ways to decide early:

- by the first *end*: when one branch is over the others are cancelled (``Race``);
- by the first *step*: when one branch has taken its first step the others are cancelled, and what
  it leaves goes on (``Select``). A step that is complete is kept, though its branch was cancelled
  in the same moment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import copy_context
from types import CodeType
from typing import Any

import anyio

from ._chain import AT_ONCE, Handle, follow, this_turn
from ._errors import hung_on, parted
from ._loop import EventLoop
from ._wire import AnyWire, Rest, Wire, take_step

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__: list[str] = []


class Branch(EventLoop):
    """A loop inside a wire, with the crew of the loop around it."""

    timeout = None
    _chains: dict[Handle, None] | None  # those that have not ended
    _scope: anyio.CancelScope | None  # of what runs in the task of the fork

    def __init__(self, fork: Fork, around: EventLoop) -> None:
        self._begin()
        self._go_inside(around)
        self._chains = self._scope = None
        self._is_dying = False  # its chains were cancelled, and so are those started since
        self._fork = fork
        self._crew = around._crew
        self._raised = fork.raised

    def _start(self, *args: Any, **options: Any) -> Handle:
        chain = super()._start(*args, **options)
        if self._chains is None:
            self._chains = {}
        self._chains[chain] = None
        if self._is_dying:
            chain.cancel()
        return chain

    def _chain_ended(self, chain: Handle, failure: Exception | None) -> None:
        assert self._chains is not None
        del self._chains[chain]
        super()._chain_ended(chain, failure)

    def _abort(self) -> None:
        self._fork.cancel()

    def _cancel_all(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
            self._crew.turn.until = AT_ONCE
        self._cancel_chains()

    def _cancel_chains(self) -> None:
        self._is_dying = True
        for chain in reversed(tuple(self._chains or ())):
            chain.cancel()

    def _cancel_at(self, deadline: float) -> None:
        """Have a chain in the background that cancels the others when the time has come."""

        async def cancel(ev: EventLoop) -> None:
            await anyio.sleep_until(deadline)
            self._cancelled = True
            self._cancel_all()

        self.start(cancel, name="end of grace", background=True)

    def _close(self) -> None:
        if self._live or self._background or self._told:
            self._closing = True
            self._wind_down()
        else:  # nothing was done with it, so it is left without ado
            self._is_entered = False
            self._fork.ended(self)

    def _empty(self) -> None:
        self._is_entered = False
        if self._told is not None:
            self._come_out()
        self._fork.ended(self)


class Fork:
    """The branches of one wire.

    :param ev: the loop in which the wire runs
    :param by_end: whether the first branch to end decides
    """

    #: What the first steps that are complete have left, by the number of the branch.
    rests: dict[int, Rest]
    _branches: Sequence[Branch]
    _open: int  # how many branches are not over
    _all_ended: anyio.Event | None

    def __init__(self, ev: EventLoop, *, by_end: bool = False) -> None:
        self._is_decided = self._is_cancelled = self._is_hosted = False
        self._all_ended = None
        self._branches = ()
        #: Failures and interrupts of the branches.
        self.raised: list[BaseException] = []
        self._ev = ev
        self._by_end = by_end

    # What happens to the branches.

    def ended(self, branch: Branch) -> None:
        """Note that a branch is over."""
        self._open -= 1
        if self._by_end:
            self.decide(branch)
        if self._all_ended is not None and not self._open:
            self._all_ended.set()

    def decide(self, winner: Branch) -> None:
        """Cancel all branches but this one, unless another was before it."""
        if not self._is_decided:
            self._is_decided = True
            self._cancel(winner)

    def cancel(self) -> None:
        """Cancel all branches, also one that has won."""
        if not self._is_cancelled:  # or each of many that fail would cancel all
            self._is_decided = self._is_cancelled = True
            self._cancel(None)

    def _cancel(self, but: Branch | None) -> None:
        for branch in self._branches:
            if branch._is_entered and branch is not but:
                branch._cancel_all()

    # The ways to run them.

    async def run(self, parts: Sequence[AnyWire]) -> None:
        """Run each wire in a branch, and wait until all are over.

        :raises ExceptionGroup: of all failures
        """
        code, offset = origin()
        self._branches = [Branch(self, self._ev) for _ in parts]
        self._open = len(parts)
        for branch, part in zip(self._branches, parts, strict=True):
            branch._start(part, None, None, copy_context(), code, offset, branch)
            branch._closing = True
        self._ev._crew.call(len(parts))
        try:
            await self._wait(None)
        finally:
            self._branches = ()  # they know the fork: no cycle is left behind

    async def select(self, parts: Sequence[AnyWire]) -> None:
        """Run the first steps alone; what they leave is in :attr:`rests` then."""
        self.rests = {}
        await self.run([FirstStep(self, number, part) for number, part in enumerate(parts)])

    async def host(self, wire: AnyWire, scope: anyio.CancelScope, otherwise: Rest = None) -> Rest:
        """Follow a wire in this very task, within a scope, and wait until its branch is over.

        :return: ``otherwise`` if it was the scope that cancelled it, else ``None``
        :raises Exception: its failure as it is, if there is no other
        """
        branch = Branch(self, self._ev)
        branch._scope = scope
        self._branches = (branch,)
        self._open = 1
        self._is_hosted = True
        body: BaseException | None = None
        turn = branch._crew.turn
        chain = turn.chain
        with scope:
            if chain is not None:
                chain._ev = branch
            try:
                await follow(wire, branch, turn)
            except BaseException as exc:
                body = exc
                branch._cancel_chains()
            finally:
                if chain is not None:
                    chain._ev = self._ev
            try:
                branch._close()
                if self._open:
                    await self._wait(body)
                elif body is not None or self.raised:
                    self._raise(body, body)
            finally:
                del body  # it knows this frame: no cycle is left behind
                self._branches = ()
            return None
        return otherwise if scope.cancelled_caught and not branch.cancelled else None

    async def _wait(self, body: BaseException | None) -> None:
        """Wait until all branches are over; when cancelled, cancel them, and wait on.

        :param body: what was raised already, to be raised in the end
        """
        left = body
        while self._open:
            self._all_ended = anyio.Event()
            try:
                if left is body:
                    await self._all_ended.wait()
                else:
                    with anyio.CancelScope(shield=True):
                        await self._all_ended.wait()
            except BaseException as exc:
                left = exc
                self.cancel()
        try:
            self._raise(body, left)
        finally:
            del body, left

    def _raise(self, body: BaseException | None, left: BaseException | None) -> None:
        """Raise what the branches end with, if anything, and leave nothing out."""
        is_alone = not self.raised
        raised = [*([] if body is None else [body]), *self.raised]
        failures, interrupts = parted(raised, self._ev._crew.cancellation)
        self.raised.clear()
        try:
            if interrupts:
                failures = [*hung_on(interrupts), *failures]
                if not failures:
                    raise interrupts[0]
                raise interrupts[0] from self._group(failures)
            if body is not None and is_alone:
                raise body
            if failures:
                is_bare = self._is_hosted and len(failures) == 1
                raise failures[0] if is_bare else self._group(failures)
            if left is not None:
                raise left
        finally:
            del body, left, raised, failures, interrupts

    def _group(self, failures: list[Exception]) -> Exception:
        return ExceptionGroup(f"{len(failures)} failures in branches of a wire", failures)


def origin() -> tuple[CodeType, int]:
    """Say where the chain was started that is running."""
    chain = this_turn().chain
    if chain is not None:
        return chain._code, chain._offset
    frame = sys._getframe(1)
    return frame.f_code, frame.f_lasti


class FirstStep(Wire):
    """The first step of a branch, which decides."""

    __slots__ = ("_fork", "_number", "_wire")

    def __init__(self, fork: Fork, number: int, wire: AnyWire) -> None:
        self._fork = fork
        self._number = number
        self._wire = wire

    async def __call__(self, ev: EventLoop) -> Rest:
        """Take the step; nothing waits between that and the note of what it leaves."""
        rest = await take_step(self._wire, ev)
        self._fork.rests[self._number] = rest
        assert isinstance(ev, Branch)
        self._fork.decide(ev)
        return None

    def __repr__(self) -> str:
        return repr(self._wire)
