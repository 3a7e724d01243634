"""Reads and copies the artifacts of a job."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.errors import BadEnvironment, NotFound
from queuectl_nb.store.artifacts import Artifact, artifact_attempts, artifact_dir, list_artifacts, open_artifact
from queuectl_nb.store.os_errors import os_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.store.store import Store

__all__ = [
    "JobArtifacts",
    "copy_artifact",
    "find_artifacts",
    "open_named",
    "paths_by_name",
    "read_artifacts",
]

MAX_NAMED = 5
"""Maximum number of names in an error message."""


class JobArtifacts(NamedTuple):
    """The artifacts of an attempt; ``number`` None: no attempt of the job has any."""

    job_id: str
    number: int | None
    folder: str
    files: Sequence[Artifact]
    note: str | None = None
    """What was not kept, and why."""


def find_artifacts(store: Store, job_id: str, number: int | None = None) -> JobArtifacts:
    """Return the artifacts of an attempt, by default of the newest one that has any, a running one included.

    Raises :class:`NotFound` for an unknown job or attempt.
    """
    store.jobs.get(job_id)
    if number is not None:
        known = [attempt.number for attempt in store.reader.attempts_without_output(job_id)]
        if number not in known:
            shown = ", ".join(map(str, known)) or "none yet"
            raise NotFound(f"job {job_id} has no attempt {number}; attempts: {shown}")
    return read_artifacts(store, job_id, number)


def read_artifacts(store: Store, job_id: str, number: int | None = None) -> JobArtifacts:
    """Return the artifacts of an attempt like :func:`find_artifacts`; an unknown one has none."""
    found = JobArtifacts(job_id, None, "", ())
    for attempt, token, note in artifact_attempts(store.db, job_id):
        if number is None or number == attempt:
            folder = artifact_dir(store.spool.folder, token)
            files = list(list_artifacts(folder))
            if files:
                return JobArtifacts(job_id, attempt, folder, files, note)
            if note and found.note is None:
                found = JobArtifacts(job_id, attempt, folder, (), note)
    return found


def paths_by_name(artifacts: JobArtifacts) -> dict[str, Path]:
    """Return the path of each artifact by its name."""
    return {each.name: Path(artifacts.folder, each.name) for each in artifacts.files}


def open_named(artifacts: JobArtifacts, name: str) -> int:
    """Open an artifact for reading; raise :class:`NotFound` for an unknown name."""
    try:
        return open_artifact(artifacts.folder, name)
    except FileNotFoundError:
        names = [each.name for each in artifacts.files]
        shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
        where = f"job {artifacts.job_id}" + ("" if artifacts.number is None else f", attempt {artifacts.number}")
        raise NotFound(f"{where} has no artifact {name!r:.200}; artifacts: {shown or 'none'}") from None
    except OSError as error:
        raise BadEnvironment(f"cannot read artifact {name!r:.200}: {os_reason(error)}") from error


def copy_artifact(artifacts: JobArtifacts, name: str, target: Path) -> Path:
    """Copy an artifact into the folder ``target``, where it replaces a file of its name; return its path."""
    path = target / name
    with os.fdopen(open_named(artifacts, name), "rb") as source:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name[:50]}.", delete=False) as draft:
                try:
                    shutil.copyfileobj(source, draft)
                    os.fchmod(draft.fileno(), 0o644 & ~_umask())
                    os.replace(draft.name, path)
                except BaseException:
                    os.unlink(draft.name)
                    raise
        except OSError as error:
            raise BadEnvironment(f"cannot write {path}: {os_reason(error)}") from error
    return path


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
