"""How IPython displays what has a card: a job, a batch or a worker pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.model.errors import QueuectlError

if TYPE_CHECKING:
    from queuectl_nb.render.card_parts import Rendering

__all__ = ["CardDisplay"]


class CardDisplay:
    """Base of classes that a notebook shows as a card, and IPython in a terminal as the text of the card."""

    def _read_card(self, *, static: bool) -> Rendering:
        """Return the card; ``static`` makes it say that it is not updated."""
        raise NotImplementedError

    def _card(self, *, static: bool = False) -> Rendering | None:
        """Return the card, or None if it cannot be read: the job or the queue was deleted."""
        try:
            return self._read_card(static=static)
        except QueuectlError:
            return None

    def _mark(self) -> dict[str, Any]:
        """Return the metadata by which the card becomes live (``client/display_hook.py``)."""
        from queuectl_nb.client.display_hook import make_mark

        return make_mark(self)  # type: ignore[arg-type]  # a batch or pool; a job has a mark of its own

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]] | dict[str, str]:
        """Return a static card; when a cell displays it, it becomes live."""
        from queuectl_nb.client import display_hook
        from queuectl_nb.render.output_cell import has_frontend

        card = self._card(static=has_frontend())
        if card is None:
            return {"text/plain": repr(self)}
        display_hook.install()
        return {"text/html": card.html, "text/plain": card.text}, self._mark()

    def _repr_html_(self) -> str | None:
        card = self._card()
        return None if card is None else card.html

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        nested = len(getattr(printer, "stack", ())) > 1  # in a list or the like
        card = None if nested else self._card()
        printer.text(repr(self) if card is None else card.text)
