"""Cards of jobs, pools, logs and waits as HTML and as text."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from IPython.lib.pretty import pretty

from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.state import State
from queuectl_nb.render.card_parts import style
from queuectl_nb.render.cards import (
    LogText,
    RunStatus,
    job_card,
    log_html,
    pool_card,
    queue_card,
    short_path,
    wait_card,
)
from queuectl_nb.render.cell_outputs import CellFacts
from queuectl_nb.render.progress import OutputProgress
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from queuectl_nb.model.job import JobRecord

EVIL = "</pre><script>alert(1)</script>\"'\u202e\x1b]0;title\x07\x1b[31m&"
PAGE = re.compile("<(script|img|iframe|a |link|object|svg)", re.IGNORECASE)
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Balance(HTMLParser):
    """Collects the tags of HTML and checks that they are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "input":  # has no end
            self.open.append(tag)
        self.tags.add(tag)
        assert all(name in ALLOWED or name.startswith("aria-") for name, _ in attrs), attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


KNOWN_TAGS = {"style", "div", "span", "pre", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
KNOWN_TAGS |= {"label", "input", "svg", "polyline", "button", "code"}
ALLOWED = {"class", "tabindex", "role", "style", "type", "checked"}
ALLOWED |= {"title", "disabled", "data-qc-card", "data-qc-action", "data-qc-error", "data-lm-suppress-shortcuts"}
ALLOWED |= {"viewbox", "width", "height", "points", "fill", "stroke", "stroke-width"}


def check_html(html: str) -> str:
    """Check that HTML is well-formed, has only known tags and attributes, and no hidden characters; return it."""
    parser = _Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert parser.tags <= KNOWN_TAGS
    assert not HIDDEN.search(html)
    return html


@pytest.fixture
def job(queue: Queue) -> JobRecord:
    """Return a job with hostile text in all fields."""
    manual_worker = ManualWorker(queue)
    manual_worker.add("a", command=f"echo {EVIL}", max_retries=1)
    manual_worker.run("a")
    record = queue.job("a").record
    return record._replace(error=EVIL, worker=EVIL, result={EVIL: [EVIL]}, state=State.DEAD)


def test_job_card_escapes_text(job: JobRecord, queue: Queue) -> None:
    """Command, error, result, worker and attempts are escaped; hidden characters are visible."""
    attempt = queue.job("a").history[0]._replace(error=EVIL)
    status = RunStatus(3.0, OutputProgress(EVIL.replace("\x1b", "").replace("\x07", "").replace("\u202e", ""), 0.5))
    card = job_card(job, [attempt], status)
    html = check_html(card.html)
    assert not PAGE.search(html.replace("&lt;script", ""))
    assert html.count("&lt;script&gt;") >= 4
    assert not HIDDEN.search(card.text)
    text = job_card(job, [attempt, attempt._replace(number=2)]).text
    (attempt_line,) = [line for line in text.splitlines() if line.startswith("  1 ")]
    assert attempt_line.split()[:3] == ["1", "succeeded", "0"]


def test_python_cell_is_shown_as_source(job: JobRecord) -> None:
    """The source of a cell is folded behind its first line, with the inputs."""
    source = "print('<b>')\nCELL"
    cell = job._replace(command=source, kind="cell")
    card = job_card(cell, [], cell=CellFacts('lr=0.1, name="it\'s"'))
    html = check_html(card.html)
    assert "</span>)\nCELL</pre>" in html
    assert "print('<b>')\nCELL" in unescape(re.sub("</?span[^>]*>", "", html))
    assert "Python cell lr=0.1" in html
    data = {"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "# Losses <b>"}
    shown = {"output_type": "display_data", "data": data, "metadata": {}}
    card = job_card(cell, [], outputs={"output": f"one\n{data['text/plain']}\n"}, cell=CellFacts("", [shown]))
    assert "# Losses &lt;b&gt;</pre>" in card.html
    assert "Markdown object" not in card.html
    overview = {"counts": {"pending": 1}, "workers": [], "paused": [], "hints": [], "at": 0}
    assert "print(&#x27;&lt;b&gt;" in check_html(queue_card("q", overview, [cell]).html)


def test_function_is_shown_as_a_call(job: JobRecord) -> None:
    """A call has its kind in the head and the colours of Python; hostile text in it is escaped."""
    card = job_card(job._replace(kind="function", command=f"train({EVIL!r}, lr=0.1)", result_repr=EVIL), [])
    html = check_html(card.html)
    assert '<span class="qc-fact">function</span>' in html
    assert '<span class="qc-fg4">train</span>(<span class="qc-fg2">' in html
    assert 'lr=<span class="qc-fg6">0.1</span>)</pre>' in html
    assert not PAGE.search(html)
    assert "\n  call: train(" in card.text
    assert f"\n  result: {EVIL[:6]}" in card.text
    assert not HIDDEN.search(card.text)


def test_metrics_are_lines(job: JobRecord) -> None:
    """Metrics have their name, last value and a line; a single value, or one that is not finite, has no line."""
    card = job_card(job, [], metrics=[(EVIL, 0.25, [1.0, 0.5, 0.25]), ("step", 3, [3.0]), ("bad", None, [])])
    html = check_html(card.html)
    assert html.count("<polyline") == 1
    assert '<span class="qc-fact">step</span> 3 </span>' in html
    assert not HIDDEN.search(card.text)
    (line,) = [line for line in card.text.splitlines() if line.startswith("  metrics: ")]
    assert line.endswith(" 0.25 █▃▁, step 3 ▄, bad")


def test_end_of_the_output(job: JobRecord, queue: Queue) -> None:
    """The last lines are shown with colours, as text without; it says if there are more. There is no empty block."""
    attempts = queue.job("a").history
    output = "".join(f"line {number}\n" for number in range(20)) + "\x1b[31mred</pre><script>\x1b[0m\n\n"
    card = job_card(job, attempts, None, {"output": output})
    assert "line 13\n" in check_html(card.html)
    assert "line 12" not in card.html
    assert '<span class="qc-fg1">red&lt;/pre&gt;&lt;script&gt;</span>' in card.html
    assert "  output:\n    line 13\n" in card.text
    assert "\n  last 8 lines; see '%queuectl log a'\n" in card.text
    assert "last 8 lines" not in job_card(job, attempts, None, {"output": output.partition("line 8")[0]}).text
    assert not HIDDEN.search(card.text)
    assert "qc-output" not in job_card(job, attempts, None, {"output": "\n"}).html


def test_log_text() -> None:
    """A log is a string that is shown folded, with colours in HTML and without in text."""
    log = LogText(f"a\n 10%\r 20%\r\n\x1b[31mred {EVIL}\n")
    html = check_html(log._repr_html_())
    assert "a\n 20%\n" in html
    assert "10%" not in html
    assert '<span class="qc-fg1">red' in html
    assert not PAGE.search(html.replace("&lt;script", ""))
    shown = pretty(log)
    assert shown.startswith("a\n 20%\nred ")
    assert not HIDDEN.search(shown)
    assert (log.split("\n")[0], pretty(LogText()), isinstance(log, str)) == ("a", "(empty)", True)


def test_log_with_long_lines_has_a_switch_for_wrapping() -> None:
    """Colours and overwritten text do not make a line long."""
    texts = ("x" * 80, "x" * 81, "\x1b[31m" * 20 + "red", f"{'x' * 81}\rshort\x1b[K\n")
    assert ["checkbox" in check_html(LogText(text)._repr_html_()) for text in texts] == [False, True, False, False]


def test_same_parts_in_each_state(job: JobRecord, queue: Queue) -> None:
    """A job has one line for its progress, whether it waits, runs or has finished, so that cards do not jump."""
    waiting = job._replace(error=None, result=None, state=State.PENDING)
    last = queue.job("a").history[0]._replace(exit_code=3, outcome="failed", max_rss_bytes=2**20, finished_at=None)
    texts = [
        job_card(waiting, []).text.split("\n")[1],
        job_card(waiting, [], RunStatus(3, OutputProgress())).text.split("\n")[1],
        job_card(waiting, [last]).text.split("\n")[1].rsplit(",", 1)[0],
    ]
    assert texts == ["  not started", "  running for 3 s", "  failed, exit code 3, 1 MiB"]


def test_pool_and_log_cards_escape_text() -> None:
    """Names, paths, warnings and streams are escaped."""
    worker = {"name": EVIL, "pid": None, "state": EVIL, "job_id": EVIL, "jobs_done": 3}
    card = pool_card(f"Workers on /tmp/{EVIL}", "running", [worker], [EVIL])
    check_html(card.html)
    assert not HIDDEN.search(card.text)
    # AnsiFilter leaves only colours in streams
    check_html(log_html(EVIL, "dead", [EVIL], {"stdout": "</pre><script>\x1b[31m'\"&", "stderr": ""}))


def test_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the working or the home directory."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    expected = {here / "q.db": "q.db", home / "a/q.db": "~/a/q.db", Path("/elsewhere/q.db"): "/elsewhere/q.db"}
    assert {path: short_path(path) for path in expected} == expected


def test_wait_escapes_text(job: JobRecord) -> None:
    """A wait for one job and for many is escaped and shows the progress."""
    check_html(wait_card(job._replace(id=EVIL), RunStatus(1.0, OutputProgress("x<b>", None)), {}, 1).html)
    card = wait_card(None, None, {"completed": 3, "dead": 1}, 4, "after 3 s")
    assert 'style="width: 37.5%"' in check_html(card.html)
    assert card.text == "4 of 8 finished: 3 completed, 1 dead; after 3 s"
    check_html(wait_card(None, None, {}, 0).html)


def test_run_status() -> None:
    """A running attempt is shown with run time, progress and last line; without a percentage there is no bar."""
    parts = RunStatus(200.4, OutputProgress("epoch 3", 0.455)).parts()
    assert [part.text for part in parts] == ["running for 3 min 20 s, 46%", "epoch 3"]
    (part,) = RunStatus(1.0, OutputProgress()).parts()
    assert (part.text, "progressbar" in part.html) == ("running for 1 s", False)


@pytest.mark.parametrize(("used", "limit", "text"), [(0, None, "0 attempts"), (1, None, "1 attempt"), (1, 3, "1 of 3")])
def test_attempt_count(job: JobRecord, used: int, limit: int | None, text: str) -> None:
    """Singular, plural and limit are worded correctly."""
    card = job_card(job._replace(attempts=used, max_retries=limit), [])
    assert text in card.html
    assert text in card.text


def test_every_state_and_outcome_has_a_colour() -> None:
    """All states and outcomes have a colour, in every theme."""
    sheet = style()
    assert [name for name in (*map(str, State), *OUTCOME_NAMES) if f".qc-is-{name}" not in sheet] == []
    for marker in ("data-jp-theme-light", "data-theme", "data-vscode-theme-kind"):
        assert f"[{marker}" in sheet


def test_card_is_self_contained() -> None:
    """The style sheet defines every colour it uses, and does not affect live views, possibly of another version."""
    sheet = style()
    assert set(re.findall(r"var\((--qc-[\w-]+)", sheet)) <= set(re.findall(r"(--qc-[\w-]+):", sheet))
    assert "queuectl-ui" not in sheet
    assert "/*" not in sheet
