"""Compose concurrent programs from wires, on asyncio, uvloop and trio.

A *wire* is any callable that takes the event loop, performs one step, and returns ``None`` or the
next wire. An :class:`EventLoop` runs wires as chains of such steps; a :class:`Poller` starts them
when a descriptor or a socket is ready.

What is guaranteed:

- When the block of an :class:`EventLoop` has been left, nothing that was started in it runs.
- A failure reaches its handler once, or leaves the block in an :exc:`UnhandledException`. Nothing
  is swallowed.
- Wires are values: building one runs nothing, and each can be started any number of times.
- Whatever a program is made of, other tasks get their turn about every millisecond.

In which order to read the files, each of which uses only those above it::

    _errors     exceptions, and the notes that failures carry
    _check      arguments that are refused, and in which words
    _wire       Wire, and the sequential algebra: Sequence, Repeat, Forever
    _call       Call, its continuation, never
    _chain      a started wire, followed from step to step
    _context    a stretch of a task in a context of its own
    _worker     the tasks that run chains
    _crew       the workers of a loop, and the queue that they serve
    _stoppable  the orderly stop of loops inside loops
    _interrupts where trio may raise KeyboardInterrupt
    _loop       EventLoop
    _fork       branches: loops inside a wire
    _race       All, Race, Select
    _timeout    Timeout, Every
    _catch      Catch, Retry, Finally
    backends/   the kinds of readiness; how tasks wait for ZeroMQ
    zmq/        awaitable ZeroMQ sockets, for programs that import aiowire.zmq
    _rota       sources of a poller that are served in turns
    _watch      what runs in a poller
    _poller     Poller
    _pipes      between a program and its wire
    _process    Process
    _signals    SIGINT, SIGTERM and others
    _on_signal  OnSignal
    _run        run()
    __main__    the command
    _virtual    a clock for tests, on asyncio
    testing     virtual time, for programs that import aiowire.testing
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._call import Call, never
from ._chain import Handle, Handler
from ._errors import UnhandledException
from ._loop import EventLoop
from ._wire import AnyWire, Forever, Repeat, Sequence, Wire, done

if TYPE_CHECKING:
    from ._catch import Catch, Finally, Retry
    from ._on_signal import OnSignal
    from ._poller import Poller
    from ._process import Process
    from ._race import All, Race, Select
    from ._run import run
    from ._timeout import Every, Timeout
    from .backends import POLLIN, POLLOUT

__version__: str

__all__ = [
    "POLLIN",
    "POLLOUT",
    "All",
    "AnyWire",
    "Call",
    "Catch",
    "EventLoop",
    "Every",
    "Finally",
    "Forever",
    "Handle",
    "Handler",
    "OnSignal",
    "Poller",
    "Process",
    "Race",
    "Repeat",
    "Retry",
    "Select",
    "Sequence",
    "Timeout",
    "UnhandledException",
    "Wire",
    "done",
    "never",
    "run",
]


#: Where to find what not every program uses; it is imported when it is first asked for.
LATER = {
    "All": "._race",
    "Catch": "._catch",
    "Every": "._timeout",
    "Finally": "._catch",
    "OnSignal": "._on_signal",
    "POLLIN": ".backends",
    "POLLOUT": ".backends",
    "Poller": "._poller",
    "Process": "._process",
    "Race": "._race",
    "Retry": "._catch",
    "Select": "._race",
    "Timeout": "._timeout",
    "run": "._run",
}

# Where a type checker saw it, any misspelt name would be one of ours.
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value = version("aiowire")
        elif name in LATER:
            from importlib import import_module

            value = getattr(import_module(LATER[name], __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
