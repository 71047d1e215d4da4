"""What goes wrong: the exceptions of the library and the notes that failures carry."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from types import CodeType
from typing import TypeVar, cast

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

__all__ = ["UnhandledException"]

# A failure's note is for reading: a program of 100,000 parts is cut in the middle.
_brief = reprlib.Repr()
_brief.maxother = 1000


class UnhandledException(ExceptionGroup[Exception]):
    """The failures of wires that nobody handled, all of them, in the order they happened.

    It is raised where the block of an :class:`~aiowire.EventLoop` is left. The first failure
    is also its ``__cause__``. Being an :class:`ExceptionGroup`, it can be taken apart with
    ``except*``.
    """

    def derive(self, excs: SequenceOf[Exception], /) -> UnhandledException:  # type: ignore[override]
        return UnhandledException(self.message, excs)


def unhandled(failures: SequenceOf[Exception]) -> UnhandledException:
    """Make the group of these failures, with the first one as its cause."""
    number = "a wire" if len(failures) == 1 else f"{len(failures)} wires"
    group = UnhandledException(f"{number} failed with no handler", failures)
    group.__cause__ = failures[0]
    return group


def members(exc: BaseException) -> tuple[BaseException, ...]:
    """Give the exceptions right in a group, which has at least one; none if it is no group."""
    if isinstance(exc, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", exc).exceptions
    return ()


E = TypeVar("E", bound=BaseException)


def bare(exc: E) -> E:
    """Take a single failure out of the group, or the groups in groups, that hold it."""
    while len(inner := members(exc)) == 1:
        exc = cast("E", inner[0])  # what is in a group of failures is a failure
    return exc


def sort_out(
    exc: BaseException,
) -> tuple[Exception | None, list[BaseException]]:
    """Part an exception into the failure in it, which may be a group, and all others, singly.

    The others are those that are no :exc:`Exception`: cancellation, :exc:`KeyboardInterrupt`,
    :exc:`SystemExit` and the like.
    """
    if isinstance(exc, Exception):
        return exc, []
    if not isinstance(exc, BaseExceptionGroup):
        return None, [exc]
    failure, rest = cast("BaseExceptionGroup[BaseException]", exc).split(Exception)
    return failure, [] if rest is None else list(leaves(rest))


def parted(
    raised: Iterable[BaseException], cancellation: type[BaseException]
) -> tuple[list[Exception], list[BaseException]]:
    """Part what was raised into failures and interrupts, and leave out cancellation."""
    failures: list[Exception] = []
    interrupts: list[BaseException] = []
    for exc in raised:
        failure, others = sort_out(exc)
        failures += [] if failure is None else [failure]
        interrupts += [each for each in others if not isinstance(each, cancellation)]
    return failures, interrupts


def hung_on(interrupts: Iterable[BaseException]) -> list[Exception]:
    """Give the failures that interrupts, raised from them, bring along from loops inside."""
    causes = [each.__cause__ for each in interrupts]
    found = [members(cause) or (cause,) for cause in causes if isinstance(cause, Exception)]
    return cast("list[Exception]", [each for inner in found for each in inner])


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """Give the exceptions in a group, and in the groups in it, that are no groups."""
    inner = members(exc)
    for each in inner:
        yield from leaves(each)
    if not inner:
        yield exc


def line_of(code: CodeType, offset: int) -> int:
    """Give the source line of the instruction at this offset.

    It is worked out only when somebody asks: a wire is started a million times for each time
    that one fails, and keeping two numbers costs less than looking up a line.
    """
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def annotate(exc: BaseException, wire: object, code: CodeType, offset: int) -> None:
    """Note on a failure which wire it ended and where the chain of that wire was started."""
    where = f"{code.co_filename}:{line_of(code, offset)}"
    note = f"in wire {_brief.repr_instance(wire, 1)}, started at {where}"
    given: object = exc.__dict__.get("__notes__")  # add_note() is missing before Python 3.11
    notes = cast("list[str]", given) if isinstance(given, list) else []
    if note not in notes:
        exc.__dict__["__notes__"] = [*notes, note]
