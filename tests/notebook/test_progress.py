"""A job, a wait and a log on a real kernel's page: current while cells run, harmless to interrupt, kept when saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

from tests.engine.harness import until
from tests.journeys.terminals import environment
from tests.notebook.kernels import texts, written

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from queuectl_nb.client import Queue
    from tests.notebook.kernels import Kernel

GATED = "%%queuectl enqueue --id a\necho ' 40%|####'; until [ -e gate ]; do sleep 0.02; done; echo after; sleep 0.2"


def open_gate(path: Path) -> None:
    """Let the gated job go on."""
    (path.parent / "gate").touch()


def test_a_job_follows_itself_while_another_cell_runs(kernel: Kernel, queue: Queue) -> None:
    """The card moves during a synchronous cell, its updates belong to that cell, and they end when the job rests."""
    (shown,) = kernel.good(f"{GATED}")[-2:-1]
    assert (shown["msg_type"], "text/html" in shown["content"]["data"]) == ("display_data", True)
    place = shown["content"]["transient"]
    kernel.good("pool = %queuectl worker start")
    kernel.good("import time\nstate = lambda: get_ipython().run_line_magic('queuectl', 'show a').state")
    # the command has its percentage, too: the bar tells that the output's was seen
    bar = 'aria-valuenow="40"'
    request = kernel.begin("while state() != 'completed': time.sleep(0.01)", lambda sent: bar in str(sent["content"]))
    assert (kernel.sent[-1]["content"]["transient"], kernel.sent[-1]["parent_header"]["msg_id"]) == (place, request)
    assert kernel.sent[-1]["msg_type"] == "update_display_data"
    open_gate(queue.path)
    assert kernel.reply(request)["status"] == "ok"
    kernel.rest(request)
    kernel.good(
        "from queuectl_nb.client.live_cards import card_updater\n"
        "while len(card_updater): time.sleep(0.01)\n"
        "card_updater.refresh()"
    )
    kernel.good("time.sleep(0.6)")
    assert texts(kernel.sent) == []
    kernel.good("job = %queuectl show a\njob")
    assert [each["msg_type"] for each in kernel.sent if "data" in each["content"]] == ["execute_result"]


def test_a_wait_shows_itself_and_an_interrupt_ends_only_that(kernel: Kernel, queue: Queue) -> None:
    """job.wait() shows what the job does; interrupted it says that jobs go on, and they do."""
    kernel.good(f"{GATED}\n")
    kernel.good("from queuectl_nb import Queue\nq = Queue()\njob = q.job('a')\npool = q.start_workers(1)")
    request = kernel.begin(
        "job.wait()",
        lambda sent: "finished" in str(sent["content"].get("data")) and "running for" in str(sent["content"]["data"]),
    )
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(request)
    assert reply["traceback"] == ["KeyboardInterrupt: no longer waiting; the jobs continue"]
    assert any("the jobs go on" in text for text in texts(kernel.rest(request)))
    assert queue.job("a").state == "processing"
    request = kernel.begin("q.wait()", lambda sent: "0 of 1 finished" in str(sent["content"].get("data")))
    open_gate(queue.path)
    assert kernel.reply(request)["status"] == "ok"
    assert any(text.startswith("1 of 1 finished: 1 completed; after") for text in texts(kernel.rest(request)))


def test_a_short_wait_shows_no_bar(kernel: Kernel) -> None:
    """Where all are at rest at once nothing is shown but the line of the magic, or the value."""
    kernel.good("q = __import__('queuectl_nb').Queue()\nq.wait()")
    assert texts(kernel.sent) == ["{}"]
    assert written(kernel.good("%queuectl wait"), "stdout") == "0 job(s) finished.\n"


def test_a_log_is_followed_with_its_colours_and_left_by_an_interrupt(kernel: Kernel, queue: Queue) -> None:
    """--follow streams colours and returns into the cell, drops other escapes; an interrupt is one line."""
    kernel.good("pool = %queuectl worker start")
    queue.enqueue("printf '\\033[31mred\\033[0m\\033[2J 1%%\\r 2%%\\r'; echo oops >&2; sleep 60", id="a")
    request = kernel.begin("%queuectl log a --follow", lambda _: "2%" in written(kernel.sent, "stdout"))
    until(lambda: "oops" in written(kernel.sent, "stderr") or kernel._take(request))
    assert "\x1b[31mred\x1b[0m 1%\r 2%" in written(kernel.sent, "stdout")
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(request)
    assert (reply["ename"], len(reply["traceback"])) == ("KeyboardInterrupt", 1)
    assert "job a continues" in reply["traceback"][0]
    assert queue.job("a").state == "processing"


def test_stats_are_drawn_below_the_cell(kernel: Kernel, tmp_path: Path) -> None:
    """--plot shows one picture, sharp on any screen and told in words, and still gives the frame; a FILE is written."""
    sent = kernel.good("%queuectl stats --plot --by queue")
    (picture,) = [each["content"] for each in sent if each["msg_type"] == "display_data"]
    assert picture["data"]["image/png"].startswith("iVBOR")
    assert picture["metadata"]["image/png"]["width"] == 900
    assert len(texts(sent, "execute_result")) == 1
    sent = kernel.good(f"df = %queuectl stats --plot {tmp_path / 'x.svg'}")
    assert (texts(sent), written(sent, "stderr")) == ([], f"queuectl: the picture is in {tmp_path / 'x.svg'}\n")
    sent = kernel.good("from queuectl_nb import Queue\nax = Queue().plot.timeline()")
    assert [each["msg_type"] for each in sent if "data" in each["content"]] == ["display_data"]


def test_unloading_ends_live_cards(kernel: Kernel, queue: Queue) -> None:
    """After %unload_ext no card is kept current; a job that is shown again is."""
    kernel.good(GATED)
    kernel.good(
        "from queuectl_nb.client.live_cards import card_updater\nassert len(card_updater) == 1\n%unload_ext queuectl_nb"
    )
    kernel.good("assert len(card_updater) == 0\nimport queuectl_nb\nqueuectl_nb.Queue().job('a')")
    kernel.good("assert len(card_updater) == 1")


def test_captured_output_is_not_live(kernel: Kernel) -> None:
    """Inside %%capture a job is shown as it is, once."""
    kernel.good(GATED)
    kernel.good(
        "%%capture got\nfrom IPython.display import display\ndisplay(__import__('queuectl_nb').Queue().job('a'))"
    )
    kernel.good("assert len(got.outputs) == 1 and 'pending' in got.outputs[0].data['text/html'], got.outputs")


def run_notebook(path: Path, cells: list[str]) -> Any:
    """Run cells as nbconvert does, and return the notebook as it is saved."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute(
        env=environment(path)
    )
    return notebook


def test_a_saved_notebook_keeps_the_end(queue_path: Path) -> None:
    """Run without anybody looking, the card of a job that was waited for later shows it completed, as static HTML."""
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
    assert "attempt 1: succeeded" in card.data["text/plain"]
    assert notebook.cells[2].outputs[-1].text.endswith("1 job(s) finished: 1 completed.\n")


def test_in_a_terminal_a_job_is_text(shell: Any, cell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """IPython in a terminal shows a job that waits as plain text, and a wait as a line that is written over."""
    cell("job = %queuectl enqueue --id a --command 'sleep 0.5'\njob")
    assert "<Job a: pending, 'sleep 0.5'>" in capsys.readouterr().out
    cell("pool = %queuectl worker start\n%queuectl wait\npool.stop()")
    out = capsys.readouterr().out
    assert "\r░" in out
    assert out.endswith("1 job(s) finished: 1 completed.\n")
