"""The errors that users meet: one tree, each with its exit code."""

from __future__ import annotations

import inspect

from queuectl_nb.model import errors

CODES = {
    "JobFailed": 1,
    "BadInput": 2,
    "BadEnvironment": 3,
    "InvalidSetting": 3,
    "Busy": 4,
    "WaitTimeout": 4,
    "NotFound": 5,
    "WrongState": 5,
}


def test_every_error_has_the_contracts_exit_code() -> None:
    """Each public error is a ``QueuectlError`` with its exit code, and the list of public ones is complete."""
    found = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.QueuectlError)
    }
    assert set(found) == set(errors.__all__)
    assert {name: kind.exit_code for name, kind in found.items() if name != "QueuectlError"} == CODES


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The tree that the module draws names each error with its exit code, so that it can be trusted."""
    drawn = {
        words[0]: int(words[1])
        for line in (errors.__doc__ or "").splitlines()
        if "\u2500\u2500 " in line and (words := line.partition("\u2500\u2500 ")[2].split())
    }
    assert drawn == CODES


def test_running_out_of_time_is_a_timeout_error() -> None:
    """Who waits with plain Python's ``except TimeoutError`` catches ours."""
    assert issubclass(errors.WaitTimeout, TimeoutError)
