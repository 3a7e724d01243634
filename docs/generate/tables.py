"""Tables made from the code: settings, exit codes, commands, states and their transitions, help topics."""

from __future__ import annotations

from pathlib import Path

from docs.generate import cli
from queuectl_nb.commands.help import TOPIC_NAMES, topic_summary
from queuectl_nb.model import errors
from queuectl_nb.model.job_environment import WITHHELD
from queuectl_nb.model.settings import SETTINGS
from queuectl_nb.model.state import ALLOWED_STATES, FINISHED_STATES, TRANSITIONS, State

__all__ = [
    "allowed_states",
    "commands",
    "diagram",
    "exit_codes",
    "label",
    "measurements",
    "setting_ranges",
    "settings",
    "states",
    "topics",
    "withheld",
]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LABELS = {
    (State.PENDING, State.PROCESSING): "claimed",
    (State.FAILED, State.PROCESSING): "claimed when due",
    (State.PROCESSING, State.COMPLETED): "exit code 0",
    (State.PROCESSING, State.FAILED): "failed, will retry",
    (State.PROCESSING, State.DEAD): "attempts used up",
    (State.PROCESSING, State.PENDING): "returned",
    (State.PROCESSING, State.CANCELLED): "cancel",
    (State.BLOCKED, State.PENDING): "dependencies completed",
    (State.BLOCKED, State.CANCELLED): "a dependency did not",
    (State.DEAD, State.PENDING): "dlq retry",
    (State.PENDING, State.BLOCKED): "edit --after",
    (State.FAILED, State.BLOCKED): "edit --after",
}


def label(old: State, new: State) -> str:
    """Return the reason of a transition."""
    return LABELS.get((old, new)) or ("retry" if new is not State.CANCELLED else "cancel")


def settings() -> str:
    """Return the table of settings."""
    rows = ["| key | default | valid | meaning |", "| --- | --- | --- | --- |"]
    for row in SETTINGS.values():
        default = str(row.default).replace(",", ", ")
        rows.append(f"| `{row.key}` | {default} | {row.bounds} | {row.meaning} |")
    return "\n".join(rows)


def setting_ranges() -> str:
    """Return the valid values of the settings."""
    rows = [f"| `{row.key}` | {row.bounds} |" for row in SETTINGS.values()]
    return "\n".join(["| setting | valid |", "| --- | --- |", *rows])


def withheld() -> str:
    """Return the variables of workers that do not reach jobs."""
    rows = ["| belongs to | variables |", "| --- | --- |"]
    rows += [f"| {owner} | {', '.join(f'`{name}`' for name in names)} |" for owner, names in WITHHELD.items()]
    return "\n".join(rows)


def exit_codes() -> str:
    """Return the exit codes with the errors that give them."""
    rows = ["| code | error | meaning |", "| --- | --- | --- |", "| 0 | | success |"]
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "QueuectlError"]
    for kind in sorted(kinds, key=lambda kind: (kind.exit_code, kind.__name__)):
        meaning = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".").replace("``", "`")
        rows.append(f"| {kind.exit_code} | `{kind.__name__}` | {meaning} |")
    return "\n".join(rows)


def allowed_states() -> str:
    """Return the states in which each command can be used."""
    lines = ["| command | job must be |", "| --- | --- |"]
    for verb, states in ALLOWED_STATES.items():
        lines.append(f"| `{verb}` | {', '.join(state for state in State if state in states)} |")
    lines.append(f"\nFinished: {', '.join(state for state in State if state in FINISHED_STATES)}.")
    return "\n".join(lines)


def diagram() -> str:
    """Return the state diagram from the transition table."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending", "    [*] --> blocked: --after"]
    for old in State:
        lines += [f"    {old} --> {new}: {label(old, new)}" for new in State if new in TRANSITIONS[old]]
    return "\n".join([*lines, "```"])


def states() -> str:
    """Return the diagram, and the states in which each command can be used."""
    return f"{diagram()}\n\n{allowed_states()}"


def commands() -> str:
    """Return the commands with the first line of their help."""
    rows = ["| command | description |", "| --- | --- |"]
    for command, context in cli.walk():
        if context.parent is not None and context.parent.parent is None:
            linked = cli.link(context, "docs/reference/")
            rows.append(f"| {linked} | {command.get_short_help_str(120).rstrip('.')} |")
    return "\n".join(rows)


def topics() -> str:
    """Return the topics of ``queuectl help`` with their first lines."""
    rows = ["| `queuectl help` … | description |", "| --- | --- |"]
    rows += [f"| [`{name}`](docs/reference/{name}.md) | {topic_summary(name).rstrip('.')} |" for name in TOPIC_NAMES]
    return "\n".join(rows)


def measurements() -> str:
    """Return the table of measurements from the README of the benchmarks."""
    text = (BENCHMARKS / "README.md").read_text("utf-8").partition("## Results")[2]
    found = [line for line in text.splitlines() if line.startswith("|")]
    if not found:
        msg = f"{BENCHMARKS / 'README.md'} has no table of measurements"
        raise SystemExit(msg)
    return "\n".join(found)
