"""A readiness of one's own: the protocol between a poller and what it watches."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from aiowire import POLLIN, POLLOUT, Call, EventLoop, Poller, UnhandledException, Wire
from aiowire.backends import Readiness

from .support import WAYS, Log, choose_way, immediately, note, polling, run_to_end, settle


class Bell(Readiness):
    """A source that is rung by hand; it notes what the poller asks of it."""

    def __init__(self, rings: int = 0) -> None:
        self.asked = Log()
        self.rings = rings
        self._rung = anyio.Event()
        self.is_last = False
        self.failure: Exception | None = None

    def ring(self, *, is_last: bool = False) -> None:
        self.rings += 1
        self.is_last = is_last
        self._rung.set()

    def break_down(self, failure: Exception) -> None:
        self.failure = failure
        self._rung.set()

    async def wait(self, flags: int) -> bool:
        self.asked.append(flags)
        while not self.rings:
            if self.failure is not None:
                raise self.failure
            self._rung = anyio.Event()
            await self._rung.wait()
        self.rings -= 1
        return self.rings > 0 or not self.is_last

    def __repr__(self) -> str:
        return "Bell()"


class NotingBell(Bell):
    def open(self, arrivals: object) -> None:
        self.asked.append("open")

    def close(self) -> None:
        self.asked.append("close")

    def used(self) -> None:
        self.asked.append("used")

    def check(self) -> None:
        self.asked.append("check")


@pytest.fixture
def checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is found by looking, where it does not matter how soon."""
    monkeypatch.setattr("aiowire._watch.CHECK_SECONDS", 0.03)


async def test_only_wait_must_be_written() -> None:
    log, bell = Log(), Bell()
    async with polling({bell: note(log, "rung")}) as poller:
        for n in (1, 2, 3):
            bell.ring()
            await log.reach(n)
        poller.unregister(bell)
        bell.ring()
        await settle()
    assert log == ["rung"] * 3


def test_a_readiness_without_wait_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="wait"):
        Readiness()  # type: ignore[abstract]


async def test_each_ring_starts_the_wire_once() -> None:
    log, bell = Log(), Bell(rings=100)
    async with polling({bell: note(log)}):
        await log.reach(100)
        await settle()
    assert len(log) == 100


@pytest.mark.parametrize("flags", [POLLIN, POLLOUT, POLLIN | POLLOUT])
async def test_it_is_told_the_flags(flags: int) -> None:
    bell = Bell()
    async with polling({bell: note(Log())}, flags):
        await bell.asked.reach(1)
    assert bell.asked == [flags]


async def test_it_is_asked_again_when_the_first_step_has_returned() -> None:
    bell = NotingBell(rings=1)
    gate, ended = anyio.Event(), Log()

    async def step(ev: Any) -> Any:
        bell.asked.append("step")
        await gate.wait()
        bell.asked.append("read")
        return Call(ended.append, "rest")

    async with polling({bell: step}):
        await settle()
        assert [each for each in bell.asked if each != "check"] == ["open", POLLIN, "step"]
        gate.set()
        await ended.reach(1)
        await settle()
    assert [each for each in bell.asked if each not in ("check", "used")] == [
        *("open", POLLIN, "step", "read", POLLIN, "close")
    ]
    assert bell.asked[bell.asked.index("read") + 1] == "used"


async def test_after_false_the_wire_is_started_a_last_time_and_the_source_unregistered() -> None:
    log, bell, other = Log(), Bell(), Bell()
    async with polling({bell: note(log), other: note(log, "other")}) as poller:
        bell.ring()
        bell.ring(is_last=True)
        await log.reach(2)
        bell.ring()
        await settle()
        with pytest.raises(KeyError):
            poller.unregister(bell)
        other.ring()
        await log.reach(3)
        poller.register(bell, note(log, "again"))
        await log.reach(4)
    assert log == [None, None, "other", "again"]


