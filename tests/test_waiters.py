"""No wake-up is lost: all short scripts, and a proof that they would find it if one were."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import zmq
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiowire.backends import _calls, _waiters
from aiowire.backends._calls import Calls
from aiowire.backends._waiters import Waiter

from .native import eager_tasks, native_tasks, needs_eager_tasks, on_asyncio
from .support import STRESS
from .zmq_mutants import MUTANTS
from .zmq_scripts import ACTIONS, all_scripts, first_fault

LENGTH = 5 if STRESS else 3
SEED = random.randrange(2**32)


@pytest.fixture
def no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found but by the protocol, and no turn be given but where a script does."""
    monkeypatch.setattr(_waiters, "RECHECK", float("inf"))
    monkeypatch.setattr(_calls, "SLICE", float("inf"))
    monkeypatch.setattr(_waiters, "QUICK", 0)


scripted = pytest.mark.usefixtures("no_safety_net")


def random_scripts(number: int, length: int) -> Any:
    """Long scripts, of which a fault names the seed."""
    choose = random.Random(SEED)
    return (tuple(choose.choices(list(ACTIONS), k=length)) for _ in range(number))


@scripted
@pytest.mark.stress
async def test_all_short_scripts() -> None:
    assert await first_fault(all_scripts(LENGTH)) is None


@scripted
@pytest.mark.stress
@on_asyncio
async def test_all_short_scripts_cancelled_by_asyncio_itself() -> None:
    assert await first_fault(all_scripts(LENGTH), native_tasks) is None


@scripted
@pytest.mark.stress
@needs_eager_tasks
@on_asyncio
async def test_all_short_scripts_with_eager_tasks() -> None:
    with eager_tasks():
        assert await first_fault(all_scripts(LENGTH), native_tasks) is None


@scripted
@pytest.mark.stress
@pytest.mark.parametrize("yields", [False, True], ids=["", "each call yields"])
async def test_long_scripts(yields: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiters, "QUICK", 1 if yields else 0)
    scripts = random_scripts(50_000 if STRESS else 1000, 12)
    assert await first_fault(scripts, yields=yields) is None, f"seed {SEED}"


@scripted
@pytest.mark.stress
@on_asyncio
async def test_long_scripts_cancelled_by_asyncio_itself() -> None:
    scripts = random_scripts(50_000 if STRESS else 1000, 12)
    assert await first_fault(scripts, native_tasks, yields=True) is None, f"seed {SEED}"


# Each part of the protocol is needed: without it, a script goes wrong.

RECEIVE, PEER_SENDS, SETTLE = "receive", "peer sends", "settle"
KILLERS = {
    "NoLookAfterCalls": (RECEIVE, SETTLE, PEER_SENDS, "read events"),
    "NoLookBeforeSleep": (RECEIVE, SETTLE, PEER_SENDS, PEER_SENDS, SETTLE, RECEIVE),
    "NoElection": (RECEIVE, RECEIVE, SETTLE, PEER_SENDS, SETTLE, PEER_SENDS),
    "NoHandingOn": (RECEIVE, RECEIVE, SETTLE, PEER_SENDS, PEER_SENDS),
    "WakeNewest": (RECEIVE, RECEIVE, SETTLE, PEER_SENDS, PEER_SENDS),
    "Barging": (RECEIVE, SETTLE, RECEIVE, PEER_SENDS, PEER_SENDS),
    "WaitAfterCall": (RECEIVE, PEER_SENDS, "give way", "cancel oldest"),
    "DeafLeader": (RECEIVE, SETTLE, PEER_SENDS, "read events"),
}


@scripted
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_script_finds_each_part_that_is_missing(
    mutant: type[Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    killer = KILLERS[mutant.__name__]
    tries = [killer] * 50  # trio shuffles tasks
    assert await first_fault(tries) is None
    monkeypatch.setattr("aiowire.zmq._socket.Calls", mutant)
    assert await first_fault(tries) is not None


@scripted
@pytest.mark.stress
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_all_scripts_find_each_part_that_is_missing(
    mutant: type[Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells where to look; without stress, only among the scripts that begin likewise.

    Trio shuffles tasks, so each of these few is tried often.
    """
    monkeypatch.setattr("aiowire.zmq._socket.Calls", mutant)
    killer = KILLERS[mutant.__name__]
    scripts = all_scripts(len(killer)) if STRESS else endings(killer, 2)
    several_times = (each for script in scripts for each in [script] * (1 if STRESS else 25))
    fault = await first_fault(itertools.islice(several_times, 150_000))
    assert fault is not None
    print(f"{mutant.__name__}: script {fault[0]}, {fault[1]}: {fault[2]}")


def endings(script: tuple[str, ...], number: int) -> Any:
    """All scripts that differ from one in so many actions at the end."""
    return (script[:-number] + end for end in all_scripts(number))


# Long scripts that shrink to short ones.


@scripted
@settings(
    max_examples=2000 if STRESS else 60,
    deadline=None,
    derandomize=not STRESS,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(actions=st.lists(st.sampled_from(list(ACTIONS)), max_size=40), yields=st.booleans())
async def test_any_script(actions: list[str], yields: bool) -> None:
    assert await first_fault([actions], yields=yields) is None


# Faults at each step of the protocol.


class Faulty(Calls):
    """At each step other tasks get a turn, or a call takes the wake-ups away."""

    faults = random.Random(0)

    async def _disturb(self) -> None:
        if self.faults.random() < 0.3:
            await checkpoint()
        if self.faults.random() < 0.3:
            self.get(zmq.EVENTS)
            self.called()

    async def _park(self, waiter: Waiter, looked: bool) -> None:
        await self._disturb()
        await super()._park(waiter, looked=False)
        await self._disturb()

    async def _listen(self, seconds: float) -> None:
        await self._disturb()
        self.called()  # what happened meanwhile is seen before the leader sleeps
        waiter = self._leader
        if waiter is None or not waiter.is_woken:
            await super()._listen(seconds)
        await self._disturb()


@scripted
@pytest.mark.stress
async def test_disturbed_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiowire.zmq._socket.Calls", Faulty)
    Faulty.faults = random.Random(SEED)
    scripts = random_scripts(20_000 if STRESS else 500, 10)
    assert await first_fault(scripts, yields=True) is None, f"seed {SEED}"
