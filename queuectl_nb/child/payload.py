"""Reads what the payload of a Python job refers to: pickles with source lines, blobs and values of other jobs."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from binascii import a2b_base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from queuectl_nb.child.blob import open_blob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = ["NAMESPACE", "Arguments", "ValueMissing"]

NAMESPACE = "namespace"
"""Placeholder for the variables of the notebook in the pickle of a function that it defines."""


class ValueMissing(Exception):
    """Something that the job needs cannot be read."""


class Arguments:
    """Loads the arguments of the job in ``request``; functions among them get ``namespace`` as their globals."""

    def __init__(self, request: Mapping[str, Any], namespace: dict[str, Any] | None = None) -> None:
        self.namespace = namespace
        self._blobs = request["blobs"]
        self._jobs = request["jobs"]

    def load(self, item: str | Mapping[str, str]) -> Any:
        """Return an argument from its pickle, which is text in the payload or a blob."""
        with io.BytesIO(a2b_base64(item)) if isinstance(item, str) else self._open(item["sha256"]) as file:
            special = self._jobs or self.namespace is not None
            try:
                value = _Unpickler(file, self).load() if special else pickle.load(file)
            except SystemExit as error:  # raised by the function itself, it would end the call
                msg = f"an argument cannot be unpickled: it calls sys.exit({error.code!r})"
                raise pickle.UnpicklingError(msg) from error
            if lines := file.read():
                _add_source_lines(pickle.loads(lines))
        return value

    def blob(self, sha256: str) -> bytes:
        """Return the content of a blob."""
        with self._open(sha256) as file:
            return file.read()

    def _open(self, sha256: str) -> AbstractContextManager[BinaryIO]:
        """Open a blob as a file, so that a large one is not in memory twice."""
        if sha256 not in self._blobs:
            msg = f"blob {sha256[:12]} of the payload does not exist"
            raise ValueMissing(msg)
        source = self._blobs[sha256]
        return _open(source)

    def value_of(self, ids: Sequence[str], *, single: bool) -> Any:
        """Return the value of a job that this one depends on, or those of several in a list."""
        values: list[Any] = []
        for job_id in ids:
            found = self._jobs[job_id]
            if "json" in found:
                values.append(json.loads(found["json"]))
                continue
            if "path" in found:
                values.append(Path(found["path"]))
                continue
            own = [_load(each) for each in found["pickles"]]
            if single and found["chunk"]:
                return own
            values += own
        return values[0] if single else values


class _Unpickler(pickle.Unpickler):
    """Unpickles an argument, with the values of jobs in place of these jobs."""

    def __init__(self, file: BinaryIO, arguments: Arguments) -> None:
        super().__init__(file)
        self._arguments = arguments

    def persistent_load(self, pid: Any) -> Any:
        if pid == NAMESPACE:
            return self._arguments.namespace
        ids, single = pid
        return self._arguments.value_of(ids, single=single)


def _load(source: bytes | str) -> Any:
    with _open(source) as file:
        return pickle.load(file)


def _open(source: bytes | str) -> AbstractContextManager[BinaryIO]:
    """Open bytes, or the blob file with this path, which is checked."""
    return io.BytesIO(source) if isinstance(source, bytes) else _open_file(source)


@contextlib.contextmanager
def _open_file(path: str) -> Iterator[BinaryIO]:
    try:
        with open_blob(path) as file:
            yield file
    except OSError as error:
        if error.filename != path:  # of what is unpickled
            raise
        msg = f"{path}: {error.strerror}"
        raise ValueMissing(msg) from None


_source_lines: dict[str, dict[int, str]] = {}


def _add_source_lines(new: dict[str, dict[int, str]]) -> None:
    """Let tracebacks and ``inspect.getsource`` find lines, by name of the file and number; the others are empty."""
    import linecache

    for name, lines in new.items():
        known = _source_lines.setdefault(name, lines)
        known |= lines
        texts = ["\n"] * max(known)
        for number in known:
            texts[number - 1] = known[number]
        linecache.cache[name] = (0, None, texts, name)
