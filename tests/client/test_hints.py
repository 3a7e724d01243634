"""Hints: why jobs wait although they could start, and the timeout that a job inherits; shown by every command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.client.hints import MAGIC, job_hints, timeout_facts, timeout_hint, waiting_hints
from queuectl_nb.client.job_card import read_card
from queuectl_nb.commands.app import run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Output
from queuectl_nb.engine import heartbeat
from queuectl_nb.model.errors import NotFound
from queuectl_nb.notebook.dashboard.widgets import WorkerPanel
from queuectl_nb.render.cards import queue_card

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

TIMEOUT = "queuectl: Times out after 30 s (setting timeout); --timeout 0 for no limit.\n"
NO_WORKERS = "no workers are running on this queue; start some with 'queuectl worker start'"


@pytest.fixture(autouse=True)
def _default_queue(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the queue the default one, so that hints do not name it."""
    monkeypatch.setenv("QUEUECTL_DB", str(queue.path))


def register(queue: Queue, *queues: str) -> tuple[str, int]:
    """Register a live worker of ``queues``; return its name and its lock, which closing it gives up."""
    handles: list[int] = []

    def acquire(name: str) -> bool:
        handle = heartbeat.take_lock(queue.store.worker_dir, name)
        handles.extend([] if handle is None else [handle])
        return handle is not None

    (name,) = queue.store.workers.register(acquire, pool=os.getpid(), host="here", queues=queues, now=0.0)
    return name, handles[-1]


def test_causes(queue: Queue) -> None:
    """The hint names the cause: no worker, none for that queue, stopping ones, a paused queue; and what helps."""
    store = queue.store
    assert waiting_hints(store) == []
    queue.enqueue("true", queue="gpu")
    assert waiting_hints(store) == waiting_hints(store, ["gpu"]) == [NO_WORKERS]
    assert waiting_hints(store, ["cpu"]) == [], "no job waits there"
    name, lock = register(queue, "cpu")
    assert waiting_hints(store) == [
        "no worker serves queue gpu; start one with 'queuectl worker start --queue gpu'",
    ]
    queue.pause("gpu")
    assert waiting_hints(store) == ["queue gpu is paused; resume it with 'queuectl resume gpu'"]
    queue.pause()
    assert waiting_hints(store)[0] == "all queues are paused; resume them with 'queuectl resume'"
    queue.resume()
    _, other = register(queue)
    assert waiting_hints(store) == [], "a worker of all queues"
    os.close(other)
    store.workers.request_stop([name], "drain")
    assert waiting_hints(store) == ["all workers of this queue are stopping; start others with 'queuectl worker start'"]
    os.close(lock)
    assert waiting_hints(store) == [NO_WORKERS], "dead workers serve nobody"
    queue.cancel("job-1")
    assert waiting_hints(store) == []


def test_job_hints(queue: Queue) -> None:
    """A pending job depends on its own queue, a blocked one on any; a finished job has none."""
    first = queue.enqueue("true", queue="gpu")
    second = queue.enqueue("true", queue="cpu", after=first)
    register(queue, "cpu")
    for job in (first, second):
        assert job_hints(queue.store, queue.store.jobs.get(job.id), MAGIC) == [
            "no worker serves queue gpu; start one with '%queuectl worker start --queue gpu'"
        ]
    queue.cancel(first)
    assert job_hints(queue.store, queue.store.jobs.get(first.id), MAGIC) == []


