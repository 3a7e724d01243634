"""The generator: it says what is behind, mends it, and refuses what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docs.generate import __main__ as command
from docs.generate import diagram, pages
from queuectl_nb.model.state import TRANSITIONS, State

if TYPE_CHECKING:
    from pathlib import Path


def test_it_tells_what_is_behind_and_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--check`` a file that is behind or missing is named, the exit code is 1 and nothing is written."""
    wanted = {tmp_path / "a.md": "new\n", tmp_path / "below/b.md": "made\n", tmp_path / "c.md": "same\n"}
    (tmp_path / "a.md").write_text("old\n")
    (tmp_path / "c.md").write_text("same\n")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "expected", lambda: wanted)
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert command.main() == 1
    told = capsys.readouterr().out
    assert "a.md is behind" in told
    assert "below/b.md is behind" in told
    assert "c.md" not in told
    assert (tmp_path / "a.md").read_text() == "old\n"
    monkeypatch.setattr("sys.argv", ["generate"])
    assert command.main() == 0
    assert {path: path.read_text() for path in wanted} == wanted
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert command.main() == 0


def test_the_diagram_is_the_transition_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that the drawing has and the table has not, or the other way, is refused and named."""
    assert "<svg" in diagram.svg()
    less = {**TRANSITIONS, State.FAILED: TRANSITIONS[State.FAILED] - {State.PENDING}}
    monkeypatch.setattr(diagram, "TRANSITIONS", less)
    with pytest.raises(SystemExit, match="failed"):
        diagram.svg()
    more = {**TRANSITIONS, State.PENDING: TRANSITIONS[State.PENDING] | {State.DEAD}}
    monkeypatch.setattr(diagram, "TRANSITIONS", more)
    with pytest.raises(SystemExit, match="pending"):
        diagram.svg()


def test_a_page_without_its_place_is_refused(tmp_path: Path) -> None:
    """A file whose marks are gone is named; between marks nothing but the text is replaced."""
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    assert pages.filled(path, {"a": lambda: r"new \1"}) == "before\n<!-- a -->\n\nnew \\1\n\n<!-- /a -->\nafter\n"
    with pytest.raises(SystemExit, match="no place for b"):
        pages.filled(path, {"b": lambda: ""})
