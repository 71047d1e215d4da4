"""The protocol on a simulated socket, where faults happen that are hard to bring about.

A descriptor that is readable for nothing, a call that is refused in spite of the events, the end of
the context: each at each place of the scripts by which real sockets are tested.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
import zmq
from anyio.lowlevel import checkpoint

from aiowire.backends import _calls, _waiters
from aiowire.backends._calls import Calls

from .native import full_speed, native_tasks, on_asyncio
from .support import STRESS
from .test_waiters import KILLERS
from .zmq_mutants import MUTANTS
from .zmq_scripts import ACTIONS, Script, all_scripts, scopes

pytestmark = [
    pytest.mark.stress,
    pytest.mark.usefixtures("no_safety_net"),
    pytest.mark.skipif(not hasattr(os, "eventfd"), reason="this system has no eventfd"),
]

if hasattr(os, "eventfd"):
    from . import fake_zmq
    from .fake_zmq import FakeSocket, fakes

SEED = random.randrange(2**32)


@pytest.fixture
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found but by the protocol."""
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))
    monkeypatch.setattr(_waiters, "RETRY", 0.001)
    monkeypatch.setattr(_waiters, "QUICK", 0)
    monkeypatch.setattr(_calls, "SLICE", float("inf"))


class FakeScript(Script):
    """A script in which more can go wrong."""

    async def run(self, actions: Any) -> None:
        for action in actions:
            await FAKE_ACTIONS[action](self)
        await self.settle()
        # A task that was refused tries again after a pause at the latest.
        with anyio.move_on_after(5):
            while self.socket._waiters._refused and self.socket._plain.can_send:
                await checkpoint()

    async def spur(self) -> None:
        self.socket._plain.spur()

    async def block(self) -> None:
        self.socket._plain.block()

    async def unblock(self) -> None:
        self.socket._plain.unblock()

    async def terminate(self) -> None:
        self.socket._plain.terminate()

    async def take(self) -> None:
        try:
            await super().take()
        except zmq.ContextTerminated:
            self.socket.refresh()

    async def read_events(self) -> None:
        with suppress(zmq.ContextTerminated):
            self.socket.get(zmq.EVENTS)

    def faults(self) -> list[str]:
        plain = self.socket._plain
        if not self.is_terminated:
            found = super().faults()
            return [each for each in found if not (plain._is_blocked and each.startswith("send"))]
        ended = [each for each in self.begun if each.outcome not in ("done", "cancelled")]
        found = [
            f"{each.kind} {each.number}: {each.outcome}"
            for each in ended
            if "ClosedResourceError('a fake cannot be used any more" not in each.outcome
        ]
        received = [each.message for each in self._done("receive")]
        left = [int(each) for each in plain._queue]
        if sorted(received + self.taken + left) != self.from_peer:
            found.append(f"sent {self.from_peer}, got {received}, {self.taken} and {left}")
        return found

    @property
    def is_terminated(self) -> bool:
        try:
            self.socket._plain.get(zmq.EVENTS)
        except zmq.ContextTerminated:
            return True
        return False


FAULTS: dict[str, Callable[[FakeScript], Any]] = {
    "spur": FakeScript.spur,
    "block": FakeScript.block,
    "unblock": FakeScript.unblock,
    "terminate": FakeScript.terminate,
}
FAKE_ACTIONS: dict[str, Callable[[Any], Any]] = {
    **ACTIONS,
    "take": FakeScript.take,
    "read events": FakeScript.read_events,
    **FAULTS,
}


@asynccontextmanager
async def fake_script(starting: Any = scopes, yields: bool = False) -> AsyncIterator[FakeScript]:
    with fakes() as (plain, peer):
        socket: Any = FakeSocket(plain)
        async with starting() as start:
            yield FakeScript(socket, peer, start, yields)  # type: ignore[arg-type]
        assert not len(socket._waiters)
        socket.close()


async def first_fault(scripts: Any, starting: Any = scopes, *, yields: bool = False) -> Any:
    """Run scripts until one goes wrong: its number, its actions, and what went wrong."""
    with full_speed():
        for number, actions in enumerate(scripts):
            with anyio.fail_after(10):
                async with fake_script(starting, yields) as script:
                    await script.run(actions)
                    found = script.faults()
            if found:
                return number, actions, found
    return None


LENGTH = 5 if STRESS else 3


async def test_all_short_scripts() -> None:
    assert await first_fault(all_scripts(LENGTH)) is None


async def test_a_fault_anywhere_in_a_short_script() -> None:
    """Each fault at each place of each script that is one shorter."""
    scripts = (
        (*actions[:place], fault, *actions[place:])
        for actions in all_scripts(LENGTH - 1)
        for fault in FAULTS
        for place in range(LENGTH)
    )
    assert await first_fault(scripts) is None


def random_scripts(number: int, length: int) -> Any:
    choose = random.Random(SEED)
    weights = [1 if each == "terminate" else 8 for each in FAKE_ACTIONS]
    return (choose.choices(list(FAKE_ACTIONS), weights, k=length) for _ in range(number))


@pytest.mark.parametrize("yields", [False, True], ids=["", "each call yields"])
async def test_long_scripts_with_faults(yields: bool) -> None:
    scripts = random_scripts(50_000 if STRESS else 500, 14)
    assert await first_fault(scripts, yields=yields) is None, f"seed {SEED}"


@on_asyncio
async def test_long_scripts_with_faults_cancelled_by_asyncio_itself() -> None:
    scripts = random_scripts(50_000 if STRESS else 500, 14)
    assert await first_fault(scripts, native_tasks) is None, f"seed {SEED}"


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_script_finds_each_part_that_is_missing(
    mutant: type[Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = [KILLERS[mutant.__name__]] * 50  # trio shuffles tasks
    monkeypatch.setattr(fake_zmq, "Calls", mutant)
    assert await first_fault(tries) is not None
