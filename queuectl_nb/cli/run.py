"""``run`` in a terminal or a script: writes the output of the job as its own, and handles Ctrl+C and signals."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from queuectl_nb.cli.log_output import JobStream
from queuectl_nb.cli.stdio import EXIT_SIGNAL, signals_as_interrupts
from queuectl_nb.model.errors import QueuectlError, WrongState
from queuectl_nb.render.text_table import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.run import ForegroundJob
    from queuectl_nb.commands.results import Foreground

__all__ = ["run_in_foreground"]


def run_in_foreground(result: Foreground) -> int:
    """Follow the job until it has finished and return the exit code.

    Ctrl+C asks what to do; without a terminal to answer in, and at SIGTERM, it cancels the job. The job continues if
    the terminal is closed (SIGHUP).
    """
    job = result.job
    streams = {"stdout": JobStream(sys.stdout, keep_returns=True), "stderr": JobStream(sys.stderr, keep_returns=True)}
    job.on_note = lambda text: _note(streams, text)
    for line in result.added.lines:
        job.on_note(line)
    received: list[int] = []
    with signals_as_interrupts(received):
        try:
            for name, data in _begin(result):
                streams[name].write(data)
        except KeyboardInterrupt:
            return _interrupted(job, received[0] if received else signal.SIGINT)
        except BrokenPipeError:  # as the command itself would end when its reader is gone
            _cancel(job, signal.SIGPIPE)
            raise
        except OSError:  # the output cannot be written; the job continues
            job.stop_worker()
            raise
        finally:
            for stream in streams.values():
                stream.close()
        job.stop_worker()
    code, error = job.outcome()
    if error is not None:
        job.on_note(f"{error}; see 'queuectl show {job.job_id}'")
    return code


def _begin(result: Foreground) -> Iterator[tuple[str, bytes]]:
    """Start a worker if the job needs one, and return the output to come; notes about the job come before this one."""
    started: list[str] = []
    show, result.job.on_note = result.job.on_note, started.append
    try:
        chunks = result.job.chunks()
    finally:
        result.job.on_note = show
    for text in (*result.added.notes(), *started):
        show(text)
    return chunks


def _note(streams: dict[str, JobStream], text: str) -> None:
    """Write a message to stderr, on a line of its own on a terminal."""
    stream = streams["stderr"]
    stream.close()
    begun = stream.filter is not None and not all(each.at_line_start for each in streams.values())
    sys.stderr.write(f"{chr(10) if begun else ''}queuectl: {visible(text)}\n")
    sys.stderr.flush()
    for each in streams.values():
        each.at_line_start = True


def _interrupted(job: ForegroundJob, number: int) -> int:
    """Leave the job running or cancel it, and return the exit code."""
    if number == signal.SIGHUP or (number == signal.SIGINT and _wants_to_leave(job)):
        job.serve_now()
        follow = f"'queuectl log {job.job_id} --follow' follows it"
        job.on_note(f"job {job.job_id} continues; {follow}, 'queuectl cancel {job.job_id}' cancels it")
        return EXIT_SIGNAL + number
    return _cancel(job, number)


def _wants_to_leave(job: ForegroundJob) -> bool:
    """Ask whether to leave the job running; False without a terminal, and at a second Ctrl+C."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        while True:
            sys.stderr.write(f"\nLeave job {job.job_id} running? [Y/n] (Ctrl+C cancels it) ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
            if answer == "":  # Ctrl+D
                sys.stderr.write("\n")
                return True
            if answer.strip().lower() in ("", "y", "yes", "n", "no"):
                return not answer.strip().lower().startswith("n")
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return False


def _cancel(job: ForegroundJob, number: int) -> int:
    """Cancel the job and return the exit code: its own if it has finished meanwhile."""
    try:
        job.queue.cancel(job.job_id)
        job.on_note(f"job {job.job_id} cancelled")
    except WrongState:
        return job.outcome()[0]
    except QueuectlError as error:
        job.on_note(str(error))
    finally:
        job.stop_worker()
    return EXIT_SIGNAL + number
