"""Turns calls of Python functions into payloads: what is pickled, and what is refused."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import reprlib
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.child.blob import MAX_INLINE_BYTES
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.job import Job
from queuectl_nb.client.payload import Content, Item, PayloadWriter
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import SPEC_FIELDS
from queuectl_nb.model.validation import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.client.keys import FunctionWork
    from queuectl_nb.model.call import Payload

__all__ = ["Call", "FunctionPickler", "call_text"]

MAX_TEXT_CHARS = 200
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


class Call(NamedTuple):
    """The arguments of one call."""

    arguments: Sequence[Any] = ()
    keywords: Mapping[str, Any] = {}


class FunctionPickler:
    """Pickles calls of one function for the queue at ``path``; equal functions and large arguments share a blob."""

    def __init__(self, path: Path, function: Callable[..., Any] | str) -> None:
        """Pickle the function, or refer to it as ``module:function``; raise :class:`BadInput` if that is impossible."""
        self.function = function
        self.work: FunctionWork | None = None
        """What the calls do, once that is needed for a key."""
        self._writer = PayloadWriter(path)
        self._signature: inspect.Signature | None = None
        self._fitting: set[tuple[int, tuple[str, ...]]] = set()
        """Numbers of positional arguments, and names of keywords, that fit the signature."""
        self._bound = Call()
        """Arguments that a partial function adds to each call."""
        self._body: dict[str, Any]
        if isinstance(function, str):
            if not _REFERENCE.match(function):
                raise BadInput(f"a function is named as MODULE:FUNCTION, such as train:main, not {quoted(function)}")
            self.name = function.partition(":")[2]
            self._body = {"function": {"reference": function}, "preload": [], "parameters": []}
            return
        if not callable(function):
            raise BadInput(f"a function or another callable is needed, not {type(function).__name__}")
        called = function
        while isinstance(called, functools.partial):
            self._bound = Call((*called.args, *self._bound.arguments), {**called.keywords, **self._bound.keywords})
            called = called.func
        self.name = getattr(called, "__name__", None) or type(called).__name__
        self._signature = _call_signature(function)
        sha256 = self._writer.share(self._dump(function))
        self._body = {
            "function": {"sha256": sha256},
            "preload": sorted(_imported_names(function)),
            "parameters": _positional_parameters(function),
        }

    def _dump(self, function: Callable[..., Any]) -> Content:
        try:
            return self._writer.dump(f"function {self.name}", function)
        except BadInput:
            for name, value in _variables(function).items():
                self._writer.dump(f"variable {name} of function {self.name}", value)  # raises for the one that fails
            raise

    def text(self, calls: Sequence[Call]) -> str:
        """Return how a job that makes ``calls`` is displayed."""
        bound, first = self._bound, calls[0]
        call = Call((*bound.arguments, *first.arguments), {**bound.keywords, **first.keywords})
        return call_text(self.name, [call, *calls[1:]])

    def payload(self, calls: Sequence[Call], *, chunk: bool) -> tuple[Payload, list[str]]:
        """Return the payload of a job that makes ``calls``, and the ids of the jobs whose values they need.

        Raises
        ------
        BadInput
            An argument cannot be pickled, or is a job of another queue; the message names the parameter. Or a call does
            not fit the signature of the function.
        """
        self._writer.begin()
        for call in calls:
            self._check(call)
        items = [
            (
                [self._item(each, call, index) for index, each in enumerate(call.arguments)],
                {name: self._item(each, call, name) for name, each in call.keywords.items()},
            )
            for call in calls
        ]
        return self._writer.finish({**self._body, "calls": items, "chunk": chunk})

    def _check(self, call: Call) -> None:
        """Raise :class:`BadInput` if the function cannot be called with this number and these names of arguments."""
        shape = (len(call.arguments), tuple(call.keywords))
        if self._signature is None or shape in self._fitting:
            return
        try:
            self._signature.bind(*call.arguments, **call.keywords)
        except TypeError as error:
            given = f"the keywords {', '.join(call.keywords)}" if call.keywords else ""
            count = f"{len(call.arguments)} positional argument(s)" if call.arguments else ""
            what = " and ".join(filter(None, (count, given))) or "no arguments"
            names = [
                each.replace(annotation=each.empty, default=each.empty) for each in self._signature.parameters.values()
            ]
            shown = f"{self.name}{inspect.Signature(names)}"
            options = [name for name in call.keywords if name in SPEC_FIELDS and name not in self._signature.parameters]
            hint = f"; an option of the job: q.task({self.name}, {options[0]}=...).submit(...)" if options else ""
            raise BadInput(f"{shown} cannot be called with {what}: {error}{hint}") from None
        self._fitting.add(shape)

    def _item(self, value: object, call: Call, place: int | str) -> Item:
        return self._writer.item(lambda: f"argument {self._parameter(call, place)} of {self.name}", value)

    def _parameter(self, call: Call, place: int | str) -> str:
        """Return the name of the parameter that an argument is for, or its position."""
        if isinstance(place, str):
            return place
        if isinstance(self.function, str):
            return f"{place + 1}"
        try:
            bound = inspect.signature(self.function).bind_partial(*call.arguments[: place + 1])
        except (TypeError, ValueError):
            return f"{place + 1}"
        return list(bound.arguments)[-1]


def _call_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the parameters that a call must have; None if they are unknown, or may be others than declared."""
    try:
        # a wrapper may have other parameters than what it wraps
        return None if hasattr(function, "__signature__") else inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _positional_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that positional arguments are for."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in kinds]


