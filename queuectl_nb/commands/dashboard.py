"""``dashboard``: show the queue live, as a web page or a notebook widget."""

from __future__ import annotations

import ipaddress

import click

from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.params import Parsed
from queuectl_nb.commands.results import Dashboard
from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput

__all__ = ["dashboard_command"]

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535


def _parse_address(name: str, text: str) -> str:
    """Return the IP address; other host names are refused, since they can have several addresses."""
    try:
        return str(ipaddress.ip_address(LOOPBACK if text == "localhost" else text))
    except ValueError:
        shown = validation.quoted(text)
        msg = f"{name} must be an IP address of this machine, such as {LOOPBACK} or 0.0.0.0, not {shown}"
        raise BadInput(msg) from None


@queuectl_command("dashboard", examples=["queuectl dashboard --open"], format_options=False)
@click.option(
    "--port",
    type=Parsed("P", validation.parse_int, 0, MAX_PORT),
    help="Port to listen on (default: 8642 or the next free one); 0 for any.",
)
@click.option(
    "--host",
    type=Parsed("ADDRESS", _parse_address),
    default=LOOPBACK,
    help=f"Address to listen on (default: {LOOPBACK}).",
)
@click.option("--open", "browse", is_flag=True, help="Open the page in a browser.")
def dashboard_command(context: Context, *, port: int | None, host: str, browse: bool) -> Dashboard:
    """Serve the read-only web page until Ctrl+C.

    Prints its address, which includes the login token. In a notebook a widget is shown instead.
    """
    # a notebook's widget has a form to enqueue
    return Dashboard(context.queue(create=context.wants_value), port, host, browse)
