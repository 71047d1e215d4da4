"""What a poller refuses, and in which words: the same on every backend."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from aiowire import POLLIN, POLLOUT, EventLoop, Poller


def wire(ev: EventLoop) -> None:
    """A wire that is not started."""


class NoNumber:
    """An object whose descriptor is none."""

    def __init__(self, number: object) -> None:
        self.number = number

    def fileno(self) -> object:
        return self.number

    def __repr__(self) -> str:
        return f"NoNumber({self.number!r})"


REFUSED: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a negative number": (lambda: Poller({-1: wire}), ValueError, "-1 cannot be polled"),
    "a number that is not open": (
        lambda: Poller({9999: wire}),
        ValueError,
        "9999 cannot be polled: descriptor 9999 is not open",
    ),
    "a huge number": (lambda: Poller({1 << 80: wire}), ValueError, "cannot be polled"),
    "no source": (lambda: Poller({None: wire}), ValueError, "None cannot be polled: a source is"),
    "a name": (lambda: Poller({"stdin": wire}), ValueError, "'stdin' cannot be polled"),
    "a number that is not whole": (lambda: Poller({0.0: wire}), ValueError, "0.0 cannot be polled"),
    "a fileno that is None": (
        lambda: Poller({NoNumber(None): wire}),
        ValueError,
        r"NoNumber\(None\) cannot be polled",
    ),
    "a fileno that is negative": (
        lambda: Poller({NoNumber(-1): wire}),
        ValueError,
        r"NoNumber\(-1\) cannot be polled: it is closed",
    ),
    "a closed file": (lambda: Poller({closed_file(): wire}), ValueError, "cannot be polled"),
    "no mapping": (lambda: Poller([0]), TypeError, r"mapping .*, got \[0\]"),
    "a wire that is none": (lambda: Poller({0: 3}), TypeError, "got 3, which is not callable"),
    "a coroutine object": (
        lambda: Poller({0: coroutine()}),
        TypeError,
        r"write poller.register\(source, coroutine\)",
    ),
    "no flags": (lambda: Poller({}, 0), ValueError, "flags are POLLIN .* got 0"),
    "POLLPRI": (lambda: Poller({}, 32), ValueError, "got 32"),
    "POLLERR": (lambda: Poller({}).register(0, wire, 4), ValueError, "got 4"),
    "flags by name": (lambda: Poller({}).register(0, wire, "in"), ValueError, "got 'in'"),
    "POLLIN | POLLPRI": (lambda: Poller({}).register(0, wire, 33), ValueError, "got 33"),
    "interval 0": (lambda: Poller({}, 1, 0), ValueError, "interval is more than 0 .* got 0"),
    "a negative interval": (lambda: Poller({}, 1, -5), ValueError, "got -5"),
    "interval NaN": (lambda: Poller({}, 1, float("nan")), ValueError, "got nan"),
    "interval by name": (lambda: Poller({}, 1, "1"), TypeError, "interval is a number .* got '1'"),
    "a handler that is none": (lambda: Poller({}, handler=1), TypeError, "a handler is .* got 1"),
    "limit 0": (lambda: Poller({}, limit=0), ValueError, "limit is 1 or more, .* got 0"),
    "a limit that is not whole": (lambda: Poller({}, limit=1.5), TypeError, "whole .* got 1.5"),
    "a stranger": (lambda: Poller({}).unregister(0), KeyError, "0 is not registered"),
    "a closed stranger": (lambda: Poller({}).unregister(9999), KeyError, "9999 is not registered"),
    "no source at all": (lambda: Poller({}).unregister("x"), KeyError, "'x' is not registered"),
    "the same source again": (
        lambda: register_again(0, POLLIN),
        IndexError,
        r"0 has a wire for POLLIN already, wire; unregister it first",
    ),
    "the same direction again": (
        lambda: register_again(0, POLLIN | POLLOUT),
        IndexError,
        "has a wire for POLLIN already",
    ),
}


def closed_file() -> Any:
    with open(os.devnull) as file:
        pass
    return file


async def coroutine() -> None:
    """Written with a call too many."""


def register_again(source: Any, flags: int) -> None:
    poller = Poller({source: wire})
    poller.register(source, wire, flags)


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_polled_is_refused_before_any_event_loop_runs(
    call: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_polled_is_refused_in_the_same_words_on_every_backend(
    call: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
