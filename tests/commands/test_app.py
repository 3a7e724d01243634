"""The command tree: what is in it, that it is lazy, that commands print nothing, and that it completes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from queuectl_nb.client import Job, Queue
from queuectl_nb.commands import results
from queuectl_nb.commands.ack import Done
from queuectl_nb.commands.app import COMMAND_MODULES, root, run_command_line
from queuectl_nb.commands.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

CONTRACT = [
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
    "worker": ["start", "stop", "list"],
    "dlq": ["list", "retry", "purge"],
    "config": ["list", "get", "set", "unset"],
}
DATA = ("status", "list", "show", "log", "stats", "enqueue", "retry", "cancel", "delete", "prune", "wait", "doctor")


def every(command: click.Command = root, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command of the tree with its path, the root aside."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield (*path, name), found
            yield from every(found, (*path, name))


def session(queue: Queue) -> Context:
    """Return a session on a queue."""
    return Context(lambda _path, _network: queue)


def test_the_contracts_commands_are_there() -> None:
    """The tree has every verb and noun of the contract; nouns their verbs."""
    assert [name for name in COMMAND_MODULES if name in CONTRACT] == CONTRACT
    paths = {path for path, _ in every()}
    for noun, verbs in NOUNS.items():
        assert {path[1] for path in paths if path[0] == noun and len(path) > 1} == set(verbs)


def test_every_command_says_what_it_does() -> None:
    """Help has a sentence for every command and every option."""
    for path, command in every():
        assert command.help, path
        first = command.help.splitlines()[0]
        assert first.endswith("."), path
        assert len(first) < 70, path
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, (path, param.name)


def test_data_has_db_and_formats() -> None:
    """``--db``, ``--format`` and ``--json`` go on every command that shows data."""
    for path, command in every():
        if path in [(name,) for name in DATA] or (path[0] in NOUNS and path[1:] not in ((), ("start",))):
            options = {option for param in command.params for option in param.opts}
            assert {"--db", "--format", "--json"} <= options, path


def test_commands_print_nothing(manual_worker: ManualWorker, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands return values, of which a face decides how they look."""
    manual_worker.add("a", "b", max_retries=1)
    manual_worker.kill("a")
    lines = """
        status; list; list --json; show a; log a; stats; stats --by queue; worker list; worker stop; dlq list;
        dlq retry a; cancel b; delete b; prune --older-than 1h; pause; resume; config list; config get lease;
        config set lease 5; config unset lease; completion bash; enqueue --command true; wait a
    """
    for line in lines.split(";"):
        assert isinstance(run_command_line(line.split(), session(manual_worker.queue)), results.Result), line
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_values_are_what_a_notebook_holds(manual_worker: ManualWorker) -> None:
    """An enqueue gives the job, verbs the frame of the jobs that they changed."""
    made = run_command_line(["enqueue", "--id", "a", "--command", "true"], session(manual_worker.queue))
    assert isinstance(made, Done)
    assert made.value() == Job(manual_worker.queue, "a")
    cancelled = run_command_line(["cancel", "a"], session(manual_worker.queue))
    assert isinstance(cancelled, Done)
    assert dict(cancelled.value().state) == {"a": "cancelled"}


@pytest.mark.parametrize(
    "words", [["enqueue", "--command", "true"], ["status"], ["list"], ["show", "job-1"], ["--help"]]
)
def test_light_commands_load_nothing_heavy(words: list[str], queue: Queue) -> None:
    """What people call by the thousand loads neither pandas nor rich, and an enqueue not even asyncio."""
    queue.enqueue_specs([])
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
def offered(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that presses Tab in a bash at the end of the given words."""

    def press(*words: str) -> list[str]:
        monkeypatch.setenv("_QUEUECTL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["queuectl", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        ran = run()
        monkeypatch.delenv("_QUEUECTL_COMPLETE")
        assert ran.exit_code == 0
        return [line.split(",", 1)[1] for line in ran.stdout.split()]

    return press


def test_words_complete(offered: Callable[..., list[str]], manual_worker: ManualWorker) -> None:
    """Commands, options, states, settings, fields, queues, tags' jobs: whatever could be typed next."""
    manual_worker.add("train-1", "train-2", "other", queue="gpu")
    assert "enqueue" in offered("enq")
    assert offered("wor") == ["worker"]
    assert offered("worker", "st") == ["start", "stop"]
    assert offered("list", "--state", "comp") == ["completed"]
    assert offered("list", "--rev") == ["--reverse"]
    assert offered("list", "--format", "js") == ["json", "jsonl"]
    assert offered("list", "--queue", "") == ["gpu"]
    assert offered("list", "--sort", "upd") == ["updated_at"]
    assert offered("config", "set", "backoff_b") == ["backoff_base"]
    assert offered("show", "train") == ["train-1", "train-2"]
    assert offered("enqueue", "--after", "oth") == ["other"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("stats", "--by", "") == ["command", "queue", "tag"]


def test_only_fitting_jobs_complete(offered: Callable[..., list[str]], manual_worker: ManualWorker) -> None:
    """A verb offers the jobs that it takes."""
    manual_worker.add("job-dead", max_retries=1)
    manual_worker.kill("job-dead")
    manual_worker.add("job-open")
    assert offered("dlq", "retry", "job") == ["job-dead"]
    assert offered("cancel", "job") == ["job-open"]
    assert offered("wait", "job") == ["job-open"]
    assert offered("retry", "job") == ["job-dead"]


def test_completion_makes_no_queue(offered: Callable[..., list[str]], tmp_path: Path) -> None:
    """Tab on a queue that is not there, or is none, offers nothing that only a queue knows, and leaves no trace."""
    nowhere = tmp_path / "new" / "queue.db"
    assert offered("--db", str(nowhere), "show", "") == []
    assert offered("--db", str(nowhere), "config", "get", "backoff_b") == ["backoff_base"]
    assert not nowhere.parent.exists()
    other = tmp_path / "text"
    other.write_text("this is no queue, only a text of some length\n" * 9)
    assert offered("show", "--db", str(other), "") == []


@pytest.mark.parametrize("options", [[], ["--db", "queue.db"]])
def test_a_noun_without_a_verb_names_its_verbs(run: Callable[..., Ran], options: list[str]) -> None:
    """What a noun lacks is told with the choices, also behind options."""
    ran = run("worker", *options)
    assert (ran.exit_code, ran.err.decode()) == (2, "queuectl: worker needs one of: start, stop, list\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Callable[..., Ran]) -> None:
    """Each shell has its script, which asks us by the variable that we answer to."""
    ran = run("completion", shell)
    assert ran.exit_code == 0
    assert f"_QUEUECTL_COMPLETE={shell}_complete" in ran.stdout
    assert "queuectl" in ran.stdout


def test_the_bash_script_is_a_bash_script(run: Callable[..., Ran], tmp_path: Path) -> None:
    """Bash takes the script without a complaint."""
    script = tmp_path / "completion"
    script.write_text(run("completion", "bash").stdout)
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
