"""The live dashboard: connects panes and controls to the feed and to the actions."""

from __future__ import annotations

import contextlib
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.client.hints import MAGIC
from queuectl_nb.client.selection import selection_of
from queuectl_nb.client.subshells import outside_of_cells, release, separate_from_cells
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.notebook.dashboard import widgets
from queuectl_nb.notebook.dashboard.actions import Actions, Targets
from queuectl_nb.notebook.dashboard.feed import DashboardFeed
from queuectl_nb.notebook.dashboard.viewers import UNKNOWN_VIEW, Viewers
from queuectl_nb.notebook.dashboard.widgets import ALL_STATES, LAST_UPDATED
from queuectl_nb.render.cards import queue_card
from queuectl_nb.render.output_cell import kernel_shell
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.queue import Queue

__all__ = ["Dashboard", "close_all"]

CHART_INTERVAL_S = 1.9
"""Minimum time between two updates of the chart, which is expensive to paint; an overview comes every two seconds."""
INITIAL_ROWS = 40
"""Rows for a page that has not requested any yet."""
STATIC_JOBS = 20
"""Jobs in the static rendering."""
SAVED_TYPE = "application/vnd.queuectl.dashboard+json"
"""Makes JupyterLab show the static rendering instead of an error if the widget is gone (``remoteEntry.js``)."""

_open: weakref.WeakSet[Dashboard] = weakref.WeakSet()


