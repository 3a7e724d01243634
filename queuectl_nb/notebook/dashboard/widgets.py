"""Controls and panes of the dashboard, without behaviour: ipywidgets and anywidgets with CSS classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anywidget
import ipywidgets as w
import traitlets

from queuectl_nb.client.changes import SERIES
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State
from queuectl_nb.render.card_parts import Html, fill
from queuectl_nb.render.js_bundle import FRONTEND, bundle, read_styles

__all__ = [
    "ChartPane",
    "EnqueueForm",
    "ErrorsPane",
    "Header",
    "LogPane",
    "StateFilter",
    "TablePane",
    "Toolbar",
    "WorkerPanel",
]

ALL_STATES = "all"
ALL_QUEUES = "all queues"
ALL_WORKERS = "all workers"
LAST_UPDATED = "last updated"
ACTIONS = {
    "retry": "Run the selected jobs again now",
    "cancel": "Cancel the selected jobs; running ones are stopped",
    "delete": "Delete the selected jobs with their attempts and output",
}
"""Actions on selected jobs, and their tooltips."""
MAX_PATH_CHARS = 48
MAX_WORKERS_SHOWN = 12
_NOTEBOOK = FRONTEND / "notebook"


class TablePane(anywidget.AnyWidget):
    """The table of jobs; it also carries the style sheet of the whole dashboard."""

    _esm = bundle(_NOTEBOOK / "table_pane.js")
    _css = read_styles("palette.css", "theme.css") + (_NOTEBOOK / "dashboard.css").read_text("utf-8")
    comm_id = traitlets.Unicode().tag(sync=True)


class LogPane(anywidget.AnyWidget):
    """The log of the selected job."""

    _esm = bundle(_NOTEBOOK / "log_pane.js")


class ChartPane(anywidget.AnyWidget):
    """The throughput chart; its value is that of an overview."""

    _esm = bundle(_NOTEBOOK / "chart_pane.js")
    throughput = traitlets.Dict({"start": 0, "slice_s": 10} | {name: [0] for name in SERIES}).tag(sync=True)


class ErrorsPane(anywidget.AnyWidget):
    """Why jobs failed, by reason; hidden while none did."""

    _esm = bundle(_NOTEBOOK / "errors_pane.js")
    groups = traitlets.Dict({"errors": [], "more": False, "selected": ""}).tag(sync=True)


def _styled(widget: Any, *classes: str) -> Any:
    for name in classes:
        widget.add_class(name)
    return widget


def _box(children: Iterable[Any], *classes: str) -> Any:
    return _styled(w.HBox(list(children)), *classes)


def _button(text: str, tooltip: str, *classes: str) -> Any:
    return _styled(w.Button(description=text, tooltip=tooltip), *classes)


def _set_options(dropdown: Any, options: list[str]) -> None:
    """Replace the options and keep the selected one, or select the first."""
    if list(dropdown.options) != options:
        selected = dropdown.value if dropdown.value in options else options[0]
        dropdown.options = options
        dropdown.value = selected


class Header:
    """Name of the queue, paused queues, number of workers."""

    def __init__(self, path: str) -> None:
        short = path if len(path) <= MAX_PATH_CHARS else f"…/{'/'.join(path.split('/')[-2:])}"
        self.title = _styled(w.HTML(fill("queue_name", path=path, short=short)), "qc-title")
        self.facts = _styled(w.HTML(), "qc-facts")
        self.box = _box([self.title, self.facts], "qc-head")

    def show(self, overview: Mapping[str, Any]) -> None:
        """Show what is paused and how many workers are busy."""
        workers = overview["workers"]
        busy = sum(each["state"] == "busy" for each in workers)
        plural = "" if len(workers) == 1 else "s"
        text = f"{len(workers)} worker{plural}, {busy} busy" if workers else "no workers"
        parts = [fill("paragraph", text=text)]
        if paused := overview["paused"]:
            text = "paused" if paused == ["*"] else f"paused: {', '.join(paused)}"
            parts.insert(0, fill("state", state="failed", text=text))
        if overview["eta"]:
            parts.insert(0, fill("paragraph", text=overview["eta"]))
        if limits := overview["limits"]:
            text = ", ".join(f"{each['queue']} {each['limit']} ({each['running']} running)" for each in limits)
            parts.append(fill("paragraph", text=f"limits: {text}"))
        self.facts.value = "".join(parts)


class StateFilter:
    """One toggle button per state, with its number of jobs."""

    def __init__(self) -> None:
        self.buttons = {
            state: _styled(
                w.ToggleButton(description=state, value=state == ALL_STATES, tooltip=f"Show {state} jobs"),
                "qc-chip",
                f"qc-is-{state}",
            )
            for state in (ALL_STATES, *map(str, State))
        }
        self.box = _box(self.buttons.values(), "qc-chips")

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the counts."""
        for state, button in self.buttons.items():
            count = sum(counts.values()) if state == ALL_STATES else counts[state]
            button.description = f"{state} {count:,}"

    def pressed(self) -> list[str]:
        """Return the states whose buttons are pressed."""
        return [state for state, button in self.buttons.items() if button.value]

    def select(self, state: str) -> None:
        """Press this button; "all" releases all others, and any other releases "all"."""
        for name, button in self.buttons.items():
            if ALL_STATES in (state, name):
                button.value = name == state
        self.buttons[state].value = True


