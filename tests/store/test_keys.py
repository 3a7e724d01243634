"""Keys in the store: what is kept, retried and inserted, in one transaction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadInput, WrongState
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.keys import WorkHash
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import keys
from queuectl_nb.store.edit import edit_jobs
from queuectl_nb.store.insert import Inserted, insert_jobs
from queuectl_nb.store.keys import Resumed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.conftest import StoreHarness


def spec(key: str, **fields: Any) -> JobSpec:
    """Return a job with a key that is made of its work."""
    work = fields.pop("work", key)
    return JobSpec(f"run {key}", **fields).with_key(key, work)


def resume(harness: StoreHarness, *specs: JobSpec) -> Inserted:
    """Enqueue with ``resume``."""
    return insert_jobs(harness.store.db, specs, cwd="/there", recorded_env={"PATH": "/usr/bin"}, now=harness.now)


def test_kept_retried_and_inserted(harness: StoreHarness) -> None:
    """Ids come in the order of the specs; duplicates of a key and kept jobs share one."""
    ids, done = resume(harness, *[spec(key, id=key) for key in ("done", "dead", "lost", "wait")])
    assert (ids, done) == (["done", "dead", "lost", "wait"], Resumed(0, 0, 4, changed=False))
    harness.run("done")
    harness.run("dead", Exited(1))
    harness.exhaust("dead")
    harness.store.jobs.cancel(["lost"], harness.now)
    plain = JobSpec("no key")
    ids, done = resume(harness, plain, *map(spec, ("new", "wait", "dead", "new", "done", "lost")))
    assert ids[2:4] + ids[5:] == ["wait", "dead", "done", "lost"]
    assert ids[1] == ids[4]
    assert len({*ids}) == 6
    assert done == Resumed(3, 2, 2, changed=False)
    pending = ("dead", "lost", "wait", ids[0], ids[1])
    assert harness.states() == {"done": "completed", **dict.fromkeys(pending, "pending")}
    assert harness.row("dead")["attempts"] == 0
    assert (harness.row(ids[1])["cwd"], harness.row(ids[1])["key"]) == ("/there", "new")


def test_a_retried_job_gets_the_new_options(harness: StoreHarness) -> None:
    """Priority, queue, limits, shell and environment are those of the new spec; tags are added."""
    resume(harness, spec("a", id="a", work="w", tags=("old",), max_retries=1), spec("b", id="b", max_retries=1))
    harness.run("a", Exited(1))
    again = spec("a", work="w", priority=7, queue="q", timeout=9.0, max_retries=2, shell="bash", tags=("new",))
    assert resume(harness, again)[0] == ["a"]
    row, other = harness.row("a"), harness.row("b")
    values = [row[name] for name in ("priority", "queue", "timeout", "max_retries", "shell", "tags", "state")]
    assert values == [7, "q", 9.0, 2, "bash", '["new", "old"]', "pending"]
    assert (other["priority"], other["queue"], other["max_retries"]) == (0, "default", 1)


def test_a_kept_job_gets_the_new_tags(harness: StoreHarness) -> None:
    """A finished and a waiting one have the tags of both enqueues; nobody takes this for a change of their state."""
    resume(harness, spec("done", id="done", tags=("b", "old")), spec("wait", id="wait"))
    harness.run("done")
    before = harness.row("done")
    again = [spec(key, tags=("new", "b")) for key in ("done", "wait", "more")]
    assert resume(harness, *again)[1] == Resumed(2, 0, 1, changed=False)
    assert harness.row("done") == {**before, "tags": '["b", "new", "old"]'}
    assert harness.row("wait")["tags"] == '["b", "new"]'


def test_a_retried_job_that_waits_for_others_is_blocked(harness: StoreHarness) -> None:
    """A job whose dependency has not completed is named if it cannot run, and waits if it can."""
    harness.add("first", max_retries=1)
    resume(harness, spec("second", id="second", after=("first",)))
    harness.store.jobs.cancel(["second"], harness.now)
    assert resume(harness, spec("second"))[1] == Resumed(0, 1, 0, changed=False)
    assert harness.state("second") == "blocked"
    harness.run("first", Exited(1))
    with pytest.raises(WrongState, match=r"^job second "):
        resume(harness, spec("second"))


def test_a_given_key_belongs_to_its_work(harness: StoreHarness) -> None:
    """A key that the user has given is refused for other work, in the queue or in the list, by its position."""
    resume(harness, spec("mine", id="first", work="one"))
    before = harness.dump()
    for specs, where in [
        ([spec("x"), spec("mine", work="two")], "that of job first"),
        ([spec("y", work="one"), spec("y", work="two")], "that of an earlier job in the list"),
    ]:
        with pytest.raises(BadInput, match=re.escape(f"key {specs[1].key} is {where}, which does other")) as raised:
            resume(harness, *specs)
        assert raised.value.index == 1
        assert harness.dump() == before
    assert resume(harness, spec("mine", work="one"))[1] == Resumed(1, 0, 0, changed=False)


def test_errors_name_the_position_in_the_whole_list(harness: StoreHarness) -> None:
    """A spec that cannot be inserted is named by its place among all, kept ones included."""
    resume(harness, spec("kept", id="taken"))
    with pytest.raises(BadInput) as raised:
        resume(harness, spec("kept"), spec("fine"), spec("new", id="taken"))
    assert raised.value.index == 2


@pytest.mark.parametrize(("existing", "key", "changed"), [
    ("abc.1", "abc.2", True), ("abc.1", "abd.1", False), ("abc", "abc.1", False), ("abcd.1", "abc.1", False),
    ("abc.1", "abc", False),
])  # fmt: skip
def test_work_of_another_version(harness: StoreHarness, existing: str, key: str, *, changed: bool) -> None:
    """New work is compared with that of other versions of the same source."""
    resume(harness, spec(existing))
    assert resume(harness, spec(key))[1] == Resumed(0, 0, 1, changed=changed)
    assert resume(harness, spec(key))[1] == Resumed(1, 0, 0, changed=False)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return what lets others do something between the look and the transaction of the next ``resume``."""
    original = keys._write_blobs

    def let(act: Callable[[], object]) -> None:
        def act_between(db: Any, specs: Any) -> None:
            monkeypatch.setattr(keys, "_write_blobs", original)
            act()
            original(db, specs)

        monkeypatch.setattr(keys, "_write_blobs", act_between)

    return let


