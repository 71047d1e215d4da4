"""What can be set from outside, and how the programs of the cluster talk to people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Say", "Settings", "in_words", "say"]

#: Gets a line whenever something happens.
Say: TypeAlias = Callable[[str], object]


@dataclass(frozen=True)
class Settings:
    """What can be set."""

    broker: str = "tcp://127.0.0.1:5680"  # where the broker listens, and all others find it
    name: str = ""  # for people to tell programs apart; made up from the process if there is none
    jobs: int = 100  # how many a client has
    ms: int = 20  # how long, in milliseconds, a worker takes for one

    @staticmethod
    def from_environment() -> Settings:
        """Take CLUSTER_BROKER, CLUSTER_NAME, CLUSTER_JOBS and CLUSTER_MS where they are set."""
        default, get = Settings(), os.environ.get
        return Settings(
            get("CLUSTER_BROKER", default.broker),
            get("CLUSTER_NAME", "") or f"p{os.getpid()}",
            whole("CLUSTER_JOBS", default.jobs),
            whole("CLUSTER_MS", default.ms),
        )


def whole(name: str, default: int) -> int:
    """Take a whole number from the environment."""
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise SystemExit(f"{name} is a whole number, not {text!r}")
    return int(text)


def in_words(counts: Mapping[str, int]) -> str:
    """Say counts in one line."""
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def say(who: str, text: str) -> None:
    """Print a line. The programs go on where nobody reads it any more."""
    with suppress(BrokenPipeError):
        print(f"{who:6} | {text}", flush=True)
