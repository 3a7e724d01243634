"""The dashboard's kernel side: what pages are sent, what their buttons do, and when nobody is sent anything."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.faces.notebook import audience as audience_module
from queuectl_nb.faces.notebook import feed as feed_module
from queuectl_nb.faces.notebook.audience import Audience
from queuectl_nb.faces.notebook.dashboard import Dashboard, close_all
from tests.engine.bench import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuectl_nb.queue import Queue

PATIENT = 1e6
"""Seconds without end, on any machine."""


class Page:
    """A page that shows a dashboard: it tells what pages tell, and keeps what it is sent."""

    def __init__(self, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, view: str = "page") -> None:
        self.dashboard = dashboard
        self.view = view
        self.told = 0
        self.table: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        monkeypatch.setattr(dashboard.table_pane, "send", self.table.append)
        monkeypatch.setattr(dashboard.log_pane, "send", self.log.append)

    def tell(self, kind: str, **facts: Any) -> None:
        """Send a message of the table to the kernel."""
        self.told += 1
        self.dashboard._from_table(None, {"kind": kind, "view": self.view, "at": self.told, **facts}, [])

    def open(self) -> None:
        """Load the page."""
        self.look(anew=True)
        self.dashboard._from_log(None, {"kind": "hello"}, [])

    def look(self, *, first: int = 0, top: bool = True, visible: bool = True, anew: bool = False) -> None:
        """Give a sign of life."""
        self.tell("beat", visible=visible, first=first, count=20, top=top, anew=anew)

    def rows(self) -> list[dict[str, Any]]:
        """Return the messages with rows for this page."""
        return [each for each in list(self.table) if each["kind"] == "rows" and each["view"] == self.view]

    def shown(self) -> list[str]:
        """Return the ids that the page shows, put together as the page does."""
        has: dict[int, str] = {}
        for message in self.rows():
            has |= {row[0]: row[1] for row in message["rows"]}
        known = [message["keys"] for message in self.rows() if message["keys"] is not None]
        return [has[key] for key in known[-1]] if known else []

    def said(self) -> list[tuple[str, bool]]:
        """Return what was said in the line below the table."""
        return [(each["text"], each["bad"]) for each in list(self.table) if each["kind"] == "said"]

    def choose(self, *ids: str) -> None:
        """Choose rows, the last one with the keyboard on it."""
        keys = {row[1]: row[0] for message in self.rows() for row in message["rows"]}
        chosen = [keys[each] for each in ids]
        self.tell("select", keys=chosen, active=chosen[-1])
        until(lambda: self.dashboard._chosen == chosen)


@pytest.fixture
def dashboard(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    """Return a dashboard of a queue with three jobs; its pages need not say again and again that they are there."""
    monkeypatch.setattr(audience_module, "SILENCE", PATIENT)
    for each in "abc":
        queue.enqueue(f"echo {each}", id=each, queue="gpu" if each == "c" else None)
    found = Dashboard(queue)
    found.audience._cell_began = None  # no cell runs
    yield found
    found.close()


@pytest.fixture
def page(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Return a page that was just loaded, and has its rows."""
    found = Page(dashboard, monkeypatch)
    found.open()
    until(lambda: found.shown() == ["c", "b", "a"])
    return found


def test_a_page_gets_everything_when_it_is_loaded(page: Page, dashboard: Dashboard) -> None:
    """Rows, counts, queues and the log's first words are there; loaded again, the page gets them again."""
    until(lambda: dashboard.chips.buttons["all"].description == "all 3")
    until(lambda: list(dashboard.bar.queue.options) == ["every queue", "default", "gpu"])
    until(lambda: page.log)
    page.table.clear()
    page.open()
    until(lambda: page.shown() == ["c", "b", "a"])
    assert page.rows()[0]["n"] == 1


def test_only_what_changed_is_sent(page: Page, queue: Queue) -> None:
    """Of a window of rows only those go to the page that it has not got."""
    queue.cancel("b")
    until(lambda: page.shown() == ["b", "c", "a"])
    assert [[row[1] for row in message["rows"]] for message in page.rows()[1:]] == [["b"]]
    json.dumps(page.table)


def test_nothing_is_sent_while_nobody_looks(page: Page, queue: Queue, dashboard: Dashboard) -> None:
    """A hidden page gets nothing, whatever happens; when it is seen again it gets all at once."""
    page.look(visible=False)
    until(lambda: not dashboard.audience.views())
    turned = threading.Event()
    dashboard.feed.do(turned.set)
    assert turned.wait(20)
    before = len(page.table)
    queue.enqueue("true", id="unseen")
    for _ in range(3):
        turned.clear()
        dashboard.feed.do(turned.set)
        assert turned.wait(20)
    assert len(page.table) == before
    page.look()
    until(lambda: page.shown()[:1] == ["unseen"])


