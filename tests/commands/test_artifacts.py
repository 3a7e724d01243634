"""The commands ``artifacts`` and ``metrics``, the same in Python, and what deleting, pruning and backups do."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import NotFound, Queue
from queuectl_nb.store.artifacts import find_stray_folders, remove_stray_folders
from queuectl_nb.testing import run_pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ran

LEAVE = "(cd $QUEUECTL_ARTIFACTS; mkdir a; echo hello > a/x; echo $QUEUECTL_ATTEMPT > b)"
REPORT = """for n in 4 2 1; do echo "{\\"loss\\": $n, \\"step\\": $n}"; done > $QUEUECTL_METRICS
echo no >> $QUEUECTL_METRICS; echo '{"loss": NaN}' >> $QUEUECTL_METRICS"""


@pytest.fixture
def left(queue: Queue) -> Queue:
    """Run the job ``a``, which leaves two files and some metrics."""
    queue.enqueue(f"{LEAVE}\n{REPORT}", id="a")
    run_pending(queue)
    return queue


def folders(queue: Queue) -> list[Path]:
    """Return the folders of artifacts."""
    return sorted(queue.store.spool.folder.glob("*.artifacts"))


def test_artifacts(run: Callable[..., Ran], left: Queue, tmp_path: Path) -> None:
    """Without a name the files are listed, with one its path is printed; ``--to`` copies."""
    assert [line.split()[:2] for line in run("artifacts", "a").stdout.splitlines()[1:]] == [["b", "2"], ["a/x", "6"]]
    path = run("artifacts", "a", "a/x").stdout.strip()
    assert path == f"{left.job('a').artifacts['a/x']}"
    rows = json.loads(run("artifacts", "a", "--json").stdout)
    assert [(row["name"], row["size"], row["attempt"]) for row in rows] == [("b", 2, 1), ("a/x", 6, 1)]
    target = tmp_path / "out"
    assert run("artifacts", "a", "--to", f"{target}").stdout.splitlines() == [f"{target}/b", f"{target}/a/x"]
    assert (target / "a" / "x").read_text() == "hello\n"
    (target / "b").write_text("old")
    assert run("artifacts", "a", "b", "--to", f"{target}").exit_code == 0
    assert (target / "b").read_text() == "1\n"


def test_artifacts_of_an_attempt(run: Callable[..., Ran], queue: Queue) -> None:
    """By default those of the newest attempt that has any; ``--attempt`` chooses another one."""
    job = queue.enqueue(f"[ $QUEUECTL_ATTEMPT = 3 ] || {{ {LEAVE}; }}", id="a")
    for _ in range(3):
        run_pending(queue)
        job.retry()
    assert job.artifacts["b"].read_text() == "2\n"
    assert run("artifacts", "a", "b", "--attempt", "1").stdout != run("artifacts", "a", "b").stdout
    assert run("artifacts", "a", "--attempt", "3").stdout == "Job a has no artifacts.\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nope"], 5),
        (["a", "nope"], 5),
        (["a", "../a"], 5),
        (["a", "--attempt", "7"], 5),
        (["a", "--attempt", "0"], 2),
        (["a", "--to", "/dev/null/x"], 3),
    ],
)
def test_refused(run: Callable[..., Ran], left: Queue, words: list[str], code: int) -> None:
    """One line on stderr names the thing."""
    ran = run("artifacts", *words)
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (code, "", 1)


def test_metrics(run: Callable[..., Ran], left: Queue) -> None:
    """The table sums up, JSON and CSV have all points; lines that are not JSON objects are counted."""
    ran = run("metrics", "a")
    assert ran.stdout.splitlines()[1].split()[:8] == ["a", "1", "loss", "4", "4", "nan", "1", "4"]
    assert ran.stderr == "queuectl: job a, attempt 1: 1 line in $QUEUECTL_METRICS was not a JSON object\n"
    points = json.loads(run("metrics", "a", "--json").stdout)
    assert [(each["step"], each["value"]) for each in points] == [(4, 4), (2, 2), (1, 1), (None, None)]
    assert list(points[0]) == ["job_id", "attempt", "time", "step", "name", "value"]
    rows = list(csv.DictReader(io.StringIO(run("metrics", "a", "--format", "csv").stdout)))
    assert [row["value"] for row in rows] == ["4", "2", "1", ""]
    assert run("metrics", "nope").exit_code == 5
    assert run("metrics").exit_code == 2
    assert run("metrics", "--state", "completed").stdout == ran.stdout
    left.enqueue("true", id="b")
    assert run("metrics", "b").stdout == "No metrics were reported.\n"


def test_metrics_in_python(left: Queue) -> None:
    """A long DataFrame with real types, of all jobs, of some, or of none."""
    frame = left.metrics("a")
    assert [*frame.columns] == ["job_id", "attempt", "time", "step", "name", "value"]
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "job_id": "string",
        "attempt": "Int64",
        "time": "datetime64[ms, UTC]",
        "step": "Int64",
        "name": "category",
        "value": "float64",
    }
    assert frame["value"].tolist()[:3] == [4, 2, 1]
    assert frame.attrs["invalid_lines"] == {"a": 1}
    assert left.metrics().equals(frame)
    assert len(left.metrics(tag="none")) == 0
    with pytest.raises(NotFound):
        left.metrics("nope")


def test_plot(left: Queue) -> None:
    """A line for each attempt; an unknown name says so."""
    pytest.importorskip("matplotlib")
    assert len(left.plot.metrics("loss").lines) == 1
    assert len(left.plot.metrics("nope").lines) == 0


def test_a_deleted_job_leaves_nothing(left: Queue) -> None:
    """Deleting and pruning remove the folders and all rows."""
    assert len(folders(left)) == 1
    left.delete("a")
    assert folders(left) == []
    with left.store.db.read() as connection:
        for table in ("attempt_artifacts", "attempt_metrics"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    left.enqueue(LEAVE, id="b")
    run_pending(left)
    left.prune(0)
    assert folders(left) == []


def test_strays(run: Callable[..., Ran], left: Queue) -> None:
    """A folder that belongs to no job is found by ``doctor`` and removed by ``prune``, once it is old."""
    stray = left.store.spool.folder / f"{'0' * 32}.artifacts"
    stray.mkdir()
    (stray / "file").touch()
    assert remove_stray_folders(left.store.db, os.stat(stray).st_mtime + 10) == 0
    os.utime(stray, (0, 0))
    os.utime(folders(left)[-1], (0, 0))
    assert find_stray_folders(left.store.db, 4000.0) == [f"{stray}"]
    assert "1 folder of artifacts belongs to no job" in run("doctor").stdout
    left.prune(vacuum=True)
    assert not stray.exists()
    assert left.job("a").artifacts


def test_backup_names_artifacts(run: Callable[..., Ran], left: Queue, tmp_path: Path) -> None:
    """A backup does not contain artifacts, and says so."""
    ran = run("backup", f"{tmp_path / 'b.db'}")
    assert ran.stderr.startswith("queuectl: the artifacts of 1 attempt (8 Bytes) are not in the backup; copy ")
    assert Queue(tmp_path / "b.db").job("a").artifacts == {}
