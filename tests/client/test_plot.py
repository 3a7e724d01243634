"""Pictures of a queue: nothing in it, one second, days, a million attempts, running ones; and what is refused."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pytest

from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.render.plots.axes import OUTCOME_STYLES
from tests.client.history_factory import Was, live_through

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from queuectl_nb.client import Queue

NOW = time.time()
PICTURES = ["timeline", "durations", "throughput"]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Draw without a window, and close what was drawn."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def drawn(ax: Axes) -> Axes:
    """Return the axes after they were really painted, which warns about nothing."""
    ax.figure.canvas.draw()
    return ax


def said(ax: Axes) -> list[str]:
    """Return what the legend says."""
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def boxes(ax: Axes) -> dict[str, int]:
    """Return the number of boxes of each outcome."""
    return {str(each.get_label()): len(each.get_paths()) for each in ax.collections}


@pytest.mark.parametrize("picture", PICTURES)
def test_nothing_yet_is_a_picture_too(queue: Queue, picture: str) -> None:
    """A queue without attempts gives axes that say so."""
    queue.enqueue("true")
    ax = drawn(getattr(queue.plot, picture)())
    assert [text.get_text() for text in ax.texts] == ["no attempts yet"]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 100.0, 86_400.0, 400 * 86_400.0])
@pytest.mark.parametrize("picture", PICTURES)
def test_a_moment_and_a_year_have_sensible_axes(queue: Queue, picture: str, seconds: float) -> None:
    """From nothing to a year there are marks on the axis, not too many, and they are no formulas of others."""
    live_through(queue, [Was("worker-1", NOW - 2 * seconds, NOW - seconds), Was("worker-1", NOW - seconds, NOW)])
    ax = drawn(getattr(queue.plot, picture)())
    marks = [text.get_text() for text in ax.get_xticklabels() if text.get_text()]
    low, high = ax.get_xlim()
    assert 1 <= len([each for each in ax.get_xticks() if low <= each <= high]) <= 14
    assert marks


@pytest.mark.parametrize("picture", PICTURES)
def test_the_users_axes_are_used_and_returned(queue: Queue, picture: str) -> None:
    """With ax= nothing else is made."""
    import matplotlib.pyplot as plt

    live_through(queue, [Was("worker-1", NOW - 5, NOW)])
    _, ax = plt.subplots()
    assert getattr(queue.plot, picture)(ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_the_timeline_has_a_row_a_worker_and_open_bars(queue: Queue) -> None:
    """Workers in the order of people, outcomes in the legend, what runs as a hollow box until now."""
    past = [Was(f"worker-{n}", NOW - 100, NOW - 50, outcome) for n, outcome in enumerate(OUTCOME_NAMES, 8)]
    live_through(queue, [*past, Was("worker-2", NOW - 40, None, None)])
    ax = drawn(queue.plot.timeline())
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert rows == ["worker-2", *(f"worker-{n}" for n in range(8, 8 + len(OUTCOME_NAMES)))]
    assert said(ax) == [look.name for look in OUTCOME_STYLES.values()]
    (running,) = [each for each in ax.collections if each.get_label() == "running"]
    assert len(running.get_facecolor()) == 0
    assert ax.yaxis_inverted()


def test_attempts_side_by_side_stay_apart_while_they_can_be_told_apart(queue: Queue) -> None:
    """A hundred attempts without a pause are a hundred bars; ten thousand are fractions of time."""
    live_through(queue, [Was("worker-1", NOW - 200 + 2 * n, NOW - 198 + 2 * n) for n in range(100)])
    assert boxes(drawn(queue.plot.timeline())) == {"succeeded": 100}


def test_many_attempts_become_shares_of_time(queue: Queue) -> None:
    """A row of thousands shows how much of each slice of time went into which outcome."""
    past = [Was("w", NOW - 1000 + n / 4, NOW - 999.8 + n / 4, ("succeeded", "failed")[n % 2]) for n in range(4000)]
    live_through(queue, past)
    ax = drawn(queue.plot.timeline())
    assert "fractions of time" in ax.get_title(loc="right")
    assert set(boxes(ax)) == {"succeeded", "failed"}
    assert max(boxes(ax).values()) <= 200
    assert "100 attempts" in queue.plot.timeline(limit=100).get_title(loc="right")


def test_durations_have_a_row_a_group_and_one_for_the_others(queue: Queue) -> None:
    """Those that took most time come first; dollars in a command are no formula; long ones lose their middle."""
    commands = [f"echo $x {'y' * 60} $z {n}" for n in range(20)]
    live_through(queue, [Was("w", NOW - 30 + n, NOW - 29 + 1.1 * n, command=each) for n, each in enumerate(commands)])
    ax = drawn(queue.plot.durations(limit=5))
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert len(rows) == 6
    assert rows[-1] == "(15 others)"
    assert rows[0].endswith("19")
    assert "…" in rows[0]
    assert [text.get_text().strip() for text in ax.texts] == ["1"] * 5 + ["15"]


def test_a_command_is_labelled_as_it_was_written(queue: Queue) -> None:
    """A dollar makes no formula of a label, and none is painted with a backslash before it."""
    live_through(queue, [Was("a", NOW - 60, 1.0, command="echo $A $B")])
    (label,) = drawn(queue.plot.durations()).get_yticklabels()
    assert label._preprocess_math(label.get_text()) == ("echo $A $B", False)


def test_durations_leave_out_what_did_not_end_by_itself(queue: Queue) -> None:
    """Cancelled, lost and returned attempts tell nothing of how long a command takes."""
    past = [Was("w", NOW - 10, NOW - 9, outcome, queue=outcome) for outcome in OUTCOME_NAMES]
    live_through(queue, past)
    ax = drawn(queue.plot.durations(by="queue"))
    assert sorted(text.get_text() for text in ax.get_yticklabels()) == ["failed", "succeeded", "timed_out"]
    live_through_tags = drawn(queue.plot.durations(by="tag"))
    assert [text.get_text() for text in live_through_tags.texts] == ["no attempts yet"]


def test_milliseconds_and_days_share_an_axis_of_multiples(queue: Queue) -> None:
    """Where the longest is many times the shortest, the marks are round durations."""
    live_through(queue, [Was("w", NOW - 0.002, NOW, command="a"), Was("w", NOW - 3 * 86_400, NOW, command="b")])
    ax = drawn(queue.plot.durations())
    assert ax.get_xscale() == "log"
    assert {"1 s", "1 min", "1 h", "1 d"} <= {text.get_text() for text in ax.get_xticklabels()}


def test_throughput_counts_per_minute(queue: Queue) -> None:
    """The bars' areas are the attempts that ended, by outcome."""
    past = [Was("w", NOW - 601, NOW - 600 + n, "failed" if n % 3 else "succeeded") for n in range(600)]
    live_through(queue, past)
    ax = drawn(queue.plot.throughput())
    assert said(ax) == ["succeeded", "failed"]
    minutes = sum(bar.get_height() * bar.get_width() * 24 * 60 for each in ax.containers for bar in each)
    assert minutes == pytest.approx(600)


