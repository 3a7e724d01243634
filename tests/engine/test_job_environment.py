"""The environment of a job: shell, directory, environment, streams and result of a job."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from queuectl_nb.client.logs import Logs
from queuectl_nb.model.state import State
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.engine.harness import WorkerHarness


def test_attempt_variables(harness: WorkerHarness) -> None:
    """The environment has id, attempt number, token, maximum attempts, queue and result path."""
    job = harness.add("env", id="who", max_retries=7)
    harness.start()
    job.wait(timeout=60)
    seen = dict(line.split("=", 1) for line in job.log().splitlines() if "=" in line)
    assert seen["QUEUECTL_JOB_ID"] == "who"
    assert seen["QUEUECTL_ATTEMPT"] == "1"
    assert seen["QUEUECTL_ATTEMPT_TOKEN"] == job.history[0].token
    assert seen["QUEUECTL_MAX_RETRIES"] == "7"
    assert seen["QUEUECTL_DB"] == str(harness.path)
    assert seen["QUEUECTL_RESULT"].startswith(str(harness.path))
    assert seen["PYTHONUNBUFFERED"] == "1"


def test_precedence_of_environments(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--env`` overrides the environment recorded at enqueue, which overrides that of the worker."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "at-enqueue")
    monkeypatch.setenv("CONDA_PREFIX", "at-enqueue")
    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    job = harness.add(
        "echo $CUDA_VISIBLE_DEVICES $CONDA_PREFIX $OTHER [$PYTHONUNBUFFERED]", env={"CONDA_PREFIX": "given"}
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "at-start")
    monkeypatch.setenv("CONDA_PREFIX", "at-start")
    monkeypatch.setenv("OTHER", "at-start")
    harness.start()
    assert job.wait(timeout=60).log() == "at-enqueue given at-start []\n"


def test_variables_of_terminal_and_kernel(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What describes the terminal or kernel that started the workers does not reach jobs, unless it is asked for."""
    for name in ("MPLBACKEND", "FORCE_COLOR", "CLICOLOR_FORCE", "GIT_PAGER", "JPY_PARENT_PID", "TERM", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, "of the starter")
    monkeypatch.setenv("HOME_OF_DATA", "kept")
    plain = harness.add("env")
    given = harness.add("env", env={"MPLBACKEND": "pdf", "TERM": "xterm"})
    harness.queue.set("keep_env", "PATH,FORCE_*")
    recorded = harness.add("env")
    harness.start()
    harness.queue.wait(timeout=60)
    assert "of the starter" not in plain.log()
    assert {"TERM=dumb", "HOME_OF_DATA=kept"} <= set(plain.log().splitlines())
    assert {"MPLBACKEND=pdf", "TERM=xterm"} <= set(given.log().splitlines())
    assert [line for line in recorded.log().splitlines() if "starter" in line] == ["FORCE_COLOR=of the starter"]


def test_secrets_are_not_stored(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only variables listed in ``keep_env`` are stored."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-hunter2")
    harness.add("true")
    assert not any(b"hunter2" in path.read_bytes() for path in harness.path.parent.glob("queue.db*") if path.is_file())


def test_python_is_the_enqueuing_interpreter(harness: WorkerHarness) -> None:
    """When enqueued from Python, ``python`` is the same interpreter."""
    import sys

    job = harness.add("command -v python")
    harness.start()
    assert job.wait(timeout=60).log().strip() == os.path.join(os.path.dirname(sys.executable), "python")


def test_directory_stdin_and_session(harness: WorkerHarness, tmp_path: Path) -> None:
    """The shell runs in the given directory with an empty stdin, as a session leader."""
    job = harness.add("pwd; cat; ps -o sid= -p $$ | tr -d ' '; echo $$", cwd=str(tmp_path))
    harness.start()
    directory, session, pid = job.wait(timeout=60).log().split()
    assert directory == str(tmp_path)
    assert session == pid


def test_removed_directory_ends_the_attempt_as_not_started(harness: WorkerHarness, tmp_path: Path) -> None:
    """A removed directory is reported; attempts count, and the job ends dead."""
    gone = tmp_path / "gone"
    gone.mkdir()
    job = harness.add("true", cwd=str(gone), max_retries=1)
    gone.rmdir()
    harness.start()
    job.wait(timeout=60)
    assert (job.state, harness.outcomes(job)) == (State.DEAD, ["not_started"])
    assert str(gone) in job.error
    assert "No such file" in job.error


def test_command_is_passed_verbatim(harness: WorkerHarness, tmp_path: Path) -> None:
    """Quotes, newlines, substitutions and emoji reach the shell unchanged."""
    job = harness.add("printf '%s|' \"a'b\" 'c\"d' '$(x)' \"$((1+1))\" '\n' 'ü🎉'\ntrue")
    harness.start()
    assert job.wait(timeout=60).log() == "a'b|c\"d|$(x)|2|\n|ü🎉|"


def test_largest_command(harness: WorkerHarness) -> None:
    """A command of 100,000 bytes runs."""
    job = harness.add(": " + "x" * 99_990 + "; echo a")
    harness.start()
    job.wait(timeout=60)
    assert len(job.command.encode()) <= 100_000
    assert (job.state, job.log()) == (State.COMPLETED, "a\n")


def test_signal_is_named_and_exit_code_is_null(harness: WorkerHarness) -> None:
    """An attempt killed by a signal has its name and no exit code."""
    job = harness.add("kill -SEGV $$", max_retries=1)
    harness.start()
    attempt = job.wait(timeout=60).history[0]
    assert (attempt.outcome, attempt.signal, attempt.exit_code) == ("failed", signal.Signals.SIGSEGV.name, None)
    assert job.exit_code is None


