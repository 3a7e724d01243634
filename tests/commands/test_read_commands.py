"""Read-only commands: status, list, show, stats, config, worker list, dlq list."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import State
from queuectl_nb.store.stats import Stats
from tests.client.history_factory import Attempt, insert_history

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran
    from tests.web.server import WebServer


def test_status(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """The summary has every state, and without workers a hint how to start some."""
    manual_worker.add("a", "b")
    lines = run("status").stdout.splitlines()
    assert lines[0] == "Job Status Summary:"
    assert lines[1].split() == ["state", "count"]
    assert [line.split()[0] for line in lines[2:9]] == [str(state) for state in State]
    assert lines[2].split() == ["pending", "2"]
    assert "Workers:" in lines


def test_full_disk_ahead(run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """``status`` and ``doctor`` say when the disk is full, if that is within days, with the commands that help."""
    insert_history(queue, [Attempt("worker-1", time.time() - 60, time.time() - 30) for _ in range(60)])
    for hours, hinted, full, age in ((200, False, "", ""), (144, True, "6 days", "1d"), (5, True, "5 hours", "1h")):
        monkeypatch.setattr("queuectl_nb.store.maintenance.free_disk_space", lambda _, hours=hours: hours * 600 * 60)
        remedy = f"queuectl prune --older-than {age} --vacuum"
        hint = f"queuectl: the queue grows by about 843.8 KiB a day: the disk is full in {full}; delete old jobs"
        ran = run("status")
        assert (hint in ran.stderr, remedy in ran.stderr) == (hinted, hinted)
        assert "disk" not in run("status", "--json").stderr
        (found,) = [each for each in json.loads(run("doctor", "--json").stdout) if each["check"] == "growth"]
        assert (found["ok"], remedy in found["remedy"]) == (not hinted, hinted)
        assert found["finding"].startswith("the queue grows by about 843.8 KiB a day")
    queue.set("retention", 30 / 86_400)
    assert "disk" not in run("status").stderr


@pytest.mark.parametrize(
    "edit",
    [
        "jobs SET result = '1e999'",
        'jobs SET result = \'{"loss": [-1E+999, 0.5, "1e999"]}\'',
        "jobs SET timeout = 9e999",
        "jobs SET tags = '[1e999]'",
        "attempts SET user_cpu_s = 9e999, system_cpu_s = -9e999",
    ],
)
def test_stored_numbers_that_json_does_not_have(
    run: Callable[..., Ran], manual_worker: ManualWorker, server: WebServer, edit: str
) -> None:
    """An infinity, which 1e999 becomes, is null wherever stored values are written as JSON."""
    manual_worker.add("a", "b")
    manual_worker.run("a", result="1")
    with manual_worker.queue.store.db.write() as connection:
        connection.execute(f"UPDATE {edit}")

    def parse(text: str) -> object:
        return json.loads(text, parse_constant=pytest.fail, parse_float=lambda digits: _finite(float(digits)))

    def _finite(number: float) -> float:
        assert math.isfinite(number)
        return number

    for words in (["list"], ["show", "a"], ["stats"], ["list", "--limit", "1"]):
        parse(run(*words, "--json").stdout)
    for line in run("list", "--format", "jsonl").stdout.splitlines():
        parse(line)
    for route in ("/api/jobs", "/api/jobs/a", "/api/stats"):
        parse(server.ask(route).body.decode())
    assert run("show", "a").exit_code == run("list").exit_code == 0


def test_status_as_json(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Every state is present; pauses and workers are arrays."""
    manual_worker.add("a")
    run("pause", "gpu")
    status = json.loads(run("status", "--json").stdout)
    assert list(status) == ["counts", "paused", "workers", "eta_s"]
    assert status["counts"] == {str(state): int(state == "pending") for state in State}
    assert status["paused"] == ["gpu"]
    run("pause")
    assert json.loads(run("status", "--json").stdout)["paused"] == ["*"]
    assert "all queues" in run("status").stdout


