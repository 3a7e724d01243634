"""``completion``: print a shell completion script."""

from __future__ import annotations

import click

from queuectl_nb.commands.ack import Done, done
from queuectl_nb.commands.app import COMPLETE_VAR, PROGRAM, queuectl_command, root
from queuectl_nb.commands.params import Choice

__all__ = ["command"]

SHELLS = ("bash", "zsh", "fish")


@queuectl_command("completion", format_options=False, db_options=False)
@click.argument("shell", metavar="|".join(SHELLS), type=Choice("shell", SHELLS))
def command(shell: str) -> Done:
    """Print the completion script for a shell.

    \b
    bash:  eval "$(queuectl completion bash)"        in ~/.bashrc
    zsh:   eval "$(queuectl completion zsh)"         in ~/.zshrc
    fish:  queuectl completion fish > ~/.config/fish/completions/queuectl.fish
    """  # noqa: D301 - click wants the character
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click supports these shells"  # noqa: S101
    script = kind(root, {}, PROGRAM, COMPLETE_VAR)
    # not source(): for bash it runs bash to check its version, and prints
    return done(script.source_template % script.source_vars())
