"""The magics: the console's tree in a cell, answers to hold, one-line mistakes that stop the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from queuectl_nb.client import Job, Queue
from queuectl_nb.client.pool import WorkerPool
from queuectl_nb.model.errors import BadInput, JobFailed, NotFound, QueuectlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker

    Cell = Callable[[str], Any]


@pytest.fixture
def pool(cell: Cell) -> Iterator[WorkerPool]:
    """Return two workers that the line started."""
    found = cell("%queuectl worker start --count 2")
    yield found
    found.stop(now=True)


@pytest.mark.parametrize(
    "line", ["list", "status", "stats", "stats --by queue", "dlq list", "worker list", "config list"]
)
def test_what_is_many_is_a_frame(cell: Cell, line: str) -> None:
    """Lists, counts and metrics are DataFrames, with names to work on."""
    cell("%queuectl enqueue --id a --command true")
    assert isinstance(cell(f"df = %queuectl {line}\ndf"), pd.DataFrame)


def test_an_enqueue_gives_the_job(cell: Cell) -> None:
    """The job is in hand; show gives it with its history; verbs give the frame of what they changed."""
    job = cell("%queuectl enqueue --id a --priority 5 --command 'echo $HOME {x}'")
    assert isinstance(job, Job)
    assert (job.command, job.priority) == ("echo $HOME {x}", 5)
    shown = cell("%queuectl show a")
    assert shown == job
    assert shown.history == []
    changed = cell("%queuectl cancel a")
    assert list(changed.index) == ["a"]
    assert changed.state["a"] == "cancelled"


def test_what_is_removed_is_given_as_it_was(cell: Cell, queue: Queue, manual_worker: ManualWorker) -> None:
    """Delete and dlq purge give the frame of what they removed, in the order of the ids; unknown ids are told."""
    queue.set("max-retries", 1)
    for each in ("a", "b", "c", "d"):
        manual_worker.add(each)
        manual_worker.exhaust(each)
    gone = cell("%queuectl delete b a")
    assert list(gone.index) == ["b", "a"]
    assert set(gone.state) == {"dead"}
    assert list(cell("%queuectl dlq purge c").exit_code) == [1]
    with pytest.raises(NotFound):
        cell("%queuectl delete d nope")
    with pytest.raises(BadInput):
        cell("%queuectl dlq purge d --all")
    assert list(cell("%queuectl dlq purge --all").index) == ["d"]
    assert cell("%queuectl dlq purge --all").empty
    assert len(cell("%queuectl list")) == 0


def test_json_lines_give_a_list_of_jobs(cell: Cell, tmp_path: Path) -> None:
    """--from gives the jobs in their order."""
    path = tmp_path / "jobs"
    path.write_text('{"id": "a", "command": "true"}\n{"id": "b", "command": "true"}\n')
    assert [job.id for job in cell(f"%queuectl enqueue --from {path}")] == ["a", "b"]


def test_a_bare_value_and_json(cell: Cell) -> None:
    """Config get gives the value itself; --json the value that the console's JSON stands for."""
    assert cell("%queuectl config get max-retries") == 3
    assert cell("%queuectl status --json")["counts"]["pending"] == 0


