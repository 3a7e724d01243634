"""The command tree: complete, lazily loaded, without printing, and with completion."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from queuectl_nb.client import Job, Queue
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.commands import results
from queuectl_nb.commands.app import root, run_command_line
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.done import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

EXPECTED = [
    "enqueue",
    "status",
    "list",
    "show",
    "log",
    "stats",
    "worker",
    "dlq",
    "retry",
    "cancel",
    "delete",
    "prune",
    "backup",
    "wait",
    "pause",
    "resume",
    "config",
    "completion",
    "dashboard",
    "doctor",
    "init",
    "demo",
]
NOUNS = {
    "worker": ["start", "stop", "scale", "list"],
    "dlq": ["list", "retry", "purge"],
    "config": ["list", "get", "set", "unset"],
}
DATA = (
    "status",
    "list",
    "show",
    "log",
    "stats",
    "enqueue",
    "retry",
    "cancel",
    "delete",
    "prune",
    "backup",
    "wait",
    "doctor",
)


def all_commands(
    command: click.Command = root, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command of the tree except the root, with its path."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield (*path, name), found
            yield from all_commands(found, (*path, name))


def session(queue: Queue) -> Context:
    """Return a session on a queue."""
    return Context(lambda *_: queue)


def test_commands_are_there() -> None:
    """The tree has every command."""
    assert set(EXPECTED) < set(root.list_commands(click.Context(root)))
    paths = {path for path, _ in all_commands()}
    for noun, verbs in NOUNS.items():
        assert {path[1] for path in paths if path[0] == noun and len(path) > 1} == set(verbs)


def test_every_command_has_help() -> None:
    """Every command and every option has a help text."""
    for path, command in all_commands():
        assert command.help, path
        first = command.help.splitlines()[0]
        assert first.endswith("."), path
        assert len(first) < 70, path
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, (path, param.name)


def test_examples_are_valid() -> None:
    """The examples of a command call that command, with options that it has."""
    for path, command in all_commands():
        for example in getattr(command, "examples", ()):
            words = shlex.split(example)
            if "$" in example or ">" in example:
                continue  # completion: part of a shell script
            assert words[: len(path) + 1] == ["queuectl", *path], example
            assert command.make_context(path[-1], words[len(path) + 1 :], obj=Context(lambda *_: None)), example  # type: ignore[arg-type]


def test_help_texts_have_no_marks_of_click() -> None:
    """Backspace marks and form feeds are for click; a reader sees none of them."""
    for path, command in all_commands():
        help_text = command.get_help(click.Context(command))
        assert "\\b" not in help_text, path
        assert help_text.replace("\n", "").isprintable(), path


def test_common_options() -> None:
    """Every command that shows data has ``--db``, ``--format`` and ``--json``."""
    for path, command in all_commands():
        if path in [(name,) for name in DATA] or (path[0] in NOUNS and path[1:] not in ((), ("start",))):
            options = {option for param in command.params for option in param.opts}
            assert {"--db", "--format", "--json"} <= options, path


def test_commands_print_nothing(manual_worker: ManualWorker, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands return values; the front end decides how they are displayed."""
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.exhaust("a")
    lines = """
        status; list; list --json; show a; log a; stats; stats --by queue; worker list; worker stop; dlq list;
        dlq retry a; cancel b; delete b; prune --older-than 1h; pause; resume; config list; config get lease;
        config set lease 5; config unset lease; completion bash; enqueue --command true; wait a
    """
    for line in lines.split(";"):
        assert isinstance(run_command_line(line.split(), session(manual_worker.queue)), results.Result), line
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_return_values(manual_worker: ManualWorker) -> None:
    """An enqueue returns the job, verbs a frame of the jobs they changed."""
    made = run_command_line(["enqueue", "--id", "a", "--command", "true"], session(manual_worker.queue))
    assert isinstance(made, Done)
    assert made.value() == Job(manual_worker.queue, "a")
    cancelled = run_command_line(["cancel", "a"], session(manual_worker.queue))
    assert isinstance(cancelled, Done)
    assert dict(cancelled.value().state) == {"a": "cancelled"}


