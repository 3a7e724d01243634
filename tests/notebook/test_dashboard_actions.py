"""Filters, buttons and form of the dashboard, and their effect on the queue."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.workers import list_workers
from queuectl_nb.testing import run_pending
from tests.engine.harness import until

if TYPE_CHECKING:
    import pytest

    from queuectl_nb.client import Queue
    from queuectl_nb.notebook.dashboard.dashboard import Dashboard
    from tests.notebook.pages import Page


def test_filters_and_orders(page: Page, dashboard: Dashboard) -> None:
    """State buttons, search, queue, sort field and header clicks change the list."""
    dashboard.toolbar.sort.value = "id"
    until(lambda: page.shown() == ["a", "b", "c"])
    page.send("sort", field="id", reverse=True)
    until(lambda: page.shown() == ["c", "b", "a"])
    assert page.rows()[-1]["sort"] == {"field": "id", "reverse": True}
    dashboard.toolbar.search.value = "ECHO B"
    until(lambda: page.shown() == ["b"])
    dashboard.toolbar.search.value = ""
    dashboard.toolbar.queue.value = "gpu"
    until(lambda: page.shown() == ["c"])
    dashboard.toolbar.queue.value = "all queues"
    dashboard.state_filter.buttons["dead"].value = True
    until(lambda: page.shown() == [])
    assert not dashboard.state_filter.buttons["all"].value
    dashboard.state_filter.buttons["dead"].value = False
    until(lambda: len(page.shown()) == 3)
    assert dashboard.state_filter.buttons["all"].value


def test_actions_on_a_filter(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Without a selected row, the buttons act on the jobs of the filter, after a question that says how many."""
    retry, cancel, _ = dashboard.toolbar.actions.values()
    queue.enqueue("echo d", id="d", tags=["sweep"])
    queue.enqueue("echo e", id="e", tags=["sweep"])
    dashboard.toolbar.tag.value = "no such/tag"
    until(lambda: any("tag" in text and error for text, error in page.messages()))
    dashboard.toolbar.tag.value = "sweep"
    until(lambda: page.shown() == ["e", "d"])
    until(lambda: cancel.description == "Cancel all…")
    retry.click()
    until(lambda: any("queued again" in text for text, _ in page.messages()))
    assert dashboard.toolbar.confirm.layout.display == "none"
    cancel.click()
    until(lambda: dashboard.toolbar.confirm.description == "Really cancel 2 jobs")
    assert queue.job("d").state == "pending"
    page.select("d")  # withdraws the question
    until(lambda: dashboard.toolbar.confirm.layout.display == "none")
    page.send("select", keys=[], active=None)
    until(lambda: cancel.description == "Cancel all…")
    cancel.click()
    until(lambda: dashboard.toolbar.confirm.layout.display is None)
    dashboard.toolbar.confirm.click()
    until(lambda: ("2 jobs cancelled.", False) in page.messages())
    assert [str(queue.job(each).state) for each in "abde"] == ["pending", "pending", "cancelled", "cancelled"]
    dashboard.toolbar.tag.value = ""
    for state in ("cancelled", "dead"):
        dashboard.state_filter.buttons[state].value = True
    until(lambda: sorted(page.shown()) == ["d", "e"])
    until(lambda: set(dashboard.feed.jobs.filter.state) == {"cancelled", "dead"})


