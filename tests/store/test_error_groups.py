"""Failed and dead jobs, grouped by reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.outcome import Exited, Lost, Outcome, TimedOut
from queuectl_nb.store.error_groups import FailedJobs, read_error_groups
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def test_groups_by_reason(harness: StoreHarness) -> None:
    """The largest group comes first, then that which failed last; its example is the job that failed last."""
    began = harness.now
    outcomes: list[tuple[str, Outcome]] = [
        ("a1", Exited(1)),
        ("t1", TimedOut(3.0)),
        ("a2", Exited(1)),
        ("lost", Lost("worker-1")),
        ("t2", TimedOut(4.0)),
    ]
    for number, (name, outcome) in enumerate(outcomes):
        harness.add(
            name, queue="t" if name[0] == "t" else "default", priority=number, max_retries=1 if name == "a2" else 3
        )
        harness.now = began + number
        harness.run(name, outcome)
    harness.add("fine", priority=9)
    harness.run("fine")
    timeouts, exits, lost = read_error_groups(harness.store.db, Filter())
    keys = {key: name for name, key in harness.query("SELECT id, error_key FROM jobs WHERE error_key IS NOT NULL")}
    error = "timed out after 4 seconds (raise it with --timeout, or 'queuectl config set timeout')"
    assert timeouts == FailedJobs(timeouts.key, 2, "timeout", error, began + 1, began + 4, "t2")
    assert exits == FailedJobs(exits.key, 2, "exit", "exit code 1", began, began + 2, "a2")
    assert (lost.count, lost.reason, lost.example, lost.message) == (1, "lost", "lost", "lost: worker-1 died")
    assert keys.keys() == {timeouts.key, exits.key, lost.key}
    assert read_error_groups(harness.store.db, Filter(queue="t")) == [timeouts]
    assert [each.key for each in read_error_groups(harness.store.db, Filter(state=("dead",)))] == [exits.key]
    (dead,) = read_error_groups(harness.store.db, Filter(state=("dead",)))
    assert (dead.count, dead.first_at, dead.example) == (1, began + 2, "a2")
    assert read_error_groups(harness.store.db, Filter(queue="none")) == []
    assert [each.count for each in read_error_groups(harness.store.db, Filter(ids=("a1", "a2", "fine")))] == [2]
