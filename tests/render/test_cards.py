"""Cards of jobs, pools, logs and waits: hostile text is text, plain text stands beside, each stands alone."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.outcome import OUTCOME_NAMES
from queuectl_nb.model.state import State
from queuectl_nb.notebook.python_cell import python_command
from queuectl_nb.render import cards
from queuectl_nb.render.live_cards import RunStatus, run_html, run_text, wait_html, wait_text
from queuectl_nb.render.progress import OutputProgress
from tests.commands.manual_worker import ManualWorker

if TYPE_CHECKING:
    from queuectl_nb.client import Queue
    from queuectl_nb.model.job import JobRecord

EVIL = "</pre><script>alert(1)</script>\"'\u202e\x1b]0;title\x07\x1b[31m&"
PAGE = re.compile("<(script|img|iframe|a |link|object|svg)", re.IGNORECASE)
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Balance(HTMLParser):
    """Collects the tags of a piece of HTML and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        assert all(name in ALLOWED or name.startswith("aria-") for name, _ in attrs), attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


ALLOWED = ("class", "tabindex", "role", "style")


def checked(html: str) -> str:
    """Return the HTML if it is well made of tags and attributes of ours, and nothing in it is invisible."""
    parser = _Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert parser.tags <= {"style", "div", "span", "pre", "table", "thead", "tbody", "tr", "th", "td"}
    assert not HIDDEN.search(html)
    return html


@pytest.fixture
def job(queue: Queue) -> JobRecord:
    """Return a job whose every text is hostile, as far as a record can hold it."""
    manual_worker = ManualWorker(queue)
    manual_worker.add("a", command=f"echo {EVIL}", max_retries=1)
    manual_worker.run("a")
    record = queue.job("a").record
    return record._replace(error=EVIL, worker=EVIL, result={EVIL: [EVIL]}, state=State.DEAD)


def test_a_jobs_card_shows_hostile_text_as_text(job: JobRecord, queue: Queue) -> None:
    """Command, error, result, worker and attempts come escaped, their invisible characters visible."""
    attempt = queue.job("a").history[0]._replace(error=EVIL)
    live = run_html(
        RunStatus(3.0, OutputProgress(EVIL.replace("\x1b", "").replace("\x07", "").replace("\u202e", ""), 0.5))
    )
    html = checked(cards.job_html(job, [attempt], live))
    assert not PAGE.search(html.replace("&lt;script", ""))
    assert html.count("&lt;script&gt;") >= 5
    text = cards.job_text(job, [attempt])
    assert not HIDDEN.search(text)
    assert len(text.splitlines()) == 2


def test_a_cell_of_python_is_shown_as_it_was_written(job: JobRecord) -> None:
    """Of the command that carries a cell only its source and values are shown, no path of the machine."""
    source = "print('<b>')\nCELL"
    cell = job._replace(command=python_command(source, {"lr": 0.1, "name": "it's"}))
    html = checked(cards.job_html(cell, []))
    assert sys.executable not in html
    assert "print(&#x27;&lt;b&gt;&#x27;)\nCELL</pre>" in html
    assert "Python cell lr=0.1" in html
    assert sys.executable not in cards.job_text(cell, [])
    odd = "exec python -m queuectl_nb.child.cell <<'CELL'\nx\nCELL\nrm -r /"
    assert "rm -r /" in cards.job_html(job._replace(command=odd), [])


def test_a_pool_and_a_log_show_hostile_text_as_text() -> None:
    """Names, paths, notices and streams come escaped."""
    worker = {"name": EVIL, "pid": None, "state": EVIL, "job_id": EVIL, "jobs_done": 3}
    checked(cards.pool_html(f"Workers on /tmp/{EVIL}", "running", [worker], [EVIL]))
    # streams come through the filter for terminals, which leaves colours only
    checked(cards.log_html(EVIL, "dead", [EVIL], {"stdout": "</pre><script>\x1b[31m'\"&", "stderr": ""}))


def test_paths_are_told_from_here_or_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue below the working directory, or below home, is called as people call it there."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    named = {here / "q.db": "q.db", home / "a/q.db": "~/a/q.db", Path("/elsewhere/q.db"): "/elsewhere/q.db"}
    assert {path: cards.short_path(path) for path in named} == named


def test_a_wait_shows_hostile_ids_as_text(job: JobRecord) -> None:
    """Also where a job's id were hostile, and however it ended."""
    checked(wait_html(job._replace(id=EVIL), RunStatus(1.0, OutputProgress("x<b>", None)), {}, 1))
    html = checked(wait_html(None, RunStatus(), {"completed": 3, "dead": 1}, 4, "after 3 s"))
    assert 'style="width: 37.5%"' in html
    assert wait_text({"completed": 3, "dead": 1}, 4) == "4 of 8 finished: 3 completed, 1 dead"
    checked(wait_html(None, RunStatus(), {}, 0))


def test_plain_text_says_the_same() -> None:
    """Beside the HTML of what moves stands a line with time, share and last line."""
    assert run_text(RunStatus(200.4, OutputProgress("epoch 3", 0.455))) == "running for 3 min 20 s, 46%, epoch 3"
    assert (run_text(RunStatus()), run_html(RunStatus())) == ("", "")


@pytest.mark.parametrize(("used", "most", "said"), [(0, None, "0 attempts"), (1, None, "1 attempt"), (1, 3, "1 of 3")])
def test_attempts_are_counted_in_words(job: JobRecord, used: int, most: int | None, said: str) -> None:
    """A card counts as people do."""
    assert said in cards.job_html(job._replace(attempts=used, max_retries=most), [])


def test_every_state_and_outcome_has_its_look() -> None:
    """A state is told by its word first; colours are there for all that are good, bad or under way."""
    sheet = cards.style()
    plain = {"pending", "blocked"}
    assert {name for name in (*map(str, State), *OUTCOME_NAMES) if f".qc-is-{name}" not in sheet} == plain
    for marker in ("data-jp-theme-light", "data-theme", "data-vscode-theme-kind"):
        assert f"[{marker}" in sheet


def test_a_card_stands_alone() -> None:
    """It has every colour that it uses, and says nothing of how live views look, which may be of another version."""
    sheet = cards.style()
    assert set(re.findall(r"var\((--qc-[\w-]+)", sheet)) <= set(re.findall(r"(--qc-[\w-]+):", sheet))
    assert "queuectl-ui" not in sheet
    assert "/*" not in sheet
