"""What importing aiowire imports, and that it works where pyzmq is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import aiowire


def python(program: str, *args: str) -> str:
    """Run a program in a Python of its own, and give back what it printed."""
    command = [sys.executable, "-W", "error", "-c", program, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout


NEW_MODULES = """
import sys
import anyio
before = set(sys.modules)
import aiowire
{use}
names = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(names & {{"asyncio", "trio", "uvloop", "zmq"}}))
"""


@pytest.mark.parametrize("use", ["", "aiowire.Poller", "aiowire.Poller({0: aiowire.done})"])
def test_importing_it_imports_neither_zmq_nor_an_event_loop(use: str) -> None:
    assert python(NEW_MODULES.format(use=use)).split() == []


WITHOUT_ZMQ = """
import os
import sys

sys.modules["zmq"] = None  # importing it fails
import aiowire

def stop(ev):
    print(os.read(r, 10))
    poller.shutdown()

r, w = os.pipe()
poller = aiowire.Poller({r: stop})
for source in ("socket", None, 9999):
    try:
        poller.register(source, stop)
    except ValueError:
        print("refused")
os.write(w, b"input")
aiowire.run(poller, backend=sys.argv[1], timeout=10)
"""


def test_the_poller_works_where_pyzmq_is_missing(backend_name: str) -> None:
    output = python(WITHOUT_ZMQ, backend_name)
    assert output.split() == ["refused"] * 3 + ["b'input'"]


def test_the_version_is_that_of_the_package() -> None:
    assert aiowire.__version__ == version("aiowire")


def test_a_name_that_is_not_there_is_the_usual_error() -> None:
    with pytest.raises(AttributeError, match="module 'aiowire' has no attribute 'poler'"):
        aiowire.poler  # noqa: B018
