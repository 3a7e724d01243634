"""``stats``: show metrics of jobs."""

from __future__ import annotations

from functools import cache
from itertools import starmap
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client import arguments
from queuectl_nb.client.hints import empty_hints
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import FILE, Choice, Parsed
from queuectl_nb.commands.results import Detail, Listing, Plotted, Table
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.render.json_shapes import flatten, stats_json
from queuectl_nb.render.progress import format_size
from queuectl_nb.store.stats import EMPTY_STATS, GROUPS, Stats, largest_groups, stats, total_stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context

__all__ = ["stats_command"]

DEFAULT_ROWS = 50
"""Rows of a table without ``--limit``."""
GROUP_COLUMNS = (
    ("jobs", "jobs"),
    ("attempts", "attempts"),
    ("avg_s", "avg_duration_s"),
    ("run_p50_s", "run_s_p50"),
    ("run_p95_s", "run_s_p95"),
    ("wait_p50_s", "wait_s_p50"),
    ("cpu_s", "cpu_s"),
    ("max_rss_bytes", "max_rss_bytes"),
)


@queuectl_command("stats", examples=["queuectl stats --by queue --since 7d"])
@click.option("--by", type=Choice("group", GROUPS), help="Show one row per command, queue or tag.")
@click.option(
    "-n",
    "--limit",
    type=Parsed("N", validation.parse_int, 1),
    help=f"Show only the N groups with the longest total run time (default: {DEFAULT_ROWS} in a table).",
)
@click.option(
    "--since",
    type=Parsed("TIME", arguments.parse_since),
    help="Count only attempts that ended since then: an age (7d, 12h, 90m, 30s) or an ISO time.",
)
@click.option(
    "--plot",
    is_flag=False,
    flag_value="",
    type=FILE,
    metavar="[FILE]",
    help="Also draw a plot: below the notebook cell, or to a file (.png, .svg, .pdf).",
)
def stats_command(
    context: Context, by: str | None, limit: int | None, since: float | None, plot: str | None
) -> Detail | Listing | Plotted:
    """Show metrics: run times, attempts, throughput, CPU, memory."""
    if by is None and limit is not None:
        raise BadInput("--limit is the number of groups; it needs --by command, queue or tag")
    queue = context.queue()
    answer = _totals(queue, since) if by is None else _by_group(queue, by, limit, since)
    if plot is None:
        return answer
    return Plotted(answer, lambda: queue.plot.overview(by=by or "command", since=since), plot)


def _totals(queue: Queue, since: float | None) -> Detail:
    stats = stats_json(total_stats(queue.store.db, since=since))
    return Detail(
        lambda: [*_text_blocks(stats)],
        data=lambda: stats,
        value=lambda: queue.stats(since=since),
        records=lambda: [flatten(stats)],
        hints=lambda: empty_hints(queue.store),
    )


def _by_group(queue: Queue, by: str, limit: int | None, since: float | None) -> Listing:
    """Return the groups: the largest ``limit`` ones, or all, of which a table shows the largest."""

    @cache
    def largest(number: int) -> tuple[list[tuple[str, Stats]], int]:
        return largest_groups(queue.store.db, by, number, since=since)

    def groups(number: int | None) -> Iterable[tuple[str, Stats]]:
        return stats(queue.store.db, by=by, since=since) if number is None else largest(number)[0]

    def row(name: str, each: Stats) -> dict[str, Any]:
        return {by: name, "jobs": sum(each.counts.values()), **flatten(stats_json(each))}

    return Listing(
        [by, *flatten(stats_json(EMPTY_STATS))],
        ((by, by), *GROUP_COLUMNS),
        lambda number: starmap(row, groups(limit or number)),
        value=lambda: queue.stats(by=by, limit=limit, since=since),
        count=lambda: largest(limit or DEFAULT_ROWS)[1],
        default_limit=DEFAULT_ROWS,
        empty_text="No jobs have tags." if by == "tag" else "No jobs.",
        hints=lambda: empty_hints(queue.store),
        data=lambda: ({by: name, **stats_json(each)} for name, each in groups(limit)),
    )


def _text_blocks(stats: Mapping[str, Any]) -> Iterator[str | Table]:
    """Yield the report as text."""
    yield "--- QueueCTL Metrics ---\n\nJob Counts:"
    counts = [f"  - {state}: {n}" for state, n in stats["counts"].items() if n] or ["  (no jobs)"]
    yield "\n".join(counts)
    yield "\nExecution Stats:"
    per_minute = "-" if stats["per_minute"] is None else f"{stats['per_minute']:.2f} completed per minute"
    per_job = "-" if stats["attempts_per_job"] is None else f"{stats['attempts_per_job']:.2f}"
    lines = {
        "Avg. Job Duration (Completed)": _seconds(stats["avg_duration_s"]),
        "Running (p50 / p95)": f"{_seconds(stats['run_s']['p50'])} / {_seconds(stats['run_s']['p95'])}",
        "Waiting (p50 / p95)": f"{_seconds(stats['wait_s']['p50'])} / {_seconds(stats['wait_s']['p95'])}",
        "Attempts": f"{stats['attempts']} ({per_job} per job)",
        "Throughput": per_minute,
        "CPU": _seconds(stats["cpu_s"]),
        "Peak Memory": "-" if (peak := stats["max_rss_bytes"]) is None else format_size(peak),
    }
    yield "\n".join(f"  - {title}: {value}" for title, value in lines.items())


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} seconds"
