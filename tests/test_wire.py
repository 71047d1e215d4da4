"""Wires as values: what they are made of, how they read, and what calling one does."""

from __future__ import annotations

import math
import types
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Forever, Repeat, Sequence, Wire, done, never

from .support import label

inf = math.inf


class Log(list[Any]):
    """Notes what was done; its methods are wires and functions to call."""

    def note(self, ev: Any, *args: Any, **kwargs: Any) -> None:
        self.append((*args, *kwargs.items()))

    async def note_later(self, ev: Any, *args: Any) -> None:
        await checkpoint()
        self.append(args)


async def run(*wires: Any) -> None:
    async with EventLoop() as ev:
        for wire in wires:
            ev.start(wire)


def f(ev: Any = None, *args: Any, **kwargs: Any) -> None: ...
def g(ev: Any = None) -> None: ...
async def h(ev: Any) -> None: ...


class Meter:
    def read(self, ev: Any = None) -> None: ...


class Loud(Wire):
    """A wire of a user of 3.1: with an ``__init__`` that does not call the one of ``Wire``."""

    def __init__(self, log: list[str], word: str) -> None:
        self.log = log
        self.word = word

    async def __call__(self, ev: Any) -> None:
        await checkpoint()
        self.log.append(self.word)


# What can be a wire.


async def test_a_wire_calls_its_function_with_the_loop_and_its_arguments() -> None:
    seen = []

    def look(ev: EventLoop, *args: Any, **kwargs: Any) -> None:
        seen.append((ev, args, kwargs))

    async with EventLoop() as ev:
        ev.start(Wire(look, 1, "two", f=3))
        ev.start(Wire(look))
    assert seen == [(ev, (1, "two"), {"f": 3}), (ev, (), {})]


async def test_any_callable_is_a_wire_wherever_a_wire_is_accepted() -> None:
    log = Log()

    class Object:
        def __call__(self, ev: Any) -> None:
            log.note(ev)

    class AsyncObject:
        async def __call__(self, ev: Any) -> None:
            log.note(ev)

    async def slow(ev: Any) -> None:
        await log.note_later(ev)

    kinds = [log.note, log.note_later, slow, lambda ev: log.note(ev), partial(slow)]
    kinds += [Object(), AsyncObject(), Wire(slow), Loud(log, "")]
    for kind in kinds:
        log.clear()
        used = [kind, done >> kind, kind >> done, Sequence(kind), Repeat(kind, 1), Wire(give, kind)]
        await run(*used, Call(len, "").then(partial(give_wire, kind)))
        assert len(log) == len(used) + 1, kind


def give(ev: Any, wire: Any) -> Any:
    return wire


def give_wire(wire: Any, _: Any) -> Any:
    return wire


async def test_a_step_may_give_back_any_awaitable() -> None:
    log = Log()

    class Later:
        def __await__(self) -> Any:
            yield from checkpoint().__await__()
            return log.note

    await run(lambda ev: Later())
    assert len(log) == 1


async def test_a_coroutine_may_be_a_generator() -> None:
    log = Log()

    @types.coroutine
    def later(*args: Any) -> Any:
        yield from checkpoint().__await__()
        log.note("ran")

    await run(Call(later, "called") >> later)
    assert len(log) == 2


async def test_a_subclass_with_its_own_init_has_all_the_operators() -> None:
    log: list[str] = []
    a, b = Loud(log, "a"), Loud(log, "b")
    await run((a >> b) * 2 >> Repeat(a, 1) >> (lambda ev: b) >> 1 * a)
    assert "".join(log) == "abababa"
    assert "Loud object at" in repr(a)


async def test_a_subclass_of_a_composed_wire_runs_like_it() -> None:
    class Twice(Repeat):
        def __init__(self, a: Any) -> None:
            super().__init__(a, 2)

    class Greeting(Sequence): ...

    log = Log()
    say = partial(Wire, log.note)
    await run(Greeting(Twice(say("hip")), say("hooray")) >> Twice(say("!")))
    assert log == [("hip",), ("hip",), ("hooray",), ("!",), ("!",)]


async def test_a_subclass_of_a_composed_wire_may_do_something_else() -> None:
    class Never(Sequence):
        async def __call__(self, ev: Any) -> None:
            log.note(ev, "instead")

    log = Log()
    await run(Never(f, g) >> Wire(log.note, "then"))
    assert log == [("instead",), ("then",)]


# Values.


async def test_a_wire_can_be_started_again() -> None:
    log = Log()
    wire = (Wire(log.note_later, "a") >> Wire(log.note, "b") * 2) * 2
    once = [("a",), ("b",), ("b",)] * 2
    await run(wire)
    await run(wire)
    assert log == once * 2


async def test_a_wire_can_be_started_several_times_at_once() -> None:
    log = Log()
    everybody_is_there = anyio.Event()

    async def meet(ev: Any) -> None:
        log.append("came")
        if log.count("came") == 10:
            everybody_is_there.set()
        await everybody_is_there.wait()

    await run(*[Wire(meet) >> Call(log.append, "went") * 2] * 10)
    assert log == ["came"] * 10 + ["went"] * 20


async def test_a_wire_does_not_change_when_it_runs_or_its_arguments_do() -> None:
    log = Log()
    parts = [Wire(log.note, "a"), Wire(log.note, "b")]
    options = {"k": 1}
    wire = Sequence(*parts, Wire(log.note, **options)) * 2
    text = repr(wire)
    parts.reverse()
    options["k"] = 2
    await run(wire)
    assert log == [("a",), ("b",), (("k", 1),)] * 2
    assert repr(wire) == text


