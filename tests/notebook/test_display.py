"""Jobs as displays of a real kernel: like any object for IPython, live where an output can be updated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.render.card_parts import style, style_element
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.notebook.kernels import Kernel

SETUP = """\
import time
from IPython.display import clear_output, display, update_display
from queuectl_nb import Queue
from queuectl_nb.client.live_cards import card_updater
q = Queue()
job = q.job('a')
"""


@pytest.fixture
def run(kernel: Kernel, manual_worker: ManualWorker) -> Callable[..., list[tuple[str, Any]]]:
    """Return a function that runs a cell and returns type and content of its display messages; there is a job ``a``."""
    manual_worker.add("a")
    kernel.run_ok(SETUP)

    def displays(source: str, cell: str | None = None) -> list[tuple[str, Any]]:
        if cell is not None:  # as JupyterLab does
            send = kernel.client.session.send
            kernel.client.session.send = lambda stream, msg, **rest: send(
                stream, msg | {"metadata": {"cellId": cell}} if isinstance(msg, dict) else msg, **rest
            )
        try:
            kernel.run_ok(source)
        finally:
            if cell is not None:
                del kernel.client.session.send
        return [
            (each["msg_type"], each["content"])
            for each in kernel.sent
            if each["msg_type"] in ("display_data", "update_display_data", "execute_result")
        ]

    return displays


def updates(run: Callable[..., list[tuple[str, Any]]], then: str = "") -> list[dict[str, Any]]:
    """Change the job, and return the updates of its cards."""
    sent = run(f"job.cancel() if job.state == 'pending' else job.retry()\ncard_updater.refresh()\n{then}")
    return [content for kind, content in sent if kind == "update_display_data"]


def test_last_value_of_a_cell(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """It is a live display without a mark; it follows the job, also after a retry."""
    ((kind, content),) = run("job")
    assert (kind, content["metadata"], "not updated" in content["data"]["text/plain"]) == ("display_data", {}, False)
    for state in ("cancelled", "pending", "cancelled"):
        (update,) = updates(run)
        assert update["transient"] == content["transient"]
        assert f"Job a: {state}" in update["data"]["text/plain"]


def test_capture(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """A captured card does not change and is not updated; once it is shown it is live."""
    assert run("%%capture found\ndisplay(job)\njob") == []
    assert run("assert len(card_updater) == 0\nassert len(found.outputs) == 2") == []
    sent = run("found.show()")
    assert [kind for kind, _ in sent] == ["display_data"] * 2
    assert len(updates(run)) == 1  # both have the same display id
    assert sent[0][1]["transient"] == sent[1][1]["transient"]


def test_one_card_in_a_loop(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """Cleared outputs are not updated any more."""
    run("for _ in range(5):\n    clear_output(wait=True)\n    display(job)")
    assert len(updates(run)) == 1
    run("clear_output()\ndisplay(job)")
    run("for _ in range(5):\n    display(job)\nassert len(card_updater) == 3")


def test_cell_that_runs_again(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """Its former cards are not updated any more; those of deleted cells neither."""
    for _ in range(3):
        run("display(job)", cell="one")
    run("display(job)", cell="two")
    assert len(updates(run)) == 2


def test_display_id(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """A display id of the user is used, and what is displayed there later replaces the card."""
    ((_, content),) = run("handle = display(job, display_id='mine')")
    assert content["transient"] == {"display_id": "mine"}
    (update,) = updates(run)
    assert update["transient"] == {"display_id": "mine"}
    ((kind, content),) = run("handle.update(job)")
    assert (kind, "cancelled" in content["data"]["text/plain"]) == ("update_display_data", True)
    run("handle.update('something else')")
    assert updates(run) == []


def test_include(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """``include`` and ``exclude`` select the types, of updates too."""
    ((_, content),) = run("display(job, include=['text/html'])")
    assert list(content["data"]) == ["text/html"]
    (update,) = updates(run)
    assert list(update["data"]) == ["text/html"]
    ((_, content),) = run("display(job, include=['text/plain'])")
    assert list(content["data"]) == ["text/plain"]


def test_formatter_and_output_widget(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """``format`` displays nothing; a card in an ``Output`` widget is static and says so."""
    assert run("data, _ = get_ipython().display_formatter.format(job)\nassert 'text/html' in data") == []
    run("import ipywidgets\nout = ipywidgets.Output()\nout.append_display_data(job)")
    run("assert 'not updated' in out.outputs[0]['data']['text/plain']")
    ((_, content),) = run("with out:\n    display(job)")
    assert "not updated" in content["data"]["text/plain"]
    assert run("assert len(card_updater) == 0") == []


def test_style_sheet(run: Callable[..., list[tuple[str, Any]]], queue: Queue) -> None:
    """The first card of each of the last three cells carries the sheet; other cards, updates and logs do not.

    When a cell is deleted, run again or cleared, other cells keep it, or a card that is left is sent with it.
    """
    sheet = style_element()

    def carriers(sent: list[tuple[str, Any]]) -> list[tuple[str, bool]]:
        """Return type of message and presence of the sheet."""
        return [(kind, sheet in content["data"].get("text/html", "")) for kind, content in sent]

    queue.enqueue_many([{"id": name, "command": "true"} for name in "bcd"])
    assert carriers(run("%queuectl log b", cell="log")) == [("display_data", True)]
    display = "for name in 'bcd': display(q.job(name))"
    for cell in ("one", "two"):
        assert carriers(run(display, cell=cell)) == [("display_data", True)] + [("display_data", False)] * 2
    assert carriers(run("%queuectl log b", cell="other log")) == [("display_data", False)]
    run(display, cell="three")
    sent = run("display(job)", cell="four")  # the first of cell one is sent without
    assert carriers(sent) == [("update_display_data", False), ("display_data", True)]
    assert [sheet in content["data"]["text/html"] for content in updates(run)] == [True]

    for cell in ("two", "three"):
        assert carriers(run("1 + 1", cell=cell))[:-1] == []
    assert carriers(run("1 + 1", cell="four"))[0] == ("update_display_data", True)  # a card of cell one
    assert (
        carriers(run("for _ in range(3):\n    clear_output()\n    display(job)", cell="five"))
        == [("display_data", True)] * 3
    )
    assert carriers(run("1 + 1", cell="one"))[:-1] == []
    assert carriers(run("card_updater.stop()\njob", cell="five")) == [("display_data", True)]


def test_live_thread(run: Callable[..., list[tuple[str, Any]]], manual_worker: ManualWorker, kernel: Kernel) -> None:
    """The thread that updates cards needs no cell to run."""
    run("job")
    manual_worker.run("a")
    until(lambda: "Job a: completed" in str(kernel.client.get_iopub_msg(timeout=60)["content"]))


def test_pool(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """The card of a pool says that the pool has ended, or in red that its supervisor was killed."""
    ((kind, content),) = run("pool = q.start_workers(1)\npool")
    assert (kind, content["data"]["text/plain"].startswith("<Pool running")) == ("display_data", True)
    assert "qc-is-running" in content["data"]["text/html"]
    sent = run("pool.stop()\ncard_updater.refresh()")
    assert "qc-is-ended" in sent[-1][1]["data"]["text/html"]
    assert sent[-1][1]["transient"] == content["transient"]
    assert "qc-is-ended" not in style()
    killed = run("pool = q.start_workers(1)\npool.process.kill()\npool.process.wait()\npool")
    assert "qc-is-lost" in killed[-1][1]["data"]["text/html"]
    assert "qc-is-lost" in style()


def test_dashboard_of_a_cell_that_runs_again(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """It closes the former dashboards of this cell, not those of another cell or of the same run."""
    count = "from queuectl_nb.notebook.dashboard import dashboard\nassert len(dashboard._open) == {}"
    run("%queuectl dashboard", cell="one")
    run("%queuectl dashboard", cell="two")
    run("first = %queuectl dashboard\nsecond = %queuectl dashboard", cell="one")
    run(count.format(3))
    run("%queuectl dashboard", cell="one")
    run(count.format(2))


def test_batch(run: Callable[..., list[tuple[str, Any]]]) -> None:
    """A batch is one live card with buttons; also found again, in a container, and with ``include``."""
    ((kind, content),) = run("batch = q.enqueue_many([{'command': 'true'}] * 30, tags=['sweep'])\nbatch")
    assert (kind, content["metadata"]) == ("display_data", {})
    assert content["transient"]["display_id"] in content["data"]["text/html"]
    sent = run("batch.cancel()\ncard_updater.refresh()")
    assert sent[-1][1]["transient"] == content["transient"]
    assert "30 of 30 finished" in sent[-1][1]["data"]["text/plain"]
    (_, again), (_, text) = run("display(q.batch(tag='sweep'), include=['text/html'])\nlist(batch)")
    assert list(again["data"]) == ["text/html"]
    assert "queuectl" not in text["data"].get("text/html", "")
    assert "Job " in text["data"]["text/plain"].splitlines()[0]
    sent = run("batch.retry()\ncard_updater.refresh()")
    assert [kind for kind, _ in sent].count("update_display_data") == 2
