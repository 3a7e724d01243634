"""The table of settings: key, default, bounds and meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from queuectl_nb.model.errors import BadInput, InvalidSetting
from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.validation import parse_choice, parse_duration, parse_int, parse_number, parse_shell, quoted

__all__ = ["SETTINGS", "Setting", "Settings", "Value", "get_setting"]

Value = int | float | str
DAY = 86_400
MIB = 1024 * 1024
KEEP_ENV = "PATH,VIRTUAL_ENV,CONDA_PREFIX,CONDA_DEFAULT_ENV,PYTHONPATH,CUDA_VISIBLE_DEVICES"
_PATTERN = re.compile(r"[A-Za-z_*?\[][A-Za-z0-9_*?\[\]!-]*\Z")


class Setting(NamedTuple):
    """A row of the table; ``kind`` is ``whole``, ``decimal``, ``names``, ``modules`` or ``shell``.

    Bounds are inclusive.
    """

    key: str
    kind: str
    default: Value
    low: float
    high: float
    unit: str
    meaning: str

    def parse(self, value: object) -> Value:
        """Return ``value`` (string or number) as the setting's type; the error names the bounds."""
        if self.kind == "whole":
            return parse_int(self.key, value, int(self.low), int(self.high))
        if self.kind == "decimal":
            unit_s = {"seconds": 1, "days": DAY}.get(self.unit)
            if unit_s is None:
                number = parse_number(self.key, value, self.low, self.high)
            else:
                number = parse_duration(self.key, value, self.low, self.high, unit_s=unit_s)
            return int(number) if number.is_integer() else number
        if self.kind == "shell":
            return parse_shell(self.key, value)
        return _modules(self.key, value) if self.kind == "modules" else _patterns(self.key, value)

    @property
    def bounds(self) -> str:
        """The valid values, for display."""
        if self.kind == "names":
            return "names and globs, separated by commas"
        if self.kind == "shell":
            return "a POSIX shell with its options"
        if self.kind == "modules":
            return "auto, none, or modules separated by commas"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.low:.15g} to {self.high:.15g}{unit}"


def _modules(key: str, value: object) -> str:
    """Return a normalized comma-separated list of modules."""
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else [""]
    if not all(all(part.isidentifier() for part in word.split(".")) for word in words):
        msg = f"{key} must be auto, none, or modules separated by commas (numpy,pandas), not {quoted(value)}"
        raise BadInput(msg)
    return ",".join(words)


def _patterns(key: str, value: object) -> str:
    """Return a normalized comma-separated list of environment names and globs."""
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else [""]
    if words == [""] and value == "":
        return ""
    for word in words:
        if not _PATTERN.match(word):
            raise BadInput(f"{key} must be names and globs separated by commas (PATH,CONDA_*), not {quoted(value)}")
    return ",".join(words)


SETTINGS: Mapping[str, Setting] = {
    row.key: row
    for row in (
        Setting("max_retries", "whole", 3, 1, 1000, "attempts", "number of attempts before a job is dead"),
        Setting("backoff_base", "decimal", 2, 1, 1000, "", "the delay after attempt n is backoff_base ** n seconds"),
        Setting("backoff_max", "decimal", 3600, 0, 30 * DAY, "seconds", "maximum delay between attempts"),
        Setting("backoff_jitter", "decimal", 0, 0, 1, "", "up to this fraction of the delay is subtracted at random"),
        Setting("timeout", "decimal", 30, 0, 365 * DAY, "seconds", "maximum run time per attempt; 0 for no limit"),
        Setting("lease", "decimal", 10, 2, 3600, "seconds", "time without a heartbeat after which a worker is lost"),
        Setting("kill_grace", "decimal", 5, 0, 600, "seconds", "time between SIGTERM and SIGKILL"),
        Setting(
            "output_limit", "whole", MIB, 0, 64 * MIB, "bytes", "output per stream kept in the database, head and tail"
        ),
        Setting("spool_limit", "whole", 1024 * MIB, 0, 1024**4, "bytes", "output per stream kept on disk"),
        Setting("artifact_limit", "whole", 1024 * MIB, 0, 1024**4, "bytes", "artifacts kept per attempt"),
        Setting(
            "display_limit",
            "whole",
            16 * MIB,
            0,
            256 * MIB,
            "bytes",
            "figures and tables kept per attempt of a cell",
        ),
        Setting("retention", "decimal", 0, 0, 36_500, "days", "age at which finished jobs are deleted; 0 keeps them"),
        Setting("keep_env", "names", KEEP_ENV, 0, 0, "", "environment variables recorded with each job"),
        Setting("preload", "modules", "auto", 0, 0, "", "modules that processes of Python jobs find imported"),
        Setting("shell", "shell", "/bin/sh", 0, 0, "", "shell that runs the commands; `bash -l` for `conda activate`"),
    )
}


def get_setting(key: str) -> Setting:
    """Return the row for ``key``, in which hyphens count as underscores; the error lists the valid keys."""
    return SETTINGS[parse_choice("setting", key, SETTINGS, hyphens=True)]


class Settings(NamedTuple):
    """The values of all settings; :meth:`from_stored` reads what is stored."""

    max_retries: int
    backoff_base: float
    backoff_max: float
    backoff_jitter: float
    timeout: float
    lease: float
    kill_grace: float
    output_limit: int
    spool_limit: int
    artifact_limit: int
    display_limit: int
    retention: float
    keep_env: str
    preload: str
    shell: str

    @classmethod
    def from_stored(cls, stored: Mapping[str, object]) -> Settings:
        """Return the ``stored`` values over the defaults; raise :class:`InvalidSetting` for an invalid one."""
        values: dict[str, Value] = {}
        for key, row in SETTINGS.items():
            if key not in stored:
                values[key] = row.default
                continue
            try:
                values[key] = row.parse(stored[key])
            except BadInput as refused:
                raise InvalidSetting(key, stored[key], str(refused)) from refused
        return cls(**values)  # type: ignore[arg-type]  # the table's kinds are these fields' types, held by a test

    def retry_policy(self, max_retries: int | None) -> RetryPolicy:
        """Return the retry policy for a job's own ``max_retries`` (None: the setting)."""
        return RetryPolicy(
            max_retries=self.max_retries if max_retries is None else max_retries,
            base=self.backoff_base,
            cap=self.backoff_max,
            jitter=self.backoff_jitter,
        )

    def timeout_for(self, timeout: float | None) -> float | None:
        """Return the limit in seconds for a job's own ``timeout`` (None: the setting), or None for no limit."""
        return (self.timeout if timeout is None else timeout) or None
