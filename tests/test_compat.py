"""Programs written for aiowire 3.1.0, on asyncio: each does what its docstring shows.

They were run with aiowire 3.1.0 too, and print the same there.
"""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

from .support import lost_time

#: Most depend on time: one is run again, so often at most, where the machine stood still meanwhile
#: for so many seconds.
TRIES, STILL = 3, 0.02
PROGRAMS = sorted((Path(__file__).parent / "programs31").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_a_program_for_aiowire_3_1_runs_unchanged(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docstring = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8")))
    assert docstring is not None
    expected = (docstring.partition("\n\n")[2] + "\n", "")
    for _ in range(TRIES):
        with lost_time() as lost:
            runpy.run_path(str(program), run_name="__main__")
        shown = capsys.readouterr()
        if shown == expected or lost[0] < STILL:
            break
    assert shown == expected


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 10
