"""The web page as its reader has it: live, filtered, paged, by keyboard, narrow and dark, and deaf to what jobs say."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.state import State
from tests.browser.conftest import FLAGS, WINDOW
from tests.browser.proxy import PrefixProxy
from tests.engine.bench import Bench, until
from tests.faces.web.server import TOKEN, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator

    from queuectl_nb.queue import Queue

PATIENCE = 30_000
IDS = """column => [...document.querySelectorAll('#jobs-table .qc-row')]
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(row => row.children[column].textContent)"""
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u202egnp.exe"


class Reader:
    """A page with what it complained of."""

    def __init__(self, context: BrowserContext, server: WebServer) -> None:
        self.page = page = context.new_page()
        self.server = server
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def heard(self, message: ConsoleMessage) -> None:
        """Keep what the browser warns of."""
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, place: str = "") -> Reader:
        """Log in and wait for the first overview."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/?token={TOKEN}")
        assert TOKEN not in self.page.url
        if place:
            self.go(place)
        self.sees("#live[data-kind=live]")
        return self

    def go(self, place: str) -> None:
        """Go to a place, as a bookmark does."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/#{place}")

    def sees(self, selector: str, text: str | re.Pattern[str] | None = None) -> Locator:
        """Wait until something is seen."""
        found = self.page.locator(selector) if text is None else self.page.locator(selector, has_text=text)
        found.first.wait_for()
        return found.first

    def counts(self, state: str, number: int) -> None:
        """Wait until a tile tells a number."""
        self.sees(f"#tiles li:has(.qc-is-{state}) .qp-number", re.compile(f"^{number}$"))

    def ids(self, *expected: str) -> None:
        """Wait until the list shows these jobs, from the top."""
        column = self.page.locator(".qc-thead .qc-th").all_inner_texts().index("ID")
        until(lambda: self.page.evaluate(IDS, column)[: len(expected)] == list(expected), 20)

    def shown(self) -> int:
        """Return how many jobs the list has."""
        return int(self.page.locator("#jobs-table").get_attribute("aria-rowcount") or 1) - 1


@pytest.fixture(scope="module")
def browser(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file; each has a profile of its own in it."""
    from playwright.sync_api import sync_playwright

    profile = str(tmp_path_factory.mktemp("browser"))
    with sync_playwright() as playwright:
        homes = {"HOME": profile, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile}
        started = playwright.chromium.launch(
            executable_path=chromium_path,
            args=[*FLAGS, f"--crash-dumps-dir={profile}"],
            env={**os.environ, **homes},
        )
        yield started
        started.close()


@pytest.fixture
def reader(browser: Browser, server: WebServer) -> Iterator[Reader]:
    """Return a reader; at the end the browser must have had nothing to complain of."""
    context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")  # type: ignore[arg-type]
    found = Reader(context, server)
    yield found
    context.close()
    assert found.complaints == []


def test_it_is_live(reader: Reader, queue: Queue) -> None:
    """Jobs and counts appear as they are written, without a reload; the title tells what runs and what is dead."""
    reader.open()
    reader.sees(".qc-table-empty", "No jobs yet.")
    queue.enqueue("echo hello", id="first")
    reader.counts("pending", 1)
    reader.ids("first")
    queue.enqueue("echo hello", id="second")
    queue.cancel("first")
    reader.counts("cancelled", 1)
    reader.ids("first", "second")
    reader.sees(".qc-row .qc-is-cancelled")
    queue.pause()
    reader.sees("#workers", "Everything is paused")


