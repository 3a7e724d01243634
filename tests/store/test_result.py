"""The JSON result of a job, whatever it wrote into the file."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.store import output

if TYPE_CHECKING:
    from queuectl_nb.store.spool import Spool

TOKEN = "0123456789abcdef" * 2


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
def test_valid_results(spool: Spool, raw: bytes, value: object) -> None:
    """Any JSON is accepted; NaN and infinities become null, lone surrogates U+FFFD, as Python's writers emit both."""
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
def test_invalid_results(spool: Spool, raw: bytes) -> None:
    """Invalid, endless or deeply nested JSON is no result, and a note of one line says so."""
    value, wrong = _result(spool, raw)
    assert value is None
    assert wrong is not None
    assert wrong.startswith("its result was not stored: not valid JSON (")
    assert wrong.isprintable()
    assert len(wrong) < 200


def test_deepest_accepted_nesting(store: Any) -> None:
    """The deepest accepted result passes the CHECK of the schema and can be read back."""
    value, wrong = _result(store.spool, b"[" * 500 + b"]" * 500)
    assert wrong is None
    with store.db.read() as connection:
        assert connection.execute("SELECT json_valid(?)", (json.dumps(value),)).fetchone() == (1,)


def test_large_result(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit the result is not read; the note gives both sizes."""
    monkeypatch.setattr(output, "MAX_RESULT_BYTES", 10)
    assert _result(spool, b"[1,2,3,45]") == ([1, 2, 3, 45], None)
    assert _result(spool, b"[1,2,3,456]") == (None, "its result was not stored: 11 bytes, at most 10 are allowed")


def test_no_result(spool: Spool) -> None:
    """A job that wrote no result has neither result nor note."""
    assert spool.read_result(TOKEN) == (None, None)


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "endless link", "unreadable"])
def test_result_that_is_not_a_file(spool: Spool, kind: str) -> None:
    """A FIFO, a folder or a link to an endless file gives a note at once, and can be removed."""
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
    signal.alarm(60)
    value, wrong = spool.read_result(TOKEN)
    signal.alarm(0)
    assert value is None
    assert (wrong or "").startswith("its result was not stored: ")
    spool.remove(TOKEN)
    assert [each.name for each in spool.folder.iterdir()] == ["secret"]
