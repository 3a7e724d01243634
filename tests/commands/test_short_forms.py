"""Short names of commands and options, beginnings of ids, defaults, and suggestions for misspelt words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from queuectl_nb.commands.app import ALIASES, PROGRAM, root
from queuectl_nb.commands.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran


@pytest.mark.parametrize("name", ALIASES)
def test_short_names(name: str, run: Callable[..., Ran]) -> None:
    """A short name has the help text and the errors of the command that it stands for, and is listed and explained."""
    full = ALIASES[name].split()
    short, long = run(name, "--help").stdout, run(*full, "--help").stdout
    assert short.partition("[OPTIONS]")[2] == long.partition("[OPTIONS]")[2]
    assert run("help", name).stdout.partition("[OPTIONS]")[2] == long.partition("[OPTIONS]")[2]
    assert f"  {name:5}  {ALIASES[name]}\n" in run("--help").stdout
    assert run(name, "--nonsense").exit_code == 2


def test_short_options(run: Callable[..., Ran], queue: Queue) -> None:
    """Frequent options have one letter, the same in every command."""
    line = ("add", "-c", "true", "--id", "a", "-p", "7", "-q", "gpu", "-t", "10m", "-o", "json")
    assert '"priority": 7' in run(*line).stdout
    job = queue.job("a").record
    assert (job.command, job.priority, job.queue, job.timeout) == ("true", 7, "gpu", 600)
    run("add", "-c", "true")
    assert len(run("ls", "-n", "1", "-o", "jsonl").stdout.splitlines()) == 1
    assert run("ls", "-q", "gpu").stdout.splitlines()[1].startswith("a ")
    assert run("-V").stdout == run("--version").stdout == run("version").stdout
    assert run("wait", "a", "-t", "0").exit_code == 4


def test_short_names_are_completed(queue: Queue) -> None:
    """Once a letter is typed, short names are completed, and what follows them."""
    found = ShellComplete(root, {"obj": Context(lambda *_: queue)}, PROGRAM, "_")
    assert {item.value for item in found.get_completions([], "l")} == {"limit", "list", "log", "logs", "ls"}
    assert "ls" not in {item.value for item in found.get_completions([], "")}
    assert "--tail" in {item.value for item in found.get_completions(["logs"], "--")}
    assert "--detach" in {item.value for item in found.get_completions(["start"], "--")}
    assert {item.value for item in found.get_completions(["config"], "")} == {"list", "get", "set", "unset"}


@pytest.mark.parametrize("noun", ["config", "dlq", "worker"])
def test_a_noun_lists(noun: str, run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A noun without a verb lists, with the options of ``list``."""
    manual_worker.add("a", max_retries=1)
    manual_worker.exhaust("a")
    for options in ((), ("--json",), ("-o", "csv"), ("--db", str(manual_worker.queue.path), "--json")):
        ran = run(noun, *options)
        assert (ran.exit_code, ran.stdout) == (0, run(noun, "list", *options).stdout)
    assert "Commands:" in run(noun, "--help").stdout
    assert run(noun, "--nonsense").exit_code == 2


