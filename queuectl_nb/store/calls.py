"""What Python jobs run, what their calls returned or raised, and the variables and outputs of cells."""

from __future__ import annotations

import contextlib
import json
from binascii import b2a_base64
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.child.blob import MAX_INLINE_BYTES, adopt_blob, digest, read_blob
from queuectl_nb.model.call import DISPLAYS, CallValue, Kind
from queuectl_nb.model.failure import encodable
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.blobs import blob_dir, insert_blobs
from queuectl_nb.store.jobs import not_found
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.call import Payload
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database
    from queuectl_nb.store.settle import EndedAttempt
    from queuectl_nb.store.spool import Spool

__all__ = [
    "JobCalls",
    "StoredValue",
    "Variable",
    "add_displays",
    "executed_notebook",
    "insert_payloads",
    "load_call",
    "load_stored",
    "parse_reply",
    "read_calls",
    "read_displays",
    "read_input_text",
    "read_variable",
    "read_variables",
    "record_values",
    "replace_payloads",
]


class StoredValue(NamedTuple):
    """How a call ended: the pickle of its value, or, if it ``raised``, of the exception and the traceback."""

    call: int
    raised: bool
    pickle: bytes | None = None
    """None if it could not be pickled, or cannot be read."""
    error: str | None = None
    """Why there is no pickle: ``cannot be read: REASON``, or the same with ``pickled`` or ``written``."""
    path: str | None = None
    """The blob with the pickle, which was not read."""


class JobCalls(NamedTuple):
    """The calls of a job: number, whether they are a chunk of a ``map``, and the outcomes of those that have ended."""

    number: int
    chunk: bool
    stored: list[StoredValue]


def insert_payloads(db: Database, connection: sqlite3.Connection, payloads: Mapping[int, Payload]) -> None:
    """Store the payloads of new jobs (by seq) in the current transaction."""
    connection.executemany(Q.keep_payload, [(seq, payload.body) for seq, payload in payloads.items()])
    insert_blobs(db, connection, {seq: payload.blobs for seq, payload in payloads.items()})


def replace_payloads(db: Database, connection: sqlite3.Connection, payloads: Mapping[int, Payload]) -> None:
    """Replace the payloads of jobs that run again; values that they have already are kept."""
    connection.execute(Q.forget_payload_blobs, {"seqs": json.dumps(list(payloads))})
    insert_payloads(db, connection, payloads)


def record_values(connection: sqlite3.Connection, ended: Sequence[EndedAttempt]) -> None:
    """Store the values of ended attempts in the current transaction."""
    values = [(each.lease, value) for each in ended for value in each.ending.values]
    connection.executemany(Q.keep_value, [(lease.seq, lease.number, *value) for lease, value in values])
    files = [(lease.seq, value.sha256, value.size) for lease, value in values if value.sha256 is not None]
    connection.executemany(Q.keep_blob, [(sha, size, None) for _, sha, size in files])
    connection.executemany(Q.use_blob, [(seq, sha) for seq, sha, _ in files])


def read_calls(db: Database, job_id: str) -> JobCalls:
    """Return the calls of a Python job; raise :class:`NotFound` if it was deleted."""
    with db.read() as connection:
        found = connection.execute(Q.count_calls, {"id": job_id}).fetchone()
        if found is None:
            raise not_found(connection, job_id)
        number, chunk = found
        rows = connection.execute(Q.values_of_job, {"id": job_id}).fetchall()
    folder = blob_dir(db.output_dir)
    values = [
        StoredValue(call, bool(raised), body, note, None if sha256 is None else f"{folder}/{sha256}")
        for call, raised, body, sha256, note in rows
    ]
    return JobCalls(number, bool(chunk), values)


def load_stored(row: tuple[int, int, bytes | None, str | None, str | None], folder: str) -> StoredValue:
    """Return the value of a row, with the content of its blob."""
    call, raised, body, sha256, note = row
    try:
        return StoredValue(call, bool(raised), body if sha256 is None else read_blob(f"{folder}/{sha256}"), note)
    except OSError as error:
        return StoredValue(call, bool(raised), error=f"cannot be read: {error.filename}: {error.strerror}")


