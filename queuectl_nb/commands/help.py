"""``help``, ``completion`` and ``version``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from queuectl_nb import __version__
from queuectl_nb.commands.app import COMPLETE_VAR, PROGRAM, queuectl_command, root
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import Choice, TextParam
from queuectl_nb.commands.results import Text
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput

__all__ = [
    "ABOUT",
    "FOLDER",
    "TOPIC_NAMES",
    "completion_command",
    "help_command",
    "topic_summary",
    "topic_text",
    "version_command",
]

FOLDER = Path(__file__).resolve().parent.parent / "topics"
TOPIC_NAMES = (
    "questions",
    "states",
    "retries",
    "keys",
    "timeouts",
    "workers",
    "output",
    "settings",
    "environment",
    "files",
    "fields",
    "events",
    "exit-codes",
    "notebook",
    "web",
    "cluster",
    "limits",
)
"""Help topics, in the order in which they are listed."""
_MARK = re.compile(r"<!--.*?-->\n*", re.DOTALL)
ABOUT = TextParam("TOPIC | COMMAND", [*TOPIC_NAMES, *root.list_commands(click.Context(root))])
COMPLETION_EXAMPLES = (
    """echo 'eval "$(queuectl completion bash)"' >> ~/.bashrc""",
    """echo 'eval "$(queuectl completion zsh)"' >> ~/.zshrc""",
    "queuectl completion fish > ~/.config/fish/completions/queuectl.fish",
)


def topic_text(name: str) -> str:
    """Return a topic as Markdown, without the markers of the docs generator."""
    return _MARK.sub("", (FOLDER / f"{name}.md").read_text("utf-8"))


def topic_summary(name: str) -> str:
    """Return the summary of a topic: the first line below its title."""
    return topic_text(name).split("\n", 3)[2]


@queuectl_command(
    "help", examples=["queuectl help retries", "queuectl help worker start"], format_options=False, db_options=False
)
@click.argument("about", nargs=-1, type=ABOUT)
def help_command(_context: Context, about: Sequence[str]) -> Text | Done:
    """Explain a topic, or show the options of a command.

    Without arguments, list the topics.
    """
    if not about:
        rows = "\n".join(f"| `{name}` | {topic_summary(name)} |" for name in TOPIC_NAMES)
        return Text(f"# Topics\n\n| `{PROGRAM} help` | |\n| --- | --- |\n{rows}\n")
    topic = about[0].replace("_", "-")
    if len(about) == 1 and topic in TOPIC_NAMES:
        return Text(topic_text(topic))
    text = _help_of(about)
    return Done(text.splitlines(), lambda: text)


def _help_of(about: Sequence[str]) -> str:
    """Return the help text of a command."""
    found: click.Command = root
    context = click.Context(root, info_name=PROGRAM, **root.context_settings)
    for word in about:
        below = found.get_command(context, word) if isinstance(found, click.Group) else None
        if below is None and found is root:
            commands = root.list_commands(context)
            hint = validation.did_you_mean(word, [*TOPIC_NAMES, *commands]) or _mentions(word)
            valid = f"topics {', '.join(TOPIC_NAMES)}; commands {', '.join(commands)}"
            raise BadInput(f"no help for {validation.quoted(word)}; {hint}{valid}")
        if below is None:
            known = found.list_commands(context) if isinstance(found, click.Group) else []
            hint = validation.did_you_mean(word, known) + (", ".join(known) or "no subcommands")
            raise BadInput(f"{context.command_path} has no {validation.quoted(word)}; {hint}")
        found, context = below, click.Context(below, info_name=word, parent=context)
    return found.get_help(context)


def _mentions(word: str) -> str:
    """Return which topic has most lines with a word, or nothing."""
    pattern = re.compile(rf"\b{re.escape(word)}", re.IGNORECASE)
    lines = {name: sum(map(bool, map(pattern.search, topic_text(name).splitlines()))) for name in TOPIC_NAMES}
    best = max(lines, key=lambda name: lines[name])
    return f"see '{PROGRAM} help {best}'; " if lines[best] else ""


@queuectl_command("completion", examples=COMPLETION_EXAMPLES, format_options=False, db_options=False)
@click.argument("shell", type=Choice("shell", ("bash", "zsh", "fish")))
def completion_command(_context: Context, shell: str) -> Done:
    """Print the script that completes commands, options and job ids.

    Run the line for your shell once, then open a new terminal.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click supports these shells"
    script = kind(root, {}, PROGRAM, COMPLETE_VAR)
    # not source(): for bash it runs bash to check its version, and prints
    text = script.source_template % script.source_vars()
    return Done(text.splitlines(), lambda: text)


@queuectl_command("version", db_options=False)
def version_command(_context: Context) -> Done:
    """Print the version."""
    return Done([f"{PROGRAM}, version {__version__}"], lambda: {"version": __version__})
