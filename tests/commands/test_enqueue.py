"""The five forms of ``enqueue``."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.render.text_table import local_time, zone_name
from queuectl_nb.testing import run_pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.conftest import Ran

HARD = "echo 'a \"b\" $HOME' $(date)\n\temoji 🐍 \\ back"


def test_seed_line(run: Callable[..., Ran]) -> None:
    """The line has the id and the priority and, with a delay, the time."""
    assert run("enqueue", "--id", "job-1", "--command", "echo hi").stdout == "Job enqueued: job-1 (priority: 0)\n"
    ran = run("enqueue", "--id", "job-3", "--command", "echo 'I am important'", "--priority", "10", "--delay", "30")
    assert ran.stdout == "Job enqueued: job-3 (priority: 10). Will run after 30 seconds.\n"
    ran = run("enqueue", "--id", "half", "--command", "true", "--delay", "0.5")
    assert ran.stdout == "Job enqueued: half (priority: 0). Will run after 0.5 seconds.\n"


def test_waiting_job(run: Callable[..., Ran]) -> None:
    """The line has the time or the jobs that a job waits for."""
    run("enqueue", "--id", "a", "--command", "true")
    assert run("enqueue", "--id", "b", "--command", "true", "--after", "a").stdout.endswith(". Will run after a.\n")
    ran = run("enqueue", "--id", "c", "--command", "true", "--run-at", "2030-01-02T03:04:05Z")
    assert (
        ran.stdout
        == f"Job enqueued: c (priority: 0). Will run at {local_time('2030-01-02T03:04:05Z')} {zone_name()}.\n"
    )
    ran = run("enqueue", "--id", "past", "--command", "true", "--run-at", "2020-01-02")
    assert ran.stdout == "Job enqueued: past (priority: 0)\n"


def test_durations_and_times_of_day(run: Callable[..., Ran], queue: Queue) -> None:
    """Options, JSON, settings and Python take durations with units; ``--run-at 03:00`` is the next such local time."""
    ran = run("enqueue", "--id", "a", "--command", "true", "--delay", "1h30m", "--timeout", "2d")
    assert ran.stdout.endswith("Will run after 5400 seconds.\n")
    assert run("enqueue", '{"id": "b", "command": "true", "timeout": "10m"}').exit_code == 0
    assert [queue.job("a").record.timeout, queue.job("b").record.timeout] == [172_800, 600]
    assert queue.enqueue("true", timeout="1m").record.timeout == 60
    assert run("config", "set", "backoff-max", "1h").stdout == "Config updated: backoff_max = 3600\n"
    assert run("config", "set", "retention", "36h").stdout == "Config updated: retention = 1.5\n"
    run("enqueue", "--id", "night", "--command", "true", "--run-at", "03:00")
    due = datetime.fromtimestamp(queue.job("night").record.run_at or 0).astimezone()
    now = datetime.now().astimezone()
    assert (due.hour, due.minute, due.second) == (3, 0, 0)
    assert now < due <= now + timedelta(hours=25)


def test_command_is_verbatim(run: Callable[..., Ran], queue: Queue) -> None:
    """Quotes, newlines, ``$()`` and emoji are stored unchanged."""
    assert run("enqueue", "--id", "a", "--command", HARD).exit_code == 0
    assert queue.job("a").command == HARD


def test_shell(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """The shell of a job is an option, a JSON field, a keyword and a column; ``show`` has it, JSON does not change."""
    run("enqueue", "--id", "option", "--shell", "bash -l", "--command", "true")
    run("enqueue", '{"id": "json", "command": "true", "shell": "sh -e"}')
    lines = tmp_path / "jobs.jsonl"
    lines.write_text('{"id": "line", "command": "true"}\n{"id": "own", "command": "true", "shell": "dash"}\n')
    run("enqueue", "--from", str(lines), "--shell", "bash")
    queue.enqueue("true", id="keyword", shell="bash")
    queue.enqueue_many([{"id": "row", "command": "true", "shell": "bash"}, {"id": "none", "command": "true"}])
    shells = {name: queue.job(name).shell for name in ("option", "json", "line", "own", "keyword", "row", "none")}
    assert list(shells.values()) == ["bash -l", "sh -e", "bash", "dash", "bash", "bash", None]
    assert re.search(r"^shell +bash -l$", run("show", "option").stdout, re.MULTILINE)
    assert not re.search("^shell ", run("show", "none").stdout, re.MULTILINE)
    assert "shell" not in json.loads(run("show", "option", "--json").stdout)
    ran = run("enqueue", "--shell", "bash 'x", "--command", "true")
    assert (ran.exit_code, ran.stderr.startswith("queuectl: shell must be a program")) == (2, True)


def test_shell_that_is_not_here(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """It is refused, for a job and as the setting; ``PATH`` of the job's own environment counts."""
    for words in (["enqueue", "--command", "true", "--shell"], ["config", "set", "shell"]):
        for shell, where in ((f"{tmp_path}/none", ""), (str(tmp_path), ""), ("no-such-shell -l", " in PATH")):
            ran = run(*words, shell)
            assert (ran.exit_code, ran.stdout) == (2, "")
            assert f"is not an executable program{where} on this machine\n" in ran.stderr
    assert (queue.jobs().empty, queue.settings.shell) == (True, "/bin/sh")
    (tmp_path / "own").symlink_to("/bin/sh")
    queue.enqueue("true", shell="own -e", env={"PATH": str(tmp_path)})


