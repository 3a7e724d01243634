"""The workers' events in the seed's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.model.validation import format_time
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Event = Mapping[str, Any]

__all__ = ["lines_of"]

STATUS = {"succeeded": "SUCCESS", "cancelled": "CANCELLED", "returned": "GIVEN BACK"}
"""What is said of an outcome; of any other: FAILED."""


def lines_of(event: Event) -> list[str]:
    """Return the lines that tell an event; none for one that people need not see."""
    tell = _TELL.get(event["event"])
    return tell(event) if tell else []


def _worker_started(event: Event) -> list[str]:
    return [f"[{event['worker']}] Starting..."]


def _started(event: Event) -> list[str]:
    worker = event["worker"]
    return [
        f"[{worker}] --- STARTING Job: {event['job']} (Attempt {event['attempt']} of {event['max_retries']}) ---",
        f"[{worker}]   -> Command: {visible(event['command'])}",
    ]


def _finished(event: Event) -> list[str]:
    begin = f"[{event['worker']}]   -> "
    lines = [f"{begin}Status: {STATUS.get(event['outcome'], 'FAILED')}"]
    for stream in ("stdout", "stderr"):
        text = event[stream]
        if text:
            lines += [f"{begin}{stream}: {visible(line)}" for line in text.rstrip().split("\n")]
    if event["error"] and event["outcome"] != "succeeded":
        # the seed has the shell's complaint under stderr, also where the command itself said nothing there
        failed = event["outcome"] not in STATUS and not event["stderr"]
        kind = "stderr: Command failed" if failed else "Error"
        lines.append(f"{begin}{kind}: {visible(event['error'])}")
    if event["state"] == "failed":
        lines.append(f"{begin}ACTION: Retrying. Next run at {_second(event['run_at'])}")
    elif event["state"] == "dead":
        lines.append(f"{begin}ACTION: Moving to DLQ ({event['reason'] or 'Max retries reached'}).")
    lines.append(f"[{event['worker']}] --- FINISHED Job: {event['job']} ---")
    return lines


def _second(stamp: float) -> str:
    """Return a time to the second, as the seed shows it."""
    text = format_time(float(int(stamp))) or ""
    return text.replace(".000Z", "Z")


def _rescued(event: Event) -> list[str]:
    return [f"[{event['worker']}] Rescuing stale job: {event['job']} (was locked by {event['was']})"]


def _worker_died(event: Event) -> list[str]:
    again = f"starting it again in {event['restart_in']:g} seconds" if event["restart_in"] else "starting it again"
    return [f"[{event['worker']}] Died ({event['why']}); {again}"]


def _worker_stopped(event: Event) -> list[str]:
    return [f"[{event['worker']}] Stopped."]


def _warning(event: Event) -> list[str]:
    return [visible(f"{event['worker']}: {event['text']}" if event.get("worker") else event["text"])]


def _dropped(event: Event) -> list[str]:
    return [f"{event['count']} line(s) not shown: more came than could be read"]


_TELL: dict[str, Callable[[Event], list[str]]] = {
    "worker_started": _worker_started,
    "started": _started,
    "finished": _finished,
    "rescued": _rescued,
    "worker_died": _worker_died,
    "worker_stopped": _worker_stopped,
    "warning": _warning,
    "dropped": _dropped,
}
