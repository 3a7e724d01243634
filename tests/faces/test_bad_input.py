"""The catalogue of bad input: one line on stderr, the exit code of its kind, and not a byte of the queue changed."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.job import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from queuectl_nb.queue import Queue
    from tests.conftest import Ran

ID = ["enqueue", "--command", "true", "--id"]
ENQUEUE = ["enqueue", "--command", "true"]
LONG = "x" * 100_001

BAD_WORDS: dict[str, list[str]] = {
    # ids
    "id empty": [*ID, ""],
    "id of 129 characters": [*ID, "a" * 129],
    "id is a path": [*ID, "../x"],
    "id with a newline": [*ID, "a\nb"],
    "id with ESC": [*ID, "a\x1b[31m"],
    "id with NUL": [*ID, "a\0b"],
    "id with a bidi mark": [*ID, "a\u202eb"],
    "id in invalid UTF-8": [*ID, "a\udcff"],
    "id begins with a dot": [*ID, ".a"],
    "id taken": [*ID, "there"],
    "id taken by another command": ["enqueue", "--command", "false", "--id", "there", "--if-absent"],
    "if-absent without an id": [*ENQUEUE, "--if-absent"],
    # commands
    "nothing to run": ["enqueue"],
    "command empty": ["enqueue", "--command", ""],
    "command of spaces": ["enqueue", "--command", "  "],
    "command with NUL": ["enqueue", "--command", "a\0b"],
    "command too long": ["enqueue", "--command", LONG],
    "command in invalid UTF-8": ["enqueue", "--command", "echo \udcff"],
    "command and words": ["enqueue", "--command", "true", "--", "true"],
    "command and JSON": ["enqueue", "--command", "true", '{"command": "true"}'],
    "JSON and words": ["enqueue", '{"command": "true"}', "--", "true"],
    "JSON and a file": ["enqueue", '{"command": "true"}', "--from", "-"],
    "words without dashes": ["enqueue", "echo", "hi"],
    "no words after the dashes": ["enqueue", "--"],
    "an option without its value": ["enqueue", "--command", "--"],
    # JSON
    "JSON cut off": ["enqueue", '{"command": '],
    "JSON with a foreign key": ["enqueue", '{"command": "true", "comand": "x"}'],
    "JSON without a command": ["enqueue", '{"id": "a"}'],
    "JSON with a key twice": ["enqueue", '{"command": "true", "command": "false"}'],
    "JSON with NaN": ["enqueue", '{"command": "true", "delay": NaN}'],
    "JSON with true for a number": ["enqueue", '{"command": "true", "priority": true}'],
    "JSON with half a priority": ["enqueue", '{"command": "true", "priority": 1.5}'],
    "JSON with a number as id": ["enqueue", '{"command": "true", "id": 5}'],
    "JSON with half a surrogate": ["enqueue", '{"command": "echo \\ud800"}'],
    "JSON with a list as command": ["enqueue", '{"command": ["echo", "hi"]}'],
    "JSON too deep": ["enqueue", '{"command": ' + "[" * 100_000],
    "JSON and an option for the same": ["enqueue", '{"command": "true", "priority": 1}', "--priority", "2"],
    "two JSON objects": ["enqueue", '{"command": "true"}', '{"command": "true"}'],
    # numbers
    "priority a half": [*ENQUEUE, "--priority", "1.5"],
    "priority a letter": [*ENQUEUE, "--priority", "x"],
    "priority 2**63": [*ENQUEUE, "--priority", str(2**63)],
    "priority in full-width digits": [*ENQUEUE, "--priority", "\uff11\uff12"],
    "priority with an underscore": [*ENQUEUE, "--priority", "1_000"],
    "priority true": [*ENQUEUE, "--priority", "true"],
    "priority empty": [*ENQUEUE, "--priority", ""],
    "delay negative": [*ENQUEUE, "--delay", "-1"],
    "delay nan": [*ENQUEUE, "--delay", "nan"],
    "delay inf": [*ENQUEUE, "--delay", "inf"],
    "delay with a unit": [*ENQUEUE, "--delay", "5s"],
    "delay beyond all numbers": [*ENQUEUE, "--delay", "1e400"],
    "delay and run-at": [*ENQUEUE, "--delay", "1", "--run-at", "2030-01-01T00:00:00Z"],
    "run-at a word": [*ENQUEUE, "--run-at", "tomorrow"],
    "run-at too late": [*ENQUEUE, "--run-at", "9999-12-31T23:59:59-14:00"],
    "timeout negative": [*ENQUEUE, "--timeout", "-1"],
    "timeout nan": [*ENQUEUE, "--timeout", "nan"],
    "timeout over a year": [*ENQUEUE, "--timeout", "31536001"],
    "retries 0": [*ENQUEUE, "--max-retries", "0"],
    "retries -1": [*ENQUEUE, "--max-retries", "-1"],
    "retries 10**6": [*ENQUEUE, "--max-retries", "1000000"],
    # other fields
    "queue with a space": [*ENQUEUE, "--queue", "a b"],
    "queue of an asterisk": [*ENQUEUE, "--queue", "*"],
    "tag with a comma and a space": [*ENQUEUE, "--tag", "a, b"],
    "cwd empty": [*ENQUEUE, "--cwd", ""],
    "cwd empty in JSON": ["enqueue", '{"command": "true", "cwd": ""}'],
    "cwd that is not there": [*ENQUEUE, "--cwd", "/nowhere/at/all"],
    "env without a value": [*ENQUEUE, "--env", "A"],
    "env with a bad name": [*ENQUEUE, "--env", "1A=x"],
    "env of ours": [*ENQUEUE, "--env", "QUEUECTL_JOB_ID=x"],
    "after itself": [*ID, "loop", "--after", "loop"],
    # files
    "file that is not there": ["enqueue", "--from", "/nowhere/jobs.jsonl"],
    "file that is a folder": ["enqueue", "--from", "/"],
    "file and an id": ["enqueue", "--from", "-", "--id", "a"],
    # words of the tree
    "unknown verb": ["enqeue"],
    "unknown verb of a noun": ["worker", "begin"],
    "noun without a verb": ["dlq"],
    "unknown option": ["list", "--stat", "dead"],
    "too many words": ["status", "now"],
    "unknown format": ["list", "--format", "xml"],
    "two formats": ["list", "--json", "--format", "csv"],
    "empty db": ["--db", "", "status"],
    "db with NUL": ["status", "--db", "a\0b"],
    # listing
    "unknown state": ["list", "--state", "done"],
    "state of an injection": ["list", "--state", "' OR 1=1--"],
    "sort of an injection": ["list", "--sort", "id;drop"],
    "sort by an inner column": ["list", "--sort", "seq"],
    "limit negative": ["list", "--limit", "-1"],
    "limit with an underscore": ["list", "--limit", "1_0"],
    "tag of an injection": ["list", "--tag", "x' OR '1'='1"],
    "show of nothing": ["show"],
    "show of invalid UTF-8": ["show", "\udcff"],
    "log with tail negative": ["log", "there", "--tail", "-1"],
    "log of attempt 0": ["log", "there", "--attempt", "0"],
    "log followed as JSON": ["log", "there", "--follow", "--json"],
    "stats by nothing known": ["stats", "--by", "state"],
    "stats since a word": ["stats", "--since", "yesterday"],
    "stats since a bad age": ["stats", "--since", "7w"],
    "stats since before anything": ["stats", "--since", "99999d"],
    # settings
    "unknown setting": ["config", "set", "backof_base", "2"],
    "unknown setting to get": ["config", "get", "nothing"],
    "unknown setting to unset": ["config", "unset", "nothing"],
    "base banana": ["config", "set", "backoff_base", "banana"],
    "base 0": ["config", "set", "backoff_base", "0"],
    "base nan": ["config", "set", "backoff_base", "nan"],
    "base negative": ["config", "set", "backoff_base", "-1"],
    "retries of the setting 0": ["config", "set", "max_retries", "0"],
    "retries of the setting 2.5": ["config", "set", "max-retries", "2.5"],
    "lease too short": ["config", "set", "lease", "1"],
    "environment of a sentence": ["config", "set", "keep_env", "PATH HOME"],
    # workers
    "count 0": ["worker", "start", "--count", "0"],
    "count 1000": ["worker", "start", "--count", "1000"],
    "count a word": ["worker", "start", "--count", "many"],
    "count with an underscore": ["worker", "start", "--count", "1_0"],
    "worker of a bad queue": ["worker", "start", "--queue", "a b"],
    # verbs
    "retry of nothing": ["retry"],
    "dlq retry of nothing": ["dlq", "retry"],
    "dlq retry of some and all": ["dlq", "retry", "there", "--all"],
    "prune without an age": ["prune"],
    "prune of a bad age": ["prune", "--older-than", "7"],
    "prune of running jobs": ["prune", "--older-than", "0", "--state", "processing"],
    "pause of a bad name": ["pause", "a b"],
    "wait for nan": ["wait", "--timeout", "nan"],
    "completion of an unknown shell": ["completion", "powershell"],
}

BAD_STATES: dict[str, list[str]] = {
    "show of an unknown job": ["show", "nobody"],
    "show of an injection": ["show", "' OR 1=1--"],
    "log of an unknown job": ["log", "nobody"],
    "log of an attempt that is not there": ["log", "there", "--attempt", "7"],
    "after an unknown job": [*ENQUEUE, "--after", "nobody"],
    "retry of a pending job": ["retry", "there"],
    "retry of one that is and one that is not": ["retry", "dead", "nobody"],
    "cancel of a completed job": ["cancel", "done"],
    "cancel of a waiting and a completed job": ["cancel", "there", "done"],
    "delete of an unknown job": ["delete", "nobody"],
    "dlq retry of a pending job": ["dlq", "retry", "there"],
    "dlq retry of a dead and a pending job": ["dlq", "retry", "dead", "there"],
    "dlq purge of a completed job": ["dlq", "purge", "done"],
    "wait for an unknown job": ["wait", "nobody"],
    "stop of an unknown worker": ["worker", "stop", "worker-9"],
}


def dump(path: Path) -> list[str]:
    """Return the whole content of a queue as SQL."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.fixture
