"""Prometheus metrics match the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer


def test_metrics_match_the_queue(server: WebServer, harness: WorkerHarness) -> None:
    """Jobs and workers by state, including zero counts; jobs ever enqueued; paused queues; recent run times."""
    for number in range(3):
        harness.add("sleep 0.05", id=f"j{number}")
    harness.add("exit 1", max_retries=1)
    harness.start()
    until(
        lambda: (
            harness.queue.store.reader.counts()[State.DEAD]
            and harness.queue.store.reader.counts()[State.COMPLETED] == 3
        )
    )
    harness.queue.delete("j0")
    harness.queue.pause("gpu")
    response = server.ask("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert 'queuectl_jobs{state="dead"} 1.0\n' in response.body.decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(response.body.decode())
        for sample in family.samples
    }
    assert {name[1] for name in samples if name[0] == "queuectl_jobs"} == {str(state) for state in State}
    assert samples["queuectl_jobs", "completed"] == 2
    assert samples["queuectl_enqueued_jobs_total",] == 4
    assert samples["queuectl_workers", "idle"] == 1
    assert samples["queuectl_workers", "lost"] == 0
    assert samples["queuectl_paused", "gpu"] == 1
    assert samples["queuectl_recent_attempts",] == 3
    assert samples["queuectl_recent_run_seconds", "0.95"] > 0.04


def test_metrics_of_an_empty_queue(server: WebServer) -> None:
    """Every family is present, and OpenMetrics is served on request."""
    response = server.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    families = {family.name for family in parse_open(response.body.decode())}
    assert {"queuectl", "queuectl_jobs", "queuectl_workers", "queuectl_recent_wait_seconds"} <= families


@pytest.mark.parametrize("version", ["x", "1.x", pytest.param("9" * 5000, id="long")])
@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
def test_invalid_versions_are_answered(server: WebServer, kind: str, version: str) -> None:
    """An Accept header whose version is none gets an answer, in the plain format or in that of its type."""
    response = server.ask("/metrics", Accept=f"{kind};version={version}")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith(("text/plain", kind))
