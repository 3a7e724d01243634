"""The files into which jobs write: who holds them, what is kept of them, and results of every kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.store import result as result_module
from queuectl_nb.store.keep import NOTHING, Kept, keep
from queuectl_nb.store.rows import stream
from queuectl_nb.store.spool import STREAMS, Spool
from queuectl_nb.store.trim import trim

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Return an empty spool."""
    return Spool(tmp_path)


@pytest.fixture
def job(spool: Spool) -> Iterator[subprocess.Popen[bytes]]:
    """Run a job's process in the slot of worker-1; it lives until its stdin ends."""
    out, err = spool.slot("worker-1").open()
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=out, stderr=err)
    os.close(out)
    os.close(err)
    yield process
    process.kill()
    process.communicate()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()


# ---------------------------------------------------------------------- slots and seals


def test_a_slot_is_a_pair_of_empty_private_files(spool: Spool) -> None:
    """A slot's two files are empty, locked, appended to, not inherited by accident, and for nobody else's eyes."""
    out, err = spool.slot("worker-1").open()
    assert [entry.name for entry in sorted(spool.folder.iterdir())] == ["worker-1.stderr", "worker-1.stdout"]
    for handle in (out, err):
        assert os.fstat(handle).st_size == 0
        assert os.fstat(handle).st_mode & 0o777 == 0o600
        assert not os.get_inheritable(handle)
        os.write(handle, b"a")
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, b"b")
        os.close(handle)
    assert spool.path("worker-1", "stdout").read_bytes() == b"ab"


