"""Filter and order of job lists, as SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sized
from dataclasses import dataclass, replace

from queuectl_nb.model import validation
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State

__all__ = ["CURSOR", "WITH_ERROR", "Filter"]

CONTAINS = r"(id LIKE :pattern ESCAPE '\' OR command LIKE :pattern ESCAPE '\')"
"""Three times as fast as :data:`CONTAINS_LONG`, but SQLite limits the length of patterns. Both ignore ASCII case."""
CONTAINS_LONG = "(instr(lower(id), lower(:text)) OR instr(lower(command), lower(:text)))"
MAX_PATTERN_LENGTH = 10_000
WITH_ERROR = (State.FAILED, State.DEAD)
"""The states of jobs that have an error key."""
_ESCAPED = re.compile(r"[%_\\]")
CURSOR = "(rev, seq) < (:rev, :seq)"


@dataclass(frozen=True, slots=True)
class Filter:
    """The jobs to list, and their order; :meth:`from_options` validates user input.

    Without ``sort`` the last changed come first. ``after`` is a cursor: (rev, seq) of the last job of the page before.
    """

    state: tuple[str, ...] = ()
    """Jobs in one of these states; empty: in any."""
    queue: str | None = None
    tag: str | None = None
    search: str | None = None
    """Literal text in id or command."""
    error: str | None = None
    """Key of a group of failures."""
    sort: str | None = None
    reverse: bool = False
    limit: int | None = None
    after: tuple[int, int] | None = None
    ids: tuple[str, ...] | None = None

    @classmethod
    def from_options(
        cls,
        *,
        state: str | Iterable[str] | None = None,
        queue: str | None = None,
        tag: str | None = None,
        search: str | None = None,
        error: str | None = None,
        sort: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        after: tuple[int, int] | None = None,
    ) -> Filter:
        """Return a validated filter; raise ``BadInput`` with the valid values.

        None selects all jobs. Empty values are refused: who computed one probably meant no job.
        """
        for name, value in {"state": state, "queue": queue, "tag": tag, "search": search, "error": error}.items():
            if isinstance(value, Sized) and not len(value):
                raise BadInput(f"{name} is empty; leave it out to select any")
        return cls(
            _parse_states(state),
            None if queue is None else validation.parse_name("queue", queue),
            None if tag is None else validation.parse_name("tag", tag),
            None if search is None else validation.parse_text("search text", search),
            None if error is None else validation.parse_text("error key", error),
            None if sort is None else validation.parse_choice("sort field", sort, JOB_FIELDS, hyphens=True),
            reverse,
            None if limit is None else validation.parse_int("limit", limit, 0),
            after,
        )

    def in_states(self, states: Iterable[State]) -> Filter:
        """Return this filter for jobs in one of these states instead."""
        return replace(self, state=tuple(states))

    @property
    def _state_column(self) -> str:
        """The state in a condition; ``+state`` keeps SQLite from using the index on states."""
        return "state" if self.ids is None else "+state"

    def condition(self, *extra: str, state_column: str | None = None) -> tuple[str, dict[str, object]]:
        """Return the WHERE clause (or an empty string) and its parameters; ``state_column`` as in the property."""
        terms, values = self.terms()
        terms += extra
        if self.state:
            names = [f"state_{number}" for number in range(len(self.state))]
            terms.append(f"{state_column or self._state_column} IN ({', '.join(f':{name}' for name in names)})")
            values |= zip(names, self.state, strict=True)
        return f"WHERE {' AND '.join(terms)}" if terms else "", values

    def order_by(self) -> str:
        """Return the ORDER BY clause; without ``sort`` the last changed come first."""
        down = " DESC" if self.reverse == (self.sort is not None) else ""
        return f"ORDER BY {self.sort or 'rev'}{down}, seq{down}"

    def terms(self) -> tuple[list[str], dict[str, object]]:
        """Return the conditions except that on the state, and their parameters."""
        terms: list[str] = []
        if self.queue is not None:
            terms.append("queue = :queue")
        if self.tag is not None:
            terms.append("EXISTS (SELECT 1 FROM json_each(jobs.tags) WHERE value = :tag)")
        if self.search is not None:
            terms.append(CONTAINS if len(self.search) < MAX_PATTERN_LENGTH else CONTAINS_LONG)
        if self.error is not None:
            names = ", ".join(f"'{state}'" for state in WITH_ERROR)
            terms.append(f"error_key = :error AND {self._state_column} IN ({names})")
        if self.after is not None:
            terms.append(CURSOR)
        if self.ids is not None:
            terms.append("id IN (SELECT value FROM json_each(:ids))")
        values: dict[str, object] = {
            "ids": json.dumps(self.ids),
            "queue": self.queue,
            "tag": self.tag,
            "text": self.search,
            "error": self.error,
            "pattern": None if self.search is None else _pattern(self.search),
        }
        values["rev"], values["seq"] = self.after or (0, 0)
        return terms, values


def _parse_states(states: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the states that a user has given, each once."""
    if states is None:
        return ()
    given = states if isinstance(states, (list, tuple, set, frozenset)) else [states]
    return tuple(dict.fromkeys(validation.parse_choice("state", each, State) for each in given))


def _pattern(text: str) -> str:
    """Return the LIKE pattern for strings that contain ``text`` literally."""
    return "%" + _ESCAPED.sub(r"\\\g<0>", text) + "%"
