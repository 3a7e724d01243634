"""A visible dashboard has no effect on the cells that run beside it.

The cells are sent to the kernel as JupyterLab does it, without showing their outputs: the dashboard stays in view.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.browser.dashboard_page import DashboardPage, cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.browser.lab import Notebook

SETUP = """
import collections, contextlib, ctypes, logging, os, subprocess, sys, threading, time, warnings
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, clear_output, display
from ipywidgets import Output

events, libc = [], ctypes.CDLL(None)
plt.figure(); plt.close()  # may print that it collects fonts
shell = get_ipython()
for name in ("pre_execute", "post_execute", "pre_run_cell", "post_run_cell"):
    shell.events.register(name, lambda *_, name=name: events.append((name, threading.current_thread().name)))

def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args, name="worker")
    thread.start()
    thread.join()

def write(text, repeat=6):
    for n in range(repeat):
        print(text, n)
        time.sleep(0.04)
"""
HEARTBEAT_INTERVAL_MS = 5000
START = "plt.close('all'); events.clear()"
PLOTS = (
    "plt.plot([1, 2, 3]); time.sleep(0.4); plt.title('x')",
    "fig, ax = plt.subplots(); time.sleep(0.2); ax.plot([3, 1, 2]); time.sleep(0.2); ax.set_xlabel('x')",
    "plt.figure(figsize=(3, 2)); time.sleep(0.2); plt.hist([1, 1, 2]); time.sleep(0.2); plt.grid()",
    "fig, axes = plt.subplots(2, 2)\nfor ax in axes.flat:\n    ax.plot([1, 2]); time.sleep(0.1)",
    "plt.plot([1, 2]); time.sleep(0.2); plt.show(); time.sleep(0.2); plt.plot([2, 1]); time.sleep(0.2); plt.show()",
    "for n in range(3):\n    plt.figure(); plt.plot([n, 0]); time.sleep(0.1); plt.title(str(n))",
    "plt.imshow(np.eye(4)); time.sleep(0.3); plt.colorbar()",
    "fig = plt.figure(); time.sleep(0.2); fig.add_subplot().bar(['a', 'b'], [1, 2]); time.sleep(0.2); plt.close(); fig",
    "import pandas as pd\nax = pd.DataFrame({'a': [1, 2]}).plot(); time.sleep(0.3); ax.set_ylabel('y')",
    "for n in range(3):\n    plt.plot([0, n]); time.sleep(0.1); clear_output(wait=True); plt.show()",
)
PRINTS = (
    "write('main')",
    "in_thread(write, 'thread')",
    "for n in range(6):\n    subprocess.run(['echo', f'child {n}']); time.sleep(0.05)",
    "for n in range(6):\n    os.write(1, b'fd\\n'); libc.puts(b'C'); libc.fflush(None); time.sleep(0.05)",
    "!for n in 1 2 3; do echo shell $n; sleep 0.1; done",
    "def fail():\n    time.sleep(0.3); 1 / 0\nin_thread(fail)",
    "in_thread(lambda: (time.sleep(0.3), logging.getLogger('x').warning('logged'), warnings.warn('warned')))",
    "in_thread(lambda: (time.sleep(0.3), display(HTML('<b>from a thread</b>'))))",
    "%%capture found\nprint('captured'); time.sleep(0.3); display(HTML('shown'))\nin_thread(write, 'thread')",
    "[found.stdout, len(found.outputs)]",
    "with contextlib.redirect_stdout(open(os.devnull, 'w')):\n    write('hidden')\nwrite('seen')",
    "import asyncio\nprint('before'); await asyncio.sleep(0.4); in_thread(write, 'async'); plt.plot([2, 1])",
)
IPYMPL = (
    "plt.close('all')",
    "%matplotlib widget",
    "fig, ax = plt.subplots(num='ipympl'); time.sleep(0.3); ax.plot([1, 2]); time.sleep(0.2); fig.canvas",
    "%matplotlib inline",
)
EVENTS = "collections.Counter(events)"
# the page answers to these widgets, which fires events, so they come after EVENTS
OUTPUT = "out = Output()\nwith out:\n    write('in the widget')\nin_thread(write, 'outside')\nout.outputs"
TESTED = (START, *PLOTS, *PRINTS, EVENTS, OUTPUT)
RUN = """async (sources) => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const found = [];
    for (const code of sources) {
        const future = kernel.requestExecute({ code });
        const outputs = [];
        future.onIOPub = ({ header, content }) => outputs.push([header.msg_type, content]);
        await future.done;
        found.push(outputs);
    }
    return found;
}"""
STORM = """(root) => {
    const grid = root.querySelector("[role=grid]");
    setInterval(() => {
        document.dispatchEvent(new Event("visibilitychange"));
        grid.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
    }, 100);
}"""
WATCH = """() => {
    window.sent = [];
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    kernel.anyMessage.connect((_, { msg, direction }) => {
        const kind = msg.content?.data?.content?.kind;
        if (direction === "send" && kind) window.sent.push([kind, msg.header.subshell_id]);
    });
}"""
RANDOM = r"0x[0-9a-f]{8,}|[0-9a-f]{32}|ipykernel_\d+/\d+|model_id': '\w+'"


def run(page: Notebook, sources: Iterable[str]) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Run cells, and return for each what it wrote to streams, and its other outputs without random names."""
    ran = list(sources)
    found = {}
    for source, messages in zip(ran, page.page.evaluate(RUN, ran), strict=True):
        streams: dict[str, str] = defaultdict(str)
        others = []
        for kind, content in messages:
            if kind == "stream":
                streams[content["name"]] += content["text"]
            elif kind in ("display_data", "update_display_data", "execute_result", "error", "clear_output"):
                shown = {name: content[name] for name in ("data", "ename", "evalue", "wait") if name in content}
                others.append(re.sub(RANDOM, "…", f"{kind} {shown}"))
        found[source] = ({name: re.sub(RANDOM, "…", text) for name, text in streams.items()}, others)
    return found


