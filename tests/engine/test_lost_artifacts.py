"""What an attempt has left when its worker is killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from queuectl_nb.client.artifacts import find_artifacts
from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness

COMMAND = """echo x > $QUEUECTL_ARTIFACTS/x; ln -s / $QUEUECTL_ARTIFACTS/link; echo '{"loss": 1}' > $QUEUECTL_METRICS
[ $QUEUECTL_ATTEMPT = 2 ] || sleep 60"""


def test_artifacts_of_a_lost_attempt(harness: WorkerHarness) -> None:
    """Artifacts and metrics are kept, and the next attempt begins with an empty folder."""
    job = harness.add(COMMAND, max_retries=2, timeout=0)
    harness.start(1)
    until(lambda: job.artifacts and job.metrics)
    (worker,) = harness.queue.store.workers.list_all()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    until(job.done)
    assert [attempt.outcome for attempt in job.history] == ["lost", "succeeded"]
    for number in (1, 2):
        found = find_artifacts(harness.queue.store, job.id, number)
        assert [each.name for each in found.files] == ["x"]
        assert found.note == "1 artifact was not kept: links (1)"
    assert harness.queue.metrics(job)["attempt"].tolist() == [1, 2]