def test_filters_hold_over_a_reload(reader: Reader, queue: Queue) -> None:
    """State, queue and text narrow the list; the address holds them; what cannot be a queue is told."""
    queue.enqueue("python train.py --lr 0.1", id="a", queue="gpu")
    queue.enqueue("python eval.py", id="b", queue="gpu")
    queue.enqueue("python train.py --lr 0.2", id="c")
    queue.cancel("a")
    page = reader.open().page
    reader.ids("a", "c", "b")
    page.fill("#search", "TRAIN")
    reader.ids("a", "c")
    until(lambda: reader.shown() == 2)
    page.fill("#queue", "gpu")
    until(lambda: reader.shown() == 1)
    page.click("#tiles a:has(.qc-is-pending)")
    until(lambda: reader.shown() == 0)
    reader.sees(".qc-table-empty", "No job is like that.")
    page.reload()
    reader.sees("#tiles a[aria-current]:has(.qc-is-pending)")
    assert (page.input_value("#search"), page.input_value("#queue")) == ("TRAIN", "gpu")
    page.fill("#search", "")
    reader.ids("b")
    page.fill("#queue", "no such/queue")
    reader.sees("#filter-note", "queue 'no such/queue' is not valid")
    page.fill("#queue", "")
    reader.ids("c", "b")
    assert page.inner_text("#filter-note") == ""
    reader.complaints = [each for each in reader.complaints if "400" not in each]  # the browser's note of that answer


def test_pages_lead_through_all(reader: Reader, queue: Queue) -> None:
    """Older and Newest lead through the list, Back too; on an older page the list stays where it is."""
    queue.enqueue_many([{"command": "true"} for _ in range(250)])
    page = reader.open().page
    reader.ids("job-250", "job-249")
    assert page.is_disabled("#newest")
    page.click("#older")
    reader.ids("job-150", "job-149")
    page.click("#older")
    reader.ids("job-50")
    until(lambda: reader.shown() == 50)
    assert page.is_disabled("#older")
    page.go_back()
    reader.ids("job-150")
    queue.enqueue("true", id="new")
    reader.counts("pending", 251)
    reader.ids("job-150")
    page.click("#newest")
    reader.ids("new", "job-250")


def test_a_log_is_followed(reader: Reader, bench: Bench, pictures: Path) -> None:
    """The log of a running job grows as it is written, colours and progress bars included, to its end."""
    gate = bench.path.with_name("gate")
    bench.add(
        "printf '\\033[31mred\\033[0m plain\\n'; printf '10%%\\r20%%'; echo oops >&2;"
        f" while [ ! -e {gate} ]; do sleep 0.05; done; printf '\\r100%%\\nthe end\\n'",
        id="a",
    )
    bench.start()
    page = reader.open("job=a").page
    reader.sees("#log .qc-line .qc-fg1", "red")
    reader.sees("#log .qc-from-stderr", "oops")
    reader.sees("#log .qc-line", re.compile("^20%$"))
    reader.sees("#log-note", "more to come")
    reader.sees("#job-attempts", "running")
    page.locator("#job").screenshot(path=pictures / "page-log.png", animations="disabled")
    gate.touch()
    reader.sees("#log .qc-line", re.compile("^100%$"))
    reader.sees("#log .qc-line", "the end")
    reader.sees("#job-state", "completed")
    reader.sees("#job-attempts", "succeeded")
    assert page.inner_text("#log-note") == ""
    page.click("#log-streams label:has-text('stderr')")
    until(lambda: page.locator("#log .qc-line").all_inner_texts() == ["oops"])


def test_each_attempt_has_its_log(reader: Reader, bench: Bench) -> None:
    """The newest attempt's log is shown first, any other on request, and a reload stays with it."""
    bench.queue.set("backoff_max", "0")
    bench.add("echo attempt $QUEUECTL_ATTEMPT; exit 1", id="a", max_retries=3)
    bench.start()
    until(lambda: bench.queue.counts()[State.DEAD])
    page = reader.open("job=a").page
    reader.sees("#log .qc-line", "attempt 3")
    page.click("[data-attempt='1']")
    reader.sees("#log .qc-line", "attempt 1")
    page.reload()
    reader.sees("#log .qc-line", "attempt 1")
    reader.sees("#job-extra", "exit code 1")
    reader.sees("#job-extra code", "queuectl dlq retry a")
    page.click(".qp-nav a[data-view=dead]")
    reader.ids("a")
    reader.sees("#dead-badge", "1")
    page.click(".qp-nav a[data-view=stats]")
    reader.sees("#stats", re.compile(r"in all\s*3"))


