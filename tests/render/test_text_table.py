"""Plain tables and data: no hidden characters, no formulas, no dependence on a locale."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.render import formats, text_table


@given(st.text(st.characters(blacklist_categories=())))
def test_visible_text(text: str) -> None:
    """Any text is shown as one encodable line without control characters."""
    shown = text_table.visible(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0x202A <= ord(char) <= 0x202E for char in shown)


def test_tables_are_aligned() -> None:
    """Columns are aligned, with wide characters counted as the terminal does."""
    lines = list(text_table.table_lines(("a", "long title"), [["日本", 1], ["x", None], ["é", [1, 2]]]))
    assert lines == ["a     long title", "日本  1", "x     -", "é     1, 2"]
    assert list(text_table.table_lines((), [])) == []


def test_long_cell() -> None:
    """A long command is shown whole and does not widen other rows."""
    lines = list(text_table.table_lines(("a", "b"), [["x" * 1000, "end"], ["y", "end"]]))
    assert lines[1] == "x" * 1000 + "  end"
    assert len(lines[2]) < 100


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_csv_disarms_formulas(text: str) -> None:
    """A text that a spreadsheet would run as a formula gets a leading quote; a number does not."""
    out = io.StringIO()
    formats.write_csv(out, ["text", "number"], [{"text": text, "number": -1}])
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert row == {"text": "'" + text, "number": "-1"}


@given(st.lists(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none()))))
def test_json_is_faithful_and_ascii(rows: list[dict[str, object]]) -> None:
    """Written as an array or as lines, the data is the same when read back."""
    whole, lines = io.StringIO(), io.StringIO()
    formats.write_json(whole, iter(rows))
    formats.write_jsonl(lines, iter(rows))
    assert whole.getvalue().isascii()
    assert json.loads(whole.getvalue()) == rows
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == rows
