"""The API returns what the console returns, in pages, with conditional requests and cancelled searches."""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from queuectl_nb.client import Queue
from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.model.state import State
from queuectl_nb.testing import run_pending
from queuectl_nb.web.queue_reader import SLOW_THREADS, revision_etag
from queuectl_nb.web.serializers import run_time
from tests.client.cells import enqueue_cell
from tests.engine.harness import until
from tests.web.server import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from tests.conftest import Ran
    from tests.engine.harness import WorkerHarness
    from tests.web.server import WebServer


@pytest.fixture
def finished_jobs(harness: WorkerHarness) -> WorkerHarness:
    """Return a harness with jobs of several states and outcomes, without running workers."""
    harness.queue.set("backoff_base", "1000")
    harness.add("echo out; echo err >&2", id="good", tags=["x"])
    harness.add("echo '{\"score\": 1}' > $QUEUECTL_RESULT", id="result")
    harness.add("exit 3", id="bad", max_retries=1)
    harness.add("exit 4", id="later", max_retries=2)
    harness.add("true", id="waits", after=["later"])
    harness.add("true", id="far", delay=1000, queue="slow")
    pool = harness.start()
    until(
        lambda: (
            harness.queue.store.reader.counts()[State.COMPLETED] == 2
            and harness.queue.store.reader.counts()[State.FAILED] == 1
        )
    )
    pool.stop()
    return harness


def test_bodies_equal_console_json(server: WebServer, finished_jobs: WorkerHarness, run: Callable[..., Ran]) -> None:
    """Every route returns the same values as the console with ``--json``."""

    def console(*words: str) -> Any:
        return json.loads(run(*words, "--json").stdout)

    assert server.ask("/api/status").json == console("status")
    assert server.ask("/api/workers").json == console("worker", "list") == []
    assert server.ask("/api/stats").json == console("stats")

    def jobs(address: str = "/api/jobs") -> Any:
        return server.ask(address).json["jobs"]

    assert server.ask("/api/jobs").json["next"] is None
    assert jobs() == console("list")
    for state in State:
        assert jobs(f"/api/jobs?state={state}") == console("list", "--state", state)
    assert jobs("/api/jobs?queue=slow") == console("list", "--queue", "slow")
    groups = console("errors")
    assert server.ask("/api/errors").json == {"errors": groups, "more": False}
    assert server.ask("/api/errors?limit=1&state=failed&state=dead").json == {"errors": groups[:1], "more": True}
    assert server.ask("/api/errors?state=dead").json["errors"] == console("errors", "--state", "dead")
    assert jobs(f"/api/jobs?error={groups[0]['key']}") == console("list", "--error", groups[0]["key"])
    for job_id in ("good", "result", "bad", "later", "waits", "far"):
        assert server.ask(f"/api/jobs/{job_id}").json == console("show", job_id)


def test_outputs_of_a_cell(server: WebServer, queue: Queue) -> None:
    """They are text and PNG images: HTML, SVG and what only claims to be a PNG are left out."""
    source = """
from base64 import b64encode
png = b64encode(b"\\x89PNG\\r\\n\\x1a\\n rest").decode()
display({"text/plain": "<i>", "text/html": "<script>", "image/svg+xml": "<svg onload='x'>"}, raw=True)
display({"text/plain": "figure", "image/png": png}, raw=True)
display({"image/png": b64encode(b"<script>").decode(), "text/html": "<b>"}, raw=True)
"""
    enqueue_cell(queue, source, id="cell")
    run_pending(queue)
    response = server.ask("/api/jobs/cell/outputs")
    png = b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
    shown = [("<i>", None), ("figure", png), (None, None)]
    assert response.json == {"outputs": [{"text": text, "png": image} for text, image in shown]}
    assert b"script" not in response.body
    assert b"svg" not in response.body
    queue.enqueue("true", id="command")
    assert server.ask("/api/jobs/command/outputs").json == {"outputs": []}
    assert server.ask("/api/jobs/nobody/outputs").status == 404


