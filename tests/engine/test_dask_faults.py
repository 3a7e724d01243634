"""Dask processes die, freeze and restart while jobs run: no job is lost, none runs twice at the same time."""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import psutil
import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.artifacts import find_artifacts
from queuectl_nb.client.workers import list_workers
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.state import State
from tests.client.cells import enqueue_cell
from tests.client.test_notebook import write
from tests.engine.dask_processes import DaskCluster, free_port, start_cluster
from tests.engine.harness import WorkerHarness, alive, job_processes, read_pid, until, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.client import Job

pytest.importorskip("distributed")

LEASE, GRACE = 2.0, 0.3
LONG_LEASE = 10.0
"""A lease that does not expire on a loaded machine."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Return a scheduler with three workers on loopback; each test leaves as many running."""
    found = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


def _fast_harness(queue: Queue) -> WorkerHarness:
    """Return a harness on a queue with a short lease, a short grace and no wait before a retry."""
    for key, value in {"kill_grace": GRACE, "lease": LEASE, "backoff_max": 0}.items():
        queue.set(key, value)
    return WorkerHarness(queue)


@pytest.fixture
def harness(queue: Queue, cluster: DaskCluster) -> Iterator[WorkerHarness]:
    """Return a harness on a queue of its own, for faults of dispatchers."""
    cluster.wait_for_workers(3)
    found = _fast_harness(queue)
    yield found
    found.close()


@pytest.fixture(scope="module")
def served(
    template_path: Path, tmp_path_factory: pytest.TempPathFactory, cluster: DaskCluster
) -> Iterator[WorkerHarness]:
    """Return a harness whose dispatcher serves the whole module, for faults of dask workers."""
    path = tmp_path_factory.mktemp("served") / "queue.db"
    shutil.copyfile(template_path, path)
    path.chmod(0o600)
    queue = Queue(path)
    cluster.wait_for_workers(3)
    found = _fast_harness(queue)
    queue.set("lease", LONG_LEASE)
    found.start(6, executor="dask", scheduler=cluster.address)
    yield found
    found.close()
    queue.close()


def restarting(harness: WorkerHarness, folder: Path, *, max_retries: int = 3) -> tuple[Job, Path]:
    """Add a job that hangs in its first attempt; a later one reports whether the first still runs."""
    starts = folder / "starts"
    job = harness.add(
        f"for p in $(cat {starts} 2>/dev/null); do ps -o stat= -p $p | grep -v Z && echo OVERLAP; done; "
        f"echo $$ >> {starts}; "
        "echo begun; [ $QUEUECTL_ATTEMPT -gt 1 ] || sleep 60",
        max_retries=max_retries,
        timeout=0,
    )
    return job, starts


def dask_worker_of(pid: int) -> int:
    """Return the dask worker of a job's shell: the parent of its runner."""
    return psutil.Process(psutil.Process(pid).ppid()).ppid()


def assert_retried(job: Job, starts: Path, first: int) -> None:
    """Check that the job completed in its second attempt, after the first was gone."""
    job.wait(timeout=60)
    assert (job.state, [each.outcome for each in job.history]) == (State.COMPLETED, ["lost", "succeeded"])
    assert len(starts.read_text().split()) == 2
    assert not alive(first)
    assert job.log("stdout") == "begun\n"
    assert job.history[0].stdout in ("", "begun\n")