def test_reasons_of_failures(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Failed jobs are grouped by reason; a group filters the table, and its button runs it again."""
    queue.cancel("a", "b", "c")
    for name, code in {"x": 3, "y": 3, "z": 4}.items():
        queue.enqueue(f"exit {code}", id=name, max_retries=1, queue="gpu")
    run_pending(queue)
    pane: Any = dashboard.errors_pane
    until(
        lambda: (
            [(each["count"], each["message"]) for each in pane.groups["errors"]]
            == [(2, "exit code 3"), (1, "exit code 4")]
        )
    )
    key = pane.groups["errors"][0]["key"]
    dashboard.state_filter.buttons["cancelled"].value = True
    dashboard._on_errors_message(None, {"kind": "select", "key": key}, [])
    until(lambda: sorted(page.shown()) == ["x", "y"])
    until(lambda: pane.groups["selected"] == key)
    assert dashboard.state_filter.pressed() == ["all"]
    dashboard._on_errors_message(None, {"kind": "retry", "key": key}, [])
    until(lambda: ("2 jobs queued again.", False) in page.messages())
    until(lambda: [each["count"] for each in pane.groups["errors"]] == [1])
    until(lambda: page.shown() == [])
    dashboard._on_errors_message(None, {"kind": "select", "key": ""}, [])
    until(lambda: len(page.shown()) == 6)
    queue.limit("gpu", 2)
    until(lambda: "limits: gpu 2 (0 running)" in dashboard.header.facts.value)
    assert "Time left is unknown" in dashboard.header.facts.value


def test_outdated_order_is_refreshed_later(
    page: Page, queue: Queue, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that arrives too early for a new sort is shown later, even without further changes."""
    monkeypatch.setattr("queuectl_nb.client.job_list.REORDER_COST_FACTOR", 1e9)
    dashboard.toolbar.sort.value = "id"
    until(lambda: page.shown() == ["a", "b", "c"])
    queue.enqueue("true", id="A")
    until(lambda: dashboard.feed.jobs.outdated)
    assert page.shown() == ["a", "b", "c"]
    monkeypatch.setattr("queuectl_nb.client.job_list.REORDER_COST_FACTOR", 0)
    until(lambda: page.shown() == ["A", "a", "b", "c"])


def test_delayed_messages_are_ignored(page: Page, dashboard: Dashboard) -> None:
    """A message delayed by a cell does not override later ones."""
    page.select("a", "b")
    page.dashboard._on_table_message(
        None, {"kind": "select", "view": page.view, "sequence": 1, "keys": [], "active": None}, []
    )
    processed = threading.Event()
    dashboard.feed.submit(processed.set)
    assert processed.wait(60)
    assert len(dashboard.targets.selected[page.view]) == 2
    page.send("select", keys=[], active=None)
    until(lambda: dashboard.targets.selected[page.view] == [])
    until(lambda: dashboard.toolbar.actions["cancel"].disabled)


def test_a_heartbeat_may_overtake_a_selection(page: Page, dashboard: Dashboard) -> None:
    """The main thread handles heartbeats, a subshell what the user does; neither makes the other outdated."""
    selection = {"kind": "select", "view": page.view, "sequence": page.sequence + 1, "keys": [1], "active": 1}
    page.sequence += 1
    page.heartbeat()
    dashboard._on_table_message(None, selection, [])
    until(lambda: dashboard.targets.selected.get(page.view) == [1])


def test_buttons_act_on_selected_jobs(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Each applies to the selected jobs in a suitable state, and is off if there is none."""
    retry, cancel, delete = dashboard.toolbar.actions.values()
    assert retry.disabled
    page.select("a", "b")
    until(lambda: cancel.description == "Cancel 2")
    assert retry.disabled
    queue.cancel("b")
    until(lambda: (retry.description, cancel.description) == ("Retry", "Cancel"))
    cancel.click()
    until(lambda: ("Job a cancelled.", False) in page.messages())
    until(lambda: cancel.disabled and retry.description == "Retry 2")
    retry.click()
    until(lambda: ("2 jobs queued again.", False) in page.messages())
    until(lambda: retry.disabled)
    assert [str(queue.job(each).state) for each in "ab"] == ["pending", "pending"]
    assert not delete.disabled


def test_delete_asks_for_confirmation(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Delete shows a second button, which disappears when the selection changes, and deletes the selected jobs."""
    delete, confirm = dashboard.toolbar.actions["delete"], dashboard.toolbar.confirm
    page.select("a", "b")
    until(lambda: delete.description == "Delete 2")
    delete.click()
    assert (confirm.description, confirm.layout.display) == ("Really delete 2 jobs", None)
    page.select("a")
    until(lambda: confirm.layout.display == "none")
    delete.click()
    confirm.click()
    until(lambda: page.shown() == ["c", "b"])
    until(lambda: delete.disabled and confirm.layout.display == "none")
    assert ("Job a deleted.", False) in page.messages()
    assert len(queue.jobs()) == 2


def test_pause_and_resume(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """They apply to the selected queue, or to all."""
    until(lambda: dashboard.toolbar.resume.disabled)
    dashboard.toolbar.pause.click()
    until(lambda: queue.store.reader.paused_queues() == ["*"])
    until(lambda: not dashboard.toolbar.resume.disabled)
    assert dashboard.toolbar.pause.disabled
    assert "paused" in dashboard.header.facts.value
    dashboard.toolbar.resume.click()
    until(lambda: queue.store.reader.paused_queues() == [])
    until(lambda: "gpu" in dashboard.toolbar.queue.options)
    dashboard.toolbar.queue.value = "gpu"
    dashboard.toolbar.pause.click()
    until(lambda: queue.store.reader.paused_queues() == ["gpu"])
    until(lambda: ("Queue gpu is paused.", False) in page.messages())


def test_start_scale_and_stop_workers(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Buttons start, scale and stop workers; the log of a running job is followed."""
    page.select("a")
    dashboard.worker_panel.count.value = 2
    dashboard.worker_panel.start.click()
    until(lambda: "worker-2" in dashboard.worker_panel.selected.options, 60)
    queue.wait(timeout=60)
    until(lambda: "a\n" in "".join(text for each in page.log for _, text in each["pieces"]))
    dashboard.worker_panel.count.value = 3
    dashboard.worker_panel.scale.click()
    until(lambda: ("Scaled to 3 workers: worker-1, worker-2, worker-3.", False) in page.messages(), 60)
    dashboard.worker_panel.selected.value = "worker-1"
    dashboard.worker_panel.stop.click()
    until(lambda: [each["name"] for each in list_workers(queue.store)] == ["worker-2", "worker-3"])
    dashboard.worker_panel.selected.value = "all workers"
    dashboard.worker_panel.stop.click()
    until(lambda: list_workers(queue.store) == [])
    until(lambda: "No workers are running" in dashboard.worker_panel.list.value)


def test_form_adds_a_job(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """Empty fields are omitted; an error is shown below the form, which keeps its values."""
    fields = dashboard.form.fields
    fields["command"].value = "true"
    fields["priority"].value = "x"
    dashboard.form.submit.click()
    until(lambda: "qc-bad" in dashboard.form.message.value)
    assert "priority" in dashboard.form.message.value
    assert fields["command"].value == "true"
    for name, text in {"priority": "7", "tags": "one, two", "after": "a", "delay": "1.5", "id": "new"}.items():
        fields[name].value = text
    dashboard._on_field_message(None, {"event": "submit"}, [])
    until(lambda: page.shown()[:1] == ["new"])
    job = queue.job("new")
    assert (job.priority, job.tags, job.after) == (7, ("one", "two"), ("a",))
    until(lambda: fields["command"].value == "")