def test_a_slot_is_not_used_while_a_process_of_its_job_lives(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """As long as any process has the files that a job inherited, the next attempt cannot begin in them."""
    with pytest.raises(BlockingIOError):
        spool.slot("worker-1").open()
    _end(job)
    for handle in spool.slot("worker-1").open():
        os.close(handle)


@pytest.mark.parametrize("held", STREAMS)
def test_one_open_file_is_enough_to_hold_a_slot(spool: Spool, held: str) -> None:
    """A process that closed one of its streams still holds the attempt by the other."""
    out, err = spool.slot("worker-1").open()
    os.close(err if held == "stdout" else out)
    with pytest.raises(BlockingIOError):
        spool.slot("worker-1").open()
    assert spool.seal(TOKEN, "worker-1", current=True) is None
    os.close(out if held == "stdout" else err)


def test_an_attempt_is_sealed_only_when_its_processes_are_gone(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """No seal while a process of the attempt lives, whatever its parent or session; afterwards it is to be had."""
    assert spool.seal(TOKEN, "worker-1", current=True) is None
    _end(job)
    seal = spool.seal(TOKEN, "worker-1", current=True)
    assert seal is not None
    with seal:
        assert seal.started


def test_nothing_starts_in_a_sealed_slot(spool: Spool) -> None:
    """While a rescuer settles in a worker's place, the worker cannot begin an attempt; afterwards the slot is free."""
    seal = spool.seal(TOKEN, "worker-1", current=False)
    assert seal is not None
    with seal:
        assert not seal.started
        with pytest.raises(BlockingIOError):
            spool.slot("worker-1").open()
        assert spool.seal(TOKEN, "worker-1", current=False) is None, "two rescuers never settle together"
    for handle in spool.slot("worker-1").open():
        os.close(handle)


STOPPED = """
import os, sys
from pathlib import Path
from queuectl_nb.store import spool
def pause(path, *flags, whole=os.open):
    handle = whole(path, *flags)
    if str(path).endswith("stdout"):
        print("opened", flush=True)
        sys.stdin.readline()
    return handle
spool.os.open = pause
try:
    spool.Spool(Path(sys.argv[1])).slot("worker-1").open()
except BlockingIOError:
    print("lost")
"""


def test_a_worker_stopped_in_the_middle_of_a_start_finds_the_seal(spool: Spool) -> None:
    """A worker that was frozen between opening its slot and locking it cannot start once a rescuer holds the seal."""
    root = str(Path(result_module.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(spool.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opened\n"
    seal = spool.seal(TOKEN, "worker-1", current=False)
    assert seal is not None
    with seal:
        assert process.communicate("\n", timeout=30)[0] == "lost\n"


def test_a_long_attempt_has_files_of_its_own(spool: Spool, job: subprocess.Popen[bytes]) -> None:
    """Renamed, the running attempt keeps its files and its lock, and the slot is free for the next one."""
    assert job.stdin is not None
    spool.slot("worker-1").rename(TOKEN)
    job.stdin.write(b"hello")
    job.stdin.flush()
    for handle in spool.slot("worker-1").open():
        os.close(handle)
    assert spool.seal(TOKEN, "worker-1", current=False) is None
    _end(job)
    seal = spool.seal(TOKEN, "worker-1", current=False)
    assert seal is not None
    with seal:
        assert seal.started, "files of its own say that it was started"
        assert keep(seal.paths["stdout"], 100) == Kept("hello", None, 5, spooled=False)
    assert spool.tokens() == {TOKEN}
    spool.remove(TOKEN)
    assert spool.tokens() == set()


def test_a_kill_in_the_middle_of_a_rename_loses_no_stream(spool: Spool) -> None:
    """Where only one of the two files was renamed, the seal finds each stream where it lies."""
    for handle in spool.slot("worker-1").open():
        os.write(handle, b"x")
        os.close(handle)
    spool.path("worker-1", "stdout").rename(spool.path(TOKEN, "stdout"))
    seal = spool.seal(TOKEN, "worker-1", current=True)
    assert seal is not None
    with seal:
        assert [keep(seal.paths[each], 9).head for each in STREAMS] == ["x", "x"]
        seal.clear()


def test_a_slot_is_emptied_behind_an_attempt(spool: Spool) -> None:
    """What the last attempt wrote is not the next one's."""
    slot = spool.slot("worker-1")
    for handle in slot.open():
        os.write(handle, b"old")
        os.close(handle)
    slot.clear()
    assert [keep(path, 9) for path in slot.paths.values()] == [NOTHING] * 2
    spool.slot("worker-9").clear()


# ---------------------------------------------------------------------- what is kept


def _kept(spool: Spool, data: bytes, limit: int) -> Kept:
    path = spool.path(TOKEN, "stdout")
    path.write_bytes(data)
    return keep(str(path), limit)


@pytest.mark.parametrize(
    ("data", "limit", "kept"),
    [
        (b"", 10, Kept("", None, 0, spooled=False)),
        (b"0123456789", 10, Kept("0123456789", None, 10, spooled=False)),
        (b"0123456789a", 10, Kept("01234", "6789a", 11, spooled=True)),
        (b"0123456789a", 7, Kept("012", "89a", 11, spooled=True)),
        (b"abc", 1, Kept("", "", 3, spooled=True)),
        (b"abc", 0, Kept("", "", 3, spooled=True)),
        (b"", 0, Kept("", None, 0, spooled=False)),
        (b"a\xffb", 10, Kept(b"a\xffb", None, 3, spooled=False)),
        (b"a\0b", 10, Kept(b"a\0b", None, 3, spooled=False)),
        (b"\x1b[31mr\r\n", 10, Kept("\x1b[31mr\r\n", None, 8, spooled=False)),
    ],
)
def test_a_stream_is_kept_whole_or_from_both_ends(spool: Spool, data: bytes, limit: int, kept: Kept) -> None:
    """Up to the limit all of it, else half from either end; clean UTF-8 is text, anything else stays bytes."""
    assert _kept(spool, data, limit) == kept


@given(st.text(min_size=20, max_size=60, alphabet="a\u00e9\u20ac\U0001f680"), st.integers(8, 30))
def test_a_cut_never_halves_a_character(tmp_path_factory: Any, text: str, limit: int) -> None:
    """Text that is cut stays text: a beginning and an end of it, each short by less than a character."""
    raw = text.encode()
    kept = _kept(Spool(tmp_path_factory.mktemp("spool")), raw, limit)
    if len(raw) <= limit:
        assert kept == Kept(text, None, len(raw), spooled=False)
        return
    assert isinstance(kept.head, str)
    assert isinstance(kept.tail, str)
    assert text.startswith(kept.head)
    assert text.endswith(kept.tail)
    for part in (kept.head, kept.tail):
        assert limit // 2 - 4 < len(part.encode()) <= limit // 2


@given(st.binary(max_size=80), st.integers(0, 40))
def test_bytes_that_are_cut_are_a_beginning_and_an_end(tmp_path_factory: Any, data: bytes, limit: int) -> None:
    """Whatever a job wrote, what is kept is a prefix and a suffix of it, and never more than the limit."""
    kept = _kept(Spool(tmp_path_factory.mktemp("spool")), data, limit)
    head, tail = (part.encode() if isinstance(part, str) else part for part in (kept.head, kept.tail or ""))
    assert data.startswith(head)
    assert data.endswith(tail)
    assert len(head) + len(tail) <= max(limit, 0)
    assert kept.size == len(data)


def test_a_stream_that_vanished_is_empty(spool: Spool) -> None:
    """A file that is not there is no output, not an error."""
    assert keep(str(spool.path(TOKEN, "stdout")), 10) == NOTHING
    assert spool.size(TOKEN, "stdout") == 0
    assert spool.piece(TOKEN, "stdout", 0, 10) is None


def test_what_is_missing_is_said_between_head_and_tail() -> None:
    """Joined again, head and tail have a line between them that counts the bytes that are not there."""
    assert stream("ab", None, 2) == "ab"
    assert stream(None, None, 0) is None
    assert stream("a\u00e9", "yz", 100) == "a\u00e9\n... 95 bytes not kept here ...\nyz"
    assert stream(b"\xff", "yz", 100) == b"\xff\n... 97 bytes not kept here ...\nyz"


def test_pieces_are_read_from_any_byte(spool: Spool) -> None:
    """A live stream is read from where the reader stands; at its end there is nothing yet."""
    spool.path(TOKEN, "stdout").write_bytes(b"0123456789")
    assert spool.piece(TOKEN, "stdout", 0, 4) == (0, b"0123")
    assert spool.piece(TOKEN, "stdout", 8, 4) == (8, b"89")
    assert spool.piece(TOKEN, "stdout", 10, 4) == (10, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives the middle of a file back")
def test_a_talkative_job_does_not_fill_the_disk(spool: Spool) -> None:
    """The middle of too large a stream is given back: its two ends stay, offsets stay true, readers skip the hole."""
    path = spool.path(TOKEN, "stdout")
    data = b"".join(b"line %010d of many\n" % n for n in range(170_000))[:4_000_000]
    path.write_bytes(data)
    trim([str(path), str(spool.path(TOKEN, "stderr"))], 400_000)
    if path.stat().st_blocks * 512 > 2_000_000:
        pytest.skip("this file system gives nothing back")
    assert path.stat().st_blocks * 512 < 500_000
    assert spool.total() < 500_000
    assert spool.size(TOKEN, "stdout") == len(data)
    assert spool.piece(TOKEN, "stdout", 0, 1000) == (0, data[:1000])
    assert spool.piece(TOKEN, "stdout", 3_990_000, 20_000) == (3_990_000, data[3_990_000:])
    start, piece = spool.piece(TOKEN, "stdout", 1_000_000, 1000) or (0, b"")
    assert 3_700_000 < start < 3_900_000
    assert piece == data[start : start + 1000]
    kept = keep(str(path), 1000)
    assert (kept.head, kept.tail, kept.size) == (data[:500].decode(), data[-500:].decode(), len(data))


# ---------------------------------------------------------------------- results


def _result(spool: Spool, raw: bytes) -> tuple[Any, str | None]:
    spool.path(TOKEN, "result").write_bytes(raw)
    text, wrong = spool.result(TOKEN)
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
    ],
)
def test_json_is_taken_and_what_json_does_not_have_becomes_null(spool: Spool, raw: bytes, value: object) -> None:
    """A result is any JSON; NaN and infinities, which Python's writers leave, are null."""
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
    assert wrong.startswith("its result was not taken: not valid JSON (")
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
    monkeypatch.setattr(result_module, "MAX_RESULT", 10)
    assert _result(spool, b"[1,2,3,45]") == ([1, 2, 3, 45], None)
    assert _result(spool, b"[1,2,3,456]") == (None, "its result was not taken: 11 bytes, 10 at most")


def test_no_result_is_no_note(spool: Spool) -> None:
    """A job that left nothing has no result and nothing to be told."""
    assert spool.result(TOKEN) == (None, None)


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
    value, wrong = spool.result(TOKEN)
    signal.alarm(0)
    assert time.monotonic() - began < 5
    assert value is None
    assert (wrong or "").startswith("its result was not taken: ")
    spool.remove(TOKEN)
    assert [each.name for each in spool.folder.iterdir()] == ["secret"]


# ---------------------------------------------------------------------- housekeeping


def test_files_are_removed_by_token_and_spared_by_stream(spool: Spool) -> None:
    """An attempt's files go together, those aside that stay as the rest of its output; others' are not touched."""
    for token in (TOKEN, TOKEN[::-1]):
        for each in (*STREAMS, "result"):
            spool.path(token, each).write_text("x" * 5000)
    spool.slot("worker-1").open()
    assert spool.tokens() == {TOKEN, TOKEN[::-1]}
    spool.remove(TOKEN, spare=frozenset({"stderr"}))
    assert sorted(each.name for each in spool.folder.glob(f"{TOKEN}*")) == [f"{TOKEN}.stderr"]
    assert spool.size(TOKEN, "stderr") == 5000
    assert spool.total() >= 4 * 5000
    spool.remove(TOKEN)
    spool.remove(TOKEN)
    assert spool.tokens() == {TOKEN[::-1]}
