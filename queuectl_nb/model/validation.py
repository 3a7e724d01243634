"""Parsing and validation of user input; invalid values raise ``BadInput`` with a one-line message.

Strict on purpose: no ``1_000``, no full-width digits, no ``true`` for 1, no ``nan``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real

from queuectl_nb.model.errors import BadInput

__all__ = [
    "MAX_QUOTED",
    "did_you_mean",
    "parse_age",
    "parse_choice",
    "parse_command",
    "parse_duration",
    "parse_env_pair",
    "parse_int",
    "parse_limit",
    "parse_name",
    "parse_number",
    "parse_shell",
    "parse_text",
    "quoted",
    "shown_id",
]

MAX_NAME_LENGTH = 128
MAX_COMMAND_BYTES = 100_000
MAX_SHELL_LENGTH = 1000
MAX_QUOTED = 60
"""Characters of a value in an error message, and of a number or time."""
MAX_INT = 2**63 - 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=,@+-]*\Z")
_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_DURATION = re.compile(r"(?=.)" + "".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in "dhms") + r"\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_UNIT_SECONDS = (86_400, 3600, 60, 1)
MAX_DURATION_S = 3_153_600_000.0
"""A hundred years."""


def shown_id(value: object) -> str:
    """Return an id for an error message, without quotes unless it is empty."""
    return quoted(value).strip("'") or "''"


def quoted(value: object) -> str:
    """Quote a value for an error message: one line, ASCII, shortened; whatever the value's ``repr`` does."""
    try:
        text = ascii(value)
    except ValueError:  # an int with more digits than Python converts
        text = "a number with thousands of digits"
    except Exception:  # noqa: BLE001 - a repr of somebody else
        text = f"an object of type {type(value).__name__}"
    if len(text.splitlines()) > 1:  # a Series or DataFrame
        text = " ".join(text.split())
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 3] + "..."


def parse_choice(
    what: str, value: object, valid: Iterable[str], *, hyphens: bool = False, others: Mapping[str, str] | None = None
) -> str:
    """Return ``value`` if it is one of ``valid``; the error lists them.

    With ``hyphens``, hyphens count as underscores. ``others`` are words that the error may suggest something for.
    """
    known = list(valid)
    if isinstance(value, str):
        text = value.replace("-", "_") if hyphens else value
        if text in known:
            return text
    hint = did_you_mean(value, known, others)
    raise BadInput(f"{what} {quoted(value)} is unknown; {hint}valid: {', '.join(known)}")


