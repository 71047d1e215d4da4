"""Whether a wire has received anything from its ZeroMQ socket.

ZeroMQ says that there is something to receive, but not how much. After a wire was started it says
the same again, be it that the wire has received one message of many, or none at all. What tells
the two apart is whether the socket was asked. So while it is watched, the methods that receive are
replaced, on this one object, by some that count and then do the same. A wire that did not ask is
started again after a pause, as are the wires of descriptors of which nothing better is known.

What receives past these methods, such as ``zmq.proxy`` or a shadow of the socket, is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Any

from ._protocol import next_pause

__all__ = ["Receives"]

METHODS = ("recv", "recv_into", "recv_multipart")


class Count:
    """How often a socket was asked to receive; one for all who watch it."""

    def __init__(self, socket: Any) -> None:
        self.number = 0
        self._attributes: dict[str, Any] = socket.__dict__
        # Not hasattr(), which would take the names for those of options; old pyzmq has less.
        names = [name for name in METHODS if name in dir(socket)]
        self._before = {name: self._attributes.get(name) for name in names}
        self._listeners: list[Callable[[], object]] = []
        for name in names:
            self._attributes[name] = self._counted(getattr(socket, name))

    def listen(self, listener: Callable[[], object]) -> None:
        """Call a function whenever the socket has been asked."""
        self._listeners.append(listener)

    def ignore(self, listener: Callable[[], object]) -> None:
        """Call it no more; for the last one, give the socket its methods back."""
        self._listeners.remove(listener)
        if not self._listeners:
            for name, method in self._before.items():
                self._attributes.pop(name, None)
                if method is not None:
                    self._attributes[name] = method

    def _counted(self, receive: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(receive)
        def counted(*args: Any, **kwargs: Any) -> Any:
            try:
                return receive(*args, **kwargs)
            finally:
                self.number += 1
                for listener in self._listeners:
                    listener()

        counted.count = self  # type: ignore[attr-defined]
        return counted


class Receives:
    """Says when the wire of a socket that has something to receive may be started.

    :param asked: is called when the socket has been asked
    """

    def __init__(self, socket: Any, asked: Callable[[], object]) -> None:
        self._socket = socket
        self._asked = asked
        self._count: Count | None = None

    def open(self) -> None:
        """Begin to count."""
        attributes: dict[str, Any] = self._socket.__dict__
        shared: Count | None = getattr(attributes.get(METHODS[0]), "count", None)
        self._count = shared or Count(self._socket)
        self._count.listen(self._asked)
        self.forget()

    def close(self) -> None:
        """Count no longer."""
        assert self._count is not None
        self._count.ignore(self._asked)
        self._count = None

    def forget(self) -> None:
        """Note that nothing was left to receive."""
        self._at_start = -1  # the count when the wire was last started
        self._pause = 0.0
        self._pauses = False

    def start(self) -> bool:
        """Say whether to start the wire now, and note that."""
        assert self._count is not None
        number = self._count.number
        if number != self._at_start:
            self._at_start = number
            self._pause = 0.0
        elif not self._pauses:
            self._pause = next_pause(self._pause)
            self._due = monotonic() + self._pause
            self._pauses = True
            return False
        elif self.pause() > 0:
            return False
        self._pauses = False
        return True

    def pause(self) -> float:
        """Give the seconds after which to start the wire if it does not ask before."""
        return self._due - monotonic()
