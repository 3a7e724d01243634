"""What a job wrote, to look at in a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuectl_nb.render.cards import log_card
from queuectl_nb.render.colours import Colours
from queuectl_nb.render.log_header import EMPTY, RULE, heading, opening

if TYPE_CHECKING:
    from queuectl_nb.commands.results import Output

__all__ = ["LogView"]

MOST = 256 * 1024
"""Bytes of a stream that are shown; the last ones, where there are more."""


@dataclass(frozen=True)
class LogView:
    """The output of an attempt as text with its colours; as HTML where that can be shown."""

    job_id: str
    state: str
    number: int | None
    error: str | None
    streams: dict[str, str]
    frame: bool
    left_out: int

    @classmethod
    def of(cls, output: Output) -> LogView:
        """Read what is there now; no more of it is held than is shown."""
        kept = {stream: bytearray() for stream in output.streams}
        left_out = 0
        for stream, piece in output.chunks():
            kept[stream] += piece
            if (over := len(kept[stream]) - MOST) > 0:
                del kept[stream][:over]
                left_out += over
        return cls(
            output.job_id,
            output.state,
            output.number,
            output.error,
            {stream: _text(bytes(held)) for stream, held in kept.items()},
            output.with_header,
            left_out,
        )

    @property
    def facts(self) -> list[str]:
        """What stands beside the title."""
        facts = [] if self.number is None else [f"attempt {self.number}"]
        facts += [] if self.error is None else [self.error]
        return facts + self._cut

    @property
    def _cut(self) -> list[str]:
        if not self.left_out:
            return []
        return [f"{self.left_out} bytes before this are not shown; 'queuectl log {self.job_id}' shows all"]

    def __str__(self) -> str:
        if not self.frame:
            return "".join(self.streams.values())
        parts = [RULE, *opening(self.job_id, self.state, self.number, self.error), *self._cut, RULE]
        for stream, text in self.streams.items():
            parts += [heading(stream), text.rstrip("\n") or EMPTY]
        return "\n".join([*parts, "", RULE])

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        printer.text(str(self))  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        return log_card(self.job_id, self.state, self.facts, self.streams)


def _text(raw: bytes) -> str:
    """Return bytes as text with colours and no other escape; of a line that was written over, the last state."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    last = b"\n".join(line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines)
    colours = Colours()
    return colours.feed(last) + colours.close()