def test_words_are_quoted(run: Callable[..., Ran], queue: Queue) -> None:
    """Words after ``--`` reach the program as they are, even if they look like our options."""
    run("enqueue", "--id", "a", "--", "python", "-c", "print('x')", "--priority", "a b", "$HOME", "--")
    assert queue.job("a").command == "python -c 'print('\"'\"'x'\"'\"')' --priority 'a b' '$HOME' --"
    assert queue.job("a").priority == 0


def test_json_object(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """A JSON object may have any field of a job; null means the default."""
    for job_id in ("before", "earlier"):
        run("enqueue", "--id", job_id, "--command", "true")
    fields = {
        "id": "a",
        "command": "true",
        "priority": 5,
        "run_at": "2030-01-01T00:00:00Z",
        "timeout": 1.5,
        "max_retries": 7,
        "queue": "gpu",
        "tags": ["x", "y"],
        "after": ["before"],
        "after_any": ["earlier"],
        "cwd": str(tmp_path),
        "env": {"A": "b"},
        "delay": None,
    }
    ran = run("enqueue", json.dumps(fields))
    assert ran.exit_code == 0, ran.stderr
    job = queue.job("a").to_dict()
    for key in ("priority", "timeout", "max_retries", "queue", "tags", "cwd"):
        assert job[key] == fields[key]
    assert job["run_at"] == "2030-01-01T00:00:00.000Z"
    assert job["after"] == ["before", "earlier"]
    assert "before, any end of earlier" in run("show", "a").stdout
    assert json.loads(run("show", "a", "--json").stdout)["after_any"] == ["earlier"]
    assert "after before, any end of earlier" in str(queue.job("a")._repr_html_())
    assert "after_any" not in json.loads(run("show", "before", "--json").stdout)


def test_json_with_options(run: Callable[..., Ran], queue: Queue) -> None:
    """Options complete the object."""
    run("enqueue", '{"command": "true", "id": "a"}', "--priority", "3", "--tag", "x")
    assert (queue.job("a").priority, queue.job("a").tags) == (3, ("x",))


def test_json_lines(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """Each line of a file or of standard input is a job; options complete the lines."""
    lines = b'\xef\xbb\xbf{"command": "true", "id": "a"}\r\n\n{"command": "true", "id": "b", "queue": "cpu"}'
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(lines)
    assert run("enqueue", "--from", str(file), "--queue", "gpu").stdout == "2 jobs enqueued\n"
    assert (queue.job("a").queue, queue.job("b").queue) == ("gpu", "cpu")
    assert run("enqueue", "--from", "-", stdin=b'{"command": "true"}\n').stdout == "1 jobs enqueued\n"
    assert run("enqueue", "--from", "-", stdin=b"").stdout == "0 jobs enqueued\n"


@pytest.mark.parametrize(
    ("last", "code", "why"),
    [
        (b'{"command": "b", "id": "a"}', 2, "line 4: job a occurs twice in the list; ids are unique"),
        (b'{"command": "b", "after": ["z"]}', 5, "line 4: no job z to wait for"),
        (b'{"command": "b", "id": "there"}', 2, "line 4: job there is already in the queue"),
    ],
)
def test_invalid_line(run: Callable[..., Ran], queue: Queue, last: bytes, code: int, why: str) -> None:
    """The error names the number of the line, counting blank ones, and nothing is enqueued."""
    queue.enqueue("true", id="there")
    ran = run("enqueue", "--from", "-", stdin=b'\n{"command": "a", "id": "a"}\n\n' + last + b"\n")
    assert ran.exit_code == code
    assert why in ran.stderr
    assert ran.stderr.rstrip().endswith("nothing was enqueued")
    assert sum(queue.store.reader.counts().values()) == 1


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        ("MAX_LINE_BYTES", 25, "line 2 is longer than 25 bytes"),
        ("MAX_LINES", 2, "'-' has more than 2 lines or 1,073,741,824 bytes; split it"),
        ("MAX_FILE_BYTES", 60, "'-' has more than 1,000,000 lines or 60 bytes; split it"),
    ],
)
def test_endless_input(
    run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, why: str
) -> None:
    """Reading stops at a limit: an endless file without a line end does not fill the memory."""
    monkeypatch.setattr(f"queuectl_nb.commands.job_sources.{limit}", value)
    line = b'{"command": "true"}\n'
    ran = run("enqueue", "--from", "-", stdin=line + (b"\0" * 10_000 if limit == "MAX_LINE_BYTES" else line * 3))
    assert (ran.exit_code, ran.stderr) == (2, f"queuectl: {why}; nothing was enqueued\n")
    assert sum(queue.store.reader.counts().values()) == 0


