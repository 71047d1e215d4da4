"""The environment of aiowire 3.1.0, which cannot be imported beside its successor.

It is made once, by pip, in ``.benchmarks/`` in the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

VERSION = "3.1.0"
CACHE = Path(__file__).parent.parent / ".benchmarks"


def old_python() -> Path:
    """Give the interpreter of an environment with the old aiowire, made now if it must be.

    The sleeping and the event loops of old and new are the same: anyio's and uvloop's, in the
    versions that are here. Old itself needs neither of them.
    """
    packages = [
        f"aiowire=={VERSION}",
        *(f"{each}=={version(each)}" for each in ("anyio", "uvloop", "pyzmq")),
    ]
    folder = CACHE / f"old-{sys.implementation.cache_tag}"
    python = folder / "bin" / "python"
    made_with = folder / "packages.txt"
    if not made_with.exists() or made_with.read_text().split() != packages:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        (CACHE / ".gitignore").write_text("*\n")  # as pytest, ruff and venv do with theirs
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        made_with.write_text("\n".join(packages))
    return python
