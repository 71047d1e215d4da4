"""The crew of an event loop: its workers, and the queue of chains that they serve.

How many workers are on their way to the queue is decided here; what they do once they are there is
in ``_worker.py``. Loops inside a loop, such as those of the branches of a wire, share its crew, so
that to start a branch costs what it costs to start a chain.
"""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from time import monotonic

import anyio

from ._chain import SLICE, Handle, this_turn
from ._worker import EAGER, PATIENCE, TURN, Idle, Worker

__all__: list[str] = []


class Crew:
    """The workers in one task group, and the chains that have not begun.

    :param tasks: the task group, which the workers are tasks of
    """

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.tasks = tasks
        self.thread = get_ident()
        self.cancellation = anyio.get_cancelled_exc_class()
        self.queue: deque[Handle] = deque()  # chains that have not begun
        self.pool: deque[Idle] = deque()  # workers with nothing to do
        # The workers on their way to the queue: when each was called, after how many turns.
        self.coming: dict[Worker, tuple[float, int]] = {}
        self.eager = EAGER  # how many may be
        self.turns = 0  # how many turns workers have had
        self.turn = this_turn()
        self.turn.until = monotonic() + SLICE  # of what runs before a worker has had a turn
        self.is_dismissed = self.is_cancelled = False
        self._grown_at = 0.0  # when the number of eager workers was raised

    @property
    def is_serving(self) -> bool:
        """Whether a chain of this crew is running: its worker comes to the queue when it waits."""
        chain = self.turn.chain
        return chain is not None and chain._loop._crew is self

    def call(self, number: int) -> None:
        """See that so many workers, or as many as make sense, are on their way to the queue."""
        wanted = min(number, self.eager, len(self.queue))
        while len(self.coming) < wanted:
            if self.pool:
                idle = self.pool.pop()
                self.called(idle.worker)
                idle.woken.set()
            else:
                worker = Worker(self)
                worker.task = self.tasks.create_task(worker, name="aiowire worker")

    def called(self, worker: Worker) -> None:
        """Note that a worker is on its way."""
        self.coming[worker] = monotonic(), self.turns

    def arrived(self, worker: Worker) -> None:
        """Note that a worker is there, and learn from how long that took."""
        since, turns = self.coming.pop(worker)
        now = monotonic()
        if now - since <= PATIENCE + (self.turns - turns) * TURN:
            self.eager = EAGER
        elif now - self._grown_at > PATIENCE:
            self.eager *= 2
            self._grown_at = now

    def dismiss(self) -> None:
        """Let the workers go when there will be no more work for them."""
        self.is_dismissed = True
        for idle in self.pool:
            idle.woken.set()
        self.pool.clear()

    def drop_queue(self) -> None:
        """End the chains that have not begun, and never will, as cancelled."""
        while self.queue:
            self.queue.popleft().cancel()

    def leave(self) -> None:
        """Be no more: the task group has ended."""
        self.drop_queue()
        if self.is_serving:  # not so unless something broke the worker off
            self.turn.chain = None
