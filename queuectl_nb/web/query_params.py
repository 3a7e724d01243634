"""Query parameters of the API routes, and how their text is parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.state import State
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from queuectl_nb.client.selection import Selection

__all__ = [
    "ARTIFACT_PARAMS",
    "DEFAULT_PAGE_SIZE",
    "ERRORS_PARAMS",
    "JOBS_PARAMS",
    "JOB_PARAMS",
    "LOG_PARAMS",
    "MAX_PAGE_SIZE",
    "QueryParam",
    "decode_cursor",
    "parse_query",
    "parse_selection",
]

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_SEARCH_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class QueryParam:
    """A query parameter: the parser of its text, and its value when missing or empty."""

    parse: Callable[[str], Any]
    default: Any = None
    repeatable: bool = False
    """Whether its value is a list."""


def decode_cursor(text: str) -> tuple[int, int]:
    """Return the position (rev, seq) of a job in the list from ``next`` of a page.

    >>> decode_cursor("7.12")
    (7, 12)
    """
    try:
        rev, seq = text.split(".")
        return validation.parse_int("after", rev, 0), validation.parse_int("after", seq, 0)
    except (ValueError, BadInput):
        raise BadInput(f"after must be the 'next' of an earlier page, not {validation.quoted(text)}") from None


def _search_text(value: str) -> str:
    if len(value) > MAX_SEARCH_LENGTH:
        raise BadInput(f"the search text has {len(value)} characters; at most {MAX_SEARCH_LENGTH} are allowed")
    return validation.parse_text("search text", value)


ERRORS_PARAMS: Mapping[str, QueryParam] = {
    "state": QueryParam(lambda text: validation.parse_choice("state", text, State), repeatable=True),
    "queue": QueryParam(lambda text: validation.parse_name("queue", text)),
    "tag": QueryParam(lambda text: validation.parse_name("tag", text)),
    "error": QueryParam(lambda text: validation.parse_text("error key", text)),
    "search": QueryParam(_search_text),
    "q": QueryParam(_search_text),
    "limit": QueryParam(lambda text: validation.parse_int("limit", text, 1, MAX_PAGE_SIZE), DEFAULT_PAGE_SIZE),
}
JOBS_PARAMS: Mapping[str, QueryParam] = {
    **ERRORS_PARAMS,
    "after": QueryParam(decode_cursor),
    "short": QueryParam(lambda text: validation.parse_choice("short", text, ("yes", "no")), "no"),
}
JOB_PARAMS: Mapping[str, QueryParam] = {
    "output": QueryParam(lambda text: validation.parse_choice("output", text, ("yes", "no")), "yes")
}
ARTIFACT_PARAMS: Mapping[str, QueryParam] = {
    "attempt": QueryParam(lambda text: validation.parse_int("attempt", text, 1))
}
LOG_PARAMS: Mapping[str, QueryParam] = {
    "stream": QueryParam(lambda text: validation.parse_choice("stream", text, STREAMS), STREAMS[0]),
    **ARTIFACT_PARAMS,
    "offset": QueryParam(lambda text: validation.parse_int("offset", text, 0), 0),
}


def parse_query(params: Mapping[str, QueryParam], arguments: Mapping[str, Sequence[bytes]]) -> dict[str, Any]:
    """Return the value of each parameter from the raw query arguments of a request.

    Raises :class:`BadInput` for unknown, repeated and invalid parameters.
    """
    for name in arguments:
        if name not in params:
            valid = ", ".join(params) or "none"
            raise BadInput(f"query parameter {validation.quoted(name)} is unknown; valid: {valid}")
    values = {}
    for name, param in params.items():
        texts = [text for text in arguments.get(name, ()) if text]
        if len(texts) > 1 and not param.repeatable:
            raise BadInput(f"query parameter {name} is given {len(texts)} times; give it once")
        try:
            found = [param.parse(text.decode()) for text in texts]
        except UnicodeDecodeError:
            raise BadInput(f"query parameter {name} is not valid UTF-8") from None
        values[name] = param.default if not found else found if param.repeatable else found[0]
    return values


def parse_selection(query: Mapping[str, Any]) -> Selection:
    """Return the selection that parsed parameters contain; ``q`` is short for ``search``."""
    if query["search"] and query["q"]:
        raise BadInput("give search or q, not both")
    return {
        "state": query["state"],
        "queue": query["queue"],
        "tag": query["tag"],
        "error": query["error"],
        "search": query["search"] or query["q"],
    }
