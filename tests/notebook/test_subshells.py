"""A message of a page that a subshell handles while a cell runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.harness import until
from tests.notebook.kernels import stream_text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.kernels import Kernel

START = """
import pathlib, threading, time
from queuectl_nb.client import Queue
from queuectl_nb.notebook.dashboard.dashboard import Dashboard
dashboard = Dashboard(Queue())
handled, events = [], []
dashboard.toolbar.pause.on_click(lambda _: handled.append(threading.current_thread().name))
for name in ("pre_execute", "post_execute"):
    get_ipython().events.register(name, lambda: events.append(threading.current_thread().name))
def until_handled(number):
    while len(handled) < number:
        time.sleep(0.01)
    print("handled")
print(dashboard.toolbar.pause.model_id)
"""
CELLS = (
    "thread = threading.Thread(target=until_handled, args=(1,))\nthread.start()\nthread.join()",
    "%%capture found\nuntil_handled(2)",
)


def create_subshell(kernel: Kernel) -> str:
    """Create a subshell and return its id."""
    client: Any = kernel.client
    client.control_channel.send(client.session.msg("create_subshell_request"))
    subshell: str = client.get_control_msg(timeout=60)["content"]["subshell_id"]
    return subshell


def click(kernel: Kernel, widget: str, subshell: str) -> None:
    """Send the click of a button as JupyterLab does."""
    data = {"method": "custom", "content": {"event": "click"}}
    message = kernel.client.session.msg("comm_msg", {"comm_id": widget, "data": data})
    message["header"]["subshell_id"] = subshell
    kernel.client.shell_channel.send(message)


def test_click_leaves_the_running_cell_alone(kernel: Kernel) -> None:
    """A thread of the cell still prints into the cell, a capture goes on, and no event of IPython fires."""
    widget = stream_text(kernel.run_ok(START), "stdout").strip()
    subshell = create_subshell(kernel)
    for cell in CELLS:
        request = kernel.start(cell, lambda sent: sent["msg_type"] == "execute_input")
        click(kernel, widget, subshell)
        assert kernel.reply(request)["status"] == "ok"
        sent = [each for each in kernel.drain(request) if each["parent_header"].get("msg_id") == request]
        assert stream_text(sent, "stdout") == ("" if "capture" in cell else "handled\n")
    printed = stream_text(kernel.run_ok("print(found.stdout, set(events), {each[:8] for each in handled})"), "stdout")
    assert printed.split() == ["handled", "{'MainThread'}", "{'subshell'}"]


def test_page_that_is_loaded_during_a_cell(kernel: Kernel, tmp_path: Path) -> None:
    """A page that asks for the state of all widgets leaves the running cell alone as well."""
    kernel.run_ok(START)
    subshell = create_subshell(kernel)
    end = tmp_path / "end"
    cell = f"""
def wait():
    while not pathlib.Path({str(end)!r}).exists():
        time.sleep(0.01)
    print("waited")
thread = threading.Thread(target=wait)
thread.start()
thread.join()
"""
    request = kernel.start(cell, lambda sent: sent["msg_type"] == "execute_input")
    client = kernel.client
    opening = {"target_name": "jupyter.widget.control", "data": {}}
    asking = {"data": {"method": "request_states"}}
    for kind, content in (("comm_open", opening), ("comm_msg", asking)):
        metadata = {"version": "1.0.0"}
        message = client.session.msg(kind, {"comm_id": "control", **content}, metadata=metadata)
        message["header"]["subshell_id"] = subshell
        client.shell_channel.send(message)
    until(lambda: client.get_iopub_msg(timeout=60)["content"].get("data", {}).get("method") == "update_states")
    end.touch()
    assert kernel.reply(request)["status"] == "ok"
    sent = [each for each in kernel.drain(request) if each["parent_header"].get("msg_id") == request]
    assert stream_text(sent, "stdout") == "waited\n"
    assert stream_text(kernel.run_ok("print(set(events))"), "stdout").strip() == "{'MainThread'}"