def test_list(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A pipe gets a plain table, most recently changed first."""
    manual_worker.add("old", "new", command="echo 'Hello World'")
    manual_worker.run("old")
    lines = run("list").stdout.splitlines()
    zone = time.strftime("%Z")
    assert re.split(r"  +", lines[0]) == ["ID", "State", "Attempts", "Command", f"Updated At ({zone})"]
    assert re.split(r"  +", lines[1])[:4] == ["old", "completed", "1", "echo 'Hello World'"]
    assert re.split(r"  +", lines[2])[:4] == ["new", "pending", "0", "echo 'Hello World'"]
    old, new = json.loads(run("list", "--json").stdout)
    assert (old["id"], new["id"]) == ("old", "new")
    assert old["updated_at"] >= new["updated_at"]


def test_list_says_why_jobs_failed(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A table with a failed job has a last column with the errors."""
    manual_worker.add("good", "bad", max_retries=1)
    manual_worker.run("good")
    manual_worker.exhaust("bad")
    titles, bad, good = [re.split(r"  +", line) for line in run("list").stdout.splitlines()]
    assert (titles[-1], bad[-1], good[-1]) == ("Error", "exit code 1: it broke", "-")


def test_list_of_several_states(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """``--state`` twice is a union, on the console and in Python."""
    manual_worker.add("done", "dead", "waits", max_retries=1)
    manual_worker.run("done")
    manual_worker.exhaust("dead")
    assert run("list", "--state", "dead", "--state", "completed").stdout.count("\n") == 3
    found = json.loads(run("list", "--state", "dead", "--state", "completed", "--state", "dead", "--json").stdout)
    assert [job["id"] for job in found] == ["dead", "done"]
    assert list(manual_worker.queue.jobs(state=["pending", "dead"]).index) == ["dead", "waits"]
    assert "1 more not shown" in run("list", "--state", "dead", "--state", "pending", "--limit", "1").stderr


def test_list_shows_when_a_delayed_job_is_due(
    run: Callable[..., Ran], manual_worker: ManualWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The column is there if a job is delayed; times are local, and the heading names the zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        manual_worker.add("now")
        assert "Due At" not in run("list").stdout
        manual_worker.add("later", run_at="2099-01-01T00:00:00Z")
        heading, later, now = run("list").stdout.splitlines()
        assert re.split(r"  +", heading)[-2:] == ["Updated At (JST)", "Due At (JST)"]
        assert later.endswith("2099-01-01 09:00:00")
        assert now.endswith("-")
        shown = run("show", "later").stdout
        assert shown.startswith("Job: later (times: JST)\n")
        assert re.search(r"^run_at +2099-01-01 09:00:00$", shown, re.MULTILINE)
        line = run("enqueue", "--run-at", "2099-01-01T00:00:00Z", "--command", "true").stdout
        assert line.endswith("Will run at 2099-01-01 09:00:00 JST.\n")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_show_hides_what_is_empty(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Fields without a value are not shown; JSON has all."""
    manual_worker.add("a")
    fields = {line.split()[0] for line in run("show", "a").stdout.splitlines()[1:]}
    assert fields == {
        *("command", "state", "priority", "attempts", "max_retries", "timeout", "queue", "cwd"),
        *("run_at", "created_at", "updated_at"),
    }
    assert "tags" in json.loads(run("show", "a", "--json").stdout)


def test_show_has_the_values_of_settings(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """The limits of a job that follows the settings are shown as they are now; JSON has null."""
    manual_worker.add("a")
    queue.set("timeout", 2.5)
    facts = dict(line.split(maxsplit=1) for line in run("show", "a").stdout.splitlines()[1:])
    assert (facts["timeout"], facts["max_retries"]) == ("2.5 (from the setting)", "3 (from the setting)")
    assert json.loads(run("show", "a", "--json").stdout)["timeout"] is None


def test_list_limit(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A table shows 50 jobs, and stderr the number of others; JSON has all unless limited."""
    manual_worker.add(*(f"j{number}" for number in range(60)))
    ran = run("list")
    assert len(ran.stdout.splitlines()) == 51
    assert "10 more not shown" in ran.stderr
    assert len(json.loads(run("list", "--json").stdout)) == 60
    assert len(json.loads(run("list", "--json", "--limit", "7").stdout)) == 7
    limited = run("list", "--limit", "60")
    assert len(limited.stdout.splitlines()) == 61
    assert "not shown" not in limited.stderr
    assert "58 more" in run("list", "--limit", "2").stderr


def test_list_filters_and_sorts(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """State, queue and tag filter; a field sorts ascending, ``--reverse`` descending."""
    manual_worker.add("a", priority=1, queue="gpu", tags=["x"])
    manual_worker.add("b", priority=3, queue="gpu")
    manual_worker.add("c", priority=2, tags=["x"])

    def ids(*words: str) -> list[str]:
        return [job["id"] for job in json.loads(run("list", "--json", *words).stdout)]

    assert ids("--queue", "gpu") == ["b", "a"]
    assert ids("--tag", "x") == ["c", "a"]
    assert ids("--tag", "x", "--queue", "gpu") == ["a"]
    assert ids("--sort", "priority") == ["a", "c", "b"]
    assert ids("--sort", "priority", "--reverse") == ["b", "c", "a"]
    assert ids("--reverse") == ["a", "b", "c"]
    assert ids("--sort", "max-retries", "--limit", "1") == ["a"]
    assert ids("--state", "dead") == []


def test_list_as_lines_and_csv(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """JSON lines have one job per line; CSV has every field and no formulas."""
    manual_worker.add("a", command="=1+1", tags=["x", "y"])
    manual_worker.add("b", command='-rf, "quoted"\nnext')
    (first, second) = run("list", "--format", "jsonl").stdout.splitlines()
    assert json.loads(first)["id"] == "b"
    assert json.loads(second)["command"] == "=1+1"
    rows = list(csv.DictReader(io.StringIO(run("list", "--format", "csv").stdout)))
    assert list(rows[0]) == list(JOB_FIELDS)
    assert rows[0]["command"] == '\'-rf, "quoted"\nnext'
    assert (rows[1]["command"], rows[1]["tags"], rows[1]["timeout"]) == ("'=1+1", '["x", "y"]', "")


def test_empty_list(run: Callable[..., Ran]) -> None:
    """An empty list is valid in every format."""
    assert run("list").stdout == "No jobs.\n"
    assert run("list", "--state", "dead").stdout == "No jobs match.\n"
    assert run("list", "--json").stdout == "[]\n"
    assert run("list", "--format", "jsonl").stdout == ""
    assert run("list", "--format", "csv").stdout == ",".join(JOB_FIELDS) + "\n"


@pytest.mark.parametrize(
    "words", ["status", "list", "list --state dead", "wait", "stats", "stats --by queue", "list --queue gpu"]
)
def test_an_empty_queue_is_named(words: str, run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A user in the wrong directory learns which file it is; a program that reads JSON gets no hint."""
    hint = f"queuectl: no jobs in {manual_worker.queue.path}; --db or QUEUECTL_DB names another queue\n"
    assert run(*words.split()).stderr == hint
    if words != "wait":
        assert run(*words.split(), "--json").stderr == ""
    manual_worker.add("a")
    manual_worker.run("a")
    assert run(*words.split()).stderr == ""


def test_show(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """The text has all fields and attempts; JSON has the attempts as ``history``, oldest first."""
    queue.set("backoff_max", 0)
    manual_worker.add("a", max_retries=3)
    manual_worker.exhaust("a")
    manual_worker.run("a", stdout="done\n", stdout_size=5)
    job = json.loads(run("show", "a", "--json").stdout)
    assert list(job) == [*JOB_FIELDS, "history"]
    assert [list(attempt) for attempt in job["history"]] == [list(ATTEMPT_FIELDS)] * 2
    assert [attempt["outcome"] for attempt in job["history"]] == ["failed", "succeeded"]
    assert job["history"][0]["stderr"] == "it broke\n"
    shown = run("show", "a").stdout
    facts = shown.partition("Attempt 1:")[0]
    for field in JOB_FIELDS[1:]:
        expected = (job[field] not in (None, []) or field == "timeout") and field != "kind"
        assert bool(re.search(rf"^{field}\b", facts, re.MULTILINE)) == expected, field
    for number in (1, 2):
        assert f"Attempt {number}:" in shown
    assert len(re.findall(r"^outcome\b", shown, re.MULTILINE)) == 2


def test_show_long_output(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A stream of more than a few lines is replaced by its size and the command that shows it."""
    manual_worker.add("a")
    manual_worker.run("a", stdout="x" * 5000, stdout_size=5000)
    assert "4.9 KiB; 'queuectl log a --attempt 1 --stdout' shows it" in run("show", "a").stdout


def test_stats(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """These lines come first."""
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.run("a")
    manual_worker.exhaust("b")
    shown = run("stats").stdout
    frame = "--- QueueCTL Metrics ---\n\nJob Counts:\n  - completed: 1\n  - dead: 1\n\nExecution Stats:\n"
    assert shown.startswith(frame + "  - Avg. Job Duration (Completed): 0.50 seconds\n")
    for title in ("Running (p50 / p95)", "Waiting (p50 / p95)", "Attempts", "Throughput", "CPU", "Peak Memory"):
        assert f"  - {title}: " in shown
    assert "Peak Memory: 1.0 MiB" in shown


def test_stats_as_data(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """JSON has the documented fields; grouped it has a row per group, and an age excludes older attempts."""
    manual_worker.add("a", "b", command="true")
    manual_worker.run("a")
    stats = json.loads(run("stats", "--json").stdout)
    assert list(stats) == list(Stats.__dataclass_fields__)
    assert stats["attempts"] == 1
    assert stats["cpu_s"] == 0.375
    assert list(stats["run_s"]) == ["p50", "p95"]
    (group,) = json.loads(run("stats", "--by", "command", "--json").stdout)
    assert (group["command"], group["attempts"]) == ("true", 1)
    assert "true" in run("stats", "--by", "command").stdout
    (row,) = csv.DictReader(io.StringIO(run("stats", "--format", "csv").stdout))
    assert (row["attempts"], row["counts_completed"]) == ("1", "1")
    for since in ("1h", "2000-01-01", "2000-01-01T00:00:00+02:00"):
        assert json.loads(run("stats", "--since", since, "--json").stdout)["attempts"] == 1
    assert json.loads(run("stats", "--since", "2999-01-01", "--json").stdout)["attempts"] == 0


def test_stats_of_many_groups(
    run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table shows the groups with the longest total run time and how many more there are; JSON has all, by name."""
    monkeypatch.setattr("queuectl_nb.commands.stats.DEFAULT_ROWS", 3)
    for number in range(5):
        manual_worker.add(f"j{number}", command=f"echo {number}")
    manual_worker.run("j0")
    manual_worker.add("again", command="echo 3", priority=1)
    manual_worker.run("again")
    manual_worker.run("j1")
    manual_worker.run("j2")
    manual_worker.run("j3")
    shown = run("stats", "--by", "command")
    assert [line.split("  ")[0] for line in shown.stdout.splitlines()] == ["command", "echo 3", "echo 0", "echo 1"]
    assert "2 more not shown; use --limit N" in shown.stderr
    named = [group["command"] for group in json.loads(run("stats", "--by", "command", "--json").stdout)]
    assert named == [f"echo {number}" for number in range(5)]
    most = json.loads(run("stats", "--by", "command", "--json", "--limit", "1").stdout)
    assert [(group["command"], group["attempts"]) for group in most] == [("echo 3", 2)]
    assert queue.stats(by="command", limit=2).index.tolist() == ["echo 3", "echo 0"]
    assert run("stats", "--limit", "1").exit_code == 2


def test_config(run: Callable[..., Ran]) -> None:
    """The table has key, value, default and meaning; ``get`` prints the value; keys may have hyphens."""
    lines = run("config", "list").stdout.splitlines()
    assert lines[0].split() == ["key", "value", "default", "meaning"]
    assert [line.split()[0] for line in lines[1:]] == list(SETTINGS)
    assert run("config", "get", "max-retries").stdout == "3\n"
    assert run("config", "set", "backoff-base", "5").stdout == "Config updated: backoff_base = 5\n"
    assert run("config", "get", "backoff_base").stdout == "5\n"
    assert json.loads(run("config", "list", "--json").stdout)["backoff_base"] == 5
    assert run("config", "unset", "backoff_base").stdout == "Config updated: backoff_base = 2\n"
    assert run("config", "set", "keep_env", "").stdout == "Config updated: keep_env = \n"
    assert run("config", "set", "timeout", "0.5").stdout == "Config updated: timeout = 0.5\n"


def test_dlq_list(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """The table has these columns; an empty queue says so, also as data."""
    assert run("dlq", "list").stdout == "DLQ is empty.\n"
    assert run("dlq", "list", "--json").stdout == "[]\n"
    manual_worker.add("a", max_retries=1)
    manual_worker.exhaust("a")
    lines = run("dlq", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "command", "state", "attempts", "updated_at", f"({time.strftime('%Z')})", "error"]
    assert lines[1].split()[:4] == ["a", "true", "dead", "1"]
    assert lines[1].endswith("  exit code 1: it broke")
    (job,) = json.loads(run("dlq", "list", "--json").stdout)
    assert (job["id"], job["error"]) == ("a", "exit code 1: it broke")


def test_no_workers(run: Callable[..., Ran]) -> None:
    """Without workers ``worker list`` says how to start some, and ``worker stop`` does nothing."""
    assert "queuectl worker start" in run("worker", "list").stdout
    assert run("worker", "list", "--json").stdout == "[]\n"
    ran = run("worker", "stop")
    assert (ran.exit_code, ran.stdout) == (0, "0 worker(s) stopped.\n")


@pytest.mark.parametrize(
    "words", [["--db", "{}", "list"], ["list", "--db", "{}"], ["--db", "/nowhere/x", "list", "--db", "{}"]]
)
def test_position_of_db(words: list[str], run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """``--db`` is accepted before and after the verb; the latter takes precedence."""
    manual_worker.add("a")
    ran = run(*[word.format(manual_worker.queue.path) for word in words], "--json")
    assert [job["id"] for job in json.loads(ran.stdout)] == ["a"]


@pytest.mark.parametrize("noun", ["worker", "dlq", "config"])
def test_db_after_a_noun(noun: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    """``queuectl worker --db PATH list`` reads that queue."""
    other = str(tmp_path / "other.db")
    assert f"no queue at {other}" in run(noun, "--db", other, "list").stderr
    assert run("--db", other, "enqueue", "--command", "true").exit_code == 0
    assert run(noun, "--db", other, "list").exit_code == 0
