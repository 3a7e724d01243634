"""Reports of a running command to its dispatcher: that it runs, and what it prints."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.messages import Running
from queuectl_nb.store.output import limit_files, read_range
from queuectl_nb.store.regular_file import last_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.engine.local_run import LocalRun
    from queuectl_nb.model.settings import Settings

__all__ = ["SHORT_RUN_S", "OutputReporter", "hole_limit", "reported_files"]

SHORT_RUN_S = 0.05
"""A command that runs longer is reported as running."""
REPORT_INTERVAL_S = 0.1
"""How often the output of a running command is checked."""
TRIM_INTERVAL_S = 1.0
MAX_REPORT_BYTES = 8 * 1024
"""Maximum new output that is sent without a request."""


def hole_limit(settings: Settings) -> int:
    """Return the size of a file up to which it has no hole."""
    return min(settings.spool_limit, settings.output_limit)


def reported_files(run: LocalRun) -> dict[str, str]:
    """Return the files that are reported while they are written."""
    return {**run.paths, "metrics": run.metrics_path}


class OutputReporter:
    """Reports that a command is running and what it prints; what cannot be sent is reported the next time."""

    def __init__(self, offer: Callable[[Running], bool], run: LocalRun) -> None:
        self._reported = dict.fromkeys(reported_files(run), 0)
        """Bytes of each stream sent so far, without a gap from its beginning."""
        self.next_report_at = run.started + SHORT_RUN_S
        self._offer = offer
        self._run = run
        self._known_sizes: dict[str, int] = {}
        """Empty until the command was reported as running."""
        self._trim_at = run.started + TRIM_INTERVAL_S

    def report(self, settings: Settings) -> None:
        """Report what is new, if a report is due, and discard the middle of output over its limit."""
        now = time.monotonic()
        if now < self.next_report_at:
            return
        self.next_report_at = now + REPORT_INTERVAL_S
        paths = reported_files(self._run)
        sizes, output = {stream: last_write(path)[1] for stream, path in paths.items()}, {}
        limit = hole_limit(settings)
        for stream, size in sizes.items():
            reported = self._reported[stream]
            # larger output may have a hole, which only a reader of the file can skip
            if self._known_sizes.get(stream, 0) == reported < size <= min(limit, reported + MAX_REPORT_BYTES):
                with contextlib.suppress(OSError):  # replaced meanwhile
                    data = read_range(paths[stream], reported, size - reported)
                    output[stream], sizes[stream] = (reported, data), reported + len(data)
        message = Running(self._run.lease.token, self._run.pid, now - self._run.started, sizes, output)
        if sizes != self._known_sizes and self._offer(message):
            self._known_sizes = sizes
            for stream, (offset, data) in output.items():
                self._reported[stream] = offset + len(data)
        if now >= self._trim_at:
            self._trim_at = now + TRIM_INTERVAL_S
            self._run.lost_output |= limit_files(paths.values(), settings)
