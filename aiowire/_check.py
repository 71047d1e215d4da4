"""Checks of arguments, and the words in which a wrong one is refused.

Each check names the mistake, the value, and what to write instead. A coroutine object that was
passed where a function belongs is closed before the error is raised, so that Python does not
warn about it a second time, at some later and less helpful moment.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from functools import partial
from itertools import filterfalse
from operator import index
from typing import Any

__all__: list[str] = []

#: ``math.inf``, without the time that it takes to import :mod:`math`.
INFINITY = float("inf")


def name_of(wire: object) -> str:
    """Name a wire, or any value, as a person would: a function by its name, all else by repr."""
    if isinstance(wire, partial):
        return call_text("partial", wire.func, wire.args, wire.keywords)
    name = getattr(wire, "__qualname__", None)
    return name.rpartition("<locals>.")[2] if isinstance(name, str) else text_of(wire)


def text_of(value: object) -> str:
    """Give the repr of a value, or something like it where that fails, as for very deep wires."""
    try:
        return repr(value)
    except Exception as exc:
        return f"<{type(value).__name__} whose repr is a {type(exc).__name__}>"


def call_text(name: str, fn: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Write a call as it stands in a program: ``name(fn, 1, key='x')``."""
    given = [*map(name_of, (fn, *args)), *(f"{k}={name_of(v)}" for k, v in kwargs.items())]
    return f"{name}({', '.join(given)})"


def options_text(wire: object, defaults: Mapping[str, object], hidden: Collection[str] = ()) -> str:
    """Write the options of a wire, kept as ``_name``, that are not as they are by default."""
    values = {name: getattr(wire, f"_{name}") for name in defaults}
    return "".join(
        f", {name}={'...' if name in hidden else name_of(value)}"
        for name, value in values.items()
        if value != defaults[name]
    )


def discard(value: object) -> None:
    """Close a coroutine that nobody will await, or Python would warn of it."""
    if inspect.iscoroutine(value):
        value.close()


def _mistaken(value: object) -> str:
    """Describe a value that should have been callable."""
    if inspect.iscoroutine(value):
        return f"the coroutine object of a call that was already made, {value.__qualname__}(...)"
    return f"{text_of(value)}, which is not callable"


def check_function(value: object, user: str) -> None:
    """Refuse anything but a function as the first argument of ``user(f, ...)``."""
    if callable(value):
        return
    got = _mistaken(value)
    discard(value)
    raise TypeError(f"{user}(f, ...) calls f itself, so give it the function: got {got}")


def check_handler(value: object) -> None:
    """Refuse anything but a function, or ``None``, as the handler of failures."""
    if value is None or callable(value):
        return
    got = _mistaken(value)
    discard(value)
    raise TypeError(f"a handler is a function of (ev, exc), or None: got {got}")


def check_wire(value: object, call: str) -> None:
    """Refuse anything but a wire; ``call`` is the right call with ``wire`` as its operand."""
    if callable(value):
        return
    got = _mistaken(value)
    hint = (
        f"write {call.format(wire=value.__name__)}"
        if inspect.iscoroutine(value)
        else (f"write {call.format(wire='f')} with a function f(ev)")
    )
    discard(value)
    raise TypeError(f"a wire is a callable that takes the event loop, got {got}; {hint}")


def check_wires(values: tuple[object, ...], call: str) -> None:
    """Refuse anything but wires, and close what coroutine objects there are."""
    wrong = tuple(filterfalse(callable, values))
    if wrong:
        try:
            check_wire(wrong[0], call)
        finally:
            for value in wrong:
                discard(value)


def bad_rest(wire: object, value: object) -> TypeError:
    """Make the error for a step that gave back neither ``None`` nor a wire."""
    fn = getattr(wire, "_fn", wire)
    error = TypeError(
        f"wire {name_of(fn)!r} returned {text_of(value)}; a wire returns None or another wire"
    )
    discard(value)
    return error


def check_times(n: object) -> float:
    """Give back a number of repetitions: a whole number from 0, or ``math.inf``."""
    if n == INFINITY:
        return INFINITY
    try:
        times = index(n)  # type: ignore[arg-type]
    except TypeError:
        problem = ValueError if isinstance(n, float) else TypeError
        discard(n)
        raise problem(f"a wire is repeated a whole number of times, got {n!r}") from None
    if times < 0:
        raise ValueError(f"a wire cannot be repeated {n!r} times; 0 finishes at once")
    return times


def check_seconds(seconds: object, name: str) -> float:
    """Give back a number of seconds, 0 or more; ``None`` is no limit, ``math.inf``."""
    if seconds is None:
        return INFINITY
    try:
        number = float(seconds)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(seconds, (str, bytes, bytearray)):
        discard(seconds)
        raise TypeError(f"{name} is a number of seconds or None, got {seconds!r}")
    if not number >= 0:  # NaN compares false
        raise ValueError(f"{name} is 0 seconds or more, or None for no limit, got {seconds!r}")
    return number
