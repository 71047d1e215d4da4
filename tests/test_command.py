"""``aiowire run``: what it finds, what it says, and the status that it ends with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

import aiowire
from aiowire.__main__ import main

JOBS = """\
import asyncio
import gc
import sys

import anyio

from aiowire import Call, EventLoop, Wire


async def function(ev):
    await anyio.sleep(0)
    print("ran")


def plain(ev):
    return Call(print, "ran")


def rest(ev):
    ev.start(function)


composed = Call(anyio.sleep, 0) >> (Call(print, end="") * 3 >> plain)


class Table:
    wires = composed

    @staticmethod
    def run(ev):
        return Table.wires


class Step(Wire):
    def __init__(self):
        pass

    def __call__(self, ev):
        return function


step = Step()


async def which(ev):
    name = anyio.get_cancelled_exc_class().__module__.partition(".")[0].strip("_")
    if name == "asyncio":
        name = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    print(name)


async def fail(ev):
    print("ran")
    raise ValueError("as it must")


async def fail_at_end(ev, text="in clean-up"):
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError(text)


def fail_twice(ev):
    ev.start(Wire(fail_at_end, "one"))
    ev.start(Wire(fail_at_end, "two"))
    return Call(anyio.sleep, 0.01) >> fail


def leave(ev, status=5):
    ev.start(Call(print, "ran"))
    return Call(anyio.sleep, 0.01) >> Call(sys.exit, status)


def leave_with_words(ev):
    return Wire(leave, "some words")


def leave_in_trouble(ev):
    ev.start(fail_at_end)
    return leave


async def leave_in_nested_loops(ev):
    async with EventLoop() as outer:
        outer.start(fail_at_end)
        async with EventLoop() as inner:
            inner.start(leave_in_trouble)


def interrupt(ev):
    raise KeyboardInterrupt


def interrupt_in_trouble(ev):
    ev.start(fail_at_end)
    return Call(anyio.sleep, 0.01) >> interrupt


class Odd(BaseException):
    pass


def odd(ev):
    raise Odd("indeed")


class Wide:
    def __repr__(self):
        return "wide\\nand high"


number = 3
wide = Wide()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a program in it; what is imported from there is forgotten."""
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class Result(NamedTuple):
    status: object
    out: str
    err: str


@pytest.fixture
def aiowire_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command in this process."""

    def run(*args: str) -> Result:
        try:
            status: object = main(["run", *args])
        except SystemExit as exc:
            status = exc.code
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def spawn_aiowire_run(folder: Path) -> Callable[..., Result]:
    """Run the command in a process of its own, which takes longer, but is the real thing."""
    env = os.environ | {"PYTHONPATH": str(Path(aiowire.__file__).parents[1])}

    def run(*args: str, start: tuple[str, ...] = ("-m", "aiowire")) -> Result:
        command = [sys.executable, "-W", "error", *start, "run", *args]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=30, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


Run = Callable[..., Result]


# What can be run.


@pytest.mark.parametrize(
    "target",
    [
        "jobs:function",
        "jobs:plain",
        "jobs:rest",
        "jobs:composed",
        "jobs:step",
        "jobs:Table.wires",
        "jobs:Table.run",
        "package.jobs:function",
        "package:jobs.function",
        "jobs.py:function",
        "./package/jobs.py:Table.wires",
    ],
)
def test_wire_is_run_to_its_end(
    aiowire_run: Run, folder: Path, target: str, backend_name: str
) -> None:
    (folder / "package" / "__init__.py").write_text("from . import jobs")
    assert aiowire_run(target, "--backend", backend_name) == (0, "ran\n", "")


def test_backend_is_the_one_asked_for(spawn_aiowire_run: Run, backend_name: str) -> None:
    result = spawn_aiowire_run("jobs:which", "--backend", backend_name)
    assert result == (0, f"{backend_name}\n", "")


def test_backend_is_asyncio_where_none_is_asked_for(aiowire_run: Run) -> None:
    assert aiowire_run("jobs:which") == (0, "asyncio\n", "")


def test_module_beside_a_module_is_found(spawn_aiowire_run: Run) -> None:
    assert spawn_aiowire_run("package.jobs:function") == (0, "ran\n", "")


def test_installed_command_imports_from_the_current_folder(
    spawn_aiowire_run: Run, folder: Path
) -> None:
    # There sys.path begins with the folder of the script, not with the current one.
    script = folder / "bin" / "aiowire-script"
    script.parent.mkdir()
    script.write_text("import sys; from aiowire.__main__ import main; sys.exit(main())")
    assert spawn_aiowire_run("jobs:function", start=(str(script),)) == (0, "ran\n", "")


def test_file_can_import_what_lies_beside_it(spawn_aiowire_run: Run, folder: Path) -> None:
    (folder / "else").mkdir()
    (folder / "else" / "helper.py").write_text("word = 'found'")
    program = "import helper\ndef wire(ev): print(helper.word)"
    (folder / "else" / "my-program.py").write_text(program)
    assert spawn_aiowire_run("else/my-program.py:wire") == (0, "found\n", "")


