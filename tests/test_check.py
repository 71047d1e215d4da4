"""Arguments that are refused: with which error, in which words, and where."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import aiowire
from aiowire import Call, EventLoop, Forever, Repeat, Sequence, Wire, done

from .support import label


async def f(ev: Any, *args: Any) -> None:
    """A wire."""


#: What takes a wire, and what it tells a user to write.
TAKES_A_WIRE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "start": (lambda w: EventLoop().start(w), "ev.start(f)"),
    "run": (lambda w: aiowire.run(w), "aiowire.run(f)"),
    "run, further": (lambda w: aiowire.run(done, w), "aiowire.run(f)"),
    ">>": (lambda w: done >> w, "... >> f"),
    "reflected >>": (lambda w: w >> done, "f >> ..."),
    "Sequence": (lambda w: Sequence(done, w), "Sequence(f, ...)"),
    "Repeat": (lambda w: Repeat(w, 2), "Repeat(f, n)"),
    "Forever": (lambda w: Forever(w), "Forever(f)"),
}
#: What takes a function to call.
TAKES_A_FUNCTION: dict[str, Callable[[Any], Any]] = {
    "Wire": lambda w: Wire(w, 1),
    "Call": lambda w: Call(w, 1),
    "then": lambda w: Call(print).then(w),
}


class TestWhereAWireBelongs:
    @pytest.mark.parametrize(("use", "right"), TAKES_A_WIRE.values(), ids=TAKES_A_WIRE)
    def test_a_coroutine_object_is_closed_and_the_right_call_shown(
        self, use: Callable[[Any], Any], right: str
    ) -> None:
        stray = f(None)
        with pytest.raises(TypeError) as info:
            use(stray)
        assert inspect.getcoroutinestate(stray) == inspect.CORO_CLOSED
        assert "coroutine object of a call that was already made, f(...)" in str(info.value)
        assert str(info.value).endswith(f"write {right}")

    @pytest.mark.parametrize("junk", [3, "f", None, [f]], ids=label)
    @pytest.mark.parametrize(("use", "right"), TAKES_A_WIRE.values(), ids=TAKES_A_WIRE)
    def test_what_is_not_callable_is_shown_with_the_right_call(
        self, use: Callable[[Any], Any], right: str, junk: Any
    ) -> None:
        if junk is None and right == "ev.start(f)":
            assert use(None) is None
            return
        with pytest.raises(TypeError) as info:
            use(junk)
        assert f"got {junk!r}, which is not callable" in str(info.value)
        assert str(info.value).endswith(f"write {right} with a function f(ev)")


class TestWhereAFunctionBelongs:
    @pytest.mark.parametrize(("user", "use"), TAKES_A_FUNCTION.items(), ids=TAKES_A_FUNCTION)
    def test_a_coroutine_object_is_closed_and_the_right_call_shown(
        self, user: str, use: Callable[[Any], Any]
    ) -> None:
        stray = f(None)
        with pytest.raises(TypeError, match=rf"^{user}\(f, \.\.\.\) calls f itself.*f\(\.\.\.\)"):
            use(stray)
        assert inspect.getcoroutinestate(stray) == inspect.CORO_CLOSED

    @pytest.mark.parametrize("use", TAKES_A_FUNCTION.values(), ids=TAKES_A_FUNCTION)
    def test_what_is_not_callable_is_shown(self, use: Callable[[Any], Any]) -> None:
        with pytest.raises(TypeError, match="got 3, which is not callable"):
            use(3)

    def test_a_coroutine_object_as_handler_is_closed(self) -> None:
        stray = f(None)
        with pytest.raises(TypeError, match=r"handler is a function of \(ev, exc\)"):
            EventLoop().start(done, stray)  # type: ignore[arg-type]
        assert inspect.getcoroutinestate(stray) == inspect.CORO_CLOSED


class TestNumbersOfTimes:
    @pytest.mark.parametrize("n", [0, 1, True, 10**30, math.inf, Decimal("inf")], ids=label)
    def test_good(self, n: Any) -> None:
        assert isinstance(done * n, Repeat)
        assert isinstance(n * done, Repeat)
        assert isinstance(Repeat(done, n), Repeat)

    @pytest.mark.parametrize(
        ("n", "error"),
        [
            (-1, ValueError),
            (0.5, ValueError),
            (2.0, ValueError),
            (math.nan, ValueError),
            (-math.inf, ValueError),
            ("2", TypeError),
            (None, TypeError),
            (done, TypeError),
            (1j, TypeError),
        ],
        ids=label,
    )
    def test_bad(self, n: Any, error: type[Exception]) -> None:
        for make in (lambda: done * n, lambda: Repeat(done, n)):
            with pytest.raises(error, match="repeated") as info:
                make()
            assert repr(n) in str(info.value)

    @pytest.mark.parametrize(
        "use",
        [
            lambda a, b: Sequence(a, b),
            lambda a, b: aiowire.run(a, b),
            lambda a, b: done * a >> done * b,
            lambda a, b: Repeat(f, a),
            lambda a, b: EventLoop(a),
        ],
        ids=["Sequence", "run", "*", "Repeat", "EventLoop"],
    )
    def test_stray_coroutine_objects_are_closed(self, use: Callable[..., Any]) -> None:
        strays = [f(1), f(2)]
        with pytest.raises(TypeError):
            use(*strays)
        assert inspect.getcoroutinestate(strays[0]) == inspect.CORO_CLOSED
        strays[1].close()

    def test_stray_coroutine_objects_among_many_are_closed(self) -> None:
        strays = [f(1), f(2)]
        with pytest.raises(TypeError):
            Sequence(*strays)  # type: ignore[arg-type]
        assert {*map(inspect.getcoroutinestate, strays)} == {inspect.CORO_CLOSED}


class TestNumbersOfSeconds:
    @pytest.mark.parametrize(
        "seconds", [None, math.inf, 0, 0.5, True, Fraction(1, 3), Decimal("0.1")], ids=label
    )
    def test_good(self, seconds: Any) -> None:
        assert EventLoop(seconds).timeout == seconds

    @pytest.mark.parametrize(
        ("seconds", "error"),
        [
            (-1, ValueError),
            (-math.inf, ValueError),
            (math.nan, ValueError),
            ("1", TypeError),
            (b"1", TypeError),
            (1j, TypeError),
            (f, TypeError),
            ([], TypeError),
            (10**400, TypeError),
        ],
        ids=label,
    )
    def test_bad(self, seconds: Any, error: type[Exception]) -> None:
        for use in (
            lambda: EventLoop(seconds),
            lambda: EventLoop(timeout=seconds),
            lambda: aiowire.run(done, timeout=seconds),
        ):
            with pytest.raises(error, match=r"^timeout is ") as info:
                use()
            assert repr(seconds) in str(info.value)

    async def test_bad_for_run(self) -> None:
        async with EventLoop() as ev:
            with pytest.raises(ValueError, match=r"timeout is 0 seconds or more.* got -1"):
                await ev.run(-1)


class TestResults:
    """What a step gives back that is neither ``None`` nor a wire."""

    @staticmethod
    async def failure_of(wire: Any) -> Exception:
        failures: list[Exception] = []
        async with EventLoop() as ev:
            ev.start(wire, lambda ev, exc: failures.append(exc))
        return failures.pop()

    @pytest.mark.parametrize("junk", [3, "", [], 0, (f,)], ids=label)
    async def test_name_the_wire_and_the_value(self, junk: Any) -> None:
        def handle_req(ev: Any) -> Any:
            return junk

        async def slow(ev: Any) -> Any:
            return junk

        wires = {
            handle_req: "handle_req",
            slow: "slow",
            Wire(handle_req): "handle_req",
            done >> handle_req: "handle_req",
            Call(print, end="").then(lambda _: junk): "Call(print, end='').then(<lambda>)",
        }
        for wire, name in wires.items():
            exc = await self.failure_of(wire)
            assert type(exc) is TypeError
            assert str(exc) == (
                f"wire {name!r} returned {junk!r}; a wire returns None or another wire"
            )

    async def test_are_refused_at_the_call_of_a_composed_wire_too(self) -> None:
        with pytest.raises(TypeError, match="wire '<lambda>' returned 3"):
            await Sequence(lambda ev: 3, done)(None)  # type: ignore[arg-type]

    async def test_a_coroutine_object_is_closed(self) -> None:
        strays = []

        async def forgot_await(ev: Any) -> Any:
            strays.append(f(ev))
            return strays[0]

        exc = await self.failure_of(forgot_await)
        assert "wire 'forgot_await' returned <coroutine object" in str(exc)
        assert inspect.getcoroutinestate(strays[0]) == inspect.CORO_CLOSED

    async def test_of_a_handler_are_refused_in_the_same_words(self) -> None:
        def fail(ev: Any) -> None:
            raise ValueError

        def handle(ev: Any, exc: Exception) -> Any:
            return 3

        with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="'handle' returned 3")):
            async with EventLoop() as ev:
                ev.start(fail, handle)

    async def test_are_refused_also_where_they_have_no_repr(self) -> None:
        class Mute:
            def __repr__(self) -> str:
                raise ZeroDivisionError

        exc = await self.failure_of(lambda ev: Mute())
        assert "returned <Mute whose repr is a ZeroDivisionError>" in str(exc)

    async def test_an_async_generator_is_junk(self) -> None:
        async def generator(ev: Any) -> Any:
            yield

        exc = await self.failure_of(generator)
        assert "returned <async_generator object" in str(exc)


async def test_errors_are_raised_at_the_callers_line() -> None:
    async with EventLoop() as ev:
        calls: dict[Callable[..., Any], tuple[Any, ...]] = {
            ev.start: (3,),
            Forever: (3,),
            Wire: (3,),
            EventLoop: (-1,),
        }
        for call, args in calls.items():
            with pytest.raises((TypeError, ValueError)) as info:
                call(*args)
            assert info.traceback[0].path.name == "test_check.py"
            assert len(info.traceback) <= 3
