"""The kernel side of the dashboard: messages to pages, static rendering, closing."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from ipywidgets.widgets import widget

from queuectl_nb.notebook.dashboard import feed as feed_module
from queuectl_nb.notebook.dashboard import viewers as viewers_module
from queuectl_nb.notebook.dashboard.dashboard import Dashboard, close_all
from tests.engine.harness import until
from tests.notebook.pages import NEVER_S, Page

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from queuectl_nb.client import Queue


def test_loaded_page_receives_everything(page: Page, dashboard: Dashboard) -> None:
    """A page receives rows, counts, queues and log when it is loaded, and again when reloaded."""
    until(lambda: dashboard.state_filter.buttons["all"].description == "all 3")
    until(lambda: list(dashboard.toolbar.queue.options) == ["all queues", "default", "gpu"])
    until(lambda: page.log)
    page.table.clear()
    page.open()
    until(lambda: page.shown() == ["c", "b", "a"])
    assert page.rows()[0]["sequence"] == 1


def test_only_changed_rows_are_sent(page: Page, queue: Queue) -> None:
    """A page receives only rows that it does not have."""
    queue.cancel("b")
    until(lambda: page.shown() == ["b", "c", "a"])
    assert [[row[1] for row in message["rows"]] for message in page.rows()[1:]] == [["b"]]
    json.dumps(page.table)


def test_hidden_pages_receive_nothing(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """A hidden page receives nothing until it is visible again."""
    page.heartbeat(visible=False)
    until(lambda: not dashboard.viewers.visible_views())
    processed = threading.Event()
    dashboard.feed.submit(processed.set)
    assert processed.wait(60)
    before = len(page.table)
    queue.enqueue("true", id="unseen")
    for _ in range(3):
        processed.clear()
        dashboard.feed.submit(processed.set)
        assert processed.wait(60)
    assert len(page.table) == before
    page.heartbeat()
    until(lambda: page.shown()[:1] == ["unseen"])


def test_closed_page_is_forgotten(page: Page, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without heartbeats the thread ends; another page starts it again."""
    monkeypatch.setattr(feed_module, "IDLE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(viewers_module, "HEARTBEAT_TIMEOUT_S", 0.05)
    until(lambda: not dashboard.feed.running)
    monkeypatch.setattr(feed_module, "IDLE_TIMEOUT_S", NEVER_S)
    monkeypatch.setattr(viewers_module, "HEARTBEAT_TIMEOUT_S", NEVER_S)
    again = Page(dashboard, monkeypatch, "another")
    again.open()
    until(lambda: again.shown() == ["c", "b", "a"])
    assert dashboard.feed.running


def test_page_without_heartbeat_receives_rows(
    dashboard: Dashboard, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While cells are running, the dashboard updates before the first heartbeat arrives."""
    page = Page(dashboard, monkeypatch, "")
    dashboard._repr_mimebundle_()
    dashboard.viewers.started()
    until(lambda: page.shown() == ["c", "b", "a"])
    queue.cancel("b")
    until(lambda: page.shown() == ["b", "c", "a"])
    assert {message["sequence"] for message in page.rows()} == {1}
    assert len(page.rows()[-1]["rows"]) == 3


def test_each_page_has_its_own_window(page: Page, dashboard: Dashboard) -> None:
    """Two pages of one dashboard scroll independently."""
    page.view = "other"
    page.heartbeat(first=2, top=False)
    page.view = "page"
    until(lambda: any(each["view"] == "other" and each["first"] == 2 for each in page.table if each["kind"] == "rows"))
    assert page.shown() == ["c", "b", "a"]


def test_long_path_is_shortened(dashboard: Dashboard, queue: Queue) -> None:
    """A long path is shortened to file and folder; the tooltip has all of it."""
    from queuectl_nb.notebook.dashboard.widgets import Header

    assert f'title="{queue.path}"' in dashboard.header.title.value
    assert ">…/runs/queue.db<" in Header("/home/somebody/with/a/long/way/to/their/data/and/runs/queue.db").title.value
    assert ">/home/me/queue.db<" in Header("/home/me/queue.db").title.value


def test_names_are_escaped(queue: Queue, dashboard: Dashboard) -> None:
    """Ids and commands are escaped in HTML."""
    queue.enqueue("<script>alert(1)</script>\x1b[31m\u202e", id="evil")
    html = dashboard._repr_mimebundle_()["text/html"]
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_replaced_file_is_reported_once(page: Page, queue_path: Path) -> None:
    """A missing queue file is reported in one line, once, without traceback."""
    queue_path.unlink()
    until(lambda: any(error and "deleted or replaced" in text for text, error in page.messages()))
    for _ in range(3):
        page.dashboard.feed.wake()
    processed = threading.Event()
    page.dashboard.feed.submit(processed.set)
    assert processed.wait(60)
    assert sum("deleted or replaced" in text for text, _ in page.messages()) == 1


def test_unexpected_error_is_shown(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is shown; the thread continues and prints nothing."""
    monkeypatch.setattr(page.dashboard.feed.table, "messages", lambda: 1 / 0)
    page.dashboard.feed.wake()
    until(lambda: any("ZeroDivisionError" in text for text, _ in page.messages()))
    assert page.dashboard.feed.running


def test_chart_is_drawn_at_intervals(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not updated with every change; later overviews have the rest."""
    overview = dashboard.feed.watch.overview()
    dashboard.show_overview(overview)
    later = overview | {"throughput": overview["throughput"] | {"start": 1}}
    dashboard.show_overview(later)
    assert dashboard.chart_pane.throughput == overview["throughput"]
    monkeypatch.setattr("queuectl_nb.notebook.dashboard.dashboard.CHART_INTERVAL_S", 0)
    dashboard.show_overview(later)
    assert dashboard.chart_pane.throughput == later["throughput"]


def test_static_rendering(queue: Queue, dashboard: Dashboard) -> None:
    """The output also contains a static table as HTML and as text."""
    bundle = dashboard._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    for kind in ("text/html", "text/plain"):
        assert all(word in bundle[kind] for word in ("3 pending", "echo b", str(queue.path)))


def test_nbconvert_shows_the_static_table(dashboard: Dashboard) -> None:
    """Nbconvert shows the static table."""
    from nbconvert import HTMLExporter
    from nbformat import v4

    output = v4.new_output("execute_result", data=dashboard._repr_mimebundle_(), execution_count=1)
    saved = v4.new_notebook(cells=[v4.new_code_cell("%queuectl dashboard", outputs=[output])])
    html, _ = HTMLExporter().from_notebook_node(saved)
    assert all(word in html for word in ("echo b", "3 pending", "qc-is-pending"))


def test_closing_ends_the_thread(page: Page, dashboard: Dashboard) -> None:
    """close() ends the thread, also when called twice."""
    assert dashboard.feed.running
    close_all()
    assert not dashboard.feed.running
    dashboard.close()
    page.heartbeat()
    assert not dashboard.feed.running


def test_closing_removes_all_widgets(queue: Queue) -> None:
    """A cell that is run again and again leaves nothing behind."""
    before = set(widget._instances)
    dashboard = Dashboard(queue)
    assert len(set(widget._instances) - before) > 50
    dashboard.close()
    assert set(widget._instances) <= before


def test_two_dashboards_on_two_queues(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shows its own queue."""
    from queuectl_nb.client import Queue

    other = Queue(tmp_path / "other.db")
    other.enqueue("true", id="elsewhere")
    second = Page(Dashboard(other), monkeypatch, "second")
    second.open()
    until(lambda: second.shown() == ["elsewhere"])
    assert page.shown() == ["c", "b", "a"]
    second.dashboard.close()
    other.close()


def test_magic_returns_the_dashboard(cell: Any) -> None:
    """``%queuectl dashboard`` returns the widget; unloading the extension closes it."""
    found = cell("%queuectl dashboard")
    assert isinstance(found, Dashboard)
    found.feed.submit(lambda: None)
    cell("%unload_ext queuectl_nb")
    until(lambda: not found.feed.running)
    cell("%load_ext queuectl_nb")
