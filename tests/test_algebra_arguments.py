"""What the concurrent algebra is made of: arguments that are refused, and how wires read."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

import aiowire
from aiowire import (
    All,
    Call,
    Catch,
    Every,
    Finally,
    Forever,
    Race,
    Retry,
    Select,
    Sequence,
    Timeout,
    Wire,
    done,
    never,
)

from .support import label


def step(ev: Any) -> None:
    """A function that is a wire."""


def handler(ev: Any, exc: Exception) -> None:
    """A function that handles failures."""


async def coroutine(ev: Any) -> None:
    """A function that is called by mistake."""


#: Every place where a wire belongs, and the right call that the error shows.
PLACES: dict[str, Callable[[Any], Any]] = {
    "All({}, ...)": lambda a: All(done, a),
    "Race({}, ...)": lambda a: Race(a, done),
    "Select({}, ...)": lambda a: Select(done, done, a),
    "... & {}": lambda a: done & a,
    "{} & ...": lambda a: a & done,
    "... | {}": lambda a: done | a,
    "{} | ...": lambda a: a | done,
    "Timeout({}, seconds)": lambda a: Timeout(a, 1),
    "Timeout(a, seconds, {})": lambda a: Timeout(done, 1, a),
    "Every(seconds, {})": lambda a: Every(1, a),
    "Catch({}, handler)": lambda a: Catch(a, handler),
    "Retry({})": lambda a: Retry(a),
    "Finally({}, cleanup)": lambda a: Finally(a, done),
    "Finally(a, {})": lambda a: Finally(done, a),
}
places = pytest.mark.parametrize(("text", "make"), PLACES.items(), ids=PLACES)


@places
def test_what_is_no_wire_is_refused(text: str, make: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as info:
        make(3)
    assert str(info.value) == (
        "a wire is a callable that takes the event loop, got 3, which is not callable; "
        f"write {text.format('f')} with a function f(ev)"
    )


@places
def test_a_coroutine_object_is_closed_and_refused(text: str, make: Callable[[Any], Any]) -> None:
    made: Coroutine[Any, Any, None] = coroutine(None)
    with pytest.raises(TypeError) as info:
        make(made)
    assert str(info.value).endswith(f"write {text.format('coroutine')}")
    assert made.cr_frame is None


@pytest.mark.parametrize(
    "make", [lambda s: Timeout(done, s), lambda s: Every(s, done)], ids=["Timeout", "Every"]
)
@pytest.mark.parametrize(
    ("seconds", "error", "text"),
    [
        (-1, ValueError, "seconds is 0 seconds or more"),
        (-math.inf, ValueError, "seconds is 0 seconds or more"),
        (math.nan, ValueError, "seconds is 0 seconds or more"),
        ("1", TypeError, "seconds is a number of seconds"),
        (None, TypeError, "seconds is a number of seconds"),
        (1j, TypeError, "seconds is a number of seconds"),
        (done, TypeError, "seconds is a number of seconds"),
    ],
    ids=label,
)
def test_what_is_no_number_of_seconds_is_refused(
    make: Any, seconds: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as info:
        make(seconds)
    assert repr(seconds) in str(info.value)


@pytest.mark.parametrize("wrong", [None, 3, coroutine], ids=label)
def test_what_is_no_handler_is_refused(wrong: Any) -> None:
    given = coroutine(None) if wrong is coroutine else wrong
    with pytest.raises(TypeError, match=r"a function of \(ev, exc\)"):
        Catch(done, given)


@pytest.mark.parametrize(
    "make",
    [lambda on: Catch(done, handler, on), lambda on: Retry(done, on)],
    ids=["Catch", "Retry"],
)
@pytest.mark.parametrize(
    "on", [OSError(), None, (OSError, 3), [OSError], BaseException, int], ids=label
)
def test_what_is_no_class_of_failures_is_refused(make: Any, on: Any) -> None:
    with pytest.raises(TypeError, match="on is a class of exceptions or a tuple of them, got"):
        make(on)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"attempts": 0}, ValueError, "attempts is 1 or more, the first one included, got 0"),
        ({"attempts": -1}, ValueError, "-1 times"),
        ({"attempts": 1.5}, ValueError, "whole number of times, got 1.5"),
        ({"attempts": math.nan}, ValueError, "whole number of times, got nan"),
        ({"attempts": "3"}, TypeError, "whole number of times, got '3'"),
        ({"timeout": -1}, ValueError, "timeout is 0 seconds or more"),
        ({"timeout": "1"}, TypeError, "timeout is a number of seconds"),
        ({"wait_initial": -1}, ValueError, "wait_initial is 0 seconds or more"),
        ({"wait_max": math.nan}, ValueError, "wait_max is 0 seconds or more"),
        ({"wait_jitter": 1.1}, ValueError, "wait_jitter is a number from 0 to 1, got 1.1"),
        ({"wait_jitter": math.nan}, ValueError, "wait_jitter is a number from 0 to 1, got nan"),
        ({"wait_jitter": "x"}, TypeError, "wait_jitter is a number from 0 to 1, got 'x'"),
        ({"intensity": 3}, TypeError, "intensity is .* or None, got 3"),
        ({"intensity": (1, 2, 3)}, TypeError, "intensity is .* or None, got"),
        ({"intensity": (-1, 2)}, ValueError, "-1 times"),
        ({"intensity": (1, -2)}, ValueError, "the seconds of intensity is 0 seconds or more"),
    ],
    ids=label,
)
def test_numbers_of_a_retry_that_make_no_sense_are_refused(
    options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Retry(done, **options)


def test_operators_take_plain_functions_on_either_side() -> None:
    assert repr(step & done) == "step & done"
    assert repr(step | done) == "step | done"
    assert isinstance(done & step, All)
    assert isinstance(done | step, Race)


WIRES = [
    All(),
    All(done),
    All(step, done),
    done & never,
    done & step,
    Race(),
    Race(step, step),
    done | never,
    (done & never) | (never & done),
    (done >> never) & (never * 3),
    done * 2 | Forever(never) | never,
    Select(),
    Select(step, done & never),
    Timeout(done, 5),
    Timeout(step, 0.5, never),
    Timeout(done >> never, math.inf, done | never),
    Every(1.5, done & never),
    Every(0, step),
    Catch(done, handler),
    Catch(done & never, handler, OSError),
    Catch(step, handler, on=(OSError, KeyError)),
    Catch(step, handler, on=(OSError,)),
    Retry(done),
    Retry(step, OSError),
    Retry(done >> never, on=(OSError, KeyError), attempts=3),
    Retry(done, attempts=math.inf),
    Finally(done, step),
    Finally(done & never, done | never),
    Forever(Select(Call(anyio.sleep, 1), done)),
]


@pytest.mark.parametrize("wire", WIRES, ids=map(repr, WIRES))
def test_a_wire_reads_as_the_expression_that_makes_it_again(wire: Wire) -> None:
    names = {**vars(aiowire), "step": step, "handler": handler, "inf": math.inf}
    text = repr(wire)
    again = eval(text, {**names, "sleep": anyio.sleep})
    assert type(again) is type(wire)
    assert repr(again) == text
    assert structure(again) == structure(wire)


def structure(wire: Any) -> Any:
    """Give what a wire is made of, so that two can be compared."""
    if isinstance(wire, tuple):
        return [structure(each) for each in wire]
    if not isinstance(wire, Wire) or wire in (done, never):
        return wire
    slots = [slot for kind in type(wire).__mro__ for slot in getattr(kind, "__slots__", ())]
    found = [getattr(wire, slot) for slot in slots if hasattr(wire, slot)]
    return [type(wire), *map(structure, found)]


def test_building_a_wire_runs_nothing() -> None:
    log: list[int] = []
    a = Call(log.append, 1)
    for make in PLACES.values():
        make(a)
    assert Sequence(a)
    assert log == []