class WorkerPanel:
    """The list of workers, and controls to start and stop them."""

    def __init__(self) -> None:
        self.list = _styled(w.HTML(), "qc-workers-list")
        number = w.BoundedIntText(value=1, min=1, max=256, description="Number of workers")
        self.count = _styled(number, "qc-count", "qc-unlabelled")
        self.start = _button("Start workers", "Start this many worker processes; they stop with this kernel")
        scale_tooltip = "Change the running pool to this many workers; surplus workers finish their job first"
        self.scale = _button("Scale", scale_tooltip)
        self.selected = _styled(
            w.Dropdown(options=[ALL_WORKERS], description="Workers to stop"), "qc-which", "qc-unlabelled"
        )
        self.stop = _button("Stop", "Stop these workers after their current job")
        groups = [_box([self.count, self.start, self.scale], "qc-group"), _box([self.selected, self.stop], "qc-group")]
        self.box = _styled(w.VBox([self.list, _box(groups, "qc-groups")]), "qc-workers")

    def show(self, workers: Sequence[Mapping[str, Any]], hints: Sequence[str] = ()) -> None:
        """Show the workers and their jobs, and why jobs wait that no worker serves."""
        rows = [
            fill(
                "worker",
                name=each["name"],
                state=each["state"],
                job=each["job_id"] or "",
                done=f"{each['jobs_done']:,}",
            )
            for each in workers[:MAX_WORKERS_SHOWN]
        ]
        hidden = len(workers) - MAX_WORKERS_SHOWN
        more = fill("paragraph", text=f"and {hidden} more") if hidden > 0 else Html()
        none = Html() if hints else fill("paragraph", text="No workers are running, and no job waits for one.")
        listed = fill("workers", rows=Html("".join(rows)), more=more) if workers else none
        self.list.value = listed + "".join(fill("paragraph", text=f"Jobs wait: {hint}") for hint in hints)
        names = [ALL_WORKERS, *(each["name"] for each in workers if each["state"] != "lost")]
        _set_options(self.selected, names)
        self.stop.disabled = self.scale.disabled = len(names) == 1

    @property
    def selected_worker(self) -> str | None:
        """The worker that the buttons act on; None: all."""
        return None if self.selected.value == ALL_WORKERS else self.selected.value


