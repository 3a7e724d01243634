"""Every error a user can meet, with the exit code that the console gives for it.

    QueuectlError
    ├── JobFailed            1   a waited-for job did not complete
    ├── BadInput             2   the words given cannot be taken; nothing was changed
    ├── BadEnvironment       3   disk, file, schema or file system; nothing was lost
    │   └── InvalidSetting    3   a stored setting was edited by hand into nonsense
    ├── Busy                 4   somebody else held the queue for too long
    ├── WaitTimeout            4   a wait ended before its jobs did (also a TimeoutError)
    ├── NotFound             5   no such job, attempt or worker
    └── WrongState           5   the job exists but is not in a state for that

The message is one line that names the thing and, where there is a choice, the valid ones.
"""

from __future__ import annotations

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


class QueuectlError(Exception):
    """Base of all errors that queuectl raises on purpose."""

    exit_code: ClassVar[int] = 3
    index: int | None = None
    """Of several jobs that were given at once, which one is meant, from 0; None where it is not one of them."""

    def with_index(self, index: int) -> Self:
        """Return the error, as being about the job at ``place``."""
        self.index = index
        return self


class JobFailed(QueuectlError):
    """A job that was waited for ended ``dead`` or ``cancelled``."""

    exit_code = 1


class BadInput(QueuectlError):
    """An argument cannot be taken; nothing was changed."""

    exit_code = 2


class BadEnvironment(QueuectlError):
    """The file, disk or file system does not let the queue work; the message names the remedy."""

    exit_code = 3


class InvalidSetting(BadEnvironment):
    """A stored setting is not valid any more, most likely edited by hand."""

    def __init__(self, key: str, value: object, why: str) -> None:
        """Name the ``key``, the stored ``value`` and ``why`` that cannot be used (which quotes it)."""
        super().__init__(
            f"setting {key} is spoilt: {why};"
            f" mend it with 'queuectl config set {key} VALUE' or 'queuectl config unset {key}'"
        )
        self.key = key
        self.value = value


class Busy(QueuectlError):
    """Another process held the queue's write lock past the deadline; nothing was changed."""

    exit_code = 4


class WaitTimeout(QueuectlError, TimeoutError):
    """A wait reached its timeout; the jobs go on."""

    exit_code = 4


class NotFound(QueuectlError):
    """No job, attempt or worker of that name."""

    exit_code = 5


class WrongState(QueuectlError):
    """The job is not in a state in which this can be done."""

    exit_code = 5