def test_file_is_a_module_that_can_be_looked_up(aiowire_run: Run, folder: Path) -> None:
    # As a data class does when its annotations are text, and pickle when it loads.
    program = """
        from __future__ import annotations
        import dataclasses, pickle, typing
        @dataclasses.dataclass
        class Job:
            kind: typing.ClassVar[str] = "job"
        def wire(ev):
            print(pickle.loads(pickle.dumps(Job())), dataclasses.fields(Job))
    """
    (folder / "work.py").write_text(dedent(program))
    assert aiowire_run("work.py:wire") == (0, "Job() ()\n", "")


def test_file_may_be_named_like_a_module_that_others_need(aiowire_run: Run, folder: Path) -> None:
    program = "import signal\ndef wire(ev): print(signal.SIGTERM.name, __name__)"
    (folder / "signal.py").write_text(program)
    assert aiowire_run("signal.py:wire") == (0, "SIGTERM signal_\n", "")


# Status 1: the wire, or the module, failed.


def test_failure_is_shown_once_with_its_wire(
    spawn_aiowire_run: Run, folder: Path, backend_name: str
) -> None:
    status, out, err = spawn_aiowire_run("jobs:fail", "--backend", backend_name)
    assert (status, out) == (1, "ran\n")
    assert err.startswith("Traceback")
    assert err.count("ValueError: as it must") == 1
    assert f'File "{folder / "jobs.py"}", line' in err
    assert "in wire <function fail at " in err


def test_all_failures_are_shown_once(aiowire_run: Run, backend_name: str) -> None:
    status, _, err = aiowire_run("jobs:fail_twice", "--backend", backend_name)
    assert status == 1
    assert "UnhandledException: 3 wires failed" in err
    assert [err.count(f"ValueError: {text}") for text in ("as it must", "one", "two")] == [1, 1, 1]


def test_exceptions_of_all_kinds_are_shown(aiowire_run: Run, backend_name: str) -> None:
    status, _, err = aiowire_run("jobs:odd", "--backend", backend_name)
    assert status == 1
    assert "jobs.Odd: indeed\n" in err


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("import missing_one", "ModuleNotFoundError: No module named 'missing_one'"),
        ("import package.missing", "ModuleNotFoundError: No module named 'package.missing'"),
        ("from package import missing", "ImportError: cannot import name 'missing'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def wire(", "SyntaxError"),
    ],
)
@pytest.mark.parametrize("target", ["broken:wire", "broken.py:wire"])
def test_module_that_cannot_be_imported_is_a_failure(
    aiowire_run: Run, folder: Path, code: str, failure: str, target: str
) -> None:
    (folder / "broken.py").write_text(code)
    status, out, err = aiowire_run(target)
    assert (status, out) == (1, "")
    assert err.startswith("Traceback")
    assert failure in err


# The wire decides about the status itself.


def test_exit_status_of_a_wire(spawn_aiowire_run: Run, backend_name: str) -> None:
    assert spawn_aiowire_run("jobs:leave", "--backend", backend_name) == (5, "ran\n", "")


def test_exit_words_of_a_wire(spawn_aiowire_run: Run) -> None:
    assert spawn_aiowire_run("jobs:leave_with_words") == (1, "ran\n", "some words\n")


def test_exit_of_a_wire_hides_no_failure(aiowire_run: Run, backend_name: str) -> None:
    status, out, err = aiowire_run("jobs:leave_in_trouble", "--backend", backend_name)
    assert (status, out) == (5, "ran\n")
    assert err.count("ValueError: in clean-up") == 1


def test_exit_of_a_wire_in_nested_loops_hides_no_failure(
    aiowire_run: Run, backend_name: str
) -> None:
    status, out, err = aiowire_run("jobs:leave_in_nested_loops", "--backend", backend_name)
    assert (status, out) == (5, "ran\n")
    assert err.count("ValueError: in clean-up") == 2


def test_exit_of_a_module(aiowire_run: Run, folder: Path) -> None:
    (folder / "leaving.py").write_text("import sys; sys.exit(7)")
    assert aiowire_run("leaving:wire") == (7, "", "")


def test_interrupt_of_a_wire(spawn_aiowire_run: Run, backend_name: str) -> None:
    assert spawn_aiowire_run("jobs:interrupt", "--backend", backend_name) == (130, "", "")


def test_interrupt_of_a_wire_hides_no_failure(aiowire_run: Run, backend_name: str) -> None:
    status, _, err = aiowire_run("jobs:interrupt_in_trouble", "--backend", backend_name)
    assert status == 130
    assert err.count("ValueError: in clean-up") == 1


# Status 124.