def test_only_signals_that_the_starter_ignores_are_ignored(harness: WorkerHarness) -> None:
    """A job ignores SIGHUP below ``nohup``, but no signal that only Python ignores."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        harness.start()
    finally:
        signal.signal(signal.SIGHUP, previous)
    job = harness.add("kill -HUP $$; echo survived; kill -PIPE $$; echo not reached", max_retries=1).wait(timeout=60)
    assert (job.log(), job.history[0].signal) == ("survived\n", "SIGPIPE")


def test_result_is_stored_for_completed_attempts_only(harness: WorkerHarness) -> None:
    """The result is stored if the attempt completes, and not if it fails."""
    good = harness.add('echo \'{"loss": 0.5, "bad": NaN}\' > $QUEUECTL_RESULT')
    bad = harness.add("echo 1 > $QUEUECTL_RESULT; exit 1", max_retries=1)
    odd = harness.add("echo 'no json' > $QUEUECTL_RESULT")
    harness.start()
    harness.queue.wait(timeout=60)
    assert good.result() == {"loss": 0.5, "bad": None}
    assert bad.to_dict()["result"] is None
    assert odd.state is State.COMPLETED
    assert "not valid JSON" in odd.refresh().error


def test_resource_usage(harness: WorkerHarness) -> None:
    """CPU seconds and peak memory are those of the command."""
    job = harness.add("python3 -c 'x = bytearray(80_000_000); sum(range(20_000_000))'")
    harness.start()
    attempt = job.wait(timeout=60).history[0]
    assert attempt.max_rss_bytes is not None
    assert 80_000_000 < attempt.max_rss_bytes < 400_000_000
    assert attempt.user_cpu_s is not None
    assert attempt.system_cpu_s is not None
    # a tenth of the expected time; the kernel samples the split between user and system
    assert attempt.user_cpu_s + attempt.system_cpu_s > 0.03
    assert all(len(f"{used!r}".partition(".")[2]) <= 6 for used in (attempt.user_cpu_s, attempt.system_cpu_s))


def test_small_output_is_in_the_database_only(harness: WorkerHarness) -> None:
    """Output within the limit is stored in the database, and no file stays in the spool."""
    job = harness.add("printf 'one\\n'; printf 'zwei' >&2")
    harness.start()
    job.wait(timeout=60)
    assert (job.log("stdout"), job.log("stderr")) == ("one\n", "zwei")
    until(lambda: harness.queue.store.spool.tokens() == set())


def test_large_output_is_complete_in_the_spool(harness: WorkerHarness) -> None:
    """Beyond the limit the database has head and tail; spool and log are complete."""
    harness.queue.set("output_limit", 1000)
    job = harness.add("yes 0123456789 | head -n 20000; echo end")
    harness.start()
    attempt = job.wait(timeout=60).history[0]
    assert isinstance(attempt.stdout, str)
    assert attempt.stdout.startswith("0123456789\n")
    assert attempt.stdout.endswith("0123456789\nend\n")
    assert "... 219004 bytes not kept here ..." in attempt.stdout
    assert len(job.log("stdout")) == 20000 * 11 + 4


def test_low_output_limit_loses_no_output(harness: WorkerHarness) -> None:
    """Output that the database does not keep is complete in the spool, also for short jobs."""
    harness.queue.set("output_limit", 100)
    jobs = harness.queue.enqueue_many([{"command": f"seq 1 {number}"} for number in (10, 200, 3000)] * 3)
    harness.start()
    harness.queue.wait(timeout=60)
    for job, number in zip(jobs, (10, 200, 3000) * 3, strict=True):
        assert job.log("stdout") == "".join(f"{line}\n" for line in range(1, number + 1))
        assert job.log("stdout", tail=1) == f"{number}\n"
        kept = job.history[0].stdout
        assert isinstance(kept, str)
        assert ("bytes not kept here" in kept) is (number > 10)
    assert len(harness.queue.store.spool.tokens()) == 6


def test_binary_output_is_unchanged(harness: WorkerHarness) -> None:
    """NUL, invalid UTF-8 and escapes are stored byte for byte."""
    raw = bytes(range(256))
    octal = "".join(f"\\{byte:03o}" for byte in raw)
    job = harness.add(f"printf '{octal}'")
    harness.start()
    job.wait(timeout=60)
    assert b"".join(Logs(harness.queue.store).iter_chunks(job.history[0], "stdout")) == raw
    json.dumps(job.to_dict())


def test_log_of_a_running_job(harness: WorkerHarness, tmp_path: Path) -> None:
    """Output can be read while the job runs; following ends with the job."""
    go = tmp_path / "go"
    job = harness.add(f"echo first; until [ -e {go} ]; do sleep 0.02; done; echo second")
    harness.start()
    follow = Logs(harness.queue.store).follow(job.id)
    assert next(follow) == ("stdout", b"first\n")
    assert job.state is State.PROCESSING
    go.touch()
    assert b"".join(data for _, data in follow) == b"second\n"


def test_worker_leaves_the_directory_of_its_job(harness: WorkerHarness, tmp_path: Path) -> None:
    """A worker keeps no job's directory busy, neither while the job runs nor afterwards."""
    folder = tmp_path / "folder"
    folder.mkdir()
    job = harness.add("until [ $(readlink /proc/$PPID/cwd) = / ]; do sleep 0.01; done; pwd", cwd=str(folder))
    harness.start()
    assert job.wait(timeout=60).log() == f"{folder}\n"
    assert os.readlink(f"/proc/{harness.worker_pid()}/cwd") == "/"
