"""Progress read from output, and formatted durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.render.progress import MAX_LINE_CHARS, format_duration, read_progress
from queuectl_nb.render.text_table import visible

TQDM = " 45%|████▌     | 45/100 [00:01<00:01, 44.1it/s, acc=98%]"


@pytest.mark.parametrize(
    ("tail", "line", "fraction"),
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
def test_last_line_and_fraction(tail: bytes, line: str, fraction: float | None) -> None:
    """The last non-blank line is used; several percentages are ambiguous and ignored."""
    assert read_progress(tail) == (line, fraction)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_output_gives_a_clean_line(tail: bytes) -> None:
    """The line has no hidden characters, and the fraction is between 0 and 1."""
    line, fraction = read_progress(tail)
    assert visible(line) == line
    assert len(line) <= MAX_LINE_CHARS
    assert fraction is None or 0 <= fraction <= 1


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
    """Durations have their two largest units."""
    assert format_duration(seconds) == text


def test_running_durations_change_once_a_second() -> None:
    """Below a minute, a running duration has whole seconds."""
    assert [format_duration(each, running=True) for each in (0.9, 1.0, 59.9, 60.0)] == [
        "0 s",
        "1 s",
        "59 s",
        "1 min 00 s",
    ]