def test_time_out(spawn_aiowire_run: Run, folder: Path, backend_name: str) -> None:
    (folder / "slow.py").write_text("from aiowire import never")
    args = ("slow:never", "--timeout", "0.01", "--backend", backend_name)
    assert spawn_aiowire_run(*args) == (124, "", "aiowire: timed out after 0.01 s\n")


def test_time_out_hides_no_failure(aiowire_run: Run, backend_name: str) -> None:
    args = ("jobs:fail_at_end", "--timeout", "0.5", "--backend", backend_name)
    status, _, err = aiowire_run(*args)
    assert status == 124
    assert err.count("ValueError: in clean-up") == 1
    assert err.endswith("aiowire: timed out after 0.5 s\n")


@pytest.mark.parametrize("seconds", ["30", "1e3", "inf"])
def test_time_limit_that_is_not_reached(aiowire_run: Run, seconds: str) -> None:
    assert aiowire_run("jobs:function", "--timeout", seconds) == (0, "ran\n", "")


# Status 2: one line, which says what to write.

WRONG = {
    "": "the following arguments are required: run, module:wire; write: aiowire run ",
    "run": "the following arguments are required: module:wire; write: aiowire run ",
    "walk jobs:function": "invalid choice: 'walk'",
    "jobs:function": "invalid choice: 'jobs:function'",
    "run jobs:function more": "unrecognized arguments: more; write: aiowire run ",
    "run jobs:function --fast": "unrecognized arguments: --fast; write: aiowire run ",
    "run jobs": "'jobs' names no wire; write: aiowire run ",
    "run jobs.py": "'jobs.py' names no wire; write: aiowire run ",
    "run jobs:": "'jobs:' names no wire",
    "run :function": "':function' names no wire",
    "run :": "':' names no wire",
    "run job:function": "there is no module 'job'; write: aiowire run ",
    "run job.part:function": "there is no module 'job.part'; write: aiowire run ",
    "run package.job:function": "there is no module 'package.job'",
    "run jobs.part:function": "there is no module 'jobs.part'",
    "run .jobs:function": "'.jobs' is relative to no package; write: aiowire run ",
    "run jobs..part:function": "there is no module 'jobs..part'",
    "run package/jobs:function": "there is no module 'package/jobs'",
    "run jobs.txt:function": "there is no module 'jobs.txt'",
    "run job.py:function": "there is no file 'job.py'; write: aiowire run ",
    "run package.py:function": "there is no file 'package.py'; write: aiowire run ",
    "run jobs:missing": "'jobs' has no 'missing'; write: aiowire run ",
    "run jobs.py:missing": "'jobs.py' has no 'missing'; write: aiowire run ",
    "run jobs:Table.missing": "'jobs' has no 'Table.missing'",
    "run jobs:Table.": "'jobs' has no 'Table.'",
    "run package:jobs.function": "'package' has no 'jobs.function'",
    "run jobs:number": "got 3, which is not callable; write aiowire run jobs:f with a function",
    "run jobs:wide": "got wide and high, which is not callable; write aiowire run jobs:f ",
    "run jobs:coroutine": "write aiowire run jobs:function",
    "run jobs:function --backend curio": "invalid choice: 'curio' (choose from ",
    "run jobs:function --backend": "--backend: expected one argument; write: aiowire run ",
    "run jobs:function --timeout": "--timeout: expected one argument; write: aiowire run ",
    "run jobs:function --timeout soon": "'soon' is not a number of seconds; write: aiowire run ",
    "run jobs:function --timeout -1": "'-1' is not a number of seconds; write: aiowire run ",
    "run jobs:function --timeout nan": "'nan' is not a number of seconds; write: aiowire run ",
}


@pytest.mark.parametrize("args", WRONG)
def test_wrong_usage_is_answered_by_one_line(
    folder: Path, args: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "jobs.py").open("a") as file:
        file.write("coroutine = function(None)\n" if "coroutine" in args else "")
    assert main(args.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("aiowire: ")
    assert WRONG[args] in err
    assert err.count("\n") == 1
    assert "aiowire run" in err


def test_wrong_usage_ends_the_process_with_status_2(spawn_aiowire_run: Run) -> None:
    status, out, err = spawn_aiowire_run("jobs:missing")
    assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("name", ["trio", "uvloop"])
def test_backend_that_is_not_installed(
    aiowire_run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # cannot be imported
    expected = f"aiowire: {name} is missing: pip install aiowire[{name}]\n"
    assert aiowire_run("jobs:function", "--backend", name) == (2, "", expected)


@pytest.mark.parametrize("args", ["--help", "-h", "run --help", "run jobs:function --help"])
def test_help(args: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(args.split())
    assert exit_info.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in ("usage: aiowire", "module:wire", "file.py:wire", "asyncio", "uvloop", "trio"):
        assert word in out
    assert re.findall(r"\b\d+\b", out) == ["0", "1", "2", "124", "130", "143"]
