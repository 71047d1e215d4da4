"""What an import costs: a new interpreter each time, with ``.pyc`` files of everything.

Time is the processor's: the files are in memory, so there is nothing else to wait for.
The interpreter starts with ``-P``, so that it imports what is installed, not what lies around.
"""

from __future__ import annotations

from functools import partial

from figures import Figures
from processes import output_of, seconds_of
from turns import Sampler

#: Prints the seconds that an import takes inside the process.
TIMED = "from time import process_time; t = process_time(); {}; print(process_time() - t)"


#: What is more than an import, or less.
STATEMENTS = {
    "pass": "pass",
    "run_aiowire": "import aiowire; aiowire.run(aiowire.done)",
    "run_anyio": "import anyio; anyio.run(anyio.sleep, 0)",
}


def statement(contender: str) -> str:
    """Give the code that is measured."""
    return STATEMENTS.get(contender, f"import {contender}")


def import_seconds(code: str) -> Figures:
    """Measure the statement alone."""
    return {"": float(output_of("-P", "-c", TIMED.format(code)))}


def process_seconds(code: str) -> Figures:
    """Measure a process that does nothing else, from its start to its end."""
    return {"": seconds_of("-P", "-c", code)}


def import_samplers(job: str, contenders: list[str]) -> dict[str, Sampler]:
    """Give what takes one sample of each, for the job ``import`` or ``process``."""
    measure = process_seconds if job == "process" else import_seconds
    return {each: partial(measure, statement(each)) for each in contenders}


def imported_with_us(*modules: str) -> list[str]:
    """Say which of these modules ``import aiowire`` imports too."""
    code = f"import sys, aiowire; print(*[m for m in {modules!r} if m in sys.modules])"
    return output_of("-P", "-c", code).split()
