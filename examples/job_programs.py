"""The programs that the job server may run. Nothing else is ever started.

A client names one of these, and gives arguments only where the program takes any. Each argument
is checked, and becomes one item of the command line: no shell ever sees it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["PROGRAMS", "Argument", "Program", "python", "whole"]

#: Gives back an argument in its plainest form, or says in a ValueError what it should be.
Argument: TypeAlias = Callable[[bytes], str]


@dataclass(frozen=True)
class Program:
    """A program that clients may run: its command, its arguments, and its time limit."""

    command: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()
    seconds: float = 60.0

    def command_line(self, given: Sequence[bytes]) -> list[str]:
        """Give the command line for these arguments.

        :raises ValueError: when their number is wrong, or one of them is refused
        """
        if len(given) != (number := len(self.arguments)):
            noun = "argument" if number == 1 else "arguments"
            raise ValueError(f"it takes {number} {noun}, not {len(given)}")
        checked = [check(each) for check, each in zip(self.arguments, given, strict=True)]
        return [*self.command, *checked]


def whole(low: int, high: int) -> Argument:
    """Make an argument that is a whole number within these bounds."""

    def check(given: bytes) -> str:
        if given.isdigit() and len(given) < 10 and low <= int(given) <= high:
            return str(int(given))
        raise ValueError(f"its argument is a whole number from {low} to {high}")

    return check


def python(code: str, *arguments: Argument, seconds: float = 60.0) -> Program:
    """Make a program of a few lines of Python, whose output is not held back."""
    return Program((sys.executable, "-u", "-c", code), arguments, seconds)


COUNT = """
import sys, time
for number in range(int(sys.argv[1])):
    print(number + 1)
    time.sleep(0.2)
"""

FACTORS = """
import sys
n, factor = int(sys.argv[1]), 2
while n > 1:
    if n % factor:
        factor += 1
    else:
        print(factor)
        n //= factor
"""

FAIL = """
import sys
print("about to fail")
sys.exit("this went wrong")
"""

#: The table. Each server may have one of its own.
PROGRAMS: dict[str, Program] = {
    "hello": python("print('Hello from a program of the job server.')"),
    "count": python(COUNT, whole(1, 1000), seconds=300),
    "factors": python(FACTORS, whole(2, 10**9)),
    "calendar": Program((sys.executable, "-m", "calendar"), (whole(1, 9999),)),
    "sleep": python("import sys, time; time.sleep(int(sys.argv[1]))", whole(0, 3600), seconds=1),
    "fail": python(FAIL),
}
