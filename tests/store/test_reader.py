"""The reader: lists, pages, counts, completion."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import State
from queuectl_nb.store import reader
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def _listed(harness: StoreHarness, **how: Any) -> list[str]:
    return [job.id for job in harness.store.reader.jobs(Filter.from_options(**how))]


@pytest.fixture
def listed(harness: StoreHarness) -> Any:
    """Return a harness with a dozen jobs in several states, changed in a known order: c2, c1, then the rest."""
    for number in range(4):
        harness.now += 1
        harness.add(f"a{number}", tags=["x"] if number % 2 else ["y", "xx"], priority=number % 2)
        harness.add(f"b{number}", queue="q", command=f"echo {number}%_'")
    harness.add("c1", "c2", "c3", queue="r")
    harness.now += 1
    harness.store.jobs.cancel(["c1"], harness.now)
    harness.store.jobs.cancel(["c2"], harness.now)
    return harness


def test_default_order(listed: Any) -> None:
    """Without a sort the most recently changed come first, then the most recently enqueued; or reversed."""
    order = ["c2", "c1", "c3", "b3", "a3", "b2", "a2", "b1", "a1", "b0", "a0"]
    assert _listed(listed) == order
    assert _listed(listed, reverse=True) == order[::-1]
    for limit in range(13):
        assert _listed(listed, limit=limit) == order[:limit]
        assert _listed(listed, limit=limit, reverse=True) == order[::-1][:limit]


def test_dependencies_of_which_any_end_will_do(harness: StoreHarness) -> None:
    """They are named in the order of ``after``, without those that have to complete."""
    harness.add("a", "b", "c")
    harness.add("d", after=["b"], after_any=["c", "a"])
    found = {name: harness.store.reader.any_end_of(harness.store.jobs.get(name)) for name in "ad"}
    assert found == {"a": [], "d": ["c", "a"]}


def test_tags_for_completion(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the last jobs, each once, in alphabetical order."""
    assert listed.store.reader.complete_tags() == ["x", "xx", "y"]
    monkeypatch.setattr(reader, "MAX_SORTED_IDS", 5)
    assert listed.store.reader.complete_tags() == ["x"]


def test_filters_combine(listed: Any) -> None:
    """State, queue, tag and text are combined; a tag is matched as a whole, text literally."""
    assert _listed(listed, state="cancelled") == ["c2", "c1"]
    assert _listed(listed, queue="q", limit=2) == ["b3", "b2"]
    assert _listed(listed, tag="x") == ["a3", "a1"]
    assert _listed(listed, search="ECHO 3") == ["b3"]
    assert _listed(listed, search="%_'") == ["b3", "b2", "b1", "b0"]
    assert _listed(listed, search="A") == ["a3", "a2", "a1", "a0"]
    assert _listed(listed, queue="r", state="pending", search="c") == ["c3"]
    assert _listed(listed, state="dead") == []
    filters: list[dict[str, Any]]
    filters = [{}, {"state": "cancelled"}, {"queue": "q"}, {"tag": "x", "state": "pending"}, {"search": "c"}]
    for how in filters:
        assert listed.store.reader.count(Filter.from_options(**how, limit=1)) == len(_listed(listed, **how))


@pytest.mark.parametrize("text", ["%", "_", "\\", "\\%", "a_b", "100%", "\\n", "'", "Ä", "ß", "x" * 20_000])
def test_search_is_literal(harness: StoreHarness, text: str) -> None:
    """SQL wildcards and escapes are literal, ASCII case is ignored, and a text may be long."""
    harness.enqueue({"id": "with", "command": f"echo {text} end"}, {"id": "without", "command": "echo q"})
    assert _listed(harness, search=text) == ["with"]
    assert _listed(harness, search=f"ECHO {text}") == ["with"]
    assert _listed(harness, search=f"{text}z") == []


@pytest.mark.parametrize("field", JOB_FIELDS)
def test_every_json_field_sorts(listed: Any, field: str) -> None:
    """Sorted ascending by any field, then by enqueue order; reversed exactly the opposite."""
    up = listed.store.reader.jobs(Filter.from_options(sort=field))
    keys = [
        (value is not None, value if value is not None else 0, job.seq) for job in up for value in [_key(job, field)]
    ]
    assert keys == sorted(keys)
    assert _listed(listed, sort=field, reverse=True) == [job.id for job in up][::-1]
    assert _listed(listed, sort=field, limit=3) == [job.id for job in up][:3]


def _key(job: Any, field: str) -> Any:
    value = getattr(job, field)
    return json.dumps(list(value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("how", [{}, {"queue": "q"}, {"state": "pending"}])
def test_pages_join(listed: Any, size: int, how: dict[str, Any]) -> None:
    """Pages fetched with the cursor of the last job give the whole list, each job once."""
    pages: list[str] = []
    after = None
    while page := listed.store.reader.jobs(Filter.from_options(**how, limit=size, after=after)):
        assert len(page) <= size
        pages += [job.id for job in page]
        after = (page[-1].rev, page[-1].seq)
    assert pages == _listed(listed, **how)
    first = listed.store.reader.jobs(Filter.from_options(**how))[0]
    assert _listed(listed, **how, after=(first.rev, first.seq)) == pages[1:]  # without a limit


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"state": "' OR 1=1--"}, "valid: pending, processing, failed, completed, dead, cancelled, blocked"),
        ({"sort": "id;drop"}, "sort field 'id;drop' is unknown; valid: id, command, state"),
        ({"sort": "rev"}, "valid: id, command, state"),
        ({"limit": -1}, "limit must be from 0"),
        ({"limit": True}, "limit must be"),
        ({"queue": "*"}, "queue"),
        ({"tag": "a b"}, "tag"),
        ({"search": "a\0b"}, "NUL"),
        ({"search": "\udcff"}, "UTF-8"),
    ],
)
def test_invalid_filters(how: dict[str, Any], why: str) -> None:
    """Unknown states, fields and the like are exit code 2 with the valid ones."""
    with pytest.raises(BadInput, match=re.escape(why)):
        Filter.from_options(**how)


