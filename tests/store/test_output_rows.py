"""The stored output of many jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import output_rows
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.output_rows import StoredOutput, iter_outputs

if TYPE_CHECKING:
    import pytest

EVERY = Filter()


def test_output_in_enqueue_order(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job of the filter comes once, by its latest attempt, or with all of them; in chunks or not."""
    harness.add(*"edcba")
    harness.run("e", Exited(1), stdout="first", stdout_size=5)
    harness.now += 3600
    harness.run("e", stdout="second", stdout_size=6, stderr="warning", stderr_size=7)
    for name in "dcb":
        harness.run(name, stdout=name, stdout_size=1, stdout_tail="cut" if name == "c" else None)
    harness.claim_job("a")
    latest = [
        StoredOutput("e", 2, {"stdout": "second", "stderr": "warning"}),
        StoredOutput("d", 1, {"stdout": "d", "stderr": ""}),
        StoredOutput("c", 1, {"stdout": None, "stderr": ""}),
        StoredOutput("b", 1, {"stdout": "b", "stderr": ""}),
        StoredOutput("a", 1, {"stdout": None, "stderr": None}),
    ]
    for _ in range(2):
        assert list(iter_outputs(harness.store.db, EVERY, all_attempts=False)) == latest
        monkeypatch.setattr(output_rows, "CHUNK_JOBS", 2)
    first = StoredOutput("e", 1, {"stdout": "first", "stderr": ""})
    assert list(iter_outputs(harness.store.db, EVERY, all_attempts=True)) == [first, *latest]
    assert list(iter_outputs(harness.store.db, Filter(ids=("d", "a")), all_attempts=False)) == latest[1::3]
