"""How a notebook shows our DataFrames and errors, and what it says about expansion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.cell_outputs import render_displays
from queuectl_nb.render.frames.display import frame_html
from queuectl_nb.testing import run_pending

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


def test_commands_in_frames(queue: Queue) -> None:
    """MathJax ignores them, ids are not broken; the values and other frames are unchanged."""
    queue.enqueue("echo $A and $B", id="a")
    frame = queue.jobs()
    frames = (frame, frame.head(5), queue.results(), queue.attempts(), queue.errors(), queue.grep("x"), queue.status())
    for each in frames:
        assert "mathjax_ignore" in str(frame_html(each))
    assert '<th style="white-space: nowrap">a</th>' in str(frame_html(frame))
    plain = frame.reset_index(drop=True)
    plain.attrs.clear()
    assert "mathjax_ignore" not in str(frame_html(plain))


def test_cards_are_not_formulas(queue: Queue) -> None:
    """MathJax ignores tables and texts of cards, but not what a cell displays in one."""
    assert 'class="queuectl tex2jax_ignore mathjax_ignore"' in str(queue.enqueue("echo $A and $B")._repr_html_())
    assert "mathjax_process" in render_displays([{"data": {"text/html": "<p>$x$</p>"}}])[0].html


def test_errors_are_not_cut(queue: Queue) -> None:
    """Reasons of failures and lines of logs are shown in full, unless the user wants fewer characters."""
    reason = f"ValueError: {'long ' * 17}reason"
    queue.enqueue(f"echo '{reason}' >&2; exit 1", max_retries=1)
    run_pending(queue)
    for frame in (queue.errors(), queue.grep("ValueError")):
        assert reason in str(frame_html(frame))
    with pd.option_context("display.max_colwidth", 20):
        assert reason not in str(frame_html(queue.errors()))


def test_stats_are_a_card(queue: Queue) -> None:
    """The metrics of all jobs are shown one below the other; groups are a table."""
    queue.enqueue("true")
    shown = str(frame_html(queue.stats()))
    assert "Metrics" in shown
    assert "<td>pending</td><td>1</td>" in shown
    run_pending(queue)
    shown = str(frame_html(queue.stats()))
    for title in ("average run time", "median wait", "95th percentile run time", "completed per minute", "peak memory"):
        assert f"<td>{title}</td>" in shown
    assert "dataframe" in str(frame_html(queue.stats(by="queue")))


def test_errors_of_the_api_are_one_line(shell: Any, queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    """As those of the magic: ``retry`` of a job in a wrong state shows no traceback."""
    queue.enqueue("true", id="a")
    shell.run_cell("from queuectl_nb import Queue\nQueue().retry('a')")
    assert capsys.readouterr().out.splitlines() == [
        "WrongState: job a is pending; 'retry' takes jobs that are failed, completed, dead, cancelled"
    ]


@pytest.mark.parametrize("word", ["{job.id}", "{jobs[0]}", "$job_id", "${job_id}"])
def test_expansion_is_explained(cell: Any, word: str) -> None:
    """An argument that other magics would expand is an error that names --var."""
    with pytest.raises(BadInput, match="--var NAME"):
        cell(f"%queuectl log {word}")
    assert cell("%queuectl enqueue --command {x}").command == "{x}"
    assert cell("%queuectl enqueue -- echo '$HOME'").command == "echo '$HOME'"
