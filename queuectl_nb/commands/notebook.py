"""The options of ``enqueue`` for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from queuectl_nb.commands.params import FILE, TextParam
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobSpec

__all__ = ["NOTEBOOK_OPTIONS", "add_notebook_options", "notebook_spec"]

F = TypeVar("F", bound="Callable[..., Any]")
NOTEBOOK_OPTIONS = ("notebook", "parameters", "raw_parameters", "kernel", "allow_unknown")
"""Names of the parameters that :func:`add_notebook_options` adds."""


def add_notebook_options(function: F) -> F:
    """Add the options to a command."""
    for add in reversed(
        (
            click.option("--notebook", type=FILE, metavar="FILE", help="Notebook to run instead of a command."),
            click.option(
                "--parameter",
                "parameters",
                type=TextParam("K=V"),
                multiple=True,
                help="Parameter of --notebook, typed: 3, 0.5, true, null, or text; repeatable.",
            ),
            click.option(
                "--raw-parameter",
                "raw_parameters",
                type=TextParam("K=V"),
                multiple=True,
                help="Parameter of --notebook, as text; repeatable.",
            ),
            click.option("--kernel", type=TextParam("NAME"), help="Kernel for --notebook (default: its own)."),
            click.option("--allow-unknown", is_flag=True, help="Accept parameters that --notebook does not have."),
        )
    ):
        function = add(function)
    return function


def notebook_spec(queue: Queue, options: Mapping[str, Any], fields: Mapping[str, Any]) -> JobSpec | None:
    """Return the spec of a job that runs ``--notebook``, with the ``fields`` of the job; None without that option."""
    if options["notebook"] is None:
        if any(options.values()):
            raise BadInput("--parameter, --raw-parameter, --kernel and --allow-unknown are for --notebook FILE")
        return None
    from queuectl_nb.client.notebook import make_notebook_specs, parse_parameters

    if "shell" in fields:
        raise BadInput("--shell is for commands, not for --notebook")
    return make_notebook_specs(
        queue,
        options["notebook"],
        None,
        parse_parameters(options["parameters"], options["raw_parameters"]),
        kernel=options["kernel"],
        allow_unknown=options["allow_unknown"],
        **fields,
    )[0]
