"""Commands that change jobs: retry, cancel, delete, prune, pause, resume, dlq retry and purge, wait, init."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from queuectl_nb.client import Queue
from queuectl_nb.model.errors import BadEnvironment, BadInput
from queuectl_nb.store import jobs, selections
from queuectl_nb.store.connection import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.store.transaction import Transaction
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran


def states(queue: Queue) -> dict[str, str]:
    """Return the state of every job by its id."""
    with queue.store.db.read() as connection:
        return dict(connection.execute("SELECT id, state FROM jobs").fetchall())


def test_dlq_retry(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """``dlq retry`` prints one line, and the job has 0 attempts and its history."""
    manual_worker.add("a", max_retries=1)
    manual_worker.exhaust("a")
    assert run("dlq", "retry", "a").stdout == "Job a moved back to queue for retry.\n"
    job = json.loads(run("show", "a", "--json").stdout)
    assert (job["state"], job["attempts"], len(job["history"])) == ("pending", 0, 1)


def test_dlq_all(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """``--all`` applies to dead jobs only; without any it says that the queue is empty."""
    assert run("dlq", "retry", "--all").stdout == "DLQ is empty.\n"
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.exhaust("a")
    manual_worker.exhaust("b")
    manual_worker.add("c")
    ran = run("dlq", "retry", "--all", "--json")
    assert {job["id"] for job in json.loads(ran.stdout)} == {"a", "b"}
    assert states(manual_worker.queue) == dict.fromkeys("abc", "pending")
    manual_worker.exhaust("a")
    assert run("dlq", "purge", "--all").stdout == "Job a removed from the DLQ.\n"
    assert set(states(manual_worker.queue)) == {"b", "c"}
    assert run("dlq", "purge", "--all").stdout == "DLQ is empty.\n"


def test_several_ids(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Each job has its line, in the given order; one given twice counts once."""
    manual_worker.add("a", "b")
    assert run("cancel", "b", "a", "b").stdout == "Job b cancelled.\nJob a cancelled.\n"
    assert states(manual_worker.queue) == {"a": "cancelled", "b": "cancelled"}
    assert run("retry", "a", "b").stdout == (
        "Job a moved back to queue for retry.\nJob b moved back to queue for retry.\n"
    )
    assert run("delete", "a", "b").stdout == "Job a deleted.\nJob b deleted.\n"
    assert states(manual_worker.queue) == {}


