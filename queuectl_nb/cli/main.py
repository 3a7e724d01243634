"""The console command: runs the tree, shows what it returns, and makes of every error one line and an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from queuectl_nb.cli.stdio import mend_streams, silence_stdout
from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import COMPLETE_VAR, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.model.errors import BadEnvironment, BadInput, QueuectlError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.results import Result, Serve

__all__ = ["console", "main"]

DEBUG = "QUEUECTL_DEBUG"
INTERRUPTED = 130
BROKEN = BadEnvironment.exit_code


def console(serve: Serve) -> NoReturn:
    """Run the command that this process is, and leave at once; ``serve`` opens the web page.

    Nothing is left to do after :func:`main`, and taking the interpreter apart would be a tenth of an enqueue.
    """
    code = main(serve=serve)
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def main(args: Sequence[str] | None = None, *, serve: Serve | None = None) -> int:
    """Run the console command with ``args`` (the process's own when left out) and return its exit code.

    ``serve(dashboard, ready)`` opens the web page, which this face knows nothing of, until it is interrupted, and
    calls ``ready`` with its address.
    """
    mend_streams()
    session = Context(_open)
    if sys.stderr.isatty():
        session.notify = _tell
    if instruction := os.environ.get(COMPLETE_VAR):
        return _complete(session, instruction)
    try:
        code = _run(sys.argv[1:] if args is None else args, session, serve)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()  # who read us has seen enough
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        silence_stdout()
        return _fail(f"the answer could not be written ({error.strerror}); what was asked is done", BROKEN)
    finally:
        session.close()
    return code


def _run(args: Sequence[str], session: Context, serve: Serve | None) -> int:
    """Carry out a command and show its answer; errors that are not of writing it end here."""
    try:
        return _show(run_command_line(args, session), session.format, serve)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and not isinstance(error, QueuectlError):
            raise
        return _fail(*_explain(error))


def _explain(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code of an error."""
    if isinstance(error, QueuectlError):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        from queuectl_nb.commands.app import describe_usage_error

        return describe_usage_error(error), BadInput.exit_code
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}", BROKEN
    if os.environ.get(DEBUG):
        raise error
    # a bug of ours: people get a line, we get the rest on request
    return f"internal error: {type(error).__name__}: {error} (set {DEBUG}=1 for the traceback)", BROKEN


def _open(path: str | None, allow_network_fs: bool) -> Queue:
    from queuectl_nb.client.queue import Queue

    return Queue(path, allow_network_fs=allow_network_fs, interpreter_first=False)


def _show(result: Result, shape: str, serve: Serve | None) -> int:
    """Show an answer; what an enqueue says needs nothing more than this module."""
    if isinstance(result, Done) and shape == "table":
        if result.notes:
            sys.stderr.write("".join(f"queuectl: {note}\n" for note in result.notes))
        sys.stdout.write("".join(f"{line}\n" for line in result.lines))
        return 0
    from queuectl_nb.cli.present import show

    return show(result, shape, serve)


def _tell(text: str) -> None:
    """Say something to whoever sits there."""
    with suppress(OSError):
        sys.stderr.write(f"queuectl: {text}\n")
        sys.stderr.flush()


def _fail(text: str, code: int) -> int:
    """Write an error as one line, whatever is in it."""
    from queuectl_nb.render.text_table import visible

    with suppress(OSError):  # nobody to tell is no reason to end otherwise
        sys.stderr.write(f"queuectl: {visible(text)}\n")
    return code


def _complete(session: Context, instruction: str) -> int:
    """Answer a shell's question what could be typed next; never with an error in the middle of a line."""
    from click.shell_completion import shell_complete

    from queuectl_nb.commands.app import PROGRAM, root

    try:
        return shell_complete(root, {"obj": session}, PROGRAM, COMPLETE_VAR, instruction)
    except Exception:
        if os.environ.get(DEBUG):
            raise
        return 1
