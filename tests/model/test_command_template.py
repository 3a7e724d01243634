"""Command templates: the shell receives each value as one word, verbatim, or the template is refused."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from decimal import Decimal
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queuectl_nb.model.command_template import CommandTemplate
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = [[shell] for shell in ("/bin/sh", "/bin/dash", "/bin/bash") if Path(shell).exists()]
SHELLS += [["/bin/bash", "--posix"]] if Path("/bin/bash").exists() else []  # as bash is where it is /bin/sh

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
nasty = st.text(st.sampled_from("'\"`$\\(){}[]<>|&;#~*?!=%\n\t -aé🐍"), max_size=20)

ATTACKS = (
    "`echo >pwned`",
    "\necho >pwned\n",
    "'$(echo >pwned)'",
    '"$(echo >pwned)"',
    "'\"$(echo >pwned);echo >pwned#\\",
    "$(echo >pwned)",
    "a[$(echo >pwned)]",
)
QUOTING = ["'", "'", '"', '"', "\\", "`", "$'", '"$(', '"$(echo "', '))"', ')"', "$", "$$", "$#", "#", "<<E\n", "\nE\n"]
NESTING = ["$(", ")", "(", "${{a:-", "${{#a}}", "}}", "$((", "))", "((", "$[", "]", "<(", "=(", "{{", "<", "<<<", "="]
GRAMMAR = [
    "echo",
    " ",
    " ",
    "\n",
    ";",
    ";;",
    "|",
    "&&",
    "case a in a)",
    "case",
    "esac",
    "if true;then",
    "fi",
    "for i in",
]
REDIRECTIONS = [">&", "<&", "2>&", ">& ", "&>", ">|", "<>", "1", "-"]
BASH_EVALUATES = ["[[ 1 -eq ", "[[ -v ", " ]]", "[ 1 -eq ", " ]", "a[", "]=1", "]+=1"]


def run_in_shells(command: str, shell: Sequence[str] = ("/bin/sh",)) -> str:
    """Return the bytes that the command prints."""
    done = subprocess.run([*shell, "-c", command], capture_output=True, check=True, timeout=20)
    return done.stdout.decode()


@settings(max_examples=150, deadline=None)
@given(texts | nasty)
@example('it\'s "quoted" $(id) `id` \\ é 🐍\n\n')
@example("")
@example("-n")
@example("a=b")
@example("2")
def test_value_arrives_verbatim(value: str) -> None:
    """Any text arrives as one word in every shell that ``/bin/sh`` may be."""
    command = CommandTemplate("printf %s {x}").fill({"x": value})
    for shell in SHELLS:
        assert run_in_shells(command, shell) == value


@settings(max_examples=60, deadline=None)
@given(texts | nasty, nasty)
def test_adjacent_placeholders(one: str, two: str) -> None:
    """Placeholders next to each other, within words or in a substitution do not affect each other."""
    command = CommandTemplate('printf "%s|" --x={a}{b}.txt {b} "$(printf %s. {a})"').fill({"a": one, "b": two})
    assert run_in_shells(command) == f"--x={one}{two}.txt|{two}|{one}.|"


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.sampled_from([*QUOTING, *NESTING, *GRAMMAR, *REDIRECTIONS, *BASH_EVALUATES]) | st.just("{x}"),
        min_size=2,
        max_size=12,
    ),
    st.sampled_from(ATTACKS),
)
@example(["echo", ">&", "{x}"], "$(echo >pwned)")
@example(["echo", ">& ", "$(", "echo", " ", "{x}", ")"], "$(echo >pwned)")
@example(["a[", "{x}", "]=1"], "a[$(echo >pwned)]")
@example(["[[ 1 -eq ", "{x}", " ]]"], "a[$(echo >pwned)]")
def test_values_are_never_executed(pieces: list[str], attack: str) -> None:
    """Any template is refused, or its value is not executed."""
    text = "".join(pieces)
    if "()" in text.replace(" ", "").replace("\n", ""):
        return  # would define functions that call themselves
    try:
        command = CommandTemplate(text).fill({"x": attack})
    except BadInput:
        return
    with TemporaryDirectory() as folder:
        for shell in SHELLS[1:]:
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [*shell, "-c", command],
                    cwd=folder,
                    env={"PATH": "/nonexistent"},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=60,
                )
            assert not Path(folder, "pwned").exists(), (shell, command)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("no names", "no names"),
        ("{x} {x}", "'a b' 'a b'"),
        ("{x:raw}", "a b"),
        ("'{x:raw}' \"${x:raw}\"", "'a b' \"$a b\""),
        ("{{x}} {{{x}}} }}{{", "{x} {'a b'} }{"),
        ("echo ${{HOME}} {x}", "echo ${HOME} 'a b'"),
        ("awk '{{print $1}}' {x}", "awk '{print $1}' 'a b'"),
        ("it\\'s {x}", "it\\'s 'a b'"),
        ("'a'{x}\"b\"", "'a''a b'\"b\""),
        ("echo a#b '#' {x} # {{fine}}", "echo a#b '#' 'a b' # {fine}"),
        ("echo $(cat {x}) {x}", "echo $(cat 'a b') 'a b'"),
        ('d="$(date "+%s")" run {x}', 'd="$(date "+%s")" run \'a b\''),
        ("echo $((1 + 2)) {x}", "echo $((1 + 2)) 'a b'"),
        ("cat <<E {x}\nE", "cat <<E 'a b'\nE"),
        ("echo `id` {x}", "echo `id` 'a b'"),
        ("# a comment\nrun {x}", "# a comment\nrun 'a b'"),
        ("(cd {x}; ls) | sort", "(cd 'a b'; ls) | sort"),
        ("run $$ $# {x}", "run $$ $# 'a b'"),
        ("run >&2 {x} 2>&1 {x}", "run >&2 'a b' 2>&1 'a b'"),
        ("run 2>&1>{x}", "run 2>&1>'a b'"),
        ("run &>{x} >|{x} <>{x}", "run &>'a b' >|'a b' <>'a b'"),
        ("ls [a]{x}", "ls [a]'a b'"),
        ("näme {é}", "näme 'ü'"),
    ],
)
def test_fill(text: str, filled: str) -> None:
    """Names become quoted values, ``:raw`` leaves values unquoted, doubled braces are braces."""
    assert CommandTemplate(text).fill({"x": "a b", "é": "ü"}) == filled


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo '{x}'", "{x} in the command is inside quotes: remove the quotes"),
        ('echo "{x}"', "inside quotes"),
        ('echo "a\\"{x}"', "inside quotes"),
        ("echo $'{x}'", "inside quotes"),
        ('echo "$(echo "{x}")"', "inside quotes"),
        ("echo `ls {x}`", "inside backticks"),
        ("echo \\{x}", "follows a backslash: remove the backslash"),
        ("echo ${x}", "write ${{x}} for the shell's own"),
        ('cd "${HOME}/a"', "write ${{HOME}} for the shell's own"),
        ("echo ${{a:-{x}}}", "inside ${...}"),
        ("echo $((1 + {x}))", "inside $((...))"),
        ("echo a # {x}", "in a comment"),
        ("cat <<E\n{x}\nE", "here-document"),
        ("echo $'a\\'b' {x}", "where shells differ"),
        ("echo $[1] {x}", "where shells differ"),
        ("echo \"${{a:-'}}'}}\" {x}", "where shells differ"),
        ("echo $(case a in a) echo;; esac) {x}", "quotes cannot be recognized"),
        ("a=({x})", "array"),
        ("run >&{x}", "follows >& or <&, where bash expands it again"),
        ("run 2>& a{x}", "follows >& or <&"),
        ("run >&$(echo {x})", "follows >& or <&"),
        ("run <&{x}", "follows >& or <&"),
        ("a[{x}]=1", "is inside [...], which bash may evaluate"),
        ("ARR_1[{x}]=1", "is inside [...], which bash may evaluate"),
        ("a[$(echo {x})]=1", "follows an expansion inside [...]"),
        ("[[ 1 -eq {x} ]]", "follows a [["),
        ("{x", "an unmatched { at character 1; write {{ for a brace"),
        ("a } b", "an unmatched } at character 3"),
        ("{}", "{} in the command is not a plain name; write {{ and }} for braces themselves"),
        ("{x.y}", "{x.y} in the command is not a plain name"),
        ("{x[0]}", "not a plain name"),
        ("{x!r}", "not a plain name"),
        ("{ x }", "not a plain name"),
        ("{0}", "not a plain name"),
        ("awk '{print $1}'", "write {{ and }} for braces"),
        ("{x:>10}", "only {x} and {x:raw} are supported"),
        ("{x:}", "only {x} and {x:raw} are supported"),
        ("{\x1b]52;x}", "not a plain name"),
    ],
)
def test_unsafe_templates(text: str, why: str) -> None:
    """An unsafe template is refused before it is filled, in one printable line with the remedy."""
    with pytest.raises(BadInput) as caught:
        CommandTemplate(text)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


def test_raw_value_with_quotes() -> None:
    """A ``:raw`` value that would open quotes around another value is refused."""
    template = CommandTemplate("{how:raw} {x}")
    assert template.fill({"how": "env A='b c' nice", "x": "$(id)"}) == "env A='b c' nice '$(id)'"
    with pytest.raises(BadInput, match="is inside quotes"):
        template.fill({"how": "don't", "x": "$(id)"})


def test_unknown_name() -> None:
    """The error for a missing name lists the valid ones."""
    with pytest.raises(BadInput, match=r"^\{lrr\} in the command is unknown; valid: lr, seed"):
        CommandTemplate("train {lrr}").fill({"lr": 1, "seed": 2})
    with pytest.raises(BadInput, match="valid: none"):
        CommandTemplate("train {lr}").check([])


def test_names() -> None:
    """Each name is listed once, in order."""
    assert CommandTemplate("{b} {a:raw} {b}").names == ("b", "a")


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        (0.1, "0.1"),
        (3, "3"),
        (True, "True"),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("/a b"), "'/a b'"),
        (np.float32(0.1), "0.1"),
        (np.int64(7), "7"),
        (np.str_("a b"), "'a b'"),
    ],
)
def test_scalars(value: object, filled: str) -> None:
    """Numbers, paths and NumPy scalars are inserted as ``str`` shows them."""
    assert CommandTemplate("{x}").fill({"x": value}) == filled


@pytest.mark.parametrize("value", [None, b"a", [1], (1,), {"a": 1}, {1}, np.array([1, 2])], ids=repr)
def test_invalid_values(value: object) -> None:
    """None, bytes and containers have no unambiguous text and are refused."""
    with pytest.raises(BadInput, match=r"^\{x\} (has no value|is \w+, not a single text or number)"):
        CommandTemplate("{x}").fill({"x": value})


def test_value_without_text() -> None:
    """A value whose ``str`` fails is refused by name, with the reason."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    with pytest.raises(BadInput, match=r"^\{x\} is Broken, which cannot be text: 'no text'$"):
        CommandTemplate("{x}").fill({"x": Broken()})


