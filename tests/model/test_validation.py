"""Names, commands and other texts as users type them, and invalid ones of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from tests.model.refusal import refusal

# ---------------------------------------------------------------------- names

BAD_NAMES = [
    "",
    "a" * 129,
    "../x",
    "/etc/passwd",
    ".hidden",
    "-x",
    "*",
    "a b",
    "a\n",
    "a\nb",
    "\x1b[31mred",
    "a\0b",
    "\u202eevil",
    "caf\u00e9",
    "\uff11",
    "a\udcff",
    "' OR 1=1--",
    "id;drop",
    "$(reboot)",
    None,
    7,
    True,
    ["a"],
    b"a",
]


@pytest.mark.parametrize("value", BAD_NAMES, ids=ascii)
def test_invalid_names(value: object) -> None:
    """An invalid id, tag or queue name is refused, and the line names its kind."""
    assert refusal(validation.parse_name, "id", value).startswith("id ")


@pytest.mark.parametrize("value", ["a", "0", "A" * 128, "job-1", "a.b_c:d=e,f@g+h-i", "2026-01-01"])
def test_valid_names(value: str) -> None:
    """Letters, digits and ``. _ : = , @ + -`` after a letter or digit, at most 128 characters, are unchanged."""
    assert validation.parse_name("id", value) == value


@given(st.text(max_size=140))
def test_names_are_harmless(value: str) -> None:
    """Accepted names are ASCII without slash, space, quote or control character, and not ``..``."""
    try:
        found = validation.parse_name("id", value)
    except BadInput:
        return
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set("/ '\"\\$`;&|<>*?(){}[]!#~%^")
    assert found[0].isalnum()


# ---------------------------------------------------------------------- commands, environments, texts


@pytest.mark.parametrize(
    "command",
    [
        "true",
        "x" * 100_000,
        "\u20ac" * 33_333 + "x",
        "echo \"a 'b' $(date) `id` ${HOME}\"\nsleep 1 | cat && echo 'done'; #\t\\",
        "echo \U0001f680 caf\u00e9 \u202e \x1b[31m",
        " leading and trailing ",
    ],
    ids=lambda command: ascii(command[:30]),
)
def test_valid_commands(command: str) -> None:
    """Quotes, newlines, substitutions, emoji and up to 100,000 bytes are unchanged."""
    assert validation.parse_command(command) == command


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("", "empty"),
        ("  \n\t", "empty"),
        ("x" * 100_001, "100001 bytes"),
        ("\u20ac" * 33_334, "100002 bytes"),
        ("\U0001f680" * 25_001, "100004 bytes"),
        ("echo a\0b", "command contains a NUL character"),
        ("echo \udcff", "UTF-8"),
        ("echo " + chr(0xD800), "UTF-8"),
        (b"true", "command must be text"),
        (None, "must be text"),
        (5, "must be text"),
        (["true"], "must be text"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_invalid_commands(command: object, why: str) -> None:
    """Empty, over 100,000 bytes, with NUL or invalid UTF-8: refused with the reason."""
    assert why in refusal(validation.parse_command, command)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("", "x"), ("1A", "x"), ("A-B", "x"), ("A B", "x"), ("A=B", "x"), ("A\n", "x"), ("\u00c4", "x"), (3, "x")),
        *(("A", "a\0b"), ("A", "\udcff"), ("A", 5), ("A", None), ("A", "\u20ac" * 40_000)),
        *(("QUEUECTL_DB", "x"), ("QUEUECTL_JOB_ID", "x")),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_invalid_environment(key: object, value: object) -> None:
    """Names that are invalid or reserved, and values that no process can receive, are refused."""
    assert "environment" in refusal(validation.parse_env_pair, key, value)


def test_valid_environment() -> None:
    """An empty value, newlines and equal signs are values."""
    assert validation.parse_env_pair("_a1", "x=y\nz") == ("_a1", "x=y\nz")
    assert validation.parse_env_pair("A", "") == ("A", "")


@pytest.mark.parametrize("shell", ["/bin/bash", "bash -l", "'/my tools/sh' -e", "x" * 1000])
def test_valid_shells(shell: str) -> None:
    """A program with options, quoted as in a shell."""
    assert validation.parse_shell("shell", shell) == shell


@pytest.mark.parametrize("shell", ["", "  ", "'' -l", "bash '", "bash\n-l", "x" * 1001])
def test_invalid_shells(shell: str) -> None:
    """No program, an open quote, several lines or too much text."""
    expected = "shell must be a program with its options, such as /bin/bash or 'bash -l', not "
    assert refusal(validation.parse_shell, "shell", shell) == expected + validation.quoted(shell)


def test_similar_words() -> None:
    """A word with the same letters is more similar than any other; without one, the beginning of a word counts."""
    assert validation.did_you_mean("tset", ["set", "test"]) == "did you mean test? "
    assert validation.did_you_mean("--Tets", ["set", "--test"]) == "did you mean --test? "
    assert validation.did_you_mean("re", ["list", "requeue"]) == "did you mean requeue? "
    for word in ("", "xyz", None):
        assert validation.did_you_mean(word, ["list"]) == ""


def test_invalid_choice() -> None:
    """An unknown word is refused with the valid ones in order."""
    assert validation.parse_choice("state", "dead", ["dead", "completed"]) == "dead"
    assert validation.parse_choice("setting", "kill-grace", ["kill_grace"], hyphens=True) == "kill_grace"
    assert "did you mean kill_grace?" in refusal(validation.parse_choice, "setting", "kill-grace", ["kill_grace"])
    assert refusal(validation.parse_choice, "state", "' OR 1=1--", ["dead", "completed"]) == (
        'state "\' OR 1=1--" is unknown; valid: dead, completed'
    )


def test_quoted_values_are_short() -> None:
    """A value of a megabyte is quoted in about sixty characters."""
    assert len(validation.quoted("x" * 1_000_000)) == 60
    assert validation.quoted("a\nb") == r"'a\nb'"


def test_what_is_quoted_in_an_error_is_one_line_whatever_its_repr() -> None:
    """The repr of a foreign object may have several lines, or raise: an error is one line all the same."""

    class Table:
        def __repr__(self) -> str:
            return "lr      0.1\nseed    3.0\n\x0cName: 0"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert validation.quoted(Table()) == "lr 0.1 seed 3.0 Name: 0"
    assert validation.quoted(Broken()) == "an object of type Broken"
    assert validation.quoted("two  spaces") == "'two  spaces'"


def test_a_number_of_thousands_of_digits_is_quoted_in_words() -> None:
    """Python refuses to print such a number; an error says what it is."""
    assert validation.quoted(10**5000) == "a number with thousands of digits"


def test_limit_of_a_queue() -> None:
    """A limit is from 1 to a million; for 0 the error names the command that stops a queue."""
    assert validation.parse_limit("3") == 3
    assert validation.parse_limit(1_000_000) == 1_000_000
    for value in (0, "0"):
        with pytest.raises(BadInput, match="queuectl pause"):
            validation.parse_limit(value)
    for value in (-1, 1_000_001, "x", True):
        with pytest.raises(BadInput, match="limit must be"):
            validation.parse_limit(value)
