"""Keys of jobs: what a command, a call or a notebook does, as text that is the same in every process."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import linecache
import sys
from operator import attrgetter
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from queuectl_nb.child.pickler import is_sent_by_value
from queuectl_nb.client.batch import Batch
from queuectl_nb.client.job import Job
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.keys import NotCanonical, WorkHash, canonical, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.client.function import Call
    from queuectl_nb.model.job import JobSpec

__all__ = ["FunctionWork", "add_keys", "canonical_calls"]


_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def add_keys(specs: Sequence[JobSpec], cwd: str, *, resume: bool) -> list[JobSpec]:
    """Return the specs with keys: the given ones or, with ``resume``, for others one that is made of their work."""
    hashes: dict[tuple[str, str | None, tuple[tuple[str, str], ...]], WorkHash] = {}
    found = []
    for spec in specs:
        if spec.key is None and not resume:
            found.append(spec)
            continue
        place = (spec.kind, spec.cwd, tuple(spec.env.items()) if spec.env else ())
        work_hash = hashes.get(place)
        if work_hash is None:
            work_hash = hashes[place] = WorkHash(spec.kind, spec.cwd or cwd, spec.env)
        work = work_hash.key(*(spec.identity or (spec.command,)))
        found.append(spec.with_key(spec.key or work, work))
    return found


class FunctionWork:
    """What jobs that call a function do; positional and keyword forms of a call are the same.

    Raises ``BadInput`` as :func:`canonical_calls`.
    """

    def __init__(self, function: Callable[..., Any] | str, name: str, *, keyed: bool = False) -> None:
        """Read the function's source, once for all calls; ``keyed``: the user has given a key."""
        self._keyed = keyed
        if isinstance(function, str):
            self._start, self._name, self._signature, self._version = function, "", None, ""
            return
        identity = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', name)}"
        self._start = canonical_calls(identity, [_bound_values(function)], name, keyed=keyed)
        self._name, self._signature, self._version = name, _signature(function), _version(function)

    def of_calls(self, calls: Sequence[Call]) -> tuple[str, str]:
        """Return what a job of these calls does, and the version of the function's source."""
        values = [_bind(self._signature, call) for call in calls]
        return canonical_calls(self._start, values, self._name, keyed=self._keyed), self._version


def canonical_calls(identity: str, calls: Sequence[Mapping[Any, Any]], name: str = "", *, keyed: bool = False) -> str:
    """Return a function, or the source of a cell, with the arguments of its calls as text.

    Raises ``BadInput`` with the parameter for a value that has no canonical form; if the job is ``keyed`` by the user,
    only the type of such a value counts.
    """
    parts = [identity]
    for arguments in calls:
        for parameter, value in sorted(arguments.items(), key=lambda item: str(item[0])):
            try:
                parts.append(f"{parameter}={canonical(value, _describe)}")
            except NotCanonical as error:
                if keyed:
                    parts.append(f"{parameter}={error}")
                    continue
                msg = f"argument {parameter} of {name or identity} has no canonical form ({error}); give a key"
                raise BadInput(msg) from None
        parts.append(";")
    return "\n".join(parts)


def _describe(value: Any) -> str | None:
    """Return a text for jobs, modules, functions and classes, None for other values."""
    match value:
        case Job():
            return f"job:{value.id}"
        case Batch():
            return f"jobs:{','.join(value.ids)}"
        case ModuleType():
            return f"module:{value.__name__}"
    if inspect.isfunction(value) or inspect.isclass(value) or _is_imported(value):
        return f"code:{value.__module__}.{value.__qualname__}.{_version(value)}"
    return None


def _is_imported(value: Any) -> bool:
    """Return whether a module has this value under its name, as built-in functions and those of NumPy."""
    try:
        return attrgetter(value.__qualname__)(sys.modules[value.__module__]) is value
    except (AttributeError, KeyError, TypeError):
        return False


def _bound_values(function: Any) -> dict[str, Any]:
    """Return what a function depends on besides its arguments: its object, and variables of enclosing functions."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    found = {}
    if (owner := getattr(function, "__self__", None)) is not None:
        found["self"] = owner
    elif not hasattr(function, "__name__"):
        found["self"] = function
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        with contextlib.suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _bind(signature: inspect.Signature | None, call: Call) -> dict[Any, Any]:
    """Return the arguments of a call by parameter; by position where the function has no signature."""
    if signature is not None:
        try:
            return dict(signature.bind(*call.arguments, **call.keywords).arguments)
        except TypeError:  # it will fail when it runs
            pass
    return dict(enumerate(call.arguments)) | dict(call.keywords)


def _version(function: Any) -> str:
    """Return a hash of the source of a function or class, without formatting, comments and decorators."""
    if isinstance(function, functools.partial):
        arguments = canonical_calls("partial", [dict(enumerate(function.args)) | dict(function.keywords)])
        return digest(f"{_version(function.func)}{arguments}".encode())[:8]
    function = inspect.unwrap(function)
    if not hasattr(function, "__name__"):
        function = type(function)
    try:
        file = inspect.getsourcefile(function) or ""
    except TypeError:  # a built-in function, for example
        return _code_version(function)
    linecache.checkcache(file)
    text, code = "".join(linecache.getlines(file)), getattr(function, "__code__", None)
    if code is not None and is_sent_by_value(function) and _code_text(code) not in _code_texts(text, file):
        return _code_version(function)  # the file was edited since, and the job gets what was imported
    line = getattr(code, "co_firstlineno", sys.maxsize)
    return _source_version(text, function.__qualname__, line) or _code_version(function)


@functools.lru_cache(maxsize=16)
def _code_texts(text: str, file: str) -> frozenset[str]:
    """Return the code of all functions that the text of a file defines."""
    found: set[str] = set()
    try:
        todo = [compile(text, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)]
    except (SyntaxError, ValueError):
        return frozenset()
    while todo:
        parts = [each for each in todo.pop().co_consts if isinstance(each, CodeType)]
        found.update(map(_code_text, parts))
        todo += parts
    return frozenset(found)


@functools.lru_cache(maxsize=16)
def _source_version(text: str, qualified_name: str, line: int) -> str:
    """Return a hash of a definition in the text of a file, empty if there is none, as for a lambda.

    It is found by its name, and by its line only among several: those of a module that was edited since its import
    have moved.
    """
    try:
        scope: ast.AST = ast.parse(text)
    except SyntaxError:
        return ""
    for name in qualified_name.replace(".<locals>", "").split("."):
        found = [each for each in ast.walk(scope) if isinstance(each, _DEFINITIONS) and each.name == name]
        if not found:
            return ""
        scope = min(found, key=lambda each: abs(each.lineno - line))
        scope.decorator_list = []
    return digest(ast.dump(scope).encode("utf-8", "surrogateescape"))[:8]


def _code_version(function: Any) -> str:
    """Return a hash of the bytecode, empty for what has none, such as a built-in function."""
    code = getattr(function, "__code__", None)
    return digest(_code_text(code).encode("utf-8", "surrogateescape"))[:8] if code is not None else ""


def _code_text(code: CodeType) -> str:
    constants = [_code_text(each) if hasattr(each, "co_code") else canonical(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"