def test_number_before_a_redirection() -> None:
    """``echo {n}>file`` writes the number into the file instead of redirecting that descriptor."""
    with TemporaryDirectory() as folder:
        subprocess.run(["/bin/sh", "-c", CommandTemplate("echo {n}>out").fill({"n": 2})], cwd=folder, check=True)
        assert Path(folder, "out").read_text() == "2\n"


RESERVED_WORDS = (
    *("case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then"),
    *("time", "until", "while"),
)


@pytest.mark.parametrize("word", RESERVED_WORDS)
def test_reserved_words_are_quoted(word: str) -> None:
    """A reserved word of any shell is quoted; the same word in capitals, or a longer one, is none."""
    assert CommandTemplate("{x}").fill({"x": word}) == f"'{word}'"
    assert CommandTemplate("{x}").fill({"x": word.upper()}) == word.upper()
    assert CommandTemplate("{x}").fill({"x": f"{word}s"}) == f"{word}s"


def test_value_as_the_command() -> None:
    """A value such as ``A=1`` or ``if`` is a program's name, not shell syntax."""
    for word in ("A=1", "if", "done"):
        done = subprocess.run(
            ["/bin/sh", "-c", CommandTemplate("{x}").fill({"x": word})],
            capture_output=True,
            check=False,
            env={"LC_ALL": "C"},
        )
        assert (done.returncode, b"not found" in done.stderr) == (127, True)


def test_an_unquoted_value_may_be_empty() -> None:
    """A template that cannot be filled safely with an empty unquoted value is refused at once."""
    with pytest.raises(BadInput, match=r"is in a comment: put it elsewhere; or write \{b:raw\}"):
        CommandTemplate("echo {a:raw}#{b}")
    assert CommandTemplate("echo {a:raw}x#{b}").text == "echo {a:raw}x#{b}"
