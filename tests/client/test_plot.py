"""Plots of a queue: empty, of a second, of days, of a million attempts, running; and invalid arguments."""

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
from tests.client.history_factory import Attempt, insert_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes

    from queuectl_nb.client import Queue

NOW = time.time()
PICTURES = ["timeline", "durations", "throughput"]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Use a backend without windows, and close the figures."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def draw(ax: Axes) -> Axes:
    """Draw the figure, without warnings, and return the axes."""
    ax.figure.canvas.draw()
    return ax


def legend_texts(ax: Axes) -> list[str]:
    """Return the texts of the legend."""
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def boxes(ax: Axes) -> dict[str, int]:
    """Return the number of boxes of each outcome."""
    return {str(each.get_label()): len(each.get_paths()) for each in ax.collections}


@pytest.mark.parametrize("picture", PICTURES)
def test_empty_queue(queue: Queue, picture: str) -> None:
    """A queue without attempts gives axes that say so."""
    queue.enqueue("true")
    ax = draw(getattr(queue.plot, picture)())
    assert [text.get_text() for text in ax.texts] == ["no attempts yet"]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 100.0, 86_400.0, 400 * 86_400.0])
@pytest.mark.parametrize("picture", PICTURES)
def test_time_axis(queue: Queue, picture: str, seconds: float) -> None:
    """From zero seconds to a year the axis has a few readable ticks."""
    insert_history(
        queue, [Attempt("worker-1", NOW - 2 * seconds, NOW - seconds), Attempt("worker-1", NOW - seconds, NOW)]
    )
    ax = draw(getattr(queue.plot, picture)())
    marks = [text.get_text() for text in ax.get_xticklabels() if text.get_text()]
    low, high = ax.get_xlim()
    assert 1 <= len([each for each in ax.get_xticks() if low <= each <= high]) <= 14
    assert marks


