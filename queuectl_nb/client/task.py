"""Functions as jobs: a task is a function with options for its jobs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from queuectl_nb.client.batch import Batch
from queuectl_nb.client.bulk_rows import frame_rows, is_frame
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.client.function import Call, FunctionPickler
from queuectl_nb.client.job import Job
from queuectl_nb.client.payload import make_python_spec
from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import SPEC_FIELDS
from queuectl_nb.model.validation import parse_choice, parse_int, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobSpec

__all__ = ["JOB_OPTIONS", "Task", "make_call_spec"]

P = ParamSpec("P")
R = TypeVar("R")
JOB_OPTIONS = tuple(name for name in SPEC_FIELDS if name not in {"command", "shell"})
"""Fields that a Python job can have."""
TASK_OPTIONS = (*JOB_OPTIONS, "resume")


class Task(Generic[P, R]):
    """A function with options for its jobs. Calling it calls the function here and now.

    Parameters
    ----------
    queue, function
        Where its jobs go, and what they call.
    options
        Fields of a job: ``priority``, ``timeout``, ``max_retries``, ``tags`` …; by default ``timeout`` is 0 (no limit).
    """

    def __init__(self, queue: Queue, function: Callable[P, R], options: Mapping[str, Any]) -> None:
        for name in options:
            parse_choice("job option", name, TASK_OPTIONS)
        self.queue = queue
        self.function: Callable[P, R] = function.function if isinstance(function, Task) else function
        self.options = dict(options)
        functools.update_wrapper(self, self.function, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in this process."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Task[..., R]:
        """Return the task of a method, bound to ``instance``."""
        return self if instance is None else Task(self.queue, MethodType(self.function, instance), self.options)

    def __reduce__(self) -> tuple[type[Task[P, R]], tuple[Any, ...]]:
        """Pickle queue, function and options."""
        return Task, (self.queue, self.function, self.options)

    def __repr__(self) -> str:
        return f"<Task {getattr(self.function, '__name__', self.function)!s} of {self.queue.path}>"

    def submit(self, /, *args: Any, **kwargs: Any) -> Job:
        """Add a job that calls the function with these arguments, and return it.

        A job or batch among the arguments, also directly in a list, tuple or dict, is replaced by its value; the new
        job waits for it. Raises ``BadInput`` if an argument cannot be pickled.
        """
        pickler = FunctionPickler(self.queue.path, self.function)
        spec = self._make_spec(pickler, [Call(args, kwargs)], chunk=False, resume=self._resume)
        return Job(self.queue, enqueue_specs(self.queue, [spec], resume=self._resume).ids[0])

    def map(self, *iterables: Iterable[Any], chunksize: int = 1, resume: bool = False) -> Batch:
        """Add a job per call, in one transaction, with the arguments taken from ``iterables`` like ``map``.

        A DataFrame alone means a call per row, with its columns as keywords. ``chunksize`` calls make one job; if some
        of them fail, only these are repeated. With ``resume`` only missing work is added; ``print(batch)`` says how
        much.
        """
        resume = resume or self._resume
        if "key" in self.options:
            msg = "key names one job; use map(..., resume=True), which makes a key for each"
            raise BadInput(msg)
        size = parse_int("chunksize", chunksize, 1, 100_000)
        if not iterables:
            msg = "map needs at least one iterable of arguments"
            raise BadInput(msg)
        for each in iterables:
            if not isinstance(each, Iterable):
                msg = f"map takes iterables of arguments, such as a list, not {quoted(each)}"
                raise BadInput(msg)
        calls: Iterable[Call]
        if len(iterables) == 1 and is_frame(frame := iterables[0]):
            calls = (Call((), row) for row in frame_rows(frame))
        else:
            calls = (Call(arguments) for arguments in zip(*iterables, strict=False))
        pickler = FunctionPickler(self.queue.path, self.function)
        if size == 1:
            specs = [self._make_spec(pickler, [call], chunk=False, resume=resume) for call in calls]
        else:
            parts = _split(list(calls), size)
            specs = [self._make_spec(pickler, part, chunk=True, resume=resume) for part in parts]
        return Batch(self.queue, *enqueue_specs(self.queue, specs, resume=resume))

    @property
    def _resume(self) -> bool:
        return bool(self.options.get("resume"))

    def _make_spec(self, pickler: FunctionPickler, calls: Sequence[Call], *, chunk: bool, resume: bool) -> JobSpec:
        options = {name: value for name, value in self.options.items() if name != "resume"}
        return make_call_spec(pickler, calls, options, chunk=chunk, resume=resume)


def make_call_spec(
    pickler: FunctionPickler, calls: Sequence[Call], options: Mapping[str, Any], *, chunk: bool, resume: bool = False
) -> JobSpec:
    """Return the spec of a job that makes ``calls``."""
    text, payload = pickler.text(calls), pickler.payload(calls, chunk=chunk)
    spec = make_python_spec(Kind.FUNCTION, text, payload, options)
    if not resume and spec.key is None:
        return spec
    if pickler.work is None:
        from queuectl_nb.client.keys import FunctionWork

        pickler.work = FunctionWork(pickler.function, pickler.name, keyed=spec.key is not None)
    return spec._replace(identity=pickler.work.of_calls(calls))


def _split(calls: Sequence[Call], size: int) -> list[Sequence[Call]]:
    return [calls[start : start + size] for start in range(0, len(calls), size)]
