"""Makes the cards that a kernel displays live, and sends their style sheet with few of them.

A card is an ordinary MIME bundle with a mark in its metadata. ipykernel passes each output message to this hook before
it is sent: there a marked bundle gets a display id, and is updated from then on. A bundle that goes elsewhere
(``format(job)``, an ``Output`` widget, captured output) stays as it is until it is displayed.
"""

from __future__ import annotations

import sys
import threading
import uuid
import weakref
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.live_cards import LiveCard, PoolCard, card_updater, owner_key
from queuectl_nb.render.card_parts import style_element
from queuectl_nb.render.output_cell import OutputCell, kernel_shell, shared_style

if TYPE_CHECKING:
    from queuectl_nb.client.live_cards import Owner

__all__ = ["install", "make_mark"]

MARK = "queuectl"
"""Key in the metadata of the HTML."""
BUTTONS = "queuectl.card"
"""Target of the comm that JupyterLab opens for each press of a button, and for the cards of a page that is reloaded."""

_owners: weakref.WeakValueDictionary[str, Owner] = weakref.WeakValueDictionary()
"""The queues, pools and batches of marked cards."""


def make_mark(owner: Owner, name: str = "") -> dict[str, Any]:
    """Return the metadata by which the card of a pool or batch, or of the job ``name`` of a queue, becomes live."""
    key = owner_key(owner)
    _owners[key] = owner
    return {"text/html": {MARK: {"owner": key, "name": name}}}


def install() -> None:
    """Register the hook for the output of this thread, once; without a kernel this does nothing."""
    shell = kernel_shell()
    if shell is None or not hasattr(shell.display_pub, "register_hook"):  # no kernel, or captured output
        return
    if getattr(_installed, "publisher", None) is shell.display_pub:
        return
    hook = _DisplayHook(shell)
    _installed.publisher = shell.display_pub
    shell.display_pub.register_hook(hook)
    shell.displayhook.register_hook(hook)
    if threading.current_thread() is threading.main_thread():
        _accept_presses(shell.kernel)
        shell.events.register("pre_run_cell", hook.cell_started)


_installed = threading.local()


class _DisplayHook:
    """Receives each output message of one thread before it is sent."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._publisher = shell.display_pub

    def cell_started(self, info: Any) -> None:
        """Forget the cards of the cell that runs again, and of deleted cells."""
        metadata = self._shell.get_parent().get("metadata", {})
        cells = {each for each in (info.cell_id, metadata.get("cellId"), *metadata.get("deletedCells", ())) if each}
        card_updater.drop(lambda card: card.cell_id in cells)
        shared_style.release(cells=cells)
        self._keep_style()

    def __call__(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return the message to send, or None if it was sent in another form."""
        request = message["parent_header"].get("msg_id")
        if OutputCell.is_writing() or _in_output_widget(request):
            return message
        content = message["content"]
        if message["msg_type"] == "clear_output":
            card_updater.drop(lambda card: card.request == request)
            shared_style.release(request=request)
            self._keep_style()
            return message
        mark = (content["metadata"] or {}).get("text/html", {}).get(MARK)
        owner = _owners.get(mark["owner"]) if mark else None
        if owner is not None and message["msg_type"] == "execute_result":
            # the output of a result cannot be updated
            self._publisher.publish(content["data"], content["metadata"])
            return None
        display_id = content.setdefault("transient", {}).get("display_id")
        cell = self._shell.get_parent().get("metadata", {}).get("cellId")
        if message["msg_type"] == "update_display_data":
            card_updater.drop(lambda card: card.cell.display_id == display_id)
            shared_style.release(display_id=display_id)
        if owner is not None and mark:
            content["metadata"].pop("text/html")
            self._show_live(owner, mark["name"], content, request, cell)
        self._share_style(content, request, cell, live=owner is not None)
        return message

    def _show_live(
        self, owner: Owner, name: str, content: dict[str, Any], request: str | None, cell: str | None
    ) -> None:
        """Replace the static card by a live one; the same job in the same place shares its display id."""
        kinds = frozenset(content["data"])
        display_id = content["transient"].get("display_id")
        card = card_updater.find(owner, name, request, kinds) if display_id is None else None
        if card is None:
            output = OutputCell(self._publisher, display_id or uuid.uuid4().hex, kinds, shown=True)
            place = {"request": request, "cell_id": cell}
            card = _make_card(owner, name, output, **place)
        content["transient"]["display_id"] = card.cell.display_id
        html, text = card.render()
        content["data"] |= {k: v for k, v in (("text/html", html), ("text/plain", text)) if k in kinds}
        card_updater.add(card)

    @staticmethod
    def _share_style(content: dict[str, Any], request: str | None, cell: str | None, *, live: bool) -> None:
        """Leave the style sheet in the first live card of each request; in others only if no output has it."""
        html = content["data"].get("text/html")
        if not isinstance(html, str) or style_element() not in html:
            return
        display_id = content["transient"].get("display_id") or uuid.uuid4().hex
        if not shared_style or (live and not shared_style.is_in(request)):
            card = card_updater.get(shared_style.add(display_id, request, cell))
            if card is not None:
                card.write_again()
        content["data"]["text/html"] = shared_style.apply(html, display_id)

    @staticmethod
    def _keep_style() -> None:
        """Send the style sheet with the latest live card if the outputs that had it are gone."""
        card = None if shared_style else card_updater.latest()
        if card is not None:
            shared_style.add(card.cell.display_id, card.request, card.cell_id)
            card.write_again()


def _make_card(owner: Owner, name: str, output: OutputCell, **place: str | None) -> LiveCard:
    from queuectl_nb.client.batch import Batch
    from queuectl_nb.client.batch_card import BatchCard
    from queuectl_nb.client.queue_data import QueueData

    if isinstance(owner, QueueData):
        return LiveCard(owner, name, output, **place)
    return BatchCard(owner, output, **place) if isinstance(owner, Batch) else PoolCard(owner, output, **place)


def _in_output_widget(request: str | None) -> bool:
    """Return True if the front end shows the output of this request in an ``Output`` widget, without updates."""
    widget, output = (sys.modules.get(f"ipywidgets.widgets.{name}") for name in ("widget", "widget_output"))
    if widget is None or output is None:
        return False
    found = list(widget._instances.values())  # noqa: SLF001 - Widget.widgets is deprecated
    return any(isinstance(each, output.Output) and each.msg_id == request for each in found)


def _accept_presses(kernel: Any) -> None:
    """Let a kernel accept presses of buttons."""
    from queuectl_nb.client.subshells import separate_target

    kernel.comm_manager.register_target(BUTTONS, _press)
    separate_target(kernel, BUTTONS)


def _press(comm: Any, message: dict[str, Any]) -> None:
    """Start the action of a button, and answer whether its card is live; the action shows its result on the card.

    A page that was loaded again sends the display ids of its cards instead: they are written again.
    """
    from queuectl_nb.client.batch_card import BatchCard

    data = message["content"]["data"]
    for each in filter(None, map(card_updater.get, data.get("shown", ()))):
        each.write_again()
    found = card_updater.get(data.get("card"))
    card = found if isinstance(found, BatchCard) and data["action"] in BatchCard.ACTIONS else None
    comm.close({"accepted": card is not None})
    if card is not None:
        card.act(data["action"], data.get("error") or None)
