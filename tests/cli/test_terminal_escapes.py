"""Text of a job or a path never controls the terminal, whichever command and format shows it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ran
    from tests.engine.harness import WorkerHarness

CONTROLS = "\x1b]52;c;cHduZWQ=\x07\x1b]0;title\x07\x1b]8;;evil\x1b\\link\x9b2J\x1b[2Jover\rwritten\u202e\x7f"
COLOURS_AND_LINES = re.compile(r"\x1b\[[0-9;]*m|\r?\n|\t")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FORMATS = ((), ("--format", "csv"), ("--format", "json"), ("--format", "jsonl"))

SHOW_JOBS = [
    ("list",),
    ("list", "--sort", "command"),
    ("show", "dead"),
    ("show", "completed"),
    ("dlq", "list"),
    ("stats", "--by", "command"),
    ("status",),
    ("log", "dead"),
    ("log", "completed"),
    ("wait", "--timeout", "9"),
    ("wait", "completed"),
    ("retry", "dead"),
]
SHOW_PATHS = [("init",), ("doctor",), ("--db", "queue.db", "list"), ("--db", "queue.db", "backup", "copy.db")]
QUOTE_ARGUMENTS = [
    (CONTROLS,),
    ("help", CONTROLS),
    ("list", f"--{CONTROLS}"),
    ("list", "--queue", CONTROLS),
    ("list", "--sort", CONTROLS),
    ("show", CONTROLS),
    ("log", "completed", "--attempt", CONTROLS),
    ("stats", "--since", CONTROLS),
    ("enqueue", CONTROLS),
    ("enqueue", "--command", "true", "--id", CONTROLS),
    ("enqueue", "--command", "true", "--cwd", CONTROLS),
    ("enqueue", "--command", "true", "--env", CONTROLS),
    ("enqueue", "--from", CONTROLS),
    ("config", "set", "keep_env", CONTROLS),
    ("config", "get", CONTROLS),
    ("worker", "stop", CONTROLS),
    ("pause", CONTROLS),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, whose name has control characters."""
    path = tmp_path / CONTROLS
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def find_controls(run: Callable[..., Ran], commands: list[tuple[str, ...]]) -> list[tuple[tuple[str, ...], str]]:
    """Return the commands that write control characters to a terminal, with what they write."""
    found = []
    for words in commands:
        for options in FORMATS:
            ran = run(*words, *options, terminal=True)
            shown = [text for text in (ran.stdout, ran.stderr) if CONTROL.search(COLOURS_AND_LINES.sub("", text))]
            found += [((*words, *options), text[:500]) for text in shown]
    return found


@pytest.mark.parametrize("colour", [True, False])
def test_text_of_jobs(
    harness: WorkerHarness,
    folder: Path,
    run: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    colour: bool,
) -> None:
    """Tables, CSV, JSON and logs show control characters in command, directory, output and result as text."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    (folder / "text").write_text(CONTROLS)
    result = """printf '{"x": "\\\\u001b]0;title"}' > $QUEUECTL_RESULT"""
    for job, end in (("completed", result), ("dead", "exit 3")):
        harness.add(f"cat text; cat text >&2; {end} # {CONTROLS}", id=job, max_retries=1, cwd=str(folder))
    harness.start()
    counts = harness.queue.store.reader.counts
    until(lambda: counts()[State.COMPLETED] == counts()[State.DEAD] == 1)
    assert not find_controls(run, SHOW_JOBS)


def test_csv_in_a_pipe(run: Callable[..., Ran]) -> None:
    """A pipe gets the text unchanged."""
    run("enqueue", "--command", f"echo {CONTROLS}", "--id", "a")
    assert f"echo {CONTROLS}".encode() in run("list", "--format", "csv").out


@pytest.mark.usefixtures("folder")
def test_paths(run: Callable[..., Ran]) -> None:
    """Names of directories are escaped in answers and errors."""
    assert not find_controls(run, SHOW_PATHS)


@pytest.mark.usefixtures("folder")
def test_quoted_arguments(run: Callable[..., Ran]) -> None:
    """Errors escape what they quote."""
    assert not find_controls(run, QUOTE_ARGUMENTS)