@pytest.mark.parametrize("picture", PICTURES)
def test_ax(queue: Queue, picture: str) -> None:
    """``ax=`` is used and returned, and no other figure is created."""
    import matplotlib.pyplot as plt

    insert_history(queue, [Attempt("worker-1", NOW - 5, NOW)])
    _, ax = plt.subplots()
    assert getattr(queue.plot, picture)(ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_timeline(queue: Queue) -> None:
    """One row per worker in natural order, outcomes in the legend, running attempts as outlines."""
    past = [Attempt(f"worker-{n}", NOW - 100, NOW - 50, outcome) for n, outcome in enumerate(OUTCOME_NAMES, 8)]
    insert_history(queue, [*past, Attempt("worker-2", NOW - 40, None, None)])
    ax = draw(queue.plot.timeline())
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert rows == ["worker-2", *(f"worker-{n}" for n in range(8, 8 + len(OUTCOME_NAMES)))]
    assert legend_texts(ax) == [look.name for look in OUTCOME_STYLES.values()]
    (running,) = [each for each in ax.collections if each.get_label() == "running"]
    assert len(running.get_facecolor()) == 0
    assert ax.yaxis_inverted()


def test_timeline_of_many_attempts(queue: Queue) -> None:
    """A hundred consecutive attempts are a hundred bars; ten thousand are shares of time."""
    insert_history(queue, [Attempt("worker-1", NOW - 200 + 2 * n, NOW - 198 + 2 * n) for n in range(100)])
    assert boxes(draw(queue.plot.timeline())) == {"succeeded": 100}


def test_shares_of_time(queue: Queue) -> None:
    """A row of thousands shows the share of each outcome in each slice of time."""
    past = [Attempt("w", NOW - 1000 + n / 4, NOW - 999.8 + n / 4, ("succeeded", "failed")[n % 2]) for n in range(4000)]
    insert_history(queue, past)
    ax = draw(queue.plot.timeline())
    assert "fractions of time" in ax.get_title(loc="right")
    assert set(boxes(ax)) == {"succeeded", "failed"}
    assert max(boxes(ax).values()) <= 200
    assert "100 attempts" in queue.plot.timeline(limit=100).get_title(loc="right")


def test_durations(queue: Queue) -> None:
    """Groups with the most total time come first; dollars are literal, long commands are shortened."""
    commands = [f"echo $x {'y' * 60} $z {n}" for n in range(20)]
    insert_history(
        queue, [Attempt("w", NOW - 30 + n, NOW - 29 + 1.1 * n, command=each) for n, each in enumerate(commands)]
    )
    ax = draw(queue.plot.durations(limit=5))
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert len(rows) == 6
    assert rows[-1] == "(15 others)"
    assert rows[0].endswith("19")
    assert "…" in rows[0]
    assert [text.get_text().strip() for text in ax.texts] == ["1"] * 5 + ["15"]


def test_labels_are_literal(queue: Queue) -> None:
    """A dollar is not math text, and no backslash is drawn before it."""
    insert_history(queue, [Attempt("a", NOW - 60, 1.0, command="echo $A $B")])
    label: Any
    (label,) = draw(queue.plot.durations()).get_yticklabels()
    assert label._preprocess_math(label.get_text()) == ("echo $A $B", False)


def test_durations_of_own_outcomes_only(queue: Queue) -> None:
    """Cancelled, lost and returned attempts are left out."""
    past = [Attempt("w", NOW - 10, NOW - 9, outcome, queue=outcome) for outcome in OUTCOME_NAMES]
    insert_history(queue, past)
    ax = draw(queue.plot.durations(by="queue"))
    assert sorted(text.get_text() for text in ax.get_yticklabels()) == ["failed", "succeeded", "timed_out"]
    axes = draw(queue.plot.durations(by="tag"))
    assert [text.get_text() for text in axes.texts] == ["no attempts yet"]


def test_duration_axis(queue: Queue) -> None:
    """If the longest is many times the shortest, the ticks are round durations."""
    insert_history(
        queue, [Attempt("w", NOW - 0.002, NOW, command="a"), Attempt("w", NOW - 3 * 86_400, NOW, command="b")]
    )
    ax = draw(queue.plot.durations())
    assert ax.get_xscale() == "log"
    assert {"1 s", "1 min", "1 h", "1 d"} <= {text.get_text() for text in ax.get_xticklabels()}


def test_throughput(queue: Queue) -> None:
    """The areas of the bars are the numbers of finished attempts by outcome."""
    past = [Attempt("w", NOW - 601, NOW - 600 + n, "failed" if n % 3 else "succeeded") for n in range(600)]
    insert_history(queue, past)
    ax = draw(queue.plot.throughput())
    assert legend_texts(ax) == ["succeeded", "failed"]
    minutes = sum(bar.get_height() * bar.get_width() * 24 * 60 for each in ax.containers for bar in each)
    assert minutes == pytest.approx(600)


AGES: dict[str, Callable[[float], Any]] = {
    "epoch": lambda now: now - 60,
    "datetime": lambda now: datetime.fromtimestamp(now - 60, UTC),
    "timedelta": lambda _: timedelta(minutes=1),
    "age": lambda _: "60s",
    "iso": lambda now: datetime.fromtimestamp(now - 60, UTC).isoformat(),
    "all": lambda _: None,
}


@pytest.mark.parametrize("kind", AGES)
def test_since(queue: Queue, kind: str) -> None:
    """Epoch seconds, datetimes, timedeltas, ages and ISO texts exclude earlier attempts."""
    now = time.time()  # of this test: the run began long ago
    insert_history(queue, [Attempt("old", now - 3600, now - 3000), Attempt("new", now - 20, now + 100)])
    since = AGES[kind](now)
    rows = [text.get_text() for text in queue.plot.timeline(since=since).get_yticklabels()]
    assert rows == (["new", "old"] if since is None else ["new"])


@pytest.mark.parametrize("wrong", [{"by": "colour"}, {"limit": 0}, {"limit": "x"}, {"since": "soon"}, {"since": True}])
def test_invalid_arguments(queue: Queue, wrong: dict[str, Any]) -> None:
    """Invalid arguments are refused in one line."""
    with pytest.raises(BadInput):
        queue.plot.durations(**wrong)


def test_overview(queue: Queue) -> None:
    """One figure with the three plots, not registered with pyplot, so that no notebook shows it twice."""
    import matplotlib.pyplot as plt

    assert len(queue.plot.overview().axes) == 3
    insert_history(queue, [Attempt("w", NOW - 20, NOW - 10)])
    figure = queue.plot.overview(by="queue", since="1h")
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "Finished attempts per minute",
        "Attempts by worker",
        "Run time by queue",
    ]
    assert plt.get_fignums() == []


@pytest.mark.parametrize("picture", [*PICTURES, "overview"])
def test_without_matplotlib(queue: Queue, picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; the rest of the queue works."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadEnvironment, match=r"pip install 'queuectl-nb\[plot\]'"):
        getattr(queue.plot, picture)()
    assert "timeline()" in repr(queue.plot)


def test_clock_set_back(queue: Queue) -> None:
    """An attempt that ended before it started has duration 0."""
    insert_history(queue, [Attempt("w", NOW, NOW - 3600), Attempt("w", NOW, NOW - 1, command="b")])
    for picture in PICTURES:
        draw(getattr(queue.plot, picture)())
