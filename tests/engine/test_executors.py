"""What every executor does, checked for local workers, dask and a simulation."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from queuectl_nb.client import Job, Queue
from queuectl_nb.client.artifacts import find_artifacts
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from queuectl_nb.store.calls import read_displays
from tests.client.cells import enqueue_cell
from tests.client.test_notebook import write
from tests.engine.dask_processes import start_cluster
from tests.engine.harness import WorkerHarness, alive, job_processes, read_pid, until
from tests.engine.simulated import SimulatedDispatcher
from tests.engine.test_termination import NASTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queuectl_nb.model.attempt import AttemptRecord

GRACE = 0.3


KINDS = ("local", "dask")


def also_simulated(test: Callable[..., None]) -> Callable[..., None]:
    """Also run the test with the simulated executor."""
    test.kinds = (*KINDS, "simulated")  # type: ignore[attr-defined]
    return test


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on its executors, grouped by module scope."""
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
            cluster.wait_for_workers(2)
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


def run_once(harness: WorkerHarness, command: str, **fields: Any) -> tuple[Job, AttemptRecord]:
    """Run a command once and return its job and attempt."""
    (job_id,) = enqueue_specs(
        harness.queue, [JobSpec.from_fields({"command": command, "max_retries": 1, **fields})]
    ).ids
    job = Job(harness.queue, job_id)
    job.wait(timeout=60)
    return job, job.history[-1]


def time_out(harness: WorkerHarness, command: str, path: Path) -> Job:
    """Run a command until its time is over, which is when it has written the file ``path``."""
    harness.queue.set("timeout", 0)
    try:
        job = harness.add(command, max_retries=1)
        read_pid(path)
        harness.queue.set("timeout", 0.2)
        job.wait(timeout=60)
    finally:
        harness.queue.unset("timeout")
    return job


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
def test_exit_codes_and_signals(
    harness: WorkerHarness, command: str, outcome: str, code: int | None, signal: str | None, state: State
) -> None:
    """Exit codes and signals decide outcome and state."""
    job, attempt = run_once(harness, command)
    assert (attempt.outcome, attempt.exit_code, attempt.signal) == (outcome, code, signal)
    assert (job.state, job.exit_code) == (state, code)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("exit 7", "exit code 7"),
        ("no-such-program-at-all", "exit code 127: no-such-program-at-all: command not found"),
        (
            "python -c \"open('missing.csv')\"",
            "exit code 1: FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'",
        ),
        ("seq 1000000 >&2; echo boom >&2; exit 1", "exit code 1: boom"),
    ],
)
def test_error_says_why(harness: WorkerHarness, command: str, error: str) -> None:
    """The error of job and attempt has the line of stderr that says why, also of large output."""
    job, attempt = run_once(harness, command)
    assert (job.error, attempt.error) == (error, error)


def test_shell(harness: WorkerHarness) -> None:
    """The job's own shell, else the setting, runs the command; one that is missing is named."""
    words = "[[ -n $BASH_VERSION ]] && shopt -q login_shell && echo login"
    job, _ = run_once(harness, words, shell="bash -l")
    assert (job.state, job.log()) == (State.COMPLETED, "login\n")
    job, _ = run_once(harness, "[[ -n x ]]")
    assert (job.exit_code, "[[: command not found (needs another shell" in job.error) == (127, True)
    harness.queue.set("shell", "bash -l")
    until(lambda: run_once(harness, words)[0].state is State.COMPLETED)
    job, attempt = run_once(harness, "true", shell="nosuchshell -x")
    assert (attempt.outcome, job.error) == (
        "not_started",
        "could not be started: shell nosuchshell -x: not found in PATH",
    )
    job, attempt = run_once(harness, "true", shell="/no/such/shell")
    assert job.error == "could not be started: shell /no/such/shell: No such file or directory"


