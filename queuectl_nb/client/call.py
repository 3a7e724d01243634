"""Turns calls of Python functions into payloads: what is pickled, and what is refused."""

from __future__ import annotations

import inspect
import io
import json
import os
import pickle
import re
import reprlib
import sys
from base64 import b64encode
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from queuectl_nb.child.blob import MAX_INLINE_BYTES, digest
from queuectl_nb.client.job import Batch, Job
from queuectl_nb.model.call import Blob, Payload
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.validation import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Call", "CallPickler", "call_text"]

MAX_TEXT_CHARS = 200
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
_SCALARS = frozenset({bool, bytes, float, int, str, type(None)})


class Call(NamedTuple):
    """The arguments of one call."""

    arguments: Sequence[Any] = ()
    keywords: Mapping[str, Any] = {}


class _ValueOf(NamedTuple):
    """Stands for the value of a job, or, unless ``single``, for the list of the values of several."""

    ids: tuple[str, ...]
    single: bool


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # not typed
    def persistent_id(self, value: object) -> tuple[tuple[str, ...], bool] | None:
        return tuple(value) if type(value) is _ValueOf else None  # type: ignore[return-value]


class CallPickler:
    """Pickles calls of one function for the queue at ``path``; equal functions and large arguments share a blob."""

    def __init__(self, path: Path, function: Callable[..., Any] | str) -> None:
        """Pickle the function, or refer to it as ``module:function``; raise :class:`BadInput` if that is impossible."""
        self._path = path
        self._function = function
        self._blobs: dict[str, Blob] = {}
        self._shared = [self._add_blob(_runtime())]
        self._body: dict[str, Any] = {"runtime": self._shared[0]}
        if isinstance(function, str):
            if not _REFERENCE.match(function):
                raise BadInput(f"a function is named as MODULE:FUNCTION, such as train:main, not {quoted(function)}")
            self.name = function.partition(":")[2]
            self._body |= {"function": {"reference": function}, "preload": []}
            return
        if not callable(function):
            raise BadInput(f"a function or another callable is needed, not {type(function).__name__}")
        self.name = getattr(function, "__name__", None) or type(function).__name__
        self._shared.append(self._add_blob(self._dump(f"function {self.name}", function)))
        self._body |= {"function": {"sha256": self._shared[1]}, "preload": sorted(_imported_names(function))}

    def payload(self, calls: Sequence[Call], *, chunk: bool) -> tuple[Payload, list[str]]:
        """Return the payload of a job that makes ``calls``, and the ids of the jobs whose values they need.

        Raises
        ------
        BadInput
            An argument cannot be pickled, or is a job of another queue; the message names the parameter.
        """
        jobs: dict[str, None] = {}
        used = dict.fromkeys(self._shared)
        items = [
            (
                [self._pickle(each, jobs, used, call, index) for index, each in enumerate(call.arguments)],
                {name: self._pickle(each, jobs, used, call, name) for name, each in call.keywords.items()},
            )
            for call in calls
        ]
        body = {**self._body, "calls": items, "jobs": list(jobs), "chunk": chunk}
        return Payload(json.dumps(body), tuple(self._blobs[sha] for sha in used)), list(jobs)

    def _pickle(
        self, value: object, jobs: dict[str, None], used: dict[str, None], call: Call, place: int | str
    ) -> str | dict[str, str]:
        """Return how the payload refers to an argument: its pickle as text, or the blob with it."""
        if type(value) in _SCALARS:
            body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        else:
            replaced = self._replace_jobs(value, jobs)
            body = self._dump(lambda: f"argument {self._parameter(call, place)} of {self.name}", replaced)
        if len(body) <= MAX_INLINE_BYTES:
            return b64encode(body).decode("ascii")
        sha256 = self._add_blob(body)
        used[sha256] = None
        return {"sha256": sha256}

    def _replace_jobs(self, value: object, jobs: dict[str, None], depth: int = 1) -> object:
        """Return the argument with markers in the place of jobs, also of those directly in a list, tuple or dict."""
        match value:
            case Job():
                return _ValueOf((self._add_job(value, jobs),), single=True)
            case Batch():
                return _ValueOf(tuple(self._add_job(job, jobs) for job in value), single=False)
        if not depth:
            return value
        if type(value) in {list, tuple}:
            items = [self._replace_jobs(each, jobs, 0) for each in value]  # type: ignore[attr-defined]
            return type(value)(items) if any(type(each) is _ValueOf for each in items) else value  # type: ignore[call-arg]
        if type(value) is dict:
            values = {key: self._replace_jobs(each, jobs, 0) for key, each in value.items()}
            return values if any(type(each) is _ValueOf for each in values.values()) else value
        return value

    def _add_job(self, job: Job, jobs: dict[str, None]) -> str:
        if job.queue_path != self._path:
            msg = f"job {job.id} is in another queue, {job.queue_path}; pass its value: job.result()"
            raise BadInput(msg)
        jobs[job.id] = None
        return job.id

    def _add_blob(self, body: bytes) -> str:
        sha256 = digest(body)
        self._blobs.setdefault(sha256, Blob(sha256, body))
        return sha256

    @staticmethod
    def _dump(what: str | Callable[[], str], value: object) -> bytes:
        file = io.BytesIO()
        try:
            _Pickler(file).dump(value)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            msg = f"{what if isinstance(what, str) else what()} cannot be pickled: {reason}"
            raise BadInput(msg) from error
        return file.getvalue()

    def _parameter(self, call: Call, place: int | str) -> str:
        """Return the name of the parameter that an argument is for, or its position."""
        if isinstance(place, str):
            return place
        if isinstance(self._function, str):
            return f"{place + 1}"
        try:
            bound = inspect.signature(self._function).bind_partial(*call.arguments[: place + 1])
        except (TypeError, ValueError):
            return f"{place + 1}"
        return list(bound.arguments)[-1]


def _imported_names(function: Callable[..., Any]) -> set[str]:
    """Return the top-level modules that a function imports, or refers to by global names, as far as its code shows."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    space = getattr(function, "__globals__", {})
    found = {"cloudpickle"}  # unpickles what the notebook defines
    todo = [code] if code else []
    while todo:
        code = todo.pop()
        todo += [each for each in code.co_consts if isinstance(each, CodeType)]
        for name in code.co_names:
            value = space.get(name)
            module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or name
            found.add(str(module).partition(".")[0])
    return found


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


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6

    def repr_instance(self, value: Any, level: int) -> str:
        if isinstance(value, Job):
            return value.id
        if isinstance(value, Batch) or getattr(value, "nbytes", 0) > MAX_INLINE_BYTES:
            return f"<{type(value).__name__}>"
        return super().repr_instance(value, level)


_shorten = _Repr().repr


def call_text(name: str, calls: Sequence[Call]) -> str:
    """Return how a job is displayed: ``train(0.1, epochs=3)``; of several calls, the first one."""
    call = calls[0]
    words = [_shorten(each) for each in call.arguments]
    words += [f"{key}={_shorten(each)}" for key, each in call.keywords.items()]
    text = " ".join(f"{name}({', '.join(words)})".split())
    text = "".join(char if char.isprintable() else "?" for char in text)
    more = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
    limit = MAX_TEXT_CHARS - len(more)
    return (text if len(text) <= limit else f"{text[: limit - 1]}…") + more
