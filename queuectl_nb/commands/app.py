"""The command tree; each command is loaded from its own module when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb import __version__
from queuectl_nb.commands.params import add_db_options, add_format_options
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.results import Result

__all__ = [
    "COMMAND_MODULES",
    "COMPLETE_VAR",
    "PROGRAM",
    "CommandGroup",
    "RootGroup",
    "describe_usage_error",
    "queuectl_command",
    "root",
    "run_command_line",
]

PROGRAM = "queuectl"
COMPLETE_VAR = "_QUEUECTL_COMPLETE"
"""Environment variable that the shell completion scripts set."""

COMMAND_MODULES: Mapping[str, str] = {
    "enqueue": "enqueue",
    "status": "status",
    "list": "list_jobs",
    "show": "show",
    "log": "log",
    "stats": "stats",
    "worker": "worker",
    "dlq": "dlq",
    "retry": "job_verbs.retry",
    "cancel": "job_verbs.cancel",
    "delete": "job_verbs.delete",
    "prune": "job_verbs.prune",
    "backup": "backup",
    "wait": "wait",
    "pause": "pause",
    "resume": "pause.resume",
    "config": "config",
    "completion": "completion",
    "dashboard": "dashboard",
    "doctor": "doctor",
    "init": "init",
    "demo": "demo",
    "help": "help",
}
"""Command name to module of this package, whose ``command`` it is unless another attribute is named."""

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 100,
}


class CommandGroup(click.Group):
    """A group of commands; an unknown or missing subcommand raises ``BadInput`` with the valid ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of definition."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a group without a subcommand."""
        if not args and not ctx.resilient_parsing and not self.invoke_without_command:
            msg = f"{ctx.info_name} needs one of: {', '.join(self.list_commands(ctx))}"
            raise BadInput(msg)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand; raise ``BadInput`` if there is none of this name."""
        if not ctx.resilient_parsing:
            validation.parse_choice("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class RootGroup(CommandGroup):
    """The root group. It loads one command at a time, so that ``enqueue`` does not import the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, loaded or not."""
        return list(COMMAND_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMAND_MODULES:
            return None
        module, _, attribute = COMMAND_MODULES[cmd_name].partition(".")
        found: click.Command = getattr(import_module(f"queuectl_nb.commands.{module}"), attribute or "command")
        return found


def queuectl_command(
    name: str,
    *,
    format_options: bool = True,
    db_options: bool = True,
    **attrs: Any,
) -> Callable[[Callable[..., Result]], click.Command]:
    """Turn a function that returns a :data:`Result` into a command.

    ``db_options`` adds ``--db``, ``format_options`` adds ``--format`` and ``--json``.
    """

    def make(function: Callable[..., Result]) -> click.Command:
        decorate: Callable[[Callable[..., Result]], click.Command] = click.command(name, **attrs)
        command = decorate(function)
        if format_options:
            add_format_options(command)
        return add_db_options(command) if db_options else command

    return make


@click.group(cls=RootGroup, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def root(ctx: click.Context) -> Result | None:
    """Run commands in the background and keep track of them."""
    if ctx.invoked_subcommand is not None:
        return None
    from queuectl_nb.commands.ack import done

    return done(ctx.get_help())


add_db_options(root, hide_network=False)


def run_command_line(args: Sequence[str], context: Context) -> Result:
    """Run one command line and return its result.

    Raises
    ------
    QueuectlError
        The command failed; nothing was changed.
    click.UsageError
        Click cannot parse the arguments.
    click.exceptions.Exit
        After ``--help`` or ``--version``, which click prints.
    """
    with root.make_context(PROGRAM, list(args), obj=context) as ctx:
        result: Result = root.invoke(ctx)
        return result


def describe_usage_error(error: click.ClickException) -> str:
    """Return a click error as one line that names the command and the valid choices."""
    text = error.format_message().rstrip(".")
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return text[:1].lower() + text[1:]
    _, _, verb = ctx.command_path.partition(" ")
    at = f"{verb}: " if verb else ""
    if (
        isinstance(ctx.command, click.Group) and text == "Missing command"
    ):  # only after options; CommandGroup handles the rest
        return f"{verb} needs one of: {', '.join(ctx.command.list_commands(ctx))}"
    if isinstance(error, click.NoSuchOption):
        return f"{at}no such option {error.option_name}; valid: {', '.join(_options(ctx))}"
    return f"{at}{text[:1].lower()}{text[1:]}; see '{ctx.command_path} --help'"


def _options(ctx: click.Context) -> list[str]:
    """Return the names of the command's options."""
    return [
        max(param.opts, key=len)
        for param in ctx.command.get_params(ctx)
        if isinstance(param, click.Option) and not param.hidden
    ]
