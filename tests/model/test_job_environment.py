"""The environment that jobs get from that of their worker."""

from __future__ import annotations

import pytest

from queuectl_nb.model.job_environment import WITHHELD, base_environment

DEFAULTS = {"PYTHONUNBUFFERED": "1", "TERM": "dumb"}


@pytest.mark.parametrize("name", ["HOME", "PATH", "LANG", "TERMINAL", "MPL", "SSH_AUTH_SOCK", "term", "__"])
def test_kept_variables(name: str) -> None:
    """Jobs get what does not describe a terminal, an interactive shell, a kernel, an editor or a service."""
    assert base_environment({name: "x"}) == {**DEFAULTS, name: "x"}


@pytest.mark.parametrize(
    "name",
    [
        *("TERM", "TERM_PROGRAM", "TERMCAP", "TERMINFO", "COLORTERM", "COLORFGBG", "COLUMNS", "LINES", "LS_COLORS"),
        *(
            "WINDOWID",
            "VTE_VERSION",
            "WT_SESSION",
            "KITTY_PID",
            "ITERM_PROFILE",
            "KONSOLE_VERSION",
            "TMUX",
            "TMUX_PANE",
        ),
        *("STY", "WINDOW", "SSH_TTY", "GPG_TTY", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PY_COLORS"),
        *("PYTHON_COLORS", "PAGER", "GIT_PAGER", "MANPAGER", "PS1", "PS2", "PROMPT_COMMAND", "OLDPWD", "SHLVL", "_"),
        *("MPLBACKEND", "JPY_PARENT_PID", "PYDEVD_X", "PYTHONSTARTUP", "PYTHONINSPECT", "VSCODE_PID", "ELECTRON_X"),
        *("PYCHARM_HOSTED", "INSIDE_EMACS", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "INVOCATION_ID"),
        "JOURNAL_STREAM",
    ],
)
def test_withheld_variables(name: str) -> None:
    """Jobs do not get what describes something that they do not have."""
    assert base_environment({name: "x"}) == DEFAULTS


def test_owners() -> None:
    """The documentation names what the variables describe."""
    owners = ["a terminal", "colours and pagers", "an interactive shell", "a Jupyter kernel", "an editor", "systemd"]
    assert list(WITHHELD) == owners


def test_defaults() -> None:
    """Output is not buffered, unless the environment says otherwise."""
    assert base_environment({}) == DEFAULTS
    assert base_environment({"PYTHONUNBUFFERED": ""}) == {**DEFAULTS, "PYTHONUNBUFFERED": ""}
