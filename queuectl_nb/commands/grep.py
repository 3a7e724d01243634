"""``grep``: search the output of jobs."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from queuectl_nb.client.grep import FoundLine, Search
from queuectl_nb.client.selection import find_filter
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.params import Parsed, TextParam
from queuectl_nb.commands.results import Listing, Stream
from queuectl_nb.commands.selection import choose, selection_options
from queuectl_nb.model import validation
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from queuectl_nb.commands.context import Context

__all__ = ["grep_command"]

FIELDS = ("job_id", "attempt", "stream", "line", "text")
COUNT_FIELDS = ("job_id", "count")


@queuectl_command("grep", examples=["queuectl grep 'loss: nan' --tag sweep", "queuectl grep -i error job-1 -C 3"])
@click.argument("pattern", type=TextParam("PATTERN"))
@selection_options()
@click.option("-i", "--ignore-case", is_flag=True, help="Ignore the case of letters.")
@click.option(
    "-C",
    "--context",
    "around",
    type=Parsed("N", validation.parse_int, 0, 1000),
    default="0",
    help="Lines to show around each match.",
)
@click.option("-c", "--count", is_flag=True, help="Show only the number of matching lines of each job.")
@click.option("--line-number", is_flag=True, help="Show the number of each line in its stream.")
@click.option("--all-attempts", is_flag=True, help="Search all attempts, not only the latest of each job.")
def grep_command(
    context: Context,
    pattern: str,
    ids: Sequence[str],
    *,
    ignore_case: bool,
    around: int,
    count: bool,
    line_number: bool,
    all_attempts: bool,
    **selection: Any,
) -> Listing | Stream:
    """Search the output of jobs, including running ones, for a pattern.

    Prints JOB:STREAM:TEXT for each line of the latest attempts that matches, without escape sequences; lines around a
    match have a hyphen before the text. The exit code is 1 if there is no match.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection)
    job_filter = find_filter(queue.store, *chosen)
    search = Search(queue.store, pattern, ignore_case=ignore_case, context=0 if count else around)
    found = search.run(job_filter, all_attempts=all_attempts)
    if context.format == "table" and not context.wants_value:
        if count:
            return Stream(lambda write: _write_counts(_count(found), write))
        return Stream(lambda write: _write_lines(found, write, numbered=line_number, attempts=all_attempts))
    if count:
        counts = _count(found)
        rows: Iterable[dict[str, Any]] = (dict(zip(COUNT_FIELDS, item, strict=True)) for item in counts.items())
        return _listing(COUNT_FIELDS, rows, is_empty=not counts and not context.wants_value)
    first = next(found, None)
    lines = chain([] if first is None else [first], found)
    return _listing(FIELDS, map(_to_json, lines), is_empty=first is None and not context.wants_value)


def _to_json(line: FoundLine) -> dict[str, Any]:
    return dict(zip(FIELDS, line, strict=False))


def _listing(fields: Sequence[str], rows: Iterable[dict[str, Any]], *, is_empty: bool) -> Listing:
    def frame() -> pd.DataFrame:
        from queuectl_nb.render.frames import frames

        return frames.found_lines(rows, fields)

    columns = [(field, field) for field in fields]
    return Listing(fields, columns, lambda _: rows, value=frame, empty_text="No lines match.", exit_code=int(is_empty))


def _count(lines: Iterator[FoundLine]) -> Counter[str]:
    return Counter(line.job_id for line in lines if line.matches)


def _write_counts(counts: Counter[str], write: Callable[[str], object]) -> int:
    for job_id, number in counts.items():
        write(f"{job_id}:{number}")
    return int(not counts)


def _write_lines(lines: Iterator[FoundLine], write: Callable[[str], object], *, numbered: bool, attempts: bool) -> int:
    """Write each line; return the exit code."""
    exit_code, previous = 1, None
    for line in lines:
        exit_code = 0
        place = (line.job_id, line.attempt, line.stream)
        if not line.matches and previous is not None and (*place, line.line - 1) != previous:
            write("--")
        previous = (*place, line.line)
        mark = ":" if line.matches else "-"
        number = f"{line.line}{mark}" if numbered else ""
        name = f"{line.job_id} (attempt {line.attempt})" if attempts else line.job_id
        text = "\t".join(map(visible, line.text.split("\t")))
        write(f"{name}:{line.stream}{mark}{number}{text}")
    return exit_code