def test_short_pages(server: WebServer, queue: Queue) -> None:
    """With ``short`` no value of a job is long, as the page has a list once a second; it has two fields of its own."""
    long = "echo " + "ä" * 40_000
    before = queue.enqueue_many([{"command": "true"}] * 1000).ids
    queue.enqueue(long, id="long", after=before)
    enqueue_cell(queue, "x" * 40_000, id="cell")
    with queue.store.db.write() as connection:
        connection.execute("UPDATE jobs SET result = json_quote(?) WHERE id = 'long'", (long,))
    short = server.ask("/api/jobs?limit=2&short=yes")
    full = server.ask("/api/jobs?limit=2&short=no").json
    assert len(short.body) < 6000
    assert short.json["next"] == full["next"]
    for job, whole in zip(short.json["jobs"], full["jobs"], strict=True):
        text = "x" * 40_000 if job["id"] == "cell" else long
        own = {
            "command": whole["command"][:299] + "…",
            "display": text[:299] + "…",
            "after": [],
            "result": None,
            "values": [],
        }
        assert list(job) == [*whole, "display", "values"]
        assert job == whole | own
        assert server.ask(f"/api/jobs/{job['id']}?output=no").json["display"] == text


def test_charts(server: WebServer, finished_jobs: WorkerHarness) -> None:
    """The charts count every finished attempt once, by outcome; without attempts they are null."""
    charts = server.ask("/api/charts").json
    for chart in charts.values():
        assert (sum(chart["succeeded"]), sum(chart["failed"])) == (2, 2)
    assert len(charts["run_time"]["edges"]) == len(charts["run_time"]["failed"]) + 1
    finished_jobs.queue.delete("good", "result", "bad", "waits", "later")
    until(lambda: server.ask("/api/charts").json == {"throughput": None, "run_time": None})


@pytest.mark.parametrize(
    ("seconds", "bars", "labels"),
    [
        ([3.0, 3.4, 4.1, 3.0], 21, ["0", "1 s", "2 s", "3 s", "4 s"]),
        ([0.0, 0.002, 7000.0], 35, ["1 ms", "10 ms", "0.1 s", "1 s", "10 s", "1 min", "10 min", "1 h"]),
        ([0.0], 2, ["0", "1 ms", "2 ms"]),
    ],
)
def test_histogram_of_run_times(seconds: list[float], bars: int, labels: list[str]) -> None:
    """Bars of equal width, on a logarithmic axis for a large range; each attempt lies within the edges of its bar."""
    found = run_time(seconds, ["succeeded"] * len(seconds))
    assert found is not None
    assert sum(found["succeeded"]) == len(seconds)
    assert len(found["succeeded"]) == bars
    assert [tick["label"] for tick in found["ticks"]] == labels
    assert all(0 <= tick["position"] <= 1 for tick in found["ticks"])
    for low, high, count in zip(found["edges"], found["edges"][1:], found["succeeded"], strict=False):
        assert count == sum(low * 0.999 <= max(each, 0.001) < high * 0.999 for each in seconds)


def test_job_without_output(server: WebServer, finished_jobs: WorkerHarness) -> None:
    """``output=no`` sets stdout and stderr to null and adds ``display``."""
    whole = server.ask("/api/jobs/good").json
    assert whole["history"][0]["stdout"] == "out\n"
    spared = server.ask("/api/jobs/good?output=no").json
    for attempt in whole["history"]:
        attempt["stdout"] = attempt["stderr"] = None
    assert spared == {**whole, "display": whole["command"]}


def test_a_running_worker_is_shown(server: WebServer, harness: WorkerHarness) -> None:
    """Status and workers include a worker and its current job."""
    harness.add("sleep 60", id="long")
    harness.start()
    (worker,) = until(lambda: [w for w in server.ask("/api/workers").json if w["job_id"] == "long"])
    assert worker["state"] == "busy"
    assert server.ask("/api/status").json["workers"][0]["name"] == worker["name"]


def test_pagination(server: WebServer, queue: Queue) -> None:
    """For any page size, the pages together are the list in order; the last has no ``next``."""
    queue.enqueue_many([{"command": "true"} for _ in range(7)])
    for number in range(5):
        queue.enqueue("true", id=f"x{number}")
    queue.cancel("job-3", "x1")
    every = [job["id"] for job in server.ask("/api/jobs").json["jobs"]]
    assert len(every) == 12
    assert set(every[:2]) == {"x1", "job-3"}
    for size in (1, 3, 5, 12, 13):
        found: list[str] = []
        target = f"/api/jobs?limit={size}"
        while True:
            page = server.ask(target).json
            assert 1 <= len(page["jobs"]) <= size
            found += [job["id"] for job in page["jobs"]]
            if page["next"] is None:
                break
            target = f"/api/jobs?limit={size}&after={page['next']}"
        assert found == every


