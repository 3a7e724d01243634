"""Whoever types what the pages show gets what the pages show."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from docs.generate.pages import ROOT
from tests.docs.blocks import LANGUAGES, RUN, Block, blocks_of, commands_of
from tests.docs.reader import Reader, agrees

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/tutorial").glob("*.md")),
    *sorted((ROOT / "docs/how-to").glob("*.md")),
    ROOT / "docs/reference/python.md",
]


@pytest.fixture
def reader(tmp_path: Path, template_path: Path) -> Iterator[Reader]:
    """Return a reader at a desk of their own, whose queue was made at an earlier use: making one takes a second."""
    data = tmp_path / "home/.local/share/queuectl"
    data.mkdir(parents=True, mode=0o700)
    shutil.copyfile(template_path, data / "queue.db")
    (data / "queue.db").chmod(0o600)
    found = Reader(tmp_path / "home")
    yield found
    found.leave()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, reader: Reader) -> None:
    """Each block runs, in order, ends as it should, and answers what is shown; one that cannot run says why."""
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{block.where}: a block says what it is: one of {LANGUAGES}"
        reader.read(block)


def test_pages_show_something_to_run() -> None:
    """Every tutorial and guide has blocks that run."""
    for page in PAGES:
        runs = [block for block in blocks_of(page) if block.language in RUN and "not run" not in block.marks]
        assert runs, page.name


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("Job enqueued: a", "Job enqueued: a\n", True),
        ("Job enqueued: a", "Job enqueued: b\n", False),
        ("a  pending  2026-01-01 10:00:00", "a pending   2027-02-03 11:12:13\n", True),
        ("first\n...\nlast", "first\nsecond\nthird\nlast\n", True),
        ("first\n...\nlast", "first\nsecond\n", False),
        ("worker-1  4711  idle", "worker-1  99  idle", False),
        ("[worker-1] Stopped.", "[worker-2] Stopped.", True),
        ("worker-1  4711  idle", "worker-1  23456  idle", True),
        ("in 0.26 seconds", "in 1.05 seconds", True),
        ("Peak Memory: 3.1 MiB", "Peak Memory: 812.0 KiB", True),
    ],
)
def test_outputs_are_compared(shown: str, real: str, same: bool) -> None:
    """What changes from run to run may differ, and nothing else."""
    assert agrees(shown, real) is same


def block(language: str, text: str, **marks: str) -> Block:
    """Return a block as a page would have it."""
    return Block("page.md", 1, language, text, {key.replace("_", " "): value for key, value in marks.items()})


def test_a_transcript_is_read_by_its_prompts() -> None:
    """Lines after ``$`` are commands, those after ``>`` go on, the rest is output."""
    found = commands_of(block("console", "$ a\n1\n$ b \\\n> c\n2\n3\n"))
    assert [(each.text, each.shown) for each in found] == [("a", "1\n"), ("b \\\nc", "2\n3\n")]


def test_a_shell_keeps_its_place(reader: Reader) -> None:
    """Folders, variables and files last from block to block; blocks of a file are files."""
    reader.read(block("bash", "mkdir below && cd below && X=1\n"))
    reader.read(block("text", "hello\n", file="greeting.txt"))
    reader.read(block("console", "$ cat ../greeting.txt && echo $X\nhello\n1\n"))


@pytest.mark.parametrize(
    "wrong",
    [
        block("bash", "false\n"),
        block("bash", "true\n", exit_code="1"),
        block("console", "$ echo a\nb\n"),
        block("python", "1 / 0\n"),
        block("bash", "true\n", not_run=""),
    ],
)
def test_a_page_that_lies_is_found_out(wrong: Block, reader: Reader) -> None:
    """Another exit code, another output, a cell that fails, and a block left out without a reason: each is told."""
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        reader.read(wrong)
