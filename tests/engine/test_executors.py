"""The contract of whatever runs commands, held by each executor: this machine's workers, dask's, simulated ones."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.client import Job, Queue
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from tests.engine.dask_processes import start_cluster
from tests.engine.harness import WorkerHarness, alive, job_processes, read_pid, until
from tests.engine.simulated import SimulatedDispatcher
from tests.engine.test_ending_jobs import NASTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queuectl_nb.model.attempt import AttemptRecord

GRACE = 0.3


KINDS = ("local", "dask")


def simulated_too(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test that needs no processes hold for the simulated executor, too."""
    test.kinds = (*KINDS, "simulated")  # type: ignore[attr-defined]
    return test


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test over the executors that it is about; module scope groups them by executor."""
    if "harness" in metafunc.fixturenames:
        kinds = getattr(metafunc.function, "kinds", KINDS)
        metafunc.parametrize("harness", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def harness(
    request: pytest.FixtureRequest, template_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerHarness]:
    """Return a harness whose workers run for the whole module: one start of each kind is enough."""
    folder = tmp_path_factory.mktemp(request.param)
    path = folder / "queue.db"
    shutil.copyfile(template_path, path)
    path.chmod(0o600)
    queue = Queue(path)
    queue.set("kill_grace", GRACE)
    found = WorkerHarness(queue)
    cluster = simulated = None
    try:
        if request.param == "simulated":
            simulated = SimulatedDispatcher(path)
        elif request.param == "dask":
            pytest.importorskip("distributed")
            cluster = start_cluster(folder, 2)
            cluster.until_there(2)
            found.start(8, executor="dask", scheduler=cluster.address)
        else:
            found.start(2)
        yield found
    finally:
        if simulated is not None:
            simulated.stop()
        found.close()
        queue.close()
        if cluster is not None:
            cluster.close()


def ran(harness: WorkerHarness, command: str, **fields: Any) -> tuple[Job, AttemptRecord]:
    """Run a command once and return its job and attempt."""
    (job_id,) = harness.queue.enqueue_specs([JobSpec.from_fields({"command": command, "max_retries": 1, **fields})])
    job = Job(harness.queue, job_id)
    job.wait(timeout=30)
    return job, job.history[-1]


@pytest.mark.parametrize(
    ("command", "outcome", "code", "signal", "state"),
    [
        ("true", "succeeded", 0, None, State.COMPLETED),
        ("exit 7", "failed", 7, None, State.DEAD),
        ("no-such-program-at-all", "failed", 127, None, State.DEAD),
        ("kill -SEGV $$", "failed", None, "SIGSEGV", State.DEAD),
        ("kill -9 $$", "failed", None, "SIGKILL", State.DEAD),
        ("(exit 3", "failed", 2, None, State.DEAD),
    ],
)
def test_how_a_command_ends(  # noqa: PLR0917
    harness: WorkerHarness, command: str, outcome: str, code: int | None, signal: str | None, state: State
) -> None:
    """Exit codes and signals are told apart and decide the job's state."""
    job, attempt = ran(harness, command)
    assert (attempt.outcome, attempt.exit_code, attempt.signal) == (outcome, code, signal)
    assert (job.state, job.exit_code) == (state, code)


@simulated_too
def test_budget_timeout_and_cancel(harness: WorkerHarness) -> None:
    """A command succeeds or fails by its exit code, ends at its timeout, and by a cancel, whoever runs it."""
    well, ill = ran(harness, "true"), ran(harness, "exit 7")
    assert [(job.state, attempt.outcome, attempt.exit_code) for job, attempt in (well, ill)] == [
        (State.COMPLETED, "succeeded", 0),
        (State.DEAD, "failed", 7),
    ]
    job, attempt = ran(harness, "sleep 60", timeout=0.2)
    assert (job.state, attempt.outcome) == (State.DEAD, "timed_out")
    job = harness.add("sleep 60")
    until(lambda: job.refresh().state is State.PROCESSING)
    job.cancel()
    assert job.state is State.CANCELLED
    assert set(harness.outcomes(job)) <= {"cancelled"}


@simulated_too
def test_delayed_jobs_and_retries_wait(harness: WorkerHarness) -> None:
    """No attempt starts before its time, and there are exactly ``max_retries``."""
    harness.queue.set("backoff_base", 1)
    try:
        job = harness.add("exit 1", max_retries=2, delay=0.3)
        job.wait(timeout=30)
    finally:
        harness.queue.unset("backoff_base")
    first, second = job.history
    assert (job.state, job.attempts) == (State.DEAD, 2)
    assert first.finished_at is not None
    assert first.started_at >= job.created_at + 0.3
    assert second.started_at - first.finished_at >= 0.99


