"""What becomes of failures: handlers, and the group that leaves the block."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, UnhandledException, Wire, done, never

from .steps import (
    INTERRUPTS,
    Stop,
    clean_up,
    fail,
    fail_as_group,
    fail_later,
    fail_when_cancelled,
    group_of,
    notes,
    raised_by,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def fail_in_group(ev: EventLoop, exc: BaseException) -> None:
    async with anyio.create_task_group() as tg:
        tg.start_soon(fail_later, ev, exc)


# Handlers.


@pytest.mark.parametrize("step", [fail, fail_later])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_handler_gets_the_failure_once(step: Any, kind: str) -> None:
    failure = ValueError()
    calls: list[Any] = []

    async def handle_later(*args: Any) -> None:
        await checkpoint()
        calls.append(args)

    handler = handle_later if kind == "async" else lambda *args: calls.append(args)
    async with EventLoop() as ev:
        handle = ev.start(done >> Wire(step, failure) >> Call(pytest.fail), handler)
        ev.start(Call(checkpoint) * 5 >> Call(calls.append, "others go on"))
    assert calls == [(ev, failure), "others go on"]
    assert handle.exception is None


async def test_the_wire_of_a_handler_goes_on_in_the_chain_under_the_same_handler() -> None:
    log: list[Any] = []

    def handler(ev: EventLoop, exc: Exception) -> Any:
        log.append(exc.args[0])
        rests: list[Any] = [done >> Wire(fail_later, ValueError(2)), fail_plainly, note, None]
        return rests[len(log) - 1]

    def fail_plainly(ev: EventLoop) -> None:
        raise ValueError(3)

    async def note(ev: EventLoop) -> None:
        assert not handle.done
        log.append("the rest")

    async with EventLoop() as ev:
        handle = ev.start(Wire(fail, ValueError(1)), handler)
    assert log == [1, 2, 3, "the rest"]


@pytest.mark.parametrize("sort", INTERRUPTS)
@pytest.mark.parametrize("step", [fail, fail_later, fail_as_group])
async def test_handlers_get_nothing_but_failures(step: Any, sort: type[BaseException]) -> None:
    calls: list[Any] = []
    with pytest.raises(sort):
        async with EventLoop() as ev:
            ev.start(Wire(step, sort()), lambda *args: calls.append(args))
    assert calls == []


@pytest.mark.parametrize("how", ["handle", "loop", "outside", "time"])
async def test_handlers_get_no_cancellation(how: str) -> None:
    calls: list[Any] = []
    with anyio.CancelScope() as scope:
        async with EventLoop(0.01 if how == "time" else None) as ev:
            handle = ev.start(never, lambda *args: calls.append(args))
            await anyio.wait_all_tasks_blocked()
            {"handle": handle.cancel, "loop": ev.cancel, "outside": scope.cancel}.get(how, int)()
    assert calls == []


async def test_a_failure_in_groups_is_handed_over_by_itself() -> None:
    got: list[Exception] = []
    single, several = ValueError("one"), (ValueError("a"), KeyError("b"))

    async def nested(ev: EventLoop) -> None:
        async with EventLoop() as inner:
            inner.start(Wire(fail_in_group, single))

    async with EventLoop() as ev:
        for wire in (Wire(fail_in_group, single), nested, Wire(fail, ExceptionGroup("", several))):
            handle = ev.start(wire, lambda ev, exc: got.append(exc))
            await handle.wait()
    assert got[:2] == [single] * 2
    assert isinstance(got[2], ExceptionGroup)
    assert got[2].exceptions == several
    assert all("in wire" in notes(exc)[0] for exc in got)


async def test_a_failure_in_the_clean_up_of_a_cancelled_chain_goes_to_its_handler() -> None:
    got: list[Exception] = []
    failure = ValueError()

    async def work(ev: EventLoop) -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(fail_when_cancelled, ev, failure)
            tg.start_soon(anyio.sleep_forever)

    async with EventLoop() as ev:
        for wire in (Wire(fail_when_cancelled, failure), work):
            handle = ev.start(wire, lambda ev, exc: got.append(exc))
            await anyio.wait_all_tasks_blocked()
            handle.cancel()
            await handle.wait()
    assert got == [failure] * 2


async def test_what_a_handler_raises_has_no_handler() -> None:
    first, second = ValueError(), KeyError()

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail, first), lambda ev, exc: fail(ev, second))

    group = await group_of(use)
    assert group.exceptions == (second,)
    assert second.__context__ is first
    assert "in wire" in notes(second)[0]


# The group.


async def test_a_failure_cancels_the_rest_and_leaves_the_block_in_a_group() -> None:
    failure = ValueError()
    log: list[str] = []

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log))
        ev.start(Wire(clean_up, log))
        await anyio.wait_all_tasks_blocked()
        ev.start(Wire(fail, failure))
        ev.start(Call(pytest.fail, "it began"))
        await clean_up(ev, log)

    group = await group_of(use)
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (failure,)
    assert group.__cause__ is failure
    assert "a wire failed with no handler" in str(group)
    assert log == ["cleaned up"] * 3


async def test_the_group_holds_all_failures_in_order() -> None:
    failures = [ValueError(n) for n in range(5)]

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, failures[1]))
        await anyio.wait_all_tasks_blocked()
        ev.start(Wire(fail_when_cancelled, failures[2]))
        await anyio.wait_all_tasks_blocked()
        ev.start(Wire(fail, failures[0]))

    group = await group_of(use)
    assert group.exceptions[0] is group.__cause__ is failures[0]
    assert set(group.exceptions[1:]) == set(failures[1:3])
    assert str(group).startswith("3 wires failed with no handler")


async def test_failures_at_the_same_moment_are_all_kept() -> None:
    """A chain that was woken already when another one failed has not been cancelled yet."""
    release = anyio.Event()

    async def wait_and_fail(ev: EventLoop, n: int) -> None:
        await release.wait()
        raise ValueError(n)

    async def use(ev: EventLoop) -> None:
        for n in range(3):
            ev.start(Wire(wait_and_fail, n))
        await anyio.wait_all_tasks_blocked()
        release.set()

    group = await group_of(use)
    assert sorted(exc.args[0] for exc in group.exceptions) == [0, 1, 2]


async def test_a_failure_that_is_a_group_stays_one() -> None:
    failure = ExceptionGroup("", [ValueError(), KeyError()])

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail, failure))

    group = await group_of(use)
    assert group.exceptions == (failure,)
    assert "in wire" in notes(failure)[0]


async def test_the_group_can_be_taken_apart() -> None:
    async def use(ev: EventLoop) -> None:
        ev.start(Wire(fail_when_cancelled, KeyError()))
        await anyio.wait_all_tasks_blocked()
        ev.start(Wire(fail, ValueError()))

    group = await group_of(use)
    matching, rest = group.split(ValueError)
    assert type(matching) is type(rest) is UnhandledException
    assert matching.message == group.message
    assert matching.__cause__ is group.__cause__


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no except* before Python 3.11")
async def test_except_star_works() -> None:
    program = (
        "async def main():\n"
        "    try:\n"
        "        async with EventLoop() as ev:\n"
        "            ev.start(Wire(fail, ValueError(1)))\n"
        "    except* KeyError:\n"
        "        raise AssertionError\n"
        "    except* ValueError as group:\n"
        "        caught.append(group.exceptions[0].args)\n"
    )
    names: dict[str, Any] = {**globals(), "caught": []}
    exec(program, names)
    await names["main"]()
    assert names["caught"] == [(1,)]


async def test_a_failure_notes_its_wire_and_the_line_of_its_start() -> None:
    async def use(ev: EventLoop) -> None:
        ev.start(
            # Not here,
            Call(int, "x") >> never  # nor here,
        )  # but where the call is.

    group = await group_of(use)
    (note,) = notes(group.exceptions[0])
    text, _, line = note.rpartition(":")
    assert text == f"in wire Call(int, 'x') >> never, started at {__file__}"
    first = use.__code__.co_firstlineno
    assert first + 1 <= int(line) <= first + 4


async def test_without_line_numbers_a_failure_notes_the_first_line_of_the_function() -> None:
    code = compile("\n\nev.start(wire)", "stripped.py", "exec").replace(co_linetable=b"")

    async def use(ev: EventLoop) -> None:
        exec(code, {"ev": ev, "wire": Wire(fail, ValueError())})

    (exc,) = (await group_of(use)).exceptions
    assert notes(exc)[0].endswith("started at stripped.py:1")


async def test_notes_are_short_and_made_once() -> None:
    failure = ValueError()
    got = []

    def again(ev: EventLoop, exc: Exception) -> Any:
        got.append(exc)
        return Wire(fail, failure) if len(got) < 3 else None

    async def unreadable(ev: EventLoop) -> None:
        class Unreadable:
            def __repr__(self) -> str:
                raise ValueError

            def __call__(self, ev: EventLoop) -> None:
                raise KeyError

        ev.start(Unreadable())

    async with EventLoop() as ev:
        ev.start(Wire(fail, failure) >> done * 1 >> Call(print, "x" * 5000), again)
    assert got == [failure] * 3
    (note,) = notes(failure)
    assert len(note) < 1500
    assert "Unreadable" in notes((await group_of(unreadable)).exceptions[0])[0]


async def test_nested_loops_note_each_start() -> None:
    async def inner(ev: EventLoop) -> None:
        async with EventLoop() as nested:
            nested.start(Wire(fail, ValueError()), name="the failure")

    async def use(ev: EventLoop) -> None:
        ev.start(inner)

    (group,) = (await group_of(use)).exceptions
    assert isinstance(group, UnhandledException)
    assert "in wire <function" in notes(group)[0]
    assert "in wire Wire(fail, ValueError())" in notes(group.exceptions[0])[0]


# The body.


@pytest.mark.parametrize(
    "failure",
    [ValueError(), ExceptionGroup("a group", [ValueError()]), StopIteration(), StopAsyncIteration(),
     KeyboardInterrupt(), SystemExit(3), GeneratorExit(), Stop()],
    ids=lambda exc: type(exc).__name__,
)  # fmt: skip
async def test_what_the_body_raises_leaves_as_itself(failure: BaseException) -> None:
    caught = None
    log: list[str] = []
    try:
        async with EventLoop() as ev:
            ev.start(Wire(clean_up, log))
            await anyio.wait_all_tasks_blocked()
            ev.start(Call(pytest.fail, "it began"))
            raise failure
    except BaseException as exc:
        caught = exc
    assert caught is failure
    assert log == ["cleaned up"]
    assert failure.__cause__ is None
    assert notes(failure) == []
    assert not ev.cancelled


@pytest.mark.parametrize("first", ["body", "wire"])
async def test_failures_of_the_body_and_of_wires_leave_in_one_group(first: str) -> None:
    body, wire = ValueError("body"), KeyError("wire")

    async def use(ev: EventLoop) -> None:
        if first == "body":
            ev.start(Wire(fail_when_cancelled, wire))
            await anyio.wait_all_tasks_blocked()
            raise body
        ev.start(Wire(fail, wire))
        await fail_when_cancelled(ev, body)

    group = await group_of(use)
    expected = (body, wire) if first == "body" else (wire, body)
    assert group.exceptions == expected
    assert group.__cause__ is expected[0]


async def test_a_failure_among_cancellations_has_its_note_and_is_the_one_that_is_raised() -> None:
    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    async def family(ev: EventLoop) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            await anyio.sleep_forever()

    handles = []

    async def use(ev: EventLoop) -> None:
        handles.append(ev.start(family))
        await anyio.wait_all_tasks_blocked()
        handles[0].cancel()

    (failure,) = (await group_of(use)).exceptions
    assert handles[0].exception is failure
    (note,) = notes(failure)
    assert "family" in note


@pytest.mark.parametrize("given", [None, 3, "text"])
async def test_a_failure_with_notes_that_are_none_is_as_good_as_any(given: object) -> None:
    class OddError(Exception):
        __notes__: Any = given

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    handles = []

    async def use(ev: EventLoop) -> None:
        handles.append(ev.start(Wire(fail, OddError())))

    assert len((await group_of(use)).exceptions) == 1
    assert handles[0].done


async def test_a_failure_that_was_handled_is_kept_alive_by_nobody() -> None:
    class Thing:
        pass

    things: list[Any] = []
    alive: list[object] = []

    def failing(ev: EventLoop) -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        raise ValueError(thing)

    def look(ev: EventLoop) -> None:
        gc.collect()
        alive.append(things[0]())

    async with EventLoop() as ev:
        ev.start(failing, lambda ev, exc: Call(checkpoint) >> look)
    assert alive == [None]


@pytest.mark.parametrize("where", ["wire", "body"])
async def test_a_failure_that_seems_to_be_none_is_as_good_as_any(where: str) -> None:
    class EmptyError(Exception):
        def __bool__(self) -> bool:
            return False

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = Exception.__hash__

    failure = EmptyError()
    log: list[str] = []

    async def use(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log))
        await anyio.wait_all_tasks_blocked()
        if where == "body":
            raise failure
        ev.start(Wire(fail, failure))

    if where == "body":
        assert await raised_by(use, EmptyError) is failure
    else:
        assert (await group_of(use)).exceptions[0] is failure
        assert len(notes(failure)) == 1
    assert log == ["cleaned up"]


async def test_a_wire_whose_class_is_named_like_any_other_type_has_its_failure_noted() -> None:
    failures: list[Exception] = []
    for name in ("array", "dict", "str", "deque", "set"):

        def call(self: Any, ev: EventLoop) -> None:
            raise ValueError(type(self).__name__)

        odd = type(name, (Wire,), {"__init__": lambda self: None, "__call__": call})
        async with EventLoop() as ev:
            ev.start(odd(), lambda ev, exc: failures.append(exc))
    assert [str(exc) for exc in failures] == ["array", "dict", "str", "deque", "set"]
    assert all("started at" in notes(exc)[0] for exc in failures)
