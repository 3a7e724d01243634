"""The code blocks of the pages run and print what the pages show."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from docs.generate.pages import ROOT
from tests.docs.blocks import LANGUAGES, RUN, Block, blocks_of, commands_of
from tests.docs.page_runner import PageRunner, outputs_match

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
def runner(tmp_path: Path, template_path: Path) -> Iterator[PageRunner]:
    """Return a runner with an existing, empty queue; creating one takes a second."""
    data = tmp_path / "home/.local/share/queuectl"
    data.mkdir(parents=True, mode=0o700)
    shutil.copyfile(template_path, data / "queue.db")
    (data / "queue.db").chmod(0o600)
    runner = PageRunner(tmp_path / "home")
    yield runner
    runner.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, runner: PageRunner) -> None:
    """All blocks run in order with the expected exit code and output; a block that cannot run gives the reason."""
    for block in blocks_of(page):
        if "needs" in block.marks:
            pytest.importorskip(block.marks["needs"])
        assert block.language in LANGUAGES, f"{block.where}: the language of a block must be one of {LANGUAGES}"
        runner.run(block)
    assert not missing_files(page, runner.project)


def missing_files(page: Path, project: Path) -> set[str]:
    """Return the files that the page's blocks use, but that neither a block nor its command has created."""
    named = re.compile(r"(?<![\w/.{$-])[\w-]+\.(?:py|sh|csv|json|jsonl|png|txt)\b")
    used: set[str] = set()
    for block in blocks_of(page):
        if block.language in RUN and "not run" not in block.marks:
            texts = [each.text for each in commands_of(block)] if block.language == "console" else [block.text]
            used.update(name for text in texts for name in named.findall(text))
    return {name for name in used if not (project / name).exists()}


def test_pages_have_blocks_that_run() -> None:
    """Every tutorial and guide has at least one block that runs."""
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
    """Only the parts that vary between runs may differ."""
    assert outputs_match(shown, real) is same


def block(language: str, text: str, **marks: str) -> Block:
    """Return a block of a page."""
    return Block("page.md", 1, language, text, {key.replace("_", " "): value for key, value in marks.items()})


def test_transcripts_are_split_at_prompts() -> None:
    """Lines after ``$`` are commands, lines after ``>`` continue them, the rest is output."""
    found = commands_of(block("console", "$ a\n1\n$ b \\\n> c\n2\n3\n"))
    assert [(each.text, each.shown) for each in found] == [("a", "1\n"), ("b \\\nc", "2\n3\n")]


def test_the_shell_keeps_its_state(runner: PageRunner) -> None:
    """Working directory, variables and files persist between blocks; file blocks become files."""
    runner.run(block("bash", "mkdir below && cd below && X=1\n"))
    runner.run(block("text", "hello\n", file="greeting.txt"))
    runner.run(block("console", "$ cat ../greeting.txt && echo $X\nhello\n1\n"))


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
def test_wrong_pages_fail(wrong: Block, runner: PageRunner) -> None:
    """A wrong exit code, a wrong output, a failing cell and a block skipped without a reason are errors."""
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        runner.run(wrong)
