"""A background job queue for people who live in notebooks.

>>> from queuectl_nb import Queue                              # doctest: +SKIP
>>> q = Queue()                                                # doctest: +SKIP
>>> job = q.enqueue("python train.py --lr 0.1", priority=5)    # doctest: +SKIP

Names are loaded at their first use, so that ``import queuectl_nb`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from queuectl_nb.client import Job, Queue
    from queuectl_nb.model.errors import (
        BadEnvironment,
        BadInput,
        Busy,
        InvalidSetting,
        JobFailed,
        NotFound,
        QueuectlError,
        WaitTimeout,
        WrongState,
    )
    from queuectl_nb.model.state import State

__version__ = "0.1.0"

_HOMES = {
    "Queue": "queuectl_nb.client",
    "Job": "queuectl_nb.client",
    "State": "queuectl_nb.model.state",
    "BadEnvironment": "queuectl_nb.model.errors",
    "BadInput": "queuectl_nb.model.errors",
    "Busy": "queuectl_nb.model.errors",
    "JobFailed": "queuectl_nb.model.errors",
    "NotFound": "queuectl_nb.model.errors",
    "WaitTimeout": "queuectl_nb.model.errors",
    "QueuectlError": "queuectl_nb.model.errors",
    "InvalidSetting": "queuectl_nb.model.errors",
    "WrongState": "queuectl_nb.model.errors",
}

__all__ = [
    "BadEnvironment",
    "BadInput",
    "Busy",
    "InvalidSetting",
    "Job",
    "JobFailed",
    "NotFound",
    "Queue",
    "QueuectlError",
    "State",
    "WaitTimeout",
    "WrongState",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Give a shell ``%queuectl`` and ``%%queuectl`` (``%load_ext queuectl_nb``)."""
    from queuectl_nb.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics back; workers and jobs go on."""
    from queuectl_nb.notebook.extension import unload

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell Jupyter Server where our page is; it loads it by this name."""
    return [{"module": "queuectl_nb.web.jupyter"}]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Show the public names to completion without loading them."""
    return [*__all__, "__version__"]
