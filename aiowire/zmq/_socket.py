"""The awaitable socket: what pyzmq has, through the protocol of ``backends/_waiters.py``.

Two primitives, :meth:`Socket._receive` and :meth:`Socket._send`, make a call of the plain socket
underneath as soon as it can be made. All the rest is derived: it encodes before a message is sent,
or decodes after one was received, with no wait in between.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

import zmq
from zmq.utils import jsonapi

from ..backends._calls import AT_ONCE, TAKES, Calls
from ..backends._protocol import POLLIN, POLLOUT, check_flags
from ._timeouts import Timeouts, at_once, check_timeout

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self
    from zmq.sugar.socket import _SocketContext

__all__ = ["Socket"]

T = TypeVar("T")

# As plain numbers, which are combined much faster than zmq's flags.
DONTWAIT, SNDMORE = int(zmq.DONTWAIT), int(zmq.SNDMORE)

#: For how many milliseconds a closed socket tries to get its messages out, unless it is told.
LINGER_MS = 1000


class Socket(zmq.Socket[Any]):
    """A ZeroMQ socket whose operations are awaited.

    Made by :meth:`Context.socket() <aiowire.zmq.Context.socket>`; or
    ``Socket(other)`` for one that uses the same ZeroMQ socket as ``other``.

    It does what :class:`zmq.Socket` does, and names and parameters are the same. What receives or
    sends, and :meth:`poll`, are coroutines; ``bind``, ``connect``, options and the rest are called
    as ever. Any number of tasks may wait for it, to receive and to send; each direction serves who
    came first. The socket belongs to the thread that first awaited something of it, may be used in
    one event loop after another, and cannot be used after a fork.

    *Errors* of every coroutine: :exc:`anyio.ClosedResourceError` when the socket is closed or its
    context ends, be it while the task waits; :exc:`zmq.Again` when ``RCVTIMEO`` or ``SNDTIMEO`` is
    over, or at once with ``DONTWAIT``; :exc:`RuntimeError` in another thread, after a fork, or
    while tasks of another event loop wait; what ZeroMQ refuses is a :exc:`zmq.ZMQError`.

    *Cancellation* of every coroutine: a message is received or stays in the socket, it is sent
    whole or not at all. Each call is a point of cancellation, and gives other tasks a turn about
    every millisecond.

    A socket lingers for a second when it is closed, where that of pyzmq lingers for ever.
    """

    # What ZeroMQ has no option for has to be declared.
    _waiters: Calls
    _send_flags: int
    _plain: zmq.Socket[bytes]
    _timeouts: Timeouts

    def __init__(
        self,
        ctx_or_socket: zmq.Context[Any] | zmq.Socket[Any] | None = None,
        socket_type: int = 0,
        *,
        shadow: zmq.Socket[Any] | int = 0,
        copy_threshold: int | None = None,
    ) -> None:
        # Options are read while a socket is made; nobody waits for it by then.
        self._waiters = Calls(lambda option: 0, "a socket")
        super().__init__(  # type: ignore[call-overload]
            ctx_or_socket, socket_type, shadow=shadow, copy_threshold=copy_threshold
        )
        # Not a shadow of this object, which would keep it alive, but of what is underneath.
        self._plain = zmq.Socket(shadow=self.underlying, copy_threshold=copy_threshold)
        self._timeouts = Timeouts(self._plain, is_shared=bool(self._shadow))
        self._waiters = Calls(self._plain.get, repr(self))
        kind = self._plain.type
        self._waiters.takes_turns = kind in (zmq.REQ, zmq.REP)
        # The events of a ROUTER do not say to whom it can send.
        self._send_flags = POLLOUT | AT_ONCE if kind == zmq.ROUTER else POLLOUT
        try:
            self._plain.get(zmq.FD)
        except zmq.ZMQError as exc:
            if not self._shadow:
                self.close(0)
            raise TypeError(
                f"{self!r} cannot be awaited: sockets of this kind have no descriptor; "
                f"use it from a thread"
            ) from exc
        if not self._shadow:
            self._plain.set(zmq.LINGER, LINGER_MS)

    def __del__(self) -> None:
        # A shadow leaves the ZeroMQ socket open, but has a descriptor of its own.
        if self._shadow and not sys.is_finalizing():
            self._waiters.close()
        super().__del__()

    @classmethod
    def from_socket(cls, socket: zmq.Socket[Any]) -> Socket:
        """Make an awaitable socket of a plain one; see :meth:`refresh`."""
        return cls(socket)

    @property
    def copy_threshold(self) -> int:
        """How many bytes a part must have to be sent without a copy, where that is asked for."""
        return self._plain.copy_threshold

    @copy_threshold.setter
    def copy_threshold(self, n: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._plain.copy_threshold = n

    # The primitives.

    def _receive(self, call: Callable[..., T], flags: int, *args: Any) -> Coroutine[Any, Any, T]:
        if flags & DONTWAIT:
            return self._waiters.perform(POLLIN | TAKES | AT_ONCE, at_once, call, flags, *args)
        return self._waiters.perform(
            POLLIN | TAKES, self._timeouts.receive, call, flags | DONTWAIT, *args
        )

    def _send(
        self, call: Callable[..., T], message: Any, flags: int, *args: Any
    ) -> Coroutine[Any, Any, T]:
        if flags & SNDMORE:
            raise ValueError(
                "SNDMORE would send a part of a message, which other tasks could tear; "
                "send all parts at once: send_multipart([...])"
            )
        if flags & DONTWAIT:
            return self._waiters.perform(POLLOUT | AT_ONCE, at_once, call, message, flags, *args)
        return self._waiters.perform(
            self._send_flags, self._timeouts.send, call, message, flags | DONTWAIT, *args
        )

    # Receiving.

    @overload  # type: ignore[override]
    async def recv(
        self, flags: int = 0, copy: Literal[True] = True, track: bool = False
    ) -> bytes: ...
    @overload
    async def recv(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False
    ) -> zmq.Frame: ...
    @overload
    async def recv(self, flags: int, copy: Literal[False], track: bool = False) -> zmq.Frame: ...
    @overload
    async def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> bytes | zmq.Frame: ...
    async def recv(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> bytes | zmq.Frame:
        """Receive one part of a message; see :meth:`recv_multipart` for the whole.

        :param flags: :data:`zmq.DONTWAIT`, to raise :exc:`zmq.Again` if there is none
        :param copy: give a copy of the bytes; else a :class:`zmq.Frame`, which refers to them
        :param track: whether that frame can be tracked
        """
        return await self._receive(self._plain.recv, flags, copy, track)

    @overload  # type: ignore[override]
    async def recv_multipart(
        self, flags: int = 0, copy: Literal[True] = True, track: bool = False
    ) -> list[bytes]: ...
    @overload
    async def recv_multipart(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False
    ) -> list[zmq.Frame]: ...
    @overload
    async def recv_multipart(
        self, flags: int, copy: Literal[False], track: bool = False
    ) -> list[zmq.Frame]: ...
    @overload
    async def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> list[bytes] | list[zmq.Frame]: ...
    async def recv_multipart(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> list[bytes] | list[zmq.Frame]:
        """Receive all parts of a message.

        :param flags: :data:`zmq.DONTWAIT`, to raise :exc:`zmq.Again` if there is none
        :param copy: give copies of the bytes; else a :class:`zmq.Frame` for each part
        :param track: whether those frames can be tracked
        """
        return await self._receive(self._plain.recv_multipart, flags, copy, track)

    async def recv_into(  # type: ignore[override]
        self, buffer: Buffer, /, *, nbytes: int = 0, flags: int = 0
    ) -> int:
        """Receive one part of a message into a buffer.

        :param buffer: a writable buffer; what does not fit into it is cut off
        :param nbytes: how many bytes at most; 0 for as many as fit
        :return: how many bytes the part has
        """

        def receive(flags: int) -> int:
            return self._plain.recv_into(buffer, nbytes=nbytes, flags=flags)

        return await self._receive(receive, flags)

    async def recv_string(self, flags: int = 0, encoding: str = "utf-8") -> str:  # type: ignore[override]
        """Receive text, as :meth:`send_string` sends it."""
        return (await self.recv(flags)).decode(encoding)

    async def recv_json(self, flags: int = 0, **kwargs: Any) -> Any:  # type: ignore[override]
        """Receive an object as JSON; ``kwargs`` are those of :func:`json.loads`."""
        return jsonapi.loads(await self.recv(flags), **kwargs)

    async def recv_pyobj(self, flags: int = 0) -> Any:
        """Receive a pickled object. Unpickle nothing from those whom you do not trust."""
        return pickle.loads(await self.recv(flags))

    @overload  # type: ignore[override]
    async def recv_serialized(
        self, deserialize: Callable[[list[bytes]], T], flags: int = 0, copy: Literal[True] = True
    ) -> T: ...
    @overload
    async def recv_serialized(
        self, deserialize: Callable[[list[zmq.Frame]], T], flags: int = 0, copy: bool = ...
    ) -> T: ...
    async def recv_serialized(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, deserialize: Callable[[Any], T], flags: int = 0, copy: bool = True
    ) -> T:
        """Receive all parts of a message, and give what a function makes of them."""
        return deserialize(await self.recv_multipart(flags, copy))

    # Sending.

    async def send(  # type: ignore[override]
        self,
        data: Buffer | zmq.Frame,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> zmq.MessageTracker | None:
        """Send a message of one part; several go by :meth:`send_multipart`.

        :param data: the bytes
        :param flags: :data:`zmq.DONTWAIT`, to raise :exc:`zmq.Again` if there is no room
        :param copy: send a copy of the bytes; else they must not change until they are sent
        :param track: give a tracker which tells when that is
        :raises ValueError: for ``SNDMORE``
        """
        return await self._send(self._plain.send, data, flags, copy, track, routing_id, group)

    async def send_multipart(  # type: ignore[override]
        self,
        msg_parts: Sequence[Buffer | zmq.Frame],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> zmq.MessageTracker | None:
        """Send a message of several parts, whole or not at all; see :meth:`send`."""
        return await self._send(self._plain.send_multipart, list(msg_parts), flags, copy, track)

    async def send_string(  # type: ignore[override]
        self, u: str, flags: int = 0, copy: bool = True, encoding: str = "utf-8", **kwargs: Any
    ) -> zmq.MessageTracker | None:
        """Send text."""
        if not isinstance(u, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"send_string sends a str, got {u!r}; bytes go by send()")
        return await self.send(u.encode(encoding), flags, copy, **kwargs)

    async def send_json(self, obj: object, flags: int = 0, **kwargs: Any) -> None:  # type: ignore[override]
        """Send an object as JSON; ``kwargs`` are those of :func:`json.dumps`."""
        names = [name for name in ("routing_id", "group") if name in kwargs]
        options = {name: kwargs.pop(name) for name in names}
        await self.send(jsonapi.dumps(obj, **kwargs), flags, **options)

    async def send_pyobj(  # type: ignore[override]
        self, obj: object, flags: int = 0, protocol: int = pickle.DEFAULT_PROTOCOL, **kwargs: Any
    ) -> zmq.MessageTracker | None:
        """Send an object pickled."""
        return await self.send(pickle.dumps(obj, protocol), flags, **kwargs)

    async def send_serialized(  # type: ignore[override]
        self,
        msg: T,
        serialize: Callable[[T], Sequence[Buffer | zmq.Frame]],
        flags: int = 0,
        copy: bool = True,
        **kwargs: Any,
    ) -> zmq.MessageTracker | None:
        """Send the parts that a function makes of an object."""
        return await self.send_multipart(serialize(msg), flags, copy, **kwargs)

    recv_unicode = recv_string  # type: ignore[assignment]
    send_unicode = send_string  # type: ignore[assignment]

    # Readiness.

    async def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:  # type: ignore[override]
        """Wait until the socket can be read or written, or both; nothing is taken from it.

        :param timeout: how many milliseconds to wait at most; ``None`` or -1 for ever
        :param flags: :data:`zmq.POLLIN`, :data:`zmq.POLLOUT` or both
        :return: in which of these directions it is ready; 0 when the time is up
        :raises ValueError: for other flags, and when ``timeout`` is NaN
        :raises TypeError: when ``timeout`` is not a number
        """
        seconds = check_timeout(timeout)
        flags = check_flags(flags)

        def look() -> int:
            events = cast("int", self._plain.get(zmq.EVENTS)) & flags
            if not events:
                raise zmq.Again
            return events

        try:
            return await self._waiters.perform(flags | AT_ONCE, lambda: seconds, look)
        except zmq.Again:
            return 0

    def refresh(self) -> None:
        """Look again: the socket was used in a way that this object could not see.

        To be called after a call on a shadow of it, on its C handle, or by a ``zmq.Poller``, while
        tasks wait for it. What is not told is found within half a second, and counted
        (:attr:`missed_edges`).
        """
        self._waiters.check()
        self._waiters.refresh()

    @property
    def missed_edges(self) -> int:
        """How often waiting tasks were found to have missed something; see :meth:`refresh`."""
        return self._waiters.missed_edges

    # What is called as ever, but may take a wake-up from those who wait.

    def get(self, option: int) -> Any:
        """Read an option."""
        with self._waiters:
            return super().get(option)

    def set(self, option: int, optval: Any) -> None:
        """Set an option."""
        with self._waiters:
            super().set(option, optval)
            Timeouts.note(option)

    getsockopt = get
    setsockopt = set  # noqa: A003

    def bind(self, addr: str) -> _SocketContext[Self]:  # type: ignore[override]
        """Bind to an address; in a ``with`` block, until its end."""
        with self._waiters:
            return super().bind(addr)

    def unbind(self, addr: str | bytes) -> None:
        """Undo :meth:`bind`."""
        with self._waiters:
            super().unbind(addr)

    def connect(self, addr: str) -> _SocketContext[Self]:  # type: ignore[override]
        """Connect to an address; in a ``with`` block, until its end."""
        with self._waiters:
            return super().connect(addr)

    def disconnect(self, addr: str | bytes) -> None:
        """Undo :meth:`connect`."""
        with self._waiters:
            super().disconnect(addr)

    def monitor(self, addr: str | bytes | None, events: int = zmq.EVENT_ALL) -> None:
        """Publish what happens to connections at an ``inproc`` address."""
        with self._waiters:
            super().monitor(addr, events)

    def close(self, linger: int | None = None) -> None:
        """Close the socket; who waits for it gets :exc:`anyio.ClosedResourceError`.

        :param linger: for how many milliseconds to try to get its messages out; -1 for ever
        :raises RuntimeError: from another thread while tasks wait for it
        """
        self._waiters.close()
        super().close(linger)
