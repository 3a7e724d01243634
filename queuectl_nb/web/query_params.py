"""What the API can be asked: the query parameters of each route as data, and their words turned into values."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import State
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["JOB", "JOBS", "LOG", "MOST", "PAGE", "QueryParam", "asked", "cursor", "cursor_text"]

PAGE = 100
"""Jobs of a page unless the request says otherwise."""
MOST = 1000
"""Jobs of a page at most."""
LONGEST = 1000
"""Characters of a search text."""


@dataclass(frozen=True, slots=True)
class QueryParam:
    """A query parameter: how its text becomes a value, and the value where it is not given (or empty)."""

    read: Callable[[str], Any]
    default: Any = None


def cursor_text(place: tuple[int, int]) -> str:
    """Return the place of a job in the list (rev, seq) as an opaque word.

    >>> cursor(cursor_text((7, 12)))
    (7, 12)
    """
    return base64.urlsafe_b64encode(f"{place[0]}.{place[1]}".encode()).decode().rstrip("=")


def cursor(text: str) -> tuple[int, int]:
    """Return the place that a cursor stands for; refuse what is none of ours."""
    try:
        rev, seq = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True).decode().split(".")
        return validation.whole("after", rev, 0), validation.whole("after", seq, 0)
    except (ValueError, UnicodeError, binascii.Error, BadInput):
        msg = f"after must be the 'next' of an earlier page, not {validation.shown(text)}"
        raise BadInput(msg) from None


def _text(value: str) -> str:
    if len(value) > LONGEST:
        msg = f"q has {len(value)} characters; {LONGEST} at most"
        raise BadInput(msg)
    return validation.plain_text("q", value)


JOBS: Mapping[str, QueryParam] = {
    "state": QueryParam(lambda text: validation.choice("state", text, State)),
    "queue": QueryParam(lambda text: validation.name("queue", text)),
    "q": QueryParam(_text),
    "limit": QueryParam(lambda text: validation.whole("limit", text, 1, MOST), PAGE),
    "after": QueryParam(cursor),
}
JOB: Mapping[str, QueryParam] = {
    "output": QueryParam(lambda text: validation.choice("output", text, ("yes", "no")), "yes"),
}
LOG: Mapping[str, QueryParam] = {
    "stream": QueryParam(lambda text: validation.choice("stream", text, STREAMS), STREAMS[0]),
    "attempt": QueryParam(lambda text: validation.whole("attempt", text, 1)),
    "offset": QueryParam(lambda text: validation.whole("offset", text, 0), 0),
}


def asked(questions: Mapping[str, QueryParam], given: Mapping[str, Sequence[bytes]]) -> dict[str, Any]:
    """Return the value of each parameter from a request's raw query arguments.

    Raises :class:`BadInput` for an unknown parameter, one given twice, and a value that cannot be taken; the message
    names the valid ones.
    """
    for name in given:
        if name not in questions:
            valid = ", ".join(questions) or "none"
            msg = f"query parameter {validation.shown(name)} is unknown; valid: {valid}"
            raise BadInput(msg)
    values = {}
    for name, question in questions.items():
        texts = [text for text in given.get(name, ()) if text]
        if len(texts) > 1:
            msg = f"query parameter {name} is given {len(texts)} times; once at most"
            raise BadInput(msg)
        values[name] = question.read(_decoded(name, texts[0])) if texts else question.default
    return values


def _decoded(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        msg = f"query parameter {name} is not valid UTF-8"
        raise BadInput(msg) from None
