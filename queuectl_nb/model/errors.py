"""Errors raised on purpose, with their exit codes in the console.

    QueuectlError
    ├── JobFailed            1   a job did not complete
    ├── BadInput             2   an argument is invalid; nothing was changed
    ├── BadEnvironment       3   a problem with disk, file, schema or file system; nothing was lost
    │   └── InvalidSetting   3   a stored setting has an invalid value
    ├── Busy                 4   another process held the queue for too long
    ├── WaitTimeout          4   a wait timed out (also a TimeoutError)
    ├── NotFound             5   no such job, attempt or worker
    └── WrongState           5   the job is not in a state that allows the action

A message is one line that names the object and, if there is a choice, the valid values.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Self

__all__ = [
    "BadEnvironment",
    "BadInput",
    "Busy",
    "InvalidSetting",
    "JobFailed",
    "NotFound",
    "QueuectlError",
    "WaitTimeout",
    "WrongState",
]


NOTHING_CHANGED = "nothing was changed"
"""Part of the messages of failed transactions."""


class QueuectlError(Exception):
    """Base class of all errors of queuectl."""

    exit_code: ClassVar[int] = 3
    index: int | None = None
    """Index of the job that the error is about, if it is about one of several."""

    @cached_property
    def console(self) -> str:
        """The message for console and magics, which have options in the place of parameters."""
        return str(self)

    def with_index(self, index: int) -> Self:
        """Set ``index`` and return the error."""
        self.index = index
        return self

    def with_option(self, parameter: str, option: str) -> Self:
        """Set what the console names instead of the parameter at the end of the message, and return the error.

        >>> print(BadInput("b.db exists; give force=True").with_option("force=True", "--force").console)
        b.db exists; give --force
        """
        before, _, after = str(self).rpartition(parameter)
        self.console = f"{before}{option}{after}"
        return self

    def after(self, what: str) -> Self:
        """Return the error of an action of which a part had been done: ``what``, such as ``5 jobs were removed``."""
        text = str(self)
        return type(self)(text.replace(NOTHING_CHANGED, what) if NOTHING_CHANGED in text else f"{text}; {what}")

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows instead of a traceback: the message."""
        return [f"{type(self).__name__}: {self}"]


class JobFailed(QueuectlError):
    """A job is ``dead`` or ``cancelled``."""

    exit_code = 1


class BadInput(QueuectlError):
    """An argument is invalid; nothing was changed."""

    exit_code = 2


class BadEnvironment(QueuectlError):
    """The file, disk or file system prevents the queue from working; the message names a remedy."""

    exit_code = 3


class InvalidSetting(BadEnvironment):
    """The stored value of a setting is invalid, for example after an edit by hand."""

    def __init__(self, key: str, value: object, why: str) -> None:
        """Report the stored ``value`` of ``key``; ``why`` is the reason and quotes the value."""
        super().__init__(
            f"invalid stored value for setting {key}: {why};"
            f" fix it with 'queuectl config set {key} VALUE' or 'queuectl config unset {key}'"
        )
        self.key = key
        self.value = value


class Busy(QueuectlError):
    """Another process held the write lock of the queue for too long; nothing was changed.

    Also raised at once in a signal handler or finalizer that has interrupted a call of its own thread on the queue.
    """

    exit_code = 4


class WaitTimeout(QueuectlError, TimeoutError):
    """A wait timed out; the jobs keep running."""

    exit_code = 4


class NotFound(QueuectlError):
    """There is no such job, attempt or worker."""

    exit_code = 5


class WrongState(QueuectlError):
    """The job is not in a state that allows the action."""

    exit_code = 5
