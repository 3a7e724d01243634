"""What a Python job runs, and its values."""

from __future__ import annotations

from queuectl_nb.model.call import DISPLAYS, KINDS, CallValue


def test_kinds() -> None:
    """The kinds are the documented values of a job's ``kind``."""
    assert KINDS == ("command", "function", "cell", "notebook")


def test_displays_are_not_calls() -> None:
    """The outputs of a cell have a number of their own, which queue files contain."""
    assert DISPLAYS == -1


def test_value_of_a_function() -> None:
    """The value of a function has no name, type or note, unlike a variable of a cell."""
    assert CallValue(0, False, b"pickle", None, 6)[5:] == (None, None, None)
