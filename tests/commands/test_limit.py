"""``limit``: how many jobs of a queue run at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran


def test_set_show_and_lift(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """The table shows the running jobs as well, ``status`` too; JSON is the limit by queue."""
    assert run("limit", "--json").stdout == "{}\n"
    assert run("limit").stdout == "No limits.\n"
    assert run("limit", "gpu").stdout == "Queue gpu has no limit.\n"
    assert run("limit", "gpu", "2").stdout == "Queue gpu: at most 2 running jobs.\n"
    assert json.loads(run("limit", "cpu", "1", "--json").stdout) == {"cpu": 1, "gpu": 2}
    manual_worker.add("a", "b", "c", queue="gpu")
    manual_worker.claim("a")
    assert run("limit", "gpu").stdout.split() == ["queue", "limit", "running", "gpu", "2", "1"]
    assert "Limits: cpu 1 (0 running), gpu 2 (1 running)\n" in run("status").stdout
    assert "its limit" not in run("status").stderr
    manual_worker.claim("b")
    assert "queuectl: queue gpu runs its limit of 2 job(s); see 'queuectl limit" in run("status").stderr
    assert run("limit", "gpu", "none").stdout == "Queue gpu: no limit.\n"
    assert run("limit", "cpu", "none", "--json").stdout == "{}\n"


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "1_000", "10000000"])
def test_bad_number(run: Callable[..., Ran], number: str) -> None:
    """Nothing is changed; for 0 the error names ``pause``."""
    ran = run("limit", "gpu", number)
    assert "limit must be " in ran.stderr
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ("queuectl pause" in ran.stderr) == (number == "0")
    assert run("limit", "--json").stdout == "{}\n"
    assert "no such option --jsn; did you mean --json?" in run("limit", "gpu", "--jsn").stderr


def test_python(queue: Queue) -> None:
    """``limit`` sets or lifts it, and without a number returns all, or that of a queue."""
    queue.limit("gpu", 2)
    queue.limit("cpu", limit=1)
    assert queue.limit() == {"cpu": 1, "gpu": 2}
    assert queue.limit("gpu") == {"gpu": 2}
    queue.limit("cpu", None)
    queue.limit("gpu", None)
    assert queue.limit() == queue.limit("gpu") == {}
    for name, limit in (("gpu", 0), ("", 1), ("gpu", True)):
        with pytest.raises(BadInput):
            queue.limit(name, limit)


def test_workers_keep_it(queue: Queue, tmp_path: Path) -> None:
    """With three workers no two jobs of a queue limited to one overlap, and none is left over when workers stop."""
    queue.limit("gpu", 1)
    command = f"mkdir {tmp_path}/held && sleep 0.01 && rmdir {tmp_path}/held"
    batch = queue.enqueue_many([{"command": command, "queue": "gpu", "max_retries": 1}] * 20)
    others = queue.enqueue_many([{"command": "true"}] * 20)
    with queue.start_workers(3):
        assert queue.wait(batch, others, timeout=60) == {"completed": 40}