def test_hint_names_another_queue(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suggested command works where it is typed: it names a queue that is not the default one."""
    monkeypatch.chdir(tmp_path)
    other = Queue("my jobs.db")
    other.enqueue("true", id="a")
    assert waiting_hints(other.store) == [f"{NO_WORKERS[:-1]} --db 'my jobs.db''"]
    with pytest.raises(NotFound, match="queuectl worker start --db 'my jobs"):
        other.scale_workers(2)
    monkeypatch.delenv("QUEUECTL_DB")
    assert waiting_hints(other.store) == [f"{NO_WORKERS[:-1]} --db 'my jobs.db''"]
    other.cancel("a")
    for words in ("status", "worker list"):
        assert "queuectl worker start --db 'my jobs.db'" in run(*words.split(), "--db", str(other.path)).stdout
    other.close()


def test_inherited_timeout(queue: Queue) -> None:
    """The hint gives the value of the setting; without a limit there is none."""
    assert f"queuectl: {timeout_hint(queue.store)}\n" == TIMEOUT
    queue.set("timeout", 0)
    assert timeout_hint(queue.store) is None


def test_enqueue_hints(run: Callable[..., Ran], queue: Queue) -> None:
    """An enqueue says on stderr which timeout a job inherits and that no worker serves it; stdout is unchanged."""
    ran = run("enqueue", "--id", "a", "--command", "true")
    assert ran.stdout == "Job enqueued: a (priority: 0)\n"
    assert ran.stderr == f"{TIMEOUT}queuectl: {NO_WORKERS}\n"
    assert run("enqueue", "--timeout", "60", "--command", "true").stderr == f"queuectl: {NO_WORKERS}\n"
    ran = run("enqueue", "--command", "true", "--json")
    assert ran.stdout.startswith("{")
    assert ran.stderr.startswith(TIMEOUT)
    _, lock = register(queue)
    assert run("enqueue", "--command", "true").stderr == TIMEOUT
    assert run("enqueue", "--timeout", "0", "--command", "true").stderr == ""
    assert run("enqueue", "--id", "a", "--if-absent", "--command", "true").stderr == ""
    os.close(lock)


def test_bulk_enqueue_hints_once(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Each hint is written once for many jobs."""
    lines = tmp_path / "jobs.jsonl"
    lines.write_text('{"command": "true"}\n' * 3 + '{"command": "true", "timeout": 5}\n', "utf-8")
    assert run("enqueue", "--from", str(lines)).stderr == f"{TIMEOUT}queuectl: {NO_WORKERS}\n"


def test_enqueue_after_a_dead_job(run: Callable[..., Ran], manual_worker: ManualWorker, tmp_path: Path) -> None:
    """A job that is cancelled at the enqueue says so and why, not when it will run."""
    manual_worker.add("dead", max_retries=1)
    manual_worker.exhaust("dead")
    ran = run("enqueue", "--id", "next", "--after", "dead", "--command", "true")
    assert (ran.exit_code, ran.stdout) == (0, "Job enqueued: next (priority: 0)\n")
    why = "was cancelled: job dead, which it waited for, is dead"
    assert ran.stderr == f"queuectl: job next {why}; retry that job, then this one\n"
    lines = tmp_path / "jobs.jsonl"
    rows = ['{"id": "x", "command": "true", "after": ["dead"]}', '{"command": "true", "after": ["x"]}']
    lines.write_text("\n".join(rows), "utf-8")
    ran = run("enqueue", "--from", str(lines))
    assert f"job x {why}, and 1 more;" in ran.stderr
    assert "Times out" not in ran.stderr


@pytest.mark.parametrize(
    "line", ["status", "list", "list --state pending", "show a", "wait --timeout 0", "wait a --timeout 0"]
)
def test_commands_show_hints(line: str, run: Callable[..., Ran], queue: Queue) -> None:
    """What shows waiting jobs says on stderr that no worker serves them."""
    words = line.split()
    queue.enqueue("true", id="a", queue="gpu")
    assert NO_WORKERS in run(*words).stderr
    _, lock = register(queue, "cpu")
    assert "no worker serves queue gpu" in run(*words).stderr
    if words[0] != "wait":
        assert run(*words, "--json").stderr == ""
    os.close(lock)


def test_followed_log_shows_hints(queue: Queue) -> None:
    """``log --follow`` of a job that waits says why, before it waits for output."""
    queue.enqueue("true", id="a", queue="gpu")
    context = Context(lambda *_: queue)
    for words, hints in (["log", "a", "--follow"], [NO_WORKERS]), (["log", "a"], []):
        found = run_command_line(words, context)
        assert isinstance(found, Output)
        assert list(found.hints) == hints


def test_lists_without_waiting_jobs_have_no_hints(run: Callable[..., Ran], queue: Queue) -> None:
    """A list of other states or of another queue is about other jobs."""
    queue.enqueue("true", queue="gpu")
    assert run("list", "--state", "dead").stderr == ""
    assert run("list", "--queue", "cpu").stderr == ""


def test_worker_list_shows_queues(run: Callable[..., Ran], queue: Queue) -> None:
    """The tables have a column for them; the fields of the JSON are fixed."""
    _, first = register(queue, "gpu", "cpu")
    _, second = register(queue)
    lines = run("worker", "list").stdout.splitlines()
    assert lines[0].split()[-1] == "Queues"
    assert [line.rpartition("  ")[2] for line in lines[1:]] == ["gpu, cpu", "all"]
    assert "gpu, cpu" in run("status").stdout
    assert list(queue.workers()) == ["pid", "host", "state", "job_id", "started_at", "jobs_done"]
    os.close(first)
    os.close(second)


def test_pause_of_an_unknown_queue(run: Callable[..., Ran], queue: Queue) -> None:
    """A mistyped name is noticed; a queue of a worker or of jobs is known."""
    queue.enqueue("true", queue="gpu")
    _, lock = register(queue, "cpu")
    ran = run("pause", "gpo")
    assert (ran.exit_code, ran.stdout) == (0, "Queue gpo paused.\n")
    assert ran.stderr == "queuectl: no job or worker uses queue gpo yet; known queues: cpu, gpu\n"
    assert run("pause", "gpu").stderr == run("pause", "cpu").stderr == run("pause").stderr == ""
    os.close(lock)


def test_resume_of_a_queue_that_is_not_paused(run: Callable[..., Ran], queue: Queue) -> None:
    """``resume`` says if it changed nothing."""
    queue.pause("gpu")
    assert run("resume", "gpo").stderr == "queuectl: queue gpo was not paused by name; paused: gpu\n"
    assert run("resume", "gpu").stderr == ""


def test_cards_show_hints_and_the_inherited_timeout(queue: Queue) -> None:
    """The card of a waiting job says why it waits; one with a timeout of its own does not name the setting."""
    card = read_card(queue.store, queue.enqueue("true").record).text
    assert "no workers are running on this queue; start some with '%queuectl worker start'" in card
    assert "times out after 30 s (setting timeout)" in card
    _, lock = register(queue)
    assert "no workers" not in read_card(queue.store, queue.job("job-1").record).text
    assert "times out" not in read_card(queue.store, queue.enqueue("true", timeout=60).record).text
    os.close(lock)


def test_warning_before_an_inherited_timeout(queue: Queue, manual_worker: ManualWorker) -> None:
    """From 80 % on the card says how much is left, and what raises the limit of a running job."""
    job = queue.enqueue("sleep 60")
    manual_worker.claim(job.id)
    record = queue.job(job.id).record
    assert timeout_facts(queue.store, record, 23.9) == ["times out after 30 s (setting timeout)"]
    warning = "24 of 30 s until its timeout; '%queuectl config set timeout 0' lifts it"
    assert timeout_facts(queue.store, record, 24.0) == [warning]
    assert timeout_facts(queue.store, record._replace(timeout=30.0), 29.0) == []
    with queue.store.db.write() as connection:
        connection.execute("UPDATE attempts SET started_at = started_at - 25")
    assert "of 30 s until its timeout" in read_card(queue.store, record).text
    queue.set("timeout", 0)
    assert "timeout" not in read_card(queue.store, record).text


def test_live_views_show_hints(queue: Queue) -> None:
    """The overview of the page and the dashboard has the hints, as commands that can be typed there."""
    queue.enqueue("true")
    assert ChangeWatcher(queue).overview()["hints"] == [NO_WORKERS]
    overview = ChangeWatcher(queue, program=MAGIC).overview()
    assert "%queuectl worker start" in overview["hints"][0]
    assert overview["hints"][0] in queue_card("q.db", overview, []).text
    panel = WorkerPanel()
    panel.show(overview["workers"], overview["hints"])
    assert "Jobs wait: no workers are running" in panel.list.value