def did_you_mean(word: object, valid: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return a question that names the most similar one of ``valid``, and a space; an empty string if none is similar.

    ``others`` are further words, and what is named instead of them.

    >>> did_you_mean("prority", ["priority", "delay"])
    'did you mean priority? '
    >>> did_you_mean("scale", ["list"], {"scale": "worker scale"})
    'did you mean worker scale? '
    """
    from difflib import get_close_matches  # only for error messages

    text = word.lower().removeprefix("--") if isinstance(word, str) else ""
    known = {each.removeprefix("--"): each for each in valid}
    known = {**(others or {}), **known}
    similar = sorted(get_close_matches(text, known), key=lambda each: sorted(each) != sorted(text))  # swapped letters
    found = similar or [each for each in known if text and each.startswith(text)]
    return f"did you mean {known[found[0]]}? " if found else ""


def parse_text(what: str, value: object) -> str:
    """Return a string of valid Unicode without NUL characters."""
    if not isinstance(value, str):
        raise BadInput(f"{what} must be text, not {quoted(value)}")
    if "\0" in value:
        raise BadInput(f"{what} contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} is not valid UTF-8") from None
    return value


def parse_name(what: str, value: object) -> str:
    """Return an id, tag or queue name: letters, digits and ``. _ : = , @ + -``, at most 128 characters."""
    if isinstance(value, str) and len(value) <= MAX_NAME_LENGTH and _NAME.match(value):
        return value
    if isinstance(value, str) and len(value) > MAX_NAME_LENGTH:
        msg = f"{what} has {len(value)} characters; {MAX_NAME_LENGTH} at most"
    else:
        msg = f"{what} {quoted(value)} is not valid: a letter or digit first, then letters, digits and . _ : = , @ + -"
    raise BadInput(msg)


def parse_command(value: object) -> str:
    """Return a shell command of 1 to 100,000 bytes, verbatim."""
    if isinstance(value, str) and value.isascii() and "\0" not in value and value.strip():
        text = value  # fast path for nearly all commands
    else:
        text = parse_text("command", value)
    if not text.strip():
        raise BadInput("command is empty; give what the shell should run")
    if len(text) * 4 > MAX_COMMAND_BYTES:
        size = len(text.encode())
        if size > MAX_COMMAND_BYTES:
            raise BadInput(f"command has {size} bytes; {MAX_COMMAND_BYTES} at most (put it into a script file)")
    return text


def parse_shell(what: str, value: object) -> str:
    """Return a shell with its options, such as ``bash -l``, verbatim."""
    import shlex

    text = parse_text(what, value)
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words or not words[0] or len(text) > MAX_SHELL_LENGTH or "\n" in text:
        msg = f"{what} must be a program with its options, such as /bin/bash or 'bash -l', not {quoted(value)}"
        raise BadInput(msg)
    return text


def parse_int(what: str, value: object, low: int = -(2**63), high: int = MAX_INT) -> int:
    """Return an int from ``low`` to ``high``, given as a number or as ASCII digits."""
    typed = isinstance(value, str) and len(value) <= MAX_QUOTED and _WHOLE.match(value)
    if typed or (isinstance(value, Integral) and not isinstance(value, bool)):
        number: int = int(value)  # type: ignore[call-overload]  # text or a number, by the line above
    else:
        raise BadInput(f"{what} must be a whole number from {low} to {high}, not {quoted(value)}")
    if not low <= number <= high:
        raise BadInput(f"{what} must be from {low} to {high}, not {quoted(number)}")
    return number


def parse_limit(value: object) -> int:
    """Return the number of jobs of a queue that may run at a time."""
    if value in (0, "0"):
        raise BadInput("limit must be at least 1; to start no jobs of a queue use 'queuectl pause'")
    return parse_int("limit", value, 1, 1_000_000)


def parse_number(what: str, value: object, low: float = 0.0, high: float = MAX_DURATION_S) -> float:
    """Return a finite number from ``low`` to ``high`` (default: a hundred years in seconds)."""
    if isinstance(value, str) and len(value) <= MAX_QUOTED and _DECIMAL.match(value):
        number = float(value)
    elif isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    else:
        raise BadInput(f"{what} must be a plain number from {low:.15g} to {high:.15g}, not {quoted(value)}")
    if not math.isfinite(number) or not low <= number <= high:
        raise BadInput(f"{what} must be from {low:.15g} to {high:.15g}, not {quoted(value)}")
    return number


def parse_duration(
    what: str, value: object, low: float = 0.0, high: float = MAX_DURATION_S, *, unit_s: int = 1
) -> float:
    """Return a duration from ``low`` to ``high`` in units of ``unit_s`` seconds: a number of these, or ``1h30m``.

    Seconds are a plain number: ``5s`` is refused, as ``5ms`` is.

    >>> parse_duration("--timeout", "1h30m")
    5400.0
    """
    unit = "seconds" if unit_s == 1 else "days"
    seconds = None if isinstance(value, str) and value.endswith("s") else _parse_units(value)
    if seconds is None and isinstance(value, str) and not _DECIMAL.match(value):
        msg = f"{what} must be a number of {unit}, or a duration such as 10m, 1h30m or 7d, not {quoted(value)}"
        raise BadInput(msg)
    if seconds is None:
        return parse_number(what, value, low, high)
    return _bounded(what, value, seconds / unit_s, low, high, unit)


def _bounded(what: str, value: object, found: float, low: float, high: float, unit: str) -> float:
    """Return the number that ``value`` means; refuse it out of the bounds."""
    if not low <= found <= high:
        raise BadInput(f"{what} must be from {low:.15g} to {high:.15g} {unit}, not {quoted(value)}")
    return found


def _parse_units(value: object) -> float | None:
    """Return the seconds of a text such as ``1h30m``; None for other values."""
    match = _DURATION.match(value) if isinstance(value, str) and len(value) <= MAX_QUOTED else None
    if match is None:
        return None
    return float(
        sum(float(number) * unit for number, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if number)
    )


def parse_age(what: str, value: object) -> float:
    """Return the seconds of an age such as ``7d``, ``1h30m`` or ``0``; other numbers need a unit.

    >>> parse_age("--older-than", "90m")
    5400.0
    """
    seconds = _parse_units(value)
    if seconds is None and value != "0" and (value != 0 or isinstance(value, bool)):
        raise BadInput(f"{what} must be an age such as 7d, 12h, 90m, 30s or 0, not {quoted(value)}")
    return _bounded(what, value, seconds or 0.0, 0, MAX_DURATION_S, "seconds")


def parse_env_pair(key: object, value: object) -> tuple[str, str]:
    """Return an environment variable of a job; ``QUEUECTL_*`` cannot be set."""
    if not isinstance(key, str) or not _ENV_NAME.match(key):
        raise BadInput(f"environment name {quoted(key)} is not valid: letters, digits and _, no digit first")
    if key.startswith("QUEUECTL_"):
        raise BadInput(f"environment name {key} is set by queuectl itself")
    text = parse_text(f"environment value of {key}", value)
    if len(key) + len(text.encode()) > MAX_COMMAND_BYTES:
        raise BadInput(f"environment value of {key} is longer than {MAX_COMMAND_BYTES} bytes")
    return key, text