def test_dask_worker_killed_mid_job(served: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """A dask worker dies: its command is killed, the attempt is lost and names it, the job soon runs elsewhere."""
    job, starts = restarting(served, tmp_path)
    first = read_pid(starts)
    victim = dask_worker_of(first)
    os.kill(victim, signal.SIGKILL)
    with within(15):
        assert_retried(job, starts, first)
    lost = job.history[0]
    assert lost.error is not None
    assert lost.error.startswith("lost: dask worker tcp://127.0.0.1:")
    assert "may_overlap" not in lost.error, "its processes were proven gone"
    cluster.start_worker()


PYTHON = """
import os, time
def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
path = PATH
assert not os.path.exists(path) or not any(map(runs, open(path).read().split())), "OVERLAP"
with open(path, "a") as file:
    file.write(f"{os.getpid()}\\n")
open(f"{os.environ['QUEUECTL_ARTIFACTS']}/part", "w").close()
while os.environ["QUEUECTL_ATTEMPT"] == "1":
    time.sleep(0.05)
"""


@pytest.mark.timeout(600)
def test_dask_worker_killed_during_python_jobs(served: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """Function, cell and notebook run again, once nothing of them is left; what they had as artifacts is lost.

    They may be sent to a dask worker whose death the scheduler has not noticed yet, which is another lost attempt.
    """
    queue = served.queue
    code = {kind: PYTHON.replace("PATH", repr(f"{tmp_path}/{kind}")) for kind in ("function", "cell", "notebook")}
    notebook = write(tmp_path / "x.ipynb", "n = 1", code["notebook"])
    jobs = {
        "function": queue.task(exec, max_retries=9).submit(code["function"]),
        "cell": enqueue_cell(queue, code["cell"], max_retries=9),
        "notebook": queue.enqueue_notebook(notebook, max_retries=9),
    }
    first = {kind: read_pid(tmp_path / kind, 180) for kind in jobs}  # a notebook takes 2 s of CPU to begin
    above = {parent.pid for pid in first.values() for parent in psutil.Process(pid).parents()}
    victims = [worker for worker in cluster.workers if worker.pid in above]
    for worker in victims:
        worker.kill()
    for worker in victims:
        worker.wait(60)
        cluster.start_worker()
    for kind, job in jobs.items():
        job.wait(timeout=120)
        *lost, last = [each.outcome for each in job.history]
        assert (set(lost), last) == ({"lost"}, "succeeded"), (kind, job.error)
        assert not alive(first[kind])
        assert 2 <= len((tmp_path / kind).read_text().split()) <= len(job.history)
        *none, kept = [
            [file.name for file in find_artifacts(queue.store, job.id, attempt.number).files] for attempt in job.history
        ]
        assert (any(none), "part" in kept) == (False, True)
    cluster.wait_for_workers(3)


def test_short_jobs_while_dask_workers_die(served: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """While dask workers die, none of a hundred short jobs is lost or starts more often than its attempts say."""
    ran = tmp_path / "ran"
    jobs = [served.add(f"echo {n} $QUEUECTL_ATTEMPT >> {ran}; sleep 0.05", max_retries=9) for n in range(100)]

    def have_run(count: int) -> bool:
        return ran.exists() and len(ran.read_text().splitlines()) > count

    for count in (10, 40):
        until(partial(have_run, count))
        victim = next(worker for worker in cluster.workers if worker.poll() is None)
        victim.kill()
        victim.wait(60)
        cluster.start_worker()
    served.queue.wait(*[job.id for job in jobs], timeout=60)
    lines = ran.read_text().splitlines()
    assert {job.state for job in jobs} == {State.COMPLETED}
    assert len(lines) == len(set(lines)), "one attempt started twice"
    assert {line.split()[0] for line in lines} == {str(n) for n in range(100)}
    cluster.wait_for_workers(3)


def test_frozen_dask_worker_past_its_lease(served: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """A dask worker freezes past its lease and continues: its attempt is lost, its late reports are ignored."""
    served.queue.set("lease", LEASE)
    job, starts = restarting(served, tmp_path)
    first = read_pid(starts)
    victim = dask_worker_of(first)
    os.kill(victim, signal.SIGSTOP)
    try:
        assert_retried(job, starts, first)
    finally:
        os.kill(victim, signal.SIGCONT)
        served.queue.set("lease", LONG_LEASE)
    before = job.refresh().updated_at
    other = served.add("true")
    other.wait(timeout=60)
    cluster.wait_for_workers(3)
    assert (job.refresh().state, job.updated_at) == (State.COMPLETED, before)
    assert len(job.history) == 2


def test_short_freeze_harms_nothing(served: WorkerHarness, tmp_path: Path) -> None:
    """A dask worker that freezes for less than the lease keeps its job."""
    first, go = tmp_path / "pid", tmp_path / "go"
    job = served.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.05; done; echo fine", timeout=0)
    victim = dask_worker_of(read_pid(first))
    os.kill(victim, signal.SIGSTOP)
    time.sleep(0.5)  # the freeze itself, a fraction of the lease
    os.kill(victim, signal.SIGCONT)
    go.touch()
    job.wait(timeout=60)
    assert (job.state, served.outcomes(job), job.log("stdout")) == (State.COMPLETED, ["succeeded"], "fine\n")


def test_dispatcher_killed(harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """A dispatcher dies: another replaces it at once; attempts in flight are lost when their lease is over."""
    job, starts = restarting(harness, tmp_path)
    harness.start(4, executor="dask", scheduler=cluster.address)
    first = read_pid(starts)
    os.kill(harness.worker_pid("worker-1"), signal.SIGKILL)
    other = harness.add("true")
    other.wait(timeout=60)
    assert (other.state, other.history[0].worker) == (State.COMPLETED, "worker-2")
    assert_retried(job, starts, first)
    assert job.history[0].error is not None
    assert "may_overlap" in job.history[0].error
    assert job_processes(harness.path) == []


def test_supervisor_and_dispatcher_killed(harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """Supervisor and dispatcher die together: the next pool recovers their jobs."""
    job, starts = restarting(harness, tmp_path)
    pool = harness.start(1, executor="dask", scheduler=cluster.address)
    first = read_pid(starts)
    worker = harness.worker_pid("worker-1")
    os.kill(pool.pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    os.kill(pool.pid, signal.SIGKILL)
    pool.wait(60)
    harness.start(2, executor="dask", scheduler=cluster.address)
    assert_retried(job, starts, first)


def test_scheduler_killed_and_restarted(harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """The scheduler dies with its workers and restarts: the dispatcher reconnects, and no job is lost."""
    job, starts = restarting(harness, tmp_path)
    pool = harness.start(4, executor="dask", scheduler=cluster.address)
    first = read_pid(starts)
    assert cluster.scheduler is not None
    cluster.scheduler.kill()
    cluster.scheduler.wait(60)
    waiting = harness.add("echo later")
    for worker in cluster.workers:
        worker.wait(60)  # dask workers exit with their scheduler
    cluster.workers.clear()
    cluster.start_scheduler()
    for _ in range(3):
        cluster.start_worker()
    assert_retried(job, starts, first)
    waiting.wait(timeout=60)
    assert (waiting.state, len(waiting.history)) == (State.COMPLETED, 1)
    assert pool.alive
    assert any("scheduler" in trouble for trouble in map(str, harness.events("warning")))


def finish_later(harness: WorkerHarness, folder: Path, scheduler: str) -> tuple[Job, Path]:
    """Start a dispatcher and a job that finishes when the file ``go`` exists; return it and the file of its pid."""
    folder.mkdir(exist_ok=True)
    pid, go = folder / "pid", folder.parent / "go"
    harness.queue.set("lease", LONG_LEASE)
    job = harness.add(
        f"echo $$ > {pid}; until [ -e {go} ]; do sleep 0.02; done; echo once >> {folder}/ran; seq 20000",
        timeout=0,
    )
    harness.start(4, executor="dask", scheduler=scheduler)
    return job, pid


def test_a_command_that_finishes_without_a_scheduler_runs_once(
    harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path
) -> None:
    """A command finishes while the scheduler is down: its end is recovered, with its output, and it is not repeated.

    That is so, too, if the dispatcher dies meanwhile, and another takes its place.
    """
    killed = _fast_harness(Queue(tmp_path / "killed.db"))
    try:
        one, other = [
            finish_later(each, tmp_path / name, cluster.address)
            for each, name in ((harness, "kept"), (killed, "killed"))
        ]
        shells = [read_pid(pid) for _, pid in (one, other)]
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        cluster.scheduler.wait(60)
        (tmp_path / "go").touch()
        until(lambda: not any(map(alive, shells)))
        os.kill(killed.worker_pid("worker-1"), signal.SIGKILL)
        until(lambda: other[0].refresh().worker == "worker-2")
        for worker in cluster.workers:
            worker.wait(40)  # dask workers exit with their scheduler, after their tasks
        cluster.workers.clear()
        cluster.start_scheduler()
        for _ in range(3):
            cluster.start_worker()
        for job, pid in (one, other):
            job.wait(timeout=60)
            assert (job.state, harness.outcomes(job)) == (State.COMPLETED, ["succeeded"])
            assert (pid.parent / "ran").read_text() == "once\n"
            assert job.log("stdout").split()[-1] == "20000"
    finally:
        killed.close()
        killed.queue.close()


def test_client_is_closed_while_jobs_run(harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """Only the address of a client is used, so jobs continue after it is closed."""
    from distributed import Client

    first, go = tmp_path / "pid", tmp_path / "go"
    job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.05; done", timeout=0)
    with Client(cluster.address, set_as_default=False) as client:
        harness.start(2, executor="dask", client=client)
        read_pid(first)
    go.touch()
    later = harness.add("true")
    assert [each.wait(timeout=60).state for each in (job, later)] == [State.COMPLETED] * 2


def test_stop_now_releases_all_jobs(harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """A stop now kills and releases running jobs without using up an attempt, and leaves no process."""
    first = tmp_path / "pid"
    harness.queue.set("kill_grace", 5)  # long enough for a loaded machine to report their ends
    jobs = [harness.add(f"echo $$ >> {first}; setsid sleep 60 & sleep 60", timeout=0) for _ in range(8)]
    pool = harness.start(4, executor="dask", scheduler=cluster.address)
    until(lambda: first.exists() and len(first.read_text().split()) == 4)
    pool.stop(now=True)
    assert {(job.refresh().state, job.attempts) for job in jobs} == {(State.PENDING, 0)}
    assert [harness.outcomes(job) for job in jobs].count(["returned"]) == 4
    assert job_processes(harness.path) == []
    assert list_workers(harness.queue.store) == []


def test_idle_slots_are_returned_to_dask(served: WorkerHarness, cluster: DaskCluster) -> None:
    """An idle queue uses no thread of the cluster."""
    from distributed import Client

    served.add("true").wait(timeout=60)
    with Client(cluster.address, set_as_default=False) as client:
        until(lambda: not any(client.processing().values()))


def test_dask_resources_apply(harness: WorkerHarness, cluster: DaskCluster, tmp_path: Path) -> None:
    """Jobs run only where dask has the resources, and only as many at a time."""
    running = tmp_path / "running"
    running.mkdir()
    jobs = [harness.add(f"touch {running}/$$; ls {running} | wc -l; sleep 0.2; rm {running}/$$") for _ in range(4)]
    cluster.start_worker("--resources", "GPU=1")
    harness.start(4, executor="dask", scheduler=cluster.address, resources={"GPU": 1})
    for job in jobs:
        job.wait(timeout=60)
        assert job.log("stdout").split()[0] == "1", "two jobs used the one GPU"


def test_unreachable_scheduler_fails_the_start(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails with one line and leaves no worker; dask's own timeout applies."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "500ms")
    with pytest.raises(BadEnvironment, match="dask") as raised:
        queue.start_workers(2, executor="dask", scheduler=f"tcp://127.0.0.1:{free_port()}")
    assert "\n" not in str(raised.value)
    until(lambda: list_workers(queue.store) == [])


def test_local_cluster(queue: Queue, tmp_path: Path) -> None:
    """Without an address a dispatcher starts a local cluster, of which nothing survives the pool."""
    harness = _fast_harness(queue)
    try:
        first = tmp_path / "pid"
        harness.add(f"echo $$ > {first}; sleep 60", timeout=0)
        pool = harness.start(1, executor="dask")
        shell = read_pid(first)
        tree = psutil.Process(pool.pid).children(recursive=True)
        assert shell in {process.pid for process in tree}
        os.kill(pool.pid, signal.SIGKILL)
        _, left = psutil.wait_procs(tree, timeout=60)
        assert left == []
        assert not alive(shell)
    finally:
        harness.close()
