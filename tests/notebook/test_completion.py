"""Tab completion of the magic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


def complete(shell: Any, line: str) -> list[str]:
    """Return the completions at the end of a line."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = [each for each in shell.Completer.completions(line, len(line)) if each.type == "queuectl"]
    return [line[: each.start] + each.text for each in found]


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("%queuectl sta", "%queuectl status"),
        ("%%queuectl enq", "%%queuectl enqueue"),
        ("df = %queuectl dlq re", "df = %queuectl dlq retry"),
        ("%queuectl list --sta", "%queuectl list --state"),
        ("%queuectl enqueue --max_r", "%queuectl enqueue --max_retries"),
        ("%queuectl enqueue --max_retries 2 --auto_in", "%queuectl enqueue --max_retries 2 --auto_inputs"),
        ("%queuectl list --state de", "%queuectl list --state dead"),
        ("%queuectl list --state=de", "%queuectl list --state=dead"),
        ("%queuectl config get max", "%queuectl config get max_retries"),
        ("%queuectl config set max-r", "%queuectl config set max_retries"),
        ("%queuectl show job=", "%queuectl show job=a:1"),
        ("%queuectl pause sl", "%queuectl pause slow"),
        ("%%queuectl enqueue --py", "%%queuectl enqueue --python"),
        ("%queuectl enqueue --var my_", "%queuectl enqueue --var my_rate"),
        ("%%bg --max-re", "%%bg --max-retries"),
        ("%%bg --id a --queue sl", "%%bg --id a --queue slow"),
        ("%%bg --input my_", "%%bg --input my_rate"),
        ("%%bg --after job=", "%%bg --after job=a:1"),
        ("%queuectl edit --with", "%queuectl edit --with-tag"),
        ("%queuectl edit --with-tag nig", "%queuectl edit --with-tag night"),
        ("%queuectl cancel --tag nig", "%queuectl cancel --tag night"),
    ],
)
def test_completion(shell: Any, line: str, completed: str) -> None:
    """Commands, options, states, settings, ids, queues, tags and variables are completed."""
    shell.user_ns["my_rate"] = 1
    shell.run_line_magic("queuectl", "enqueue --id job=a:1 --queue slow --tag night --command true")
    assert completed in complete(shell, line)


def test_completion_of_workers(shell: Any, queue: Queue) -> None:
    """``worker stop`` completes names of workers."""
    with queue.start_workers(1) as pool:
        (name,) = pool.names
        assert complete(shell, "%queuectl worker stop ") == [f"%queuectl worker stop {name}"]
        assert complete(shell, f"%queuectl worker stop --now {name[:3]}") == [f"%queuectl worker stop --now {name}"]


def test_other_lines_are_not_completed(shell: Any) -> None:
    """Lines without the magic are left to IPython."""
    assert complete(shell, "queuectl sta") == []
    shell.register_magic_function(lambda _line, _cell: None, "cell", "bg")
    assert complete(shell, "%%bg --max-re") == []
