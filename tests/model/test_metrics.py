"""Metrics: which lines count, and which points are kept."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from queuectl_nb.model.metrics import MAX_LINE_BYTES, MAX_NAMES, MAX_POINTS, MetricsParser, decode_series


def parse(*lines: object, max_points: int = MAX_POINTS) -> MetricsParser:
    """Return a parser that was given lines: text as it is, other values as JSON."""
    parser = MetricsParser(max_points)
    parser.feed("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines).encode(), 0, 0)
    return parser


def test_a_line() -> None:
    """Numbers are points; progress is kept apart, and what is not a number is left out."""
    parser = parse({"progress": 0.3, "loss": 0.5, "step": 7, "time": 1.7e9, "name": "x", "on": True, "list": [1]})
    assert parser.progress == 0.3
    assert parser.last_values == {"loss": 0.5}
    assert parser.series["loss"].last == (1.7e9, 7, 0.5)
    assert parser.invalid == 0


@pytest.mark.parametrize(
    "line", ["nonsense", "[1]", "3", "null", '{"a":', "[" * 9999, "\0", '{"a": ' + "9" * 5000 + "}"]
)
def test_invalid_lines(line: str) -> None:
    """A line that is not a JSON object is counted, and does not affect others."""
    parser = parse({"loss": 1}, line, {"loss": 2}, line)
    assert (parser.invalid, parser.last_values) == (2, {"loss": 2})


def test_a_long_line() -> None:
    """A line that never ends takes a bounded amount of memory, and counts once."""
    parser = MetricsParser()
    for count in (1, 2):
        for _ in range(5):
            parser.feed(b'{"x"' + b" " * MAX_LINE_BYTES, 0, 0)
        parser.feed(b'\n{"loss": 1}\n', 0, 0)
        assert (parser.invalid, parser.last_values) == (count, {"loss": 1})


def test_invalid_bytes_and_crlf() -> None:
    """Bytes that are not UTF-8 make a line invalid; other line ends and empty lines do not."""
    parser = MetricsParser()
    parser.feed(b'\xff\xfe\n\r\n\n{"loss": 1}\r\n', 0, 0)
    assert (parser.invalid, parser.last_values) == (1, {"loss": 1})


@pytest.mark.parametrize(
    ("raw", "value"), [("NaN", None), ("Infinity", None), ("1e999", None), ("null", None), ("3.0", 3)]
)
def test_json_numbers(raw: str, value: object) -> None:
    """NaN and infinities are null in JSON."""
    result = parse(f'{{"loss": {raw}}}').result()
    assert result is not None
    assert json.loads(result.last or "") == {"loss": value}


@pytest.mark.parametrize(("digits", "value"), [("9" * 400, math.inf), ("-" + "9" * 400, -math.inf)])
def test_numbers_too_large_for_a_float(digits: str, value: float) -> None:
    """An integer that no float can hold is an infinity with its sign."""
    parser = parse(f'{{"loss": {digits}}}')
    assert parser.invalid == 0
    assert parser.series["loss"].last[2] == value


def test_progress_is_limited() -> None:
    """Progress stays between 0 and 1."""
    assert [parse({"progress": each}).progress for each in (-1, 1.0001, "x", None)] == [0, 1, None, None]
    assert parse('{"progress": NaN}').progress is None


def test_time_as_a_metric() -> None:
    """A small number called time is a duration, not a timestamp."""
    assert parse({"time": 0.25}).last_values == {"time": 0.25}


def test_times_of_lines_without_one() -> None:
    """A line without a time is dated by its place among those that were read with it."""
    parser = MetricsParser()
    parser.feed(b'{"a": 1}\n' * 4, 100, 104)
    assert list(parser.series["a"].times) == [101, 102, 103, 104]


def test_chunks() -> None:
    """Lines may be split at any byte; the last one needs no newline."""
    whole = b'{"loss": 1}\n{"loss": 2.5, "b": 1}\nx\n{"loss": 4}'
    for cut in range(len(whole)):
        parser = MetricsParser()
        parser.feed(whole[:cut], 0, 0)
        parser.feed(whole[cut:], 0, 0)
        parser.finish(0)
        assert list(parser.series["loss"].values) == [1, 2.5, 4]
        assert parser.invalid == 1


def test_a_gap() -> None:
    """After bytes that were not read, the first line is dropped: it may be incomplete."""
    parser = parse({"a": 1})
    parser.feed(b'9}\n{"a": 2}\n', 0, 0, gap=True)
    assert (parser.invalid, parser.last_values) == (0, {"a": 2})


@pytest.mark.parametrize("count", [1, 99, 100, 101, 102, 250, 1000, 12_345])
def test_thinning_out(count: int) -> None:
    """No more than the limit is kept: evenly spread, with the first and the last."""
    parser = parse(*({"a": n} for n in range(count)), max_points=100)
    values = list(parser.series["a"].columns()[2])
    assert len(values) <= 100
    assert len(values) >= min(count, 40)
    assert (values[0], values[-1]) == (0, count - 1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(values)]
    assert len(set(gaps[:-1])) <= 1
    assert gaps[-1:] <= gaps[:1]
    assert values == sorted(set(values))


def test_rare_metrics_are_kept() -> None:
    """A metric that is reported once in a thousand lines keeps all of its points."""
    lines = ({"loss": n, **({"val": n} if n % 1000 == 999 else {})} for n in range(10_000))
    parser = parse(*lines, max_points=100)
    assert list(parser.series["val"].columns()[2]) == [n for n in range(10_000) if n % 1000 == 999]
    assert sum(map(len, parser.series.values())) <= 100


def test_names_are_limited() -> None:
    """A job that makes up names without end fills no memory; long and unprintable ones are left out."""
    parser = parse(*({f"n{n}": n} for n in range(MAX_NAMES + 50)), {"x" * 200: 1, "\x1b": 1})
    assert len(parser.series) == MAX_NAMES


def test_encoding() -> None:
    """What is stored can be read again, missing steps and NaN included."""
    result = parse({"a": 1, "step": 3}, '{"a": NaN, "b": 2}').result()
    assert result is not None
    found = decode_series(result.points)
    assert list(found) == ["a", "b"]
    _, steps, values = found["a"]
    assert steps[0] == 3
    assert math.isnan(steps[1])
    assert math.isnan(values[1])
    assert list(found["b"][2]) == [2]


def test_nothing_reported() -> None:
    """An empty file has no result; one that has only invalid lines has their number."""
    assert MetricsParser().result() is None
    result = parse("x").result()
    assert result is not None
    assert (result.invalid, result.last, result.progress) == (1, None, None)
