"""The generator lists outdated files, rewrites them, and rejects inconsistent input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docs.generate import __main__ as command
from docs.generate import cli, diagram, pages
from queuectl_nb.model.state import TRANSITIONS, State

if TYPE_CHECKING:
    from pathlib import Path


def test_outdated_files_are_listed_and_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--check`` outdated and missing files are listed, the exit code is 1 and nothing is written."""
    wanted = {tmp_path / "a.md": "new\n", tmp_path / "below/b.md": "made\n", tmp_path / "c.md": "same\n"}
    (tmp_path / "a.md").write_text("old\n")
    (tmp_path / "c.md").write_text("same\n")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "expected", lambda: wanted)
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert command.main() == 1
    output = capsys.readouterr().out
    assert "a.md is outdated" in output
    assert "below/b.md is outdated" in output
    assert "c.md" not in output
    assert (tmp_path / "a.md").read_text() == "old\n"
    monkeypatch.setattr("sys.argv", ["generate"])
    assert command.main() == 0
    assert {path: path.read_text() for path in wanted} == wanted
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert command.main() == 0


def test_the_diagram_is_the_transition_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transition that only the drawing or only the table has is an error that names it."""
    assert "<svg" in diagram.svg()
    less = {**TRANSITIONS, State.FAILED: TRANSITIONS[State.FAILED] - {State.PENDING}}
    monkeypatch.setattr(diagram, "TRANSITIONS", less)
    with pytest.raises(SystemExit, match="failed"):
        diagram.svg()
    more = {**TRANSITIONS, State.PENDING: TRANSITIONS[State.PENDING] | {State.DEAD}}
    monkeypatch.setattr(diagram, "TRANSITIONS", more)
    with pytest.raises(SystemExit, match="pending"):
        diagram.svg()


def test_a_page_without_marks_is_an_error(tmp_path: Path) -> None:
    """Only the text between the marks is replaced; a file without marks is named in the error."""
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    assert pages.filled(path, {"a": lambda: r"new \1"}) == "before\n<!-- a -->\n\nnew \\1\n\n<!-- /a -->\nafter\n"
    with pytest.raises(SystemExit, match="no marks for b"):
        pages.filled(path, {"b": lambda: ""})


def test_help_texts_show_no_escapes() -> None:
    r"""No help text shows click's mark ``\b`` for preformatted paragraphs instead of applying it."""
    shown = [command.get_help(context) for command, context in cli.walk()]
    assert not [text for text in (*shown, *cli.pages().values()) if "\\b" in text]


def test_help_texts_become_markdown() -> None:
    """Commands and options are code; characters with a meaning in Markdown are escaped."""
    text = cli.pages()["cli/workers.md"]
    assert "With `--executor` dask one worker" in text
    assert "| `--executor local\\|dask` | Where jobs run (default: local). |" in text
