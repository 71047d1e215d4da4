"""Retry, to the moment: when it tries again, and when it gives up."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from aiowire import (
    Call,
    EventLoop,
    Retry,
    Timeout,
    done,
)

from .steps import failure_of, names, run
from .virtual import anyio_backend

__all__ = ["anyio_backend"]


class Flaky:
    """A step that fails so many times, and notes when it was tried."""

    def __init__(self, failures: float, exc: type[Exception] = OSError, length: float = 0) -> None:
        self.times: list[float] = []
        self._failures = failures
        self._exc = exc
        self._length = length
        self._begun = anyio.current_time()

    async def __call__(self, ev: EventLoop) -> Any:
        self.times.append(anyio.current_time() - self._begun)
        await anyio.sleep(self._length)
        if len(self.times) <= self._failures:
            raise self._exc(len(self.times))
        return None


STEADY: dict[str, Any] = {"wait_initial": 1, "wait_jitter": 0, "wait_max": 5}


async def test_it_runs_afresh_until_it_does_not_fail() -> None:
    log: list[Any] = []
    flaky = Flaky(2)
    await run(Retry(Call(log.append, "a") >> flaky, **STEADY) >> Call(log.append, "end"))
    assert log == ["a"] * 3 + ["end"]


async def test_the_waits_double_up_to_the_longest() -> None:
    flaky = Flaky(5)
    await run(Retry(flaky, **STEADY))
    assert flaky.times == [0, 1, 3, 7, 12, 17]


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_the_last_failure_is_raised(attempts: int) -> None:
    flaky = Flaky(math.inf)
    assert (
        repr(await failure_of(Retry(flaky, **STEADY, attempts=attempts))) == f"OSError({attempts})"
    )
    assert len(flaky.times) == attempts


async def test_ten_attempts_are_made_unless_another_number_is_given() -> None:
    flaky, endless = Flaky(math.inf), Flaky(3000)
    assert repr(await failure_of(Retry(flaky))) == "OSError(10)"
    await run(Retry(endless, attempts=math.inf, wait_max=0))
    assert len(endless.times) == 3001


async def test_other_failures_are_raised_at_once() -> None:
    flaky = Flaky(1, KeyError)
    assert names(await failure_of(Retry(flaky, on=OSError))) == ["KeyError"]
    assert len(flaky.times) == 1


async def test_it_is_tried_again_after_a_group_that_matches() -> None:
    flaky = Flaky(2)
    await run(Retry(flaky & done, on=OSError))
    assert len(flaky.times) == 3


async def test_no_attempt_begins_after_the_time_limit() -> None:
    """And none that could only begin after it is waited for."""
    flaky = Flaky(math.inf)
    begun = anyio.current_time()
    await failure_of(Retry(flaky, **STEADY, timeout=8))
    assert flaky.times == [0, 1, 3, 7]
    assert anyio.current_time() - begun == 7


async def test_the_time_limit_does_not_cut_an_attempt_short() -> None:
    flaky = Flaky(1, length=10)
    await run(Retry(flaky, **STEADY, timeout=11))
    assert flaky.times == [0, 11]
    assert anyio.current_time() - flaky._begun == 21


@pytest.mark.parametrize(
    ("part", "chance", "expected"), [(1, 0.5, 2), (1, 0, 4), (0.5, 0.5, 3), (0, 0.5, 4)]
)
async def test_jitter_leaves_a_part_of_a_wait_to_chance(
    part: float, chance: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: chance)
    flaky = Flaky(1)
    await run(Retry(flaky, wait_initial=4, wait_jitter=part))
    assert flaky.times == [0, expected]


async def test_a_wait_is_never_negative_nor_longer_than_the_longest() -> None:
    for _ in range(50):
        flaky = Flaky(3)
        await run(Retry(flaky, wait_initial=1, wait_max=2))
        gaps = [b - a for a, b in zip(flaky.times, flaky.times[1:], strict=False)]
        assert 0 <= gaps[0] <= 1
        assert 0 <= gaps[1] <= 2
        assert 0 <= gaps[2] <= 2


async def test_it_gives_up_when_it_fails_too_often_within_a_time() -> None:
    """Three failures within 4 seconds are too many; those before do not count."""
    often, seldom = Flaky(math.inf), Flaky(6)
    steady = {"wait_initial": 1, "wait_max": 1, "wait_jitter": 0}
    await failure_of(Retry(often, **steady, intensity=(2, 4)))
    assert often.times == [0, 1, 2]
    await run(Retry(seldom, wait_initial=3, wait_max=3, wait_jitter=0, intensity=(2, 4)))
    assert len(seldom.times) == 7


async def test_a_retry_is_cancelled_while_it_waits() -> None:
    flaky = Flaky(math.inf)
    await run(Timeout(Retry(flaky, **STEADY), 2))
    assert flaky.times == [0, 1]


async def test_a_retry_starts_anew_each_time() -> None:
    flaky = Flaky(3)
    wire = Retry(flaky, **STEADY, attempts=4)
    await run(wire >> wire)
    assert flaky.times == [0, 1, 3, 7, 7]
