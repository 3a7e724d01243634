"""The man page contains all commands and topics and is valid roff."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from importlib.metadata import files

import pytest

from docs.generate.cli import walk
from docs.generate.man import page
from docs.generate.pages import ROOT
from queuectl_nb.commands import help as help_command

PAGE = ROOT / "docs/man/queuectl.1"
FORMATTERS = {"groff": ["-man", "-Tutf8", "-ww", "-z"], "mandoc": ["-T", "lint", "-W", "error"]}


def rendered() -> str:
    """Return the formatted page; skip the test if no formatter is installed."""
    program = shutil.which("groff")
    if program is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        [program, "-k", "-man", "-Tascii", "-P-cbou", "-rLL=100n", PAGE], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("name", FORMATTERS)
def test_formatters_accept_it(name: str) -> None:
    """Groff and mandoc report no warnings."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([program, *FORMATTERS[name], PAGE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_has_every_command_option_and_topic() -> None:
    """Every command, option and topic is on the page, without leftovers of Markdown or roff."""
    text = rendered()
    words = " ".join(text.split()).replace("- ", "-")
    for command, context in walk():
        if context.parent is not None and not hasattr(command, "commands"):
            assert context.command_path in words
            for param in command.params:
                for option in () if getattr(param, "hidden", False) else param.opts[:1]:
                    if option.startswith("--"):
                        assert option in words, (context.command_path, option)
    for name in help_command.TOPIC_NAMES:
        assert help_command.topic_text(name).split("\n")[0].removeprefix("# ").upper() in text
    for sign in ("```", "| ---", "\\f", "<!--"):
        assert sign not in text


def test_man_displays_it() -> None:
    """`man` can display the file."""
    program = shutil.which("man")
    if program is None:
        pytest.skip("man is not installed")
    done = subprocess.run([program, "-l", PAGE], capture_output=True, text=True, check=False)
    if done.returncode != 0 and "minimi" in done.stdout + done.stderr:
        pytest.skip("this system's man is a stub")
    assert done.returncode == 0, done.stderr
    assert "QUEUECTL" in done.stdout


def test_it_is_installed_with_the_package() -> None:
    """The wheel installs it in the directory that man searches."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared["docs/man/queuectl.1"] == "share/man/man1/queuectl.1"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["queuectl_nb"]
    installed = [path for path in files("queuectl-nb") or [] if path.name == "queuectl.1"]
    assert [path.parts[-3:] for path in installed] == [("man", "man1", "queuectl.1")]


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("`.queuectl` is here", "\\fB.queuectl\\fR is here"),
        (".hidden and 'quoted'", "\\&.hidden and \\(aqquoted\\(aq"),
        (r"a\\b --all", r"a\eb \-\-all"),
        ("**bold** and ~", "\\fBbold\\fR and \\(ti"),
    ],
)
def test_special_characters_are_escaped(text: str, roff: str) -> None:
    """Leading dots and backslashes are printed literally."""
    assert roff in page({"any": f"# Any\n\n{text}\n"}).splitlines()