def load_call(db: Database, lease: Lease | JobRecord, *, read_files: bool = False) -> dict[str, Any]:
    """Return all that the process of a Python job needs, as values that ``marshal`` can write.

    It is the payload with kind, interpreter, blobs and values of other jobs; ``done`` are the calls that have returned.
    A blob or a value is its bytes or, if large and unless ``read_files``, the path of its file; that of a command is
    JSON.

    Raises
    ------
    LookupError
        The payload, or the value of a job that it needs, does not exist.
    OSError
        With ``read_files``: a file cannot be read.
    """
    folder = blob_dir(db.output_dir)
    with db.read() as connection:
        row = connection.execute(Q.payload, {"seq": lease.seq}).fetchone()
        if row is None:
            msg = "its payload does not exist"
            raise LookupError(msg)
        payload = json.loads(row[0])
        done = [call for (call,) in connection.execute(Q.returned_calls, {"seq": lease.seq})]
        blobs = {
            sha: f"{folder}/{sha}" if body is None else body
            for sha, body in connection.execute(Q.blobs_of_job, {"seq": lease.seq})
        }
        jobs = {name: _value_of(connection, name, db.output_dir) for name in payload["jobs"]}
    if read_files:
        blobs = {sha: _read(body) for sha, body in blobs.items()}
        jobs = {name: {**found, "pickles": [*map(_read, found.get("pickles", ()))]} for name, found in jobs.items()}
    return {
        **payload,
        "kind": lease.kind,
        "name": lease.command,
        "runtime": _parse_runtime(blobs.pop(payload["runtime"])),
        "done": done,
        "blobs": blobs,
        "jobs": jobs,
    }


@lru_cache(maxsize=8)
def _parse_runtime(raw: bytes) -> dict[str, Any]:
    """Return the runtime that many calls share; the caller must not change it."""
    found: dict[str, Any] = json.loads(raw)
    return found


def _read(source: bytes | str) -> bytes:
    return source if isinstance(source, bytes) else read_blob(source)


def _value_of(connection: sqlite3.Connection, job_id: str, spool: Path) -> dict[str, Any]:
    """Return the value of a completed job for the process of another one."""
    job = connection.execute(Q.result_of_job, {"id": job_id}).fetchone()
    if job is None:
        msg = f"job {job_id}, whose value it needs, was deleted"
        raise LookupError(msg)
    kind, result, chunk = job
    if kind == Kind.COMMAND:
        return {"json": result or "null"}
    if kind == Kind.NOTEBOOK:
        path = _notebook_path(connection, job_id, spool)
        return {"json": "null"} if path is None else {"path": str(path)}
    rows = connection.execute(Q.values_of_job, {"id": job_id}).fetchall()
    folder = blob_dir(spool)
    for *_, body, sha, note in rows:
        if body is sha is None:
            msg = f"the value of job {job_id}, which it needs, does not exist: {note}"
            raise LookupError(msg)
    found = [f"{folder}/{sha}" if body is None else body for _, raised, body, sha, _ in rows if not raised]
    return {"pickles": found, "chunk": bool(chunk)}


def executed_notebook(db: Database, job_id: str) -> Path | None:
    """Return the path of the executed notebook of the newest attempt; None if there is no such file."""
    with db.read() as connection:
        return _notebook_path(connection, job_id, db.output_dir)


def _notebook_path(connection: sqlite3.Connection, job_id: str, spool: Path) -> Path | None:
    row = connection.execute(Q.executed_notebook, {"id": job_id}).fetchone()
    path = None if row is None else Path(artifact_dir(spool, row[0]), row[1])
    return path if path is not None and path.is_file() else None


def parse_reply(text: str) -> tuple[list[CallValue], dict[str, Any]]:
    """Return the values in the lines that a Python job has written, and the facts of the last lines."""
    import binascii

    values: list[CallValue] = []
    facts: dict[str, Any] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            body = None if entry.get("pickle") is None else binascii.a2b_base64(entry["pickle"], strict_mode=True)
            if "call" in entry:
                values.append(_call_value(entry, body))
            if "name" not in entry:
                facts |= entry
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
            continue  # incomplete: the process was killed, or something else has written to the file
    return values, facts


def _call_value(entry: Mapping[str, Any], body: bytes | None) -> CallValue:
    size = len(body) if body is not None else int(entry.get("size", 0))
    texts = [None if entry.get(key) is None else encodable(str(entry[key])) for key in ("name", "type", "note")]
    return CallValue(int(entry["call"]), bool(entry["raised"]), body, entry.get("sha256"), size, *texts)


def add_displays(spool: Spool, token: str, reply: str) -> str:
    """Return the reply of a cell with what the cell has displayed."""
    if (displays := spool.read_displays(token)) is None:
        return reply

    entry: dict[str, Any] = {"call": DISPLAYS, "raised": False, "size": len(displays)}
    if len(displays) <= MAX_INLINE_BYTES:
        entry["pickle"] = b2a_base64(displays, newline=False).decode("ascii")
    else:
        entry["sha256"] = digest(displays)
        try:
            adopt_blob(blob_dir(spool.folder), entry["sha256"], f"{spool.path(token, 'displays')}")
        except OSError as error:
            entry = {**entry, "sha256": None, "note": f"cannot be written: {error.strerror}"}
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
