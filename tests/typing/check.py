"""Check that mypy and pyright tell a user what they should.

Each file beside this one is a user's program, checked by both tools in their strict mode.
They must report an error in every line that ends with ``# error``, and in no other. A program
without such lines is also run: what is written in its annotations must exist.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MYPY_ERROR = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<message>.*)$", re.MULTILINE)

#: What a tool reports: the message for each file and line.
Reports = dict[tuple[str, int], str]


def main() -> int:
    """Compare what was reported with what was expected; give back the exit status."""
    here = Path(__file__).parent
    programs = sorted(path for path in here.glob("*.py") if path.name != Path(__file__).name)
    expected = {place for path in programs for place in marked(path)}
    wrong = 0
    # Checked in a folder of their own, where `import aiowire` finds the installed
    # package with its py.typed, as in a user's project, and not the checkout.
    with tempfile.TemporaryDirectory() as folder:
        for path in programs:
            shutil.copy(path, folder)
        for tool in (mypy, pyright):
            reported = tool(folder)
            for file, line in sorted(expected - set(reported)):
                print(f"{file}:{line}: {tool.__name__} accepts what it should reject")
            for file, line in sorted(set(reported) - expected):
                print(f"{file}:{line}: {tool.__name__} says: {reported[file, line]}")
            wrong += len(expected ^ set(reported))
        for path in programs:
            if not marked(path):
                wrong += not succeeds(folder, path.name)
    print(f"{len(programs)} programs, {len(expected)} errors expected, {wrong} differences")
    return bool(wrong or not expected)


def marked(path: Path) -> list[tuple[str, int]]:
    """Find the lines of a program in which an error is expected."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(path.name, n) for n, line in enumerate(lines, 1) if line.endswith("# error")]


def succeeds(folder: str, program: str) -> bool:
    """Run a program, and show what it printed if it fails."""
    command = [sys.executable, "-W", "error", program]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    if ran.returncode:
        print(f"{program} failed:\n{ran.stdout}{ran.stderr}")
    return not ran.returncode


def mypy(folder: str) -> Reports:
    """Run mypy in strict mode, without any configuration."""
    found = output(folder, "mypy", "--strict", "--config-file=", "--no-error-summary", ".")
    return {
        (match["file"], int(match["line"])): match["message"]
        for match in MYPY_ERROR.finditer(found)
    }


def pyright(folder: str) -> Reports:
    """Run pyright in strict mode."""
    Path(folder, "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    found = json.loads(output(folder, "pyright", "--outputjson"))
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1): each["message"]
        for each in found["generalDiagnostics"]
        if each["severity"] == "error"
    }


def output(folder: str, *command: str) -> str:
    """Run a tool; a status above 1 is a failure of the tool itself."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode > 1:
        raise SystemExit(f"{command[0]} failed:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
