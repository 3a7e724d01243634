"""A pool that does not start leaves no process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import pool, supervisor_process
from queuectl_nb.client.pool import WorkerPool
from queuectl_nb.engine.config import WorkerConfig
from queuectl_nb.model.errors import BadEnvironment

if TYPE_CHECKING:
    from queuectl_nb.client import Queue

FAILED = '{"event": "failed", "text": "dask: refused", "exit_code": 3}'
ENDS_WITH_ITS_STARTER = "sys.stdin.read()"
IGNORES_EVERYTHING = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


@pytest.mark.parametrize("goes_on", [ENDS_WITH_ITS_STARTER, IGNORES_EVERYTHING])
@pytest.mark.parametrize("event", [FAILED, ""])
@pytest.mark.parametrize("detach", [False, True])
def test_a_failed_start_ends_the_supervisor(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, goes_on: str, event: str, *, detach: bool
) -> None:
    """The supervisor is ended if it reports a failure or nothing in time, whether it cooperates or not."""
    script = f"import sys; print({event!r}, flush=True); {goes_on}"
    monkeypatch.setattr(supervisor_process, "command_line", lambda *_: [sys.executable, "-c", script])
    monkeypatch.setattr(pool, "START_TIMEOUT_S", 20.0 if event else 1.0)
    monkeypatch.setattr(pool, "ABORT_TIMEOUT_S", 1.0)
    failed = WorkerPool(queue, WorkerConfig(db=queue.path, detach=detach))
    with pytest.raises(BadEnvironment, match="refused" if event else "did not start"):
        failed.start()
    assert not failed.alive
