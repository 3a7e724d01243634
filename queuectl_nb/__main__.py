"""``queuectl`` and ``python -m queuectl_nb``: the console and the web page put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.cli.main import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.commands.results import Dashboard

__all__ = ["main"]


def main() -> None:
    """Run the command that this process is."""
    console(_serve)


def _serve(dashboard: Dashboard, ready: Callable[[str], object]) -> None:
    from queuectl_nb.web.server import listen, serve

    serve(dashboard, listen(dashboard.port, dashboard.host), ready)


if __name__ == "__main__":
    main()
