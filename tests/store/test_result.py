"""The JSON that a job leaves as its result, whatever it made of the file."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.store import output
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Return an empty spool."""
    return Spool(tmp_path)


def _result(spool: Spool, raw: bytes) -> tuple[Any, str | None]:
    spool.path(TOKEN, "result").write_bytes(raw)
    text, wrong = spool.read_result(TOKEN)
    return (None if text is None else json.loads(text)), wrong


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"loss": 0.5, "steps": [1, 2]}', {"loss": 0.5, "steps": [1, 2]}),
        (b" null \n", None),
        (b"true", True),
        (b'"caf\xc3\xa9 \\u0000"', "caf\u00e9 \0"),
        (b"[NaN, Infinity, -Infinity, 1e999, -1e999]", [None] * 5),
        (b"\xef\xbb\xbf[1]", [1]),
        ("[1]".encode("utf-16"), [1]),
        (b"12345678901234567890123", 12345678901234567890123),
        (rb'["\ud83d\udc0d", "\ud83d", "a\udc0db", "\\ud83d"]', ["\U0001f40d", "\ufffd", "a\ufffdb", "\\ud83d"]),
        (b'{"\xed\xa0\x80": "\xf0\x9f\x90\x8d"}', {"\ufffd": "\U0001f40d"}),
    ],
)
def test_json_is_taken_and_what_json_does_not_have_becomes_null(spool: Spool, raw: bytes, value: object) -> None:
    """A result is any JSON; NaN and infinities are null, halves of characters U+FFFD: Python's writers leave both."""
    assert _result(spool, raw) == (value, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"\xff\xfe\xfd",
        b"[1] [2]",
        b"1" * 5000,
        b"[" * 100_000,
        b"[" * 600 + b"]" * 600,
        b'{"a":' * 501 + b"1" + b"}" * 501,
    ],
    ids=lambda raw: f"{raw[:8]!r} {len(raw)}",
)
def test_what_is_no_json_is_no_result_and_said_in_one_line(spool: Spool, raw: bytes) -> None:
    """Broken, endless or too deeply nested: no result, and a note of one line that says so."""
    value, wrong = _result(spool, raw)
    assert value is None
    assert wrong is not None
    assert wrong.startswith("its result was not stored: not valid JSON (")
    assert wrong.isprintable()
    assert len(wrong) < 200


def test_nesting_that_everybody_can_read_is_taken(store: Any) -> None:
    """The deepest result that is taken can be stored under the schema's check, and read back."""
    value, wrong = _result(store.spool, b"[" * 500 + b"]" * 500)
    assert wrong is None
    with store.db.read() as connection:
        assert connection.execute("SELECT json_valid(?)", (json.dumps(value),)).fetchone() == (1,)


def test_a_result_that_is_too_large_is_not_read(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the note gives both sizes."""
    monkeypatch.setattr(output, "MAX_RESULT_BYTES", 10)
    assert _result(spool, b"[1,2,3,45]") == ([1, 2, 3, 45], None)
    assert _result(spool, b"[1,2,3,456]") == (None, "its result was not stored: 11 bytes, at most 10 are allowed")


def test_no_result_is_no_note(spool: Spool) -> None:
    """A job that left nothing has no result and nothing to be told."""
    assert spool.read_result(TOKEN) == (None, None)


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "endless link", "unreadable"])
def test_a_result_that_is_no_file_stops_nobody(spool: Spool, kind: str) -> None:
    """A FIFO, a folder, a link to something endless: a note at once, and it can all be removed."""
    path = spool.path(TOKEN, "result")
    (spool.folder / "secret").write_text("[1]")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "x").touch()
    elif kind == "unreadable":
        path.touch(mode=0)
    else:
        path.symlink_to("/dev/zero" if kind == "endless link" else spool.folder / "secret")
    signal.alarm(20)
    began = time.monotonic()
    value, wrong = spool.read_result(TOKEN)
    signal.alarm(0)
    assert time.monotonic() - began < 5
    assert value is None
    assert (wrong or "").startswith("its result was not stored: ")
    spool.remove(TOKEN)
    assert [each.name for each in spool.folder.iterdir()] == ["secret"]
