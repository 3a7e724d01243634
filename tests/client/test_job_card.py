"""What the card of a job reads: progress, metrics and artifacts, while the job runs and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.client.job_card import read_card
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

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
