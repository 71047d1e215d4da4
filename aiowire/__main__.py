"""The command: ``aiowire run module:wire``, also as ``python -m aiowire run module:wire``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

import anyio

from ._check import check_seconds, check_wire
from ._errors import UnhandledException, bare
from ._loop import EventLoop
from ._run import backend_of
from ._signals import Signals
from ._wire import AnyWire

__all__ = ["main"]

FINISHED, FAILED, WRONG_USAGE, TIMED_OUT = 0, 1, 2, 124
BACKENDS = ("asyncio", "uvloop", "trio")
EXAMPLE = "write: aiowire run module:wire, or: aiowire run file.py:wire"
STATUSES = """exit status: 0 finished, 1 failed, 2 wrong usage, 124 timed out, 130 stopped by Ctrl-C
(SIGINT), 143 stopped by SIGTERM, always after everything has been cleaned up"""


class UsageError(Exception):
    """The command was called wrongly; the text says what to write instead."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {EXAMPLE}")


def main(args: list[str] | None = None) -> int:
    """Run the command, and give back the exit status.

    :param args: the arguments, without the name of the program; ``None`` for those of the process
    :raises SystemExit: when the wire did, and after ``--help``
    """
    # One that is ignored, as a shell does for its background jobs, stays so.
    both = (signal.SIGINT, signal.SIGTERM)
    signals = Signals(*(n for n in both if signal.getsignal(n) is not signal.SIG_IGN))
    with signals.handled(leave):
        try:
            options = parse(sys.argv[1:] if args is None else args)
            wire = load(options.target)
        except UsageError as exc:
            print("aiowire:", " ".join(str(exc).split()), file=sys.stderr)
            return WRONG_USAGE
        except Exception as exc:
            show(exc)
            return FAILED
        with signals.handled(signals.note):
            return execute(wire, options.backend, options.timeout, signals)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal while nothing runs yet."""
    sys.exit(128 + number)


def parse(args: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    about = "Run a wire, and all that it starts, to the end."
    parser = Parser(prog="aiowire", description=about, epilog=STATUSES)
    parser.add_argument("command", metavar="run", choices=["run"], help="the one command there is")
    where = "a wire, or another function of ev; also package.module:wire, file.py:wire"
    parser.add_argument("target", metavar="module:wire", help=where)
    loops = "the event loop to run on: %(choices)s (default: %(default)s)"
    parser.add_argument(
        "--backend", metavar="NAME", choices=BACKENDS, default=BACKENDS[0], help=loops
    )
    limit = "cancel everything after S seconds (default: no limit)"
    parser.add_argument("--timeout", metavar="S", type=seconds, help=limit)
    options = parser.parse_args(args)
    if importlib.util.find_spec(options.backend) is None:
        raise UsageError(f"{options.backend} is missing: pip install aiowire[{options.backend}]")
    return options


def seconds(text: str) -> float:
    """Read a number of seconds."""
    try:
        return check_seconds(float(text), "--timeout")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None


def load(target: str) -> AnyWire:
    """Find the wire that ``module:wire`` or ``file.py:wire`` names."""
    place, _, names = target.rpartition(":")
    if not (place and names):
        raise UsageError(f"{target!r} names no wire; {EXAMPLE}")
    found: Any = load_file(place) if place.endswith(".py") else load_module(place)
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise UsageError(f"{place!r} has no {names!r}; {EXAMPLE}") from None
    try:
        check_wire(found, f"aiowire run {place}:{{wire}}")
    except TypeError as exc:
        raise UsageError(f"{target!r}: {exc}") from None
    wire: AnyWire = found
    return wire


def load_module(name: str) -> ModuleType:
    """Import a module as ``python -m`` does: from the current folder too."""
    sys.path.insert(0, os.getcwd())
    if name.startswith("."):
        raise UsageError(f"{name!r} is relative to no package; {EXAMPLE}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name + ".").startswith(exc.name + "."):
            raise UsageError(f"there is no module {name!r}; {EXAMPLE}") from None
        raise


def load_file(name: str) -> ModuleType:
    """Run a file as ``python`` does: what lies beside it can be imported."""
    path = Path(name).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {name!r}; {EXAMPLE}")
    sys.path.insert(0, str(path.parent))
    title = path.stem
    while title in sys.modules:  # signal.py, for one, must not replace the module of that name
        title += "_"
    spec: Any = importlib.util.spec_from_file_location(title, path)
    module = sys.modules[title] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def execute(wire: AnyWire, backend: str, timeout: float | None, signals: Signals) -> int:
    """Run a wire, show what failed, and give back the exit status."""
    loop = EventLoop(timeout)

    async def session() -> BaseException | None:
        try:
            async with signals.cancelling(), loop:
                loop.start(wire)
        except BaseException as exc:
            return exc
        return None

    name, options = backend_of(backend, None)
    failure = anyio.run(session, backend=name, backend_options=options)
    if failure is not None:
        show(failure)
    if isinstance(failure, SystemExit):
        raise failure
    if signals.first or isinstance(failure, KeyboardInterrupt):
        return 128 + (signals.first or signal.SIGINT)
    if loop.timed_out:
        print(f"aiowire: timed out after {timeout:g} s", file=sys.stderr)
        return TIMED_OUT
    return FINISHED if failure is None else FAILED


def show(failure: BaseException) -> None:
    """Print a failure, but of an interrupt only what failed besides."""
    shown: BaseException | None = bare(failure)
    if isinstance(shown, (KeyboardInterrupt, SystemExit)):
        shown = shown.__cause__
    if isinstance(shown, UnhandledException):
        shown.__cause__ = None  # which would be shown twice: it is one of the group
    if shown is not None:
        traceback.print_exception(shown)


if __name__ == "__main__":
    sys.exit(main())
