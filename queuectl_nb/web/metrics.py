"""The queue's figures as Prometheus reads them, collected anew at each scrape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from queuectl_nb import __version__
from queuectl_nb.render.json_shapes import WORKER_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.changes import ChangeWatcher

__all__ = ["RECENT", "exposition"]

RECENT = 60
"""Seconds of history from which durations are taken: a scrape must not walk through more."""


def exposition(watch: ChangeWatcher, clients: int, accept: str) -> tuple[bytes, str]:
    """Return the metrics as text and its content type, in the dialect that ``accept`` (the header) asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(watch, clients))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Figures(Collector):
    """All figures of a queue at this moment."""

    def __init__(self, watch: ChangeWatcher, clients: int) -> None:
        self.queue = watch.queue
        self.clients = clients

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not read the queue."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield InfoMetricFamily("queuectl", "What answers.", {"version": __version__})
        jobs = GaugeMetricFamily("queuectl_jobs", "Jobs by state.", labels=["state"])
        for state, count in self.queue.counts().items():
            jobs.add_metric([str(state)], count)
        yield jobs
        yield CounterMetricFamily(
            "queuectl_enqueued_jobs", "Jobs ever enqueued, removed ones included.", self.queue.store.reader.enqueued()
        )
        workers = GaugeMetricFamily("queuectl_workers", "Workers by state.", labels=["state"])
        states = [worker["state"] for worker in self.queue.worker_list()]
        for name in WORKER_STATES:
            workers.add_metric([name], states.count(name))
        yield workers
        paused = GaugeMetricFamily("queuectl_paused", "1 for each paused queue; * is all of them.", labels=["queue"])
        for name in self.queue.paused():
            paused.add_metric([name], 1)
        yield paused
        yield from self._recent()
        yield GaugeMetricFamily("queuectl_web_clients", "Pages and programs that follow the feed.", self.clients)

    def _recent(self) -> Iterator[Metric]:
        """Yield what the attempts of the last minute tell."""
        stats = self.queue.metrics(since=time.time() - RECENT)[""]
        yield GaugeMetricFamily(
            "queuectl_recent_attempts", "Attempts that ended in the last minute, or run.", stats.attempts
        )
        for name, meaning, values in (
            ("queuectl_recent_run_seconds", "How long attempts of the last minute ran.", stats.run_s),
            ("queuectl_recent_wait_seconds", "How long they had waited, from when they were due.", stats.wait_s),
        ):
            family = GaugeMetricFamily(name, meaning, labels=["quantile"])
            for key, quantile in (("p50", "0.5"), ("p95", "0.95")):
                value = values[key]
                if value is not None:
                    family.add_metric([quantile], value)
            yield family
