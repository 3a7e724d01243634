"""Prometheus metrics, collected at each scrape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from queuectl_nb import __version__
from queuectl_nb.client.workers import list_workers
from queuectl_nb.render.json_shapes import WORKER_STATES
from queuectl_nb.store.stats import total_stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.client.changes import ChangeWatcher

__all__ = ["exposition"]

RECENT_S = 60
"""Age limit of the attempts that durations are computed from, which bounds the cost of a scrape."""


def exposition(watcher: ChangeWatcher, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their content type, in the format that the Accept header asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_QueueCollector(watcher))
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # an invalid version in the header
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


class _QueueCollector(Collector):
    """Collects the current metrics of a queue."""

    def __init__(self, watcher: ChangeWatcher) -> None:
        self.queue = watcher.queue
        self.reader = watcher.queue.store.reader

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield InfoMetricFamily("queuectl", "Version of the server.", {"version": __version__})
        yield _gauge("queuectl_jobs", "Jobs by state.", "state", self.reader.counts())
        yield CounterMetricFamily(
            "queuectl_enqueued_jobs", "Jobs enqueued so far, removed ones included.", self.reader.count_enqueued()
        )
        states = [worker["state"] for worker in list_workers(self.queue.store)]
        yield _gauge(
            "queuectl_workers", "Workers by state.", "state", {name: states.count(name) for name in WORKER_STATES}
        )
        paused = dict.fromkeys(self.reader.paused_queues(), 1)
        yield _gauge("queuectl_paused", "1 for each paused queue; * stands for all queues.", "queue", paused)
        stats = total_stats(self.queue.store.db, since=time.time() - RECENT_S)
        yield GaugeMetricFamily(
            "queuectl_recent_attempts", "Attempts that ended in the last minute or are running.", stats.attempts
        )
        for name, meaning, values in (
            ("queuectl_recent_run_seconds", "Run time of attempts of the last minute.", stats.run_s),
            ("queuectl_recent_wait_seconds", "Time from due to started of attempts of the last minute.", stats.wait_s),
        ):
            quantiles = {"0.5": values["p50"], "0.95": values["p95"]}
            known = {quantile: value for quantile, value in quantiles.items() if value is not None}
            yield _gauge(name, meaning, "quantile", known)


def _gauge(name: str, meaning: str, label: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family
