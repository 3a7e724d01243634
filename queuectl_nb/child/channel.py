"""What worker and fork server send each other: structures of fixed size, and messages with a header before them."""

from __future__ import annotations

import struct

__all__ = ["EXIT", "HANDLES", "HEADER", "IMPORT", "PID", "PRELOADABLE", "RUN", "RUNTIME"]

HEADER = struct.Struct("<II")
"""Kind and size of a message."""
IMPORT, RUNTIME, RUN = range(3)
"""Kinds of messages: modules to import; the interpreter of the following jobs, as it was at the enqueue, with the names
of their environment variables; a job."""
HANDLES = struct.Struct("ii")
"""Descriptors that are sent with a job: its stdout and stderr."""
PID = struct.Struct("<I")
"""Answer to a job: its process, or 0 if this process must not fork."""
EXIT = struct.Struct("<iddq")
"""Status, user and system CPU seconds, and peak memory in the unit of ``getrusage``."""
PRELOADABLE = frozenset(
    {
        "IPython",
        "cloudpickle",
        "joblib",
        "matplotlib",
        "numpy",
        "pandas",
        "papermill",
        "pyarrow",
        "scipy",
        "sklearn",
        "torch",
    }
)
"""Packages that may be imported before a fork: they start no threads that a fork would lose."""
