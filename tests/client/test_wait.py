"""A wait returns as soon as its jobs have finished, reads only what has changed, and leaves no file behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb import NotFound, WaitTimeout
from queuectl_nb.client import async_wait
from queuectl_nb.client.wait import Wait
from queuectl_nb.engine import notifier
from tests.commands.manual_worker import ManualWorker
from tests.engine.harness import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queuectl_nb import Job, Queue
    from queuectl_nb.client.wait import Progress


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait return because of a notification only: the fallback poll comes too late for any test."""
    monkeypatch.setattr(notifier, "FALLBACK_POLL_S", 3600.0)


@pytest.fixture
def waiters(queue: Queue) -> Iterator[Path]:
    """Return the directory of the FIFOs; there must be none at the end of the test."""
    folder = notifier.waiter_dir(queue.store.db.spool)
    yield folder
    assert not folder.exists() or os.listdir(folder) == []


def _await(job: Job) -> Job:
    async def main() -> Job:
        return await asyncio.wait_for(asyncio.ensure_future(job), 60)

    return asyncio.run(main())


@pytest.mark.usefixtures("no_polling", "waiters")
@pytest.mark.parametrize("wait", [lambda job: job.wait(60), _await], ids=["wait", "await"])
def test_the_end_of_a_job_ends_the_wait(queue: Queue, wait: Callable[[Job], Job]) -> None:
    """A worker notifies those who wait; so do a cancel and the death of the worker."""
    with queue.start_workers(1):
        for _ in range(3):
            assert wait(queue.enqueue("sleep 0.05")).state == "completed"
        job = queue.enqueue("kill -9 $PPID", max_retries=1)
        assert wait(job).error
    waiting = queue.enqueue("true")

    def cancel() -> None:
        queue.cancel(waiting)
        queue.close()

    timer = threading.Timer(0.1, cancel)
    timer.start()
    assert wait(waiting).state == "cancelled"
    timer.join()


@pytest.mark.usefixtures("no_polling")
def test_all_who_wait_are_notified(queue: Queue, waiters: Path) -> None:
    """Each wait has a FIFO of its own, and one notification reaches all of them."""
    job = queue.enqueue("true")

    def wait_and_close() -> None:
        queue.job(job.id).wait(60)
        queue.close()

    with in_threads(*[wait_and_close] * 5):
        while not waiters.exists() or len(os.listdir(waiters)) < 5:
            time.sleep(0.001)
        queue.cancel(job)


def test_a_wait_leaves_no_fifo_behind(queue: Queue, waiters: Path, tmp_path: Path) -> None:
    """However a wait ends, the project folder can be copied afterwards."""
    job = queue.enqueue("true")
    with pytest.raises(WaitTimeout):
        job.wait(0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(_task(job), 0.05))

    def interrupted(_: object) -> None:
        if os.listdir(waiters):
            raise KeyboardInterrupt

    shown = iter([lambda _: None, interrupted])

    def show(progress: Progress) -> None:
        next(shown, interrupted)(progress)
        ManualWorker(queue).add("next")

    with pytest.raises(KeyboardInterrupt):
        queue.wait(show=show)
    shutil.copytree(queue.path.parent, tmp_path / "copy")


async def _task(job: Job) -> Job:
    return await job


def test_the_fifo_of_a_killed_process_is_removed(queue: Queue, waiters: Path) -> None:
    """The next notification removes it, but not one that is about to be opened, nor anything else."""
    waiters.mkdir()
    old, new, other = (waiters / name for name in ("old", "new", "other"))
    os.mkfifo(old)
    os.mkfifo(new)
    other.write_text("")
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    notifier.notify_finished(waiters)
    assert sorted(os.listdir(waiters)) == ["new", "other"]
    new.unlink()
    other.unlink()


def test_a_planted_link_is_not_followed(queue: Queue, waiters: Path, tmp_path: Path) -> None:
    """A job may put a link in place of the directory: no FIFO elsewhere is touched, and a wait polls."""
    victim = tmp_path / "victim"
    victim.mkdir()
    os.mkfifo(victim / "fifo")
    os.utime(victim / "fifo", (1, 1))
    waiters.symlink_to(victim)
    notifier.notify_finished(waiters)
    with pytest.raises(WaitTimeout):
        queue.enqueue("true").wait(0.05)
    assert os.listdir(victim) == ["fifo"]
    waiters.unlink()


