"""Runs the calls of a Python job in a process of its own: ``python -m queuectl_nb.child.call FD``.

The request is read from the descriptor: what ``store.calls.load_call`` returns, the path of the reply and the
interpreter's ``sys.path``. The reply is a file with a line of JSON for each call that has ended, written at once, so
that calls which have returned are not repeated if the process dies.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import importlib
import io
import json
import marshal
import os
import pickle
import random
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.blob import MAX_INLINE_BYTES, digest, read_blob, write_blob
from queuectl_nb.child.control import GiveUp, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["exit_process", "main", "run"]

MAX_REPR_CHARS = 1000
MAX_RESULT_CHARS = 64 * 1024


class _Unpicklable(Exception):
    """A value cannot be pickled."""


class _ValueMissing(Exception):
    """Something that the job needs cannot be read."""


def main(handle: int) -> int:
    """Read the request and run its calls; return the exit code of the process."""
    with os.fdopen(handle, "rb") as file:
        request = marshal.load(file)  # noqa: S302 - written by the worker
    return run(request)


def run(request: Mapping[str, Any]) -> int:
    """Run the calls of ``request``; return the exit code: 0 if all of them returned."""
    if (error := _version_error(request["runtime"])) is not None:
        _write_reply(request["reply"], {"not_started": error})
        return 1
    sys.path[:] = request["runtime"]["sys_path"]
    sys.argv = [request["name"]]
    sys.modules["__main__"] = ModuleType("__main__")  # nothing is found there that the enqueuer does not have
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    job = _CallRunner(request)
    code = job.run()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return code


def _version_error(runtime: Mapping[str, Any]) -> str | None:
    """Return why this interpreter cannot run what another one has pickled."""
    enqueued, here = runtime["python"], list(sys.version_info[:3])
    if enqueued[:2] == here[:2]:
        return None
    names = [".".join(map(str, version)) for version in (enqueued, here)]
    return f"it was enqueued by Python {names[0]}, and {runtime['executable']} is Python {names[1]} now"


def _write_reply(path: str, entry: Mapping[str, Any]) -> None:
    """Append a line to the reply."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        line = json.dumps(entry).encode() + b"\n"
        while line:
            line = line[os.write(handle, line) :]
    finally:
        os.close(handle)


