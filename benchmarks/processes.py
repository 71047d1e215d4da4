"""The processes in which things are measured, seen from the one that asks.

Nothing is measured in the process that prints the table: a measurement begins with an interpreter
that has nothing in it but what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from figures import Figures

HERE = Path(__file__).parent


def environment(python: Path | None = None) -> dict[str, str]:
    """Give the environment variables of a process that measures.

    It may write ``.pyc`` files, so that no import but the first compiles anything. Another
    interpreter than ours is not told where we look for modules.
    """
    left_out = {"PYTHONDONTWRITEBYTECODE", *(["PYTHONPATH"] if python else [])}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def output_of(*args: str) -> str:
    """Run Python to its end and give what it has printed."""
    command = [sys.executable, *args]
    result = subprocess.run(
        command, cwd=HERE, env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return result.stdout


def seconds_of(*args: str) -> float:
    """Run Python to its end, and give the seconds that the processor was busy with it."""
    process = subprocess.Popen([sys.executable, *args], cwd=HERE, env=environment())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(args)} ended with status {process.returncode}; see above")
    return used.ru_utime + used.ru_stime


class Probe:
    """A running ``probe.py``: one contender on one backend, see there.

    :param idle: how many functions wait for ever meanwhile
    :param python: the interpreter, where it is not ours
    """

    def __init__(self, contender: str, backend: str, idle: int, python: Path | None = None):
        self._name = f"{contender} on {backend}"
        args = [str(python or sys.executable), "probe.py", contender, backend, str(idle)]
        self._process = subprocess.Popen(
            args,
            cwd=HERE,
            env=environment(python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._answer()

    def run(self, job: str, number: int) -> Figures:
        """Let it do a job with so many operations; give the figures per operation."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job} {number}\n")
        answer: float | Figures = json.loads(self._answer())
        return answer if isinstance(answer, dict) else {"": answer / number}

    def calibrate(self, job: str, seconds: float) -> int:
        """Give the number of operations with which a job takes about so long."""
        number = 10
        while (took := self.run(job, number)[""] * number) < seconds / 2:
            number = min(number * 20, 1 + int(number * seconds / took))
        return number

    def close(self) -> None:
        """End the process, without asking it to."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} ended instead of answering; see above")
        return line.strip()


def close_all(probes: Iterable[Probe]) -> None:
    """End all the processes."""
    for probe in probes:
        probe.close()
