"""Writes the output of a job to a terminal or a pipe: of one log, and of ``run``, which handles Ctrl+C and signals."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from queuectl_nb.cli.stdio import EXIT_SIGNAL, signals_as_interrupts
from queuectl_nb.model.errors import QueuectlError, WrongState
from queuectl_nb.render.ansi import RESET, AnsiFilter
from queuectl_nb.render.text_table import EMPTY, RULE, header_lines, status_lines, stream_heading, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.client.run import ForegroundJob
    from queuectl_nb.commands.results import Foreground, Output

__all__ = ["JobStream", "run_in_foreground", "show_output"]


def show_output(output: Output) -> None:
    """Write the output as it arrives."""
    sys.stdout.flush()
    streams = {stream: JobStream(sys.stdout) for stream in output.streams}
    try:
        if output.with_header:
            _write_framed(output, streams)
        else:
            for stream, data in output.chunks():
                streams[stream].write(data)
    finally:
        for each in streams.values():
            each.close()


def _write_framed(output: Output, streams: Mapping[str, JobStream]) -> None:
    _write_lines(RULE, *header_lines(output.job_id, output.state, output.number, output.error), RULE)
    for stream in _write_pieces(output, streams):
        _write_lines(stream_heading(stream), EMPTY)
    _write_lines("", *_ending_lines(output), RULE)


def _write_pieces(output: Output, streams: Mapping[str, JobStream]) -> list[str]:
    """Write the pieces with a heading at each change of stream or attempt; return the streams without output."""
    empty = list(output.streams)
    current: tuple[int | None, str] | None = None
    for stream, data in output.chunks():
        number = output.attempts[-1] if output.attempts else None
        if (number, stream) != current:
            if current is not None:
                _end_line(streams[current[1]])
                if current[0] != number:
                    _write_lines(stream_heading(f"attempt {number}"))
            while not output.live and empty[0] != stream:
                _write_lines(stream_heading(empty.pop(0)), EMPTY)
            _write_lines(stream_heading(stream))
            empty = [each for each in empty if each != stream]
            current = (number, stream)
        streams[stream].write(data)
    if current is not None:
        _end_line(streams[current[1]])
    return empty


def _end_line(stream: JobStream) -> None:
    """Reset the colours and start a new line if the job left one unfinished."""
    stream.close()
    if not stream.at_line_start:
        _write_lines("")


def _write_lines(*lines: str) -> None:
    """Write lines of the frame; the bytes of the job come between them."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _ending_lines(output: Output) -> list[str]:
    """Return the final state of the job, if it changed while the output was followed."""
    if output.final_state is None:
        return []
    state, error = output.final_state()
    return [] if state == output.state else status_lines(state, error)


class JobStream:
    """One stream of a job: a pipe gets its bytes; a terminal its text and colours, no other escape sequences."""

    def __init__(self, file: TextIO, *, keep_returns: bool = False) -> None:
        self.file = file
        self.at_line_start = True
        self.filter: AnsiFilter | None = None
        if file.isatty():
            self.filter = AnsiFilter(keep_colours=not os.environ.get("NO_COLOR"), keep_returns=keep_returns)

    def write(self, data: bytes) -> None:
        """Write a piece of output."""
        if self.filter is not None:
            self._write_text(self.filter.feed(data))
            return
        self.file.buffer.write(data)
        self.file.flush()
        self.at_line_start = data.endswith(b"\n")

    def close(self) -> None:
        """Write buffered data and reset the colours; the stream can be written again."""
        if self.filter is not None:
            self._write_text(self.filter.close())

    def _write_text(self, text: str) -> None:
        if not text:
            return
        self.file.write(text)
        self.file.flush()
        if text != RESET:  # which does not move the cursor
            self.at_line_start = text.endswith("\n")


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