def test_a_server_that_comes_back_is_found(reader: Reader, queue: Queue) -> None:
    """When the server is gone the page says so; once it is back the page is live again by itself, with the news."""
    reader.open()
    reader.server.close()
    reader.sees("#live[data-kind=lost]")
    queue.enqueue("true", id="meanwhile")
    reader.server.start()
    reader.sees("#live[data-kind=live]")
    reader.counts("pending", 1)
    reader.ids("meanwhile")
    reader.complaints.clear()  # of connections refused


def test_without_the_feed_it_asks(reader: Reader, queue: Queue) -> None:
    """Where something on the way refuses the feed, the page asks now and then, and says that it does."""
    reader.page.route("**/api/events", lambda route: route.fulfill(status=502, body="no"))
    reader.page.goto(f"http://127.0.0.1:{reader.server.port}/?token={TOKEN}")
    reader.sees("#live[data-kind=polling]")
    queue.enqueue("true", id="a")
    reader.counts("pending", 1)
    reader.ids("a")
    reader.page.unroute("**/api/events")
    reader.sees("#live[data-kind=live]")
    reader.complaints.clear()  # of the 502


def test_it_works_below_a_proxys_prefix(reader: Reader, queue: Queue) -> None:
    """Behind a proxy that serves it below a prefix the page logs in and is live, and its cookie goes nowhere else."""
    proxy = PrefixProxy(reader.server.port, "/user/ada/queue/")
    page = reader.page
    page.goto(f"{proxy.url}?token={TOKEN}")
    assert page.url == proxy.url
    reader.sees("#live[data-kind=live]")
    queue.enqueue("true", id="a")
    reader.counts("pending", 1)
    reader.ids("a")
    (cookie,) = page.context.cookies()
    assert cookie["path"].rstrip("/") == "/user/ada/queue"
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.goto("about:blank")
    proxy.close()


def test_who_is_logged_out_is_told(reader: Reader, queue: Queue) -> None:
    """When the cookie is gone the page says what to do."""
    reader.open()
    reader.page.context.clear_cookies()
    reader.server.restart()
    reader.sees("#live[data-kind=login]")
    reader.sees("#trouble", "queuectl dashboard")
    reader.complaints.clear()  # of the 403


def test_it_is_dark_where_the_reader_is(browser: Browser, server: WebServer, bench: Bench) -> None:
    """The system's scheme is followed; the button overrules it, and is remembered."""
    bench.add("echo '\\033[32mgreen\\033[0m'; exit 1", id="a", max_retries=1)
    bench.start()
    until(lambda: bench.queue.counts()[State.DEAD])
    context = browser.new_context(viewport=WINDOW, color_scheme="dark", reduced_motion="reduce")  # type: ignore[arg-type]
    reader = Reader(context, server).open("job=a")
    page = reader.page
    reader.sees("#log .qc-fg2", "green")

    def brightness() -> int:
        return int(page.evaluate("() => Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"))

    assert brightness() < 60
    page.click("#theme")
    assert brightness() > 200
    page.reload()
    reader.sees("#live[data-kind=live]")
    assert brightness() > 200
    page.click("#theme")
    assert brightness() < 60
    assert reader.complaints == []


def test_it_fits_a_telephone(browser: Browser, server: WebServer, queue: Queue) -> None:
    """At 360 pixels nothing is wider than the screen, whatever a job is called; a tap opens a job below the list."""
    queue.enqueue("echo " + "x" * 500, id="i" * 128, tags=["t" * 128], queue="q" * 128, after=[])
    queue.enqueue("true", id="short")
    context = browser.new_context(viewport={"width": 360, "height": 780}, has_touch=True, reduced_motion="reduce")
    reader = Reader(context, server).open()
    page = reader.page
    reader.ids("short", "i" * 128)

    def fits() -> bool:
        return bool(page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))

    assert fits()
    page.locator("#jobs-table .qc-row", has_text="iii").tap()
    reader.sees("#job-title", "iii")
    reader.sees("#job-facts", "t" * 128)
    until(lambda: page.evaluate("() => document.getElementById('job').getBoundingClientRect().top < innerHeight / 2"))
    assert fits()
    page.tap(".qp-nav a[data-view=stats]")
    reader.sees("#stats", "peak memory")
    assert fits()
    assert reader.complaints == []


