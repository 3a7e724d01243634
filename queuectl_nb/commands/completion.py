"""``completion``: print a shell completion script."""

from __future__ import annotations

import click

from queuectl_nb.commands.app import COMPLETE_VAR, PROGRAM, queuectl_command, root
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import Choice

__all__ = ["command"]

EXAMPLES = (
    """echo 'eval "$(queuectl completion bash)"' >> ~/.bashrc""",
    """echo 'eval "$(queuectl completion zsh)"' >> ~/.zshrc""",
    "queuectl completion fish > ~/.config/fish/completions/queuectl.fish",
)


@queuectl_command("completion", examples=EXAMPLES, format_options=False, db_options=False)
@click.argument("shell", type=Choice("shell", ("bash", "zsh", "fish")))
def command(_context: Context, shell: str) -> Done:
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