@simulated_too
def test_many_jobs_each_once(harness: WorkerHarness) -> None:
    """A hundred short jobs all end as they should, each started once."""
    specs = [JobSpec.from_fields({"command": f"exit {n % 2}", "max_retries": 1}) for n in range(100)]
    ids = harness.queue.enqueue_specs(specs)
    harness.queue.wait(*ids, timeout=60)
    jobs = [Job(harness.queue, each) for each in ids]
    assert [job.state for job in jobs] == [State.COMPLETED, State.DEAD] * 50
    assert {len(job.history) for job in jobs} == {1}


def test_streams_are_kept_apart_and_whole(harness: WorkerHarness) -> None:
    """What a command prints comes back byte for byte, each stream by itself: NUL, no UTF-8, no last newline."""
    _, attempt = ran(harness, r"printf 'a\000b\377'; printf 'err\n' >&2; printf 'end'")
    assert (attempt.stdout, attempt.stderr) == (b"a\0b\xffend", "err\n")


def test_large_output_comes_back_whole(harness: WorkerHarness) -> None:
    """Three megabytes on one stream: head and tail in the database, every byte in the log."""
    job, attempt = ran(harness, "seq 1 450000; echo done >&2")
    whole = "".join(f"{number}\n" for number in range(1, 450_001))
    assert attempt.outcome == "succeeded"
    assert job.log("stdout") == whole
    assert job.log("stderr") == "done\n"


def test_output_in_between_is_whole_too(harness: WorkerHarness) -> None:
    """Output around the sizes at which the way changes comes back whole."""
    for size in (1, 8 * 1024, 16 * 1024, 16 * 1024 + 1, 70_000):
        job, _ = ran(harness, f"head -c {size} /dev/zero | tr '\\0' x")
        assert job.log("stdout") == "x" * size


def test_output_is_seen_while_the_command_runs(harness: WorkerHarness, tmp_path: Path) -> None:
    """A log is live: what was printed is there before the command ends, in pieces small and large."""
    go = tmp_path / "go"
    job = harness.add(f"echo first; seq 1 20000; until [ -e {go} ]; do sleep 0.02; done; echo last", max_retries=1)
    until(lambda: job.log("stdout").endswith("20000\n"))
    assert job.state is State.PROCESSING
    go.touch()
    job.wait(timeout=20)
    assert job.log("stdout").startswith("first\n1\n2\n")
    assert job.log("stdout").endswith("20000\nlast\n")


def test_environment_and_directory(harness: WorkerHarness, tmp_path: Path) -> None:
    """A command sees the facts of its attempt, what ``--env`` gave, and its directory; its stdin is empty."""
    job, attempt = ran(harness, "cat; pwd; env", cwd=str(tmp_path), env={"FLAVOUR": "sweet sour"}, id="who-am-i")
    lines = job.log("stdout").splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert lines[0] == str(tmp_path)
    assert seen["FLAVOUR"] == "sweet sour"
    assert seen["QUEUECTL_JOB_ID"] == "who-am-i"
    assert seen["QUEUECTL_ATTEMPT"] == "1"
    assert seen["QUEUECTL_ATTEMPT_TOKEN"] == attempt.token
    assert seen["QUEUECTL_MAX_RETRIES"] == "1"
    assert seen["QUEUECTL_DB"] == str(harness.path)
    assert seen["PYTHONUNBUFFERED"] == "1"


def test_missing_directory_is_not_started(harness: WorkerHarness, tmp_path: Path) -> None:
    """A working directory that is not there ends the attempt as not started, named in the error."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (job_id,) = harness.queue.enqueue_specs(
        [JobSpec.from_fields({"command": "true", "cwd": str(gone), "max_retries": 1, "delay": 0.3})]
    )
    gone.rmdir()
    job = Job(harness.queue, job_id)
    job.wait(timeout=20)
    assert (job.state, job.history[0].outcome) == (State.DEAD, "not_started")
    assert str(gone) in job.error


def test_result(harness: WorkerHarness) -> None:
    """JSON in QUEUECTL_RESULT becomes the job's result; what is none is told and harms nothing."""
    job, _ = ran(harness, """echo '{"loss": 0.25}' > $QUEUECTL_RESULT""")
    assert job.result == {"loss": 0.25}
    job, _ = ran(harness, "echo nonsense > $QUEUECTL_RESULT")
    assert (job.state, job.result) == (State.COMPLETED, None)
    assert "result" in job.error
    big = "x" * 200_000
    job, _ = ran(
        harness,
        f'python3 -c \'import json, os; json.dump("x" * {len(big)}, open(os.environ["QUEUECTL_RESULT"], "w"))\'',
    )
    assert job.result == big