def test_filters(server: WebServer, queue: Queue) -> None:
    """The parameters are those of a selection and combine; empty ones are ignored; ``q`` is short for ``search``."""
    queue.enqueue("echo Größe 100%_'\"", id="a", queue="gpu", tags=["sweep"])
    queue.enqueue("echo other", id="b", queue="gpu")
    queue.enqueue("echo Größe", id="c")
    queue.cancel("b")

    def ids(query: str) -> list[str]:
        return [job["id"] for job in server.ask(f"/api/jobs?{query}").json["jobs"]]

    assert ids("state=&queue=&q=&limit=&after=") == ids("") == ["b", "c", "a"]
    assert ids(f"q={quote('größe')}".replace("%C3%B6", "%C3%B6")) == ["c", "a"]
    assert ids(f"q={quote(chr(37) + '_' + chr(39))}") == ["a"]
    assert ids("q=ECHO&queue=gpu&state=pending") == ["a"]
    assert ids("q=nowhere") == []
    assert ids("search=echo&state=pending&state=cancelled&queue=gpu") == ["b", "a"]
    assert ids("tag=sweep") == ["a"]
    assert ids("tag=swee") == []


@pytest.mark.parametrize(
    "target",
    ["/", "/api/status", "/api/jobs", "/api/jobs/a", "/api/jobs/a/log", "/api/stats", "/api/workers", "/api/overview",
     "/api/events", "/api/openapi.json", "/metrics", "/static/page.js", "/static/shared/table.js"],
)  # fmt: skip
def test_head_is_get_without_the_body(server: WebServer, queue: Queue, target: str) -> None:
    """HEAD returns the headers of a route without a body."""
    queue.enqueue("true", id="a")
    head = server.ask(target, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    if target != "/api/events":
        assert head.headers["Content-Type"] == server.ask(target).headers["Content-Type"]


@pytest.mark.parametrize(
    "target", ["/api/status", "/api/jobs", "/api/jobs/a", "/api/stats", "/api/workers", "/static/shared/table.js"]
)
def test_conditional_requests(server: WebServer, queue: Queue, target: str) -> None:
    """With ``If-None-Match`` an unchanged body is 304; a changed one is sent."""
    queue.enqueue("true", id="a")
    first = server.ask(target)
    again = server.ask(target, If_None_Match=first.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["Etag"] == first.headers["Etag"]
    if "static" in target or "workers" in target:
        return
    queue.cancel("a")

    def changed() -> Any:
        response = server.ask(target, If_None_Match=first.headers["Etag"])
        return response if response.status == 200 else None

    assert until(changed).body != first.body  # statistics rest for a moment


def test_search_of_a_disconnected_client_is_dropped(
    server: WebServer, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queued search is cancelled when its client disconnects."""
    queue.enqueue("true", id="a")
    started, release = threading.Semaphore(0), threading.Event()

    def long(_: object) -> None:
        started.release()
        release.wait(60)

    reader = server.reader
    assert reader is not None
    reads = [
        server.run_on_loop(lambda: asyncio.ensure_future(reader.read(long, slow=True))) for _ in range(SLOW_THREADS)
    ]
    for _ in reads:
        assert started.acquire(timeout=30)
    submitted: list[Future[Any]] = []
    submit = reader._slow.submit

    def recorded(*args: Any) -> Future[Any]:
        submitted.append(submit(*args))
        return submitted[-1]

    monkeypatch.setattr(reader._slow, "submit", recorded)
    connection = server.connect()
    connection.request("GET", "/api/jobs?q=a", headers={"Authorization": f"Bearer {TOKEN}"})
    (work,) = until(lambda: submitted)
    connection.close()
    until(work.cancelled)
    release.set()
    assert server.ask("/api/jobs?q=a").json["jobs"][0]["id"] == "a"


def test_etags_differ_between_queues(tmp_path: Path) -> None:
    """Two queues at the same revision have different ETags."""
    first, second = (ChangeWatcher(Queue(tmp_path / name)) for name in ("first.db", "second.db"))
    assert first.version() == second.version()
    assert revision_etag(first) != revision_etag(second)


def test_deleted_queue(server: WebServer, queue: Queue) -> None:
    """A deleted queue is 503 and not recreated by requests; a new one is served."""
    import shutil

    queue.enqueue("true", id="a")
    assert server.ask("/api/jobs/a").status == 200
    queue.close()
    for path in queue.path.parent.glob("queue.db*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    response = server.ask("/api/status")
    assert response.status == 503
    assert "no queue at" in response.json["error"]
    assert not queue.path.exists()
    type(queue)(queue.path).enqueue("true", id="b")
    assert server.ask("/api/jobs/b").status == 200
