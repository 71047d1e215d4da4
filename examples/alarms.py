"""An alarm clock and a kettle: wires in a row, repeated, and side by side.

Run it with ``aiowire run examples/alarms.py:main``. It ends by itself after a second.
"""

from __future__ import annotations

import anyio

from aiowire import Call, EventLoop, Wire


def beep(seconds: float) -> Wire:
    """Make the wire that says beep, and is then silent for some time."""
    return Call(print, "beep") >> Call(anyio.sleep, seconds)


# Nothing runs here. A wire is a value, which can be used, and used again.
gentle = beep(0.2) * 2
urgent = beep(0.1) * 3 >> Call(print, "BEEP")
alarm = Call(print, "Good morning!") >> gentle >> urgent
kettle = Call(anyio.sleep, 0.5) >> Call(print, "The water boils.")


async def main(ev: EventLoop) -> None:
    """Start both. They run at the same time, and the loop waits for both."""
    print("The alarm is", urgent)
    ev.start(alarm)
    ev.start(kettle)
