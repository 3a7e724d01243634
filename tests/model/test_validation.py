"""Names, commands and other words as people type them: every row of the catalogue of bad input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput


def _refused(call: object, *args: object) -> str:
    """Call, expect a refusal, and return its message, which must be one printable ASCII line of bearable length."""
    with pytest.raises(BadInput) as caught:
        call(*args)  # type: ignore[operator]
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert 0 < len(message) < 250
    return message


def _make(value: int | str) -> str:
    """Name a number that is too long to be written."""
    return f"text-{len(value)}" if isinstance(value, str) else f"int-{value.bit_length()}"


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
def test_a_bad_name_is_refused_in_one_line(value: object) -> None:
    """An id, tag or queue name that the fine print does not allow is refused, and the line names what it is for."""
    assert _refused(validation.parse_name, "id", value).startswith("id ")


@pytest.mark.parametrize("value", ["a", "0", "A" * 128, "job-1", "a.b_c:d=e,f@g+h-i", "2026-01-01"])
def test_a_good_name_stays_as_it_is(value: str) -> None:
    """Letters, digits and ``. _ : = , @ + -`` after a letter or digit, 128 at most, are taken as they are."""
    assert validation.parse_name("id", value) == value


@given(st.text(max_size=140))
def test_no_text_passes_as_a_name_that_could_hurt(value: str) -> None:
    """Whatever is typed: what passes is ASCII without slash, space, quote or control, and no path component ``..``."""
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
def test_a_command_arrives_verbatim(command: str) -> None:
    """Quotes, newlines, substitutions, emoji and up to 100,000 bytes are kept to the letter."""
    assert validation.parse_command(command) == command


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("", "empty"),
        ("  \n\t", "empty"),
        ("x" * 100_001, "100001 bytes"),
        ("\u20ac" * 33_334, "100002 bytes"),
        ("\U0001f680" * 25_001, "100004 bytes"),
        ("echo a\0b", "NUL"),
        ("echo \udcff", "UTF-8"),
        ("echo " + chr(0xD800), "UTF-8"),
        (b"true", "must be text"),
        (None, "must be text"),
        (5, "must be text"),
        (["true"], "must be text"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_bad_command_is_refused_with_the_reason(command: object, why: str) -> None:
    """Empty, longer than 100,000 bytes (not characters), with NUL or no valid UTF-8: refused, and the line says why."""
    assert why in _refused(validation.parse_command, command)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("", "x"), ("1A", "x"), ("A-B", "x"), ("A B", "x"), ("A=B", "x"), ("A\n", "x"), ("\u00c4", "x"), (3, "x")),
        *(("A", "a\0b"), ("A", "\udcff"), ("A", 5), ("A", None), ("A", "\u20ac" * 40_000)),
        *(("QUEUECTL_DB", "x"), ("QUEUECTL_JOB_ID", "x")),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_bad_environment_variable_is_refused(key: object, value: object) -> None:
    """A name that no shell takes or that is ours, and a value that no process could get, are refused in one line."""
    assert "environment" in _refused(validation.parse_env_pair, key, value)


def test_an_environment_variable_may_hold_anything_printable_or_not() -> None:
    """An empty value, newlines and equal signs are values."""
    assert validation.parse_env_pair("_a1", "x=y\nz") == ("_a1", "x=y\nz")
    assert validation.parse_env_pair("A", "") == ("A", "")


def test_a_choice_lists_what_there_is() -> None:
    """An unknown word is refused with the valid ones in their order."""
    assert validation.parse_choice("state", "dead", ["dead", "completed"]) == "dead"
    assert _refused(validation.parse_choice, "state", "' OR 1=1--", ["dead", "completed"]) == (
        'state "\' OR 1=1--" is unknown; valid: dead, completed'
    )


def test_what_is_quoted_in_an_error_is_short() -> None:
    """A value of a megabyte makes a line of sixty characters, not of a million."""
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