def test_the_keyboard_is_enough(reader: Reader, bench: Bench) -> None:
    """The first Tab leads past the top to the list; arrows choose, Enter opens, Escape closes and leads back."""
    for name in "abc":
        bench.add(f"echo log of {name}", id=name)
    bench.start()
    until(lambda: bench.queue.counts()[State.COMPLETED] == 3)
    page = reader.open().page
    reader.sees(".qc-row .qc-is-completed")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "jobs-table"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    reader.sees("#job-title", re.compile("^[abc]$"))
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("() => document.activeElement.id") == "job")
    name = page.inner_text("#job-title")
    reader.sees("#log .qc-line", f"log of {name}")
    page.keyboard.press("Escape")
    page.wait_for_selector("#job", state="hidden")
    assert page.evaluate("() => document.activeElement.id") == "jobs-table"
    seen: set[str] = set()
    for _ in range(40):  # every part can be reached, and none holds the focus
        page.keyboard.press("Tab")
        seen.add(page.evaluate("() => document.activeElement.id || document.activeElement.className"))
    assert {"theme", "qp-tile", "search", "queue", "jobs-table"} <= seen


def test_nothing_that_a_job_says_is_markup(reader: Reader, bench: Bench) -> None:
    """Markup, scripts, escapes and marks of direction in commands, logs, errors and results stay text that is seen."""
    bench.queue.enqueue(
        f"cat <<'END'\n{HOSTILE}\x1b]0;owned\x07\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07\x1b[2J\nEND\n"
        f"cat > $QUEUECTL_RESULT <<'END'\n{_json(HOSTILE)}\nEND\n",
        id="constructor",
        tags=["toString"],
    )
    bench.queue.enqueue("true", id="x", cwd="/tmp", env={"A": HOSTILE}, after=["constructor"])
    bench.start()
    until(lambda: bench.queue.counts()[State.COMPLETED] == 2)
    page = reader.open("job=constructor").page
    reader.sees("#job-command", "<img src=x onerror=")
    reader.sees("#job-command", "\\u202egnp.exe")
    reader.sees("#job-extra", "<script>document.title='owned'</script>")
    reader.sees("#log .qc-line", "<img src=x onerror=")
    line = page.inner_text("#log .qc-line")
    assert "\u202e" not in line
    assert "\x1b" not in line
    assert "link" in line
    for place in (
        "job=%3Cimg%20onerror=alert(1)%3E",
        "state=constructor&q=%3Cscript%3E",
        "queue=__proto__",
        "view=x",
    ):
        reader.go(place)
        page.wait_for_timeout(150)
    reader.go("job=..%2F..%2Fstatus")
    reader.sees("#job-trouble", "no job")
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
    assert "owned" not in page.title()
    reader.complaints = [each for each in reader.complaints if not re.search("status of 40[04]", each)]


def _json(text: str) -> str:
    import json

    return json.dumps({"html": text, "__proto__": {"polluted": True}})


@pytest.mark.pictures
def test_the_page_as_the_documentation_shows_it(reader: Reader, bench: Bench, pictures: Path) -> None:
    """A queue with jobs of all states is drawn as a whole: tiles, bars, workers, list, and one job beside it."""
    from tests.browser.scenes import busy_queue

    busy_queue(bench)
    page = reader.page
    page.set_viewport_size({"width": 1440, "height": 900})
    reader.open("job=train-lr0.1")
    reader.sees("#log .qc-line", "epoch 3")
    reader.sees(".qc-bar-ok:not([height='0'])")
    widths: list[Any] = page.evaluate("() => ['.qp-jobs', '#job'].map(s => document.querySelector(s).clientWidth)")
    assert min(widths) > 400
    page.screenshot(path=pictures / "page.png", animations="disabled")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=pictures / "page-dark.png", animations="disabled")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 360, "height": 780})
    page.evaluate("() => scrollTo(0, 0)")
    page.screenshot(path=pictures / "page-narrow.png", animations="disabled")
