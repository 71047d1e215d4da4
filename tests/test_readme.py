"""Every block of code in the README and docs/ runs, on every backend, and prints what it says."""

from __future__ import annotations

import ast
import os
import types
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from docutils import nodes
from docutils.core import publish_doctree

import aiowire

from .support import lost_time

ROOT = Path(__file__).parent.parent
README = ROOT / "README.rst"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.rst"))]
LANGUAGES = {"python", "text", "console"}
#: A program that shows time is run again, so often at most, where the machine stood still meanwhile
#: for so many seconds.
TRIES, STILL = 3, 0.02


class Program(NamedTuple):
    document: Path
    section: str
    code: str
    output: str


def literal_blocks(document: Path) -> list[tuple[str, str, str]]:
    """The section, language and text of each block."""
    tree = publish_doctree(document.read_text(), settings_overrides={"report_level": 2})
    return [
        (str(block.parent.next_node(nodes.title).astext()), block["classes"][-1], block.astext())
        for block in tree.findall(nodes.literal_block)
    ]


BLOCKS = {document: literal_blocks(document) for document in DOCUMENTS}


def programs() -> Iterator[Program]:
    """Each Python block, with the text block after it as what it prints."""
    for document, blocks in BLOCKS.items():
        for (section, language, text), (_, next_language, output) in pairwise(blocks):
            if language == "python":
                assert next_language == "text"
                yield Program(document, section, text, output)


PROGRAMS = list(programs())


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {language for blocks in BLOCKS.values() for _, language, _ in blocks} == LANGUAGES
    for blocks in BLOCKS.values():
        assert blocks[-1][1] != "python"
    assert len(PROGRAMS) >= 10


@pytest.mark.parametrize(
    "program", PROGRAMS, ids=[f"{p.section}-{i}" for i, p in enumerate(PROGRAMS)]
)
def test_program_prints_what_the_document_says(
    program: Program,
    anyio_backend: tuple[str, dict[str, Any]],
    backend_name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_here(*wires: Any, backend: str = "asyncio", **options: Any) -> None:
        aiowire_run(*wires, backend=backend_name, **options)

    aiowire_run = aiowire.run
    monkeypatch.setattr(aiowire, "run", run_here)
    name, options = anyio_backend
    code = compile(program.code, str(program.document), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for _ in range(TRIES):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        with standard_input(), lost_time() as lost:
            if code.co_flags & 0x80:  # CO_COROUTINE: it awaits at its top level
                block = types.FunctionType(code, namespace)
                anyio.run(block, backend=name, backend_options=options)
            else:
                exec(code, namespace)
        printed = capsys.readouterr().out
        if printed.strip() == program.output.strip() or lost[0] < STILL:
            break
    assert printed.strip() == program.output.strip()


@contextmanager
def standard_input() -> Iterator[None]:
    """Let the program find a line on its standard input, and then the end of it."""
    saved = os.dup(0)
    readable, writable = os.pipe()
    os.dup2(readable, 0)
    os.close(readable)
    os.write(writable, b"a line\n")
    os.close(writable)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_the_commands_are_those_that_are_run_by_the_gate() -> None:
    commands = [
        text.removeprefix("$ ") for _, language, text in BLOCKS[README] if language == "console"
    ]
    assert len(commands) == 2
    gate = (ROOT / ".ci" / "run").read_text()
    for command in commands:
        assert command in gate
