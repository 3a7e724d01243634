"""Buttons on live cards: for each press, the extension of JupyterLab opens a comm that names card and action."""

from __future__ import annotations

from typing import Any

from queuectl_nb.client.live_cards import card_updater

__all__ = ["TARGET", "connect"]

TARGET = "queuectl.card"
"""The target of the comm, as in ``remoteEntry.js``."""


def connect(kernel: Any) -> None:
    """Let a kernel accept presses."""
    from queuectl_nb.client.subshells import separate_target

    kernel.comm_manager.register_target(TARGET, _press)
    separate_target(kernel, TARGET)


def _press(comm: Any, message: dict[str, Any]) -> None:
    """Start the action, and answer whether the card is live; the action shows its result on the card."""
    from queuectl_nb.client.batch_card import BatchCard

    data = message["content"]["data"]
    found = card_updater.get(data["card"])
    card = found if isinstance(found, BatchCard) and data["action"] in BatchCard.ACTIONS else None
    comm.close({"accepted": card is not None})
    if card is not None:
        card.act(data["action"], data.get("error") or None)