def test_largest_input(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is as large as all limits allow is enqueued."""
    line = b'{"command": "true"}\n'
    for limit, value in (("MAX_LINE_BYTES", len(line)), ("MAX_LINES", 2), ("MAX_FILE_BYTES", 2 * len(line))):
        monkeypatch.setattr(f"queuectl_nb.commands.job_sources.{limit}", value)
    assert run("enqueue", "--from", "-", stdin=line * 2).stdout == "2 jobs enqueued\n"


def test_json_output(run: Callable[..., Ran]) -> None:
    """``--json`` prints the job as stored; with lines, an array."""
    job = json.loads(run("enqueue", "--command", "true", "--json").stdout)
    assert list(job) == list(JOB_FIELDS)
    assert (job["state"], job["attempts"], job["max_retries"], job["timeout"]) == ("pending", 0, None, None)
    jobs = json.loads(
        run("enqueue", "--from", "-", "--json", stdin=b'{"command": "true"}\n{"command": "false"}').stdout
    )
    assert [each["command"] for each in jobs] == ["true", "false"]


def test_if_absent(run: Callable[..., Ran], queue: Queue) -> None:
    """The same id with the same command is not an error and adds no job."""
    words = ("enqueue", "--id", "a", "--command", "true", "--if-absent")
    assert run(*words).stdout == "Job enqueued: a (priority: 0)\n"
    ran = run(*words)
    assert (ran.exit_code, ran.stdout) == (0, "Job a is already in the queue.\n")
    assert json.loads(run(*words, "--json").stdout)["id"] == "a"
    assert sum(queue.store.reader.counts().values()) == 1


@pytest.mark.parametrize("option", ["--max-retries", "--max_retries"])
def test_hyphens_and_underscores_are_the_same(option: str, run: Callable[..., Ran], queue: Queue) -> None:
    """Options are accepted with either."""
    run("enqueue", "--id", "a", "--command", "true", option, "5")
    assert queue.job("a").max_retries == 5


def test_repeated_options(run: Callable[..., Ran], queue: Queue) -> None:
    """``--tag`` and ``--after`` can be repeated."""
    run("enqueue", "--id", "a", "--command", "true")
    run("enqueue", "--id", "b", "--command", "true")
    run("enqueue", "--id", "c", "--command", "true", "--tag", "x", "--tag", "y", "--after", "a", "--after", "b")
    job = queue.job("c")
    assert (job.tags, job.after, str(job.state)) == (("x", "y"), ("a", "b"), "blocked")


def test_path_is_unchanged(run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the console the ``PATH`` of the user is recorded unchanged."""
    monkeypatch.setenv("PATH", "/one:/two")
    run("enqueue", "--id", "a", "--command", "true")
    with queue.store.db.read() as connection:
        (body,) = connection.execute("SELECT body FROM environments").fetchone()
    assert json.loads(body)["PATH"] == "/one:/two"


def test_call(run: Callable[..., Ran], queue: Queue, tmp_path: Path) -> None:
    """``--call`` calls a function of a module in the working directory; a missing one ends the job, by name."""
    (tmp_path / "train_module.py").write_text("def main(rate, epochs=1):\n    return [rate, epochs]\n")
    words = ["--args", "[0.5]", "--kwargs", '{"epochs": 3}', "--cwd", str(tmp_path)]
    assert run("enqueue", "--call", "train_module:main", "--id", "good", *words).exit_code == 0
    assert run("enqueue", "--call", "train_module:missing", "--id", "bad", *words).exit_code == 0
    assert run("enqueue", "--call", "no_such_module:main", "--id", "worse").exit_code == 0
    run_pending(queue)
    good, bad, worse = map(queue.job, ("good", "bad", "worse"))
    assert (good.result(), good.command, good.timeout) == ([0.5, 3], "main(0.5, epochs=3)", 0)
    assert (bad.state, bad.attempts) == (worse.state, worse.attempts) == ("dead", 1)
    assert "has no attribute 'missing'" in bad.error
    assert worse.error == "ModuleNotFoundError: No module named 'no_such_module'"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--call", "main"], "named as MODULE:FUNCTION"),
        (["--call", "a:b()"], "named as MODULE:FUNCTION"),
        (["--call", "a:b", "--args", "{}"], "--args is not a JSON array"),
        (["--call", "a:b", "--args", "[NaN]"], "NaN is not a JSON number"),
        (["--call", "a:b", "--kwargs", "[]"], "--kwargs is not a JSON object"),
        (["--call", "a:b", "--command", "true"], "in one way"),
        (["--call", "a:b", "--shell", "bash"], "--shell is for commands"),
        (["--command", "true", "--args", "[]"], "are for --call"),
    ],
)
def test_invalid_calls(run: Callable[..., Ran], queue: Queue, words: list[str], why: str) -> None:
    """They are refused, and nothing is enqueued."""
    ran = run("enqueue", *words)
    assert (ran.exit_code, why in ran.stderr) == (2, True), ran.stderr
    assert queue.jobs().empty