def test_usage_is_that_of_the_command(harness: WorkerHarness) -> None:
    """CPU seconds and peak memory are the command's own, as the kernel accounts them."""
    _, attempt = ran(
        harness, "python3 -c 'import time; x = bytearray(60_000_000)\nwhile time.process_time() < 0.4: pass'"
    )
    assert attempt.user_cpu_s is not None
    assert attempt.system_cpu_s is not None
    assert attempt.max_rss_bytes is not None
    assert 0.3 < attempt.user_cpu_s + attempt.system_cpu_s < 5
    assert 60_000_000 < attempt.max_rss_bytes < 400_000_000


def test_times_and_process_of_the_attempt(harness: WorkerHarness, tmp_path: Path) -> None:
    """A running attempt shows the pid of its shell; its times are those of the command, not of its wait."""
    first = tmp_path / "pid"
    job, attempt = ran(harness, f"echo $$ > {first}; sleep 0.5")
    assert attempt.pid == read_pid(first)
    assert attempt.finished_at is not None
    assert 0.5 <= attempt.finished_at - attempt.started_at < 5
    assert attempt.started_at >= job.created_at


def test_running_attempt_shows_its_pid(harness: WorkerHarness, tmp_path: Path) -> None:
    """While it runs, the history has the pid of the shell already."""
    first, go = tmp_path / "pid", tmp_path / "go"
    job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done", max_retries=1)
    pid = read_pid(first)
    until(lambda: job.history[0].pid == pid)
    go.touch()
    job.wait(timeout=20)


@pytest.mark.parametrize("name", ["ignores TERM", "daemon of a daemon", "closed its output", "forks in a loop"])
def test_timeout_ends_all_of_it(harness: WorkerHarness, name: str, tmp_path: Path) -> None:
    """At its timeout a command gets TERM, the grace, and KILL; nothing of it is left, whatever it did to hide."""
    first = tmp_path / "pid"
    job, attempt = ran(harness, f"echo $$ > {first}; {NASTY[name]}", timeout=0.5)
    assert (job.state, attempt.outcome) == (State.DEAD, "timed_out")
    assert "--timeout" in job.error
    assert not alive(read_pid(first))
    assert job_processes(harness.path) == []


def test_timeout_follows_the_setting_live(harness: WorkerHarness, tmp_path: Path) -> None:
    """A job without a timeout of its own takes a changed setting while it runs."""
    first = tmp_path / "pid"
    harness.queue.set("timeout", 0)
    job = harness.add(f"echo $$ > {first}; sleep 60", max_retries=1)
    read_pid(first)
    harness.queue.set("timeout", 0.2)
    try:
        job.wait(timeout=20)
    finally:
        harness.queue.unset("timeout")
    assert harness.outcomes(job) == ["timed_out"]


def test_cancel_ends_all_of_it(harness: WorkerHarness, tmp_path: Path) -> None:
    """A cancelled command is ended with all that it started, and its output up to then is kept."""
    first = tmp_path / "pid"
    job = harness.add(f"echo before; echo $$ > {first}; setsid sleep 60 & sleep 60")
    shell = read_pid(first)
    job.cancel()
    assert (job.state, harness.outcomes(job)) == (State.CANCELLED, ["cancelled"])
    assert job.log("stdout") == "before\n"
    assert not alive(shell)
    assert job_processes(harness.path) == []


def test_what_is_left_in_the_background_ends_with_the_shell(harness: WorkerHarness, tmp_path: Path) -> None:
    """A command is over when its shell is; what it left is ended, and the outcome stays the shell's."""
    left = tmp_path / "left"
    job, attempt = ran(harness, f"(setsid sleep 60 & echo $! > {left}); echo done")
    assert (job.state, attempt.outcome) == (State.COMPLETED, "succeeded")
    assert not alive(read_pid(left))


def test_command_that_kills_what_started_it(harness: WorkerHarness) -> None:
    """A command that kills its own starter costs its own attempts only; they end as lost, and others go on."""
    job, attempt = ran(harness, "kill -9 $PPID; sleep 60")
    assert (job.state, attempt.outcome) == (State.DEAD, "lost")
    assert job_processes(harness.path) == []
    job, _ = ran(harness, "true")
    assert job.state is State.COMPLETED


def test_many_short_jobs(harness: WorkerHarness) -> None:
    """What each of a hundred short jobs prints comes back with it and not with another."""
    ids = harness.queue.enqueue_specs(
        [JobSpec.from_fields({"command": f"echo {n}; exit {n % 2}", "max_retries": 1}) for n in range(100)]
    )
    harness.queue.wait(*ids, timeout=60)
    for number, job_id in enumerate(ids):
        job = Job(harness.queue, job_id)
        assert job.state is (State.DEAD if number % 2 else State.COMPLETED)
        assert [attempt.stdout for attempt in job.history] == [f"{number}\n"]