def test_a_page_that_was_closed_is_forgotten(page: Page, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who falls silent is not sent anything any more, and the thread ends; a page that comes starts it again."""
    monkeypatch.setattr(feed_module, "LINGER", 0.05)
    monkeypatch.setattr(audience_module, "SILENCE", 0.05)
    until(lambda: not dashboard.feed.running)
    monkeypatch.setattr(feed_module, "LINGER", PATIENT)
    monkeypatch.setattr(audience_module, "SILENCE", PATIENT)
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
    dashboard.audience.cell_begins()
    until(lambda: page.shown() == ["c", "b", "a"])
    queue.cancel("b")
    until(lambda: page.shown() == ["b", "c", "a"])
    assert {message["n"] for message in page.rows()} == {1}
    assert len(page.rows()[-1]["rows"]) == 3


def test_each_page_has_its_own_window(page: Page, dashboard: Dashboard) -> None:
    """Two pages of one dashboard scroll apart."""
    page.view = "other"
    page.look(first=2, top=False)
    page.view = "page"
    until(lambda: any(each["view"] == "other" and each["first"] == 2 for each in page.table if each["kind"] == "rows"))
    assert page.shown() == ["c", "b", "a"]


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
    monkeypatch.setattr("queuectl_nb.queue.joblist.SHARE", 1e9)
    dashboard.bar.sort.value = "id"
    until(lambda: page.shown() == ["a", "b", "c"])
    queue.enqueue("true", id="A")
    until(lambda: dashboard.feed.jobs.behind)
    assert page.shown() == ["a", "b", "c"]
    monkeypatch.setattr("queuectl_nb.queue.joblist.SHARE", 0)
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
    until(lambda: queue.paused() == ["*"])
    until(lambda: not dashboard.bar.resume.disabled)
    assert "paused" in dashboard.head.facts.value
    dashboard.bar.resume.click()
    until(lambda: queue.paused() == [])
    until(lambda: "gpu" in dashboard.bar.queue.options)
    dashboard.bar.queue.value = "gpu"
    dashboard.bar.pause.click()
    until(lambda: queue.paused() == ["gpu"])
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


def test_a_long_path_is_short_in_the_title(dashboard: Dashboard, queue: Queue) -> None:
    """The file and its folder are seen; the whole path is there for who asks."""
    from queuectl_nb.faces.notebook.controls import Head

    assert f'title="{queue.path}"' in dashboard.head.title.value
    assert ">…/runs/queue.db<" in Head("/home/somebody/with/a/long/way/to/their/data/and/runs/queue.db").title.value
    assert ">/home/me/queue.db<" in Head("/home/me/queue.db").title.value


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
    until(lambda: any(bad and "deleted or replaced" in text for text, bad in page.said()))
    for _ in range(3):
        page.dashboard.feed.wake()
    turned = threading.Event()
    page.dashboard.feed.do(turned.set)
    assert turned.wait(20)
    assert sum("deleted or replaced" in text for text, _ in page.said()) == 1


def test_a_bug_is_said_in_a_line(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of ends no thread and prints nothing."""
    monkeypatch.setattr(page.dashboard.feed.table, "messages", lambda: 1 / 0)
    page.dashboard.feed.wake()
    until(lambda: any("ZeroDivisionError" in text for text, _ in page.said()))
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
    page.look()
    assert not dashboard.feed.running


def test_two_dashboards_on_two_queues(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shows its own queue."""
    from queuectl_nb.queue import Queue

    other = Queue(tmp_path / "other.db")
    other.enqueue("true", id="elsewhere")
    second = Page(Dashboard(other), monkeypatch, "second")
    second.dashboard.audience._cell_began = None
    second.open()
    until(lambda: second.shown() == ["elsewhere"])
    assert page.shown() == ["c", "b", "a"]
    second.dashboard.close()
    other.close()


def test_who_looked_when_a_cell_began_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pages cannot be heard during a cell they are taken to look on; where they can, silence means gone."""
    now = [100.0]
    monkeypatch.setattr(audience_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    audience = Audience()
    audience.expect()
    assert audience.views() == [audience_module.ANYBODY]
    audience.heard("a", visible=True)
    audience.cell_begins()
    now[0] += 3600
    assert audience.views() == ["a"]
    audience.cell_ends()
    assert audience.views() == ["a"]
    now[0] += audience_module.SILENCE + 1
    assert audience.views() == []
    audience.heard("a", visible=True)
    audience.cell_begins()
    thread = threading.Thread(target=audience.heard, args=("a",), kwargs={"visible": True})  # another thread hears
    thread.start()
    thread.join()
    now[0] += audience_module.SILENCE + 1
    assert audience.views() == []


def test_the_magic_gives_the_dashboard(cell: Any) -> None:
    """``%queuectl dashboard`` is the widget; unloading the extension closes it."""
    found = cell("%queuectl dashboard")
    assert isinstance(found, Dashboard)
    found.feed.do(lambda: None)
    cell("%unload_ext queuectl_nb")
    until(lambda: not found.feed.running)
    cell("%load_ext queuectl_nb")