class Dashboard(w.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A live dashboard of a queue: counts, throughput, workers, jobs, logs, and buttons to manage them.

    A background thread updates it while a page shows it, even while a cell runs, until :meth:`close`. A saved notebook,
    or a front end without widgets, shows a table of the moment at which it was displayed.
    """

    def __init__(self, queue: Queue) -> None:
        """Show ``queue``."""
        self.queue = queue
        self._last_sequence: dict[tuple[str, str], int] = {}
        self._error: str | None = None
        self._chart_at = 0.0
        self.viewers = Viewers()
        self.feed = DashboardFeed(ChangeWatcher(queue, program=MAGIC), self)
        self.actions = Actions(queue, self.show_message, self.feed.wake)
        with outside_of_cells():
            self._create_widgets()
        self.targets = Targets(self.feed, self.toolbar, self.actions)
        self._connect()
        self.viewers.watch_cells()
        self._cell = _running_cell()
        for other in list(_open):  # made by an earlier run of this cell, whose output is gone
            if self._cell[0] and other._cell[0] == self._cell[0] and other._cell[1] != self._cell[1]:  # noqa: SLF001
                other.close()
        _open.add(self)

    def _create_widgets(self) -> None:
        self.header = widgets.Header(str(self.queue.path))
        self.state_filter, self.worker_panel = widgets.StateFilter(), widgets.WorkerPanel()
        self.toolbar, self.form = widgets.Toolbar(), widgets.EnqueueForm()
        self.chart_pane, self.table_pane, self.log_pane = widgets.ChartPane(), widgets.TablePane(), widgets.LogPane()
        self.errors_pane = widgets.ErrorsPane()
        for name in ("chart", "table", "log", "errors"):
            getattr(self, f"{name}_pane").add_class(f"qc-pane-{name}")
        middle = w.HBox([self.chart_pane, self.worker_panel.box])
        middle.add_class("qc-middle")
        top = [self.header.box, self.state_filter.box, middle, self.toolbar.box]
        super().__init__([*top, self.errors_pane, self.table_pane, self.log_pane, self.form.box])
        for name in ("queuectl-ui", "qc-dash"):
            self.add_class(name)
        for widget in (self, *_descendants(self)):
            separate_from_cells(widget)
        self.table_pane.comm_id = self.table_pane.model_id or ""

    # ------------------------------------------------------------------ called by the feed, in its thread

    def show_overview(self, overview: dict[str, Any]) -> None:
        """Show counts, workers, throughput."""
        queues = self.queue.store.reader.queue_names()
        self.header.show(overview)
        self.state_filter.show(overview["counts"])
        self.worker_panel.show(overview["workers"], overview["hints"])
        self.toolbar.show_queues(queues, overview["paused"])
        now = time.monotonic()
        if now - self._chart_at >= CHART_INTERVAL_S:
            self.chart_pane.throughput, self._chart_at = overview["throughput"], now
        self.targets.show()

    def show_errors(self, groups: Mapping[str, Any]) -> None:
        """Show why jobs failed, and by which reason the table is filtered."""
        groups = {**groups, "selected": self.feed.jobs.filter.error or ""}
        if groups != self.errors_pane.groups:
            self.errors_pane.groups = groups

    def show_error(self, text: str | None) -> None:
        """Show once why the queue cannot be read, and once that it can be read again."""
        if text != self._error:
            self._error = text
            self.show_message(text or "The queue can be read again.", error=text is not None)

    def show_message(self, text: str, error: bool = False) -> None:
        """Show a message below the table."""
        self.table_pane.send({"kind": "message", "text": text, "error": error})

    def send_heartbeat(self, view: str = "") -> None:
        """Tell a page, or all, that the kernel is alive, and whether it is busy: then pages send no heartbeats."""
        self.table_pane.send({"kind": "heartbeat", "view": view, "busy": self.viewers.busy})

    # ------------------------------------------------------------------ events

    def _connect(self) -> None:
        self.table_pane.on_msg(self._on_table_message)
        self.log_pane.on_msg(self._on_log_message)
        self.errors_pane.on_msg(self._on_errors_message)
        for state, button in self.state_filter.buttons.items():
            button.observe(lambda change, state=state: self._on_state(state, pressed=change["new"]), "value")
        toolbar = self.toolbar
        toolbar.search.observe(lambda change: self._set_filter(search=change["new"].strip() or None), "value")
        toolbar.tag.observe(lambda change: self._on_tag(change["new"].strip()), "value")
        toolbar.queue.observe(lambda _: self._set_filter(queue=toolbar.selected_queue), "value")
        toolbar.sort.observe(lambda change: self._on_sort(change["new"]), "value")
        toolbar.pause.on_click(lambda _: self._act(self.actions.pause, toolbar.selected_queue))
        toolbar.resume.on_click(lambda _: self._act(self.actions.resume, toolbar.selected_queue))
        panel = self.worker_panel
        panel.start.on_click(lambda _: self._act(self.actions.start_workers, panel.count.value))
        panel.scale.on_click(lambda _: self._act(self.actions.scale_workers, panel.count.value, panel.selected_worker))
        panel.stop.on_click(lambda _: self._act(self.actions.stop_workers, panel.selected_worker))
        self.form.submit.on_click(lambda _: self._enqueue())
        for field in self.form.fields.values():
            field.on_msg(self._on_field_message)

    def _on_table_message(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        view, kind = message.get("view", ""), message.get("kind")
        # heartbeats, which the main thread handles, overtake what a page sends to a subshell, and the other way round
        purpose = view, "view" if kind == "heartbeat" else str(kind)
        if message["sequence"] <= self._last_sequence.get(purpose, 0):
            return  # overtaken by a later message for the same purpose
        self._last_sequence[purpose] = message["sequence"]
        if kind == "close":
            self.viewers.remove(view)
            for purpose in [each for each in list(self._last_sequence) if each[0] == view]:
                self._last_sequence.pop(purpose, None)
            self.feed.submit(lambda: self._forget(view))
        elif kind in ("heartbeat", "view"):
            visible = bool(message["visible"])
            self.viewers.record(view, visible=visible)
            window = {key: message[key] for key in ("first", "count", "top", "reload")}
            if visible:
                self.feed.submit(lambda: self.feed.table.request(view, **window))
                self.send_heartbeat(view)
        elif kind == "sort":
            self._set_filter(sort=message["field"], reverse=bool(message["reverse"]))
        elif kind == "select":
            keys, active = message["keys"], message["active"]
            self.feed.submit(lambda: self._select(view, keys, active))

    def _on_log_message(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        view, kind = message["view"], message.get("kind")
        if kind == "attempt":
            number = message["number"]
            self.feed.submit(lambda: self.feed.log(view).select(self.feed.log(view).job_id, number))
        elif kind == "open":
            self.feed.submit(lambda: self.feed.log(view).restart())

    def _on_errors_message(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        key = message["key"] or None
        if message["kind"] == "retry":
            selection = selection_of(replace(self.feed.jobs.filter, state=(), error=key))
            self.actions.start(lambda: self.actions.change("retry", selection))
        else:
            self._set_filter(error=key)
            self.state_filter.select(ALL_STATES)

    def _on_state(self, state: str, *, pressed: bool) -> None:
        """Filter by the states whose buttons are pressed; without any, all are shown."""
        if pressed or not self.state_filter.pressed():
            self.state_filter.select(state if pressed else ALL_STATES)
        self._set_filter(state=tuple(each for each in self.state_filter.pressed() if each != ALL_STATES))

    def _on_tag(self, text: str) -> None:
        try:
            self._set_filter(tag=Filter.from_options(tag=text or None).tag)
        except QueuectlError as error:
            self.show_message(str(error), error=True)

    def _on_sort(self, field: str) -> None:
        sort = None if field == LAST_UPDATED else field
        if sort != self.feed.jobs.filter.sort:
            self._set_filter(sort=sort, reverse=False)

    def _set_filter(self, **changes: Any) -> None:
        """Change filter or order of the table, and scroll to its beginning."""

        def apply() -> None:
            self.feed.jobs.set_filter(replace(self.feed.jobs.filter, **changes))
            self.feed.table.scroll_to_top()

        self.feed.submit(apply)
        if "sort" in changes and self.toolbar.sort.value != (changes["sort"] or LAST_UPDATED):
            self.toolbar.sort.value = changes["sort"] or LAST_UPDATED

    def _select(self, view: str, keys: list[int], active: int | None) -> None:
        """Set the selected jobs of a page, and follow the log of its active row (in the feed's thread)."""
        self.targets.select(view, keys)
        found = self.feed.jobs.jobs_at([active]) if active is not None else []
        if found and found[0].id != self.feed.log(view).job_id:
            self.feed.log(view).select(found[0].id)

    def _forget(self, view: str) -> None:
        self.targets.selected.pop(view, None)
        self.feed.logs.pop(view, None)

    def _act(self, action: Callable[..., str], *values: Any) -> None:
        self.actions.start(lambda: action(*values))

    def _on_field_message(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if message.get("event") == "submit":  # the Enter key
            self._enqueue()

    def _enqueue(self) -> None:
        """Add the job of the form; on an error, show it and keep the form."""
        fields = self.form.values()

        def report(text: str, error: bool) -> None:
            self.form.show_message(text, error=error)
            if not error:
                self.form.clear()

        self.actions.start(lambda: self.actions.enqueue(fields), report)

    # ------------------------------------------------------------------ display and close

    def close(self) -> None:
        """Stop the thread and remove the widgets from all pages."""
        if not hasattr(self, "feed"):
            return  # the constructor failed
        self.feed.close()
        with contextlib.suppress(Exception):  # ipywidgets closes widgets while the interpreter exits
            self.viewers.unwatch_cells()
        _open.discard(self)
        for widget in (self, *_descendants(self)):
            release(widget)
        for widget in (*_descendants(self), self.layout):
            widget.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        self.viewers.expect()
        self.feed.submit(
            lambda: self.feed.table.request(UNKNOWN_VIEW, first=0, count=INITIAL_ROWS, top=True, reload=True)
        )
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        bundle[SAVED_TYPE] = {}
        try:
            jobs = self.queue.store.reader.jobs(Filter(limit=STATIC_JOBS))
            bundle["text/html"], bundle["text/plain"] = queue_card(
                str(self.queue.path), self.feed.watch.overview(), jobs
            )
        except QueuectlError as error:
            bundle["text/plain"] = f"<Dashboard of {self.queue.path}: {error}>"
        return bundle


def _descendants(box: Any) -> list[Any]:
    """Return all widgets in a box, with their layouts and styles."""
    found = []
    for widget in box.children:
        found += [*(_descendants(widget) if isinstance(widget, w.Box) else []), widget, widget.layout]
        found += [widget.style] if hasattr(widget, "style") else []
    return found


def _running_cell() -> tuple[str | None, str | None]:
    """Return the ids of the running cell, if the front end sends it, and of the request to run it."""
    shell = kernel_shell()
    parent = shell.get_parent() if shell else {}
    return parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")


def close_all() -> None:
    """Close every dashboard of this process."""
    for dashboard in list(_open):
        dashboard.close()
