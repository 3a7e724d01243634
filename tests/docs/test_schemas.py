"""The JSON Schemas are valid for real output, and strict."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from docs.generate.fields import OUTCOMES
from docs.generate.pages import ROOT
from docs.generate.schemas import schemas
from docs.generate.shapes import ATTEMPT, JOB, SPEC, WORKER
from queuectl_nb.client.workers import read_status
from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.job import JOB_FIELDS, SPEC_FIELDS
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.render.json_shapes import WORKER_FIELDS, stats_json
from queuectl_nb.store.stats import total_stats
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Ran
    from tests.engine.harness import WorkerHarness

FILES = ROOT / "docs/reference/schemas"


def check(value: Any, name: str) -> None:
    """Validate a value against a schema file."""
    read = {path.name: json.loads(path.read_text("utf-8")) for path in FILES.glob("*.json")}
    registry = Registry().with_resources((key, Resource.from_contents(schema)) for key, schema in read.items())
    schema = read[f"{name}.schema.json"]
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, registry=registry, format_checker=FormatChecker()).validate(value)


def test_the_fields_are_those_of_the_code() -> None:
    """The documented fields are those of the code, in the same order."""
    assert [field.name for field in JOB] == list(JOB_FIELDS)
    assert [field.name for field in ATTEMPT] == list(ATTEMPT_FIELDS)
    assert [field.name for field in WORKER] == list(WORKER_FIELDS)
    assert [field.name for field in SPEC] == list(SPEC_FIELDS)
    assert list(OUTCOMES) == list(OUTCOME_NAMES)


def test_the_files_are_the_schemas() -> None:
    """The folder contains exactly the generated schemas."""
    assert {path.name for path in FILES.iterdir()} == set(schemas())


def test_output_matches_the_schemas(harness: WorkerHarness, run: Callable[..., Ran]) -> None:
    """Jobs, attempts, workers, status and metrics of a queue with all kinds of outcomes match their schemas."""

    def answer(*words: str) -> Any:
        ran = run(*words, "--json")
        assert ran.exit_code == 0, ran.stderr
        return json.loads(ran.stdout)

    check(answer("status"), "status")
    check(answer("stats"), "stats")  # of an empty queue: null wherever nothing is known
    spec = {"id": "late", "command": "true", "delay": 3600.5, "tags": ["a"], "env": {"K": "V"}, "max_retries": 2}
    check(spec, "spec")
    check(answer("enqueue", json.dumps(spec)), "job")
    harness.queue.set("kill_grace", 0)
    harness.queue.set("backoff_max", 0)
    lines = {
        "good": """echo '{"loss": 0.5}' > $QUEUECTL_RESULT""",
        "broken": "echo no >&2; exit 3",
        "crash": "kill -SEGV $$",
        "slow": "sleep 60",
    }
    for name, line in lines.items():
        harness.add(line, id=name, max_retries=1, timeout=0.3 if name == "slow" else 30)
    harness.add("true", id="waits", after=["late"])
    harness.add("sleep 600", id="runs", timeout=0)
    harness.start(2)
    harness.queue.wait("good", "broken", "crash", "slow", timeout=60)
    until(lambda: harness.queue.job("runs").state == "processing")
    for job in answer("list"):
        check(job, "job")
    for worker in answer("worker", "list"):
        check(worker, "worker")
    for name in (*lines, "runs", "late", "waits"):
        check(answer("show", name), "job-with-history")
    check(answer("log", "slow"), "attempt")
    check(answer("status"), "status")
    check(answer("stats"), "stats")
    for group in answer("stats", "--by", "queue"):
        assert group.pop("queue") == "default"
        check(group, "stats")
    for job in [*answer("dlq", "list"), *answer("retry", "broken"), *answer("cancel", "waits")]:
        check(job, "job")
    assert answer("show", "crash")["history"][0]["signal"] == "SIGSEGV"
    assert answer("show", "slow")["history"][0]["outcome"] == "timed_out"


def test_events_match_the_schema(harness: WorkerHarness) -> None:
    """All events of workers, including a death and a rescue, match the schema."""
    harness.queue.set("backoff_max", 0)
    harness.add("kill -9 $PPID", id="killer", max_retries=1)
    harness.add("echo hi; exit 1", id="fails", max_retries=2)
    pool = harness.start(1, drain=True)
    assert pool.wait(60) == 0
    seen = {event["event"] for event in harness.event_log}
    assert {"pool_ready", "worker_started", "started", "finished", "worker_died", "rescued", "worker_stopped"} <= seen
    for event in harness.event_log:
        check(event, "event")


def test_the_schemas_are_strict(harness: WorkerHarness) -> None:
    """Additional and missing fields, unknown states and times without a zone are invalid."""
    from jsonschema import ValidationError

    job = harness.add("true", id="a").to_dict()
    check(job, "job")
    for change in (
        {"foreign": 1},
        {"state": "lost"},
        {"created_at": "2026-01-01 00:00:00"},
        {"priority": "high"},
        {"id": "../x"},
    ):
        with pytest.raises(ValidationError):
            check({**job, **change}, "job")
    for name in JOB_FIELDS:
        less = copy.deepcopy(job)
        del less[name]
        with pytest.raises(ValidationError):
            check(less, "job")


def test_status_and_stats_are_shaped_by_the_code(harness: WorkerHarness) -> None:
    """The documented fields of status and metrics are those of the output, in order."""
    from docs.generate.shapes import STATS, STATUS

    assert [field.name for field in STATUS] == list(read_status(harness.queue.store))
    assert [field.name for field in STATS] == list(stats_json(total_stats(harness.queue.store.db)))


def test_other_output_is_as_described(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands without a schema print what the topic `fields` describes."""

    def answer(*words: str, stdin: bytes = b"") -> Any:
        return json.loads(run(*words, "--json", stdin=stdin).stdout)

    for job in answer(
        "enqueue", "--from", "-", stdin=b'{"command": "true", "id": "a"}\n{"command": "true", "id": "b"}\n'
    ):
        check(job, "job")
    assert answer("delete", "b") == ["b"]
    assert answer("cancel", "a")[0]["state"] == "cancelled"
    assert answer("prune", "--older-than", "1d") == {"removed": 0}
    assert answer("wait") == {"counts": {"completed": 0, "dead": 0, "cancelled": 0}}
    assert answer("pause", "gpu") == {"paused": ["gpu"]}
    assert answer("resume") == {"paused": []}
    assert answer("limit", "gpu", "2") == answer("limit") == {"gpu": 2}
    assert answer("worker", "stop") == []
    assert answer("config", "list") == {key: row.default for key, row in SETTINGS.items()}
    assert answer("config", "set", "timeout", "5") == {"timeout": 5}
    assert answer("config", "get", "timeout") == 5
    assert all(set(finding) == {"check", "ok", "finding", "remedy"} for finding in answer("doctor"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUEUECTL_DB")
    assert answer("init") == {"path": str(tmp_path / ".queuectl/queue.db")}