async def test_what_wait_raises_goes_to_the_handler_and_unregisters_the_source() -> None:
    failures, log = Log(), Log()
    bell, other = Bell(), Bell()
    poller = Poller(
        {bell: note(log), other: note(log, "other")}, handler=lambda ev, exc: failures.append(exc)
    )
    async with polling(poller):
        await settle()
        bell.break_down(OSError("broken"))
        await failures.reach(1)
        await settle()
        with pytest.raises(KeyError):
            poller.unregister(bell)
        other.ring()
        await log.reach(1)
    assert log == ["other"]
    assert isinstance(failures[0], OSError)


async def test_what_wait_raises_fails_a_poller_without_a_handler() -> None:
    bell = Bell()
    bell.break_down(OSError("broken"))
    with pytest.raises(UnhandledException) as info:
        await run_to_end(Poller({bell: note(Log())}))
    assert [type(exc) for exc in info.value.exceptions] == [OSError]


async def test_the_wire_that_the_handler_returns_for_it_runs() -> None:
    log, bell = Log(), Bell()
    bell.break_down(OSError("broken"))
    async with polling({bell: note(log)}, handler=lambda ev, exc: note(log, "instead")):
        await log.reach(1)
    assert log == ["instead"]


async def test_check_is_called_twice_a_second_and_its_failure_ends_the_watch() -> None:
    failures, log = Log(), Log()

    class Broken(NotingBell):
        def check(self) -> None:
            super().check()
            if self.asked.count("check") == 2:
                raise OSError("broken")

    bell = Broken()
    async with polling({bell: note(log)}, handler=lambda ev, exc: failures.append(exc)) as poller:
        await immediately(lambda: failures.reach(1), 1.6)
        bell.ring()
        await settle()
        with pytest.raises(KeyError):
            poller.unregister(bell)
    assert log == []
    assert bell.asked == ["open", POLLIN, "check", "check", "close"]


@pytest.mark.usefixtures("checked_often")
async def test_a_failing_check_leaves_a_step_under_way_alone() -> None:
    failures, ended = Log(), Log()

    class Broken(Bell):
        def check(self) -> None:
            raise OSError("broken")

    bell = Broken(rings=2)

    async def step(ev: Any) -> None:
        await failures.reach(1)
        await settle()
        ended.append("ended")

    async with polling({bell: step}, handler=lambda ev, exc: failures.append(exc)):
        await ended.reach(1)
        await settle()
    assert ended == ["ended"]
    assert len(failures) == 1


async def test_each_direction_can_have_a_wire_of_its_own() -> None:
    log, bell = Log(), Bell()
    async with polling({bell: note(log, "in")}) as poller:
        poller.register(bell, note(log, "out"), POLLOUT)
        with pytest.raises(IndexError, match="POLLOUT"):
            poller.register(bell, note(log), POLLOUT)
        await bell.asked.reach(2)
        poller.unregister(bell)
        with pytest.raises(KeyError):
            poller.unregister(bell)
    assert sorted(bell.asked) == [POLLIN, POLLOUT]


@pytest.mark.usefixtures("checked_often")
@pytest.mark.parametrize("ways", ["hang-up", "failure", "unregister"])
async def test_a_source_that_is_registered_no_more_is_not_kept(ways: str) -> None:
    async def use(poller: Poller) -> Callable[[], object]:
        bell, log = Bell(), Log()
        poller.register(bell, note(log))
        await settle()
        if ways == "hang-up":
            bell.ring(is_last=True)
            await log.reach(1)
        elif ways == "failure":
            bell.break_down(OSError("broken"))
        else:
            poller.unregister(bell)
        await settle()
        return weakref.ref(bell)

    async with polling({}, handler=lambda ev, exc: None) as poller:
        await settle()
        source = await use(poller)
        await anyio.sleep(0.06)  # what is left over is looked for now and then
        gc.collect()
        assert source() is None


async def test_waiting_can_be_cancelled_and_goes_on_in_the_next_run() -> None:
    log, bell = Log(), Bell()
    poller = Poller({bell: Wire(note(log))})
    for n in (1, 2):
        async with polling(poller):
            bell.ring()
            await log.reach(n)


async def test_an_event_of_anyio_makes_a_source() -> None:
    class Changed(Readiness):
        def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
            self._wait = wait

        async def wait(self, flags: int) -> bool:
            await self._wait()
            return False

    log, event = Log(), anyio.Event()
    async with polling({Changed(event.wait): note(log, "changed")}):
        event.set()
        await log.reach(1)
        await settle()
    assert log == ["changed"]


