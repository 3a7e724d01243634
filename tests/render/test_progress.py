"""The last line of an output, and the share that it tells of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.render.durations import format_duration
from queuectl_nb.render.progress import MAX_LINE_CHARS, read_progress
from queuectl_nb.render.text_table import visible

TQDM = " 45%|████▌     | 45/100 [00:01<00:01, 44.1it/s, acc=98%]"


@pytest.mark.parametrize(
    ("tail", "line", "share"),
    [
        (b"", "", None),
        (b"\n\r\n \t\n", "", None),
        (b"one\ntwo\n", "two", None),
        (b"one\r\ntwo", "two", None),
        (f"start\r 44%|x\r{TQDM}".encode(), TQDM.strip(), 0.45),
        (f"{TQDM}\r".encode(), TQDM.strip(), 0.45),
        (b"\x1b[32mcopied 12.5 %\x1b[0m of it\n", "copied 12.5 % of it", 0.125),
        (b"100%", "100%", 1.0),
        (b"120%", "120%", None),
        (b"train 45% test 98%", "train 45% test 98%", None),
        (b"version 1.2.3%", "version 1.2.3%", None),
        (b"cut \xe2\x96", "cut �", None),
        (b"\x96\x88 7%|x", "�� 7%|x", 0.07),
        (b"\x1b]0;title\x07\x1b[2Kdone", "done", None),
    ],
)
def test_the_last_line_and_its_share(tail: bytes, line: str, share: float | None) -> None:
    """The last line that is not blank counts, as the last return left it; of several percentages none is believed."""
    assert read_progress(tail) == (line, share)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_make_one_harmless_line(tail: bytes) -> None:
    """Whatever a job writes, the line has nothing invisible in it, and the share is between nothing and all."""
    line, share = read_progress(tail)
    assert visible(line) == line
    assert len(line) <= MAX_LINE_CHARS
    assert share is None or 0 <= share <= 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.0123, "12 ms"),
        (0.24, "0.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (183600, "2 d 03 h"),
        (1e12, "11574074 d 01 h"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    """From milliseconds to days, with the two units that matter."""
    assert format_duration(seconds) == text


def test_what_runs_changes_once_a_second() -> None:
    """Below a minute a running duration has whole seconds."""
    assert [format_duration(each, running=True) for each in (0.9, 1.0, 59.9, 60.0)] == [
        "0 s",
        "1 s",
        "59 s",
        "1 min 00 s",
    ]