def test_cells_show_the_same_with_a_dashboard(notebook: Callable[..., Notebook], queue: Queue) -> None:
    """Plots, prints, captured output and event callbacks are the same while rows of a dashboard are being selected."""
    queue.enqueue_many([{"command": f"echo {n}"} for n in range(2000)])
    page = notebook(cells(queue))
    run(page, [SETUP])
    expected = run(page, TESTED)
    assert all("png" in "".join(expected[each][1]) for each in PLOTS)
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    dashboard.row().first.click()
    page.page.evaluate(WATCH)
    dashboard.root.evaluate(STORM)
    assert run(page, TESTED) == expected
    interactive = run(page, IPYMPL)
    sent = page.page.evaluate("() => window.sent")
    assert sum(kind == "select" and subshell is not None for kind, subshell in sent) > len(TESTED)
    assert run(page, ["dashboard.close()", *IPYMPL]) == {"dashboard.close()": ({}, []), **interactive}


def test_no_heartbeats_during_a_cell(notebook: Callable[..., Notebook], queue: Queue, tmp_path: Path) -> None:
    """Pages send heartbeats to the main thread while it is free, and none while it runs a cell."""
    queue.enqueue("true", id="first")
    page = notebook(cells(queue))
    page.run_all()
    dashboard = DashboardPage.wait_for(page)
    page.page.evaluate(WATCH)
    page.page.wait_for_function("() => window.sent.length > 0")
    assert {tuple(each) for each in page.page.evaluate("() => window.sent")} == {("heartbeat", None)}
    end = tmp_path / "end"
    cell = f"import time, pathlib\nwhile not pathlib.Path({str(end)!r}).exists():\n    time.sleep(0.05)"
    page.page.evaluate(f"(cells) => {{ window.ran = ({RUN})(cells); }}", [cell])
    page.page.wait_for_timeout(1000)  # the page learns within 0.2 s that a cell runs
    page.page.evaluate("() => { window.sent = []; }")
    page.page.wait_for_timeout(2 * HEARTBEAT_INTERVAL_MS)
    assert page.page.evaluate("() => window.sent") == []
    queue.enqueue("true", id="second")
    dashboard.expect_first("second")
    end.touch()
    page.page.wait_for_function("() => window.sent.length > 0")