def test_a_fork_keeps_the_fifo_of_its_parent(waiters: Path) -> None:
    """A forked child that exits removes nothing that its parent waits on."""
    with notifier.FinishWaiter(waiters) as waiter:
        waiter.open()
        (path,) = waiters.iterdir()
        assert waiter.handle is not None
        notifier._remove_fifo(waiter.handle, path, os.getpid() + 1)
        assert path.exists()


def test_a_wait_reads_only_what_has_changed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit costs a wait for many jobs the rows that have changed, not the states of all."""
    manual_worker, asked = ManualWorker(queue), []
    ids = queue.enqueue_many([{"command": "true"}] * 300).ids
    reader = queue.store.reader
    states_of, changed_since = reader.states_of, reader.changed_since

    def count_states(wanted: list[str]) -> Any:
        asked.append(len(wanted))
        return states_of(wanted)

    def count_changes(*args: Any) -> Any:
        found = changed_since(*args)
        asked.append(len(found))
        return found

    waits = [Wait(queue, ids), Wait(queue)]
    assert [wait.read_progress().remaining for wait in waits] == [300, 300]
    monkeypatch.setattr(reader, "states_of", count_states)
    monkeypatch.setattr(reader, "changed_since", count_changes)
    for done in range(1, 6):
        manual_worker.run(ids[done - 1])
        for wait in waits:
            assert (wait.read_progress().remaining, wait.read_progress().finished_count) == (300 - done, done)
    assert max(asked) <= 1


def _gather(queue: Queue, ids: list[str]) -> None:
    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*(_task(queue.job(job_id)) for job_id in ids)), 0.5)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wait", "check"),
    [(lambda queue, ids: queue.wait(ids, timeout=0.5), (Wait, "read_progress")),
     (_gather, (async_wait._LoopWaiter, "_resolve"))],
    ids=["wait", "await"],
)  # fmt: skip
def test_a_wait_for_many_jobs_checks_rarely(
    queue: Queue,
    waiters: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait: Callable[[Queue, list[str]], object],
    check: tuple[type, str],
) -> None:
    """However often workers notify, a wait for hundreds of jobs checks ten times a second, not hundreds of times."""
    ids = queue.enqueue_many([{"command": "true"}] * 600).ids
    checked: list[float] = []
    over, original = threading.Event(), getattr(*check)

    def record(waiter: object) -> object:
        checked.append(time.monotonic())
        return original(waiter)

    monkeypatch.setattr(*check, record)

    def notify() -> None:
        while not over.wait(0.001):
            notifier.notify_finished(waiters)

    thread = threading.Thread(target=notify)
    began = time.monotonic()
    thread.start()
    with pytest.raises(TimeoutError):
        wait(queue, ids)
    over.set()
    thread.join()
    assert len(checked) <= (time.monotonic() - began) / 0.1 + 10


def test_a_wait_follows_retries_and_deletions(queue: Queue, manual_worker: ManualWorker) -> None:
    """A job that is retried during a wait is unfinished again; a deleted one ends a wait that names it."""
    manual_worker.add("a", "b", "c", max_retries=1)
    named, all_jobs = Wait(queue, ["a", "b"]), Wait(queue)
    manual_worker.run("a")
    manual_worker.exhaust("b")
    for wait, remaining in ((named, 0), (all_jobs, 1)):
        progress = wait.read_progress()
        assert (dict(progress.finished), progress.remaining, progress.failed_ids) == (
            {"completed": 1, "dead": 1, "cancelled": 0},
            remaining,
            ("b",),
        )
    queue.retry("b")
    for wait, remaining in ((named, 1), (all_jobs, 2)):
        progress = wait.read_progress()
        assert (progress.finished_count, progress.remaining, progress.failed_ids) == (1, remaining, ())
    queue.delete("a")
    progress = all_jobs.read_progress()
    assert (progress.finished_count, progress.remaining) == (0, 2)
    with pytest.raises(NotFound, match="job a was deleted during the wait"):
        named.read_progress()


def test_change_stamp_includes_own_commits(queue: Queue) -> None:
    """Commits on the thread's own connection, as by other coroutines, are noticed."""
    job = queue.enqueue("true")
    waiting = Wait(queue, [job.id])
    assert waiting.read_progress().remaining == 1
    assert waiting.read_progress() is waiting.read_progress(), "nothing was committed: nothing is read"
    queue.cancel(job)
    assert waiting.read_progress().remaining == 0
