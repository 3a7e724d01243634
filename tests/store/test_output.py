"""The stored part of a stream: all of it, or its head and tail."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.settings import Settings
from queuectl_nb.store.output import EMPTY_STREAM, StoredStream, limit_files, punch_middle, read_truncated
from queuectl_nb.store.rows import join_stream
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "0123456789abcdef" * 2


def _kept(spool: Spool, data: bytes, limit: int) -> StoredStream:
    path = spool.path(TOKEN, "stdout")
    path.write_bytes(data)
    return read_truncated(str(path), limit)


@pytest.mark.parametrize(
    ("data", "limit", "kept"),
    [
        (b"", 10, StoredStream("", None, 0, spooled=False)),
        (b"0123456789", 10, StoredStream("0123456789", None, 10, spooled=False)),
        (b"0123456789a", 10, StoredStream("01234", "6789a", 11, spooled=True)),
        (b"0123456789a", 7, StoredStream("012", "89a", 11, spooled=True)),
        (b"abc", 1, StoredStream("", "", 3, spooled=True)),
        (b"abc", 0, StoredStream("", "", 3, spooled=True)),
        (b"", 0, StoredStream("", None, 0, spooled=False)),
        (b"a\xffb", 10, StoredStream(b"a\xffb", None, 3, spooled=False)),
        (b"a\0b", 10, StoredStream(b"a\0b", None, 3, spooled=False)),
        (b"\x1b[31mr\r\n", 10, StoredStream("\x1b[31mr\r\n", None, 8, spooled=False)),
    ],
)
def test_head_and_tail(spool: Spool, data: bytes, limit: int, kept: StoredStream) -> None:
    """Up to the limit everything is kept, else half from each end; valid UTF-8 is text, the rest bytes."""
    assert _kept(spool, data, limit) == kept


@given(st.text(min_size=20, max_size=60, alphabet="a\u00e9\u20ac\U0001f680"), st.integers(8, 30))
def test_cut_at_character_boundaries(tmp_path_factory: Any, text: str, limit: int) -> None:
    """Text stays text: head and tail are shortened by less than a character each."""
    raw = text.encode()
    kept = _kept(Spool(tmp_path_factory.mktemp("spool")), raw, limit)
    if len(raw) <= limit:
        assert kept == StoredStream(text, None, len(raw), spooled=False)
        return
    assert isinstance(kept.head, str)
    assert isinstance(kept.tail, str)
    assert text.startswith(kept.head)
    assert text.endswith(kept.tail)
    for part in (kept.head, kept.tail):
        assert limit // 2 - 4 < len(part.encode()) <= limit // 2


@given(st.binary(max_size=80), st.integers(0, 40))
def test_cut_bytes(tmp_path_factory: Any, data: bytes, limit: int) -> None:
    """Of any output, a prefix and a suffix are kept, never more than the limit."""
    kept = _kept(Spool(tmp_path_factory.mktemp("spool")), data, limit)
    head, tail = (part.encode() if isinstance(part, str) else part for part in (kept.head, kept.tail or ""))
    assert data.startswith(head)
    assert data.endswith(tail)
    assert len(head) + len(tail) <= max(limit, 0)
    assert kept.size == len(data)


def test_missing_stream(spool: Spool) -> None:
    """A missing file is empty output, not an error."""
    assert read_truncated(str(spool.path(TOKEN, "stdout")), 10) == EMPTY_STREAM
    assert spool.size(TOKEN, "stdout") == 0
    assert spool.read(TOKEN, "stdout", 0, 10) is None
    with pytest.raises(OSError, match="too long"):
        spool.read("t" * 300, "stdout", 0, 10)


def test_omission_line() -> None:
    """A line between head and tail counts the missing bytes."""
    assert join_stream("ab", None, 2) == "ab"
    assert join_stream(None, None, 0) is None
    assert join_stream("a\u00e9", "yz", 100) == "a\u00e9\n... 95 bytes not kept here ...\nyz"
    assert join_stream(b"\xff", "yz", 100) == b"\xff\n... 97 bytes not kept here ...\nyz"


def test_read_from_an_offset(spool: Spool) -> None:
    """A live stream is read from the reader's offset; at its end there is nothing yet."""
    spool.path(TOKEN, "stdout").write_bytes(b"0123456789")
    assert spool.read(TOKEN, "stdout", 0, 4) == (0, b"0123")
    assert spool.read(TOKEN, "stdout", 8, 4) == (8, b"89")
    assert spool.read(TOKEN, "stdout", 10, 4) == (10, b"")


