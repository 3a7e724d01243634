"""Entry point of the console: runs a command, shows its result, maps errors to one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from queuectl_nb.cli.stdio import (
    EXIT_SIGNAL,
    interrupts,
    lost_interrupts_repeated,
    redirect_stdout_to_null,
    repair_streams,
    signals_as_interrupts,
)
from queuectl_nb.commands.app import COMPLETE_VAR, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done
from queuectl_nb.model.errors import BadEnvironment, BadInput, QueuectlError
from queuectl_nb.store.os_errors import describe_os_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.commands.results import Result, Serve

__all__ = ["console", "main"]

DEBUG_VARIABLE = "QUEUECTL_DEBUG"
EXIT_INTERRUPTED = 130
OUTPUT_ERRNOS = frozenset(
    getattr(errno, name) for name in ("EAGAIN", "EBADF", "EDQUOT", "EFBIG", "EINVAL", "EIO", "ENOSPC", "EPIPE")
)
"""Error numbers of write(2); other errors without a file name come from the command, not from showing its result."""
EXIT_ENVIRONMENT = BadEnvironment.exit_code


def console(serve: Serve) -> NoReturn:
    """Run the command of this process and exit; ``serve`` runs the web page.

    Exits without interpreter shutdown, which would take a tenth of the time of an enqueue.
    """
    code = main(serve=serve)
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def main(args: Sequence[str] | None = None, *, serve: Serve | None = None) -> int:
    """Run a console command and return its exit code.

    Parameters
    ----------
    args
        Command line; that of the process if omitted.
    serve
        ``serve(dashboard, on_ready)`` runs the web page until interrupted and calls ``on_ready`` with its address. It
        is passed in because the console does not import the web layer.
    """
    repair_streams()
    context = Context(_open)
    if sys.stderr.isatty():
        context.notify = _notify
    if instruction := os.environ.get(COMPLETE_VAR):
        return _complete(context, instruction)
    received: list[int] = []
    try:
        with lost_interrupts_repeated(), signals_as_interrupts(received):
            code = _run(sys.argv[1:] if args is None else args, context, serve)
        if received and code == EXIT_INTERRUPTED:
            return EXIT_SIGNAL + received[0]
        sys.stdout.flush()
    except BrokenPipeError:
        redirect_stdout_to_null()  # the reader closed the pipe, as head does
        return 0
    except KeyboardInterrupt:
        return EXIT_SIGNAL + received[0] if received else EXIT_INTERRUPTED
    except OSError as error:
        redirect_stdout_to_null()
        return _fail(f"writing the output failed ({error.strerror}); the command itself was executed", EXIT_ENVIRONMENT)
    finally:
        context.close()
    return code


def _run(args: Sequence[str], context: Context, serve: Serve | None) -> int:
    """Run a command and show its result; errors of writing to stdout are left to the caller."""
    try:
        return _show(run_command_line(args, context), context.format, serve)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and _is_about_output(error):
            raise
        if interrupts or _is_interrupt(error):
            return EXIT_INTERRUPTED
        return _fail(*_describe(error))


def _is_interrupt(error: BaseException | None) -> bool:
    """Return True if an interrupt has caused an error: Python itself converts exceptions, and so do C libraries."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_about_output(error: OSError) -> bool:
    return error.filename is None and error.errno in OUTPUT_ERRNOS and not isinstance(error, QueuectlError)


def _describe(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code for an error."""
    if isinstance(error, QueuectlError):
        return error.console, error.exit_code
    if isinstance(error, click.ClickException):
        from queuectl_nb.commands.app import describe_usage_error

        return describe_usage_error(error), BadInput.exit_code
    if isinstance(error, OSError):
        return describe_os_error(error), EXIT_ENVIRONMENT
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):  # an ImportError of a library
        return "not enough memory; raise 'ulimit -v' or the limit of the container", EXIT_ENVIRONMENT
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        message = "cannot start another thread; raise 'ulimit -u' or the limit of the container (pids.max)"
        return message, EXIT_ENVIRONMENT
    message = f"internal error: {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 for the traceback)"
    return message, EXIT_ENVIRONMENT


def _open(path: str | None, allow_network_fs: bool, create: bool) -> Queue:
    from queuectl_nb.client.queue import Queue

    return Queue(path, allow_network_fs=allow_network_fs, interpreter_first=False, create=create)


def _show(result: Result, output_format: str, serve: Serve | None) -> int:
    """Show a result; the lines of an enqueue are written here, without importing the presentation code."""
    if isinstance(result, Done) and output_format == "table":
        sys.stdout.write("".join(f"{_visible(line)}\n" for line in result.lines))
        if notes := result.notes():
            sys.stdout.flush()
            sys.stderr.write("".join(f"queuectl: {_visible(note)}\n" for note in notes))
        return 0
    from queuectl_nb.cli.present import show

    return show(result, output_format, serve)


def _visible(text: str) -> str:
    """Escape hidden characters; the module for it is imported only if there are any."""
    if text.isprintable():
        return text
    from queuectl_nb.render.text_table import visible

    return visible(text)


def _notify(text: str) -> None:
    """Write a progress message to the terminal."""
    with suppress(OSError):
        sys.stderr.write(f"queuectl: {text}\n")
        sys.stderr.flush()


def _fail(text: str, code: int) -> int:
    """Write an error message on one line and return the exit code."""
    try:
        from queuectl_nb.render.text_table import one_line

        text = one_line(text)
    except (ImportError, MemoryError, OSError):  # the error may be that no more files can be opened
        text = ascii(text)[1:-1]
    with suppress(OSError):  # a closed stderr must not change the exit code
        sys.stderr.write(f"queuectl: {text}\n")
    return code


def _complete(context: Context, instruction: str) -> int:
    """Write shell completions; an error must not appear in the middle of the user's line."""
    from click.shell_completion import shell_complete

    from queuectl_nb.commands.app import PROGRAM, root

    try:
        return shell_complete(root, {"obj": context}, PROGRAM, COMPLETE_VAR, instruction)
    except Exception:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return 1
