"""Those who wait for one ZeroMQ socket: the protocol by which no wake-up is lost.

Facts
-----
1. A ZeroMQ socket has a descriptor (``ZMQ_FD``) that says "something may have happened", and a
   number, its events (``ZMQ_EVENTS``), that says what it can do now. The descriptor is readable
   while commands lie in the socket's mailbox, and *any* call may empty that mailbox, for whatever
   purpose it was made.
2. A message that enters a queue which its reader last found filled sends no command. Only a reader
   that has looked, and found nothing, is told of the next message; likewise a writer of room.
3. The descriptor may be readable when nothing has happened that anybody waits for.
4. A call may be refused (``EAGAIN``) although the events say that it can be made: there is room,
   but not for this message. A ROUTER that must deliver is an example, of whose peers one is full.

How the naive way fails
-----------------------
``wait until the descriptor is readable; call; on EAGAIN begin again`` sleeps for ever when, after
the message has come and before the loop has seen the descriptor, another task sends, connects or
reads an option (1); or when somebody has taken one message of two (2). Two tasks that wait, for a
message and for room, take each other's wake-ups. A task that was woken and is then cancelled takes
one along. In a busy program the next call hides all that; it shows as a program that sleeps some
day.

The cure
--------
*Look after every call.* Whoever calls the socket while others wait reads the events after it
(:meth:`Waiters.refresh`). If they say that it can be read, who has waited longest to read is woken,
and likewise to write. One of each is awake at a time, and keeps its place in the queue until it has
got what it waits for. Then, or when it goes without, it looks once more: so a wake-up that it did
not use goes on to the next.

*One listens.* Of those who wait one, the *leader*, waits for the descriptor; the others wait to be
woken. When it has left, and nobody is awake who will look anyway, another is woken to listen.

*Look before sleeping.* Each look that finds nothing arms the descriptor again (2).

So whenever the event loop has nothing to do, and a task waits for the socket, the last that was
done with it was a look that found nothing for that task, and the leader sleeps on the descriptor:
the next thing to happen makes it readable, and there is nobody to take that away without a look.
And a message leaves ZeroMQ only in the task that returns it, with no wait in between: there is
nothing to lose when that task is cancelled.

*Refused in spite of the events* (4): such a task stands aside, so that others are not held up by
it, and tries again when the descriptor has been readable, and after :data:`RETRY` seconds and more,
for another call may have taken its wake-up while the events stayed the same.

*Answers that come at once*: where the last wait was short the leader looks in each turn of the
event loop for a moment, and sleeps on the descriptor only then, which costs more than all the rest.
Meanwhile it lets other processes run that wait for its processor, for they may have the answer.

The price
---------
While tasks wait each call costs one look, about a microsecond; nothing while none does. And who
calls behind the back of this object, through a shadow of the socket or its C handle, must say so
(:meth:`Waiters.refresh`). In case that they do not, the leader looks every :data:`RECHECK` seconds,
or a poller does for all its sockets at once, which costs less (:meth:`Waiters.inspect`). What is
found that way is counted (:attr:`Waiters.missed_edges`).

The descriptor that the leader waits for is a duplicate, which is no one else's: nothing else can be
registered for its number. To wake the leader it is told that this descriptor is being closed, which
is the one way to end such a wait without a cancel scope.

Sources: the manual of ``zmq_getsockopt``, the code of libzmq 4.3.5; pyzmq's issues 1065, 1203, 2045
are failures of this kind.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import anyio
import zmq

from ._notices import has_input, is_running, notify_closing
from ._owned import Owned
from ._protocol import POLLIN, POLLOUT

__all__ = ["AT_ONCE", "Waiter", "Waiters"]

#: Said of a call that is tried at once, whoever waits, and whatever the events say.
AT_ONCE = 32

#: After how many seconds a call is made again that was refused although the socket is ready. They
#: double as long as nothing happens at all.
RETRY = 0.02
LONGEST_RETRY = 0.16

#: Lets other processes run that wait for this processor.
give_way: Callable[[], object] = getattr(os, "sched_yield", partial(time.sleep, 0))

#: How often, in seconds, the leader looks although nobody has told it to, unless it is told.
RECHECK = 0.5

#: Where the last wait took less than so many seconds, the leader does not sleep at once, but looks
#: in each turn for so long: to sleep on a descriptor and be woken takes longer than most answers.
QUICK = 0.0003
SPIN = 0.0002


class Waiter:
    """One task that waits."""

    __slots__ = ("event", "flags", "is_refused", "is_woken", "tried")

    def __init__(self, flags: int) -> None:
        self.flags = flags  # in which directions
        self.is_woken = False
        self.is_refused = False  # in spite of the events
        self.tried = -1  # after how many edges it was refused last
        self.event: anyio.Event | None = None  # unless it leads


Queue = OrderedDict[Waiter, None]


class Waiters(Owned):
    """The tasks that wait for one socket.

    :param get: reads an option of the socket, without telling anybody
    :param name: the socket, for messages
    """

    def __init__(self, get: Callable[[int], Any], name: str) -> None:
        self.get = get
        super().__init__(name)
        self._token: Any = None  # of the event loop in which they wait
        self._fd = -1
        self.all: Queue = OrderedDict()
        self._queues: dict[int, Queue] = {POLLIN: OrderedDict(), POLLOUT: OrderedDict()}
        self._refused: Queue = OrderedDict()
        self._retry = RETRY  # when these try again, in seconds
        self._leader: Waiter | None = None
        self._awake = 0  # how many are woken
        self._is_listening = self._is_closed = False
        self._edges = 0
        self._dry: int = 0  # the directions in which the last call had to wait
        self._is_quick = False  # but not for long
        self._until = 0.0  # when the other tasks are to get a turn
        self.receives: int = 0  # how often the socket was asked to receive
        self.told: list[Callable[[], object]] = []  # who else is called after each call
        #: After how many seconds the leader looks although nobody has told it to; they double.
        self.first_recheck = self.longest_recheck = RECHECK
        self._inspectors = 0  # how many others do that each RECHECK seconds, such as pollers
        #: Whether the socket has to receive and to send in turns, as REQ and REP do.
        self.takes_turns = False
        #: How often the socket was found ready without anybody having told.
        self.missed_edges = 0

    def __len__(self) -> int:
        """How many tasks wait."""
        return len(self.all)

    # Waiting.

    def _enter(self, waiter: Waiter) -> None:
        token = anyio.lowlevel.current_token()
        if self.all and token != self._token:
            raise RuntimeError(
                f"{self._name} is waited for in another event loop; use it in one at a time"
            )
        self._token = token
        if self._fd < 0:
            self._fd = os.dup(self.get(zmq.FD))
        self.all[waiter] = None
        for flag, queue in self._queues.items():
            if waiter.flags & flag:
                queue[waiter] = None

    def _leave(self, waiter: Waiter) -> None:
        """Go, and hand on what others need: the duty to listen, and a wake-up not used."""
        del self.all[waiter]
        self._stand_aside(waiter)
        if waiter.is_refused:
            self._refused.pop(waiter, None)
        self._doze(waiter)
        if self._leader is waiter:
            self._leader = None
            if self._is_closed:
                self._close_descriptor()
        self.called()

    async def _park(self, waiter: Waiter, looked: bool) -> None:
        """Sleep until there is a reason to try.

        :param looked: whether nothing was done with the socket since the last look
        """
        self._doze(waiter)
        if self._leader is None and not self._awake:
            self._leader = waiter
        if not looked:
            self.refresh()
        since = monotonic()
        recheck = self.first_recheck
        if self._is_quick and self._leader is waiter:
            await self._spin(waiter)
        while not waiter.is_woken and self._end is None:
            if self._leader is waiter:
                seconds = math.inf if self._inspectors and recheck >= RECHECK else recheck
                await self._listen(min(seconds, self._retry) if self._refused else seconds)
                recheck = min(2 * recheck, self.longest_recheck)
            else:
                waiter.event = anyio.Event()
                await waiter.event.wait()
            if not waiter.is_woken:
                self.refresh()
        self._is_quick = monotonic() - since < QUICK
        if self._end is not None:
            self.claim()

    async def _spin(self, waiter: Waiter) -> None:
        """Look again and again for a moment, and let the other tasks run meanwhile."""
        until = monotonic() + SPIN
        while not waiter.is_woken and monotonic() < until:
            await anyio.lowlevel.checkpoint()
            give_way()
            self.refresh()

    async def _listen(self, seconds: float) -> None:
        """Sleep until the descriptor is readable, the time is up, or the leader is woken.

        An event loop that can call back does so in time. A cancel scope would cost more, and on
        Python 3.10 swallow the cancellation of a task that comes in the same moment.
        """
        is_edge = False
        call_later = getattr(self._token.native_token, "call_later", None)
        self._is_listening = True
        try:
            if call_later is None or seconds == math.inf:
                with anyio.move_on_after(seconds):
                    await anyio.wait_readable(self._fd)
                    is_edge = True
            else:
                timer = call_later(seconds, self._stop_listening)
                try:
                    await anyio.wait_readable(self._fd)
                    is_edge = True
                finally:
                    timer.cancel()
        except anyio.ClosedResourceError:
            is_edge = False  # told to stop
        finally:
            self._is_listening = False
        if self._leader is None or self._leader.is_woken:
            return
        if is_edge:
            self._retry = RETRY
        else:
            self._retry = min(2 * self._retry, LONGEST_RETRY)
            self.inspect()
        self._edges += 1

    def inspect(self) -> None:
        """Look although nobody has told, and count what was missed."""
        if self.all and self._end is None and not has_input(self._fd):
            before = self._awake
            self.refresh()
            self.missed_edges += self._awake > before

    def begin_to_inspect(self) -> None:
        """Leave it to the caller to :meth:`inspect` every :data:`RECHECK` seconds."""
        self._inspectors += 1

    def cease_to_inspect(self) -> None:
        """Let the leader do so again."""
        self._inspectors -= 1
        self._stop_listening()

    def _stop_listening(self) -> None:
        """Let the leader go on; in another event loop it cannot be told, and looks by itself."""
        if self._is_listening and is_running(self._token):
            self._is_listening = not notify_closing(self._fd)

    def _refuse(self, waiter: Waiter) -> None:
        """Let a task stand aside whose call was refused although the socket is ready."""
        if not self._refused:
            self._retry = RETRY
            self._stop_listening()  # the leader, for it is to listen for less time now
        waiter.is_refused = True
        self._refused[waiter] = None
        self._stand_aside(waiter)

    def _stand_aside(self, waiter: Waiter) -> None:
        """Leave the queues, so that others come to the front."""
        for flag, queue in self._queues.items():
            if waiter.flags & flag:
                queue.pop(waiter, None)

    # Waking.

    def __enter__(self) -> None:
        """Begin a call on the socket that does not wait."""
        self.check()

    def __exit__(self, *_: object) -> None:
        self.called()

    def called(self) -> None:
        """Look, if anybody waits, after a call on the socket."""
        if self._refused:
            self._retry = RETRY
        if self.all:
            self.refresh()
        for look in tuple(self.told):
            look()

    def refresh(self) -> int:
        """Look what the socket can do, and wake who has waited longest for that.

        :return: the events
        """
        if self._end is not None:
            return 0
        try:
            events: int = self.get(zmq.EVENTS)
        except zmq.ZMQError as exc:
            self.end(exc)
            return 0
        if self.all:
            self._wake_ready(events)
            self._elect()
        return events

    def _wake_ready(self, events: int) -> None:
        for flag, queue in self._queues.items():
            if not queue or not events:
                continue
            oldest = next(iter(queue))
            # A call out of turn has to be tried, to be refused; a mere look has not.
            if events & flag or (self.takes_turns and not oldest.flags & AT_ONCE):
                self._wake(oldest)
        for waiter in self._refused:
            if waiter.tried != self._edges:
                self._wake(waiter)
            if waiter.is_woken:
                break

    def _elect(self) -> None:
        """See that somebody listens, or is awake and will see to that."""
        if self._leader is None and not self._awake:
            self._wake(next(iter(self.all)))

    def _doze(self, waiter: Waiter) -> None:
        """Note that a task has nothing to do any more that it was woken for."""
        self._awake -= waiter.is_woken
        waiter.is_woken = False

    def _wake(self, waiter: Waiter) -> None:
        if waiter.is_woken:
            return
        waiter.is_woken = True
        self._awake += 1
        if waiter is not self._leader:
            if waiter.event is not None:
                waiter.event.set()
        else:
            self._stop_listening()

    # The end.

    def end(self, reason: BaseException) -> None:
        """Wake everybody, to be told that the socket cannot be used any more, and why."""
        self._end = reason
        if not self.is_forked:
            for waiter in self.all:
                self._wake(waiter)

    def close(self) -> None:
        """Wake everybody before the socket is closed, and give back the descriptor."""
        if self.all and not self.is_forked:
            self.check()
        if self._end is None:
            self.end(OSError(errno.ENOTSOCK, "it was closed"))
        self._is_closed = True
        if self._leader is None or self.is_forked:
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        """Give back the descriptor, when nobody listens: its number may be another's at once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