def test_prune(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Only jobs that finished long enough ago are deleted, and only those of the given state."""
    manual_worker.add("a", "b", "c", max_retries=1)
    manual_worker.run("a")
    manual_worker.exhaust("b")
    assert run("prune", "--older-than", "1h").stdout == "0 job(s) removed.\n"
    assert run("prune", "--older-than", "1h", "--dry-run").stdout == "0 job(s) would be removed.\n"
    ran = run("prune", "--older-than", "0", "--state", "dead", "--vacuum", "--dry-run")
    assert ran.stdout == "1 job(s) would be removed.\nThe file would be shrunk.\n"
    assert run("prune", "--older-than", "0", "--state", "dead").stdout == "1 job(s) removed.\n"
    assert json.loads(run("prune", "--older-than", "0s", "--json").stdout) == {"removed": 1}
    assert states(manual_worker.queue) == {"c": "pending"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prune", "--older-than", "0", "--state", "dead"), "2 job(s) were removed"),
        (("dlq", "purge", "--all"), "2 job(s) were removed"),
        (("dlq", "retry", "--all"), "2 job(s) were moved back to the queue"),
    ],
)
def test_disk_full_between_two_transactions(
    run: Callable[..., Ran],
    manual_worker: ManualWorker,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    """The error says what was done before, and the output of deleted jobs is removed."""
    monkeypatch.setattr(jobs, "PRUNE_BATCH_JOBS", 2)
    monkeypatch.setattr(selections, "BATCH_JOBS", 2)
    store = manual_worker.queue.store
    for job_id in ("a", "b", "c"):
        manual_worker.add(job_id, max_retries=1)
        manual_worker.exhaust(job_id)
    files = {each: store.spool.path(store.reader.attempts(each)[0].token, "stdout") for each in ("a", "b", "c")}
    for path in files.values():
        path.touch()
    write, begun = Database.write, []

    def fail_at_the_second(db: Database) -> Transaction:
        begun.append(db)
        if len(begun) >= 2:
            raise BadEnvironment("the disk is full; nothing was changed; free some space and try again")
        return write(db)

    monkeypatch.setattr(Database, "write", fail_at_the_second)
    ran = run(*words)
    assert (ran.exit_code, ran.stderr) == (3, f"queuectl: the disk is full; {message}; free some space and try again\n")
    monkeypatch.undo()
    dead = [job_id for job_id, state in states(manual_worker.queue).items() if state == "dead"]
    assert len(dead) == 1
    assert [each for each, path in files.items() if path.exists()] == (["a", "b", "c"] if "retry" in words else dead)


def test_prune_vacuum(run: Callable[..., Ran], queue: Queue) -> None:
    """``--vacuum`` shrinks the file, also alone; without an age or ``--vacuum`` there is nothing to do."""
    queue.enqueue_many([{"command": "x" * 50_000}] * 100)
    queue.cancel(*queue.jobs().index)
    ran = run("prune", "--older-than", "0", "--vacuum", "--json")
    assert json.loads(ran.stdout) == {"removed": 100, "freed_bytes": pytest.approx(5_000_000, rel=0.1)}
    assert queue.path.stat().st_size < 500_000
    assert re.fullmatch(r"File shrunk by 0 Bytes to \d+\.0 KiB\.\n", run("prune", "--vacuum").stdout)
    assert queue.prune(vacuum=True) == 0
    for words in (["prune"], ["prune", "--vacuum", "--state", "dead"]):
        ran = run(*words)
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert ran.stderr.startswith("queuectl: --older-than must be given, such as --older-than 7d; ")


def test_pause_and_resume(run: Callable[..., Ran], queue: Queue) -> None:
    """A name pauses or resumes one queue, no name all."""
    assert run("pause", "gpu").stdout == "Queue gpu paused.\n"
    assert queue.store.reader.paused_queues() == ["gpu"]
    assert run("resume", "gpu").stdout == "Queue gpu resumed.\n"
    assert run("pause").stdout == "All queues paused.\n"
    assert json.loads(run("pause", "--json").stdout) == {"paused": ["*"]}
    assert run("resume").stdout == "All queues resumed.\n"
    assert queue.store.reader.paused_queues() == []


def test_wait_exit_codes(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """0 if all completed, 1 with the names if not, 4 after the timeout, while the jobs continue."""
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.run("a")
    manual_worker.exhaust("b")
    ran = run("wait", "a")
    assert (ran.exit_code, ran.stdout) == (0, "1 job(s) finished: 1 completed.\n")
    ran = run("wait", "a", "b", "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout) == {"counts": {"completed": 1, "dead": 1, "cancelled": 0}}
    assert ran.stderr == "queuectl: 1 job(s) did not complete: b (exit code 1: it broke)\n"
    manual_worker.add("c")
    ran = run("wait", "--timeout", "0.1")
    assert ran.exit_code == 4
    (line,) = ran.stderr.splitlines()
    assert line.startswith(
        "queuectl: 1 job(s) not finished after 0.1 seconds; they continue (no workers are running on this queue"
    )
    assert states(manual_worker.queue)["c"] == "pending"


def test_wait_for_all(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Jobs that were dead before the wait are not counted."""
    manual_worker.add("b", max_retries=1)
    manual_worker.exhaust("b")
    ran = run("wait")
    assert (ran.exit_code, ran.stdout) == (0, "0 job(s) finished.\n")


def test_init(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.queuectl/`` is created with mode 0700, found from subfolders, and unchanged the second time."""
    here = tmp_path / "project"
    below = here / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(here)
    ran = run("init")
    path = here / ".queuectl" / "queue.db"
    assert ran.stdout == f"Queue created: {path}\n"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("init").stdout == f"Queue already exists: {path}\n"
    monkeypatch.chdir(below)
    monkeypatch.delenv("QUEUECTL_DB")
    assert Queue().path == path
    run("enqueue", "--id", "a", "--command", "true")
    assert states(Queue(path)) == {"a": "pending"}


def test_init_on_a_full_disk(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file that could not be written."""

    def full(path: Path, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    ran = run("init")
    assert ran.exit_code == 3
    assert ran.stderr == f"queuectl: cannot write {tmp_path / '.queuectl' / '.gitignore'}: No space left on device\n"
    assert not (tmp_path / ".queuectl" / "queue.db").exists()


def test_init_with_db(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--db`` and ``init`` name two places."""
    monkeypatch.chdir(tmp_path)
    assert run("--db", "x.db", "init").exit_code == 2
    assert not Path("x.db").exists()
    assert not Path(".queuectl").exists()


def test_edit(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """The line names the job, ``show`` lists what was changed, and an empty list removes tags and dependencies."""
    manual_worker.add("a", "b", tags=["old"], after=[])
    words = ("--priority", "3", "--tag", "x", "--tag", "y")
    assert run("edit", "a", "b", *words).stdout == "Job a edited.\nJob b edited.\n"
    assert run("edit", "b", "--after", "a", "--tag", "").exit_code == 0
    shown = run("show", "b").stdout
    assert re.search(r"tags +old -> x, y\n", shown), shown
    assert re.search(r"after +- -> a\n", shown), shown
    job = json.loads(run("show", "b", "--json").stdout)
    assert (job["state"], job["tags"], job["after"]) == ("blocked", [], ["a"])
    assert [edit["changes"] for edit in job["edits"]] == [
        {"priority": [0, 3], "tags": [["old"], ["x", "y"]]},
        {"tags": [["x", "y"], []], "after": [[], ["a"]]},
    ]
    assert run("edit", "b", "--after", "").exit_code == 0
    assert states(manual_worker.queue)["b"] == "pending"
    due = json.loads(run("edit", "b", "--delay", "100", "--json").stdout)[0]["run_at"]
    old, new = json.loads(run("show", "b", "--json").stdout)["edits"][-1]["changes"]["run_at"]
    assert new == due
    assert re.fullmatch(r"[\d-]+T[\d:.]+Z", old)


def test_edit_selection(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Jobs in no state for the change are left out; ``--dry-run`` says how many jobs would be, and only that."""
    queue = manual_worker.queue
    manual_worker.add("running", tags=["sweep"], priority=1)
    manual_worker.claim("running")
    manual_worker.add("done", tags=["sweep"])
    manual_worker.run("done")
    manual_worker.add("a", "b", tags=["sweep"])
    manual_worker.add("other")
    before = queue.jobs().drop(columns="ran")
    words = ("edit", "--with-tag", "sweep", "--queue", "gpu", "--tag", "new")
    assert run(*words, "--dry-run").stdout == "2 jobs would be edited.\n"
    assert run("edit", "a", "--priority", "2", "--dry-run").stdout == "1 job would be edited.\n"
    assert run("edit", "done", "--priority", "2", "--dry-run").exit_code == 5
    pd.testing.assert_frame_equal(queue.jobs().drop(columns="ran"), before)
    assert run(*words).stdout == "2 jobs edited.\n"
    assert run(*words).stdout == "No jobs match.\n"
    assert {job.queue for job in queue.batch(tag="new")} == {"gpu"}
    assert queue.edit(in_queue="gpu", search="a", queue="cpu") == ["a"]
    assert sorted(queue.edit(with_tag="sweep", timeout=60, dry_run=True)) == ["running"]
    assert queue.edit(state="pending", timeout="1h") == ["other", "b", "a"]
    for given in ({"with_tag": "sweep"}, {"with_tag": "", "priority": 1}, {"tag": "sweep", "priority": 1}):
        with pytest.raises(BadInput):
            queue.edit(**given)
    with pytest.raises(BadInput, match="give jobs or a selection"):
        queue.edit("a", with_tag="new", priority=1)
    ran = run("edit", "--tag", "new", "--priority", "1")
    assert (ran.exit_code, "--state, --in-queue, --with-tag, --error, --search" in ran.stderr) == (2, True)


def test_edit_refuses(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Nothing to change is bad input; an unknown job and one in another state have exit code 5."""
    manual_worker.add("a")
    for code, words in (
        (2, ("a",)),
        (2, ("a", "--timeout", "soon")),
        (2, ("--priority", "1")),
        (5, ("nope", "--priority", "1")),
        (5, ("a", "--after", "nope")),
    ):
        ran = run("edit", *words)
        assert (ran.exit_code, ran.stdout) == (code, ""), words
        assert len(ran.stderr.splitlines()) == 1
    manual_worker.queue.cancel("a")
    assert run("edit", "a", "--priority", "1").exit_code == 5
