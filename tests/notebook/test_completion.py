"""Tab behind the magic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from queuectl_nb.client import Queue


def offers(shell: Any, line: str) -> list[str]:
    """Return what Tab offers at the end of a line."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = [each for each in shell.Completer.completions(line, len(line)) if each.type == "queuectl"]
    return [line[: each.start] + each.text for each in found]


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("%queuectl sta", "%queuectl status"),
        ("%%queuectl enq", "%%queuectl enqueue"),
        ("df = %queuectl dlq re", "df = %queuectl dlq retry"),
        ("%queuectl list --sta", "%queuectl list --state"),
        ("%queuectl list --state de", "%queuectl list --state dead"),
        ("%queuectl list --state=de", "%queuectl list --state=dead"),
        ("%queuectl config get max", "%queuectl config get max_retries"),
        ("%queuectl show job=", "%queuectl show job=a:1"),
        ("%queuectl pause sl", "%queuectl pause slow"),
        ("%%queuectl enqueue --py", "%%queuectl enqueue --python"),
        ("%queuectl enqueue --var my_", "%queuectl enqueue --var my_rate"),
    ],
)
def test_tab_offers(shell: Any, line: str, whole: str) -> None:
    """Commands, options, states, settings, ids, queues and variables complete, wherever the word's characters break."""
    shell.user_ns["my_rate"] = 1
    shell.run_line_magic("queuectl", "enqueue --id job=a:1 --queue slow --command true")
    assert whole in offers(shell, line)


def test_tab_offers_workers(shell: Any, queue: Queue) -> None:
    """Names of workers complete behind worker stop."""
    with queue.start_workers(1) as pool:
        (name,) = pool.names
        assert offers(shell, "%queuectl worker stop ") == [f"%queuectl worker stop {name}"]
        assert offers(shell, f"%queuectl worker stop --now {name[:3]}") == [f"%queuectl worker stop --now {name}"]


def test_tab_elsewhere_is_not_ours(shell: Any) -> None:
    """Other lines are left to IPython."""
    assert offers(shell, "queuectl sta") == []
