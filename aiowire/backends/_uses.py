"""What is done with a ZeroMQ socket while it is watched.

Two things a poller has to know, and ZeroMQ does not tell:

- *whether a wire has received*. There is something to receive, says ZeroMQ, but not how much. After
  a wire was started it says the same again, be it that the wire has received one message of many,
  or none at all. A wire that did not ask is started again after a pause only, like the wires of
  descriptors of which nothing better is known.
- *whether to look again*. Any call may silence the descriptor that tells of new events (see
  ``_zeromq.py``), also a call for another purpose, in a wire of another source.

An awaitable socket of this library tells by itself. While a plain one is watched, methods of this
one object are replaced by some that do the same, and tell. A method that was taken from the object
before, as in ``Call(socket.send, b"x")``, goes past them, and so do ``zmq.proxy`` and shadows of
the socket. Therefore :class:`Restarts` takes a wire that calls the socket's own method for one that
receives, and also one that was seen to have emptied the socket by ways of its own; and the
readiness looks again after a time, see there.
"""

from __future__ import annotations

import math
from _thread import get_ident
from collections.abc import Callable
from functools import partial, wraps
from time import monotonic
from typing import Any, NoReturn, cast

import anyio
import zmq

from .._call import Then
from .._wire import AnyWire, expose
from ._calls import Calls
from ._protocol import next_pause

__all__ = ["Restarts", "Uses", "begins_with", "check_socket", "fail"]

RECEIVING = ("recv", "recv_into")
OPTIONS = ("get", "getsockopt", "set", "setsockopt")
METHODS = (*RECEIVING, "send", "bind", "unbind", "connect", "disconnect", "poll", *OPTIONS)


def check_socket(socket: Any) -> None:
    """Refuse a socket that is closed, or of a kind that has no descriptor."""
    if socket.closed:
        raise ValueError(f"{socket!r} cannot be polled: it is closed")
    try:
        socket.get(zmq.FD)
    except zmq.ZMQError as exc:
        raise ValueError(f"{socket!r} cannot be polled: {exc}") from exc


def fail(socket: Any, exc: zmq.ZMQError) -> NoReturn:
    """Say that a socket cannot be watched any more, of which ZeroMQ says this.

    :raises anyio.ClosedResourceError: when it has been closed, or its context terminated
    """
    if isinstance(exc, zmq.ContextTerminated):
        raise anyio.ClosedResourceError(
            f"the context of {socket!r} was terminated while it was watched"
        ) from exc
    raise anyio.ClosedResourceError(
        f"{socket!r} was closed while it was watched; unregister a source before you close it"
    ) from exc


class Uses:
    """The uses of a plain socket, as far as they are made by this object."""

    def __init__(self, socket: Any) -> None:
        self.waiters = Calls(socket.get, repr(socket))
        self.waiters.first_recheck = self.waiters.longest_recheck = math.inf
        self._users = 0
        self._thread = get_ident()
        self._attributes: dict[str, Any] = socket.__dict__
        kinds: Any = (socket.__class__, zmq.Socket)
        self._is_pyzmqs = kinds[0].recv is kinds[1].recv and "recv" not in socket.__dict__
        self._before = {name: self._attributes.get(name) for name in METHODS}
        self._methods = {name: self._telling(getattr(socket, name), name) for name in METHODS}

    @classmethod
    def of(cls, socket: Any) -> Uses:
        """Begin to watch a socket, or join those who do."""
        shared: Any = getattr(socket.__dict__.get("recv"), "uses", None)
        uses = shared if isinstance(shared, cls) else cls(socket)
        if not uses._users:
            uses._attributes.update(uses._methods)
        uses._users += 1
        return uses

    def leave(self) -> None:
        """Watch no longer; the last to leave gives the socket its methods back."""
        self._users -= 1
        if self._users:
            return
        self.waiters.close()
        for name, method in self._methods.items():
            if self._attributes.get(name) is method:
                del self._attributes[name]
                if self._before[name] is not None:
                    self._attributes[name] = self._before[name]

    def tell(self) -> None:
        """Let all who wait look again, unless the socket is used in a thread that is not theirs."""
        if get_ident() == self._thread:
            self.waiters.called()

    def _telling(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        waiters, receives = self.waiters, int(name in RECEIVING)

        def used() -> None:
            waiters.receives += receives
            self.tell()

        def use(*args: Any, **kwargs: Any) -> Any:
            try:
                result = method(*args, **kwargs)
            except zmq.ZMQError:
                used()
                raise
            used()
            return result

        def receive(flags: int = 0, copy: bool = True, track: bool = False) -> Any:
            """Do the same at half the cost, for it is called for each message."""
            try:
                message = method(flags, copy, track)
            except zmq.ZMQError:
                used()
                raise
            waiters.receives += 1
            if waiters.all or waiters.told:
                self.tell()
            return message

        telling: Any = wraps(method)(receive if name == "recv" and self._is_pyzmqs else use)
        telling.uses = self
        return cast("Callable[..., Any]", telling)


class Restarts:
    """Says when the wire of a socket that has something to receive may be started."""

    def __init__(self, waiters: Calls, *, receives: bool) -> None:
        self._waiters = waiters
        self._receives = receives  # what need not be seen
        self.at_start = -1  # how often the socket was asked when the wire was last started
        self.pause_seconds = 0.0
        self._due: float | None = None

    def empty(self, was_started: bool) -> None:
        """Note that there is nothing to receive.

        :param was_started: whether the wire was started just before, and not some time ago
        """
        if was_started and self.at_start == self._waiters.receives:
            self._receives = True  # unseen
        self.at_start = -1

    def start(self) -> bool:
        """Say whether to start the wire now, and note that."""
        receives = self._waiters.receives
        if receives != self.at_start or self._receives:
            self.at_start = receives
            self.pause_seconds = 0.0
        elif self._due is None:
            self.pause_seconds = next_pause(self.pause_seconds)
            self._due = monotonic() + self.pause_seconds
            return False
        elif self.pause() > 0:
            return False
        self._due = None
        return True

    def pause(self) -> float:
        """Give the seconds after which to start the wire if it does not ask before."""
        return 0.0 if self._due is None else self._due - monotonic()


def begins_with(wire: AnyWire, socket: Any) -> bool:
    """Say whether a wire begins by calling a method of the socket that receives."""
    first: Any = expose(wire, None, None)[0]
    function: Any = getattr(first._wire if isinstance(first, Then) else first, "_fn", first)
    while isinstance(function, partial):
        function = function.func
    is_own = getattr(function, "__self__", None) is socket
    return is_own and getattr(function, "__name__", "").startswith("recv")
