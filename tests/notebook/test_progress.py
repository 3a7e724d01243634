"""Jobs, waits and logs in a real kernel: live while cells run, safe to interrupt, static when saved."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

from tests.engine.harness import until
from tests.journeys.terminals import environment
from tests.notebook.kernels import stream_text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from queuectl_nb.client import Queue
    from queuectl_nb.client.wait import Progress
    from tests.notebook.kernels import Kernel

HELD_JOB = (
    "%%queuectl enqueue --id a\necho ' 40%|####'; until [ -e release ]; do sleep 0.02; done; echo after; sleep 0.2"
)


def release_job(path: Path) -> None:
    """Let the job continue."""
    (path.parent / "release").touch()


def test_live_card(kernel: Kernel, queue: Queue) -> None:
    """The card is updated during a synchronous cell, belongs to that cell, and ends with the job."""
    (shown,) = kernel.run_ok(f"{HELD_JOB}")[-2:-1]
    assert (shown["msg_type"], "text/html" in shown["content"]["data"]) == ("display_data", True)
    place = shown["content"]["transient"]
    kernel.run_ok("pool = %queuectl worker start")
    kernel.run_ok("import time\nstate = lambda: get_ipython().run_line_magic('queuectl', 'show a').state")
    # the command has a percentage, too; the bar shows that of the output
    bar = 'aria-valuenow="40"'
    request = kernel.start("while state() != 'completed': time.sleep(0.01)", lambda sent: bar in str(sent["content"]))
    assert (kernel.sent[-1]["content"]["transient"], kernel.sent[-1]["parent_header"]["msg_id"]) == (place, request)
    assert kernel.sent[-1]["msg_type"] == "update_display_data"
    release_job(queue.path)
    assert kernel.reply(request)["status"] == "ok"
    kernel.drain(request)
    kernel.run_ok("from queuectl_nb.client.live_cards import card_updater\ncard_updater.refresh()")
    kernel.run_ok("time.sleep(0.6)")
    assert texts(kernel.sent) == []
    kernel.run_ok("job = %queuectl show a\njob")
    assert [each["msg_type"] for each in kernel.sent if "data" in each["content"]] == ["display_data"]


def test_wait_and_interrupt(kernel: Kernel, queue: Queue) -> None:
    """job.wait() shows progress; interrupted it says that the jobs continue, and they do."""
    kernel.run_ok(f"{HELD_JOB}\n")
    kernel.run_ok("from queuectl_nb import Queue\nq = Queue()\njob = q.job('a')\npool = q.start_workers(1)")
    request = kernel.start(
        "job.wait()",
        lambda sent: "Job a: processing\n  running for" in str(sent["content"].get("data", {}).get("text/plain")),
    )
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(request)
    assert reply["traceback"] == ["KeyboardInterrupt: no longer waiting; the jobs continue"]
    assert any("the jobs continue" in text for text in texts(kernel.drain(request)))
    assert queue.job("a").state == "processing"
    request = kernel.start("q.wait()", lambda sent: "0 of 1 finished" in str(sent["content"].get("data")))
    release_job(queue.path)
    assert kernel.reply(request)["status"] == "ok"
    assert any(text.startswith("1 of 1 finished: 1 completed; after") for text in texts(kernel.drain(request)))


def test_short_wait(kernel: Kernel) -> None:
    """If all jobs finish at once, only the line of the magic or the value is shown."""
    kernel.run_ok("q = __import__('queuectl_nb').Queue()\nq.wait()")
    assert texts(kernel.sent) == ["{}"]
    assert stream_text(kernel.run_ok("%queuectl wait"), "stdout") == "0 job(s) finished.\n"


def test_follow_log(kernel: Kernel, queue: Queue) -> None:
    """--follow keeps colours and carriage returns and drops other escapes; an interrupt is one line."""
    kernel.run_ok("pool = %queuectl worker start")
    queue.enqueue("printf '\\033[31mred\\033[0m\\033[2J 1%%\\r 2%%\\r'; echo oops >&2; sleep 60", id="a")
    request = kernel.start("%queuectl log a --follow", lambda _: "2%" in stream_text(kernel.sent, "stdout"))
    until(lambda: "oops" in stream_text(kernel.sent, "stderr") or kernel._take(request))
    assert "\x1b[31mred\x1b[0m 1%\r 2%" in stream_text(kernel.sent, "stdout")
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(request)
    assert (reply["ename"], len(reply["traceback"])) == ("KeyboardInterrupt", 1)
    assert "job a continues" in reply["traceback"][0]
    assert queue.job("a").state == "processing"


def test_stats_plot(kernel: Kernel, tmp_path: Path) -> None:
    """--plot shows one sharp picture with a description, and returns the frame; a file is written."""
    sent = kernel.run_ok("%queuectl stats --plot --by queue")
    (picture,) = [each["content"] for each in sent if each["msg_type"] == "display_data"]
    assert picture["data"]["image/png"].startswith("iVBOR")
    assert picture["metadata"]["image/png"]["width"] == 900
    assert len(texts(sent, "execute_result")) == 1
    sent = kernel.run_ok(f"df = %queuectl stats --plot {tmp_path / 'x.svg'}")
    assert texts(sent) == []
    assert stream_text(sent, "stderr").startswith(f"queuectl: saved the plot to {tmp_path / 'x.svg'}\n")
    sent = kernel.run_ok("from queuectl_nb import Queue\nax = Queue().plot.timeline()")
    assert [each["msg_type"] for each in sent if "data" in each["content"]] == ["display_data"]


def test_unload_stops_live_cards(kernel: Kernel, queue: Queue) -> None:
    """After %unload_ext cards are not updated, except those of jobs displayed again."""
    kernel.run_ok(HELD_JOB)
    kernel.run_ok(
        "from queuectl_nb.client.live_cards import card_updater\nassert len(card_updater) == 1\n%unload_ext queuectl_nb"
    )
    kernel.run_ok("assert len(card_updater) == 0\nimport queuectl_nb\nqueuectl_nb.Queue().job('a')")
    kernel.run_ok("assert len(card_updater) == 1")


def test_captured_output(kernel: Kernel) -> None:
    """Inside %%capture a job is shown once, as it is."""
    kernel.run_ok(HELD_JOB)
    kernel.run_ok(
        "%%capture got\nfrom IPython.display import display\ndisplay(__import__('queuectl_nb').Queue().job('a'))"
    )
    kernel.run_ok("assert len(got.outputs) == 1 and 'pending' in got.outputs[0].data['text/html'], got.outputs")


def run_notebook(path: Path, cells: list[str]) -> Any:
    """Run cells as nbconvert does, and return the notebook as it would be saved."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute(
        env=environment(path)
    )
    return notebook


