"""What is chosen, pressed and filled in on a dashboard, and what comes of it in the queue."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.engine.harness import until

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.client import Queue
    from queuectl_nb.notebook.dashboard.dashboard import Dashboard
    from tests.notebook.pages import Page


def test_filters_and_orders(page: Page, dashboard: Dashboard) -> None:
    """Chips, search, queue, the list of fields and a click on a header change what is listed."""
    dashboard.bar.sort.value = "id"
    until(lambda: page.shown() == ["a", "b", "c"])
    page.tell("sort", field="id", reverse=True)
    until(lambda: page.shown() == ["c", "b", "a"])
    assert page.rows()[-1]["sort"] == {"field": "id", "reverse": True}
    dashboard.bar.text.value = "ECHO B"
    until(lambda: page.shown() == ["b"])
    dashboard.bar.text.value = ""
    dashboard.bar.queue.value = "gpu"
    until(lambda: page.shown() == ["c"])
    dashboard.bar.queue.value = "every queue"
    dashboard.chips.buttons["dead"].value = True
    until(lambda: page.shown() == [])
    assert not dashboard.chips.buttons["all"].value
    dashboard.chips.buttons["dead"].value = False
    until(lambda: len(page.shown()) == 3)
    assert dashboard.chips.buttons["all"].value


def test_a_list_that_is_behind_catches_up(
    page: Page, queue: Queue, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that comes while it is too early to sort again is shown later, though nothing more changes."""
    monkeypatch.setattr("queuectl_nb.client.job_list.REORDER_COST_FACTOR", 1e9)
    dashboard.bar.sort.value = "id"
    until(lambda: page.shown() == ["a", "b", "c"])
    queue.enqueue("true", id="A")
    until(lambda: dashboard.feed.jobs.outdated)
    assert page.shown() == ["a", "b", "c"]
    monkeypatch.setattr("queuectl_nb.client.job_list.REORDER_COST_FACTOR", 0)
    until(lambda: page.shown() == ["A", "a", "b", "c"])


def test_what_comes_late_is_left_out(page: Page, dashboard: Dashboard) -> None:
    """A message that waited behind a cell does not undo what its page has said since."""
    page.choose("a", "b")
    page.dashboard._from_table(None, {"kind": "select", "view": page.view, "at": 1, "keys": [], "active": None}, [])
    turned = threading.Event()
    dashboard.feed.do(turned.set)
    assert turned.wait(20)
    assert len(dashboard._chosen) == 2
    page.tell("select", keys=[], active=None)
    until(lambda: dashboard._chosen == [])
    assert dashboard.bar.retry.disabled


def test_buttons_act_on_what_is_chosen(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Cancel and retry take the chosen jobs, all or none; a mistake is one line."""
    assert dashboard.bar.retry.disabled
    page.choose("a", "b")
    assert dashboard.bar.cancel.description == "Cancel 2"
    dashboard.bar.cancel.click()
    until(lambda: ("2 jobs cancelled.", False) in page.said())
    dashboard.bar.retry.click()
    until(lambda: ("2 jobs queued again.", False) in page.said())
    dashboard.bar.retry.click()
    until(lambda: page.said()[-1][1])
    assert "'retry' takes" in page.said()[-1][0]
    assert [str(queue.job(each).state) for each in "ab"] == ["pending", "pending"]


def test_pause_and_resume(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """They are for the queue that is shown, or for all."""
    dashboard.bar.pause.click()
    until(lambda: queue.store.reader.paused_queues() == ["*"])
    until(lambda: not dashboard.bar.resume.disabled)
    assert "paused" in dashboard.head.facts.value
    dashboard.bar.resume.click()
    until(lambda: queue.store.reader.paused_queues() == [])
    until(lambda: "gpu" in dashboard.bar.queue.options)
    dashboard.bar.queue.value = "gpu"
    dashboard.bar.pause.click()
    until(lambda: queue.store.reader.paused_queues() == ["gpu"])
    until(lambda: ("Queue gpu is paused.", False) in page.said())


def test_workers_come_and_go(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Workers are started and stopped by the buttons, and the log of a job that runs is followed to its end."""
    page.choose("a")
    dashboard.workers.count.value = 2
    dashboard.workers.add.click()
    until(lambda: "worker-2" in dashboard.workers.which.options, 60)
    queue.wait(timeout=60)
    until(lambda: "a\n" in "".join(text for each in page.log for _, text in each["pieces"]))
    dashboard.workers.which.value = "worker-1"
    dashboard.workers.stop.click()
    until(lambda: [each["name"] for each in queue.worker_list()] == ["worker-2"])
    dashboard.workers.which.value = "all workers"
    dashboard.workers.stop.click()
    until(lambda: queue.worker_list() == [])
    until(lambda: "No workers" in dashboard.workers.list.value)


def test_the_form_adds_a_job(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Empty fields are not given; a mistake is said below the form, which keeps what was typed."""
    fields = dashboard.form.fields
    fields["command"].value = "true"
    fields["priority"].value = "x"
    dashboard.form.send.click()
    until(lambda: "qc-bad" in dashboard.form.said.value)
    assert "priority" in dashboard.form.said.value
    assert fields["command"].value == "true"
    for name, text in {"priority": "7", "tags": "one, two", "after": "a", "delay": "1.5", "id": "new"}.items():
        fields[name].value = text
    dashboard._submitted(None, {"event": "submit"}, [])
    until(lambda: page.shown()[:1] == ["new"])
    job = queue.job("new")
    assert (job.priority, job.tags, job.after) == (7, ("one", "two"), ("a",))
    until(lambda: fields["command"].value == "")
