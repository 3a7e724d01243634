"""The reply of a Python job: lines of JSON, written as soon as they are known: the process may die."""

from __future__ import annotations

import _thread
import contextlib
import errno
import io
import json
import os
import pickle
import re
import sys
import time
from binascii import b2a_base64
from itertools import islice
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, BinaryIO

from queuectl_nb.child import main_module
from queuectl_nb.child.blob import MAX_INLINE_BYTES, BlobWriter, write_new_blob
from queuectl_nb.child.control import GiveUp, Retry
from queuectl_nb.child.payload import ValueMissing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["MAX_REPR_CHARS", "Reply", "Unpicklable", "print_error", "short_repr"]

MAX_REPR_CHARS = 1000
MAX_RESULT_CHARS = 64 * 1024
MAX_PICKLED_RESULT_BYTES = 16 * MAX_RESULT_CHARS
"""No result of that length has a larger pickle."""
MAX_REPLY_BYTES = 8 * 1024 * 1024
"""Pickles of a reply in all; further ones are files, because the worker reads the reply into memory."""
DISK_FULL_RETRY_S = 0.2
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_COLLECTIONS = frozenset({bytearray, bytes, dict, list, str, tuple})
"""Types of which the repr of the first items is the beginning of the repr."""
_CONSTANTS = {None: "null", True: "true", False: "false"}


class Unpicklable(Exception):
    """A value cannot be pickled."""


class Reply:
    """Writes the reply of a job to the file ``path``, and large values to ``blob_dir``."""

    def __init__(self, path: str, blob_dir: str) -> None:
        self._path = path
        self._blob_dir = blob_dir
        self.pid = os.getpid()
        self.by_value = False
        """Whether the main module has names that only this process knows."""
        self._lines = ""
        self._inline_bytes = 0

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append a line."""
        self.add(entry)
        self.flush()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a line with the next :meth:`flush`, because nothing that can fail comes before it."""
        self._lines += _encode(entry) + "\n"

    def flush(self) -> None:
        """Append the lines of :meth:`add`; ignored in a process that the job has forked, and that returned here."""
        lines, self._lines = self._lines.encode(), ""
        if not lines or os.getpid() != self.pid:
            return
        while lines:
            try:
                lines = lines[self._append(lines) :]
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                time.sleep(DISK_FULL_RETRY_S)  # rather than lose what may have taken hours

    def _append(self, lines: bytes) -> int:
        """Append to the file and return how much was written."""
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return os.write(handle, lines)
        finally:
            os.close(handle)

    def value(self, number: int, value: object, *, as_json: bool) -> dict[str, Any]:
        """Return the line for the value of a call; raise :class:`Unpicklable` or OSError."""
        entry = {"call": number, "raised": False, **self.pickle(value), "repr": short_repr(value)}
        if as_json:
            try:
                text = _encode(value) if entry.get("size", 0) <= MAX_PICKLED_RESULT_BYTES else None
            except Exception:  # noqa: BLE001 - of the user's class
                text = None
            entry["result"] = text if text is not None and len(text) <= MAX_RESULT_CHARS else None
        return entry

    def exception(self, error: BaseException, trace: TracebackType | None) -> dict[str, Any]:
        """Print the traceback of an exception; return how a line describes it."""
        import traceback

        text = "".join(traceback.format_exception(type(error), error, trace))
        print_error(text)
        if isinstance(error, ValueMissing):  # another attempt would not find it either
            return {"error": f"{error}", "final": True}
        line = _first_line(traceback.format_exception_only(error))
        facts: dict[str, Any] = {"error": line}
        _, colon, message = line.partition(": ")
        if isinstance(error, Retry):
            facts |= {"retry_after": error.after, "error": f"Retry{colon}{message}"}
        if isinstance(error, GiveUp):
            facts |= {"final": True, "error": f"GiveUp{colon}{message}"}
        with contextlib.suppress(BaseException):  # of the user's class; then its text has to do
            body = self._dump((error, text))
            if isinstance(pickle.loads(body)[0], BaseException):
                facts |= self.store(body)
        return facts

    @staticmethod
    def exit(error: SystemExit) -> tuple[dict[str, Any], int]:
        """Return how a line describes ``sys.exit()`` with a code other than 0, and the exit code."""
        if isinstance(error.code, int):
            code = error.code & 255 or 1
            return {"error": f"exit code {code}"}, code
        import traceback

        lines = traceback.format_exception_only(error)
        print_error("".join(lines).partition(": ")[2])
        _, colon, message = _first_line(lines).partition(": ")
        return {"error": f"exit code 1{colon}{message}"}, 1

    def pickle(self, value: object) -> dict[str, Any]:
        """Pickle a value and return how a line refers to it; raise :class:`Unpicklable` or OSError."""
        if not self.by_value:
            return self.store(self._dump(value))
        with contextlib.ExitStack() as files:
            writer = BlobWriter(self._blob_dir, files)  # a large value of a cell is not in memory twice
            _dump_by_value(value, writer)
            if writer.size <= MAX_INLINE_BYTES:
                return self.store(writer.body)
            return {"sha256": writer.finish(), "size": writer.size}

    def store(self, body: bytes) -> dict[str, Any]:
        """Return how a line refers to a pickle: in itself, or in a file that has been written."""
        self._inline_bytes += len(body)
        if len(body) <= MAX_INLINE_BYTES and self._inline_bytes <= MAX_REPLY_BYTES:
            return {"pickle": b2a_base64(body, newline=False).decode("ascii")}
        return {"sha256": write_new_blob(self._blob_dir, body), "size": len(body)}

    def _dump(self, value: object) -> bytes:
        """Pickle a value; what the module ``__main__`` defines by value, with cloudpickle."""
        if not self.by_value:
            main_module.hidden = _thread.get_ident()
            try:
                return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except BaseException:  # noqa: BLE001, S110 - any class can raise anything
                pass
            finally:
                main_module.hidden = 0
        file = io.BytesIO()
        _dump_by_value(value, file)
        return file.getvalue()


