"""What the payloads of all Python jobs consist of: pickled values, blobs, and the description of this interpreter."""

from __future__ import annotations

import io
import json
import linecache
import os
import pickle
import sys
from base64 import b64encode
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from queuectl_nb.child.blob import MAX_INLINE_BYTES, MIN_PARALLEL_BYTES, in_parallel
from queuectl_nb.child.payload import NAMESPACE
from queuectl_nb.child.pickler import Pickler
from queuectl_nb.client.arguments import to_python
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.enqueue import make_spec
from queuectl_nb.client.job import Job
from queuectl_nb.model.call import Blob, Payload
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from queuectl_nb.model.job import JobSpec

__all__ = ["Content", "Item", "PayloadWriter", "SourceCollector", "make_python_spec"]

MAX_SOURCE_CHARS = 64 * 1024
"""Lines of one pickle beyond this are left out."""
_NO_FILE = "<dynamic-code>"
"""What cloudpickle calls the file of each function, from version 3.1 on."""
_SCALARS = frozenset({bool, bytes, float, int, str, type(None)})

Item = str | dict[str, str]
"""How a payload refers to a value: its pickle as text, or the blob with it."""


class _ValueOf(NamedTuple):
    """Placeholder for the value of a job, or, unless ``single``, for the list of the values of several."""

    ids: tuple[str, ...]
    single: bool


class Content(io.BytesIO):
    """The content of a blob; the hash of large data is computed while they are copied."""

    _hash: Any = None
    _hashed = 0
    """Length of what the hash includes."""

    def write(self, data: Any) -> int:
        """Append bytes, or another buffer."""
        if memoryview(data).nbytes < MIN_PARALLEL_BYTES:
            return super().write(data)
        self._hash_rest()
        with in_parallel(lambda: self._hash.update(data)):
            count = super().write(data)
        self._hashed += count
        return count

    def _hash_rest(self) -> None:
        import hashlib

        self._hash = self._hash or hashlib.sha256()
        with self.getbuffer() as view:
            self._hash.update(view[self._hashed :])
            self._hashed = len(view)

    def blob(self) -> Blob:
        """Return it as a blob."""
        self._hash_rest()
        return Blob(self._hash.hexdigest(), self.getvalue())


class _Pickler(Pickler):
    def __init__(self, file: io.BytesIO, namespace: Mapping[str, Any] | None) -> None:
        super().__init__(file)
        self._globals: dict[str, Any] = {}
        """What this pickler uses in place of ``namespace`` as the globals of functions."""
        if namespace is not None:
            self.globals_ref[id(namespace)] = self._globals
        self.sources = SourceCollector()

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not CodeType:  # of a function that jobs cannot import
            return super().reducer_override(value)
        name = self.sources.add(value)
        make, parts = cloudpickle.Pickler.dispatch_table[CodeType](value)
        return make, tuple(name if each in (_NO_FILE, value.co_filename) else each for each in parts)


class _MarkingPickler(_Pickler):
    """Knows what is replaced in the job; asking for each object would take longer than pickling a list of numbers."""

    def persistent_id(self, value: object) -> tuple[object, ...] | str | None:
        if type(value) is _ValueOf:
            return tuple(value)
        return NAMESPACE if value is self._globals else None


