"""On what the table was measured: results without that are rumours."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pyperf
from old import VERSION

#: What pyperf finds out and does not tell about the person at the machine.
TOLD = ("date", "cpu_model_name", "cpu_count", "load_avg_1min", "platform", "python_version")

PACKAGES = ("aiowire", "anyio", "trio", "uvloop", "pyperf")


def describe() -> dict[str, str]:
    """Describe the machine, the interpreter and the versions that are compared."""
    found = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    told = {name: str(found[name]) for name in TOLD if name in found}
    return told | {name: installed(name) for name in PACKAGES} | {"old aiowire": VERSION}


def installed(package: str) -> str:
    """Say which version of a package is here."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
