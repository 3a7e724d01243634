"""Public errors: one hierarchy, each with an exit code."""

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


def test_exit_codes() -> None:
    """Each public error is a ``QueuectlError`` with its exit code, and the list is complete."""
    found = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.QueuectlError)
    }
    assert set(found) == set(errors.__all__)
    assert {name: kind.exit_code for name, kind in found.items() if name != "QueuectlError"} == CODES


def test_tree_in_the_docstring() -> None:
    """The tree in the module's docstring lists each error with its exit code."""
    drawn = {
        words[0]: int(words[1])
        for line in (errors.__doc__ or "").splitlines()
        if "\u2500\u2500 " in line and (words := line.partition("\u2500\u2500 ")[2].split())
    }
    assert drawn == CODES


def test_wait_timeout_is_a_timeout_error() -> None:
    """``except TimeoutError`` catches ``WaitTimeout``."""
    assert issubclass(errors.WaitTimeout, TimeoutError)


def test_invalid_setting() -> None:
    """It has key and value, and names the ways to fix it."""
    error = errors.InvalidSetting("timeout", "x", "it must be a number")
    assert (error.key, error.value) == ("timeout", "x")
    assert str(error) == (
        "invalid stored value for setting timeout: it must be a number;"
        " fix it with 'queuectl config set timeout VALUE' or 'queuectl config unset timeout'"
    )


def test_partly_done() -> None:
    """The error of an action of which a part had been done does not say that nothing was changed."""
    error = errors.Busy("the disk is full; nothing was changed; try again").after("5 jobs were removed")
    assert isinstance(error, errors.Busy)
    assert str(error) == "the disk is full; 5 jobs were removed; try again"
    assert str(errors.Busy("locked").after("5 jobs were removed")) == "locked; 5 jobs were removed"


def test_console() -> None:
    """The console names an option instead of the parameter at the end of a message; other messages are the same."""
    error = errors.BadInput("a force=True; give force=True").with_option("force=True", "--force")
    assert (str(error), error.console) == (
        "a force=True; give force=True",
        "a force=True; give --force",
    )
    assert errors.BadInput("too bad").console == "too bad"


def test_base_class() -> None:
    """An error is one line in IPython, and may tell which of several jobs it is about."""
    error = errors.BadInput("too bad")
    assert errors.QueuectlError.exit_code == 3
    assert error.index is None
    assert error.with_index(4) is error
    assert error.index == 4
    assert error._render_traceback_() == ["BadInput: too bad"]
