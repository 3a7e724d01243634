"""The console as a process: closed and full streams, locales, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from queuectl_nb import __version__
from queuectl_nb.cli import main as console
from queuectl_nb.client.enqueue import enqueue_specs
from queuectl_nb.model.job import JobSpec
from queuectl_nb.model.outcome import Exited
from queuectl_nb.render import text_table
from tests.commands.manual_worker import ManualWorker
from tests.engine.harness import until
from tests.journeys.terminals import CONSOLE, environment, in_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.conftest import Ran
    from tests.journeys.terminals import Terminals


def run_shell(terminals: Terminals, line: str, **extra: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which ``queuectl`` is the console."""
    words = " ".join(f"'{word}'" for word in CONSOLE)
    return subprocess.run(
        ["sh", "-c", f'queuectl() {{ {words} "$@"; }}\n{line}'],
        env={**environment(terminals.queue), **extra},
        capture_output=True,
        check=False,
        timeout=60,
    )


def enqueue(queue: Queue, *commands: str) -> None:
    """Enqueue jobs."""
    enqueue_specs(queue, [JobSpec.from_fields({"command": command}) for command in commands])


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(closed: str, terminals: Terminals, queue: Queue) -> None:
    """With closed standard streams the job is enqueued and no output ends up in a file of the queue."""
    done = run_shell(terminals, f"queuectl enqueue --id a --command true {closed}")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert str(queue.job("a").state) == "pending"
    with queue.store.db.read() as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)


def test_exit_code_without_stderr(terminals: Terminals) -> None:
    """A closed or full stderr does not change the exit code."""
    assert run_shell(terminals, "queuectl bogus 2>&-").returncode == 2
    assert run_shell(terminals, "queuectl show nobody >&- 2>&-").returncode == 5
    if os.path.exists("/dev/full"):
        assert run_shell(terminals, "queuectl bogus 2>/dev/full").returncode == 2
        assert run_shell(terminals, "queuectl show nobody 2>/dev/full").returncode == 5


def test_broken_pipe(terminals: Terminals, queue: Queue) -> None:
    """``list | head -1`` ends without an error."""
    enqueue(queue, *[f"echo {'x' * 100} {number}" for number in range(3000)])
    done = run_shell(terminals, "queuectl list --format jsonl | head -1")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_removed_working_directory(terminals: Terminals, queue: Queue) -> None:
    """From a removed folder, ``--cwd`` is required; without it the error is one line with exit code 2."""
    away = 'mkdir gone && cd gone && rmdir "$PWD" && queuectl enqueue --command true'
    done = run_shell(terminals, f"cd {terminals.queue.parent}; {away} --id a --cwd /")
    assert (done.returncode, done.stdout) == (0, b"Job enqueued: a (priority: 0)\n")
    assert queue.job("a").cwd == "/"
    for words in ("", "--cwd here", "--cwd ''"):
        done = run_shell(terminals, f"cd {terminals.queue.parent}; {away} {words}")
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert b"cwd" in done.stderr if "''" in words else b"working directory was removed" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(terminals: Terminals, queue: Queue) -> None:
    """Output that cannot be written is exit code 3; the job is enqueued."""
    done = run_shell(terminals, "queuectl enqueue --id a --command true > /dev/full")
    assert done.returncode == 3
    assert done.stderr.count(b"\n") == 1
    assert b"No space left" in done.stderr
    assert queue.job("a").id == "a"


RUN_LINES = """
import shlex, sys
from queuectl_nb.cli.main import main
codes = [main(shlex.split(line)) for line in sys.argv[1:]]
print("exit codes:", *codes)
"""


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict"},
    ],
)
def test_locales(locale: dict[str, str], terminals: Terminals, queue: Queue) -> None:
    """Every command works in a C locale and in ASCII; JSON is the same in all locales."""
    enqueue(queue, "echo 'é 🐍 日本'")
    lines = ("list", "status", "show job-1", "log job-1", "stats", "list --format csv", "config list", "bogus é")
    ran = subprocess.run(
        [sys.executable, "-c", RUN_LINES, *lines],
        env={**environment(terminals.queue), **locale},
        capture_output=True,
        check=False,
    )
    assert ran.stdout.endswith(b"\nexit codes: 0 0 0 0 0 0 0 2\n"), ran.stderr
    done = run_shell(terminals, "queuectl list --json", **locale)
    assert done.stdout.isascii()
    assert b"\\u00e9 \\ud83d\\udc0d" in done.stdout


