"""The contract of whatever runs commands, held by each executor: this machine's workers, and dask's."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.state import State
from queuectl_nb.queue import Job, Queue
from tests.engine.bench import Bench, alive, processes_of, started, until
from tests.engine.dasks import start_cluster
from tests.engine.test_ending_jobs import NASTY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.model.attempt import AttemptRecord

GRACE = 0.3


@pytest.fixture(scope="module", params=["local", "dask"])
def bench(
    request: pytest.FixtureRequest, template_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Return a bench whose workers run for the whole module: one start of each kind is enough."""
    folder = tmp_path_factory.mktemp(request.param)
    path = folder / "queue.db"
    shutil.copyfile(template_path, path)
    path.chmod(0o600)
    queue = Queue(path)
    queue.set("kill_grace", GRACE)
    found = Bench(queue)
    cluster = None
    try:
        if request.param == "dask":
            pytest.importorskip("distributed")
            cluster = start_cluster(folder, 2)
            cluster.until_there(2)
            found.start(8, executor="dask", scheduler=cluster.address)
        else:
            found.start(2)
        yield found
    finally:
        found.close()
        queue.close()
        if cluster is not None:
            cluster.close()


def ran(bench: Bench, command: str, **fields: Any) -> tuple[Job, AttemptRecord]:
    """Run a command once and return its job and attempt."""
    (job_id,) = bench.queue.enqueue_specs([JobSpec.of({"command": command, "max_retries": 1, **fields})])
    job = Job(bench.queue, job_id)
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
    bench: Bench, command: str, outcome: str, code: int | None, signal: str | None, state: State
) -> None:
    """Exit codes and signals are told apart and decide the job's state."""
    job, attempt = ran(bench, command)
    assert (attempt.outcome, attempt.exit_code, attempt.signal) == (outcome, code, signal)
    assert (job.state, job.exit_code) == (state, code)


def test_streams_are_kept_apart_and_whole(bench: Bench) -> None:
    """What a command prints comes back byte for byte, each stream by itself: NUL, no UTF-8, no last newline."""
    _, attempt = ran(bench, r"printf 'a\000b\377'; printf 'err\n' >&2; printf 'end'")
    assert (attempt.stdout, attempt.stderr) == (b"a\0b\xffend", "err\n")


def test_large_output_comes_back_whole(bench: Bench) -> None:
    """Three megabytes on one stream: head and tail in the database, every byte in the log."""
    job, attempt = ran(bench, "seq 1 450000; echo done >&2")
    whole = "".join(f"{number}\n" for number in range(1, 450_001))
    assert attempt.outcome == "succeeded"
    assert job.log("stdout") == whole
    assert job.log("stderr") == "done\n"


def test_output_in_between_is_whole_too(bench: Bench) -> None:
    """Output around the sizes at which the way changes comes back whole."""
    for size in (1, 8 * 1024, 16 * 1024, 16 * 1024 + 1, 70_000):
        job, _ = ran(bench, f"head -c {size} /dev/zero | tr '\\0' x")
        assert job.log("stdout") == "x" * size


def test_output_is_seen_while_the_command_runs(bench: Bench, tmp_path: Path) -> None:
    """A log is live: what was printed is there before the command ends, in pieces small and large."""
    go = tmp_path / "go"
    job = bench.add(f"echo first; seq 1 20000; until [ -e {go} ]; do sleep 0.02; done; echo last", max_retries=1)
    until(lambda: job.log("stdout").endswith("20000\n"))
    assert job.state is State.PROCESSING
    go.touch()
    job.wait(timeout=20)
    assert job.log("stdout").startswith("first\n1\n2\n")
    assert job.log("stdout").endswith("20000\nlast\n")


