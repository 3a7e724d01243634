"""A job's log as the output of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuectl_nb.render.ansi import AnsiFilter
from queuectl_nb.render.cards import log_html
from queuectl_nb.render.log_header import EMPTY, RULE, header_lines, stream_heading

if TYPE_CHECKING:
    from queuectl_nb.commands.results import Output

__all__ = ["LogView"]

MAX_STREAM_BYTES = 256 * 1024
"""Only the end of a longer stream is shown."""


@dataclass(frozen=True)
class LogView:
    """The output of an attempt as text with colours, displayed as HTML where possible."""

    job_id: str
    state: str
    number: int | None
    error: str | None
    streams: dict[str, str]
    with_header: bool
    omitted_bytes: int

    @classmethod
    def read(cls, output: Output) -> LogView:
        """Read the output written so far, with at most ``MAX_STREAM_BYTES`` of each stream in memory."""
        streams = {stream: bytearray() for stream in output.streams}
        omitted = 0
        for stream, chunk in output.chunks():
            streams[stream] += chunk
            if (excess := len(streams[stream]) - MAX_STREAM_BYTES) > 0:
                del streams[stream][:excess]
                omitted += excess
        return cls(
            output.job_id,
            output.state,
            output.number,
            output.error,
            {stream: _text(bytes(data)) for stream, data in streams.items()},
            output.with_header,
            omitted,
        )

    @property
    def facts(self) -> list[str]:
        """What is shown beside the title."""
        facts = [] if self.number is None else [f"attempt {self.number}"]
        facts += [] if self.error is None else [self.error]
        return facts + self._omitted

    @property
    def _omitted(self) -> list[str]:
        if not self.omitted_bytes:
            return []
        return [f"{self.omitted_bytes} earlier bytes are not shown; 'queuectl log {self.job_id}' shows all"]

    def __str__(self) -> str:
        if not self.with_header:
            return "".join(self.streams.values())
        parts = [RULE, *header_lines(self.job_id, self.state, self.number, self.error), *self._omitted, RULE]
        for stream, text in self.streams.items():
            parts += [stream_heading(stream), text.rstrip("\n") or EMPTY]
        return "\n".join([*parts, "", RULE])

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        printer.text(str(self))  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        return log_html(self.job_id, self.state, self.facts, self.streams)


def _text(raw: bytes) -> str:
    """Return text with colours and no other escapes; of a line overwritten by carriage returns, the last state."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    last = b"\n".join(line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines)
    ansi = AnsiFilter()
    return ansi.feed(last) + ansi.close()
