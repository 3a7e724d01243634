"""The modules of the front end in a browser: logs, tables of a million rows, the chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from queuectl_nb.render.js_bundle import bundle, read_styles
from queuectl_nb.render.text_table import visible
from tests.browser.chromium import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
NASTY = (
    "plain \x1b[1;31mred\x1b[39m bold\x1b[0m\r\n"
    "\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b[2J\x1b[5Aup\n"
    "10 %\r50 %\r\x1b[K100 %\nab\b\bAB\n"
    "\x1b[38;5;208mo\x1b[48;2;1;2;3mt\x1b[38:2::9:8:7mz\x1b[m\x90dcs\x9c\u202eend\x1b"
)


@pytest.fixture
def front(shared_browser: Browser) -> Iterator[Page]:
    """Return an empty page with the modules in ``window.front`` and the styles."""
    context = shared_browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_content((HERE / "probe.html").read_text("utf-8"))
    page.add_style_tag(content=read_styles("palette.css", "theme.css"))
    page.add_script_tag(content=bundle(HERE / "probe.js"), type="module")
    page.wait_for_function("() => window.front")
    yield page
    context.close()


def texts(found: list[Any]) -> list[str]:
    """Return the texts of the lines."""
    return ["".join(piece[0] for piece in pieces) for _, pieces in found]


def lines(front: Page, *pieces: tuple[str, str]) -> Any:
    """Return the lines that a log makes of chunks of its streams."""
    return front.evaluate("(pieces) => front.lines(pieces)", pieces)


def test_log_escapes(front: Page) -> None:
    """Colours stay, progress bars show their last state, other escapes are removed, wherever a chunk ends."""
    whole = lines(front, ("stdout", NASTY))
    assert texts(whole) == ["plain red bold", "link up", "100 %", "AB", "otzend"]
    assert whole[0][1] == [["plain "], ["red", "qc-bold qc-fg1", None, None], [" bold", "qc-bold", None, None]]
    assert [piece[2:] for piece in whole[4][1][:3]] == [
        ["rgb(255, 135, 0)", None],
        ["rgb(255, 135, 0)", "rgb(1, 2, 3)"],
        ["rgb(9, 8, 7)", "rgb(1, 2, 3)"],
    ]
    assert texts(lines(front, *(("stdout", char) for char in NASTY))) == texts(whole)


def test_text_on_a_coloured_background(front: Page) -> None:
    """Text without a colour of its own is readable on a background that is the same in light and dark themes."""
    ((_, pieces),) = lines(front, ("stdout", "\x1b[48;5;52mdark\x1b[31;48;5;230mlight"))
    assert [piece[2:] for piece in pieces] == [["white", "rgb(95, 0, 0)"], ["black", "rgb(255, 255, 215)"]]


def test_progress_of_a_notebook(front: Page) -> None:
    """Its cells are no metrics with a line, but a count."""
    text = front.evaluate("(lasts) => front.metricsText(lasts)", {"loss": 0.5, "cell": 3, "cells": 4})
    assert text.split() == ["cell", "3", "of", "4", "loss", "0.5"]


def test_two_streams(front: Page) -> None:
    """A line of one stream is finished on its own line, whatever the other stream writes."""
    found = lines(front, ("stdout", "one"), ("stderr", "warn\n"), ("stdout", " two\n"))
    assert [(stream, pieces[0][0]) for stream, pieces in found] == [("stdout", "one two"), ("stderr", "warn")]


def test_log_limits(front: Page) -> None:
    """Endless escapes, endless lines and too many lines are limited, and a note says so."""
    assert texts(lines(front, ("stdout", "\x1b]" + "x" * 9000)))[0].endswith("x" * 4000)
    assert front.evaluate("() => front.longLine(50000)") == [20000, "x … 30000 more characters"]
    kept, dropped = front.evaluate("() => front.manyLines(1000)")
    assert kept <= 110
    assert kept + dropped == 1000


def test_follow_until_scrolled_up(front: Page) -> None:
    """The end stays in view unless the user scrolls up; only few lines are elements."""
    front.evaluate("() => front.showLog(50000)")
    root = front.locator("#root")
    expect(root).to_contain_text("line 49999")
    assert front.locator(".qc-line").count() < 100
    root.hover()
    front.mouse.wheel(0, -4000)
    front.wait_for_function("() => front.followChanges.at(-1) === false")
    front.wait_for_function("() => !front.log.drawScheduled")
    top = root.evaluate("(node) => node.scrollTop")
    front.evaluate("() => front.log.append('stdout', 'more\\n')")
    front.wait_for_function("() => front.log.lines.lines.length === 50001 && !front.log.drawScheduled")
    assert root.evaluate("(node) => node.scrollTop") == top
    root.focus()
    front.keyboard.press("End")
    front.wait_for_function("() => front.followChanges.at(-1) === true")
    expect(root).to_contain_text("more")


def test_a_million_rows(front: Page) -> None:
    """Any of a million rows is reached by a key or the wheel with a few dozen elements."""
    front.evaluate("() => front.showTable(1000000)")
    grid = front.locator("#root")
    expect(grid).to_contain_text("job-0")
    expect(grid).to_have_attribute("aria-rowcount", "1000001")
    grid.focus()
    front.keyboard.press("End")
    expect(grid).to_contain_text("job-999999")
    front.keyboard.press("PageUp")
    expect(front.locator(".qc-active")).to_contain_text("job-99998")
    grid.evaluate("(node) => { node.scrollTop = node.scrollHeight / 2; }")
    front.wait_for_function("() => Math.abs(front.table.scroll.position - 500000) < 5000")
    before = front.evaluate("() => front.table.scroll.position")
    grid.hover()
    front.mouse.wheel(0, 280)
    front.wait_for_function("(before) => Math.abs(front.table.scroll.position - before - 10) < 0.5", arg=before)
    front.keyboard.press("Home")
    expect(grid).to_contain_text("job-0")
    assert front.locator(".qc-row").count() < 60


def test_a_row_that_moves_while_it_is_clicked(front: Page) -> None:
    """The row that was pressed is selected, not one that takes its place before the button is released, nor none."""
    front.evaluate("() => front.showTable(2)")
    row = front.get_by_role("row").filter(has_text="job-1")
    row.hover()
    front.mouse.down()
    front.evaluate("() => front.table.update({ first: 0, keys: [1, 0] })")
    expect(row).to_have_attribute("aria-rowindex", "2")
    front.mouse.up()
    expect(row).to_have_attribute("aria-selected", "true")


def test_run_times_stop(front: Page) -> None:
    """The run time of a job counts on while rows are updated, and not when the table is stale."""
    front.clock.install(time=0)
    front.clock.pause_at(86_400)  # time passes only in run_for()
    front.evaluate("() => front.showRunning()")
    cell = front.locator(".qc-td")
    front.clock.run_for(20_500)
    assert cell.inner_text() == "20.0 s"
    front.evaluate("() => front.table.setStale(true)")
    front.clock.run_for(30_000)
    assert cell.inner_text() == "20.0 s"
    front.evaluate("() => front.table.setStale(false)")
    front.clock.run_for(1_500)
    assert cell.inner_text() == "51.5 s"


def test_scroll_range(front: Page) -> None:
    """With few and many rows, each can be scrolled into view."""
    totals = [0, 1, 11, 12, 1000, 285_714, 285_715, 1_000_000, 50_000_000]
    assert front.evaluate("(totals) => front.misplaced(totals, 310)", totals) == []


def test_hidden_characters(front: Page) -> None:
    """Characters that could hide or reorder text are shown as escapes, as on the console."""
    every = [chr(code) for code in (*range(0x100), *range(0x2000, 0x2070), 0x061C, 0xFEFF, 0xE0001, 0x1F600)]
    assert front.evaluate("(all) => all.map(front.visible)", every) == [visible(char) for char in every]


def test_durations_and_sizes(front: Page) -> None:
    """Numbers are short and have a unit."""
    spans = ["4 ms", "0.26 s", "12.3 s", "4 m 05 s", "3 h 20 m", "2 d 4 h", ""]
    assert front.evaluate("() => [0.004, 0.256, 12.34, 245, 12000, 187200, NaN].map(front.duration)") == spans
    sizes = ["0 B", "999 B", "1.5 KiB", "4.8 MiB", "2.8 GiB"]
    assert front.evaluate("() => [0, 999, 1536, 5e6, 3e9].map(front.size)") == sizes


def test_chart(front: Page) -> None:
    """The chart has a text alternative and a time axis, and begins with the first slice that is not empty."""
    front.evaluate("() => front.showChart([[150, 3, 0], [179, 12, 2]])")
    said = front.locator("svg > title").text_content()
    assert said is not None
    assert "15 succeeded, 2 failed, 14 in the last minute" in said
    assert front.locator("svg g g").count() == 30
    expect(front.locator("#root")).to_contain_text("maximum: 14 in 5 s")
    front.evaluate("() => front.showChart([])")
    expect(front.locator("#root")).to_contain_text("no attempt finished")


def test_stopped_attempts_are_not_failures(front: Page) -> None:
    """Attempts that were cancelled or returned to the queue are shown apart from failed ones, if there are any."""
    front.evaluate("() => front.showChart([[170, 1, 0, 4]])")
    expect(front.locator(".qc-key:visible")).to_have_text(["1 succeeded", "0 failed", "4 cancelled or returned"])
    front.evaluate("() => front.showChart([[170, 1, 0, 0]])")
    expect(front.locator(".qc-key:visible")).to_have_text(["1 succeeded", "0 failed"])


def test_time_axis(front: Page) -> None:
    """Ticks are at round local times, at their place, and show the date at midnight and for long times."""
    local = "(year, month, day, ...time) => new Date(year, month - 1, day, ...time) / 1000"
    ticks = f"([from, to]) => {{ const at = {local}; return front.timeTicks(at(...from), at(...to)); }}"
    assert front.evaluate(ticks, [[2026, 11, 30, 11, 59, 0], [2026, 11, 30, 12, 2, 0]]) == [
        [pytest.approx(at), text] for at, text in [(1 / 6, "11:59:30"), (2 / 6, "12:00:00"), (0.5, "12:00:30"),
                                                   (4 / 6, "12:01:00"), (5 / 6, "12:01:30")]
    ]  # fmt: skip
    night = front.evaluate(ticks, [[2026, 11, 29, 21, 0], [2026, 11, 30, 3, 30]])
    assert [text for _, text in night] == ["22:00", "30 Nov", "02:00"]
    months = front.evaluate(ticks, [[2026, 1, 10], [2026, 7, 10]])
    assert 2 <= len(months) <= 6
    assert all(text.endswith(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul")) for _, text in months)
