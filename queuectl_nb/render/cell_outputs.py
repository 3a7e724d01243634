"""What a cell displayed, as parts of its card: images and HTML; what is only text is in its log."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from queuectl_nb.render.card_parts import Html, Rendering, block, fill, heading
from queuectl_nb.render.text_table import visible

__all__ = ["CellFacts", "image_data", "remove_replaced", "remove_texts", "render_displays"]

MAX_CARD_CHARS = 4 * 1024 * 1024
"""Outputs beyond this are left out of a card."""
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml")
SOURCES = ("text/markdown", "text/latex")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")


class CellFacts(NamedTuple):
    """What a card shows of a cell beside the fields of its job: its inputs, and outputs in the form of nbformat."""

    inputs: str = ""
    displays: Sequence[Mapping[str, Any]] = ()


def render_displays(outputs: Iterable[Mapping[str, Any]]) -> list[Rendering]:
    """Return the parts for outputs, with a line about those that are left out."""
    parts: list[Rendering] = []
    size = hidden = 0
    for output in outputs:
        part = _render(output)
        size += 0 if part is None else len(part.html)
        if part is not None and size <= MAX_CARD_CHARS:
            parts.append(part)
        elif part is not None:
            hidden += 1
    return parts + ([heading(f"{hidden} more outputs: job.display()")] if hidden else [])


def remove_replaced(log: str, outputs: Iterable[Mapping[str, Any]]) -> str:
    r"""Return a log without the names of outputs that were cleared or updated, as in a loop that redraws a figure.

    A name such as ``<Figure size 640x480 with 1 Axes>`` that occurs more often than its outputs is that of earlier
    ones. If there were too many outputs to keep them all, it may be that of later ones, and nothing is removed.

    >>> remove_replaced("<A>\n1\n<A>\n2\n<A>\n", [{"data": {"text/plain": "<A>"}}])
    '1\n2\n<A>\n'
    """
    outputs = list(outputs)
    if any(each.get("output_type") == "stream" for each in outputs):  # it says that others are missing
        return log
    texts = [str((each.get("data") or {}).get("text/plain", "")) for each in outputs]
    for text, kept in Counter(each for each in texts if each.startswith("<")).items():
        first, *others = re.split(rf"^{re.escape(text)}\n", log, flags=re.MULTILINE)
        replaced = max(0, len(others) - kept)
        log = f"{text}\n".join(["".join([first, *others[:replaced]]), *others[replaced:]])
    return log


def remove_texts(log: str, outputs: Sequence[Mapping[str, Any]]) -> str:
    """Return the end of a log without the texts of those outputs that the card shows in a richer form."""
    log = remove_replaced(log, outputs)
    for output in outputs:
        if output.get("output_type") != "stream" and _render(output) is not None:
            text = str(output["data"].get("text/plain", ""))
            before, found, after = log.rpartition(f"{text}\n")
            log = before + after if found and text else log
    return log


def _render(output: Mapping[str, Any]) -> Rendering | None:
    """Return the richest form of an output; None if it is only text."""
    data, metadata = output.get("data") or {}, output.get("metadata") or {}
    text = str(data.get("text/plain", ""))
    if output.get("output_type") == "stream":
        return heading(str(output.get("text", "")).strip())
    for kind in IMAGES:
        if (body := image_data(data, kind)) is not None:
            width = (metadata.get(kind) or {}).get("width")
            size = Html(f' width="{width}"') if isinstance(width, int) else Html("")
            image = fill("image", source=f"data:{kind};base64,{body}", text=text, size=size)
            return Rendering(image, f"image: {visible(text)}")
    if isinstance(html := data.get("text/html"), str):
        return Rendering(fill("display", body=Html(html)), visible(text))
    for kind in SOURCES:
        if isinstance(source := data.get(kind), str) and text.startswith("<"):  # the text is only the name of a type
            return block("output", source)
    return None


def image_data(data: Mapping[str, Any], kind: str) -> str | None:
    """Return an image of a MIME bundle as base64; None if there is none, or it is not valid."""
    body = data.get(kind)
    if not isinstance(body, str):
        return None
    if kind == "image/svg+xml":
        return base64.b64encode(body.encode("utf-8", "replace")).decode("ascii")
    return "".join(body.split()) if _BASE64.fullmatch(body) else None