def test_environment_and_directory(bench: Bench, tmp_path: Path) -> None:
    """A command sees the facts of its attempt, what ``--env`` gave, and its directory; its stdin is empty."""
    job, attempt = ran(bench, "cat; pwd; env", cwd=str(tmp_path), env={"FLAVOUR": "sweet sour"}, id="who-am-i")
    lines = job.log("stdout").splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert lines[0] == str(tmp_path)
    assert seen["FLAVOUR"] == "sweet sour"
    assert seen["QUEUECTL_JOB_ID"] == "who-am-i"
    assert seen["QUEUECTL_ATTEMPT"] == "1"
    assert seen["QUEUECTL_ATTEMPT_TOKEN"] == attempt.token
    assert seen["QUEUECTL_MAX_RETRIES"] == "1"
    assert seen["QUEUECTL_DB"] == str(bench.path)
    assert seen["PYTHONUNBUFFERED"] == "1"


def test_missing_directory_is_not_started(bench: Bench, tmp_path: Path) -> None:
    """A working directory that is not there ends the attempt as not started, named in the error."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (job_id,) = bench.queue.enqueue_specs(
        [JobSpec.of({"command": "true", "cwd": str(gone), "max_retries": 1, "delay": 0.3})]
    )
    gone.rmdir()
    job = Job(bench.queue, job_id)
    job.wait(timeout=20)
    assert (job.state, job.history[0].outcome) == (State.DEAD, "not_started")
    assert str(gone) in job.error


def test_result(bench: Bench) -> None:
    """JSON in QUEUECTL_RESULT becomes the job's result; what is none is told and harms nothing."""
    job, _ = ran(bench, """echo '{"loss": 0.25}' > $QUEUECTL_RESULT""")
    assert job.result == {"loss": 0.25}
    job, _ = ran(bench, "echo nonsense > $QUEUECTL_RESULT")
    assert (job.state, job.result) == (State.COMPLETED, None)
    assert "result" in job.error
    big = "x" * 200_000
    job, _ = ran(
        bench, f'python3 -c \'import json, os; json.dump("x" * {len(big)}, open(os.environ["QUEUECTL_RESULT"], "w"))\''
    )
    assert job.result == big


def test_usage_is_that_of_the_command(bench: Bench) -> None:
    """CPU seconds and peak memory are the command's own, as the kernel accounts them."""
    _, attempt = ran(
        bench, "python3 -c 'import time; x = bytearray(60_000_000)\nwhile time.process_time() < 0.4: pass'"
    )
    assert attempt.user_cpu_s is not None
    assert attempt.system_cpu_s is not None
    assert attempt.max_rss_bytes is not None
    assert 0.3 < attempt.user_cpu_s + attempt.system_cpu_s < 5
    assert 60_000_000 < attempt.max_rss_bytes < 400_000_000


def test_times_and_process_of_the_attempt(bench: Bench, tmp_path: Path) -> None:
    """A running attempt shows the pid of its shell; its times are those of the command, not of its wait."""
    first = tmp_path / "pid"
    job, attempt = ran(bench, f"echo $$ > {first}; sleep 0.5")
    assert attempt.pid == started(first)
    assert attempt.finished_at is not None
    assert 0.5 <= attempt.finished_at - attempt.started_at < 5
    assert attempt.started_at >= job.created_at


def test_running_attempt_shows_its_pid(bench: Bench, tmp_path: Path) -> None:
    """While it runs, the history has the pid of the shell already."""
    first, go = tmp_path / "pid", tmp_path / "go"
    job = bench.add(f"echo $$ > {first}; until [ -e {go} ]; do sleep 0.02; done", max_retries=1)
    pid = started(first)
    until(lambda: job.history[0].pid == pid)
    go.touch()
    job.wait(timeout=20)


@pytest.mark.parametrize("name", ["ignores TERM", "daemon of a daemon", "closed its output", "forks in a loop"])
def test_timeout_ends_all_of_it(bench: Bench, name: str, tmp_path: Path) -> None:
    """At its timeout a command gets TERM, the grace, and KILL; nothing of it is left, whatever it did to hide."""
    first = tmp_path / "pid"
    job, attempt = ran(bench, f"echo $$ > {first}; {NASTY[name]}", timeout=0.5)
    assert (job.state, attempt.outcome) == (State.DEAD, "timed_out")
    assert attempt.finished_at is not None
    assert attempt.finished_at - attempt.started_at < 0.5 + GRACE + 1
    assert "--timeout" in job.error
    assert not alive(started(first))
    assert processes_of(bench.path) == []