class Toolbar:
    """Search, queue and order of the table, and the actions on selected jobs and on the queue."""

    def __init__(self) -> None:
        self.search = _styled(w.Text(placeholder="ID or command", description="Search"), "qc-search", "qc-unlabelled")
        self.tag = _styled(w.Text(placeholder="any tag", description="Tag"), "qc-tag", "qc-unlabelled")
        self.queue = _styled(w.Dropdown(options=[ALL_QUEUES], description="Queue"), "qc-pick", "qc-unlabelled")
        self.sort = _styled(w.Dropdown(options=[LAST_UPDATED, *JOB_FIELDS], description="Sort by"), "qc-pick")
        self.actions = {
            verb: _button(verb.capitalize(), tooltip, "qc-act", *(["qc-danger"] if verb != "retry" else []))
            for verb, tooltip in ACTIONS.items()
        }
        self.confirm = _button("", "Deleted jobs cannot be restored", "qc-act", "qc-danger")
        self.pause = _button("Pause", "Start no more jobs of the queue shown; running jobs continue")
        self.resume = _button("Resume", "Start jobs of the queue shown again")
        actions = [*self.actions.values(), self.confirm, self.pause, self.resume]
        find = _box([self.search, self.tag, self.queue, self.sort], "qc-find")
        self.box = _box([find, _box(actions, "qc-group")], "qc-bar")
        self.show_targets({verb: [] for verb in ACTIONS})

    def show_targets(self, targets: Mapping[str, Sequence[str]], *, matching: bool = False) -> None:
        """Enable the actions that apply to selected jobs, and show to how many, or those for the filter's jobs."""
        for verb, button in self.actions.items():
            count = len(targets[verb])
            button.disabled = count == 0 and not matching
            button.description = verb.capitalize() + (" all…" if matching else f" {count}" if count > 1 else "")
            button.tooltip = ACTIONS[verb].replace("selected", "filtered") if matching else ACTIONS[verb]
        self.show_confirm(0)

    def show_confirm(self, count: int, verb: str = "delete") -> None:
        """Ask for confirmation to change this many jobs; 0 withdraws the question."""
        self.confirm.description = f"Really {verb} {count:,} job{'' if count == 1 else 's'}"
        self.confirm.layout.display = None if count else "none"

    def show_queues(self, queues: Sequence[str], paused: Sequence[str]) -> None:
        """Offer the existing queues."""
        _set_options(self.queue, [ALL_QUEUES, *queues])
        self.pause.disabled = (self.selected_queue or "*") in paused
        self.resume.disabled = not paused if self.selected_queue is None else self.selected_queue not in paused

    @property
    def selected_queue(self) -> str | None:
        """The selected queue; None for all."""
        return None if self.queue.value == ALL_QUEUES else str(self.queue.value)


class EnqueueForm:
    """A form for one job; empty fields are omitted."""

    FIELDS = (
        ("command", "Command", "python train.py --lr 0.1"),
        ("id", "ID", "generated"),
        ("queue", "Queue", "default"),
        ("priority", "Priority", "0"),
        ("delay", "Delay, s", "0"),
        ("timeout", "Timeout, s", "from settings"),
        ("max_retries", "Attempts", "from settings"),
        ("tags", "Tags", "none"),
        ("after", "After", "no job"),
    )
    LIST_FIELDS = ("tags", "after")

    def __init__(self) -> None:
        self.fields = {
            name: _styled(w.Text(description=title, placeholder=hint), "qc-field", f"qc-field-{name}")
            for name, title, hint in self.FIELDS
        }
        self.submit = _button("Enqueue", "Add the job to the queue", "qc-primary")
        self.message = _styled(w.HTML(), "qc-form-message")
        more = _styled(w.ToggleButton(description="Options", tooltip="Show the other fields of a job"), "qc-more")
        command, *options = self.fields.values()
        fields = _box([command, more, *options, self.submit], "qc-fields")
        self.box = _styled(w.VBox([fields, self.message]), "qc-form")

    def values(self) -> dict[str, Any]:
        """Return the fields that were filled in, as :func:`~queuectl_nb.client.enqueue.make_spec` takes them."""
        texts = {name: field.value for name, field in self.fields.items() if field.value.strip()}
        return {
            name: text.replace(",", " ").split() if name in self.LIST_FIELDS else text for name, text in texts.items()
        }

    def show_message(self, text: str, *, error: bool) -> None:
        """Show a line below the form."""
        self.message.value = fill("message", text=text, kind="qc-bad" if error else "qc-good")

    def clear(self) -> None:
        """Clear what is specific to one job; keep the rest for the next."""
        for name in ("command", "id"):
            self.fields[name].value = ""
