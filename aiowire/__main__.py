"""The command: ``aiowire run module:wire``, also as ``python -m aiowire run module:wire``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import anyio

from ._call import Call
from ._check import check_seconds
from ._loop import EventLoop
from ._run import backend_of
from ._wire import AnyWire

__all__ = ["main"]

FINISHED, FAILED, WRONG_USAGE, TIMED_OUT = 0, 1, 2, 124
BACKENDS = ("asyncio", "uvloop", "trio")
EXAMPLE = "write: aiowire run module:wire, or: aiowire run file.py:wire"


class UsageError(Exception):
    """The command was called wrongly; the text says what to write instead."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {EXAMPLE}")


def main(args: list[str] | None = None) -> int:
    """Run the command.

    :param args: the arguments, without the name of the program; ``None`` for those of the process
    :return: the exit status: 0 finished, 1 failed, 2 wrong usage, 124 timed out, 130 and 143
        stopped by SIGINT and SIGTERM
    """
    try:
        options = parse(sys.argv[1:] if args is None else args)
        wire = load(options.target)
    except UsageError as exc:
        print(f"aiowire: {exc}", file=sys.stderr)
        return WRONG_USAGE
    except Exception:
        traceback.print_exc()
        return FAILED
    return execute(wire, options.backend, options.timeout)


def parse(args: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = Parser(prog="aiowire", description="Run wires.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="run")
    run = commands.add_parser(
        "run", help="run a wire until it ends", description="Run a wire until it ends."
    )
    run.add_argument(
        "target",
        metavar="module:wire",
        help="a wire, or an async function that takes ev; also file.py:wire",
    )
    run.add_argument(
        "--backend",
        choices=BACKENDS,
        default="asyncio",
        help="the event loop to run on (default: %(default)s)",
    )
    run.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help="cancel everything after S seconds, and exit with status 124",
    )
    return parser.parse_args(args)


def seconds(text: str) -> float:
    """Read a number of seconds from the command line."""
    try:
        return check_seconds(float(text), "--timeout")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None


def load(target: str) -> AnyWire:
    """Find the wire that ``module:wire`` or ``file.py:wire`` names."""
    place, colon, names = target.rpartition(":")
    if not (place and names):
        raise UsageError(f"{target!r} names no wire; {EXAMPLE}")
    found: object = load_file(place) if place.endswith(".py") else load_module(place)
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise UsageError(f"{place!r} has no {names!r}; {EXAMPLE}") from None
    if not callable(found):
        raise UsageError(
            f"{target!r} is {found!r}, which is no wire; name a wire or a function of ev"
        )
    wire: AnyWire = found
    return wire


def load_module(name: str) -> ModuleType:
    """Import a module as ``python -m`` does: from the current folder too."""
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name + ".").startswith(exc.name + "."):
            raise UsageError(f"there is no module {name!r}; {EXAMPLE}") from None
        raise


def load_file(name: str) -> ModuleType:
    """Run a file as ``python`` does: what lies beside it can be imported."""
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no file {name!r}; {EXAMPLE}")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def execute(wire: AnyWire, backend: str, timeout: float | None) -> int:
    """Run the wire and give back the exit status."""
    status = FINISHED

    async def stop_on_sigterm(ev: EventLoop, ready: anyio.Event) -> None:
        nonlocal status
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            ready.set()
            async for _ in signals:
                status = 128 + signal.SIGTERM
                ev.cancel()

    async def session() -> None:
        nonlocal status
        ready = anyio.Event()
        async with EventLoop() as outer:
            async with EventLoop(timeout) as ev:
                watcher = outer.start(Call(stop_on_sigterm, ev, ready))
                await ready.wait()
                ev.start(wire)
            watcher.cancel()
        if ev.timed_out:
            print(f"aiowire: timed out after {timeout:g} s", file=sys.stderr)
            status = TIMED_OUT

    name, options = backend_of(backend, None)
    try:
        anyio.run(session, backend=name, backend_options=options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except LookupError as exc:
        print(f"aiowire: {exc}", file=sys.stderr)
        return WRONG_USAGE
    except Exception:
        traceback.print_exc()
        return status or FAILED
    return status


if __name__ == "__main__":
    sys.exit(main())
