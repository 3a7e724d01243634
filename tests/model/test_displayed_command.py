"""Commands as lists, cards and pages show them."""

from __future__ import annotations

import shlex

import pytest

from queuectl_nb.model.displayed_command import MAX_LISTED_CHARS, displayed_command, listed_command


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["python", "-c", "print('x')"], "python -c \"print('x')\""),
        (["echo", "it's", "two words"], "echo \"it's\" 'two words'"),
        (["echo", "'"], 'echo "\'"'),
        (["echo", "X's"], 'echo "X\'s"'),
        *((["echo", f"it's {char}"], None) for char in '"$`\\!'),
    ],
)
def test_words_with_single_quotes(words: list[str], shown: str | None) -> None:
    """Such a word is shown in double quotes, unless it has characters that these do not protect."""
    command = shlex.join(words)
    assert displayed_command(command) == (shown or command)
    assert shlex.split(displayed_command(command)) == words


def test_quotes_within_a_word() -> None:
    """Quotes that are only a part of a word stay as they are."""
    command = """echo a'b'"'"'c'"""
    assert displayed_command(command) == command
    assert displayed_command(f"{command}d") == f"{command}d"


@pytest.mark.parametrize("length", [MAX_LISTED_CHARS, MAX_LISTED_CHARS + 1, 3 * MAX_LISTED_CHARS])
def test_lists_show_the_beginning(length: int) -> None:
    """A list shows the beginning of a long command or cell."""
    text = "echo ".ljust(length, "x")
    shown = text if length == MAX_LISTED_CHARS else text[: MAX_LISTED_CHARS - 1] + "…"
    assert listed_command(text) == shown
