"""Kinds of readiness: what a :class:`~aiowire.Poller` can wait for.

There is one small protocol, :class:`Readiness`, and one file for each kind: descriptors of the
operating system (``_descriptor.py``, with ``_arrivals.py`` and ``_unread.py`` to notice new input),
ZeroMQ sockets (``_zeromq.py``) and those of ``zmq.asyncio`` (``_zmq_asyncio.py``), with
``_uses.py`` to notice what is done with plain ones. A source of your own is an object of a class
that derives from :class:`Readiness`.

How tasks wait for a ZeroMQ socket, be they pollers or those that await :mod:`aiowire.zmq`, is the
theory and the code of ``_waiters.py``, with ``_calls.py`` for the calls that they make and
``_owned.py`` for who may.

None of these is an event loop: anyio has removed that difference.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._protocol import POLLIN, POLLOUT, Readiness, check_flags

if TYPE_CHECKING:
    from .._wire import AnyWire

__all__ = ["POLLIN", "POLLOUT", "Readiness", "check_flags", "key_of", "readiness_of"]

# A ZeroMQ socket can only come from a program that has imported zmq, so zmq is looked up among
# the imported modules: aiowire itself imports it nowhere else, and works without it.


def _is_zmq(source: Any, module: str) -> bool:
    loaded: Any = sys.modules.get(module)
    return loaded is not None and isinstance(source, loaded.Socket)


def key_of(source: Any) -> Any:
    """Give what tells this source from others: the number of a descriptor, or the object.

    :raises ValueError: when it is nothing that can be polled
    """
    if isinstance(source, Readiness) or _is_zmq(source, "zmq"):
        return source
    from ._descriptor import fileno_of

    return fileno_of(source)


def readiness_of(source: Any, wire: AnyWire, interval_seconds: float) -> Readiness:
    """Make the readiness of a source, which is checked.

    :param wire: what is started for it
    :param interval_seconds: how often to look again at a source that may become ready
        unnoticed; :data:`math.inf` for never
    :raises ValueError: when it is nothing that can be polled, or is closed
    :raises TypeError: for a ``zmq.asyncio.Socket`` where asyncio does not run
    """
    if isinstance(source, Readiness):
        return source
    if _is_zmq(source, "zmq.asyncio"):
        from ._zmq_asyncio import AsyncioSocketReadiness

        return AsyncioSocketReadiness(source)
    if _is_zmq(source, "zmq"):
        from ._zeromq import SocketReadiness

        return SocketReadiness(source, wire, interval_seconds)
    from ._descriptor import DescriptorReadiness

    return DescriptorReadiness(source)
