"""``errors``: failed and dead jobs by reason, and their keys in selections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from queuectl_nb.model.outcome import Exited, Lost, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

READ = {"read-0", "read-1", "read-2"}


@pytest.fixture
def failed(manual_worker: ManualWorker) -> ManualWorker:
    """Fail five jobs for three reasons, and complete one."""
    for number in range(3):
        manual_worker.add(f"read-{number}", max_retries=1, tags=["sweep"])
        manual_worker.run(f"read-{number}", Exited(1), stderr=f"cannot read {number}.csv\n", stderr_size=9)
    manual_worker.add("slow", max_retries=1)
    manual_worker.run("slow", TimedOut(30.0))
    manual_worker.add("again")
    manual_worker.run("again", Lost("worker-1", "was killed"))
    manual_worker.add("fine")
    manual_worker.run("fine")
    return manual_worker


@pytest.mark.usefixtures("failed")
def test_groups(run: Callable[..., Ran]) -> None:
    """The largest group comes first; its message is that of the job that failed last."""
    groups = json.loads(run("errors", "--json").stdout)
    assert list(groups[0]) == ["key", "count", "reason", "message", "first_at", "last_at", "example"]
    assert [(each["count"], each["reason"], each["example"]) for each in groups] == [
        (3, "exit", "read-2"),
        (1, "lost", "again"),
        (1, "timeout", "slow"),
    ]
    assert groups[0]["message"] == "exit code 1: cannot read 2.csv"
    assert groups[0]["first_at"] < groups[0]["last_at"]
    assert run("errors").stdout.splitlines()[1].startswith(groups[0]["key"])


@pytest.mark.usefixtures("failed")
def test_selections(run: Callable[..., Ran]) -> None:
    """``errors`` takes ids or a selection; the key of a group selects its jobs in other verbs."""
    (group,) = json.loads(run("errors", "--tag", "sweep", "--json").stdout)
    assert [each["count"] for each in json.loads(run("errors", "read-0", "slow", "--json").stdout)] == [1, 1]
    ran = run("errors", "nowhere")
    assert (ran.exit_code, ran.stdout, ran.stderr.startswith("queuectl: no job nowhere in ")) == (5, "", True)
    assert {job["id"] for job in json.loads(run("list", "--error", group["key"], "--json").stdout)} == READ
    ran = run("retry", "--error", group["key"], "--search", "read-1")
    assert ran.stdout == "1 job moved back to queue for retry.\n"
    assert json.loads(run("errors", "--error", group["key"], "--json").stdout)[0]["count"] == 2
    assert run("retry", "--error", "unknown").stdout == "No jobs match.\n"
    assert run("errors", "--state", "pending").stdout == "No failed or dead jobs match.\n"
    assert run("errors", "--error", "unknown").stdout == "No failed or dead jobs match.\n"


def test_attempts_and_retries(run: Callable[..., Ran], failed: ManualWorker) -> None:
    """Each attempt keeps its reason and key; a job that runs again, is cancelled or completed has none."""
    history = json.loads(run("show", "again", "--json").stdout)["history"]
    assert list(history[0])[-2:] == ["reason", "error_key"]
    assert history[0]["reason"] == "lost"
    assert run("cancel", "again").exit_code == 0
    assert run("retry", "slow").exit_code == 0
    failed.run("slow")
    assert [each["count"] for each in json.loads(run("errors", "--json").stdout)] == [3]
    reasons = [each["reason"] for each in json.loads(run("show", "slow", "--json").stdout)["history"]]
    assert reasons == ["timeout", None]
    found = failed.queue.db.execute("SELECT reason FROM attempt_view WHERE job_id = 'slow' ORDER BY number")
    assert [reason for (reason,) in found] == reasons


def test_frame(queue: Queue, failed: ManualWorker) -> None:
    """``q.errors()`` has a row per group, with real types; without failures it is empty."""
    frame = queue.errors()
    assert frame.index.name == "key"
    assert list(frame["count"]) == [3, 1, 1]
    assert isinstance(frame["last_at"].dtype, pd.DatetimeTZDtype)
    assert set(queue.retry(error=frame.index[0], dry_run=True)) == READ
    assert queue.errors(state="failed")["reason"].tolist() == ["lost"]
    failed.queue.delete(state=["failed", "dead"])
    assert queue.errors().empty
