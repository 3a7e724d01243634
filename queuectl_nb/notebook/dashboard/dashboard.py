"""The live dashboard: the panes and controls put together, and what each tells the feed."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from queuectl_nb.client.changes import ChangeWatcher
from queuectl_nb.model.errors import QueuectlError
from queuectl_nb.notebook.dashboard.actions import Actions
from queuectl_nb.notebook.dashboard.feed import DashboardFeed
from queuectl_nb.notebook.dashboard.panes import ChartPane, LogPane, TablePane
from queuectl_nb.notebook.dashboard.subshells import hear_during_cells
from queuectl_nb.notebook.dashboard.viewers import ANYBODY, Viewers
from queuectl_nb.notebook.dashboard.widgets import ALL, ALL_WORKERS, NEWEST, Bar, Chips, Form, Head, Workers, note
from queuectl_nb.render.queuecard import queue_card, queue_lines
from queuectl_nb.store.reader import Filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobRecord

__all__ = ["Dashboard", "close_all"]

MOST_AT_FIRST = 40
"""Rows that are sent to a page that has not said yet what it shows."""
STILL = 20
"""Jobs that are shown where nothing is live."""

_open: weakref.WeakSet[Dashboard] = weakref.WeakSet()


class Dashboard(w.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A queue, live: counts, throughput, workers, jobs, logs, and buttons for what can be done.

    It is fed by a thread of its own for as long as a page shows it, also while a cell runs; :meth:`close` ends that.
    In a notebook that was saved, or where there are no widgets, it is a table of the moment at which it was shown.
    """

    def __init__(self, queue: Queue) -> None:
        """Show ``queue``."""
        self.queue = queue
        self._chosen: list[int] = []
        self._heard: dict[str, int] = {}
        self._trouble: str | None = None
        self.head = Head(str(queue.path))
        self.chips, self.workers, self.bar, self.form = Chips(), Workers(), Bar(), Form()
        self.chart_pane, self.table_pane, self.log_pane = ChartPane(), TablePane(), LogPane()
        for name in ("chart", "table", "log"):
            getattr(self, f"{name}_pane").add_class(f"qc-pane-{name}")
        self.audience = Viewers()
        self.feed = DashboardFeed(ChangeWatcher(queue), self.audience, self)
        self.acts = Actions(queue, self.say, self.feed.wake)
        middle = w.HBox([self.chart_pane, self.workers.box])
        middle.add_class("qc-middle")
        super().__init__(
            [self.head.box, self.chips.box, middle, self.bar.box, self.table_pane, self.log_pane, self.form.box],
        )
        for name in ("queuectl-ui", "qc-dash"):
            self.add_class(name)
        for widget in (self, *_below(self)):
            hear_during_cells(widget)
        self._wire()
        self.audience.follow_cells()
        _open.add(self)

    # ------------------------------------------------------------------ what a feed shows things on

    def show(self, overview: dict[str, Any]) -> None:
        """Show counts, workers, throughput (from the feed's thread)."""
        self.head.show(overview)
        self.chips.show(overview["counts"])
        self.workers.show(overview["workers"])
        self.bar.offer(self.queue.store.reader.queue_names(), overview["paused"])
        self.chart_pane.throughput = overview["throughput"]

    def send_table(self, message: dict[str, Any]) -> None:
        """Send a message to the table's pages."""
        self.table_pane.send(message)

    def send_log(self, message: dict[str, Any]) -> None:
        """Send a message to the log's pages."""
        self.log_pane.send(message)

    def trouble(self, text: str | None) -> None:
        """Say once what keeps the queue from being shown, and once that it is shown again."""
        if text != self._trouble:
            self._trouble = text
            self.say(text or "The queue can be read again.", bad=text is not None)

    def say(self, text: str, bad: bool = False) -> None:
        """Say something in the line below the table."""
        self.table_pane.send({"kind": "said", "text": text, "bad": bad})

    # ------------------------------------------------------------------ what pages and people ask

    def _wire(self) -> None:
        self.table_pane.on_msg(self._from_table)
        self.log_pane.on_msg(self._from_log)
        for state, chip in self.chips.buttons.items():
            chip.observe(lambda change, state=state: self._pick_state(state, pressed=change["new"]), "value")
        self.bar.text.observe(lambda change: self._want(text=change["new"].strip() or None), "value")
        self.bar.queue.observe(lambda _: self._want(queue=self.bar.one_queue), "value")
        self.bar.sort.observe(lambda change: self._sort(change["new"]), "value")
        self.bar.retry.on_click(lambda _: self._with_chosen(self.acts.retry))
        self.bar.cancel.on_click(lambda _: self._with_chosen(self.acts.cancel))
        self.bar.pause.on_click(lambda _: self._act(self.acts.pause, self.bar.one_queue))
        self.bar.resume.on_click(lambda _: self._act(self.acts.resume, self.bar.one_queue))
        self.workers.add.on_click(lambda _: self._act(self.acts.add_workers, self.workers.count.value))
        self.workers.stop.on_click(lambda _: self._act(self.acts.stop_workers, self._stopped()))
        self.form.send.on_click(lambda _: self._enqueue())
        for field in self.form.fields.values():
            field.on_msg(self._submitted)

    def _from_table(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        view, kind = message.get("view", ""), message.get("kind")
        if message["at"] <= self._heard.get(view, 0):
            return  # it waited behind a cell, and what the page said since went before
        self._heard[view] = message["at"]
        if kind == "bye":
            self.audience.left(view)
            self._heard.pop(view, None)
        elif kind == "beat":
            visible = bool(message["visible"])
            self.audience.heard(view, visible=visible)
            facts = {key: message[key] for key in ("first", "count", "top", "anew")}
            if visible:
                self.feed.do(lambda: self.feed.table.ask(view, **facts))
                self.table_pane.send({"kind": "pulse", "view": view})
        elif kind == "sort":
            self._want(sort=message["field"], reverse=bool(message["reverse"]))
        elif kind == "select":
            keys, active = message["keys"], message["active"]
            self.feed.do(lambda: self._choose(keys, active))

    def _from_log(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if message.get("kind") == "attempt":
            number = message["number"]
            self.feed.do(lambda: self.feed.log.choose(self.feed.log.job_id, number))
        elif message.get("kind") == "hello":
            self.feed.do(self.feed.log.anew)

    def _pick_state(self, state: str, *, pressed: bool) -> None:
        """Follow a chip: one is always pressed, and that is what is listed."""
        if pressed:
            self.chips.press(state)
            self._want(state=None if state == ALL else state)
        elif not any(chip.value for chip in self.chips.buttons.values()):
            self.chips.press(ALL)

    def _sort(self, field: str) -> None:
        sort = None if field == NEWEST else field
        if sort != self.feed.jobs.filter.sort:
            self._want(sort=sort, reverse=False)

    def _want(self, **changes: Any) -> None:
        """List something else, from the beginning."""

        def want() -> None:
            self.feed.jobs.set_filter(replace(self.feed.jobs.filter, **changes))
            self.feed.table.to_the_top()

        self.feed.do(want)
        if "sort" in changes and self.bar.sort.value != (changes["sort"] or NEWEST):
            self.bar.sort.value = changes["sort"] or NEWEST

    def _choose(self, keys: list[int], active: int | None) -> None:
        """Take what is chosen in the table, and follow the log of the row that the keyboard is on (in the thread)."""
        self._chosen = [int(key) for key in keys]
        self.bar.choose(len(self._chosen))
        found = self.feed.jobs.jobs_at([active]) if active is not None else []
        if found and found[0].id != self.feed.log.job_id:
            self.feed.log.choose(found[0].id)

    def _with_chosen(self, act: Callable[[list[str]], str]) -> None:
        """Do something to the chosen jobs."""
        places = list(self._chosen)
        self.acts.start(lambda: act([job.id for job in self.feed.jobs.jobs_at(places)]))

    def _act(self, act: Callable[[Any], str], value: Any) -> None:
        self.acts.start(lambda: act(value))

    def _stopped(self) -> list[str]:
        return [] if self.workers.which.value == ALL_WORKERS else [self.workers.which.value]

    def _submitted(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        """Take the Enter key in a field."""
        if message.get("event") == "submit":
            self._enqueue()

    def _enqueue(self) -> None:
        """Add the job of the form; what is wrong with it is said below the form, which keeps it."""
        wish = self.form.wish()

        def say(text: str, bad: bool) -> None:
            self.form.said.value = note(text, bad=bad)
            if not bad:
                self.form.clear()

        self.acts.start(lambda: self.acts.enqueue(wish), say)

    # ------------------------------------------------------------------ its life

    def close(self) -> None:
        """End the dashboard: its thread, and its widgets on every page."""
        if not hasattr(self, "feed"):
            return  # it could not be made
        self.feed.close()
        with contextlib.suppress(Exception):  # ipywidgets closes what is left while the interpreter ends
            self.audience.forget_cells()
        _open.discard(self)
        for widget in _below(self):
            widget.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        self.audience.expect()
        self.feed.do(lambda: self.feed.table.ask(ANYBODY, first=0, count=MOST_AT_FIRST, top=True, anew=True))
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        try:
            bundle["text/plain"] = queue_lines(*self._moment())
            bundle["text/html"] = queue_card(*self._moment())
        except QueuectlError as error:
            bundle["text/plain"] = f"<Dashboard of {self.queue.path}: {error}>"
        return bundle

    def _moment(self) -> tuple[str, dict[str, Any], list[JobRecord]]:
        """Return what is shown where nothing is live: the overview, and the jobs last changed."""
        return str(self.queue.path), self.feed.watch.overview(), self.queue.store.reader.jobs(Filter(limit=STILL))


def _below(box: Any) -> list[Any]:
    """Return all widgets in a box, and what describes how each looks."""
    found = []
    for widget in box.children:
        found += [*(_below(widget) if isinstance(widget, w.Box) else []), widget, widget.layout]
        found += [widget.style] if hasattr(widget, "style") else []
    return found


def close_all() -> None:
    """Close every dashboard of this process."""
    for each in list(_open):
        each.close()