def _dump_by_value(value: object, file: BinaryIO | BlobWriter) -> None:
    from queuectl_nb.child.pickler import Pickler

    try:
        Pickler(file).dump(value)
    except BaseException as error:
        if getattr(file, "error", None) is error:
            raise
        raise Unpicklable(" ".join(str(error).split())) from None


def print_error(text: str) -> None:
    """Write to standard error, unless the job has closed or replaced it."""
    with contextlib.suppress(Exception):
        sys.stderr.write(text)
        sys.stderr.flush()


def _first_line(lines: list[str]) -> str:
    """Return type and message of an exception, without further lines of the message and notes."""
    text = next(line for line in lines if not line.startswith(" "))  # before it: the source of a SyntaxError
    return re.sub(r":\s+", ": ", text.strip(), count=1).splitlines()[0]


def _encode(value: object) -> str:
    """Return a value as JSON; simple ones without the code of :mod:`json`, which a fork would have to copy."""
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)  # type: ignore[arg-type]
    if kind is int or (kind is float and value - value == 0):  # type: ignore[operator]  # no NaN and no infinity
        return repr(value)
    if value is None or value is True or value is False:
        return _CONSTANTS[value]
    if kind is dict and {type(key) for key in value} == {str}:  # type: ignore[attr-defined]
        return f"{{{', '.join([f'{encode_basestring_ascii(key)}: {_encode(value[key])}' for key in value])}}}"  # type: ignore[attr-defined,index]
    return json.dumps(value)


def short_repr(value: object) -> str:
    """Return the beginning of the repr of a value."""
    kind = type(value)
    try:
        if kind in _COLLECTIONS and len(value) > MAX_REPR_CHARS:  # type: ignore[arg-type]
            value = dict(islice(value.items(), MAX_REPR_CHARS)) if kind is dict else value[:MAX_REPR_CHARS]  # type: ignore[attr-defined,index]
        return repr(value)[:MAX_REPR_CHARS]
    except BaseException as error:  # noqa: BLE001 - of the user's class
        return f"<{kind.__name__}: repr() raised {type(error).__name__}>"
