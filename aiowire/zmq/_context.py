"""The context of awaitable sockets."""

from __future__ import annotations

from typing import Any

import zmq

from ._socket import Socket

__all__ = ["Context"]


class Context(zmq.Context[Socket]):
    """A ZeroMQ context whose sockets are :class:`aiowire.zmq.Socket`.

    It does all that :class:`zmq.Context` does. ``Context.instance()`` is one of its own, and
    ``Context.shadow(other)`` gives awaitable sockets in the context of a program that has one.

    :param io_threads: how many threads move messages; or a context to shadow
    :param shadow: a context to shadow: its sockets can be connected by ``inproc``

    ``term()`` blocks the event loop until all sockets are closed and their messages sent, or their
    ``linger`` is over; ``destroy()``, or the context as a ``with`` block, closes the sockets first.
    Whoever waits for a socket then gets :exc:`anyio.ClosedResourceError`.
    """

    _socket_class = Socket
    _instance: Any = None  # not that of zmq.Context