class _CallRunner:
    """Runs the calls of one job and writes its reply."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._modules = set(sys.modules)
        self._pid = os.getpid()

    def run(self) -> int:
        """Run all calls; return the exit code."""
        calls: Sequence[tuple[int, Any]] = self._request["calls"]
        failed: list[dict[str, Any]] = []
        code = 0
        try:
            function = self._function()
        except BaseException as error:  # noqa: BLE001 - whatever importing it raises
            self._write({"final": isinstance(error, ImportError | AttributeError), **self._describe(error)})
            return 1
        for number, call in calls:
            entry, exit_code = self._call(function, number, call)
            if entry.get("error") is not None:
                failed.append(entry)
                code = code or exit_code
            self._write(entry)
        if len(self._request["calls"]) > 1 and failed:
            self._write(_summary(failed, len(calls)))
        self._write({"modules": sorted({name.partition(".")[0] for name in set(sys.modules) - self._modules})})
        return code

    def _call(self, function: Callable[..., Any], number: int, call: Any) -> tuple[dict[str, Any], int]:
        """Make one call; return the line of the reply, and the exit code if it failed."""
        try:
            arguments = [self._load(each) for each in call[0]]
            keywords = {name: self._load(each) for name, each in call[1].items()}
            value = function(*arguments, **keywords)
            if hasattr(value, "__await__") and hasattr(value, "cr_code"):  # the function is async
                import asyncio

                value = asyncio.run(value)
        except SystemExit as error:
            if error.code is None or error.code == 0:
                return self._value(number, None), 0
            if not isinstance(error.code, int):
                sys.stderr.write(f"{error.code}\n")
            code = error.code if isinstance(error.code, int) else 1
            return {"call": number, "raised": True, "error": f"exit code {code & 255}"}, code & 255 or 1
        except BaseException as error:  # noqa: BLE001 - of the user's function
            return {"call": number, "raised": True, **self._describe(error)}, 1
        try:
            return self._value(number, value), 1
        except _Unpicklable as error:
            text = f"{type(value).__name__}: {error}"
            sys.stderr.write(f"the value cannot be pickled: {text}\n")
            facts = {"error": f"the value cannot be pickled: {text}", "final": True, "repr": _repr(value)}
        except OSError as error:  # the disk is full
            facts = {"error": f"the value cannot be written: {error.strerror}", "repr": _repr(value)}
        return {"call": number, "raised": True, **facts}, 1

    # ------------------------------------------------------------------ values

    def _value(self, number: int, value: object) -> dict[str, Any]:
        entry: dict[str, Any] = {"call": number, "raised": False, **self._store(_dump(value)), "repr": _repr(value)}
        if self._request["single"]:
            try:
                text = json.dumps(value)
            except (TypeError, ValueError, RecursionError):
                text = None
            entry["result"] = text if text is not None and len(text) <= MAX_RESULT_CHARS else None
        return entry

    def _describe(self, error: BaseException) -> dict[str, Any]:
        """Print the traceback of an exception; return how the reply describes it."""
        import traceback

        lines = traceback.format_exception(type(error), error, _own_frames(error.__traceback__))
        text = "".join(lines)
        sys.stderr.write(text)
        sys.stderr.flush()
        if isinstance(error, _ValueMissing):  # another attempt would not find it either
            return {"error": f"{error}", "final": True}
        facts: dict[str, Any] = {"error": "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]}
        if isinstance(error, Retry):
            facts["retry_after"] = error.after
            facts["error"] = f"Retry: {error}" if str(error) else "Retry"
        if isinstance(error, GiveUp):
            facts |= {"final": True, "error": f"GiveUp: {error}" if str(error) else "GiveUp"}
        with contextlib.suppress(BaseException):  # of the user's class; then its text has to do
            body = _dump((error, text))
            pickle.loads(body)  # noqa: S301 - an exception may pickle and not unpickle
            facts |= self._store(body)
        return facts

    def _store(self, body: bytes) -> dict[str, Any]:
        """Return how the reply refers to a pickle: in itself, or in a file that has been written."""
        if len(body) <= MAX_INLINE_BYTES:
            return {"pickle": base64.b64encode(body).decode("ascii")}
        sha256 = digest(body)
        write_blob(self._request["blob_dir"], sha256, body)
        return {"sha256": sha256, "size": len(body)}

    def _write(self, entry: Mapping[str, Any]) -> None:
        if os.getpid() == self._pid:  # not a process that the function has forked, and that returned here
            _write_reply(self._request["reply"], entry)

    # ------------------------------------------------------------------ arguments

    def _function(self) -> Callable[..., Any]:
        """Return the function from its pickle, or import it by its name."""
        item = self._request["function"]
        if "reference" not in item:
            return self._load(item)  # type: ignore[no-any-return]
        module, _, names = item["reference"].partition(":")
        sys.path.insert(0, os.getcwd())
        found: Any = importlib.import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]

    def _load(self, item: Any) -> Any:
        """Return an argument from its pickle, which is text in the payload or a blob."""
        return _Unpickler(base64.b64decode(item) if isinstance(item, str) else self._blob(item["sha256"]), self).load()

    def _blob(self, sha256: str) -> bytes:
        if sha256 not in self._request["blobs"]:
            msg = f"blob {sha256[:12]} of the payload does not exist"
            raise _ValueMissing(msg)
        return _read(self._request["blobs"][sha256])

    def value_of(self, ids: Sequence[str], *, single: bool) -> Any:
        """Return the value of a job that this one depends on, or those of several in a list."""
        values: list[Any] = []
        for job_id in ids:
            found = self._request["jobs"][job_id]
            if "json" in found:
                values.append(json.loads(found["json"]))
                continue
            own = [pickle.loads(_read(each)) for each in found["pickles"]]  # noqa: S301 - stored by the same user
            if single and found["chunk"]:
                return own
            values += own
        return values[0] if single else values


class _Unpickler(pickle.Unpickler):
    """Unpickles an argument, with the values of jobs in the place of these jobs."""

    def __init__(self, body: bytes, runner: _CallRunner) -> None:
        super().__init__(io.BytesIO(body))
        self._runner = runner

    def persistent_load(self, pid: Any) -> Any:
        ids, single = pid
        return self._runner.value_of(ids, single=single)


def _read(source: bytes | str) -> bytes:
    """Return bytes, or the content of the blob file with this path, which is checked."""
    if isinstance(source, bytes):
        return source
    try:
        return read_blob(source)
    except OSError as error:
        msg = f"{source}: {error.strerror}"
        raise _ValueMissing(msg) from None


def _dump(value: object) -> bytes:
    """Pickle a value; what the module ``__main__`` defines by value, with cloudpickle."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - any class can raise anything
        try:
            import cloudpickle

            return bytes(cloudpickle.dumps(value))
        except Exception as error:  # noqa: BLE001
            raise _Unpicklable(" ".join(str(error).split())) from None


def _repr(value: object) -> str:
    try:
        return repr(value)[:MAX_REPR_CHARS]
    except Exception as error:  # noqa: BLE001 - of the user's class
        return f"<{type(value).__name__}: repr() raised {type(error).__name__}>"


def _summary(failed: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return the outcome of a job of several calls of which some failed."""
    after = [entry["retry_after"] for entry in failed if entry.get("retry_after") is not None]
    return {
        "error": f"{len(failed)} of {count} calls failed: {failed[0]['error']}",
        "retry_after": max(after, default=None),
        "final": all(entry.get("final") for entry in failed),
        "repr": None,
    }


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the user's function on."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def exit_process(code: int) -> None:
    """End the process like an interpreter that has run a program, without tearing down the modules."""
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    os._exit(code)


if __name__ == "__main__":
    from queuectl_nb.child import call  # noqa: PLW0406 - under the name by which the runner imports it

    call.exit_process(call.main(int(sys.argv[1])))