def test_saved_notebook(queue_path: Path) -> None:
    """Without a front end the card of a job that was waited for is saved as completed, as static HTML."""
    notebook = run_notebook(
        queue_path,
        [
            "%load_ext queuectl_nb\npool = %queuectl worker start",
            "job = %queuectl enqueue -- sleep 0.5\njob",
            "%queuectl wait",
            "pool.stop()",
        ],
    )
    (card,) = notebook.cells[1].outputs
    assert card.output_type == "display_data"
    assert 'qc-state qc-is-completed">completed' in card.data["text/html"]
    assert "succeeded" in card.data["text/plain"]
    assert notebook.cells[2].outputs[-1].text.endswith("1 job(s) finished: 1 completed.\n")


def test_dashboard_without_a_page(queue_path: Path) -> None:
    """Nbclient saves the static table of a dashboard, and nothing of its widgets."""
    notebook = run_notebook(
        queue_path, ["%load_ext queuectl_nb\n%queuectl enqueue --command 'echo saved'", "%queuectl dashboard"]
    )
    assert "echo saved" in notebook.cells[1].outputs[0].data["text/html"]
    assert "widgets" not in notebook.metadata


def test_terminal(
    cell: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """IPython in a terminal shows a waiting job as text, and a wait as a bar that is updated."""
    shown: list[int] = []

    @contextmanager
    def progress_bar(_wait: object) -> Iterator[Callable[[Progress], None]]:
        def update(progress: Progress) -> None:
            shown.append(progress.remaining)
            (tmp_path / "release").touch()

        yield update

    monkeypatch.setattr("queuectl_nb.notebook.present.progress_bar", progress_bar)
    command = f"until [ -e {tmp_path}/release ]; do sleep 0.02; done"
    cell(f"job = %queuectl enqueue --id a --command '{command}'\njob")
    shown_job = capsys.readouterr().out
    assert "Job a: pending, 0 attempts, times out after 30 s (setting timeout)\n  not started; no workers" in shown_job
    assert f"  command: {command}\n" in shown_job
    cell("pool = %queuectl worker start\n%queuectl wait\npool.stop()")
    assert shown[0] == 1
    assert capsys.readouterr().out.endswith("1 job(s) finished: 1 completed.\n")
