"""What the card of a job reads: progress, metrics and artifacts, while the job runs and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.job_card import read_card
from queuectl_nb.model.outcome import Exited
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.engine.harness import WorkerHarness

COMMAND = """\
echo '10 %' >&2
echo '{"progress": 0.25, "loss": 0.5}' >> $QUEUECTL_METRICS
echo '{"progress": 0.5, "loss": 0.25}' >> $QUEUECTL_METRICS
while [ ! -e go-on ]; do sleep 0.05; done
for n in 1 2 3 4 5 6; do head -c 2048 /dev/zero > $QUEUECTL_ARTIFACTS/model-$n; done"""


def test_reports_on_a_card(harness: WorkerHarness, tmp_path: Path) -> None:
    """A running job has a bar for what it reported, not for its output; a finished one metrics and artifacts."""
    queue = harness.queue
    job = queue.enqueue(COMMAND, cwd=tmp_path)
    harness.start(1)

    def card() -> str:
        return read_card(queue.store, job.refresh().record).text

    until(lambda: ", 50%" in card())
    assert "  metrics: loss 0.25 █▁" in card()
    assert "artifacts" not in card()
    (tmp_path / "go-on").touch()
    job.wait(60)
    assert "50%" not in card()
    assert "  metrics: loss 0.25 █▁" in card()
    names = [f"model-{n} (2.0 KiB)" for n in range(1, 6)]
    assert f"  artifacts: {', '.join(names)}, 1 more" in card()


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "shown"),
    [
        (1, "epoch 1", "ValueError: bad", ["stdout: epoch 1", "stderr: ValueError: bad"]),
        (1, "epoch 1", "", ["output: epoch 1"]),
        (1, "", "ValueError: bad", ["output: ValueError: bad"]),
        (0, "epoch 1", "a warning", ["output: epoch 1"]),
        (0, "", "a warning", ["output: a warning"]),
    ],
)
def test_streams_on_a_card(
    queue: Queue, manual_worker: ManualWorker, code: int, stdout: str, stderr: str, shown: list[str]
) -> None:
    """A failed attempt shows both streams; a completed one stdout, or stderr if there is nothing else."""
    manual_worker.add("a")
    sizes = {"stdout_size": len(stdout), "stderr_size": len(stderr)}
    manual_worker.run("a", Exited(code), stdout=stdout, stderr=stderr, **sizes)
    lines = read_card(queue.store, queue.job("a").record).text.splitlines()
    assert [line.strip() for line in lines if line.startswith(("  std", "  output"))] == shown
