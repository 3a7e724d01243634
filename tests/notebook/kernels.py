"""A kernel with the extension loaded, the messages of its cells, and interrupts."""

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

    @property
    def pid(self) -> int:
        """The process of the kernel."""
        provisioner: Any = self.manager.provisioner
        pid: int = provisioner.pid
        return pid

    def run(self, source: str) -> Message:
        """Run a cell and return the reply; its messages are in ``sent``."""
        self.sent = []
        reply: Message = self.client.execute_interactive(source, timeout=60, output_hook=self.sent.append)["content"]
        return reply

    def run_ok(self, source: str) -> list[Message]:
        """Run a cell that must succeed; return its messages."""
        reply = self.run(source)
        assert reply["status"] == "ok", reply
        return self.sent

    def start(self, source: str, seen: Callable[[Message], bool]) -> str:
        """Send a cell and wait for a message; return the id of the request."""
        request: str = self.client.execute(source)
        self.sent = []
        until(lambda: self._take(request) and seen(self.sent[-1]))
        return request

    def _take(self, request: str) -> bool:
        message = self.client.get_iopub_msg(timeout=60)
        self.sent.append(message)
        return bool(message["parent_header"].get("msg_id") == request)

    def reply(self, request: str) -> Message:
        """Wait for the reply to a request."""
        found = self.client.get_shell_msg(timeout=60)
        while found["parent_header"].get("msg_id") != request:
            found = self.client.get_shell_msg(timeout=60)
        content: Message = found["content"]
        return content

    def drain(self, request: str) -> list[Message]:
        """Return the messages of a request until the kernel is idle."""
        found: list[Message] = []
        deadline = time.monotonic() + 60
        idle = False
        while not idle and time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=60)
            found.append(message)
            idle = message["content"].get("execution_state") == "idle"
            idle = idle and message["parent_header"].get("msg_id") == request
        return found

    def close(self) -> None:
        """Shut down the kernel if it is running."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def texts(messages: list[Message], *kinds: str) -> list[str]:
    """Return the plain texts of displays, or of the given message types."""
    wanted = kinds or ("display_data", "update_display_data", "execute_result")
    return [each["content"]["data"]["text/plain"] for each in messages if each["msg_type"] in wanted]


def stream_text(messages: list[Message], stream: str) -> str:
    """Return the text written to a stream."""
    parts = [each["content"] for each in messages if each["msg_type"] == "stream"]
    return "".join(part["text"] for part in parts if part["name"] == stream)
