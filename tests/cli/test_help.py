"""``queuectl help``: topics and commands, in a terminal, a pipe and a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.commands import help as help_command
from queuectl_nb.commands.app import COMMAND_MODULES, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.conftest import Ran


def test_every_file_is_a_topic() -> None:
    """The folder of topics and the list of them agree, and each begins with a title and a sentence."""
    assert {path.stem for path in help_command.FOLDER.iterdir()} == set(help_command.TOPIC_NAMES)
    for name in help_command.TOPIC_NAMES:
        title, blank, first, _ = help_command.topic_text(name).split("\n", 3)
        assert title.startswith("# "), name
        assert (blank, first[-1]) == ("", "."), name
        assert help_command.topic_summary(name) == first


def test_a_list_of_topics(run: Callable[..., Ran]) -> None:
    """Without a word every topic is listed with what it tells."""
    ran = run("help")
    assert ran.exit_code == 0
    for name in help_command.TOPIC_NAMES:
        assert name in ran.stdout


@pytest.mark.parametrize("name", help_command.TOPIC_NAMES)
def test_a_topic_reads_as_plain_text(name: str, run: Callable[..., Ran]) -> None:
    """Into a pipe goes text: no Markdown, no escape, no marks of the generator, no trailing blanks, 100 columns."""
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
    """A topic is found under either spelling."""
    assert run("help", *words).stdout.startswith("Exit codes\n")


@pytest.mark.parametrize("name", COMMAND_MODULES)
def test_help_of_a_command_is_its_help(name: str, run: Callable[..., Ran]) -> None:
    """`help VERB` says what `VERB --help` says; where a topic has the same name, the topic goes before."""
    assert name not in help_command.TOPIC_NAMES
    assert run("help", name).stdout == run(name, "--help").stdout


def test_help_of_a_command_below_a_noun(run: Callable[..., Ran]) -> None:
    """`help worker start` is the help of that."""
    assert run("help", "worker", "start").stdout == run("worker", "start", "--help").stdout


@pytest.mark.parametrize("words", [("nonsense",), ("worker", "nonsense"), ("states", "list"), ("",), ("list", "x")])
def test_an_unknown_word_is_refused(words: tuple[str, ...], run: Callable[..., Ran]) -> None:
    """Exit code 2 and one line that names the valid ones."""
    ran = run("help", *words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1
    if words[0] in ("nonsense", "", "states"):
        assert all(name in ran.stderr for name in (*help_command.TOPIC_NAMES, "enqueue"))
    elif words[0] == "worker":
        assert "start, stop, list" in ran.stderr


def test_help_opens_no_queue() -> None:
    """A broken queue does not keep anybody from reading about it."""

    def opener(*_: object) -> Queue:
        raise AssertionError

    assert isinstance(run_command_line(["help", "files"], Context(opener)), Text)


def test_a_notebook_shows_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook a topic is displayed as Markdown; IPython's terminal shows it as it stands."""
    from queuectl_nb.notebook.present import present

    shown: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, *, raw: shown.append(bundle) if raw else None)
    text = help_command.topic_text("states")
    assert present(Text(text), "table") is None
    assert shown == [{"text/markdown": text, "text/plain": text}]
