"""Entry point of ``queuectl`` and ``python -m queuectl_nb``; connects the console with the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.cli.main import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.commands.results import Dashboard

__all__ = ["main"]


def main() -> None:
    """Run the console command of this process."""
    console(_serve)


def _serve(dashboard: Dashboard, ready: Callable[[str], object]) -> None:
    from queuectl_nb.web.server import listen, serve

    serve(dashboard, listen(dashboard.port, dashboard.host), ready)


if __name__ == "__main__":
    main()
