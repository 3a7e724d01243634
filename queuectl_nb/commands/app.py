"""The command tree; the module of a command is loaded when the command is first used."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb import __version__
from queuectl_nb.commands.done import Done
from queuectl_nb.commands.params import add_db_options, add_format_options
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from click.shell_completion import CompletionItem

    from queuectl_nb.commands.context import Context
    from queuectl_nb.commands.results import Result

__all__ = [
    "ALIASES",
    "COMPLETE_VAR",
    "PROGRAM",
    "SECTIONS",
    "CommandGroup",
    "ExampleCommand",
    "RootGroup",
    "command_group",
    "describe_usage_error",
    "queuectl_command",
    "root",
    "run_command_line",
    "with_underscores",
]

PROGRAM = "queuectl"
COMPLETE_VAR = "_QUEUECTL_COMPLETE"
"""Environment variable that the shell completion scripts set."""

SECTIONS: Mapping[str, Sequence[str]] = {
    "Jobs": (
        "enqueue",
        "run",
        "list",
        "show",
        "log",
        "artifacts",
        "metrics",
        "errors",
        "grep",
        "wait",
        "edit",
        "retry",
        "cancel",
        "delete",
        "prune",
        "dlq",
    ),
    "Workers": ("worker", "pause", "resume", "limit"),
    "Queue": ("status", "stats", "dashboard", "config", "init", "backup", "doctor"),
    "Help": ("help", "demo", "completion", "version"),
}
"""The commands by section of the help text; ``list`` is ``list_command`` in the module ``list`` of this package."""

MODULES: Mapping[str, str] = {
    **dict.fromkeys(("cancel", "delete", "dlq", "edit", "retry"), "change"),
    **dict.fromkeys(("backup", "doctor", "init", "prune"), "maintenance"),
    **dict.fromkeys(("limit", "pause", "resume"), "queues"),
    **dict.fromkeys(("completion", "version"), "help"),
}
"""The modules of commands that are in another module than that of their name."""

ALIASES: Mapping[str, str] = {
    "add": "enqueue",
    "logs": "log",
    "ls": "list",
    "ps": "status",
    "rm": "delete",
    "start": "worker start",
    "stop": "worker stop",
}
"""Short names, and the commands that they run."""

SUGGESTIONS: Mapping[str, str] = {
    **{alias: alias for alias in ALIASES},
    **{name: f"config {name}" for name in ("get", "set", "unset")},
    "purge": "dlq purge",
    "scale": "worker scale",
}
"""Words that an unknown command may mean, beside the commands themselves."""

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": methodcaller("replace", "_", "-"),
    "max_content_width": 100,
}


class CommandGroup(click.Group):
    """A group of commands; an unknown one raises ``BadInput`` with the valid ones, ``list`` is the default."""

    suggestions: Mapping[str, str] = {}
    """Words that are not commands of this group, and what is suggested for them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of definition."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Run ``list`` if there is no subcommand."""
        bare = all(word.startswith("-") for word in args[:1]) and self.commands.keys().isdisjoint(args)
        if "list" in self.commands and bare and not ctx.resilient_parsing and not {*ctx.help_option_names} & {*args}:
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand; raise ``BadInput`` if there is none of this name."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            validation.parse_choice("command", args[0], self.list_commands(ctx), others=self.suggestions)
        return super().resolve_command(ctx, args)


class RootGroup(CommandGroup):
    """The root group. It loads one command at a time, so that ``enqueue`` does not import the others."""

    suggestions = SUGGESTIONS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, loaded or not."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, also by its short name."""
        name, *subcommand = ALIASES.get(cmd_name, cmd_name).split(" ")
        if name not in self.list_commands(ctx):
            return None
        module = import_module(f"queuectl_nb.commands.{MODULES.get(name, name)}")
        found: click.Command = getattr(module, f"{name}_command")
        return found.get_command(ctx, *subcommand) if subcommand and isinstance(found, click.Group) else found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands; once a letter is typed, short names, too."""
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        names = [name for name in ALIASES if incomplete and name.startswith(incomplete)]
        return found + [CompletionItem(name, help=f"Short for '{ALIASES[name]}'.") for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands section by section."""
        for title, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in commands if command])
        with formatter.section("Short names"):
            formatter.write_dl([*ALIASES.items()])


