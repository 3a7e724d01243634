"""A background job queue for Jupyter notebooks.

>>> from queuectl_nb import Queue                              # doctest: +SKIP
>>> q = Queue()                                                # doctest: +SKIP
>>> job = q.enqueue("python train.py --lr 0.1", priority=5)    # doctest: +SKIP

Names are loaded when first used, so that ``import queuectl_nb`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from queuectl_nb.child.control import CurrentJob, GiveUp, Retry, current_job, report
    from queuectl_nb.client import Job, Queue
    from queuectl_nb.client.executor import register_joblib_backend
    from queuectl_nb.client.value import JobCancelled
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

__all__ = [
    "BadEnvironment",
    "BadInput",
    "Busy",
    "CurrentJob",
    "GiveUp",
    "InvalidSetting",
    "Job",
    "JobCancelled",
    "JobFailed",
    "NotFound",
    "Queue",
    "QueuectlError",
    "Retry",
    "State",
    "WaitTimeout",
    "WrongState",
    "current_job",
    "register_joblib_backend",
    "report",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register ``%queuectl`` and ``%%queuectl`` (``%load_ext queuectl_nb``)."""
    from queuectl_nb.notebook.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics; workers and jobs continue."""
    from queuectl_nb.notebook.magics import unload

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return the Jupyter Server extension; the server calls this function by name."""
    return [{"module": "queuectl_nb.web.jupyter"}]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    control = dict.fromkeys(("CurrentJob", "GiveUp", "Retry", "current_job", "report"), "child.control")
    others = {
        "Job": "client",
        "JobCancelled": "client.value",
        "Queue": "client",
        "State": "model.state",
        "register_joblib_backend": "client.executor",
    }
    module = (control | others).get(name, "model.errors")
    return getattr(import_module(f"queuectl_nb.{module}"), name)


def __dir__() -> list[str]:
    """List the public names without importing them."""
    return [*__all__, "__version__"]
