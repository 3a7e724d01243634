"""Entry point of ``queuectl`` and ``python -m queuectl_nb``; connects the console with the web page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.commands.results import Dashboard

__all__ = ["main"]

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the console command of this process; an interrupt during the imports shows no traceback either."""
    try:
        from queuectl_nb.cli.main import console

        console(_serve)
    except KeyboardInterrupt:
        os._exit(EXIT_INTERRUPTED)


def _serve(dashboard: Dashboard, ready: Callable[[str], bool]) -> None:
    from queuectl_nb.web.server import serve

    serve(dashboard, ready)


if __name__ == "__main__":
    main()