def test_beginnings_of_ids(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Every command that takes ids takes the beginning of one; an id itself takes precedence."""
    manual_worker.add("other", "train", "train-vit", "train-resnet", max_retries=1)
    assert run("show", "train-v", "-o", "csv").stdout.splitlines()[1].startswith("train-vit,")
    assert run("log", "oth").stdout.splitlines()[1] == "Logs for Job: other"
    assert (
        run("cancel", "train", "train-r", "train-resnet").stdout
        == "Job train cancelled.\nJob train-resnet cancelled.\n"
    )
    assert run("retry", "train-res").stdout == "Job train-resnet moved back to queue for retry.\n"
    assert run("wait", "train-res", "-t", "0").exit_code == 4
    assert run("enqueue", "--command", "true", "--after", "train-v").stdout.endswith(" Will run after train-vit.\n")
    manual_worker.exhaust("other")
    assert run("dlq", "retry", "o").stdout == "Job other moved back to queue for retry.\n"
    manual_worker.exhaust("other")
    assert run("dlq", "purge", "oth").stdout == "Job other removed from the DLQ.\n"
    assert run("delete", "train-re").stdout == "Job train-resnet deleted.\n"


def test_ambiguous_beginnings(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """The beginning of several ids is refused with some of them, and nothing is changed."""
    manual_worker.add(*(f"a-{letter}" for letter in "bcdefgh"))
    ran = run("cancel", "a-b", "a-")
    assert (ran.exit_code, ran.stdout) == (5, "")
    assert ran.stderr == (
        f"queuectl: no job a- in {manual_worker.queue.path}; several ids begin with it: a-b, a-c, a-d, a-e, a-f, ...\n"
    )
    assert manual_worker.queue.job("a-b").state == "pending"


@pytest.mark.parametrize(("word", "job_id"), [("job-1", "job-12"), ("1", "12"), ("a.7", "a.70-b")])
def test_a_beginning_does_not_cut_a_number(
    word: str, job_id: str, run: Callable[..., Ran], manual_worker: ManualWorker
) -> None:
    """A job that was deleted is not mistaken for one with a longer number."""
    manual_worker.add(job_id)
    assert run("delete", word).exit_code == 5
    assert manual_worker.queue.job(job_id).state == "pending"


def test_a_beginning_may_cut_a_hash(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Digits among letters are not a number."""
    manual_worker.add("3f29ab", "x12y")
    assert run("delete", "3f2", "x1").exit_code == 0


def test_log_without_an_id(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """``log`` shows the job that was enqueued last."""
    ran, path = run("log"), manual_worker.queue.path
    assert (ran.exit_code, ran.stderr) == (5, f"queuectl: no jobs in {path}; add one with 'queuectl enqueue'\n")
    manual_worker.add("z", "a")
    manual_worker.run("z")
    assert run("log").stdout.splitlines()[1] == "Logs for Job: a"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("lsit",), "did you mean list? valid: enqueue, "),
        (("strat",), "did you mean start? valid: enqueue, "),
        (("rmm", "a"), "did you mean rm? valid: enqueue, "),
        (("scale", "2"), "did you mean worker scale? valid: enqueue, "),
        (("config", "max-retries", "3"), "did you mean get max_retries? valid: list, "),
        (("--json", "list"), "no such option --json; valid: --version, --db, --allow-network-fs, --help; options of a"),
        (("worker", "strat"), "did you mean start? valid: "),
        (("list", "--stat", "dead"), "did you mean --state? valid: "),
        (("list", "--state", "deed"), "did you mean dead? valid: "),
        (("list", "--state", "DEAD"), "did you mean dead? valid: "),
        (("list", "--state", "proc"), "did you mean processing? valid: "),
        (("list", "--sort", "prority"), "did you mean priority? valid: "),
        (("config", "set", "time_out", "3"), "did you mean timeout? valid: "),
        (("help", "retreis"), "did you mean retries? topics "),
        (("help", "gpu"), "see 'queuectl help questions'; topics "),
        (("help", "sbatch-nothing"), "'sbatch-nothing'; topics "),
        (("help", "worker", "strat"), "did you mean start? start, "),
        (("completion", "bsh"), "did you mean bash? valid: "),
        (("enqueue", '{"command": "true", "prioriti": 1}'), "did you mean priority? valid: "),
        (("show", "tran-vit"), "no job tran-vit in {}; did you mean train-vit? see "),
        (
            ("enqueue", "--command", "true", "--after", "trian-vit"),
            "no job trian-vit to wait for (after) in {}; did you mean train-vit? ",
        ),
        (("delete", "xrain-vit"), "no job xrain-vit in {}; did you mean train-vit? see "),
        (("list", "--state", "xyz"), "state 'xyz' is unknown; valid: "),
        (("show", "xyz"), "no job xyz in {}; see "),
        (("retry", ""), "no job '' in {}; see "),
        (("run",), "give the command: queuectl run -- COMMAND\n"),
    ],
)
def test_suggestions(
    words: tuple[str, ...], expected: str, run: Callable[..., Ran], manual_worker: ManualWorker
) -> None:
    """An error about a misspelt word names the most similar valid one, if there is one."""
    manual_worker.add("train-vit")
    ran = run(*words)
    assert ran.exit_code in (2, 5)
    assert expected.replace("{}", str(manual_worker.queue.path)) in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "python train.py --lr 0.1",
            "'python' is not a JSON object; put -- before the command: {} -- python train.py --lr 0.1",
        ),
        (
            "--id a python train.py -p 2",
            "'python' is not a JSON object; put -- before the command: {} --id a -- python train.py -p 2",
        ),
        ("echo", "'echo' is not a JSON object; put -- before the command: {} -- echo"),
    ],
)
def test_missing_dashes(words: str, expected: str, run: Callable[..., Ran], queue: Queue) -> None:
    """A command without ``--`` before it is refused with the whole command line as it should be."""
    ran = run("enqueue", *words.split())
    assert (ran.exit_code, ran.stderr) == (2, f"queuectl: {expected.format('queuectl enqueue')}\n")
    assert queue.jobs().empty


def test_command_line_as_one_word(run: Callable[..., Ran]) -> None:
    """A command line as one word needs ``--command``, not ``--``; a long one is cut."""
    ran = run("enqueue", "python train.py --lr 0.1")
    assert ran.stderr.endswith("; use --command: queuectl enqueue --command 'python train.py --lr 0.1'\n")
    assert len(run("enqueue", "python", "x" * 1000).stderr) < 400