class PayloadWriter:
    """Writes payloads for the queue at ``path``, one after the other; equal large values share a blob.

    ``namespace`` are globals that functions share with the job: its namespace takes their place.
    """

    def __init__(self, path: Path, namespace: Mapping[str, Any] | None = None) -> None:
        self._namespace = namespace
        self._path = path
        self._blobs: dict[str, Blob] = {}
        self._shared: list[str] = []
        self._runtime = self.share(Content(_runtime()))
        self.begin()

    def begin(self) -> None:
        """Begin a new payload."""
        self._used = dict.fromkeys(self._shared)
        self._jobs: dict[str, None] = {}

    def finish(self, body: Mapping[str, Any]) -> tuple[Payload, list[str]]:
        """Return the payload with ``body``, and the ids of the jobs whose values it needs."""
        jobs = list(self._jobs)
        text = json.dumps({"runtime": self._runtime, **body, "jobs": jobs})
        return Payload(text, tuple(self._blobs[sha256] for sha256 in self._used)), jobs

    def share(self, content: Content) -> str:
        """Add a blob that all following payloads need; return its name."""
        sha256 = self._add_blob(content)
        self._shared.append(sha256)
        return sha256

    def item(self, what: str | Callable[[], str], value: object) -> Item:
        """Return how the payload refers to a value; jobs in it are replaced by their values when the job runs.

        Raises :class:`BadInput` with ``what`` if it cannot be pickled, or contains a job of another queue.
        """
        if type(value) in _SCALARS:
            content = Content(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        else:
            replaced = self._replace_jobs(value)
            content = self.dump(what, replaced, marked=replaced is not value)
        return self.store(content)

    def store(self, content: Content) -> Item:
        """Return how the payload refers to a pickle."""
        if content.getbuffer().nbytes <= MAX_INLINE_BYTES:
            return b64encode(content.getbuffer()).decode("ascii")
        sha256 = self._add_blob(content)
        self._used[sha256] = None
        return {"sha256": sha256}

    def dump(self, what: str | Callable[[], str], value: object, *, marked: bool = False) -> Content:
        """Return the pickle of a value, followed by that of the source lines of functions in it.

        ``marked``: there are markers of jobs in it.
        Raises :class:`BadInput` with ``what`` if that is impossible.
        """
        file = Content()
        kind = _MarkingPickler if marked or self._namespace is not None else _Pickler
        pickler = kind(file, self._namespace)
        try:
            pickler.dump(value)
            if pickler.sources.lines:
                pickle.dump(pickler.sources.lines, file, pickle.HIGHEST_PROTOCOL)
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            msg = f"{what if isinstance(what, str) else what()} cannot be pickled: {reason}"
            raise BadInput(msg) from error
        return file

    def _replace_jobs(self, value: object, depth: int = 1) -> object:
        """Return a value with markers in place of jobs, also of those directly in a list, tuple or dict."""
        match value:
            case Job():
                return _ValueOf((self._add_job(value),), single=True)
            case Batch():
                return _ValueOf(tuple(self._add_job(job) for job in value), single=False)
        if depth and type(value) in {dict, list, tuple}:
            items: Any = value.values() if isinstance(value, dict) else value
            if any(issubclass(kind, (Job, Batch)) for kind in set(map(type, items))):
                replaced = [self._replace_jobs(each, 0) for each in items]
                return dict(zip(value, replaced, strict=True)) if isinstance(value, dict) else type(value)(replaced)  # type: ignore[call-arg]
        return value

    def _add_job(self, job: Job) -> str:
        if job.queue_path != self._path:
            msg = f"job {job.id} is in another queue, {job.queue_path}; pass its value: job.result()"
            raise BadInput(msg)
        self._jobs[job.id] = None
        return job.id

    def _add_blob(self, content: Content) -> str:
        blob = content.blob()
        self._blobs.setdefault(blob.sha256, blob)
        return blob.sha256


def _runtime() -> bytes:
    """Return the description of this interpreter, which runs the job."""
    paths = [os.path.abspath(each) for each in sys.path]
    runtime = {
        "executable": sys.executable,
        "python": list(sys.version_info[:3]),
        "cloudpickle": cloudpickle.__version__,
        "sys_path": list(dict.fromkeys(paths)),
    }
    return json.dumps(runtime, sort_keys=True).encode()


def make_python_spec(
    kind: str, command: str, payload: tuple[Payload, list[str]], options: Mapping[str, Any]
) -> JobSpec:
    """Return the spec of a Python job: ``command`` is its text, ``payload`` what :meth:`PayloadWriter.finish` returns.

    By default it has no timeout.
    """
    body, needed = payload
    fields = {key: to_python(value) for key, value in options.items() if value is not None}
    fields |= {"command": command}
    fields.setdefault("timeout", 0)
    spec = make_spec(fields)
    after = tuple(dict.fromkeys((*spec.after, *needed)))
    return spec._replace(
        kind=kind, payload=body, after=after, after_any=tuple(name for name in spec.after_any if name not in after)
    )


class SourceCollector:
    """Collects the source lines of code objects; ``lines`` has them by name of the file and number of the line."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[int, str]] = {}
        self._files: dict[str, str] = {}
        self._size = 0

    def add(self, code: CodeType) -> str:
        """Collect the lines of ``code``, as far as they are known; return the name of its file for tracebacks."""
        file = code.co_filename
        name = _cell_name(file) or file
        if name not in self._files:
            linecache.checkcache(file)
        if self._files.setdefault(name, file) != file:
            name = file  # after %reset, cells are numbered from 1 again
        lines = linecache.getlines(file)
        ends = [end for _, end, _, _ in code.co_positions() if end is not None]
        part = dict(enumerate(lines[code.co_firstlineno - 1 : max(ends, default=0)], code.co_firstlineno))
        self._size += sum(map(len, part.values()))
        if part and self._size <= MAX_SOURCE_CHARS:
            self.lines.setdefault(name, {}).update(part)
        return name


def _cell_name(file: str) -> str | None:
    """Return ``Cell In[3]`` for the file of a cell, as the notebook's own tracebacks call it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    cell = None if shell is None else shell.compile.format_code_name(file)
    return None if cell is None else " ".join(cell)
