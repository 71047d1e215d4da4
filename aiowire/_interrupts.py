"""Keep Ctrl-C out of the code that stands between a task and a chain, on trio.

trio raises KeyboardInterrupt between any two instructions. In the step of a wire, and in the body
of a block, that does no harm. In what is between them a task would end while its chain still waits
for something, or the block be left without its clean-up.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

__all__: list[str] = []


def trio_lowlevel() -> Any:
    """Give that part of trio, or ``None`` where it is not, or not yet, imported."""
    # Of a module that another thread is importing just now, not all is there.
    return getattr(sys.modules.get("trio"), "lowlevel", None)


@cache
def protect_loops(lowlevel: Any) -> None:
    """Have trio raise it only where that does no harm; given ``None``, do nothing."""
    if lowlevel is None:
        return
    from ._chain import follow, follow_handled
    from ._context import InContext, InStretches
    from ._loop import EventLoop
    from ._worker import Worker

    run_block: Any = EventLoop._run_block
    for function in (EventLoop.__aenter__, EventLoop.__aexit__, run_block.__wrapped__):
        lowlevel.enable_ki_protection(function)
    for part in (Worker, InContext, InStretches):
        for method in (part.__next__, part.send, part.throw):
            lowlevel.enable_ki_protection(method)
    for steps in (follow, follow_handled):
        lowlevel.disable_ki_protection(steps)
