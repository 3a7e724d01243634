"""The dashboard's buttons, fields and lists: ipywidgets with names for the style sheet, and nothing that they do."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State
from queuectl_nb.render.cards import template
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Bar", "Chips", "Form", "Head", "Workers", "note"]

ALL = "all"
EVERY_QUEUE = "every queue"
ALL_WORKERS = "all workers"
NEWEST = "last changed"
LONGEST_PATH = 48
LISTED = 12
"""Workers that are listed; of more, how many there are besides."""


def _named(widget: Any, *names: str) -> Any:
    for name in names:
        widget.add_class(name)
    return widget


def note(text: str, *, bad: bool = False) -> str:
    """Return a line of text as HTML."""
    return _html("note", text=text, kind="qc-bad" if bad else "qc-good")


def _html(kind_of: str, **texts: str) -> str:
    """Return a template filled with texts, which stay texts."""
    filled: str = template(f"dash_{kind_of}").substitute({key: escape(visible(text)) for key, text in texts.items()})
    return filled


def _button(text: str, tip: str, *names: str) -> Any:
    return _named(w.Button(description=text, tooltip=tip), *names)


def _short(path: str) -> str:
    """Return a path as it stands in a title: of a long one the file and its folder."""
    parts = path.split("/")
    return path if len(path) <= LONGEST_PATH else f"…/{'/'.join(parts[-2:])}"


class Head:
    """Which queue this is, and whether something holds it up."""

    def __init__(self, path: str) -> None:
        self.title = _named(w.HTML(_html("name", path=path, short=_short(path))), "qc-title")
        self.facts = _named(w.HTML(), "qc-facts")
        self.box = _named(w.HBox([self.title, self.facts]), "qc-head")

    def show(self, overview: Mapping[str, Any]) -> None:
        """Show what is paused and how many work."""
        workers = overview["workers"]
        busy = sum(each["state"] == "busy" for each in workers)
        one = "" if len(workers) == 1 else "s"
        parts = [_html("line", text=f"{len(workers)} worker{one}, {busy} busy" if workers else "no workers")]
        if paused := overview["paused"]:
            text = "paused" if paused == ["*"] else f"paused: {', '.join(paused)}"
            parts.insert(0, _html("state", kind="failed", text=text))
        self.facts.value = "".join(parts)


class Chips:
    """The number of jobs by state; pressed, they filter."""

    def __init__(self) -> None:
        self.buttons = {
            state: _named(
                w.ToggleButton(description=state, value=state == ALL, tooltip=f"Show {state} jobs"),
                "qc-chip",
                f"qc-chip-{state}",
            )
            for state in (ALL, *map(str, State))
        }
        self.box = _named(w.HBox(list(self.buttons.values())), "qc-chips")

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the counts."""
        for state, button in self.buttons.items():
            count = sum(counts.values()) if state == ALL else counts[state]
            button.description = f"{state} {count:,}"

    def press(self, state: str) -> None:
        """Leave just this one pressed."""
        for name, button in self.buttons.items():
            button.value = name == state


class Workers:
    """The workers, and buttons for more and fewer of them."""

    def __init__(self) -> None:
        self.list = _named(w.HTML(), "qc-workers-list")
        self.count = _named(
            w.BoundedIntText(value=1, min=1, max=256, description="Workers to add"), "qc-count", "qc-unlabelled"
        )
        self.add = _button("Add workers", "Start so many worker processes; they end with this kernel")
        self.which = _named(
            w.Dropdown(options=[ALL_WORKERS], description="Workers to stop"), "qc-which", "qc-unlabelled"
        )
        self.stop = _button("Stop", "They finish their job and end")
        more = _named(w.HBox([self.count, self.add]), "qc-group")
        fewer = _named(w.HBox([self.which, self.stop]), "qc-group")
        self.box = _named(w.VBox([self.list, _named(w.HBox([more, fewer]), "qc-groups")]), "qc-workers")

    def show(self, workers: Sequence[Mapping[str, Any]]) -> None:
        """Show who works on what."""
        rows = [
            _html(
                "worker",
                name=each["name"],
                state=each["state"],
                job=each["job_id"] or "",
                done=f"{each['jobs_done']:,}",
            )
            for each in workers[:LISTED]
        ]
        left = len(workers) - LISTED
        more = _html("line", text=f"and {left} more") if left > 0 else ""
        nobody = _html("line", text="No workers: nothing is started until there is one.")
        self.list.value = template("dash_workers").substitute(rows="".join(rows), more=more) if workers else nobody
        names = [ALL_WORKERS, *(each["name"] for each in workers if each["state"] != "lost")]
        if list(self.which.options) != names:
            chosen = self.which.value if self.which.value in names else ALL_WORKERS
            self.which.options = names
            self.which.value = chosen
        self.stop.disabled = len(names) == 1


