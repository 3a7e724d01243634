"""The web page in a browser: live updates, filters, pages, logs, and hostile job texts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from queuectl_nb.model.state import State
from queuectl_nb.testing import run_pending
from tests.client.cells import enqueue_cell
from tests.engine.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl_nb.client import Queue
    from tests.browser.page_reader import Reader
    from tests.engine.harness import WorkerHarness

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u202egnp.exe"


def test_live_updates(reader: Reader, queue: Queue) -> None:
    """Jobs and counts appear without a reload; the title shows running and dead jobs."""
    reader.open()
    reader.wait_for("#queue-path", queue.path.name)
    assert reader.page.locator("#queue-path").get_attribute("title") == f"Queue {queue.path}"
    reader.wait_for(".qc-table-empty", "No jobs yet.")
    queue.enqueue("echo hello", id="first")
    reader.wait_for_count("pending", 1)
    reader.wait_for_ids("first")
    queue.enqueue("echo hello", id="second")
    queue.cancel("first")
    reader.wait_for_count("cancelled", 1)
    reader.wait_for_ids("first", "second")
    reader.wait_for(".qc-row .qc-is-cancelled")
    reader.wait_for("#workers code", f"queuectl worker start --db {queue.path}")
    queue.pause()
    reader.wait_for("#workers", "Jobs wait: all queues are paused; resume them with:")
    assert reader.page.locator("#workers", has_text="queuectl resume").locator("p").count() == 2
    queue.cancel("second")
    reader.wait_for("#workers", "All queues are paused; continue with:")


def test_filters_survive_a_reload(reader: Reader, queue: Queue) -> None:
    """State, queue and text filter the list, and the address holds them; invalid queue names are reported."""
    queue.enqueue("python train.py --lr 0.1", id="a", queue="gpu")
    queue.enqueue("python eval.py", id="b", queue="gpu")
    queue.enqueue("python train.py --lr 0.2", id="c")
    queue.cancel("a")
    reader.expected_error = "status of 400"
    page = reader.open().page
    reader.wait_for_ids("a", "c", "b")
    page.fill("#search", "TRAIN")
    reader.wait_for_ids("a", "c")
    until(lambda: reader.row_count() == 2)
    page.fill("#queue", "gpu")
    until(lambda: reader.row_count() == 1)
    page.click("#tiles a:has(.qc-is-pending)")
    until(lambda: reader.row_count() == 0)
    reader.wait_for(".qc-table-empty", "No job matches the filter.")
    page.reload()
    reader.wait_for("#tiles a[aria-current]:has(.qc-is-pending)")
    assert (page.input_value("#search"), page.input_value("#queue")) == ("TRAIN", "gpu")
    page.fill("#search", "")
    reader.wait_for_ids("b")
    page.fill("#queue", "no such/queue")
    reader.wait_for("#filter-note", "queue 'no such/queue' is not valid")
    page.fill("#queue", "")
    reader.wait_for_ids("c", "b")
    assert page.inner_text("#filter-note") == ""
    page.click("#tiles a:has(.qc-is-cancelled)")
    reader.wait_for_ids("a", "c", "b")
    reader.wait_for("#jobs-title", "Jobs: pending, cancelled")
    page.reload()
    reader.wait_for_ids("a", "c", "b")
    page.click("#tiles a:has(.qc-is-pending)")
    until(lambda: reader.row_count() == 1)
    page.click("#tiles a:has(.qc-is-cancelled)")
    reader.wait_for_ids("a", "c", "b")
    reader.wait_for("#jobs-title", re.compile("^Jobs$"))


def test_reasons_of_failures(reader: Reader, queue: Queue) -> None:
    """A click on a reason shows its jobs, also after a reload; limits are shown."""
    queue.limit("gpu", 2)
    for name, code in {"x": 3, "y": 3, "z": 4}.items():
        queue.enqueue(f"exit {code}", id=name, max_retries=1, tags=["sweep"] if name == "z" else [])
    queue.enqueue("true", id="fine")
    run_pending(queue)
    page = reader.open().page
    reader.wait_for("#workers", "Limits: gpu 2 (0 running)")
    reader.wait_for("#errors summary", "2 reasons why 3 jobs failed")
    queue.enqueue("true", id="waits", queue="gpu")
    reader.wait_for("#eta", "Time left is unknown")
    queue.delete("waits")
    until(lambda: page.inner_text("#eta") == "")
    page.click("#errors summary")
    page.get_by_role("button", name="exit code 3").click()
    until(lambda: reader.row_count() == 2)
    page.reload()
    reader.wait_for("#errors .qc-errors-all")
    until(lambda: reader.row_count() == 2)
    page.click("#errors .qc-errors-all")
    until(lambda: reader.row_count() == 4)
    page.fill("#tag", "sweep")
    until(lambda: reader.row_count() == 1)
    reader.wait_for("#errors summary", "1 reason why 1 job failed")


def test_pagination(reader: Reader, queue: Queue) -> None:
    """Older, Newest and Back page through the list; an older page does not move."""
    queue.enqueue_many([{"command": "true"} for _ in range(250)])
    page = reader.open().page
    reader.wait_for_ids("job-250", "job-249")
    assert page.is_disabled("#newest")
    page.click("#older")
    reader.wait_for_ids("job-150", "job-149")
    page.click("#older")
    reader.wait_for_ids("job-50")
    until(lambda: reader.row_count() == 50)
    assert page.is_disabled("#older")
    page.go_back()
    reader.wait_for_ids("job-150")
    queue.enqueue("true", id="new")
    reader.wait_for_count("pending", 251)
    reader.wait_for_ids("job-150")
    page.click("#newest")
    reader.wait_for_ids("new", "job-250")


def test_log_of_a_running_job(reader: Reader, harness: WorkerHarness, pictures: Path) -> None:
    """The log of a running job grows with colours and progress bars, up to its end."""
    release = harness.path.with_name("release")
    harness.add(
        "printf '\\033[31mred\\033[0m plain\\n'; printf '10%%\\r20%%'; echo oops >&2;"
        f" while [ ! -e {release} ]; do sleep 0.05; done; printf '\\r100%%\\nthe end\\n'",
        id="a",
    )
    harness.start()
    page = reader.open("job=a").page
    reader.wait_for("#log .qc-line .qc-fg1", "red")
    reader.wait_for("#log .qc-from-stderr", "oops")
    reader.wait_for("#log .qc-line", re.compile("^20%$"))
    reader.wait_for("#log-note", "still running")
    reader.wait_for("#job-attempts", "running")
    page.locator("#job").screenshot(path=pictures / "page-log.png", animations="disabled")
    release.touch()
    reader.wait_for("#log .qc-line", re.compile("^100%$"))
    reader.wait_for("#log .qc-line", "the end")
    reader.wait_for("#job-state", "completed")
    reader.wait_for("#job-attempts", "succeeded")
    assert page.inner_text("#log-note") == ""
    page.click("#log-streams label:has-text('stderr')")
    until(lambda: page.locator("#log .qc-line").all_inner_texts() == ["oops"])


def test_log_of_each_attempt(reader: Reader, harness: WorkerHarness) -> None:
    """The latest attempt is shown first, others on request, and a reload keeps the selection."""
    harness.queue.set("backoff_max", "0")
    harness.add("echo attempt $QUEUECTL_ATTEMPT; exit 1", id="a", max_retries=3)
    harness.start()
    until(lambda: harness.queue.store.reader.counts()[State.DEAD])
    page = reader.open("job=a").page
    reader.wait_for("#log .qc-line", "attempt 3")
    page.click("[data-attempt='1']")
    reader.wait_for("#log .qc-line", "attempt 1")
    page.reload()
    reader.wait_for("#log .qc-line", "attempt 1")
    reader.wait_for("#job-extra", "exit code 1")
    reader.wait_for("#job-extra code", "queuectl dlq retry a")
    page.click(".qp-nav a[data-view=dead]")
    reader.wait_for_ids("a")
    reader.wait_for("#dead-badge", "1")
    page.click(".qp-nav a[data-view=stats]")
    reader.wait_for("#stats", re.compile(r"Total\s*3"))
    for chart in ("#all-throughput", "#run-times"):
        reader.wait_for(f"{chart} .qc-key-failed", "3 failed")
        reader.wait_for(f"{chart} .qc-chart-axis span")


PIXEL = (
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6368"
    "00000082008177cd72b60000000049454e44ae426082"
)
"""A PNG of one pixel."""


def test_python_cell_is_shown_as_source(reader: Reader, queue: Queue) -> None:
    """List and job show the source of a Python cell, and the job what it has displayed: text and images, no markup."""
    source = (
        "from IPython.display import HTML, Image\ndisplay(HTML('<b id=evil>'))\nImage(bytes.fromhex(png), format='png')"
    )
    enqueue_cell(queue, source, {"png": PIXEL}, id="cell")
    run_pending(queue)
    page = reader.open("job=cell").page
    reader.wait_for(".qc-row", "from IPython.display import HTML, Image ↵ display(HTML(")
    assert reader.wait_for("#job-command", "Image").inner_text() == source
    image = reader.wait_for("#job-extra img")
    assert image.evaluate("(image) => [image.complete, image.naturalWidth]") == [True, 1]
    reader.wait_for("#job-extra pre[aria-label=Output]", "<IPython.core.display.HTML object>")
    assert page.locator("#evil").count() == 0


def test_function_is_shown_as_a_call(reader: Reader, queue: Queue, pictures: Path) -> None:
    """The panel has the kind, the call, and the value or the error."""
    queue.task(max, id="good").submit([1, 2], key=None)
    queue.task(len, id="bad", max_retries=1).submit(5)
    run_pending(queue)
    page = reader.open("job=good").page
    assert reader.wait_for("#job-command[aria-label=Call]").inner_text() == "max([1, 2], key=None)"
    assert reader.wait_for("#job-extra [aria-label=Result]").inner_text() == "2"
    assert reader.wait_for("#job-facts div", re.compile("^kind")).inner_text().split() == ["kind", "function"]
    reader.go_to("job=bad")
    reader.wait_for("#job-extra .qp-error", "TypeError: object of type 'int' has no len()")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=pictures / f"page-function-{scheme}.png")


def test_job_texts_are_never_markup(reader: Reader, harness: WorkerHarness) -> None:
    """Markup, scripts, escapes and bidi marks of jobs stay visible text."""
    harness.queue.enqueue(
        f"cat <<'END'\n{HOSTILE}\x1b]0;owned\x07\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07\x1b[2J\nEND\n"
        f"cat > $QUEUECTL_RESULT <<'END'\n{_json(HOSTILE)}\nEND\n",
        id="constructor",
        tags=["toString"],
    )
    harness.queue.enqueue("true", id="x", cwd="/tmp", env={"A": HOSTILE}, after=["constructor"])
    harness.start()
    until(lambda: harness.queue.store.reader.counts()[State.COMPLETED] == 2)
    reader.expected_error = "status of 40[04]"
    page = reader.open("job=constructor").page
    reader.wait_for("#job-command", "<img src=x onerror=")
    reader.wait_for("#job-command", "\\u202egnp.exe")
    reader.wait_for("#job-extra", "<script>document.title='owned'</script>")
    reader.wait_for("#log .qc-line", "<img src=x onerror=")
    line = page.inner_text("#log .qc-line")
    assert "\u202e" not in line
    assert "\x1b" not in line
    assert "link" in line
    reader.go_to("job=%3Cimg%20onerror=alert(1)%3E")
    reader.wait_for("#job-trouble", "<img onerror=alert(1)>")
    reader.go_to("state=constructor&q=%3Cscript%3E")
    reader.wait_for("#filter-note", "constructor")
    reader.go_to("queue=__proto__")
    reader.wait_for("#filter-note", "__proto__")
    reader.go_to("view=x")
    reader.wait_for_ids("x", "constructor")
    reader.go_to("job=..%2F..%2Fstatus")
    reader.wait_for("#job-trouble", "no job")
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
    assert "owned" not in page.title()


def _json(text: str) -> str:
    return json.dumps({"html": text, "__proto__": {"polluted": True}})


@pytest.mark.pictures
def test_documented_screenshots(reader: Reader, harness: WorkerHarness, pictures: Path) -> None:
    """Take the screenshots of the documentation, of a queue with jobs in all states."""
    from tests.browser.screenshots import busy_queue, history

    busy_queue(harness)
    page = reader.page
    page.set_viewport_size({"width": 1440, "height": 900})
    reader.open("job=train-lr0.1")
    reader.wait_for("#log .qc-line", "epoch 3")
    reader.wait_for(".qc-bar-succeeded:not([height='0'])")
    widths: list[Any] = page.evaluate("() => ['.qp-jobs', '#job'].map(s => document.querySelector(s).clientWidth)")
    assert min(widths) > 400
    page.screenshot(path=pictures / "page.png", animations="disabled")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=pictures / "page-dark.png", animations="disabled")
    page.emulate_media(color_scheme="light")
    history(harness.queue)
    reader.go_to("view=stats")
    reader.wait_for("#all-throughput .qc-chart-axis span")
    page.screenshot(path=pictures / "page-statistics.png", animations="disabled")
    reader.go_to("job=train-lr0.1")
    page.set_viewport_size({"width": 360, "height": 780})
    page.evaluate("() => scrollTo(0, 0)")
    page.screenshot(path=pictures / "page-narrow.png", animations="disabled")
    page.goto("about:blank")
    reader.go_to("job=train-lr0.1")
    expect(page.locator("#job-title")).to_be_in_viewport()  # below the list
