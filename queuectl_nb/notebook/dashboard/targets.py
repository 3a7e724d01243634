"""What the buttons of a dashboard act on: the selected rows or, if there are none, the jobs of the filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from queuectl_nb.client.selection import Selection, selection_of
from queuectl_nb.model.state import ALLOWED_STATES
from queuectl_nb.notebook.dashboard.actions import DONE
from queuectl_nb.notebook.dashboard.widgets import ACTIONS

if TYPE_CHECKING:
    from queuectl_nb.notebook.dashboard.actions import Actions
    from queuectl_nb.notebook.dashboard.feed import DashboardFeed
    from queuectl_nb.notebook.dashboard.widgets import Toolbar

__all__ = ["Targets"]

Chosen = Sequence[str] | Selection


class Targets:
    """The selected rows of each page, and what an action applies to. All pages share the buttons."""

    def __init__(self, feed: DashboardFeed, toolbar: Toolbar, actions: Actions) -> None:
        self.selected: dict[str, list[int]] = {}
        self._feed = feed
        self._toolbar = toolbar
        self._actions = actions
        self._used = ""
        self._shown: tuple[dict[str, list[str]], Selection | None] = ({}, None)
        self._asked: tuple[str, Chosen] | None = None
        for verb, button in toolbar.actions.items():
            button.on_click(lambda _, verb=verb: self._on_click(verb))
        toolbar.confirm.on_click(lambda _: self._on_confirm())

    # ------------------------------------------------------------------ in the feed's thread

    def select(self, view: str, keys: Sequence[int]) -> None:
        """Set the selected rows of a page."""
        self._used, self.selected[view] = view, [int(key) for key in keys]

    def show(self) -> None:
        """Show on the buttons what they would act on; withdraws a question about something else."""
        found = self._find()
        if found != self._shown:
            self._shown, self._asked = found, None
            self._toolbar.show_targets(found[0], matching=found[1] is not None)

    def _find(self) -> tuple[dict[str, list[str]], Selection | None]:
        """Return the jobs of each action, of those selected on the page that was used last; else the filter, if any."""
        keys = self.selected.get(self._used, [])
        jobs = self._feed.jobs.jobs_at(keys)
        ids = {verb: [job.id for job in jobs if job.state in ALLOWED_STATES[verb]] for verb in ACTIONS}
        return ids, None if keys else selection_of(self._feed.jobs.filter) or None

    def _act(self, verb: str) -> None:
        """Act on the selection of the page with the click; for the jobs of a filter, ask first."""
        ids, matching = self._find()
        if matching is None:
            self._start(verb, ids[verb])
        else:
            self._actions.start(lambda: self._ask(verb, matching))

    # ------------------------------------------------------------------ in other threads

    def _on_click(self, verb: str) -> None:
        ids, matching = self._shown
        if verb == "delete" and matching is None:
            self._toolbar.show_confirm(len(ids[verb]))
        else:
            self._feed.submit(lambda: self._act(verb))  # the selection may still be in its inbox

    def _ask(self, verb: str, matching: Selection) -> str:
        """Count the jobs of a filter that an action would change, and ask for confirmation."""
        count = self._actions.count(verb, matching)
        if not count:
            return f"No job of the filter is in a state in which it can be {DONE[verb]}."
        self._asked = verb, matching
        self._toolbar.show_confirm(count, verb)
        return ""

    def _on_confirm(self) -> None:
        if self._asked is None:
            self._feed.submit(lambda: self._act("delete"))
        else:
            self._start(*self._asked)
            self._asked = None
            self._toolbar.show_confirm(0)

    def _start(self, verb: str, chosen: Chosen) -> None:
        self._actions.start(lambda: self._actions.change(verb, chosen))
