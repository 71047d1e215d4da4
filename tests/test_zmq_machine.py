"""Programs of any length on one socket, made up action by action, and shrunk when one goes wrong.

The scripts of ``zmq_scripts.py`` are short, or of one kind. Here each action is chosen in view of
those before: any operation can be cancelled, also one that is over, and a program is judged each
time that it falls silent, and then goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
import zmq
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

import aiowire.zmq
from aiowire.backends import _calls, _waiters
from aiowire.backends._calls import Calls

from .native import full_speed, native_tasks, on_asyncio
from .support import STRESS
from .zmq_mutants import MUTANTS, Barging, DeafLeader, NoHandingOn
from .zmq_scripts import ACTIONS, Operation, Script, drain, scopes

numbers = itertools.count()

LOOKS = {
    "look for input": zmq.POLLIN,
    "look for room": zmq.POLLOUT,
    "look for both": zmq.POLLIN | zmq.POLLOUT,
}
WAITS_FOR = {"receive": zmq.POLLIN, "send": zmq.POLLOUT, **LOOKS}

#: How many messages a queue of the two sockets holds.
ROOM = 2


class Program(Script):
    """A script that can also look, and that is judged by what it must have come to."""

    def begin(self, kind: str) -> None:
        self._begin(Operation(kind, next(self._numbers)))

    def cancel(self, index: int) -> None:
        operation = self.operations[index]
        operation.was_cancelled = operation.was_cancelled or not operation.is_over
        operation.cancel()

    async def _perform(self, operation: Operation) -> None:
        if operation.kind not in LOOKS:
            return await super()._perform(operation)
        self.begun.append(operation)
        try:
            operation.message = await self.socket.poll(None, LOOKS[operation.kind])
        except anyio.get_cancelled_exc_class():
            operation.outcome = "cancelled"
            raise
        except Exception as exc:
            operation.outcome = repr(exc)
        else:
            operation.outcome = "done"
        return None

    async def judge(self) -> None:
        """Compare all that happened with what must have, when all is silent."""
        await self.settle()
        events = self.socket._plain.get(zmq.EVENTS)
        received = [each.message for each in self._done("receive")]
        sent = [each.message for each in self._done("send")]
        queued = len(self.from_peer) - len(received) - len(self.taken)
        assert sorted(received + self.taken) == self.from_peer[: len(received + self.taken)]
        assert received == sorted(received) or self._yields
        assert set(self.at_peer) <= set(sent)
        assert bool(events & zmq.POLLIN) == (queued > 0)
        assert bool(events & zmq.POLLOUT) == (len(sent) - len(self.at_peer) < ROOM)
        for each in self.begun:
            assert each.outcome in ("waits", "done", "cancelled")
            assert each.outcome != "cancelled" or each.was_cancelled
            if each.outcome == "waits":
                assert not each.was_cancelled
                assert not events & WAITS_FOR[each.kind], f"{each.kind} sleeps"
            elif each.kind in LOOKS and each.outcome == "done":
                assert each.message
                assert not each.message & ~LOOKS[each.kind]
        assert len(self.socket._waiters) == sum(not each.is_over for each in self.begun)
        self.socket.refresh()  # for this was a look of which nobody was told

    async def end(self) -> None:
        """Close the socket, with nobody left behind and no message unaccounted for."""
        received = [each.message for each in self._done("receive")]
        left = drain(self.socket._plain)
        assert sorted(received + self.taken + left) == self.from_peer
        arrived = sorted(self.at_peer + drain(self.peer))
        assert arrived == sorted(each.message for each in self._done("send"))
        self.socket.close()
        await self.settle()
        for each in self.begun:
            assert each.outcome in ("done", "cancelled") or "was closed" in each.outcome
        assert not len(self.socket._waiters)


@asynccontextmanager
async def opened(
    context: aiowire.zmq.Context, starting: Any, yields: bool
) -> AsyncIterator[Program]:
    plain: zmq.Context[Any] = zmq.Context.shadow(context.underlying)
    address = f"inproc://machine-{next(numbers)}"
    with full_speed(), context.socket(zmq.PAIR) as socket, plain.socket(zmq.PAIR) as peer:
        for each in (socket, peer):
            each.set(zmq.LINGER, 0)
            each.set(zmq.SNDHWM, ROOM // 2)
            each.set(zmq.RCVHWM, ROOM // 2)
        socket.bind(address)
        peer.connect(address)
        for each in (socket._plain, peer):
            each.get(zmq.EVENTS)
        async with starting() as start:
            yield Program(socket, peer, start, yields)


class Machine(RuleBasedStateMachine):
    """What hypothesis chooses, carried out in the thread of an event loop.

    To get there takes turns of that loop. So actions are collected, and carried out together: those
    of one turn stay in one turn.
    """

    operations: Bundle[int] = Bundle("operations")

    def __init__(self, open_program: Callable[[bool], Any], portal: BlockingPortal) -> None:
        super().__init__()
        self._open = open_program
        self._portal = portal
        self._stack = ExitStack()
        self._actions: list[tuple[Callable[..., Any], Any]] = []
        self._begun = 0
        self._is_wrong = True  # or not opened yet

    @initialize(
        yields=st.booleans(),
        last=st.lists(st.sampled_from(list(ACTIONS)), max_size=6),
    )
    def open(self, yields: bool, last: list[str]) -> None:
        opening = self._portal.wrap_async_context_manager(self._open(yields))
        self._program = self._stack.enter_context(opening)
        self._last = last
        self._is_wrong = False

    @rule(target=operations)
    def receive(self) -> int:
        return self._begin("receive")

    @rule(target=operations)
    def send(self) -> int:
        return self._begin("send")

    @rule(target=operations, kind=st.sampled_from(list(LOOKS)))
    def look(self, kind: str) -> int:
        return self._begin(kind)

    def _begin(self, kind: str) -> int:
        self._actions.append((Program.begin, kind))
        self._begun += 1
        return self._begun - 1

    @rule(operation=operations)
    def cancel(self, operation: int) -> None:
        self._actions.append((Program.cancel, operation))

    @rule()
    def peer_sends(self) -> None:
        self._actions.append((act, "peer sends"))

    @rule()
    def peer_receives(self) -> None:
        self._actions.append((act, "peer receives"))

    @rule(name=st.sampled_from(["read events", "take"]))
    def disturb(self, name: str) -> None:
        self._actions.append((act, name))

    @rule(turns=st.integers(1, 4))
    def give_way(self, turns: int) -> None:
        self._actions.extend([(act, "give way")] * turns)

    @rule()
    def fall_silent(self) -> None:
        self._run(Program.judge)

    def teardown(self) -> None:
        try:
            if not self._is_wrong:
                self._run(Program.judge)
                self._actions.extend((act, name) for name in self._last)
                self._run(Program.end)
        finally:
            self._stack.close()

    def _run(self, then: Callable[[Program], Any]) -> None:
        actions, self._actions = self._actions, []
        self._is_wrong = True
        self._portal.call(carry_out, self._program, actions, then)
        self._is_wrong = False


async def act(program: Program, name: str) -> None:
    await ACTIONS[name](program)


async def carry_out(program: Program, actions: Any, then: Callable[[Program], Any]) -> None:
    with anyio.fail_after(10):
        for function, argument in actions:
            result = function(program, argument)
            if result is not None:
                await result
        await then(program)


# The tests.


@pytest.fixture(autouse=True)
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found but by the protocol, and no turn be given but where a program does."""
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))
    monkeypatch.setattr(_calls, "SLICE", float("inf"))
    monkeypatch.setattr(_waiters, "QUICK", 0)


