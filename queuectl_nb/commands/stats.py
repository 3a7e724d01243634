"""``stats``: show metrics of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client import arguments
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import FILE, Choice, Parsed
from queuectl_nb.commands.results import Detail, Listing, Plotted, Table
from queuectl_nb.render.json_shapes import flatten, stats_json
from queuectl_nb.render.progress import format_size
from queuectl_nb.store.stats import GROUPS
from queuectl_nb.store.stats import stats as compute_stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.context import Context

__all__ = ["command"]

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
    "--since",
    type=Parsed("TIME", arguments.parse_since),
    help="Count only attempts that ended since: 7d, 12h, 90m, 30s, or an ISO time.",
)
@click.option(
    "--plot",
    is_flag=False,
    flag_value="",
    type=FILE,
    metavar="[FILE]",
    help="Also plot it: below the notebook cell, or into a file (.png, .svg, .pdf).",
)
def command(context: Context, by: str | None, since: float | None, plot: str | None) -> Detail | Listing | Plotted:
    """Show metrics: run times, attempts, throughput, CPU, memory."""
    queue = context.queue()
    groups = {name: stats_json(stats) for name, stats in compute_stats(queue.store.db, by=by, since=since).items()}
    answer = _totals(queue, groups[""], since) if by is None else _by_group(queue, groups, by, since)
    if plot is None:
        return answer
    return Plotted(answer, lambda: queue.plot.overview(by=by or "command", since=since), plot)


def _totals(queue: Queue, stats: dict[str, Any], since: float | None) -> Detail:
    return Detail(
        lambda: [*_text_blocks(stats)],
        data=lambda: stats,
        value=lambda: queue.stats(since=since),
        records=lambda: [flatten(stats)],
    )


def _by_group(queue: Queue, groups: Mapping[str, dict[str, Any]], by: str, since: float | None) -> Listing:
    rows = [{by: name, "jobs": sum(stats["counts"].values()), **flatten(stats)} for name, stats in groups.items()]
    return Listing(
        [by, *flatten(next(iter(groups.values()), {}))],
        ((by, by), *GROUP_COLUMNS),
        lambda limit: rows[:limit],
        value=lambda: queue.stats(by=by, since=since),
        empty_text="No jobs.",
        data=lambda: [{by: name, **stats} for name, stats in groups.items()],
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