@also_simulated
def test_exit_timeout_and_cancel(harness: WorkerHarness) -> None:
    """A command ends by its exit code, its timeout or a cancel on every executor."""
    good, bad = run_once(harness, "true"), run_once(harness, "exit 7")
    assert [(job.state, attempt.outcome, attempt.exit_code) for job, attempt in (good, bad)] == [
        (State.COMPLETED, "succeeded", 0),
        (State.DEAD, "failed", 7),
    ]
    job, attempt = run_once(harness, "sleep 60", timeout=0.2)
    assert (job.state, attempt.outcome) == (State.DEAD, "timed_out")
    job = harness.add("sleep 60")
    until(lambda: job.refresh().state is State.PROCESSING)
    job.cancel()
    assert job.state is State.CANCELLED
    assert set(harness.outcomes(job)) <= {"cancelled"}


@also_simulated
def test_delays_and_retries(harness: WorkerHarness) -> None:
    """No attempt starts before its time, and there are exactly ``max_retries`` attempts."""
    harness.queue.set("backoff_base", 1)
    try:
        job = harness.add("exit 1", max_retries=2, delay=0.3)
        job.wait(timeout=60)
    finally:
        harness.queue.unset("backoff_base")
    first, second = job.history
    assert (job.state, job.attempts) == (State.DEAD, 2)
    assert first.finished_at is not None
    assert first.started_at >= job.created_at + 0.3
    assert second.started_at - first.finished_at >= 0.99


@also_simulated
def test_each_of_many_jobs_runs_once(harness: WorkerHarness) -> None:
    """A hundred short jobs have the expected state and one attempt each."""
    specs = [JobSpec.from_fields({"command": f"exit {n % 2}", "max_retries": 1}) for n in range(100)]
    ids = enqueue_specs(harness.queue, specs).ids
    harness.queue.wait(*ids, timeout=60)
    jobs = [Job(harness.queue, each) for each in ids]
    assert [job.state for job in jobs] == [State.COMPLETED, State.DEAD] * 50
    assert {len(job.history) for job in jobs} == {1}


def test_streams_are_separate_and_complete(harness: WorkerHarness) -> None:
    """Output is stored byte for byte and by stream, including NUL and invalid UTF-8."""
    _, attempt = run_once(harness, r"printf 'a\000b\377'; printf 'err\n' >&2; printf 'end'")
    assert (attempt.stdout, attempt.stderr) == (b"a\0b\xffend", "err\n")


def test_large_output_is_complete(harness: WorkerHarness) -> None:
    """Three megabytes on one stream are complete in the log."""
    job, attempt = run_once(harness, "seq 1 450000; echo done >&2")
    whole = "".join(f"{number}\n" for number in range(1, 450_001))
    assert attempt.outcome == "succeeded"
    assert job.log("stdout") == whole
    assert job.log("stderr") == "done\n"


def test_output_around_the_size_limits_is_complete(harness: WorkerHarness) -> None:
    """Output of sizes at which the storage changes is complete."""
    for size in (1, 8 * 1024, 16 * 1024, 16 * 1024 + 1, 70_000):
        job, _ = run_once(harness, f"head -c {size} /dev/zero | tr '\\0' x")
        assert job.log("stdout") == "x" * size