@pytest.fixture
def portal(anyio_backend: Any) -> Iterator[BlockingPortal]:
    """An event loop in a thread of its own."""
    backend, options = anyio_backend
    with start_blocking_portal(backend, options) as portal:
        yield portal


def run_machine(portal: BlockingPortal, starting: Any = scopes, **options: Any) -> None:
    chosen = settings(
        deadline=None,
        derandomize=not STRESS,
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
        **options,
    )
    with aiowire.zmq.Context() as context:

        def machine() -> Machine:
            return Machine(lambda yields: opened(context, starting, yields), portal)

        run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.stress
def test_any_program(portal: BlockingPortal) -> None:
    run_machine(portal, max_examples=3000 if STRESS else 50)


@pytest.mark.stress
@on_asyncio
def test_any_program_cancelled_by_asyncio_itself(portal: BlockingPortal) -> None:
    run_machine(portal, native_tasks, max_examples=3000 if STRESS else 50)


@pytest.mark.stress
@pytest.mark.parametrize("mutant", MUTANTS if STRESS else [DeafLeader, NoHandingOn, Barging])
def test_a_program_finds_each_part_that_is_missing(
    mutant: type[Calls], portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowire.zmq._socket.Calls", mutant)
    with pytest.raises((AssertionError, Flaky)):
        run_machine(portal, max_examples=5000, phases=[Phase.generate], report_multiple_bugs=False)