async def test_what_goes_wrong_when_it_is_told_to_stop_is_raised() -> None:
    failures = Log()

    class Stubborn(Readiness):
        async def wait(self, flags: int) -> bool:
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("cannot stop")

    source = Stubborn()
    poller = Poller({source: immediately}, handler=lambda ev, exc: failures.append(exc))
    async with polling(poller):
        await settle()
        poller.unregister(source)
        await failures.reach(1)
    assert str(failures[0]) == "cannot stop"


async def test_a_source_that_is_ready_already_is_not_waited_for() -> None:
    log = Log()

    class Stock(Readiness):
        left = 3

        def look(self, flags: int) -> Callable[[], bool]:
            assert flags == POLLIN
            return self.take

        def take(self) -> bool:
            self.left -= 1
            return self.left >= 0

        async def wait(self, flags: int) -> bool:
            log.append("waits")
            await anyio.sleep_forever()
            return True

    async with polling({Stock(): note(log, "starts")}):
        await log.reach(4)
    assert log == ["starts"] * 3 + ["waits"]


async def test_a_source_that_was_unregistered_and_then_closed_is_no_failure() -> None:
    class Closed(Readiness):
        async def wait(self, flags: int, /) -> bool:
            poller.unregister(self)
            raise anyio.ClosedResourceError

    poller = Poller({Closed(): print})
    async with polling(poller):
        await settle()


def test_a_readiness_that_says_no_more_is_waited_for_each_time() -> None:
    class Plain(Readiness):
        async def wait(self, flags: int, /) -> bool:
            raise NotImplementedError

    source = Plain()
    assert not source.look(POLLIN)()
    assert not source.notify(POLLIN, print)
    assert source.still(POLLIN)


@pytest.mark.parametrize("edges", WAYS, indirect=True)
async def test_a_readiness_that_notifies_is_looked_at_when_it_did(edges: bool) -> None:
    """With and without the kernel's help, of which it has no need."""

    class Shop(Readiness):
        stock, waits = 0, 0
        notified: Callable[[], object] | None = None

        def deliver(self) -> None:
            self.stock += 1
            if self.notified is not None:
                notified, self.notified = self.notified, None
                notified()

        def look(self, flags: int, /) -> Callable[[], bool]:
            return lambda: self.stock > 0

        def notify(self, flags: int, function: Callable[[], object], /) -> bool:
            self.notified = function
            return True

        async def wait(self, flags: int, /) -> bool:
            self.waits += 1
            await anyio.sleep_forever()
            return True

    shop, log = Shop(), Log()

    def sell(ev: EventLoop) -> None:
        shop.stock -= 1
        log.append("sold")

    shop.deliver()
    async with polling({shop: sell}):
        for number in range(1, 6):
            await log.reach(number)
            await settle()
            assert len(log) == number
            shop.deliver()
    assert shop.waits == 0


async def test_a_look_that_fails_while_it_is_served_is_a_failure_of_the_source() -> None:
    failures, log = Log(), Log()

    class Broken(Readiness):
        is_broken = False
        notified: Callable[[], object]

        def look(self, flags: int, /) -> Callable[[], bool]:
            answers = iter([True, False, False])

            def is_ready() -> bool:
                if self.is_broken:
                    raise ValueError("broken")
                return next(answers)

            return is_ready

        def notify(self, flags: int, function: Callable[[], object], /) -> bool:
            self.notified = function
            return True

        async def wait(self, flags: int, /) -> bool:
            raise NotImplementedError

    source = Broken()
    options: Any = {"handler": lambda ev, exc: failures.append(exc)}
    async with polling({source: note(log, "start")}, **options) as poller:
        await log.reach(1)
        await settle()
        source.is_broken = True
        source.notified()
        await failures.reach(1)
        await settle()
        with pytest.raises(KeyError):
            poller.unregister(source)
    assert [repr(exc) for exc in failures] == ["ValueError('broken')"]
    assert log == ["start"]


@pytest.fixture
def edges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    return choose_way(request, monkeypatch)