@pytest.fixture
def holes(tmp_path: Path) -> None:
    """Skip the test where a file system gives nothing back of the middle of a file."""
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * 65_536)
    program = shutil.which("fallocate")
    if not program or subprocess.run([program, "--punch-hole", "--length", "32768", probe], check=False).returncode:
        pytest.skip("this file system, or system, cannot free the middle of a file")


@pytest.mark.usefixtures("holes")
def test_hole_in_a_large_stream(spool: Spool) -> None:
    """The middle of a large stream is freed: head and tail stay, offsets stay valid, readers skip the hole."""
    path = spool.path(TOKEN, "stdout")
    data = b"".join(b"line %010d of many\n" % n for n in range(170_000))[:4_000_000]
    path.write_bytes(data)
    punch_middle([str(path), str(spool.path(TOKEN, "stderr"))], 400_000)
    assert path.stat().st_blocks * 512 < 500_000
    assert spool.disk_usage() < 500_000
    assert spool.size(TOKEN, "stdout") == len(data)
    assert spool.read(TOKEN, "stdout", 0, 1000) == (0, data[:1000])
    assert spool.read(TOKEN, "stdout", 3_990_000, 20_000) == (3_990_000, data[3_990_000:])
    start, piece = spool.read(TOKEN, "stdout", 1_000_000, 1000) or (0, b"")
    assert 3_700_000 < start < 3_900_000
    assert piece == data[start : start + 1000]
    kept = read_truncated(str(path), 1000)
    assert (kept.head, kept.tail, kept.size) == (data[:500].decode(), data[-500:].decode(), len(data))


@pytest.mark.usefixtures("holes")
@pytest.mark.parametrize("output_limit", [1000, 100_000, 10**6])
def test_hole_is_not_output(spool: Spool, output_limit: int) -> None:
    """No reader returns the zeros of a hole, which the job never wrote, whichever limit is greater."""
    path = spool.path(TOKEN, "stdout")
    data = b"".join(b"line %010d of many\n" % n for n in range(40_000))
    path.write_bytes(data)
    punch_middle([str(path)], 16_384)
    assert path.stat().st_blocks * 512 < 400_000
    kept = read_truncated(str(path), output_limit)
    assert isinstance(kept.head, str)
    assert isinstance(kept.tail, str)
    assert data.startswith(kept.head.encode())
    assert data.endswith(kept.tail.encode())
    assert min(len(kept.head), len(kept.tail)) >= min(output_limit // 2, 8192)
    assert (kept.size, kept.spooled) == (len(data), len(data) > output_limit)
    offset, pieces = 0, 0
    while offset < len(data):
        start, piece = spool.read(TOKEN, "stdout", offset, 10**6) or (0, b"")
        assert piece
        assert piece == data[start : start + len(piece)]
        offset, pieces = start + len(piece), pieces + 1
    assert pieces == 2


@pytest.mark.usefixtures("holes")
def test_output_on_a_full_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written, the middle of streams over ``output_limit`` is freed; others stay whole."""
    large, small = spool.path(TOKEN, "stdout"), spool.path(TOKEN, "stderr")
    paths = [str(small), str(large), f"{large}.missing"]
    limits = Settings.from_stored({"output_limit": 65_536})
    large.write_bytes(b"x" * 1_000_000)
    small.write_bytes(b"x" * 65_536)
    assert not limit_files(paths, limits)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    number = errno.EACCES
    assert not limit_files(paths, limits)
    assert large.read_bytes() == b"x" * 1_000_000
    number = errno.ENOSPC
    assert not limit_files([str(small)], limits)
    assert limit_files(paths, limits)
    kept = large.read_bytes()
    assert 60_000 < kept.count(b"x") < 80_000
    assert kept.startswith(b"x" * 32_768)
    assert kept.endswith(b"x" * 32_768)
    assert small.read_bytes() == b"x" * 65_536
    assert not limit_files(paths, limits), "what is left is kept"


def test_end_that_the_job_never_wrote(spool: Spool) -> None:
    """A job that lengthens its own output file leaves a hole at the end, of which nothing is read."""
    path = spool.path(TOKEN, "stdout")
    path.write_bytes(b"x" * 4096)
    os.truncate(path, 1_000_000)
    if path.stat().st_blocks * 512 > 4096:
        pytest.skip("this file system has no holes")
    assert spool.read(TOKEN, "stdout", 0, 10**6) == (0, b"x" * 4096)
    assert spool.read(TOKEN, "stdout", 4096, 10**6) == (1_000_000, b"")
    assert read_truncated(str(path), 10**7) == StoredStream("x" * 4096, "", 1_000_000, spooled=False)
