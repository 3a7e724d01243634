"""The bar of ``wait``, on stderr where that is a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuectl_nb.client.wait import Progress as Wait

__all__ = ["bar"]


@contextmanager
def bar() -> Iterator[Callable[[Wait], None]]:
    """Show a bar for the block; it gives the function that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("waiting", total=None)

        def update(wait: Wait) -> None:
            bad = f", {len(wait.failed_ids)} not completed" if wait.failed_ids else ""
            progress.update(
                task,
                completed=wait.finished_count,
                total=wait.finished_count + wait.remaining,
                description=f"{wait.remaining} open{bad}",
            )

        yield update