AGES = {
    "epoch": lambda now: now - 60,
    "datetime": lambda now: datetime.fromtimestamp(now - 60, UTC),
    "timedelta": lambda _: timedelta(minutes=1),
    "age": lambda _: "60s",
    "iso": lambda now: datetime.fromtimestamp(now - 60, UTC).isoformat(),
    "all": lambda _: None,
}


@pytest.mark.parametrize("kind", AGES)
def test_since_takes_what_people_write(queue: Queue, kind: str) -> None:
    """Epoch seconds, datetimes, timedeltas, ages and ISO texts leave out what ended earlier."""
    now = time.time()  # of this test: the run began long ago
    live_through(queue, [Was("old", now - 3600, now - 3000), Was("new", now - 20, now + 100)])
    since = AGES[kind](now)
    rows = [text.get_text() for text in queue.plot.timeline(since=since).get_yticklabels()]
    assert rows == (["new", "old"] if since is None else ["new"])


@pytest.mark.parametrize("wrong", [{"by": "colour"}, {"limit": 0}, {"limit": "x"}, {"since": "soon"}, {"since": True}])
def test_mistakes_are_told(queue: Queue, wrong: dict[str, Any]) -> None:
    """What cannot be taken is refused in a line."""
    with pytest.raises(BadInput):
        queue.plot.durations(**wrong)


def test_an_overview_has_all(queue: Queue) -> None:
    """One figure with the three; it belongs to nobody, so that no notebook shows it twice."""
    import matplotlib.pyplot as plt

    assert len(queue.plot.overview().axes) == 3
    live_through(queue, [Was("w", NOW - 20, NOW - 10)])
    figure = queue.plot.overview(by="queue", since="1h")
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "Finished attempts per minute",
        "Attempts by worker",
        "Run time by queue",
    ]
    assert plt.get_fignums() == []


@pytest.mark.parametrize("picture", [*PICTURES, "overview"])
def test_without_matplotlib_the_remedy_is_named(queue: Queue, picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install; the rest of the queue works."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadEnvironment, match=r"pip install 'queuectl-nb\[plot\]'"):
        getattr(queue.plot, picture)()
    assert "timeline()" in repr(queue.plot)


def test_a_clock_that_was_set_back_draws_too(queue: Queue) -> None:
    """An attempt that ends before it began takes no time."""
    live_through(queue, [Was("w", NOW, NOW - 3600), Was("w", NOW, NOW - 1, command="b")])
    for picture in PICTURES:
        drawn(getattr(queue.plot, picture)())
