"""The façade: what a Python user holds, and what every face works with."""

from queuectl_nb.queue.api import Queue
from queuectl_nb.queue.job import Job

__all__ = ["Job", "Queue"]
