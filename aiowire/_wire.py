"""Wires as values: the class that carries the operators, and the sequential algebra.

A wire is any callable that takes the event loop. Calling it performs one step and gives back
what is left to do: ``None``, or the next wire. :class:`Wire` gives that the operators.

There is one primitive here, the *pair* "first this to its end, then that", and everything
sequential is defined by how it unfolds into one::

    Sequence(a, b, c) = (a, then Sequence(b, c))
    Repeat(a, n)      = (a, then Repeat(a, n - 1))       Repeat(a, 0) = done
    Forever(a)        = (a, then Forever(a))

What is to be done "then" is kept in a linked list of ``(wire, rest of the list)``, so a wire
unfolds in constant time and in constant stack, however long or deeply nested the program is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from inspect import CO_ITERABLE_COROUTINE
from types import CoroutineType, FunctionType, GeneratorType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    TypeAlias,
    TypeGuard,
    cast,
)

from ._check import (
    bad_rest,
    call_text,
    check_function,
    check_times,
    check_wire,
    check_wires,
    name_of,
)

if TYPE_CHECKING:
    from ._loop import EventLoop
    from ._race import All, Race

__all__ = ["AnyWire", "Forever", "Repeat", "Sequence", "Wire", "done"]

P = ParamSpec("P")

#: What a step gives back: nothing, or the wire that is left to run.
Rest: TypeAlias = "AnyWire | None"
#: Anything that can be started: an async or plain function, method, or object that takes the
#: event loop and gives back a :data:`Rest`.
AnyWire: TypeAlias = Callable[["EventLoop"], "Rest | Awaitable[Rest]"]
#: What follows: the next wire and what follows that.
Todo: TypeAlias = "tuple[AnyWire, Todo] | None"


class Wire:
    """A step that calls ``f(ev, *args, **kwargs)``; the rest is what that returns.

    The function may be async or plain; an awaitable result is awaited. A wire is a value:
    making it runs nothing, it does not change, and it can be started any number of times.

    :param f: a function whose first argument is the event loop
    :param args: further positional arguments
    :param kwargs: keyword arguments
    :raises TypeError: when ``f`` is not callable

    A subclass needs only ``__call__(self, ev)``, and may have an ``__init__`` of its own that
    does not call this one; all operators work on it.

    *Cancellation*: that of ``f``. ::

        async def greet(ev, name):
            print("hello", name)

        ev.start(Wire(greet, "world") * 3)
    """

    __slots__ = ("_args", "_fn", "_kwargs")

    _fn: Callable[..., Any]
    _args: tuple[Any, ...]
    _kwargs: Mapping[str, Any]

    def __init__(
        self,
        f: Callable[Concatenate[EventLoop, P], Rest | Awaitable[Rest]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        check_function(f, type(self).__name__)
        self._fn = f
        self._args = args
        self._kwargs = kwargs

    def __call__(self, ev: EventLoop, /) -> Rest | Awaitable[Rest]:
        """Take one step."""
        rest = self._fn(ev, *self._args, **self._kwargs)
        return rest if is_awaitable(rest) else settled(rest)

    def __rshift__(self, then: AnyWire) -> Sequence:
        """``a >> b``: run ``a`` to its end, then ``b``."""
        check_wire(then, "... >> {wire}")
        return Sequence(self, then)

    def __rrshift__(self, first: AnyWire) -> Sequence:
        check_wire(first, "{wire} >> ...")
        return Sequence(first, self)

    def __mul__(self, n: float) -> Repeat:
        """``a * n``: run ``a`` to its end, ``n`` times in a row."""
        return Repeat(self, n)

    __rmul__ = __mul__

    # What these make needs this file, and so cannot be imported before.

    def __and__(self, other: AnyWire) -> All:
        """``a & b``: run both at the same time, until both have ended."""
        from ._race import All

        check_wire(other, "... & {wire}")
        return All(self, other)

    def __rand__(self, other: AnyWire) -> All:
        from ._race import All

        check_wire(other, "{wire} & ...")
        return All(other, self)

    def __or__(self, other: AnyWire) -> Race:
        """``a | b``: run both at the same time, until the first has ended."""
        from ._race import Race

        check_wire(other, "... | {wire}")
        return Race(self, other)

    def __ror__(self, other: AnyWire) -> Race:
        from ._race import Race

        check_wire(other, "{wire} | ...")
        return Race(other, self)

    def __repr__(self) -> str:
        try:
            return call_text(type(self).__name__, self._fn, self._args, self._kwargs)
        except AttributeError:  # a subclass with an __init__ of its own
            return object.__repr__(self)


#: Not the type guard that :func:`callable` is: that tells less than is known of a rest.
is_callable: Callable[[object], bool] = callable


def is_awaitable(value: object) -> TypeGuard[Awaitable[Any]]:
    """Say whether a value can be awaited; other than ``inspect.isawaitable`` it is fast."""
    kind = type(value)
    if kind is CoroutineType or kind is FunctionType:  # as it is most of the time
        return kind is CoroutineType
    return hasattr(kind, "__await__") or (
        isinstance(value, GeneratorType) and bool(value.gi_code.co_flags & CO_ITERABLE_COROUTINE)
    )


async def settled(rest: Rest) -> Rest:
    """Give back what is known already to code that awaits it."""
    return rest


async def take_step(wire: AnyWire, ev: EventLoop) -> Rest:
    """Call any wire once and give back its rest, refusing junk."""
    return await finish_step(wire, wire(ev))


async def finish_step(wire: AnyWire, rest: Rest | Awaitable[Rest]) -> Rest:
    """Give the rest of a wire that was called and gave this, refusing junk."""
    if is_awaitable(rest):
        rest = await rest
    if rest is not None and not is_callable(rest):
        raise bad_rest(wire, rest)
    return cast("Rest", rest)


class Composite(Wire):
    """A wire that is, by an equation, a first wire and what follows it."""

    __slots__ = ()

    def unfold(self, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
        """Give the first wire, and ``todo`` with the rest of this wire put before it.

        What goes in rounds begins none when ``ev`` is to stop; it is ``None``, or any other thing,
        if somebody calls a wire by hand.
        """
        raise NotImplementedError

    async def __call__(self, ev: EventLoop) -> Rest:
        """Take one step: that of the first wire."""
        first, todo = expose(*self.unfold(None, ev), ev)
        rest = await take_step(first, ev)
        return remainder(rest, todo)


def expose(wire: AnyWire, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
    """Unfold until the first wire is one that can only be called."""
    while type(wire) in COMPOSITES:
        wire, todo = wire.unfold(todo, ev)  # type: ignore[attr-defined]
    return wire, todo


def remainder(rest: Rest, todo: Todo) -> Rest:
    """Give the wire that is left when a first step left ``rest`` and ``todo`` follows."""
    if rest is not None:
        todo = (rest, todo)
    if todo is None:
        return None
    return todo[0] if todo[1] is None else Remainder(todo)


class Sequence(Composite):
    """Run the wires one after another, each to its end; ``Sequence(a, b)`` is ``a >> b``.

    The end of a wire is that of its rests too. ``Sequence()`` is :data:`done`. Sequencing is
    associative, so nested sequences print flat.

    :param wires: any wires, plain functions among them
    :raises TypeError: when one of them is not callable

    *Cancellation*: that of the wire that is running; the ones after it do not begin.
    """

    __slots__ = ("_parts",)

    def __init__(self, *wires: AnyWire) -> None:
        check_wires(wires, "Sequence({wire}, ...)")
        self._parts = wires

    def unfold(self, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
        for wire in reversed(self._parts):
            todo = (wire, todo)
        return (done, None) if todo is None else todo

    def __repr__(self) -> str:
        if type(self) is not Sequence:
            return f"{type(self).__name__}({', '.join(map(name_of, self._parts))})"
        return sequence_text(list(flat(self)))


class Remainder(Composite):
    """What is left of a sequence of which some wires have run."""

    __slots__ = ("_todo",)

    def __init__(self, todo: tuple[AnyWire, Todo]) -> None:
        self._todo = todo

    def unfold(self, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
        first, then = self._todo
        if todo is None or then is None:
            return first, todo if then is None else then
        return first, (remainder(None, then) or done, todo)

    def __repr__(self) -> str:
        return sequence_text(list(flat(self)))


def flat(wire: AnyWire) -> Iterator[AnyWire]:
    """Give the wires of a sequence in order, those of the sequences in it too."""
    stack: list[AnyWire] = [wire]
    while stack:
        wire = stack.pop()
        if isinstance(wire, Sequence) and type(wire) is Sequence:
            stack.extend(reversed(wire._parts))
        elif isinstance(wire, Remainder):
            todo: Todo = wire._todo
            parts: list[AnyWire] = []
            while todo is not None:
                parts.append(todo[0])
                todo = todo[1]
            stack.extend(reversed(parts))
        else:
            yield wire


def sequence_text(wires: list[AnyWire]) -> str:
    """Write a sequence with ``>>`` where that makes sense to Python, else as a call."""
    if len(wires) >= 2 and any(isinstance(wire, Wire) for wire in wires[:2]):
        return " >> ".join(map(operand, wires))
    return f"Sequence({', '.join(map(name_of, wires))})"


def operand(wire: object) -> str:
    """Name a wire as it stands beside an operator: ``&`` and ``|`` bind less than others."""
    return f"({name_of(wire)})" if getattr(wire, "is_expression", False) else name_of(wire)


class Repeat(Composite):
    """Run a wire to its end, ``n`` times in a row; ``Repeat(a, n)`` is ``a * n``.

    :param a: the wire
    :param n: how many times, 0 or more; :data:`math.inf` is :class:`Forever`
    :raises ValueError: when ``n`` is negative, fractional or NaN
    :raises TypeError: when ``n`` is not a number or ``a`` is not callable

    *Cancellation*: that of ``a``; no further round begins.
    """

    __slots__ = ("_n", "_wire")

    def __init__(self, a: AnyWire, n: float) -> None:
        check_wire(a, "Repeat({wire}, n)")
        self._n = check_times(n)
        self._wire = a

    def unfold(self, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
        if self._n == 0 or getattr(ev, "stopping", False):
            return done, todo
        if self._n == 1:
            return self._wire, todo
        left = object.__new__(Repeat)  # what it is made of was checked
        left._wire = self._wire
        left._n = self._n - 1
        return self._wire, (left, todo)

    def __repr__(self) -> str:
        n = str(self._n)
        if type(self) is not Repeat or not isinstance(self._wire, Wire):
            return f"{type(self).__name__}({name_of(self._wire)}, {n})"
        inner = operand(self._wire)
        return (
            f"({inner}) * {n}"
            if isinstance(self._wire, (Sequence, Remainder))
            else (f"{inner} * {n}")
        )


class Forever(Composite):
    """Run a wire to its end, again and again: ``Forever(a) = a >> Forever(a)``.

    It ends only by being cancelled or by a failure of ``a``. Where ``a`` never waits for
    anything, other tasks still get their turn.

    :param a: the wire
    :raises TypeError: when ``a`` is not callable

    *Cancellation*: that of ``a``; no further round begins.
    """

    __slots__ = ("_wire",)

    def __init__(self, a: AnyWire) -> None:
        check_wire(a, "Forever({wire})")
        self._wire = a

    def unfold(self, todo: Todo, ev: EventLoop | None) -> tuple[AnyWire, Todo]:
        return (done, todo) if getattr(ev, "stopping", False) else (self._wire, (self, todo))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({name_of(self._wire)})"


#: The classes that unfold. A user's subclass of one of them may have a ``__call__`` of its own,
#: so only these very classes are unfolded; all others are called.
COMPOSITES: set[type[Wire]] = {Sequence, Remainder, Repeat, Forever}


class Constant(Wire):
    """A wire that is known by its name."""

    __slots__ = ("_name",)

    def __init__(self, name: str, f: Callable[[EventLoop], Any]) -> None:
        super().__init__(f)
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: The wire that finishes at once; the identity of ``>>``.
done: Wire = Constant("done", lambda ev: None)