@pytest.mark.parametrize(
    "words", [["enqueue", "--command", "true"], ["status"], ["list"], ["show", "job-1"], ["--help"]]
)
def test_imports_of_light_commands(words: list[str], queue: Queue) -> None:
    """Frequent commands load neither pandas nor rich, and enqueue not even asyncio."""
    enqueue_specs(queue, [])
    run = "import sys\nfrom queuectl_nb.cli.main import main\nmain(sys.argv[1:])\nprint(*sys.modules, sep='\\n')"
    heavy = {
        "sqlite_utils",
        "pandas",
        "numpy",
        "rich",
        "tornado",
        "IPython",
        "psutil",
        "platformdirs",
        "humanize",
        "ipywidgets",
    }
    if words[0] == "enqueue":
        heavy |= {
            "random",
            "ctypes",
            "asyncio",
            "importlib.metadata",
            "subprocess",
            "socket",
            "logging",
            "tempfile",
            "queuectl_nb.store.reader",
        }
        heavy |= {"queuectl_nb.commands.results", "queuectl_nb.model.attempt", "queuectl_nb.client.pool"}
    done = subprocess.run(
        [sys.executable, "-c", run, *words],
        env={"QUEUECTL_DB": str(queue.path), "PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy.isdisjoint(done.stdout.split("\n"))


# ---------------------------------------------------------------- completion


@pytest.fixture
def completions(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that presses Tab in bash after the given words."""

    def press(*words: str) -> list[str]:
        monkeypatch.setenv("_QUEUECTL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["queuectl", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        ran = run()
        monkeypatch.delenv("_QUEUECTL_COMPLETE")
        assert ran.exit_code == 0
        return [line.split(",", 1)[1] for line in ran.stdout.split()]

    return press


def test_completion(completions: Callable[..., list[str]], manual_worker: ManualWorker) -> None:
    """Commands, options, states, settings, fields, queues, tags and ids are completed."""
    manual_worker.add("train-1", "train-2", "other", queue="gpu")
    assert "enqueue" in completions("enq")
    assert completions("wor") == ["worker"]
    assert completions("worker", "st") == ["start", "stop"]
    assert completions("list", "--state", "comp") == ["completed"]
    assert completions("list", "--rev") == ["--reverse"]
    assert completions("list", "--format", "js") == ["json", "jsonl"]
    assert completions("list", "--queue", "") == ["gpu"]
    assert completions("list", "--sort", "upd") == ["updated_at"]
    assert completions("config", "set", "backoff_b") == ["backoff_base"]
    assert completions("show", "train") == ["train-1", "train-2"]
    assert completions("enqueue", "--after", "oth") == ["other"]
    assert completions("completion", "") == ["bash", "zsh", "fish"]
    assert completions("stats", "--by", "") == ["command", "queue", "tag"]


def test_completion_by_state(completions: Callable[..., list[str]], manual_worker: ManualWorker) -> None:
    """A verb offers the jobs in the states it accepts, and the reasons for which jobs failed."""
    manual_worker.add("job-dead", max_retries=1)
    manual_worker.exhaust("job-dead")
    manual_worker.add("job-open")
    assert completions("dlq", "retry", "job") == ["job-dead"]
    assert completions("cancel", "job") == ["job-open"]
    assert completions("wait", "job") == ["job-open"]
    assert completions("retry", "job") == ["job-dead"]
    (key,) = manual_worker.queue.errors().index
    assert completions("retry", "--error", key[:3]) == [key]


def test_completion_without_a_queue(completions: Callable[..., list[str]], tmp_path: Path) -> None:
    """Tab without a usable queue offers only static words, and creates nothing."""
    nowhere = tmp_path / "new" / "queue.db"
    assert completions("--db", str(nowhere), "show", "") == []
    assert completions("--db", str(nowhere), "config", "get", "backoff_b") == ["backoff_base"]
    assert not nowhere.parent.exists()
    other = tmp_path / "text"
    other.write_text("this is no queue, only a text of some length\n" * 9)
    assert completions("show", "--db", str(other), "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Callable[..., Ran]) -> None:
    """Each shell has a script, which calls us with the variable that we react to."""
    ran = run("completion", shell)
    assert ran.exit_code == 0
    assert f"_QUEUECTL_COMPLETE={shell}_complete" in ran.stdout
    assert "queuectl" in ran.stdout


def test_bash_script_is_valid(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Bash accepts the script."""
    script = tmp_path / "completion"
    script.write_text(run("completion", "bash").stdout)
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