def _variables(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the variables that a function takes from its module and from enclosing functions."""
    try:
        found = inspect.getclosurevars(inspect.unwrap(function))
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in {**found.globals, **found.nonlocals}.items() if value is not function}


def _imported_names(function: Callable[..., Any]) -> set[str]:
    """Return the top-level modules that a function imports, or refers to by global names, as far as its code shows."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    space = getattr(function, "__globals__", {})
    found = {"cloudpickle"}  # loads the functions that a notebook defines
    todo = [code] if code else []
    while todo:
        code = todo.pop()
        todo += [each for each in code.co_consts if isinstance(each, CodeType)]
        for name in code.co_names:
            value = space.get(name)
            module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or name
            found.add(str(module).partition(".")[0])
    return found


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = 2 * MAX_TEXT_CHARS
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = MAX_TEXT_CHARS // len("0, ")
        self.maxdict = MAX_TEXT_CHARS // len("0: 0, ")
        self.left = 0

    def repr(self, x: Any) -> str:
        if x is None or type(x) in {bool, float}:
            return repr(x)
        self.left = 10 * MAX_TEXT_CHARS  # values of an argument that are looked at: nested lists can have many
        return super().repr(x)

    def repr1(self, x: Any, level: int) -> str:
        self.left -= 1
        return super().repr1(x, level) if self.left > 0 else self.fillvalue

    def repr_list(self, x: Any, level: int) -> str:
        head = x[: self.maxlist]
        if {*map(type, head)} <= {bool, float, int}:
            with contextlib.suppress(ValueError):  # Python limits the digits of such a text
                return repr(head) if len(x) == len(head) else f"{repr(head)[:-1]}, ...]"
        return super().repr_list(x, level)

    def repr_instance(self, value: Any, level: int) -> str:
        if isinstance(value, Job):
            return value.id
        size, shape = getattr(value, "nbytes", 0), getattr(value, "shape", ())
        is_table = isinstance(shape, tuple) and len(shape) > 1 and all(isinstance(each, int) for each in shape)
        if is_table or isinstance(value, Batch) or (isinstance(size, int) and size > MAX_INLINE_BYTES):
            return f"<{type(value).__name__}{' ' + 'x'.join(map(str, shape)) if is_table else ''}>"
        text = super().repr_instance(value[: self.maxother] if type(value) in {bytearray, bytes} else value, level)
        return f"<{type(value).__name__}>" if "\n" in text else text  # a table, such as a Series

    def repr_int(self, value: int, level: int) -> str:
        try:
            text = repr(value)
        except ValueError:  # Python limits the digits of such a text; reprlib of Python 3.14 would show an address
            return f"<int of {value.bit_length():,} bits>"
        return text if len(text) <= self.maxlong else super().repr_int(value, level)


_shorten = _Repr().repr


def call_text(name: str, calls: Sequence[Call]) -> str:
    """Return how a job is displayed: ``train(0.1, epochs=3)``; of several calls, the first one."""
    call = calls[0]
    words = [_shorten(each) for each in call.arguments]
    words += [f"{key}={_shorten(each)}" for key, each in call.keywords.items()]
    more = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
    limit = MAX_TEXT_CHARS - len(more)
    text = _printable(f"{name}({', '.join(words)})")
    if len(text) > limit:
        words = _fit([_printable(each) for each in words], limit - len(f"{name}()") - 2 * len(words[1:]))
        text = f"{_printable(name)}({', '.join(words)})"
    return (text if len(text) <= limit else f"{text[: limit - 1]}…") + more


def _printable(text: str) -> str:
    text = " ".join(text.split())
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _fit(words: Sequence[str], room: int) -> list[str]:
    """Return words of at most ``room`` characters together: the longest ones without their middle."""
    longest = room
    for left, length in zip(range(len(words), 0, -1), sorted(map(len, words)), strict=True):
        if length > (longest := room // left):
            break
        room -= length
    else:
        return list(words)
    longest = max(longest, 8)
    head = longest // 2
    return [each if len(each) <= longest else f"{each[:head]}…{each[head + 1 - longest :]}" for each in words]