def peopled(queue: Queue) -> Queue:
    """Return a queue with a job in the states that matter here: ``there`` pending, ``done`` completed, ``dead``."""
    queue.enqueue_specs([JobSpec.of({"command": "true", "id": job_id}) for job_id in ("there", "done", "dead")])
    with queue.store.db.write() as connection:
        for job_id, state in (("done", "completed"), ("dead", "dead")):
            connection.execute("UPDATE jobs SET state = ?, ready = 0 WHERE id = ?", (state, job_id))
    return queue


def refused(ran: Ran, code: int) -> None:
    """Check that a call ended with ``code`` and one line of printable ASCII on stderr, and said nothing else."""
    assert ran.exit_code == code, ran.stderr
    assert ran.out == b""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("queuectl: ")
    assert line.isprintable()
    assert "Traceback" not in line
    assert "internal error" not in line


@pytest.mark.parametrize("name", BAD_WORDS)
def test_bad_words_change_nothing(name: str, run: Callable[..., Ran], peopled: Queue) -> None:
    """Bad input is exit code 2 and one line, and the database is the same as before."""
    before = dump(peopled.path)
    refused(run(*BAD_WORDS[name]), 2)
    assert dump(peopled.path) == before


@pytest.mark.parametrize("name", BAD_STATES)
def test_what_is_not_there_changes_nothing(name: str, run: Callable[..., Ran], peopled: Queue) -> None:
    """An unknown or unfit job is exit code 5 and one line, and the database is the same as before."""
    before = dump(peopled.path)
    refused(run(*BAD_STATES[name]), 5)
    assert dump(peopled.path) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["list", "--state", "done"], "pending, processing, failed, completed, dead, cancelled, blocked"),
        (["list", "--sort", "x"], "updated_at"),
        (["list", "--sort", "-id"], "'-id' is unknown"),
        (["stats", "--since", "99999d"], "36500d at most, not '99999d'"),
        (["list", "--format", "xml"], "table, json, jsonl, csv"),
        (["list", "--stat", "x"], "--state"),
        (["config", "set", "x", "1"], "backoff_base"),
        (["config", "set", "backoff_base", "0"], "1 to 1000"),
        (["worker", "x"], "start, stop, list"),
        (["dlq"], "list, retry, purge"),
        (["x"], "enqueue, status, list"),
        (["stats", "--by", "x"], "command, queue, tag"),
        (["completion", "x"], "bash, zsh, fish"),
        (["enqueue", "echo", "hi"], "put -- before the words"),
        (["retry", "there"], "failed, completed, dead, cancelled"),
    ],
)
@pytest.mark.usefixtures("peopled")
def test_an_error_names_the_valid_choices(words: list[str], named: str, run: Callable[..., Ran]) -> None:
    """Whoever mistypes a word is told the right ones."""
    assert named in run(*words).stderr


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{", "JSON"),
        (b'{"command": "true", "id": "../x"}', "id"),
        (b'{"command": ""}', "empty"),
        (b'{"command": "\xff"}', "UTF-8"),
        (b'{"command": "true", "nice": 1}', "nice"),
        (b"[1]", "object"),
        (b'{"command": "true", "cwd": "/nowhere/at/all"}', "cwd"),
    ],
)
def test_a_bad_line_is_named_and_none_is_enqueued(
    bad: bytes, why: str, run: Callable[..., Ran], peopled: Queue
) -> None:
    """Of JSON lines all are enqueued or none, and the line at fault is named by its number."""
    good = json.dumps({"command": "true"}).encode()
    before = dump(peopled.path)
    ran = run("enqueue", "--from", "-", stdin=b"\n".join([good, b"", bad, good]))
    refused(ran, 2)
    assert "line 3" in ran.stderr
    assert why in ran.stderr
    assert dump(peopled.path) == before