def test_making_a_wire_runs_nothing() -> None:
    log = Log()
    wire = Call(log.append, 1) >> Wire(log.note) * 2 >> Call(log.pop).then(log.append)
    assert Forever(wire)
    assert log == []


@pytest.mark.parametrize("operands", [(f, 3), (3, f), (None, done), (done, "x")], ids=label)
def test_operators_refuse_what_is_no_wire(operands: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        operands[0] >> operands[1]


# How wires read.


READABLE = [
    "Wire(f)",
    "Wire(f, 1, 'two', key=[3])",
    "Call(f, 0.1)",
    "Call(f, key=Call(g))",
    "Call(f, g, key=h)",
    "Call(f).then(g)",
    "Call(f, 1).then(Call(g).then(h))",
    "Wire(partial(f, 1, key='x'))",
    "done",
    "never",
    "done >> never >> f >> g",
    "f >> Wire(g)",
    "Sequence()",
    "Sequence(f)",
    "Sequence(f, g)",
    "Sequence(f, g, done)",
    "Call(f) * 3",
    "Call(f) * 2 * 3",
    "Call(f) * inf",
    "Repeat(f, 3)",
    "Repeat(f, inf)",
    "(Call(f, 0.1) >> Call(g, 'beep')) * 4",
    "(Call(f) >> g) * 2 >> done * 3",
    "(Sequence(f, g)) * 2",
    "Forever(f)",
    "Forever(Call(f) >> g)",
    "Forever(Wire(f) * 2 >> Forever(g)) * 2",
    "Repeat(partial(f, 1), 2)",
    "Wire(Meter.read)",
]


@pytest.mark.parametrize("text", READABLE)
def test_a_wire_reads_as_the_expression_that_made_it(text: str) -> None:
    wire = eval(text)
    assert repr(wire) == text
    assert repr(eval(repr(wire))) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Sequence(done, f)", "done >> f"),
        ("(done >> f) >> (g >> never)", "done >> f >> g >> never"),
        ("Sequence(Sequence(f, g), Sequence(done))", "Sequence(f, g, done)"),
        ("Repeat(done, 2)", "done * 2"),
        ("3 * (done >> f)", "(done >> f) * 3"),
    ],
)
def test_a_wire_reads_in_the_plainest_form(text: str, plain: str) -> None:
    assert repr(eval(text)) == plain
    assert repr(eval(plain)) == plain


def test_subclasses_of_composed_wires_read_by_their_own_name() -> None:
    class Both(Sequence): ...

    class Times(Repeat): ...

    class Always(Forever): ...

    say = Call(print)
    assert repr(Both(say, f) >> f) == "Both(Call(print), f) >> f"
    assert repr(Times(say, 2)) == "Times(Call(print), 2)"
    assert repr(Always(say)) == "Always(Call(print))"


async def test_a_wire_too_deep_to_be_written_has_a_name_nevertheless() -> None:
    wire: Any = Wire(f)
    for _ in range(20_000):
        wire = Sequence(wire) * 1
    async with EventLoop() as ev:
        handle = ev.start(wire)
    assert "RecursionError" in handle.name
    assert "RecursionError" in repr(handle)


def test_functions_read_by_the_name_that_they_were_defined_with() -> None:
    def inner(ev: Any) -> None: ...

    assert repr(Wire(inner) >> (lambda ev: None) >> Meter().read) == (
        "Wire(inner) >> <lambda> >> Meter.read"
    )


# What calling a wire does: one step, and the rest comes back.


async def unroll(wire: Any) -> list[str]:
    """Call a wire, and what it leaves, to the end; what was left each time."""
    left = []
    while wire is not None:
        wire = await wire(None)
        left.append(repr(wire))
    return left


@pytest.mark.parametrize(
    ("wire", "left"),
    [
        (done, ["None"]),
        (Wire(f), ["None"]),
        (Call(f, None), ["None"]),
        (Wire(give, Wire(h)), ["Wire(h)", "None"]),
        (Sequence(), ["None"]),
        (Sequence(f), ["None"]),
        (Sequence(f, done, Wire(h)), ["done >> Wire(h)", "Wire(h)", "None"]),
        (Wire(f) * 3, ["Wire(f) * 2", "Wire(f) * 1", "None"]),
        (Wire(f) * 0, ["None"]),
        ((Wire(give, done) >> Wire(f)) * 1, ["done >> Wire(f)", "Wire(f)", "None"]),
        (Wire(f) * 2 >> done, ["Wire(f) * 1 >> done", "done", "None"]),
    ],
    ids=label,
)
async def test_a_call_performs_one_step_and_gives_back_the_rest(
    wire: Wire, left: list[str]
) -> None:
    assert await unroll(wire) == left


async def test_forever_gives_back_itself_as_the_rest() -> None:
    wire: Any = Forever(f)
    for _ in range(3):
        wire = await wire(None)
        assert repr(wire) == "Forever(f)"
    wire = await (Forever(Wire(give, done)) >> never)(None)  # type: ignore[arg-type]
    assert repr(wire) == f"done >> {Forever(Wire(give, done))!r} >> never"


async def test_a_remainder_can_be_kept_composed_and_run_again() -> None:
    log = Log()
    rest: Any = await (Wire(f) >> Wire(log.note, 1) >> Wire(log.note, 2))(None)  # type: ignore[arg-type]
    assert repr(rest * 2) == f"({rest!r}) * 2"
    await run(rest, rest * 2 >> Wire(log.note, 3), Wire(log.note, 0) >> rest)
    assert sorted(log) == [(0,)] + [(1,)] * 4 + [(2,)] * 4 + [(3,)]
