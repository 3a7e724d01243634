"""Writes what the documentation takes from the code, or checks that it is current.

Run it as ``python -m docs.generate`` from the top of the repository; ``--check`` writes nothing and exits 1 where a
file is behind. Whole files are in ``docs/reference``; in other files the text between two marks is replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from queuectl_nb.commands.tree import tree
from queuectl_nb.forms.shapes import WORKER_FIELDS
from queuectl_nb.model import errors
from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.job import JOB_FIELDS, SPEC_FIELDS
from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import AT_REST, TAKES, TRANSITIONS, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `python -m docs.generate`; change the code, not this. -->\n\n"
WIDTH = 100


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield a command and all below it, each with its context."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name  # noqa: S101 - the tree lists only what it has
            inner = click.Context(below, info_name=name, parent=context, max_content_width=WIDTH, terminal_width=WIDTH)
            yield from walk(below, inner)


def cli() -> str:
    """Return the reference of the console command: the help of every verb."""
    settings = {**tree.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    top = click.Context(tree, info_name="queuectl", **settings)
    parts = [NOTE + "# The console command\n"]
    for command, context in walk(tree, top):
        level = "##" if context.parent is None or context.parent.parent is None else "###"
        parts.append(f"{level} `{context.command_path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def settings() -> str:
    """Return the table of settings."""
    rows = [NOTE + "# Settings\n", "Live: every worker uses a new value for its next decision.\n"]
    rows += ["| key | default | valid | meaning |", "| --- | --- | --- | --- |"]
    for row in SETTINGS.values():
        default = str(row.default).replace(",", ", ")
        rows.append(f"| `{row.key}` | {default} | {row.bounds} | {row.meaning} |")
    return "\n".join(rows) + "\n"


def fields() -> str:
    """Return the fields of everything that has a JSON shape."""
    parts = [NOTE + "# Fields\n", "Times are ISO 8601 in UTC with milliseconds; null where nothing is known yet.\n"]
    for title, names in [
        ("A job (`job_view`, `list --json`, `show --json`)", JOB_FIELDS),
        ("An attempt (`attempt_view`, `history` of `show --json`)", ATTEMPT_FIELDS),
        ("A worker (`worker list --json`)", WORKER_FIELDS),
        ("What a job is enqueued from (`enqueue '{…}'`, `enqueue --from`)", SPEC_FIELDS),
        ("An attempt's `outcome`", OUTCOME_NAMES),
    ]:
        parts.append(f"## {title}\n\n{' · '.join(f'`{name}`' for name in names)}\n")
    return "\n".join(parts)


def exit_codes() -> str:
    """Return the exit codes with the errors that give them."""
    rows = [NOTE + "# Exit codes\n", "| code | error | meaning |", "| --- | --- | --- |", "| 0 | | done |"]
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "QueuectlError"]
    for kind in sorted(kinds, key=lambda kind: (kind.exit_code, kind.__name__)):
        meaning = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
        rows.append(f"| {kind.exit_code} | `{kind.__name__}` | {meaning} |")
    return "\n".join(rows) + "\n"


def states() -> str:
    """Return the state diagram, and which states each verb takes, from the transition table."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending", "    [*] --> blocked: --after"]
    labels = {
        (State.PENDING, State.PROCESSING): "claimed",
        (State.FAILED, State.PROCESSING): "claimed when due",
        (State.PROCESSING, State.COMPLETED): "exit code 0",
        (State.PROCESSING, State.FAILED): "failed, retry due",
        (State.PROCESSING, State.DEAD): "attempts used up",
        (State.PROCESSING, State.PENDING): "given back",
        (State.PROCESSING, State.CANCELLED): "cancel",
        (State.BLOCKED, State.PENDING): "what it waited for completed",
        (State.BLOCKED, State.CANCELLED): "what it waited for did not",
        (State.DEAD, State.PENDING): "dlq retry",
    }
    for old in State:
        for new in State:
            if new in TRANSITIONS[old]:
                label = labels.get((old, new)) or ("retry" if new is not State.CANCELLED else "cancel")
                lines.append(f"    {old} --> {new}: {label}")
    lines += ["```", "", "| verb | takes jobs that are |", "| --- | --- |"]
    for verb, takes in TAKES.items():
        lines.append(f"| `{verb}` | {', '.join(state for state in State if state in takes)} |")
    lines.append(f"\nAt rest: {', '.join(state for state in State if state in AT_REST)}.")
    return "\n".join(lines)


def verbs() -> str:
    """Return the verbs with their first lines."""
    context = click.Context(tree, info_name="queuectl")
    rows = ["| command | does |", "| --- | --- |"]
    for name in tree.list_commands(context):
        command = tree.get_command(context, name)
        assert command is not None, name  # noqa: S101
        rows.append(f"| `queuectl {name}` | {command.get_short_help_str(120).rstrip('.')} |")
    return "\n".join(rows)


WHOLE: dict[str, Callable[[], str]] = {
    "docs/reference/cli.md": cli,
    "docs/reference/settings.md": settings,
    "docs/reference/fields.md": fields,
    "docs/reference/exit-codes.md": exit_codes,
}
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"verbs": verbs, "states": states},
}


def expected() -> dict[Path, str]:
    """Return every generated file with what it should hold."""
    found = {ROOT / name: make() for name, make in WHOLE.items()}
    for name, parts in PARTS.items():
        path = ROOT / name
        text = path.read_text("utf-8")
        for mark, make in parts.items():
            pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
            if not pattern.search(text):
                msg = f"{name} has no place for {mark}"
                raise SystemExit(msg)
            text = pattern.sub(lambda match, make=make: f"{match[1]}\n{make()}\n\n{match[2]}", text)  # type: ignore[misc]
        found[path] = text
    return found


def main() -> int:
    """Write, or check with ``--check``."""
    parser = argparse.ArgumentParser(description="Generate the reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is behind")
    check = parser.parse_args().check
    behind = [path for path, text in expected().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in behind:
        name = path.relative_to(ROOT)
        sys.stdout.write(f"{name} {'is behind: run python -m docs.generate' if check else 'written'}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(expected()[path], "utf-8")
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main())