def test_a_line_with_a_taken_id_leaves_all_out(run: Callable[..., Ran], peopled: Queue) -> None:
    """A duplicate among many lines, in the file or in the queue, refuses them all."""
    before = dump(peopled.path)
    twice = b'{"command": "true", "id": "a"}\n{"command": "true", "id": "a"}\n'
    taken = b'{"command": "true"}\n{"command": "true", "id": "there"}\n'
    refused(run("enqueue", "--from", "-", stdin=twice), 2)
    refused(run("enqueue", "--from", "-", stdin=taken), 2)
    assert dump(peopled.path) == before


def test_a_folder_as_queue_is_the_environments_fault(run: Callable[..., Ran], tmp_path: Path) -> None:
    """``--db`` that names a folder is exit code 3, and nothing appears in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    refused(run("list", "--db", str(folder)), 3)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["config", "list"], ["enqueue", "--command", "true"], ["worker", "start"]])
def test_a_spoilt_setting_is_named(words: list[str], run: Callable[..., Ran], queue: Queue) -> None:
    """A setting edited by hand into nonsense ends what uses it with 3 and its name."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('backoff_base', 'banana')")
    before = dump(queue.path)
    ran = run(*words)
    refused(ran, 3)
    assert "backoff_base" in ran.stderr
    assert dump(queue.path) == before


@pytest.mark.parametrize("words", [["config", "set", "backoff-base", "3"], ["config", "unset", "backoff_base"]])
def test_a_spoilt_setting_is_mended(words: list[str], run: Callable[..., Ran], queue: Queue) -> None:
    """``config set`` and ``config unset`` take a spoilt setting as it is."""
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('backoff_base', 'banana')")
    assert run(*words).exit_code == 0
    assert run("config", "list").exit_code == 0
