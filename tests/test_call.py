"""Calls of functions that know nothing of event loops, what follows them, and ``never``."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiowire import Call, EventLoop, Wire, done, never


async def later(value: Any) -> Any:
    await checkpoint()
    return value


class Promise:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Any:
        yield from checkpoint().__await__()
        return "kept"


KINDS = {
    "plain": (lambda: "now", "now"),
    "async": (partial(later, "soon"), "soon"),
    "method": (" padded ".strip, "padded"),
    "class": (Promise, "kept"),
    "nothing": (lambda: None, None),
}


async def test_the_function_gets_the_arguments_and_no_event_loop() -> None:
    calls = []

    def f(*args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs))

    async def g(*args: Any, **kwargs: Any) -> None:
        f(*args, **kwargs)

    async with EventLoop() as ev:
        ev.start(Call(f, 1, "two", f=3, self=4) >> Call(g) >> Call(g, 5, k=6))
    assert calls == [((1, "two"), {"f": 3, "self": 4}), ((), {}), ((5,), {"k": 6})]


@pytest.mark.parametrize(("f", "result"), KINDS.values(), ids=KINDS)
async def test_then_gets_the_result(f: Any, result: Any) -> None:
    results: list[Any] = []
    async with EventLoop() as ev:
        ev.start(Call(f).then(results.append))
        ev.start(Call(f).then(lambda value: Call(results.append, value)))
    assert results == [result] * 2


async def test_a_result_is_dropped_even_if_it_could_be_a_wire() -> None:
    def never_called(ev: Any) -> None:
        raise AssertionError

    for result in (never_called, partial(later, never_called), 3, never):
        assert await Call(lambda r=result: r)(None) is None  # type: ignore[arg-type]
    assert await Call(later, never_called)(None) is None  # type: ignore[arg-type]


async def test_an_awaitable_result_is_awaited_once() -> None:
    async def give_promise() -> Promise:
        return Promise()

    results: list[Any] = []
    async with EventLoop() as ev:
        ev.start(Call(give_promise).then(results.append))
    assert type(results[0]) is Promise


@pytest.mark.parametrize("kind", ["wire", "plain", "async", "nothing", "awaited"])
async def test_then_continues_with_the_wire_that_it_returns(kind: str) -> None:
    log: list[Any] = []

    def note(ev: EventLoop) -> None:
        log.append(("plain", ev))

    async def note_later(ev: EventLoop) -> None:
        await checkpoint()
        log.append(("async", ev))

    continuations: dict[str, Any] = {
        "wire": lambda n: Wire(lambda ev: log.append(("wire", ev))),
        "plain": lambda n: note,
        "async": lambda n: note_later,
        "nothing": lambda n: None,
        "awaited": partial(later),
    }
    async with EventLoop() as ev:
        ev.start(Call(lambda: note).then(continuations[kind]) >> Call(log.append, "end"))
    step = {"nothing": [], "awaited": [("plain", ev)]}.get(kind, [(kind, ev)])
    assert log == [*step, "end"]


async def test_a_call_and_its_continuation_are_one_step() -> None:
    rest = await Call(len, "abc").then(lambda n: done * n)(None)  # type: ignore[arg-type]
    assert repr(rest) == "done * 3"


async def test_calls_can_be_composed_before_and_after() -> None:
    log: list[int] = []
    count = Call(log.__len__).then(lambda n: Call(log.append, n))
    async with EventLoop() as ev:
        ev.start((count >> count) * 2 >> 2 * count)
    assert log == [0, 1, 2, 3, 4, 5]


async def test_a_result_given_before_the_cancellation_is_passed_on() -> None:
    results: list[str] = []

    async with EventLoop() as ev:

        async def cancelled_too_late() -> str:
            handle.cancel()
            return "result"

        handle = ev.start(Call(cancelled_too_late).then(results.append) >> never)
    assert results == ["result"]


@pytest.mark.parametrize("what", ["function", "continuation"])
async def test_a_failure_is_the_failure_of_the_wire(what: str) -> None:
    failures: list[Exception] = []

    def fail(*args: object) -> None:
        raise ValueError(what)

    wire = Call(fail) if what == "function" else Call(later, 1).then(fail)
    async with EventLoop() as ev:
        ev.start(wire >> never, lambda ev, exc: failures.append(exc))
    assert [str(exc) for exc in failures] == [what]


async def test_never_waits_until_it_is_cancelled() -> None:
    async with EventLoop() as ev:
        handle = ev.start(never >> Call(pytest.fail, "it ended"))
        await anyio.wait_all_tasks_blocked()
        assert not handle.done
        handle.cancel()
    assert handle.done
    assert handle.exception is None


async def test_done_finishes_at_once() -> None:
    async with EventLoop() as ev:
        handle = ev.start(done)
        while not handle.done:
            await checkpoint()
    assert await done(ev) is None