@pytest.mark.parametrize("few", [0, 10_000])
def test_id_completion(listed: Any, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Ids with a prefix, of the given states, in order and up to a limit; odd input matches none."""
    monkeypatch.setattr(reader, "MAX_SORTED_IDS", few)  # among many jobs, and among a few
    ids = listed.store.reader.complete_ids
    assert ids("a", list(State), 3) == ["a0", "a1", "a2"]
    assert ids("", list(State), 99) == sorted(listed.states())
    assert ids("c", [State.CANCELLED], 99) == ["c1", "c2"]
    for odd in ("%", "_", "'", "\udcff", "a\0", "z"):
        assert ids(odd, list(State), 9) == []


def test_changes_since_a_revision(listed: Any) -> None:
    """Only jobs that entered a state after the revision are returned."""
    reader = listed.store.reader
    since = reader.db.revision()[0]
    assert reader.changed_since([State.CANCELLED], since) == []
    listed.store.jobs.cancel(["a0", "a1"], listed.now)
    assert reader.changed_since([State.CANCELLED, State.DEAD], since) == [("a0", "cancelled"), ("a1", "cancelled")]
    assert reader.states_of(["a0", "b0", "nobody", "a\udcff"]) == {"a0": "cancelled", "b0": "pending"}


def test_counts_have_every_state(listed: Any) -> None:
    """The counts have every state, in display order."""
    assert list(listed.store.reader.counts()) == list(State)
    assert listed.store.reader.counts()["pending"] == 9
    assert listed.store.reader.counts()["cancelled"] == 2


def test_counts_of_a_filter(listed: Any) -> None:
    """With and without a condition besides the state; order and limit do not matter."""
    found = [
        listed.store.reader.count(Filter.from_options(**how))
        for how in (
            {}, {"state": "cancelled"}, {"state": ["cancelled", "pending"]}, {"queue": "r", "state": "pending"},
            {"queue": "q", "limit": 2}, {"state": "pending", "limit": 2, "sort": "id", "reverse": True}, {"tag": "x"},
        )
    ]  # fmt: skip
    assert found == [11, 2, 11, 1, 4, 9, 2]


def test_names_for_completion(listed: Any) -> None:
    """Queues that have jobs or are paused; the newest job; how many were enqueued, and how many wait for one."""
    reader = listed.store.reader
    listed.store.jobs.pause("p", listed.now)
    assert reader.queue_names() == ["default", "p", "q", "r"]
    assert (reader.newest_id(), reader.count_enqueued()) == ("c3", 11)
    listed.store.jobs.pause(None, listed.now)
    assert (reader.queue_names(), reader.paused_queues()) == (["default", "p", "q", "r"], ["*"])
    listed.add("d", after=["a0"])
    listed.add("e", after=["d"])
    assert [len(reader.waiting_for(each)) for each in ("a0", "d", "e", "c1")] == [3, 2, 1, 0]
    assert reader.revisions_of(["c1", "nobody"]) == {"c1": listed.row("c1")["rev"]}


def test_an_empty_queue_has_no_newest_job(harness: StoreHarness) -> None:
    """Nothing was enqueued."""
    assert (harness.store.reader.newest_id(), harness.store.reader.count_enqueued()) == (None, 0)
    assert harness.store.reader.queue_names() == []


def test_attempts_of_a_job(harness: StoreHarness) -> None:
    """With and without output, and one by number; rows of all attempts, and of results, come in enqueue order."""
    harness.add("a", "b")
    harness.run("a", Exited(3), stdout="one", stdout_size=3)
    harness.run("b", result="[1]")
    harness.now += 100
    harness.run("a", stdout="two", stdout_size=3)
    reader = harness.store.reader
    assert [(each.number, each.exit_code, each.stdout) for each in reader.attempts("a")] == [
        (1, 3, "one"),
        (2, 0, "two"),
    ]
    assert [(each.number, each.stdout) for each in reader.attempts_without_output("a")] == [(1, None), (2, None)]
    second = reader.attempt("a", 2)
    assert second is not None
    assert (second.stdout, reader.attempt("a", 3), reader.attempts("c")) == ("two", None, [])
    assert reader.attempt_rows("jobs.id, attempts.number") == [("a", 1), ("a", 2), ("b", 1)]
    assert [row[0] for row in reader.result_rows(None)] == ["a", "b"]
    (row,) = reader.result_rows(["b", "none"])
    assert row == ("b", "true", "completed", harness.now - 100, harness.now - 100, None, "[1]")


def test_ids_of_a_filter(listed: Any) -> None:
    """In enqueue order, whatever the order of the list."""
    found = listed.store.reader.ids(
        Filter.from_options(queue="r", state=["cancelled", "pending"], sort="id", reverse=True)
    )
    assert found == ["c1", "c2", "c3"]
    assert listed.store.reader.ids(Filter.from_options(queue="r", state="pending")) == ["c3"]