def test_timeout_follows_the_setting_live(bench: Bench, tmp_path: Path) -> None:
    """A job without a timeout of its own takes a changed setting while it runs."""
    first = tmp_path / "pid"
    bench.queue.set("timeout", 0)
    job = bench.add(f"echo $$ > {first}; sleep 60", max_retries=1)
    started(first)
    bench.queue.set("timeout", 0.2)
    try:
        job.wait(timeout=20)
    finally:
        bench.queue.unset("timeout")
    assert bench.outcomes(job) == ["timed_out"]


def test_cancel_ends_all_of_it(bench: Bench, tmp_path: Path) -> None:
    """A cancelled command is ended with all that it started, and its output up to then is kept."""
    first = tmp_path / "pid"
    job = bench.add(f"echo before; echo $$ > {first}; setsid sleep 60 & sleep 60")
    shell = started(first)
    job.cancel()
    assert (job.state, bench.outcomes(job)) == (State.CANCELLED, ["cancelled"])
    assert job.log("stdout") == "before\n"
    assert not alive(shell)
    assert processes_of(bench.path) == []


def test_what_is_left_in_the_background_ends_with_the_shell(bench: Bench, tmp_path: Path) -> None:
    """A command is over when its shell is; what it left is ended, and the outcome stays the shell's."""
    left = tmp_path / "left"
    job, attempt = ran(bench, f"(setsid sleep 60 & echo $! > {left}); echo done")
    assert (job.state, attempt.outcome) == (State.COMPLETED, "succeeded")
    assert not alive(started(left))


def test_command_that_kills_what_started_it(bench: Bench) -> None:
    """A command that kills its own starter costs its own attempts only; they end as lost, and others go on."""
    job, attempt = ran(bench, "kill -9 $PPID; sleep 60")
    assert (job.state, attempt.outcome) == (State.DEAD, "lost")
    assert processes_of(bench.path) == []
    job, _ = ran(bench, "true")
    assert job.state is State.COMPLETED


def test_retries_wait_and_count(bench: Bench, tmp_path: Path) -> None:
    """A failing command is started exactly ``max_retries`` times, with the wait between."""
    bench.queue.set("backoff_base", 1)
    tries = tmp_path / "tries"
    try:
        job = bench.add(f"echo x >> {tries}; exit 1", max_retries=2)
        job.wait(timeout=30)
    finally:
        bench.queue.unset("backoff_base")
    assert (job.state, len(tries.read_text().split())) == (State.DEAD, 2)
    first, second = job.history
    assert first.finished_at is not None
    assert second.started_at - first.finished_at >= 0.99


def test_order_of_work(bench: Bench, tmp_path: Path) -> None:
    """What waits is started by priority, then age, whoever runs it; a delayed job waits for its time."""
    order = tmp_path / "order"
    bench.queue.pause()
    jobs = [bench.add(f"echo {n} >> {order}; sleep 0.3", priority=n) for n in (1, 3, 2)]
    late = bench.add("true", delay=1.0)
    bench.queue.resume()
    begun = time.time()
    for job in [*jobs, late]:
        job.wait(timeout=30)
    firsts = {job.id: job.history[0].started_at for job in jobs}
    assert firsts[jobs[1].id] <= firsts[jobs[2].id] + 0.2
    assert late.history[0].started_at >= late.run_at
    assert begun < late.run_at


def test_many_short_jobs(bench: Bench) -> None:
    """Two hundred short jobs all end as they should, each started once."""
    ids = bench.queue.enqueue_specs(
        [JobSpec.of({"command": f"echo {n}; exit {n % 2}", "max_retries": 1}) for n in range(200)]
    )
    bench.queue.wait(*ids, timeout=60)
    for number, job_id in enumerate(ids):
        job = Job(bench.queue, job_id)
        assert job.state is (State.DEAD if number % 2 else State.COMPLETED)
        assert [attempt.stdout for attempt in job.history] == [f"{number}\n"]
    assert json.loads(json.dumps(ids)) == list(ids)