def with_underscores(option: str) -> str:
    """Return the other spelling of a long option.

    >>> with_underscores("--max-retries")
    '--max_retries'
    """
    return f"--{option.removeprefix('--').replace('-', '_')}"


class ExampleCommand(click.Command):
    """A command whose help text ends with examples."""

    examples: Sequence[str] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an option with one value that is given twice; ``delete --tag a --tag b`` would ignore the first."""
        if not ctx.resilient_parsing:
            *_, given = self.make_parser(ctx).parse_args(list(args))
            for option, times in Counter(given).items():
                single = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
                if single and times > 1:
                    raise BadInput(f"{max(option.opts, key=len)} takes one value; it was given {times} times")
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete options typed with underscores in the same way."""
        if not incomplete.startswith("--") or "_" not in incomplete:
            return super().shell_complete(ctx, incomplete)
        found = super().shell_complete(ctx, incomplete.replace("_", "-"))
        for item in found:
            item.value = with_underscores(item.value)
        return found

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, without wrapping them."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.examples))


def command_group(
    name: str, summary: str, *commands: click.Command, suggestions: Mapping[str, str] | None = None
) -> click.Command:
    """Return a group with a command ``list``."""
    default = f"Without a command, does the same as '{PROGRAM} {name} list'."
    group = CommandGroup(name, help=f"{summary}\n\n{default}", commands=commands)
    group.suggestions = suggestions or {}
    return add_db_options(group)


def queuectl_command(
    name: str,
    *,
    examples: Sequence[str] = (),
    format_options: bool = True,
    db_options: bool = True,
    cls: type[ExampleCommand] = ExampleCommand,
    **attrs: Any,
) -> Callable[[Callable[..., Result]], click.Command]:
    """Turn a function of the :class:`Context` that returns a :data:`Result` into a command.

    ``db_options`` adds ``--db``, ``format_options`` adds ``--format`` and ``--json``.
    """

    def make(function: Callable[..., Result]) -> click.Command:
        command = click.command(name, cls=cls, **attrs)(click.pass_obj(function))
        command.examples = examples
        if format_options:
            add_format_options(command)
        return add_db_options(command) if db_options else command

    return make


@click.group(cls=RootGroup, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
@click.pass_context
def root(ctx: click.Context) -> Result | None:
    """Run commands in the background and keep track of them.

    Start with 'queuectl enqueue --command "python train.py"', then 'queuectl worker start' in a second terminal. See
    'queuectl COMMAND --help' for examples, and 'queuectl help' for topics, such as 'queuectl help questions' and
    'queuectl help notebook'. A job id can be shortened to a unique prefix.
    """
    return Done(ctx.get_help().splitlines(), ctx.get_help) if ctx.invoked_subcommand is None else None


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


def describe_usage_error(error: click.ClickException, further: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a click error as one line that names the command and the valid choices.

    ``further`` are options of verbs that are parsed elsewhere.
    """
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return text
    _, _, verb = ctx.command_path.partition(" ")
    at = f"{verb}: " if verb else ""
    if isinstance(error, click.NoSuchOption):
        options = [param for param in ctx.command.get_params(ctx) if isinstance(param, click.Option)]
        valid = [max(option.opts, key=len) for option in options if not option.hidden]
        valid += (further or {}).get(verb, ())
        hint = validation.did_you_mean(error.option_name, valid)
        place = "" if verb else "; options of a command follow its name"
        return f"{at}no such option {error.option_name}; {hint}valid: {', '.join(valid)}{place}"
    return f"{at}{text}; see '{ctx.command_path} --help'"