def test_output_that_a_job_replaces_is_missed(harness: WorkerHarness, tmp_path: Path) -> None:
    """If a job puts a link in place of its output, nothing is read through it, and the error says so."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    renamed = "readlink /proc/$$/fd/1 | grep -q $QUEUECTL_ATTEMPT_TOKEN"  # the file of a job that is not short
    _, attempt = run_once(harness, f'until {renamed}; do sleep 0.02; done; ln -sf {victim} "$(readlink /proc/$$/fd/1)"')
    assert (attempt.stdout, attempt.outcome) == ("", "succeeded")
    assert attempt.error == "its output could not be read: not a regular file"
    assert victim.read_text() == "precious"


def test_output_is_readable_while_the_command_runs(harness: WorkerHarness, tmp_path: Path) -> None:
    """Output is in the log before the command exits."""
    go = tmp_path / "go"
    job = harness.add(f"echo first; seq 1 20000; until [ -e {go} ]; do sleep 0.02; done; echo last", max_retries=1)
    until(lambda: job.log("stdout").endswith("20000\n"))
    assert job.state is State.PROCESSING, job.error
    go.touch()
    job.wait(timeout=60)
    assert job.log("stdout").startswith("first\n1\n2\n")
    assert job.log("stdout").endswith("20000\nlast\n")


def test_environment_and_directory(harness: WorkerHarness, tmp_path: Path) -> None:
    """A command gets the variables of its attempt, ``--env``, its directory and an empty stdin."""
    job, attempt = run_once(harness, "cat; pwd; env", cwd=str(tmp_path), env={"FLAVOUR": "sweet sour"}, id="who-am-i")
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


def test_missing_directory(harness: WorkerHarness, tmp_path: Path) -> None:
    """A missing working directory ends the attempt as not started and is named in the error."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (job_id,) = enqueue_specs(
        harness.queue, [JobSpec.from_fields({"command": "true", "cwd": str(gone), "max_retries": 1, "delay": 0.3})]
    ).ids
    gone.rmdir()
    job = Job(harness.queue, job_id)
    job.wait(timeout=60)
    assert (job.state, job.history[0].outcome) == (State.DEAD, "not_started")
    assert str(gone) in job.error


def test_result(harness: WorkerHarness) -> None:
    """JSON in QUEUECTL_RESULT becomes the job's result; invalid JSON is reported and does not fail the job."""
    job, _ = run_once(harness, """echo '{"loss": 0.25}' > $QUEUECTL_RESULT""")
    assert job.result() == {"loss": 0.25}
    job, _ = run_once(harness, "echo nonsense > $QUEUECTL_RESULT")
    assert (job.state, job.result()) == (State.COMPLETED, None)
    assert "result" in job.error
    big = "x" * 200_000
    job, _ = run_once(
        harness,
        f'python3 -c \'import json, os; json.dump("x" * {len(big)}, open(os.environ["QUEUECTL_RESULT"], "w"))\'',
    )
    assert job.result() == big


@pytest.mark.parametrize("size", [3, 5_000_000])
def test_artifacts(harness: WorkerHarness, size: int) -> None:
    """Files that a failed command leaves are kept; links and special files are not, and said."""
    command = f"""cd $QUEUECTL_ARTIFACTS && mkdir a && head -c {size} /dev/zero | tr '\\0' x > 'a/f g'
    ln -s "$QUEUECTL_DB" link; mkfifo fifo; exit 3"""
    job, attempt = run_once(harness, command)
    assert attempt.exit_code == 3
    assert [*job.artifacts] == ["a/f g"]
    assert job.artifacts["a/f g"].read_bytes() == b"x" * size
    assert job.artifacts["a/f g"].parent.parent.stat().st_mode & 0o777 == 0o700
    found = find_artifacts(harness.queue.store, job.id)
    assert found.note == "2 artifacts were not kept: links (1), special files (1)"
    job.delete()
    until(lambda: not os.path.lexists(found.folder))


def test_artifacts_of_a_timeout(harness: WorkerHarness, tmp_path: Path) -> None:
    """What a command has left when its time is over is kept; over the limit it is not, and said."""
    left = tmp_path / "left"
    command = f"cd $QUEUECTL_ARTIFACTS; echo x > small; head -c 100000 /dev/zero > large; echo $$ > {left}; sleep 60"
    harness.queue.set("artifact_limit", 50_000)
    try:
        job = time_out(harness, command, left)
    finally:
        harness.queue.unset("artifact_limit")
    assert harness.outcomes(job) == ["timed_out"]
    assert [*job.artifacts] == ["small"]
    note = find_artifacts(harness.queue.store, job.id).note
    assert note == "1 artifact was not kept: over artifact_limit of 50000 bytes (1)"