class Bar:
    """What is listed, and what is done to the chosen jobs."""

    def __init__(self) -> None:
        self.text = _named(
            w.Text(placeholder="Search in ids and commands", description="Search"), "qc-search", "qc-unlabelled"
        )
        self.queue = _named(w.Dropdown(options=[EVERY_QUEUE], description="Queue"), "qc-pick", "qc-unlabelled")
        self.sort = _named(w.Dropdown(options=[NEWEST, *JOB_FIELDS], description="Sort by"), "qc-pick")
        self.retry = _button("Retry", "Run the chosen jobs again now", "qc-act")
        self.cancel = _button("Cancel", "Cancel the chosen jobs, ending those that run", "qc-act", "qc-danger")
        self.pause = _button("Pause", "Start nothing more in the queue shown; running jobs go on")
        self.resume = _button("Resume", "Allow starts again in the queue shown")
        find = _named(w.HBox([self.text, self.queue, self.sort]), "qc-find")
        act = _named(w.HBox([self.retry, self.cancel, self.pause, self.resume]), "qc-group")
        self.box = _named(w.HBox([find, act]), "qc-bar")
        self.choose(0)

    def choose(self, count: int) -> None:
        """Show how many jobs the buttons would be for."""
        for button, word in ((self.retry, "Retry"), (self.cancel, "Cancel")):
            button.disabled = count == 0
            button.description = word if count < 2 else f"{word} {count}"

    def offer(self, queues: Sequence[str], paused: Sequence[str]) -> None:
        """Offer the queues that there are."""
        names = [EVERY_QUEUE, *queues]
        if list(self.queue.options) != names:
            chosen = self.queue.value if self.queue.value in names else EVERY_QUEUE
            self.queue.options = names
            self.queue.value = chosen
        self.resume.disabled = not paused

    @property
    def one_queue(self) -> str | None:
        """The queue that is chosen; None for all."""
        return None if self.queue.value == EVERY_QUEUE else str(self.queue.value)


class Form:
    """A form for one job; an empty field is not given."""

    FIELDS = (
        ("command", "Command", "python train.py --lr 0.1"),
        ("id", "ID", "made up"),
        ("queue", "Queue", "default"),
        ("priority", "Priority", "0"),
        ("delay", "Delay, s", "0"),
        ("timeout", "Timeout, s", "as set"),
        ("max_retries", "Attempts", "as set"),
        ("tags", "Tags", "none"),
        ("after", "After", "no job"),
    )
    LISTS = ("tags", "after")

    def __init__(self) -> None:
        self.fields = {
            name: _named(w.Text(description=title, placeholder=hint), "qc-field", f"qc-field-{name}")
            for name, title, hint in self.FIELDS
        }
        self.send = _button("Enqueue", "Add the job to the queue", "qc-primary")
        self.said = _named(w.HTML(), "qc-form-said")
        fields = _named(w.HBox([*self.fields.values(), self.send]), "qc-fields")
        self.box = _named(w.VBox([fields, self.said]), "qc-form")

    def wish(self) -> dict[str, Any]:
        """Return what was filled in, as an enqueue takes it."""
        given = {name: field.value for name, field in self.fields.items() if field.value.strip()}
        return {name: text.replace(",", " ").split() if name in self.LISTS else text for name, text in given.items()}

    def clear(self) -> None:
        """Empty what is each job's own; the rest may serve for the next."""
        for name in ("command", "id"):
            self.fields[name].value = ""
