"""Results of cells: their variables, and what they displayed."""

from __future__ import annotations

import contextlib
import json
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.child.blob import MAX_INLINE_BYTES, digest, write_blob
from queuectl_nb.model.call import DISPLAYS
from queuectl_nb.store.blobs import blob_dir
from queuectl_nb.store.calls import load_stored
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    from queuectl_nb.store.calls import StoredValue
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.spool import Spool

__all__ = [
    "Variable",
    "add_displays",
    "read_displays",
    "read_input_text",
    "read_variable",
    "read_variables",
]


def add_displays(spool: Spool, token: str, reply: str) -> str:
    """Return the reply of a cell with what the cell has displayed."""
    if (displays := spool.read_displays(token)) is None:
        return reply

    entry: dict[str, Any] = {"call": DISPLAYS, "raised": False, "size": len(displays)}
    if len(displays) <= MAX_INLINE_BYTES:
        entry["pickle"] = b2a_base64(displays, newline=False).decode("ascii")
    else:
        entry["sha256"] = digest(displays)
        write_blob(blob_dir(spool.folder), entry["sha256"], displays)
    return f"{json.dumps(entry)}\n{reply}"  # the last line is about the job


class Variable(NamedTuple):
    """A variable that a cell assigned; ``note`` says why it was not stored."""

    name: str
    type: str
    size: int
    """Bytes of its pickle."""
    note: str | None


def read_variables(db: Database, job_id: str) -> list[Variable]:
    """Return the variables that the latest attempt of a cell assigned."""
    return [Variable(*row) for row in db.query(Q.variables_of_job, {"id": job_id})]


def read_variable(db: Database, job_id: str, name: str) -> StoredValue | None:
    """Return a variable; None if it was not assigned."""
    rows = db.query(Q.variable_of_job, {"id": job_id, "name": name})
    return load_stored(rows[0], blob_dir(db.output_dir)) if rows else None


def read_input_text(db: Database, job_id: str) -> str:
    """Return the inputs of a cell as text: ``lr=0.1, frame=<DataFrame>``."""
    return next((text for (text,) in db.query(Q.inputs_of_job, {"id": job_id})), None) or ""


def read_displays(db: Database, job_id: str) -> list[dict[str, Any]]:
    """Return what the latest attempt of a cell displayed, as outputs of nbformat."""
    rows = db.query(Q.displays_of_job, {"id": job_id})
    if not rows:
        return []
    stored = load_stored(rows[0], blob_dir(db.output_dir))
    if stored.error is not None:
        return [{"output_type": "stream", "name": "stderr", "text": f"the outputs of this job {stored.error}"}]
    outputs = []
    for line in (stored.pickle or b"").splitlines():
        with contextlib.suppress(ValueError):  # the process was killed while it wrote the last line
            outputs.append(json.loads(line))
    return outputs
