"""The dashboard's kernel side: what pages are sent and when nobody is sent anything, what is saved, how it ends."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from queuectl_nb.notebook.dashboard import feed as feed_module
from queuectl_nb.notebook.dashboard import viewers as viewers_module
from queuectl_nb.notebook.dashboard.dashboard import Dashboard, close_all
from tests.engine.harness import until
from tests.notebook.pages import NEVER_S, Page

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from queuectl_nb.client import Queue


def test_a_page_gets_everything_when_it_is_loaded(page: Page, dashboard: Dashboard) -> None:
    """Rows, counts, queues and the log's first words are there; loaded again, the page gets them again."""
    until(lambda: dashboard.state_filter.buttons["all"].description == "all 3")
    until(lambda: list(dashboard.toolbar.queue.options) == ["all queues", "default", "gpu"])
    until(lambda: page.log)
    page.table.clear()
    page.open()
    until(lambda: page.shown() == ["c", "b", "a"])
    assert page.rows()[0]["sequence"] == 1


def test_only_what_changed_is_sent(page: Page, queue: Queue) -> None:
    """Of a window of rows only those go to the page that it has not got."""
    queue.cancel("b")
    until(lambda: page.shown() == ["b", "c", "a"])
    assert [[row[1] for row in message["rows"]] for message in page.rows()[1:]] == [["b"]]
    json.dumps(page.table)


def test_nothing_is_sent_while_nobody_looks(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """A hidden page gets nothing, whatever happens; when it is seen again it gets all at once."""
    page.heartbeat(visible=False)
    until(lambda: not dashboard.viewers.visible_views())
    turned = threading.Event()
    dashboard.feed.submit(turned.set)
    assert turned.wait(20)
    before = len(page.table)
    queue.enqueue("true", id="unseen")
    for _ in range(3):
        turned.clear()
        dashboard.feed.submit(turned.set)
        assert turned.wait(20)
    assert len(page.table) == before
    page.heartbeat()
    until(lambda: page.shown()[:1] == ["unseen"])


def test_a_page_that_was_closed_is_forgotten(page: Page, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who falls silent is not sent anything any more, and the thread ends; a page that comes starts it again."""
    monkeypatch.setattr(feed_module, "IDLE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(viewers_module, "HEARTBEAT_TIMEOUT_S", 0.05)
    until(lambda: not dashboard.feed.running)
    monkeypatch.setattr(feed_module, "IDLE_TIMEOUT_S", NEVER_S)
    monkeypatch.setattr(viewers_module, "HEARTBEAT_TIMEOUT_S", NEVER_S)
    again = Page(dashboard, monkeypatch, "another")
    again.open()
    until(lambda: again.shown() == ["c", "b", "a"])
    assert dashboard.feed.running


def test_a_page_that_cannot_be_heard_yet_is_shown_something(
    dashboard: Dashboard, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown in a cell with more cells to come, the dashboard is alive before its page was ever heard."""
    page = Page(dashboard, monkeypatch, "")
    dashboard._repr_mimebundle_()
    dashboard.viewers.cell_started()
    until(lambda: page.shown() == ["c", "b", "a"])
    queue.cancel("b")
    until(lambda: page.shown() == ["b", "c", "a"])
    assert {message["sequence"] for message in page.rows()} == {1}
    assert len(page.rows()[-1]["rows"]) == 3


def test_each_page_has_its_own_window(page: Page, dashboard: Dashboard) -> None:
    """Two pages of one dashboard scroll apart."""
    page.view = "other"
    page.heartbeat(first=2, top=False)
    page.view = "page"
    until(lambda: any(each["view"] == "other" and each["first"] == 2 for each in page.table if each["kind"] == "rows"))
    assert page.shown() == ["c", "b", "a"]


def test_a_long_path_is_short_in_the_title(dashboard: Dashboard, queue: Queue) -> None:
    """The file and its folder are seen; the whole path is there for who asks."""
    from queuectl_nb.notebook.dashboard.widgets import Header

    assert f'title="{queue.path}"' in dashboard.header.title.value
    assert ">…/runs/queue.db<" in Header("/home/somebody/with/a/long/way/to/their/data/and/runs/queue.db").title.value
    assert ">/home/me/queue.db<" in Header("/home/me/queue.db").title.value


def test_hostile_names_stay_text(queue: Queue, dashboard: Dashboard) -> None:
    """What jobs are called and do is escaped wherever it becomes HTML."""
    queue.enqueue("<script>alert(1)</script>\x1b[31m\u202e", id="evil")
    html = dashboard._repr_mimebundle_()["text/html"]
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_a_replaced_file_is_said_once(page: Page, queue_path: Path) -> None:
    """A queue whose file is gone is one line in the dashboard, once, and no traceback."""
    queue_path.unlink()
    until(lambda: any(error and "deleted or replaced" in text for text, error in page.messages()))
    for _ in range(3):
        page.dashboard.feed.wake()
    turned = threading.Event()
    page.dashboard.feed.submit(turned.set)
    assert turned.wait(20)
    assert sum("deleted or replaced" in text for text, _ in page.messages()) == 1


def test_a_bug_is_said_in_a_line(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of ends no thread and prints nothing."""
    monkeypatch.setattr(page.dashboard.feed.table, "messages", lambda: 1 / 0)
    page.dashboard.feed.wake()
    until(lambda: any("ZeroDivisionError" in text for text, _ in page.messages()))
    assert page.dashboard.feed.running


def test_what_is_saved_can_be_read(queue: Queue, dashboard: Dashboard) -> None:
    """Beside the widget stand a table of the moment, and lines of text."""
    bundle = dashboard._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    for kind in ("text/html", "text/plain"):
        assert all(word in bundle[kind] for word in ("3 pending", "echo b", str(queue.path)))


def test_a_website_shows_the_table(dashboard: Dashboard) -> None:
    """A notebook that JupyterLab saved, made HTML by nbconvert, shows the jobs of the moment."""
    from nbconvert import HTMLExporter
    from nbformat import v4

    output = v4.new_output("execute_result", data=dashboard._repr_mimebundle_(), execution_count=1)
    saved = v4.new_notebook(cells=[v4.new_code_cell("%queuectl dashboard", outputs=[output])])
    html, _ = HTMLExporter().from_notebook_node(saved)
    assert all(word in html for word in ("echo b", "3 pending", "qc-is-pending"))


def test_closing_ends_the_thread(page: Page, dashboard: Dashboard) -> None:
    """close() and the extension's unload end the threads of all dashboards; closed twice is closed."""
    assert dashboard.feed.running
    close_all()
    assert not dashboard.feed.running
    dashboard.close()
    page.heartbeat()
    assert not dashboard.feed.running


def test_two_dashboards_on_two_queues(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shows its own queue."""
    from queuectl_nb.client import Queue

    other = Queue(tmp_path / "other.db")
    other.enqueue("true", id="elsewhere")
    second = Page(Dashboard(other), monkeypatch, "second")
    second.dashboard.viewers._cell_started_at = None
    second.open()
    until(lambda: second.shown() == ["elsewhere"])
    assert page.shown() == ["c", "b", "a"]
    second.dashboard.close()
    other.close()


def test_the_magic_gives_the_dashboard(cell: Any) -> None:
    """``%queuectl dashboard`` is the widget; unloading the extension closes it."""
    found = cell("%queuectl dashboard")
    assert isinstance(found, Dashboard)
    found.feed.submit(lambda: None)
    cell("%unload_ext queuectl_nb")
    until(lambda: not found.feed.running)
    cell("%load_ext queuectl_nb")
