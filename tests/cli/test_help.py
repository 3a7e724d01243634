"""``queuectl help``: topics and commands, on a terminal, in a pipe and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from queuectl_nb.cli.markdown import MAX_WIDTH, print_markdown
from queuectl_nb.commands import help as help_command
from queuectl_nb.commands.app import root, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


def test_every_file_is_a_topic() -> None:
    """Every file in the folder is a listed topic and begins with a title and a summary."""
    assert {path.stem for path in help_command.FOLDER.iterdir()} == set(help_command.TOPIC_NAMES)
    for name in help_command.TOPIC_NAMES:
        title, blank, first, _ = help_command.topic_text(name).split("\n", 3)
        assert title.startswith("# "), name
        assert (blank, first[-1]) == ("", "."), name
        assert help_command.topic_summary(name) == first


def test_list_of_topics(run: Callable[..., Ran]) -> None:
    """Without an argument all topics are listed."""
    ran = run("help")
    assert ran.exit_code == 0
    for name in help_command.TOPIC_NAMES:
        assert name in ran.stdout


@pytest.mark.parametrize("name", help_command.TOPIC_NAMES)
def test_plain_text_in_a_pipe(name: str, run: Callable[..., Ran]) -> None:
    """A pipe gets plain text of at most 100 columns: no Markdown, escapes or trailing blanks."""
    ran = run("help", name)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(help_command.topic_text(name).split("\n")[0].removeprefix("# ") + "\n")
    for sign in ("\x1b", "<!--", "| --- |", "```", "\n## "):
        assert sign not in ran.stdout
    for line in ran.stdout.splitlines():
        assert line == line.rstrip()
        assert len(line) <= 100


def test_colours_on_a_terminal_only(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours unless NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in run("help", "states", terminal=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("help", "states", terminal=True).stdout


@pytest.mark.parametrize("words", [("exit_codes",), ("exit-codes",)])
def test_hyphens_and_underscores_are_the_same(words: tuple[str, ...], run: Callable[..., Ran]) -> None:
    """Topics are found with hyphens and underscores."""
    assert run("help", *words).stdout.startswith("Exit codes\n")


@pytest.mark.parametrize("name", root.list_commands(click.Context(root)))
def test_help_of_a_command(name: str, run: Callable[..., Ran]) -> None:
    """``help VERB`` equals ``VERB --help``, unless a topic has that name."""
    assert name not in help_command.TOPIC_NAMES
    assert run("help", name).stdout == run(name, "--help").stdout


def test_help_of_a_subcommand(run: Callable[..., Ran]) -> None:
    """``help worker start`` equals ``worker start --help``."""
    assert run("help", "worker", "start").stdout == run("worker", "start", "--help").stdout


@pytest.mark.parametrize("words", [("nonsense",), ("worker", "nonsense"), ("states", "list"), ("",), ("list", "x")])
def test_unknown_topic(words: tuple[str, ...], run: Callable[..., Ran]) -> None:
    """An unknown topic is exit code 2 and one line that names the valid ones."""
    ran = run("help", *words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1
    if words[0] in ("nonsense", "", "states"):
        assert all(name in ran.stderr for name in (*help_command.TOPIC_NAMES, "enqueue"))
    elif words[0] == "worker":
        assert "start, stop, scale, list" in ran.stderr


def test_lines_of_code_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of code that is wider than the output is printed to its end."""
    code = "queuectl enqueue -- " + "x" * MAX_WIDTH
    print_markdown(f"```text\n{code}\n```\n")
    assert capsys.readouterr().out == f"    {code}\n"


def test_a_wide_first_column_leaves_room_for_the_others(run: Callable[..., Ran]) -> None:
    """The first column of a table is wrapped if the others would be narrow otherwise."""
    assert "failed, or dead after the last" in run("help", "retries").stdout


def test_help_opens_no_queue() -> None:
    """Help works without a usable queue."""

    def opener(*_: object) -> Queue:
        raise AssertionError

    assert isinstance(run_command_line(["help", "files"], Context(opener)), Text)


def test_markdown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook displays Markdown; terminal IPython displays the source."""
    from queuectl_nb.notebook.present import present

    shown: list[dict[str, str]] = []
    monkeypatch.setattr(
        "queuectl_nb.notebook.present.display", lambda bundle, *, raw: shown.append(bundle) if raw else None
    )
    text = help_command.topic_text("states")
    assert present(Text(text), "table") is None
    assert shown == [{"text/markdown": text, "text/plain": text}]