def test_what_others_enqueue_meanwhile_is_kept(harness: StoreHarness, meanwhile: Any) -> None:
    """Jobs that appear between the look and the transaction are not enqueued twice."""
    resume(harness, spec("c"))
    meanwhile(lambda: resume(harness, spec("a", id="theirs"), spec("other")))
    assert resume(harness, spec("a"), spec("b")) == (["theirs", "job-4"], Resumed(1, 0, 1, changed=False))


def test_what_others_change_meanwhile(harness: StoreHarness, meanwhile: Any) -> None:
    """A job that fails meanwhile is retried, one that is deleted or gets another command is enqueued."""
    work = WorkHash("command", "/there", {}).key
    specs = [JobSpec(command, id=command, max_retries=1).with_key(work(command), work(command)) for command in "abc"]
    resume(harness, *specs)
    again = [each._replace(id=None) for each in specs]
    meanwhile(lambda: harness.run("a", Exited(1)))
    assert resume(harness, *again) == (["a", "b", "c"], Resumed(2, 1, 0, changed=False))
    meanwhile(lambda: harness.store.jobs.delete(["b"], harness.now))
    assert resume(harness, *again) == (["a", "job-4", "c"], Resumed(2, 0, 1, changed=False))
    meanwhile(lambda: edit_jobs(harness.store.db, ["c"], {"command": "d"}, harness.now))
    assert resume(harness, *again) == (["a", "job-4", "job-5"], Resumed(2, 0, 1, changed=False))
