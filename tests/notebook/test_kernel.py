"""A real kernel: interrupts affect no job; however the kernel ends, its pool ends and returns the jobs.

``pytest tests/notebook/test_kernel.py --kernel-rounds 20 -rP`` does each of the seven ways twenty times and prints
the seconds that each took.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.client.workers import list_workers
from tests.engine.harness import alive, job_processes, until, within
from tests.notebook.kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Job, Queue

ENDS = 5.0


def running_job(kernel: Kernel, queue: Queue) -> Job:
    """Return a job that is running in the kernel's pool."""
    assert (
        kernel.run("pool = %queuectl worker start\njob = %queuectl enqueue --id a --command 'sleep 60'")["status"]
        == "ok"
    )
    job = queue.job("a")
    until(lambda: job.state == "processing" and job_processes(queue.path))
    return job


def interrupt(kernel: Kernel, *, twice: bool) -> None:
    """Interrupt a cell that waits, in the midst of it; ``twice`` presses again before the first has been heard.

    The second may strike ipykernel between the cell and its answer, which is lost then: only one is asked for it.
    """
    request = kernel.start("print('here')\n%queuectl wait", lambda sent: sent["msg_type"] == "stream")
    kernel.manager.interrupt_kernel()
    if twice:
        kernel.manager.interrupt_kernel()
    else:
        reply = kernel.reply(request)
        assert (reply["ename"], len(reply["traceback"])) == ("KeyboardInterrupt", 1)
    until(lambda: kernel.run("1 + 1")["status"] == "ok")


@pytest.mark.parametrize("twice", [False, True], ids=["interrupt", "interrupt twice"])
def test_interrupts_do_not_affect_jobs(kernel: Kernel, queue: Queue, *, twice: bool, kernel_round: int) -> None:
    """Interrupting a wait once or twice ends the cell; job and worker continue, and the kernel answers."""
    job = running_job(kernel, queue)
    (worker,) = list_workers(queue.store)
    interrupt(kernel, twice=twice)
    assert (job.state, job.attempts) == ("processing", 1)
    assert list_workers(queue.store) == [worker]


WAYS: dict[str, Callable[[Kernel], object]] = {
    "shutdown": lambda kernel: kernel.manager.shutdown_kernel(),
    "restart": lambda kernel: kernel.manager.restart_kernel(),
    "forced restart": lambda kernel: kernel.manager.restart_kernel(now=True),
    "kill -9": lambda kernel: os.kill(kernel.pid, signal.SIGKILL),
    "os._exit": lambda kernel: kernel.client.execute("import os; os._exit(1)"),
}


@pytest.mark.parametrize("way", WAYS)
def test_pool_ends_with_the_kernel(kernel: Kernel, queue: Queue, way: str, kernel_round: int) -> None:
    """Within five seconds no process is left, and the job is returned without using an attempt."""
    job = running_job(kernel, queue)
    worker = queue.store.workers.list_all()[0]
    pid = worker.pid or 0
    died = kernel.pid
    WAYS[way](kernel)
    until(lambda: not alive(died))
    began = time.monotonic()
    with within(ENDS, worker.pool):
        until(lambda: not alive(pid) and not job_processes(queue.path))
        gone = time.monotonic() - began
    until(lambda: job.state == "pending")
    assert job.attempts == 0
    until(lambda: list_workers(queue.store) == [])
    print(f"{way}, round {kernel_round}: all gone after {gone:.2f} s")  # noqa: T201 - the figure that a soak is for


def test_detached_pool(kernel: Kernel, queue: Queue) -> None:
    """A detached pool survives the kernel; a new kernel lists and stops it."""
    kernel.run("%queuectl worker start --detach")
    os.kill(kernel.pid, signal.SIGKILL)
    until(lambda: not alive(kernel.pid))
    second = Kernel(queue.path)
    try:
        assert second.run("assert len(get_ipython().run_line_magic('queuectl', 'worker list')) == 1")["status"] == "ok"
        assert queue.enqueue("true").wait(60).state == "completed"
    finally:
        queue.stop_workers(now=True)
        second.close()


def test_error_and_completion_messages(kernel: Kernel) -> None:
    """An error is an error reply of one line; complete_request gets the magic's completions."""
    reply = kernel.run("%queuectl show nope")
    assert (reply["status"], reply["ename"], len(reply["traceback"])) == ("error", "NotFound", 1)
    assert "dead" in complete(kernel, "%queuectl list --state de")


def complete(kernel: Kernel, line: str) -> list[str]:
    """Return the kernel's completions at the end of a line."""
    found: list[str] = kernel.reply(kernel.client.complete(line, len(line)))["matches"]
    return found


def test_completion_of_ids(kernel: Kernel, queue: Queue) -> None:
    """Ids, worker names and settings are completed in JupyterLab."""
    running_job(kernel, queue)
    (worker,) = list_workers(queue.store)
    assert complete(kernel, "%queuectl worker stop ") == [worker["name"]]
    assert complete(kernel, "%queuectl cancel ") == ["a"]
    assert "max_retries" in complete(kernel, "x = %queuectl config get max")
    assert complete(kernel, "%%queuectl enqueue --pri") == ["--priority"]


def test_killed_worker(kernel: Kernel, queue: Queue) -> None:
    """The pool's card reports the death and the replacement; the job runs again, with one attempt used."""
    job = running_job(kernel, queue)
    first = list_workers(queue.store)[0]["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: [each["pid"] for each in list_workers(queue.store) if each["state"] == "busy"] not in ([], [first]))
    assert kernel.run("html, (trouble,) = pool._repr_html_(), pool.troubles")["status"] == "ok"
    second = list_workers(queue.store)[0]["pid"]
    shown = kernel.run(f"assert 'is replaced' in trouble and trouble in html and '>{second}<' in html, (trouble, html)")
    assert shown["status"] == "ok", shown
    until(lambda: job.attempts == 2)