def test_command_encoding(terminals: Terminals, queue: Queue) -> None:
    """Commands are UTF-8 in every locale; invalid bytes are refused."""
    assert run_shell(terminals, "queuectl enqueue --id a --command 'echo é🐍'", LC_ALL="C").returncode == 0
    assert queue.job("a").command == "echo é🐍"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert run_shell(terminals, "queuectl enqueue --id c -- echo é🐍", **plain).returncode == 0
    assert queue.job("c").command == "echo 'é🐍'"
    for locale in ({"LC_ALL": "C"}, plain):
        done = run_shell(terminals, r"queuectl enqueue --id b --command \"$(printf 'echo \377')\"", **locale)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [("log", "job-1", "--follow"), ("wait",)])
def test_interrupt(words: tuple[str, ...], terminals: Terminals, queue: Queue) -> None:
    """Ctrl+C ends a waiting command with 130 and no traceback; the job is unchanged."""
    enqueue(queue, "true")
    process = subprocess.Popen(
        [*CONSOLE, *words], env=environment(terminals.queue), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        stream = process.stdout if words[0] == "log" else process.stderr
        assert stream.read(1)  # its frame, or the note that no workers run: it waits now
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert b"Traceback" not in process.stderr.read()
    assert str(queue.job("job-1").state) == "pending"


def test_interrupted_wait_says_that_jobs_continue(queue: Queue) -> None:
    """After Ctrl+C in a terminal a line says what becomes of the jobs."""
    enqueue(queue, "true")
    with in_terminal(queue.path, "wait") as (read_until, press):
        read_until("1 unfinished")
        press("\x03")
        read_until("queuectl: no longer waiting; the jobs continue\r\n")


def test_help_and_version(run: Callable[..., Ran]) -> None:
    """Help goes to stdout with exit code 0, with or without a command."""
    assert "Workers:" in run().stdout
    assert run("--help").stdout == run().stdout
    assert run("-h").exit_code == 0
    assert "--priority" in run("enqueue", "--help").stdout
    assert run("--version").stdout == f"queuectl, version {__version__}\n"


def test_module(terminals: Terminals) -> None:
    """``python -m queuectl_nb`` is the same as ``queuectl``."""
    assert terminals.run_process("--help").startswith("Usage: queuectl ")


def test_internal_error(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is one line; ``QUEUECTL_DEBUG`` shows the traceback."""

    def broken(*_: object) -> None:
        msg = "this is\na bug"
        raise RuntimeError(msg)

    monkeypatch.setattr(console, "run_command_line", broken)
    ran = run("status")
    assert ran.exit_code == 3
    assert (
        ran.stderr
        == "queuectl: internal error: RuntimeError: this is\\na bug (set QUEUECTL_DEBUG=1 for the traceback)\n"
    )
    monkeypatch.setenv("QUEUECTL_DEBUG", "1")
    with pytest.raises(RuntimeError):
        run("status")


def test_table_colours(run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are coloured on a terminal without NO_COLOR only; job text is never interpreted."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    enqueue(queue, "echo \x1b[31mred\x1b[0m [bold]not bold[/bold] \u202e")
    shown = run("list", terminal=True).stdout
    assert "\x1b[" in shown
    for text in (shown, run("list").stdout):
        assert "echo \\x1b[31mred\\x1b[0m [bold]not bold[/bold] \\u202e" in text
        assert "\x1b[31m" not in text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("list", terminal=True).stdout


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_narrow_terminal(columns: int, run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, time and command stay readable beside a long id, and nothing is cut off."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    job_id, command = "a-long-name-of-a-job-2026-11-29-run-17", "python train.py --seed 17"
    enqueue_specs(queue, [JobSpec.from_fields({"id": job_id, "command": command})])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", run("list", terminal=True).stdout)
    assert " pending " in shown
    assert re.search(r"\b\d{4}-\d\d-\d\d\b", shown)
    assert re.search(r"\b\d\d:\d\d:\d\d\b", shown)
    letters = sorted(shown)
    assert all(letters.count(letter) >= (job_id + command).count(letter) for letter in set(job_id + command) - {" "})
    assert re.search(r"\bpython\b", shown)


@pytest.mark.parametrize("no_color", ["", "1"])
@pytest.mark.parametrize("columns", [30, 40, 60])
def test_tables_fit_a_narrow_terminal(
    columns: int,
    no_color: str,
    run: Callable[..., Ran],
    manual_worker: ManualWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of every table continue on indented lines if there is no other way, and all of their cells are there."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    manual_worker.add("a-long-name-of-a-job", command="python train.py --epochs 30", max_retries=1, queue="a-long-name")
    error = "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'\n"
    manual_worker.run("a-long-name-of-a-job", Exited(1), stderr=error, stderr_size=len(error))
    for words, words_shown in {
        ("list",): ("a-long-name-of-a-job", "dead", "pythontrain.py"),
        ("dlq", "list"): ("a-long-name-of-a-job", "Attempts"),
        ("errors",): ("exit", "missing.csv", "a-long-name-of-a-job"),
        ("config", "list"): ("artifact_limit", "keptper"),
        ("stats", "--by", "queue"): ("a-long-name", "Attempts"),
        ("status",): ("dead", "Count"),
    }.items():
        shown = re.sub(r"\x1b\[[0-9;]*m", "", run(*words, terminal=True).stdout)
        table = shown.partition("\n\nWorkers:")[0]
        assert max(map(text_table.width, table.splitlines())) <= columns, words
        if no_color:  # in colour, cells are wrapped beside each other
            assert all(word in "".join(table.split()) for word in words_shown), words


@pytest.mark.parametrize("no_color", ["", "1"])
def test_long_command_is_shortened(
    no_color: str, run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal list shows a long command on one line, a pipe 300 characters; JSON and ``show`` have all of it."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    enqueue(queue, "echo " + "x" * 50_000, "echo short")
    (line,) = [line for line in run("list", terminal=True).stdout.splitlines() if "xxx" in line]
    assert 30 < line.count("x") < 60
    assert "x... " in line
    assert len(re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip()) <= 100
    assert "echo " + "x" * 294 + "… " in run("list").stdout
    assert run("list").stdout.count("x") == 294
    assert "x" * 50_000 in run("list", "--json").stdout
    assert run("show", "job-1", terminal=True).stdout.count("x") > 50_000


@pytest.mark.parametrize("no_color", ["", "1"])
def test_commands_and_errors_share_a_line(
    no_color: str, run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal list has one line a job, which says what failed; the exit code gives way to the reason."""
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    worker = ManualWorker(queue)
    worker.add("a", command="python train.py --data missing.csv --epochs 30", max_retries=1)
    error = "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'\n"
    worker.run("a", Exited(1), stderr=error, stderr_size=len(error))
    (line,) = [line for line in run("list", terminal=True).stdout.splitlines() if "dead" in line]
    line = re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip()
    assert len(line) <= 110
    assert re.search(r" python train.py [^.]*\.\.\. .* FileNotFoundError: .*\.\.\.$", line)


@pytest.mark.parametrize("columns", [80, 100])
def test_lists_fit_the_terminal(
    columns: int, run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With errors and due times, times have two lines at most, and other cells one; wide characters are counted."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    queue.set("backoff_base", 1000)
    worker = ManualWorker(queue)
    worker.add("a", command="python train.py --data missing.csv --epochs 30")
    error = "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'\n"
    worker.run("a", Exited(1), stderr=error, stderr_size=len(error))
    worker.add("b", command="echo " + "日本" * 30)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", run("list", terminal=True).stdout)
    table = [line.rstrip() for line in shown.splitlines() if line.strip()]
    assert max(map(text_table.width, table)) <= columns
    assert len(table) == (4 if columns == 100 else 7)
    assert len([line for line in table if "..." in line]) == 2


def test_statistics_fit_the_terminal(
    run: Callable[..., Ran], manual_worker: ManualWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long commands give way to the numbers, which have four digits."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    manual_worker.add("a", command="python train.py --data somewhere.csv --epochs 30")
    manual_worker.run("a")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", run("stats", "--by", "command", terminal=True).stdout)
    (row,) = [line.rstrip() for line in shown.splitlines() if "python" in line]
    assert len(row) <= 100
    assert not re.search(r"\.0*[1-9]\d{4}", row)


def test_terminal_without_lines(terminals: Terminals, queue: Queue) -> None:
    """Where the encoding has no characters for lines, a terminal gets plain tables."""
    enqueue(queue, "true")
    spawn = "import pty, sys; pty.spawn(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", spawn, *CONSOLE, "list"],
        env={**environment(terminals.queue), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    heading, row = done.stdout.splitlines()[:2]
    assert heading.startswith(b"ID     State")
    assert row.startswith(b"job-1  pending")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_headings_on_a_terminal(
    no_color: str, run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables on a terminal have headings of one style, with and without colours."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    enqueue(queue, "true")
    for words, heading in {"status": "State Count", "config list": "Key Value Default Meaning"}.items():
        shown = re.sub(r"\x1b\[[0-9;]*m", "", run(*words.split(), terminal=True).stdout)
        assert any(" ".join(line.split()) == heading for line in shown.splitlines())


def test_wait_progress_bar(run: Callable[..., Ran], queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress bar goes to stderr, so that stdout can be piped; it ends with the time left."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    enqueue(queue, "true")
    ran = run("wait", "--timeout", "0.3", terminal=True)
    assert ran.exit_code == 4
    assert "1 unfinished" in ran.stderr
    assert "Time left is unknown: no workers are running" in ran.stderr
    assert ran.stdout == ""


def test_detached_workers_outlive_the_command(terminals: Terminals) -> None:
    """Detached workers keep working after the command that started them has ended."""
    done = run_shell(terminals, "queuectl worker start --detach > /dev/null; queuectl enqueue --id a --command true")
    try:
        assert done.returncode == 0
        until(lambda: terminals.run_json("show", "a")["state"] == "completed")
    finally:
        terminals.run("worker", "stop")


INTERRUPTED_IMPORT = """
import builtins, os, signal
load = builtins.__import__
def interrupt(name, *rest):
    if name == "queuectl_nb.cli.main":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest)
builtins.__import__ = interrupt
from queuectl_nb.__main__ import main
main()
"""


def test_interrupt_during_imports() -> None:
    """Ctrl+C before the command runs is exit code 130 without a traceback."""
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


LOST_SIGNAL = """
import os, signal, sys
from queuectl_nb.__main__ import main

def send():
    os.kill(os.getpid(), signal.{name})
    for _ in range(1000):
        pass

class Sender:
    def __del__(self):
        send()

def ignore(call):  # as C code of a library does
    try:
        call()
    except BaseException:
        pass

def convert(call):  # as Python does, for example if it defines a class
    try:
        call()
    except BaseException as error:
        raise RuntimeError("error calling __set_name__") from error

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "queuectl_nb.client.pool":
            {how}

sys.meta_path.insert(0, Finder)
main()
"""


@pytest.mark.parametrize(
    ("name", "how", "code"),
    [
        ("SIGTERM", "Sender()", 143),
        ("SIGINT", "Sender()", 130),
        ("SIGTERM", "ignore(send)", 143),
        ("SIGTERM", "convert(send)", 143),
        ("SIGINT", "convert(send)", 130),
    ],
)
def test_lost_signal(name: str, how: str, code: int, terminals: Terminals) -> None:
    """A signal that arrives while an exception would be ignored, as in callbacks of an import, stops workers."""
    command = [sys.executable, "-c", LOST_SIGNAL.format(name=name, how=how), "worker", "start"]
    env = environment(terminals.queue)
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode in (0, code)  # 0: the workers have started before it was repeated
    assert ran.stderr in (
        "",
        "queuectl: stopping after the running jobs; press Ctrl+C again to return them to the queue\n",
    )
