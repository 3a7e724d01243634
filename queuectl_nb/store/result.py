"""The JSON that a job may leave as its result: taken from any file that it could have made of it."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from queuectl_nb.store.regular_file import open_regular

__all__ = ["MAX_DEPTH", "MAX_RESULT", "read_result"]

MAX_RESULT = 16 * 1024 * 1024
"""Bytes of JSON that a job may leave as its result."""
MAX_DEPTH = 500
"""Levels of lists and objects in a result: what every SQLite and every Python can read back."""


def read_result(path: str) -> tuple[str | None, str | None]:
    """Return the JSON in ``path``, tidied, and what is wrong with it (None: nothing); two Nones without a file."""
    if not os.access(
        path, os.F_OK, follow_symlinks=False
    ):  # most jobs leave none: an exception costs three times as much
        return None, None
    try:
        handle = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"its result was not taken: {error.strerror}"
    try:
        return _parse_file(handle), None
    except (ValueError, OSError) as error:
        return None, f"its result was not taken: {error}"
    finally:
        os.close(handle)


def _parse_file(handle: int) -> str:
    """Return the JSON of an open file; raise ValueError where it is none, and other errors that a file may give."""
    size = os.fstat(handle).st_size
    if size > MAX_RESULT:
        msg = f"{size} bytes, {MAX_RESULT} at most"
        raise ValueError(msg)
    try:
        with os.fdopen(handle, "rb", closefd=False) as file:
            return _normalize(file.read(MAX_RESULT))
    except (ValueError, RecursionError) as error:
        msg = f"not valid JSON ({error})"
        raise ValueError(msg) from error


def _normalize(raw: bytes) -> str:
    """Return JSON as the database takes it; NaN and infinities, which JSON does not have, become null."""
    value = json.loads(raw, parse_constant=lambda _: None, parse_float=_parse_finite)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deep(value):
        msg = f"nested deeper than {MAX_DEPTH} levels"
        raise ValueError(msg)
    text = json.dumps(value, allow_nan=False)
    return _replace_surrogates(value) if r"\ud" in text else text


def _replace_surrogates(value: Any) -> str:
    """Return JSON with U+FFFD for each half of a character: no screen, file or message can take one."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.dumps(json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")))


def _parse_finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for each in level
            if isinstance(each, list | dict)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
