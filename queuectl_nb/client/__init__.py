"""The Python API: ``Queue`` and ``Job``."""

from queuectl_nb.client.job import Job
from queuectl_nb.client.queue import Queue

__all__ = ["Job", "Queue"]
