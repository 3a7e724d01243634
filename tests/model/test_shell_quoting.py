"""Where in a command a value is read as one word; test_command_template.py asks the shells themselves."""

from __future__ import annotations

import pytest

from queuectl_nb.model.shell_quoting import ShellReader

QUOTES, COMMENT = "is inside quotes", "is in a comment"
IN_ARITHMETIC = "(...)), where quotes cannot be recognized"


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("", None),
        ("echo ", None),
        ("echo '", QUOTES),
        ("echo 'a' ", None),
        ('echo "a', QUOTES),
        ('echo "a" ', None),
        ('echo "a\\"b', QUOTES),
        ("echo $'a", QUOTES),
        ("echo $'a' ", None),
        ("# ", COMMENT),
        ("echo # it's\n", None),
        ("echo a#", None),
        ("echo \\a#", None),
        ("echo \\\n#", COMMENT),
        ("echo ''#", None),
        ("echo `", "is inside backticks, which quotes do not protect"),
        ("echo `date` ", None),
        ("echo `a\\` b", "is inside backticks, which quotes do not protect"),
        ("((", "is inside ((...)), which quotes do not protect"),
        ("((1 + (2))", "is inside ((...)), which quotes do not protect"),
        ("((1 + (2))); echo ", None),
        ("echo $((", "is inside $((...)), which quotes do not protect"),
        ("echo $(($", "follows a $"),
        *(
            (f"echo $((1 + {each}", f"follows quotes or a substitution inside $({IN_ARITHMETIC}")
            for each in ("$(", "${", "$[")
        ),
        *((f"(({each}", f"follows quotes or a substitution inside ({IN_ARITHMETIC}") for each in "'\"`\\#"),
        ("echo $((1 + 1)) ", None),
        ("echo ${a:-", "is inside ${...}"),
        ("echo ${a} ", None),
        ("echo ${a:-$'b'} ", "follows quotes inside ${...}, where shells differ"),
        ("echo \"${a:-'b'}\" ", "follows quotes inside ${...}, where shells differ"),
        ("echo $(echo ", None),
        ("(echo a); echo ", None),
        ("echo $", "follows a $"),
        ("echo $$", None),
        ("echo \\", "follows a backslash"),
        ("echo >&", "follows >& or <&, where bash expands it again"),
        ("echo >& ", "follows >& or <&, where bash expands it again"),
        ("echo >&2 ", None),
        ("echo a[", "is inside [...], which bash may evaluate as a subscript"),
        ("[[ ", "follows a [[, which evaluates its operands"),
        ("cat <<E\n", "follows the beginning of a here-document, which quotes do not protect"),
        ("cat <<<a\n", None),
        ("a=(", "follows an array, where shells differ"),
        ("echo $[", "follows a $[, where shells differ"),
        ("echo $(case ", "follows a 'case' inside $(...), where quotes cannot be recognized"),
    ],
    ids=ascii,
)
def test_positions(text: str, trouble: str | None) -> None:
    """The reason why a value cannot stand behind the text, or None; the same if the text comes in pieces."""
    whole, pieces = ShellReader(), ShellReader()
    whole.read(text)
    for char in text:
        pieces.read(char)
    assert (whole.trouble, pieces.trouble) == (trouble, trouble)


def test_a_value_is_part_of_a_word() -> None:
    """A # behind it begins no comment."""
    reader = ShellReader()
    reader.read("echo ")
    reader.value()
    reader.read("#")
    assert reader.trouble is None
