"""What a Python job runs, and the values that its calls return.

A payload is JSON. It is stored with the job and names the blobs that it needs: the pickled function, the description
of the interpreter, and large arguments. Payloads of all kinds have the keys ``runtime``, ``preload`` and ``jobs``.
Nothing here is unpickled outside of the job and of a reader of its value.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DISPLAYS", "KINDS", "Blob", "CallValue", "Kind", "Payload"]


class Kind:
    """The kinds of jobs."""

    COMMAND = "command"
    FUNCTION = "function"
    CELL = "cell"
    NOTEBOOK = "notebook"


KINDS = (Kind.COMMAND, Kind.FUNCTION, Kind.CELL, Kind.NOTEBOOK)


class Blob(NamedTuple):
    """Immutable bytes, identified by their content."""

    sha256: str
    body: bytes


class Payload(NamedTuple):
    """The description of what a job runs as JSON, and the blobs that it refers to."""

    body: str
    blobs: tuple[Blob, ...]


DISPLAYS = -1
"""The number under which the outputs of a cell are stored: a line of JSON for each."""


class CallValue(NamedTuple):
    """How one call of a job ended: a pickle of its value, or of its exception and traceback.

    The pickle is in ``body``, or in the blob ``sha256``; neither is set if it could not be pickled. A cell has the call
    0, and its variables as further calls with a ``name``, their ``type``, and a ``note`` if they could not be stored.
    """

    call: int
    raised: bool
    body: bytes | None
    sha256: str | None
    size: int
    name: str | None = None
    type: str | None = None
    note: str | None = None
