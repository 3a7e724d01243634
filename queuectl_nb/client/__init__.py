"""The façade: what a Python user holds, and what every face works with."""

from queuectl_nb.client.job import Job
from queuectl_nb.client.queue import Queue

__all__ = ["Job", "Queue"]
