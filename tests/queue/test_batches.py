"""Many jobs at once: dicts, DataFrames, templates; all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from queuectl_nb.queue import Queue


def test_dicts_become_jobs_in_their_order(queue: Queue) -> None:
    """Each dict has the fields of a job; fields in common lie below its own."""
    jobs = queue.enqueue_many([{"command": "a"}, {"command": "b", "priority": 9}], priority=2, tags=["t"])
    assert [(job.command, job.priority, job.tags) for job in jobs] == [("a", 2, ("t",)), ("b", 9, ("t",))]


def test_a_bad_row_is_named_and_none_is_enqueued(queue: Queue) -> None:
    """All or none, with the row's number."""
    with pytest.raises(BadInput, match=r"row 2.*priority"):
        queue.enqueue_many([{"command": "a"}, {"command": "b", "priority": "high"}])
    assert sum(queue.counts().values()) == 0


def test_a_frame_with_commands(queue: Queue) -> None:
    """Columns that are fields are taken, others are parameters; a missing value is not given."""
    frame = pd.DataFrame({"command": ["a", "b"], "timeout": [np.nan, 5.0], "priority": [1, 2], "seed": [7, 8]})
    jobs = queue.enqueue_many(frame)
    assert [(job.command, job.timeout, job.priority) for job in jobs] == [("a", None, 1), ("b", 5.0, 2)]


def test_a_template_is_filled_and_quoted_row_by_row(queue: Queue) -> None:
    """Values reach the shell as one word, whatever is in them; braces are doubled."""
    frame = pd.DataFrame({"name": ["it's", "$(rm -rf /)"], "n": np.array([1, 2], dtype="int64")})
    jobs = queue.enqueue_many("run {name} -n {n} {{}}", frame, queue="gpu")
    assert [job.command for job in jobs] == ["run 'it'\"'\"'s' -n 1 {}", "run '$(rm -rf /)' -n 2 {}"]
    assert {job.queue for job in jobs} == {"gpu"}


def test_an_unknown_placeholder_lists_the_columns(queue: Queue) -> None:
    """A name that is no column is refused with those there are."""
    with pytest.raises(BadInput, match="lr"):
        queue.enqueue_many("run {rl}", pd.DataFrame({"lr": [1]}))
    assert sum(queue.counts().values()) == 0
