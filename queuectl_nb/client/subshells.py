"""Handles the messages of dashboards and of buttons on cards without any effect on the cell that is running.

JupyterLab addresses the messages of widgets to a subshell: a thread of the kernel that is free while a cell runs. In
ipykernel, each of them becomes the parent of all output in the process that has no parent of its own (threads, child
processes, C code), and fires IPython's ``pre_execute`` and ``post_execute``, at which matplotlib shows and closes the
figures of the running cell. Messages of a dashboard do neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython

__all__ = ["outside_of_cells", "release", "separate_from_cells", "separate_target"]

CONTROL_TARGET = "jupyter.widget.control"
"""The target of the comm by which a page requests the state of all widgets when it is loaded."""
_comm_ids: set[str] = set()
_targets: set[str] = set()


@contextmanager
def outside_of_cells() -> Iterator[None]:
    """Send messages that do not belong to the running cell: nbclient saves the state of widgets that a cell opens."""
    parent = getattr(getattr(get_ipython(), "kernel", None), "_shell_parent", None)
    if parent is None:
        yield
        return
    token = parent.set({})
    try:
        yield
    finally:
        parent.reset(token)


def separate_from_cells(widget: Any) -> None:
    """Keep messages of a widget away from the running cell, and handle them in the subshell that the page addresses."""
    comm: Any = widget.comm
    # the default, without the events of IPython
    comm.handle_msg = widget._handle_msg  # noqa: SLF001 - there is no public hook, here and below
    if hasattr(comm, "_reply_subshell_for"):
        # ipykernel 7.4 redirects a message to the thread that last wrote to the widget, which a cell may block
        comm._reply_subshell_for = lambda _data, subshell: subshell  # noqa: SLF001
    _comm_ids.add(comm.comm_id)
    _keep_parent(getattr(get_ipython(), "kernel", None))


def separate_target(kernel: Any, name: str) -> None:
    """Keep messages of comms that a page opens with this target away from the running cell."""
    _targets.add(name)
    _keep_parent(kernel)


def _keep_parent(kernel: Any) -> None:
    if hasattr(kernel, "_shell_parent") and getattr(kernel.set_parent, "__name__", "") != _KeepParent.__name__:
        kernel.set_parent = _KeepParent(kernel)


def release(widget: Any) -> None:
    """Forget a widget that is being closed."""
    _comm_ids.discard(getattr(widget.comm, "comm_id", ""))


class _KeepParent:
    """Replaces ``set_parent`` of a kernel: messages of a dashboard become the parent of their own thread only."""

    def __init__(self, kernel: Any) -> None:
        self.__name__ = type(self).__name__
        self._kernel = kernel
        self._set_parent = kernel.set_parent

    def __call__(self, ident: Any, parent: dict[str, Any], channel: str = "shell") -> None:
        content = parent.get("content")
        if channel == "shell" and isinstance(content, dict) and self._is_separate(content):
            self._kernel._shell_parent_ident.set(ident)  # noqa: SLF001
            self._kernel._shell_parent.set(parent)  # noqa: SLF001
        else:
            self._set_parent(ident, parent, channel)

    def _is_separate(self, content: dict[str, Any]) -> bool:
        """Return True for messages of dashboards, and of a page that was loaded while there is a dashboard."""
        comm_id = content.get("comm_id")
        if comm_id in _comm_ids:
            return True
        comm = self._kernel.comm_manager.comms.get(comm_id)
        name = content.get("target_name", getattr(comm, "target_name", None))
        if name in _targets:
            return True
        if not _comm_ids or name != CONTROL_TARGET:
            return False
        if comm is not None:
            callback = comm._msg_callback  # noqa: SLF001
            comm.handle_msg = lambda message: callback and callback(message)
        return True
