"""A real kernel with the extension loaded, what its cells send, and keys that are pressed meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import start_new_kernel

from tests.engine.harness import until
from tests.journeys.terminals import environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Message = dict[str, Any]


class Kernel:
    """A kernel with the extension loaded."""

    def __init__(self, path: Path) -> None:
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=environment(path), cwd=str(path.parent))
        self.sent: list[Message] = []
        self.run("%load_ext queuectl_nb")

    def run(self, source: str) -> Message:
        """Run a cell to its end and return the reply; what it sent is in ``sent``."""
        self.sent = []
        reply: Message = self.client.execute_interactive(source, timeout=60, output_hook=self.sent.append)["content"]
        return reply

    def good(self, source: str) -> list[Message]:
        """Run a cell that must end well; return what it sent."""
        reply = self.run(source)
        assert reply["status"] == "ok", reply
        return self.sent

    def begin(self, source: str, seen: Callable[[Message], bool]) -> str:
        """Send a cell and wait until it has sent what is looked for; return the request's id."""
        request: str = self.client.execute(source)
        self.sent = []
        until(lambda: self._take(request) and seen(self.sent[-1]))
        return request

    def _take(self, request: str) -> bool:
        message = self.client.get_iopub_msg(timeout=20)
        self.sent.append(message)
        return bool(message["parent_header"].get("msg_id") == request)

    def reply(self, request: str) -> Message:
        """Wait for the answer to a request."""
        found = self.client.get_shell_msg(timeout=20)
        while found["parent_header"].get("msg_id") != request:
            found = self.client.get_shell_msg(timeout=20)
        content: Message = found["content"]
        return content

    def rest(self, request: str) -> list[Message]:
        """Return what a request sends until the kernel is idle again."""
        found: list[Message] = []
        deadline = time.monotonic() + 20
        idle = False
        while not idle and time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=20)
            found.append(message)
            idle = message["content"].get("execution_state") == "idle"
            idle = idle and message["parent_header"].get("msg_id") == request
        return found

    def close(self) -> None:
        """End the kernel, if it is still there."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def texts(messages: list[Message], *kinds: str) -> list[str]:
    """Return the plain texts of the displays (or of the given kinds of message) that were sent."""
    wanted = kinds or ("display_data", "update_display_data", "execute_result")
    return [each["content"]["data"]["text/plain"] for each in messages if each["msg_type"] in wanted]


def written(messages: list[Message], stream: str) -> str:
    """Return what was written to a stream."""
    parts = [each["content"] for each in messages if each["msg_type"] == "stream"]
    return "".join(part["text"] for part in parts if part["name"] == stream)