def test_what_only_says_says(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """Verbs with nothing to hold say what was done; help is readable and tells of the cell's own options."""
    assert cell("%queuectl pause") is None
    assert cell("%queuectl config set lease 5") is None
    assert cell("%queuectl dlq retry --all").empty
    assert cell("%queuectl enqueue --help") is None
    out = capsys.readouterr().out
    assert cell("%%queuectl enqueue --help") is None
    assert capsys.readouterr().out.startswith("Usage: queuectl enqueue")
    for part in ("All queues paused.", "lease = 5", "DLQ is empty.", "Usage: queuectl enqueue", "--var NAME"):
        assert part in out


def test_a_cell_is_the_command(cell: Cell) -> None:
    """The cell is taken verbatim: dollars, braces, quotes and newlines."""
    text = "for i in 1 2; do\n  echo \"$i\" '{x}' $(date)\ndone"
    assert cell(f"%%queuectl enqueue --tag t\n{text}\n").command == text


def test_variables_fill_what_is_named(cell: Cell, shell: Any) -> None:
    """--var fills placeholders quoted for the shell, or as they stand; without it braces are nobody's."""
    shell.user_ns.update(name="it's", flags="-a -b", ident="a-1")
    assert cell("%queuectl enqueue --var name --command 'echo {name} {{x}}'").command == "echo 'it'\"'\"'s' {x}"
    assert cell("%%queuectl enqueue --var flags\nls {flags:raw}").command == "ls -a -b"
    assert cell("%queuectl enqueue --var name -- echo {name}").command == "echo 'it'\"'\"'s'"
    assert cell("%queuectl enqueue --var ident --id {ident} --command true").id == "a-1"


def test_variables_of_a_function_fill_its_lines(cell: Cell, shell: Any) -> None:
    """In a function --var means the function's variable where it has one, else the notebook's."""
    shell.user_ns.update(name="outer", flag="-x")
    lines = (
        "def f(name):\n    job = %queuectl enqueue --var name --var flag --command 'echo {flag} {name}'\n    return job"
    )
    assert cell(f"{lines}\nf('inner')").command == "echo -x inner"
    assert cell("%queuectl enqueue --var name --command 'echo {name}'").command == "echo outer"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("%queuectl nope", "unknown; valid: enqueue"),
        ("%queuectl list --nope", "valid:"),
        ("%queuectl list --state nope", "pending"),
        ("%queuectl list 'x", "closing quotation"),
        ("%queuectl enqueue --command ''", "command"),
        ("%queuectl stats --plot", "name a file"),
        ("%queuectl enqueue --var nope --command 'x {nope}'", "no such variable"),
        ("%queuectl dashboard --port 0", "widget"),
        ("%%queuectl list\nx", "one %"),
        ("%%queuectl enqueue\n \n", "empty"),
        ("%%queuectl enqueue", "empty"),
        ("\n\n  %%queuectl enqueue --id a\n", "empty"),
        ("%%queuectl list", "one %"),
        ("%%queuectl enqueue --command x\ny", "remove --command"),
        ("%queuectl enqueue --python --command x", "%%queuectl"),
        ("%%queuectl enqueue --python\n!ls", "line 1"),
    ],
)
def test_a_mistake_is_one_line(shell: Any, source: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake fails the cell with a real exception, shown as one line that names the remedy; nothing is enqueued."""
    ran = shell.run_cell(source)
    assert isinstance(ran.error_in_exec, BadInput)
    assert part in str(ran.error_in_exec)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(shown) == 1, shown
    assert shell.run_cell("x = %queuectl list\nlen(x)").result == 0


def test_a_wait_fails_for_a_job_that_was_faster_than_its_cell(cell: Cell, manual_worker: ManualWorker) -> None:
    """Whatever time lies between two cells: what the notebook enqueued and did not complete fails its wait, once."""
    cell("%queuectl enqueue --id a --max-retries 1 --command false")
    manual_worker.exhaust("a")
    with pytest.raises(JobFailed, match="a"):
        cell("%queuectl wait")
    cell("%queuectl wait")


def test_what_a_cell_of_python_cannot_be_is_told(cell: Cell, shell: Any) -> None:
    """A value that no literal gives back, and a character that no source has, are named without riddles."""
    shell.user_ns.update(rate=float("nan"), frame=pd.DataFrame())
    for var, why in {"rate": "--var rate is nan, .* finite numbers", "frame": "--var frame is DataFrame"}.items():
        with pytest.raises(BadInput, match=why):
            cell(f"%%queuectl enqueue --python --var {var}\nprint({var})")
    with pytest.raises(BadInput, match="source code string cannot contain null bytes"):
        cell("%%queuectl enqueue --python\nprint('a\0b')")


def test_no_such_job_keeps_its_kind(cell: Cell) -> None:
    """The exception's class is the one that the Python interface raises."""
    with pytest.raises(NotFound):
        cell("%queuectl show nope")


def test_workers_run_a_cell_of_python(cell: Cell, pool: WorkerPool, shell: Any, tmp_path: Path) -> None:
    """The kernel's interpreter runs the cell in its own process, here; tracebacks have the cell's lines and source."""
    import sys

    assert isinstance(pool, WorkerPool)
    shell.user_ns["lr"] = 0.1
    job = cell("%%queuectl enqueue --python --var lr\nimport sys\nprint(sys.executable, lr)\nawait_me = 1")
    assert job.wait(20).log("stdout") == f"{sys.executable} 0.1\n"
    bad = cell("%%queuectl enqueue --python --max-retries 1\nx = 1\n\ndef f():\n    return x / 0\nf()")
    with pytest.raises(JobFailed):
        cell(f"%queuectl wait {bad.id}")
    trace = bad.log("stderr")
    assert 'File "<cell>", line 4, in f' in trace
    assert "return x / 0" in trace
    assert "queuectl_nb" not in trace
    assert "attempt 1: failed, exit 1" in shell.display_formatter.format(bad)[0]["text/plain"]


def test_a_log_is_shown_or_followed(cell: Cell, pool: WorkerPool, capsys: pytest.CaptureFixture[str]) -> None:
    """A log shows in the seed's frame; --follow writes each stream to its own as it comes."""
    job = cell("%queuectl enqueue --id a --command 'echo out; echo err >&2'")
    assert cell("%queuectl log a --follow") is None
    captured = capsys.readouterr()
    assert ("out\n" in captured.out, captured.err) == (True, "err\n")
    job.wait(20)
    cell("%queuectl log a")
    assert "--- STDOUT ---\nout" in capsys.readouterr().out


def test_a_log_says_the_same_as_the_consoles(
    cell: Cell, shell: Any, manual_worker: ManualWorker, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text it is the console's to the letter, reason and attempt included; the card has both, too."""
    manual_worker.add("a", max_retries=1)
    manual_worker.exhaust("a")
    shown: list[Any] = []
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, *_, **__: shown.append(data))
    for line in ("log a", "log a --attempt 1"):
        cell(f"%queuectl {line}")
        assert shown[-1]["text/plain"] + "\n" == run(*line.split()).stdout
        assert "exit code 1" in shown[-1]["text/html"]
    assert "attempt 1" in shown[-1]["text/html"]


def test_an_empty_cell_is_not_run_while_it_is_typed(shell: Any) -> None:
    """In a terminal the line %%queuectl alone is still incomplete; other magics' empty cells stay IPython's."""
    check = shell.input_transformer_manager.check_complete
    assert check("%%queuectl enqueue")[0] == "incomplete"
    assert check("%%queuectl enqueue\necho\n\n")[0] == "complete"
    transformed = shell.input_transformer_manager.transform_cell
    assert transformed("%%queuectlx y").endswith("'')\n")
    shell.run_line_magic("unload_ext", "queuectl_nb")
    assert transformed("%%queuectl enqueue").endswith("'')\n")
    shell.run_line_magic("load_ext", "queuectl_nb")


def test_unloading_leaves_the_workers_alone(shell: Any, cell: Cell, pool: WorkerPool) -> None:
    """Unload and reload: the magic goes and comes, the workers stay and work."""
    cell("%unload_ext queuectl_nb")
    assert shell.find_line_magic("queuectl") is None
    cell("%load_ext queuectl_nb")
    cell("%reload_ext queuectl_nb")
    assert pool.alive
    assert cell("%queuectl enqueue --command true").wait(20).state == "completed"
    assert len(cell("%queuectl worker list")) == 2


def test_the_configured_queue_and_db(cell: Cell, tmp_path: Path) -> None:
    """The configuration names the queue, --db another; a queue is opened once a shell."""
    cell(f"%config QueuectlMagics.db = '{tmp_path / 'other.db'}'")
    job = cell("%queuectl enqueue --command true")
    assert job._queue.path == tmp_path / "other.db"
    assert cell("%queuectl enqueue --command true")._queue is job._queue
    assert len(cell(f"%queuectl list --db {tmp_path / 'queue.db'}")) == 0


def test_the_configuration_file_names_the_queue(shell: Any, cell: Cell, tmp_path: Path) -> None:
    """c.QueuectlMagics.db, set before the extension is loaded, names the queue; --db goes before it."""
    shell.run_line_magic("unload_ext", "queuectl_nb")
    shell.config.QueuectlMagics.db = str(tmp_path / "configured.db")
    shell.run_line_magic("load_ext", "queuectl_nb")
    assert cell("%queuectl enqueue --command true")._queue.path == tmp_path / "configured.db"
    assert cell(f"%queuectl enqueue --db {tmp_path / 'queue.db'} --command true")._queue.path == tmp_path / "queue.db"
    del shell.config.QueuectlMagics["db"]


def test_doctor_is_a_frame_and_fails_where_something_is_wrong(cell: Cell, queue: Queue) -> None:
    """All well: the findings; a spoilt setting: they are shown and the cell fails with the exit code's error."""
    assert cell("%queuectl doctor").ok.all()
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('lease', 'banana')")
    with pytest.raises(QueuectlError) as caught:
        cell("%queuectl doctor")
    assert caught.value.exit_code == 3
