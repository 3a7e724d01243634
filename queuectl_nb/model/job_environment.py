"""The environment that jobs inherit: that of the workers, without what describes a terminal, a kernel or an editor."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from functools import cache

__all__ = ["WITHHELD", "base_environment"]

WITHHELD: Mapping[str, tuple[str, ...]] = {
    "a terminal": (
        *("TERM", "TERM_*", "TERMCAP", "TERMINFO", "COLORTERM", "COLORFGBG", "COLUMNS", "LINES", "LS_COLORS"),
        *("WINDOWID", "VTE_VERSION", "WT_*", "KITTY_*", "ITERM_*", "KONSOLE_*", "TMUX*", "STY", "WINDOW"),
        *("SSH_TTY", "GPG_TTY"),
    ),
    "colours and pagers": ("FORCE_COLOR", "CLICOLOR*", "PY_COLORS", "PYTHON_COLORS", "PAGER", "*_PAGER", "MANPAGER"),
    "an interactive shell": ("PS1", "PS2", "PROMPT_COMMAND", "OLDPWD", "SHLVL", "_"),
    "a Jupyter kernel": ("MPLBACKEND", "JPY_*", "PYDEVD_*", "PYTHONSTARTUP", "PYTHONINSPECT"),
    "an editor": ("VSCODE_*", "ELECTRON_*", "PYCHARM_*", "INSIDE_EMACS"),
    "systemd": ("NOTIFY_SOCKET", "WATCHDOG_*", "LISTEN_*", "INVOCATION_ID", "JOURNAL_STREAM"),
}
"""Names and globs, by what they describe: something that a job does not have."""

DEFAULTS: Mapping[str, str] = {"PYTHONUNBUFFERED": "1", "TERM": "dumb"}
"""Unless the worker's environment, ``keep_env`` or ``--env`` has another value."""


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a worker's environment that its jobs get, over the defaults.

    >>> base_environment({"HOME": "/home/ada", "MPLBACKEND": "inline", "JPY_PARENT_PID": "7", "TERM": "xterm"})
    {'PYTHONUNBUFFERED': '1', 'TERM': 'dumb', 'HOME': '/home/ada'}
    """
    is_withheld = _withheld_names().match
    return {**DEFAULTS, **{name: value for name, value in environ.items() if is_withheld(name) is None}}


@cache
def _withheld_names() -> re.Pattern[str]:
    """Compile :data:`WITHHELD`; once before workers are forked, since it takes as long as the rest of their start."""
    return re.compile("|".join(fnmatch.translate(pattern) for group in WITHHELD.values() for pattern in group))
