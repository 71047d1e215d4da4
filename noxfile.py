"""The gates of aiowire. ``nox`` alone runs what a newcomer wants: every test on this Python.

``nox -s matrix``      every Python present × oldest and newest dependencies × backend
``nox -s lint types coverage docs stress benchmarks soak``    one gate each
``nox -- -k poller``   what follows ``--`` goes to pytest

Everything runs against the wheel, built from the sdist as users get it, and never against the
checkout: a file that was left out of either fails here.
"""

from __future__ import annotations

import os
import shutil
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import nox
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Collection

nox.needs_version = ">=2025.2.9"  # `requires` and dependency groups
nox.options.sessions = ["tests"]
# A Python that is not there is named and passed over, on CI too; none is downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)  # from the classifiers
BACKENDS = ["asyncio", "uvloop", "trio"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
# The tests wait for half of their time, and are to hold on a busy machine.
WORKERS = str(2 * min(os.cpu_count() or 1, 4))


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel, once for all the other sessions."""
    session.install("build")
    shutil.rmtree(_dist(session), ignore_errors=True)
    session.run("pyproject-build", "--outdir", str(_dist(session)), silent=True)


@nox.session(requires=["wheel"])
def tests(session: nox.Session) -> None:
    """Run every test on this Python, on all backends, with the newest dependencies."""
    _install(session, extras=EXTRAS)
    _pytest(session, *session.posargs)


@nox.session(python=PYTHONS, requires=["wheel"])
@nox.parametrize("backend", BACKENDS)
@nox.parametrize("dependencies", ["oldest", "newest"])
def matrix(session: nox.Session, dependencies: str, backend: str) -> None:
    """Run the tests of one backend, where the other backends are not even installed."""
    extras = [extra for extra in EXTRAS if extra == backend]
    _install(session, extras=extras, oldest=dependencies == "oldest")
    _pytest(session, "--backend", backend, *session.posargs)


@nox.session(requires=["wheel"])
def stress(session: nox.Session) -> None:
    """Run the stress tests at full size."""
    _install(session, extras=EXTRAS)
    args = ("-m", "stress", "--timeout", "600", "-n", "0", *session.posargs)
    _pytest(session, *args, AIOWIRE_STRESS="full")


@nox.session(requires=["wheel"])
def coverage(session: nox.Session) -> None:
    """Measure that the tests of all backends together take every branch."""
    _install(session, "coverage", extras=EXTRAS)
    # Named, since the tests and the processes that they start run in other folders.
    session.env["COVERAGE_RCFILE"] = str(ROOT / "pyproject.toml")
    session.env["COVERAGE_FILE"] = str(_scratch(session) / "coverage")
    session.run("coverage", "erase")
    with session.chdir(ROOT / "tests"):
        session.run("coverage", "run", "-m", "pytest", "-n", WORKERS, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    _install_group(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(requires=["wheel"])
def types(session: nox.Session) -> None:
    """Check the types of library and examples, how complete they are, what they tell a user."""
    _install(session, "types", extras=EXTRAS)
    # The branches on sys.version_info are seen on the Python that they are for.
    for version in (PYTHONS[0], PYTHONS[-1]):
        session.run("mypy", "--python-version", version)
        session.run("mypy", "--python-version", version, "examples")
        session.run("pyright", "--pythonversion", version)
    session.run("pyright", "--verifytypes", "aiowire", "--ignoreexternal")
    session.run("python", "tests/typing/check.py")


@nox.session(requires=["wheel"])
def docs(session: nox.Session) -> None:
    """Check that the documents are valid reStructuredText and that their examples run."""
    _install(session, extras=EXTRAS)
    for document in (*ROOT.glob("*.rst"), *ROOT.glob("docs/*.rst")):
        name = str(document.relative_to(ROOT))
        session.run("docutils", "--halt=warning", "--writer=null", name)
    _pytest(session, "test_readme.py", *session.posargs)


@nox.session(requires=["wheel"])
def benchmarks(session: nox.Session) -> None:
    """Print the table of benchmarks; it takes its time."""
    _install(session, "benchmarks", extras=EXTRAS)
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(requires=["wheel"])
def soak(session: nox.Session) -> None:
    """Load a server for half an hour on each backend, and see that nothing grows."""
    _install(session, "benchmarks", extras=EXTRAS)
    session.run("python", "benchmarks/soak.py", *session.posargs)


@nox.session
def picture(session: nox.Session) -> None:
    """Draw the results of the benchmarks, a file of theirs, as the pictures in the documents."""
    _install_group(session, "picture")
    session.run("python", "benchmarks/picture.py", *session.posargs)


def _dist(session: nox.Session) -> Path:
    return session.cache_dir / "dist"


def _scratch(session: nox.Session) -> Path:
    # Not session.create_tmp(), which would move TMPDIR to a path too long for a Unix socket.
    return Path(session.virtualenv.location).resolve()


def _install(
    session: nox.Session, group: str = "test", *, extras: Collection[str], oldest: bool = False
) -> None:
    """Install the wheel with these extras, and a dependency group."""
    (built,) = _dist(session).glob("*.whl")
    # In an environment used again (`nox -r`), pip takes the same version for the same wheel.
    session.install("--force-reinstall", "--no-deps", str(built))
    floors = ["--constraint", str(_floors(session))] if oldest else []
    target = f"{built}[{','.join(extras)}]" if extras else str(built)
    _install_group(session, group, target, *floors)


def _install_group(session: nox.Session, group: str, *args: str) -> None:
    session.install(*args, *nox.project.dependency_groups(PROJECT, group))


def _floors(session: nox.Session) -> Path:
    """Write the oldest version that pyproject.toml allows of each requirement, for pip."""
    stated = [*PROJECT["project"]["dependencies"], *chain(*EXTRAS.values())]
    stated += nox.project.dependency_groups(PROJECT, "test")
    path = _scratch(session) / "floors.txt"
    path.write_text("".join(f"{_floor(Requirement(each))}\n" for each in stated))
    return path


def _floor(requirement: Requirement) -> str:
    (lowest,) = (each for each in requirement.specifier if each.operator == ">=")
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}=={lowest.version}{marker}"


def _pytest(session: nox.Session, *args: str, **env: str) -> None:
    """Run pytest from tests/, from where the checkout's aiowire cannot be imported."""
    args = tuple(arg.removeprefix("tests/") for arg in args)
    with session.chdir(ROOT / "tests"):
        session.run("pytest", "-n", WORKERS, *args, env=env)
