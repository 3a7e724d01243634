"""``report()``, ``current_job().artifacts`` and the files behind them, in jobs of every kind."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl_nb import Queue, current_job, report
from queuectl_nb.testing import run_pending
from tests.client import job_functions


@pytest.fixture
def metrics_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this process look like a job that reports to the file."""
    path = tmp_path / "metrics"
    monkeypatch.setenv("QUEUECTL_METRICS", f"{path}")
    return path


def test_lines(metrics_file: Path) -> None:
    """Each call is a line of JSON with a time; numbers of other types count as well."""
    import numpy as np

    report(progress=0.3, loss=np.float32(0.5), step=np.int64(7))
    report(loss=None, accuracy=math.nan)
    first, second = map(json.loads, metrics_file.read_text().splitlines())
    assert first.pop("time") > 1.6e9
    assert first == {"progress": 0.3, "loss": 0.5, "step": 7}
    assert second["loss"] is None
    assert math.isnan(second["accuracy"])
    assert "progress" not in second
    assert metrics_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", ["0.5", b"1", [1], object()])
def test_no_number(value: object) -> None:
    """What is not a number is refused by name, outside of a job as well."""
    with pytest.raises(TypeError, match="loss must be a number, not"):
        report(loss=value)  # type: ignore[arg-type]


def test_outside_of_a_job(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Outside of a job nothing happens."""
    monkeypatch.delenv("QUEUECTL_METRICS", raising=False)
    report(progress=0.5, loss=1)
    assert capfd.readouterr() == ("", "")


def test_a_failed_write_ends_no_job(metrics_file: Path) -> None:
    """A report that cannot be written is dropped: the job goes on."""
    metrics_file.mkdir()
    report(loss=1)


def test_import_is_light() -> None:
    """``report`` can be imported without loading the queue."""
    code = "import sys; from queuectl_nb import report; print([m for m in sys.modules if m.startswith('queuectl_nb')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['queuectl_nb', 'queuectl_nb.child', 'queuectl_nb.child.control']"


def test_a_function(tmp_path: Path) -> None:
    """What a function reports and leaves is recorded with its job."""
    queue = Queue(tmp_path / "queue.db")
    job = queue.submit(job_functions.train_and_report, 3)
    run_pending(queue)
    job.refresh()
    assert (job.record.progress, job.record.metrics) == (1, {"loss": 0.25})
    assert job.artifacts["model.txt"].read_text() == "weights"
    assert job.artifacts["model.txt"].parent.stat().st_mode & 0o777 == 0o700


def test_a_command_in_another_language(tmp_path: Path) -> None:
    """A shell command writes lines of JSON; a failed one keeps what it left."""
    queue = Queue(tmp_path / "queue.db")
    command = """echo '{"progress": 0.5, "loss": 2}' >> $QUEUECTL_METRICS; echo no > $QUEUECTL_ARTIFACTS/x; exit 3"""
    job = queue.enqueue(command, max_retries=1)
    run_pending(queue)
    job.refresh()
    assert (job.state, job.record.progress, job.record.metrics) == ("dead", 0.5, {"loss": 2})
    assert len(list(queue.store.spool.folder.glob("*.artifacts/x"))) == 1


def test_a_new_attempt_starts_anew(tmp_path: Path) -> None:
    """Progress and metrics are those of the latest attempt."""
    queue = Queue(tmp_path / "queue.db")
    command = """[ $QUEUECTL_ATTEMPT = 2 ] || echo '{"progress": 0.5, "loss": 2}' >> $QUEUECTL_METRICS"""
    job = queue.enqueue(command)
    run_pending(queue)
    assert job.refresh().record.metrics == {"loss": 2}
    job.retry()
    assert (job.refresh().record.progress, job.record.metrics) == (None, None)
    run_pending(queue)
    assert (job.refresh().record.progress, job.record.metrics) == (None, None)


def test_no_job_leaves_folders(tmp_path: Path) -> None:
    """Jobs without artifacts leave no folders."""
    queue = Queue(tmp_path / "queue.db")
    queue.enqueue_many([{"command": "true"}] * 3)
    run_pending(queue)
    assert [each.name for each in queue.store.spool.folder.iterdir() if "artifacts" in each.name] == []


def test_current_job_outside() -> None:
    """Outside of a job there is no current one."""
    assert current_job() is None