def test_metrics(harness: WorkerHarness, tmp_path: Path) -> None:
    """What a command reports is readable while it runs, and all of it is kept."""
    release = tmp_path / "release"
    line = """printf '{"progress": %s, "loss": %s}\\n' $n $n >> $QUEUECTL_METRICS"""
    command = f"""n=0.5; {line}; while [ ! -e {release} ]; do sleep 0.02; done
    for n in $(seq 2000); do {line}; done; echo no >> $QUEUECTL_METRICS"""
    (job_id,) = enqueue_specs(harness.queue, [JobSpec.from_fields({"command": command, "max_retries": 1})]).ids
    job = harness.queue.job(job_id)
    until(lambda: job.record.progress == 0.5)
    assert job.record.metrics == {"loss": 0.5}
    release.touch()
    job.wait(timeout=60)
    assert (job.record.progress, job.record.metrics) == (1, {"loss": 2000})
    frame = harness.queue.metrics(job)
    assert frame["value"].tolist() == [0.5, *range(1, 2001)]
    assert frame.attrs["invalid_lines"] == {job_id: 1}


def test_functions(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions run on every executor: values and arguments of any size, exceptions, chunks and jobs as arguments.

    One whose interpreter is gone is dead at once.
    """
    queue = harness.queue
    large = queue.submit(lambda body: body + b"y", b"x" * 100_000)
    assert queue.submit(len, large).result(60) == 100_001
    assert large.result() == b"x" * 100_000 + b"y"
    job = queue.task(lambda: 1 / 0, max_retries=1).submit()
    with pytest.raises(ZeroDivisionError):
        job.result(60)
    assert job.error == "ZeroDivisionError: division by zero"
    assert queue.map(abs, [-1, 2, -3], chunksize=2).results(60) == [1, 2, 3]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nonexistent/python")
        job = queue.submit(abs, -1)
    job.wait(60)
    assert (job.state, job.attempts, len(job.history)) == (State.DEAD, 0, 1)
    assert "interpreter /nonexistent/python" in job.error


def test_notebook(harness: WorkerHarness, tmp_path: Path) -> None:
    """Notebooks run on every executor, with parameters and progress; the executed one comes back."""
    path = write(tmp_path / "report.ipynb", "n = 1", "print(6 // n)")
    job = harness.queue.enqueue_notebook(path, {"n": 2})
    assert job.wait(100).state == State.COMPLETED
    assert job.log("stdout") == "3\n"
    assert job.progress == 1
    executed = job.result()
    assert executed is not None
    assert nbformat.read(executed, as_version=4).cells[2].outputs[0].text == "3\n"


def test_cells(harness: WorkerHarness) -> None:
    """Cells run on every executor: inputs, variables and outputs of any size."""
    source = "big = a * 100_000\ndisplay(big)\nlock = __import__('threading').Lock()\nlen(big)"
    job = enqueue_cell(harness.queue, source, {"a": b"x"}, max_retries=1)
    assert job.result(60) == 100_000
    assert job["big"] == b"x" * 100_000
    assert job.variables()["note"].notna().to_dict() == {"big": False, "lock": True}
    output, _ = read_displays(harness.queue.store.db, job.id)
    assert len(output["data"]["text/plain"]) == 100_003
    assert job.log("stdout").startswith("b'xxx")


def test_resource_usage(harness: WorkerHarness) -> None:
    """CPU seconds and peak memory are those of the command."""
    _, attempt = run_once(
        harness, "python3 -c 'import time; x = bytearray(60_000_000)\nwhile time.process_time() < 0.4: pass'"
    )
    assert attempt.user_cpu_s is not None
    assert attempt.system_cpu_s is not None
    assert attempt.max_rss_bytes is not None
    assert 0.3 < attempt.user_cpu_s + attempt.system_cpu_s < 5
    assert 60_000_000 < attempt.max_rss_bytes < 400_000_000


def test_attempt_has_times_and_pid_of_the_command(harness: WorkerHarness, tmp_path: Path) -> None:
    """The attempt has the pid of the shell and the times of the command, without the wait."""
    first = tmp_path / "pid"
    job, attempt = run_once(harness, f"echo $$ > {first}; sleep 0.5")
    assert attempt.pid == read_pid(first)
    assert attempt.finished_at is not None
    assert job.created_at <= attempt.started_at <= attempt.finished_at - 0.5 < time.time()


def test_running_attempt_has_its_pid(harness: WorkerHarness, tmp_path: Path) -> None:
    """The history has the pid of the shell while the command runs."""
    first, go = tmp_path / "pid", tmp_path / "go"
    job = harness.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done", max_retries=1)
    pid = read_pid(first)
    until(lambda: job.history[0].pid == pid)
    go.touch()
    job.wait(timeout=60)


@pytest.mark.parametrize("name", ["ignores TERM", "daemon of a daemon", "closed its output", "forks in a loop"])
def test_timeout_kills_all_processes(harness: WorkerHarness, name: str, tmp_path: Path) -> None:
    """After the timeout no process of the command is left, however it hides."""
    first = tmp_path / "pid"
    job = time_out(harness, f"echo $$ > {first}; {NASTY[name]}", first)
    assert (job.state, harness.outcomes(job)) == (State.DEAD, ["timed_out"])
    assert "--timeout" in job.error
    assert not alive(read_pid(first))
    assert job_processes(harness.path) == []


def test_timeout_follows_the_setting(harness: WorkerHarness, tmp_path: Path) -> None:
    """A changed timeout setting applies to a running job without its own timeout."""
    first = tmp_path / "pid"
    assert harness.outcomes(time_out(harness, f"echo $$ > {first}; sleep 60", first)) == ["timed_out"]


def test_cancel_kills_all_processes(harness: WorkerHarness, tmp_path: Path) -> None:
    """A cancelled command is killed with all its processes; its output so far is kept."""
    first = tmp_path / "pid"
    job = harness.add(f"echo before; echo $$ > {first}; setsid sleep 60 & sleep 60")
    shell = read_pid(first)
    job.cancel()
    assert (job.state, harness.outcomes(job)) == (State.CANCELLED, ["cancelled"])
    assert job.log("stdout") == "before\n"
    assert not alive(shell)
    assert job_processes(harness.path) == []


def test_background_processes_end_with_the_shell(harness: WorkerHarness, tmp_path: Path) -> None:
    """Background processes are killed when the shell exits; the outcome is that of the shell."""
    left = tmp_path / "left"
    job, attempt = run_once(harness, f"(setsid sleep 60 & echo $! > {left}); echo done")
    assert (job.state, attempt.outcome) == (State.COMPLETED, "succeeded")
    assert not alive(read_pid(left))


def test_command_that_kills_its_parent(harness: WorkerHarness) -> None:
    """A command that kills its parent loses its own attempts only; other jobs run."""
    job, attempt = run_once(harness, "kill -9 $PPID; sleep 60")
    assert (job.state, attempt.outcome) == (State.DEAD, "lost")
    assert job_processes(harness.path) == []
    job, _ = run_once(harness, "true")
    assert job.state is State.COMPLETED


def test_output_of_many_short_jobs_is_not_mixed_up(harness: WorkerHarness) -> None:
    """Each of a hundred short jobs gets its own output."""
    ids = enqueue_specs(
        harness.queue,
        [JobSpec.from_fields({"command": f"echo {n}; exit {n % 2}", "max_retries": 1}) for n in range(100)],
    ).ids
    harness.queue.wait(*ids, timeout=60)
    for number, job_id in enumerate(ids):
        job = Job(harness.queue, job_id)
        assert job.state is (State.DEAD if number % 2 else State.COMPLETED)
        assert [attempt.stdout for attempt in job.history] == [f"{number}\n"]
