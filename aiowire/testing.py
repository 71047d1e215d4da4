"""Time for tests: it passes only while nothing else is to be done, and then at once.

A program of hours runs in no time, and what happens in it happens at exact moments, in the same
order each time. ::

    import aiowire
    from aiowire import Call, Every, Timeout
    from aiowire.testing import virtual_time

    def test_it_ticks_for_an_hour():
        ticks = []
        hour = Timeout(Every(1, Call(ticks.append, "tick")), 3600)
        aiowire.run(hour, backend="trio", backend_options=virtual_time("trio"))
        assert len(ticks) == 3600

trio has such a clock. asyncio gets an event loop whose selector, where it would sleep, moves the
clock instead. uvloop asks the kernel for the time, and cannot be told another.
"""

from __future__ import annotations

from typing import Any

__all__ = ["virtual_time"]


def virtual_time(backend: str = "asyncio") -> dict[str, Any]:
    """Give the options with which a backend has virtual time.

    They are for ``backend_options`` of :func:`aiowire.run` and :func:`anyio.run`, and for one run:
    its time begins anew.

    Descriptors that are ready are served before time passes. One that becomes ready by what a
    thread or another process does may be late: time does not wait for it, unless nobody waits for
    a time.

    :param backend: ``"asyncio"`` or ``"trio"``
    :raises ValueError: for another one
    """
    if backend == "trio":
        from trio.testing import MockClock

        return {"clock": MockClock(autojump_threshold=0)}
    if backend == "asyncio":
        from ._virtual import VirtualEventLoop

        return {"loop_factory": VirtualEventLoop}
    raise ValueError(f"there is virtual time on 'asyncio' and 'trio', not on {backend!r}")
