"""A branch is a loop: what a wire may do with the loop that it is given there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aiowire import All, Call, EventLoop, Race, Select, Timeout, Wire, done, never
from aiowire._fork import Branch

from .steps import INTERRUPTS, clean_up, fail, fail_later, fail_when_cancelled
from .support import Log, run_to_end

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

#: What makes a branch of a wire.
BRANCHES: dict[str, Callable[..., Any]] = {
    "All": All,
    "Race": Race,
    "Select": Select,
    "Timeout": lambda a, *others: Timeout(a, 1000),
}
branches = pytest.mark.parametrize("make", BRANCHES.values(), ids=BRANCHES)
forks = pytest.mark.parametrize("make", [All, Race, Select])


@branches
async def test_it_can_be_cancelled_and_all_around_goes_on(make: Any) -> None:
    log = Log()

    async def give_up(ev: EventLoop) -> None:
        ev.start(Wire(clean_up, log, "started"))
        await anyio.wait_all_tasks_blocked()
        ev.cancel()
        assert ev.cancelled
        await clean_up(ev, log, "chain")

    async with EventLoop() as ev:
        ev.start(make(give_up) >> Call(log.append, "end"))
        await log.reach(3)
        assert not ev.cancelled
    assert sorted(log[:2]) == ["chain", "started"]
    assert log[2:] == ["end"]


async def test_cancelling_a_branch_leaves_the_others_alone() -> None:
    log, event = Log(), anyio.Event()
    async with EventLoop() as ev:
        ev.start(All(lambda ev: ev.cancel(), Call(event.wait) >> Call(log.append, "other")))
        await anyio.wait_all_tasks_blocked()
        event.set()
    assert log == ["other"]


async def test_what_a_cancelled_branch_was_to_begin_never_does() -> None:
    log = Log()

    def start_and_cancel(ev: EventLoop) -> None:
        ev.start(Call(log.append, "no"))
        ev.start(Call(log.append, "no"), background=True)
        ev.cancel()

    await run_to_end(All(start_and_cancel) >> Call(log.append, "end"))
    assert log == ["end"]


@branches
async def test_a_handle_cancels_one_chain_of_it(make: Any) -> None:
    log = Log()

    async def start(ev: EventLoop) -> None:
        handle = ev.start(Wire(clean_up, log, "one"))
        await anyio.wait_all_tasks_blocked()
        handle.cancel()
        await handle.wait()
        assert handle.done
        log.append("waited")

    await run_to_end(make(start) >> Call(log.append, "end"))
    assert log == ["one", "waited", "end"]


@branches
async def test_a_failure_with_a_handler_is_none_of_the_branch(make: Any) -> None:
    log = Log()

    def start(ev: EventLoop) -> None:
        ev.start(Wire(fail_later, OSError()), lambda ev, exc: log.append(repr(exc)))

    await run_to_end(make(start) >> Call(log.append, "end"))
    assert log == ["OSError()", "end"]


@forks
async def test_to_run_it_in_itself_is_refused(make: Any) -> None:
    errors: list[str] = []

    async def run(ev: EventLoop) -> None:
        try:
            await ev.run()
        except RuntimeError as exc:
            errors.append(str(exc))

    await run_to_end(make(Wire(run)))
    assert len(errors) == 1
    assert "would wait for itself in ev.run()" in errors[0]


@branches
async def test_it_is_not_to_be_entered(make: Any) -> None:
    errors: list[str] = []

    async def enter(ev: EventLoop) -> None:
        try:
            async with ev:
                raise AssertionError
        except RuntimeError as exc:
            errors.append(str(exc))

    await run_to_end(make(enter))
    assert errors == ["this EventLoop is entered already; make one for each block"]


@branches
async def test_nothing_can_be_started_in_it_once_it_is_over(make: Any) -> None:
    loops: list[Any] = []
    async with EventLoop() as ev:
        ev.start(make(loops.append))
        await ev.run()
        for use in (lambda: loops[0].start(never), loops[0].cancel, loops[0].stop):
            with pytest.raises(RuntimeError, match="works inside the block only"):
                use()


@branches
async def test_nothing_can_be_started_in_it_from_another_thread(make: Any) -> None:
    errors: list[str] = []

    async def start(ev: EventLoop) -> None:
        def start_there() -> None:
            try:
                ev.start(never)
            except RuntimeError as exc:
                errors.append(str(exc))

        await anyio.to_thread.run_sync(start_there)

    await run_to_end(make(start))
    assert len(errors) == 1
    assert "was called from another thread" in errors[0]


@branches
@pytest.mark.parametrize("kind", INTERRUPTS)
async def test_an_interrupt_in_it_leaves_the_loop_around(make: Any, kind: Any) -> None:
    log = Log()
    with pytest.raises(kind):
        await run_to_end(make(Wire(fail, kind()), Wire(clean_up, log)) >> Call(log.append, "no"))
    assert "no" not in log


@forks
async def test_an_interrupt_has_the_failures_of_the_branches_as_its_cause(make: Any) -> None:
    """Where nothing else fails in the loop around."""
    interrupted = Call(anyio.wait_all_tasks_blocked) >> Wire(fail, SystemExit())
    with pytest.raises(SystemExit) as info:
        await run_to_end(make(Wire(fail_when_cancelled, OSError()), Wire(all_of, interrupted)))
    assert isinstance(info.value.__cause__, ExceptionGroup)
    assert [repr(each) for each in info.value.__cause__.exceptions] == ["OSError()"]


async def all_of(ev: EventLoop, wire: Any) -> None:
    """Run a wire to its end in one step."""
    async with EventLoop() as inner:
        inner.start(wire)


async def test_branches_nest_deeply() -> None:
    log = Log()
    wire: Any = Wire(fail, OSError())
    for _ in range(30):
        wire = Timeout(All(Race(wire)), 1000)
    with pytest.raises(ExceptionGroup):
        await run_to_end(wire)
    wire = Call(log.append, "in")
    for _ in range(30):
        wire = Select(Timeout(All(Race(wire)), 1000))
    await run_to_end(wire)
    assert log == ["in"]


async def test_many_branches() -> None:
    log = Log()
    await run_to_end(All(*[Call(log.append, n) for n in range(2000)]))
    assert log == [*range(2000)]
    winner = Call(anyio.wait_all_tasks_blocked)
    await run_to_end(Race(*[Call(anyio.sleep_forever)] * 500, winner, *[never] * 500))


DYING = {
    "stop": lambda ev: ev.stop(1),
    "background": lambda ev: ev.start(never, background=True),
    "both": lambda ev: (ev.start(never, background=True), ev.stop(1)),
}


@pytest.mark.parametrize("act", DYING.values(), ids=DYING)
@branches
async def test_it_can_be_stopped_and_have_a_background_while_it_dies(make: Any, act: Any) -> None:
    async def lose(ev: EventLoop) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            act(ev)

    def give_up(ev: EventLoop) -> None:
        ev.cancel()
        act(ev)

    log = Log()
    winner = Call(anyio.wait_all_tasks_blocked)
    async with EventLoop(timeout=5) as ev:
        ev.start(Race(make(lose, never), winner) >> Call(log.append, "lost"))
        ev.start(make(give_up, done) >> Call(log.append, "given up"))
    assert sorted(log) == ["given up", "lost"]
    assert not ev.timed_out


@pytest.mark.parametrize("make", [BRANCHES["All"], BRANCHES["Race"], BRANCHES["Timeout"]])
async def test_no_step_follows_the_one_that_cancels_it(make: Any) -> None:
    log = Log()
    no = Call(log.append, "no")
    await run_to_end(make(Wire(lambda ev: ev.cancel()) >> no >> no, done) >> Call(log.append, 1))
    assert log == [1]


async def test_no_step_follows_the_wait_that_ended_when_all_was_cancelled() -> None:
    log, event = Log(), anyio.Event()
    async with EventLoop() as ev:
        ev.start(Call(event.wait) >> Call(log.append, "no") >> Call(log.append, "no"))
        await anyio.wait_all_tasks_blocked()
        event.set()
        ev.cancel()
    assert log == []


@forks
async def test_many_that_fail_when_cancelled_are_cancelled_once(
    make: Any, monkeypatch: Any
) -> None:
    """If each failure cancelled all again the time would go up with the square."""
    calls: list[Any] = []
    cancel = Branch._cancel_all
    monkeypatch.setattr(Branch, "_cancel_all", lambda self: (calls.append(self), cancel(self)))
    failing = [Wire(fail_when_cancelled, ValueError(n)) for n in range(50)]
    async with EventLoop() as ev:
        ev.start(make(*failing, Wire(fail_later, KeyError())), lambda ev, exc: None)
    assert len(calls) <= 2 * 51
