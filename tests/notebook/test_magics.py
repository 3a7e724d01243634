"""Magics: the console's commands in a cell, return values, and one-line errors that stop the notebook."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from queuectl_nb.client import Job, Queue
from queuectl_nb.client.pool import WorkerPool
from queuectl_nb.model.errors import BadInput, JobFailed, NotFound, QueuectlError
from queuectl_nb.model.outcome import Exited
from queuectl_nb.render.frames.display import frame_html
from tests.client.test_notebook import write
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.commands.manual_worker import ManualWorker

    Cell = Callable[[str], Any]


@pytest.fixture
def pool(cell: Cell) -> Iterator[WorkerPool]:
    """Start two workers with the magic and return their pool."""
    found = cell("%queuectl worker start --count 2")
    yield found
    found.stop(now=True)


@pytest.mark.parametrize(
    "line", ["list", "status", "stats", "stats --by queue", "dlq list", "worker list", "config list"]
)
def test_frames(cell: Cell, line: str) -> None:
    """Lists, counts and metrics are DataFrames."""
    cell("%queuectl enqueue --id a --command true")
    assert isinstance(cell(f"df = %queuectl {line}\ndf"), pd.DataFrame)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("list", "No jobs."),
        ("list --tag x", "No jobs match."),
        ("dlq list", "DLQ is empty."),
        ("worker list", "No workers; start some with '%queuectl worker start"),
        ("limit", "No limits."),
        ("limit gpu", "Queue gpu has no limit."),
        ("errors", "No failed or dead jobs."),
        ("grep x", "No lines match."),
        ("metrics --tag x", "No jobs match."),
    ],
)
def test_nothing_to_show(cell: Cell, capsys: pytest.CaptureFixture[str], line: str, text: str) -> None:
    """An empty result is an empty frame, above which is what the console says."""
    found = cell(f"found = %queuectl {line}\nfound")
    assert isinstance(found, pd.DataFrame)
    assert found.empty
    assert capsys.readouterr().out.startswith(text)


def test_no_artifacts_and_metrics(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are said, whatever the empty value looks like."""
    cell("%queuectl enqueue --id a -- true")
    capsys.readouterr()
    assert cell("%queuectl artifacts a") == {}
    assert cell("%queuectl metrics a").empty
    lines = capsys.readouterr().out.splitlines()
    assert "Job a has no artifacts." in lines
    assert "No metrics were reported." in lines


def test_status_says_more_than_its_frame(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """Pauses, limits, the time left and the workers are printed above the counts, as on the console."""
    cell("%queuectl enqueue --id a --command true")
    cell("%queuectl limit gpu 2")
    cell("%queuectl pause")
    capsys.readouterr()
    assert cell("%queuectl status")["count"]["pending"] == 1
    paused, limits, left, workers = capsys.readouterr().out.splitlines()[:4]
    assert workers == "Workers: none"
    assert paused.startswith("Paused: all queues")
    assert limits == "Limits: gpu 2 (0 running)"
    assert left.startswith("Time left is unknown")


def test_enqueue_returns_the_job(cell: Cell) -> None:
    """Enqueue returns the job, show the job with its history, verbs the frame of changed jobs."""
    job = cell("%queuectl enqueue --id a --priority 5 --command 'echo $HOME {x}'")
    assert isinstance(job, Job)
    assert (job.command, job.priority) == ("echo $HOME {x}", 5)
    shown = cell("%queuectl show a")
    assert shown == job
    assert shown.history == []
    changed = cell("%queuectl cancel a")
    assert list(changed.index) == ["a"]
    assert changed.state["a"] == "cancelled"


@pytest.mark.parametrize(
    "verb", ["edit --with-tag x --priority 3", "cancel --tag x", "retry --tag x", "delete --tag x"]
)
def test_number_of_jobs(cell: Cell, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Verbs on a selection, and dry runs, which return the same frame, print how many jobs were or would be changed."""
    for name in ("a", "b"):
        cell(f"%queuectl enqueue --id {name} --tag x -- true")
    if verb.startswith("retry"):
        cell("%queuectl cancel a b")
    capsys.readouterr()
    for option, expected in (("--dry-run", "2 jobs would be "), ("", "2 jobs ")):
        assert set(cell(f"%queuectl {verb} {option}").index) == {"a", "b"}
        assert capsys.readouterr().out.startswith(expected)


def test_enqueue_a_notebook(cell: Cell, tmp_path: Path) -> None:
    """A notebook is enqueued with parameters, also from variables of the notebook."""
    path = write(tmp_path / "report.ipynb", "region = 'EU'\ndays = 7")
    cell("where = 'North America'")
    line = f"%queuectl enqueue --notebook {path} --var where --parameter 'region={{where}}' --parameter days=3"
    assert cell(line).command == "report.ipynb(region='North America', days=3)"
    with pytest.raises(BadInput, match="'regoin' is unknown; did you mean region"):
        cell(f"%queuectl enqueue --notebook {path} --parameter regoin=EU")
    with pytest.raises(BadInput, match="remove --notebook"):
        cell(f"%%queuectl enqueue --notebook {path}\ntrue")


def test_deleted_jobs_are_returned(cell: Cell, queue: Queue, manual_worker: ManualWorker) -> None:
    """Delete and dlq purge return the frame of deleted jobs in the order of the ids; unknown ids are errors."""
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


def test_errors_quote_commands_and_options(cell: Cell, manual_worker: ManualWorker) -> None:
    """Hints are for magics, with options and ``%queuectl``; the error of a job is shown as it is."""
    manual_worker.add("a", max_retries=1)
    manual_worker.run("a", Exited(3), stderr=b"see 'queuectl list'\n")
    for line, text in {
        "enqueue --id a -- false": "choose another id, or give --if-absent",
        "dlq retry": "a selection, or --all",
        "show b": "see '%queuectl list'",
        "worker scale 0": "stop all with '%queuectl worker stop'",
    }.items():
        with pytest.raises(QueuectlError) as caught:
            cell(f"%queuectl {line}")
        assert caught.value._render_traceback_()[0].endswith(text)
    with pytest.raises(JobFailed) as failed:
        cell("%queuectl wait a")
    assert "exit code 3: see 'queuectl list'" in failed.value._render_traceback_()[0]


def test_enqueue_from_a_file(cell: Cell, tmp_path: Path) -> None:
    """``--from`` returns the jobs in order, as a batch that says what ``--resume`` has kept."""
    path = tmp_path / "jobs"
    path.write_text('{"id": "a", "command": "true"}\n{"id": "b", "command": "true"}\n')
    assert [job.id for job in cell(f"%queuectl enqueue --from {path}")] == ["a", "b"]
    path.write_text('{"command": "echo 1"}\n{"command": "echo 2"}\n')
    assert str(cell(f"%queuectl enqueue --from {path} --resume")) == "2 enqueued"
    assert str(cell(f"%queuectl enqueue --from {path} --resume")) == "2 kept"


def test_enqueue_of_a_kept_job(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """A job that is kept is returned, and a line says so; one that is new needs no line."""
    first = cell("%queuectl enqueue --key work -- true")
    line = f"Job {first.id} kept: pending.\n"
    assert line not in capsys.readouterr().out
    assert cell("%queuectl enqueue --key work -- true") == first
    assert line in capsys.readouterr().out


def test_values_and_json(cell: Cell) -> None:
    """Config get returns the value; --json the object that the console prints."""
    assert cell("%queuectl config get max-retries") == 3
    assert cell("%queuectl status --json")["counts"]["pending"] == 0


def test_printed_text(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """Verbs without a value print what was done; help is readable and lists the cell's own options."""
    assert cell("%queuectl pause") is None
    assert cell("%queuectl config set lease 5") is None
    assert cell("%queuectl dlq retry --all").empty
    assert cell("%queuectl enqueue --help") is None
    out = capsys.readouterr().out
    assert cell("%%queuectl enqueue --help") is None
    assert capsys.readouterr().out.startswith("Usage: queuectl enqueue")
    for part in ("All queues paused.", "lease = 5", "DLQ is empty.", "Usage: queuectl enqueue", "--var NAME"):
        assert part in out


def test_cell_is_the_command(cell: Cell) -> None:
    """The cell is used verbatim: dollars, braces, quotes and newlines."""
    text = "for i in 1 2; do\n  echo \"$i\" '{x}' $(date)\ndone"
    assert cell(f"%%queuectl enqueue --tag t\n{text}\n").command == text


def test_var(cell: Cell, shell: Any) -> None:
    """--var fills placeholders, quoted unless raw; without it braces are literal."""
    shell.user_ns.update(name="it's", flags="-a -b", ident="a-1")
    assert cell("%queuectl enqueue --var name --command 'echo {name} {{x}}'").command == "echo 'it'\"'\"'s' {x}"
    assert cell("%%queuectl enqueue --var flags\nls {flags:raw}").command == "ls -a -b"
    assert cell("%queuectl enqueue --var name -- echo {name}").command == "echo 'it'\"'\"'s'"
    assert cell("%queuectl enqueue --var ident --id {ident} --command true").id == "a-1"


def test_run(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """``run`` shows the output of the job in the cell and returns the job; one that did not complete fails the cell."""
    job = cell("%%queuectl run -q gpu --max-retries 1\necho out; echo err >&2")
    assert (job.state, job.record.queue) == ("completed", "gpu")
    shown = capsys.readouterr()
    assert re.match(r"out\nOut\[\d\]:", shown.out)  # the job is the value of the cell
    assert "err" in shown.err.splitlines()
    with pytest.raises(JobFailed, match="job job-2 is dead: exit code 3"):
        cell("%queuectl run --max-retries 1 -c 'exit 3'")
    until(lambda: cell("%queuectl worker list").empty)


def test_interrupted_run(cell: Cell, shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt leaves the job running, with its worker, and says so."""

    class Output(io.StringIO):
        def write(self, text: str) -> int:
            if text == "begun\n":
                raise KeyboardInterrupt
            return super().write(text)

    with monkeypatch.context() as patch:
        output = Output()
        patch.setattr(sys, "stdout", output)
        ran = shell.run_cell("%queuectl run -c 'echo begun; sleep 60'")
    assert isinstance(ran.error_in_exec, KeyboardInterrupt)
    assert "stopped following; job job-1 continues" in output.getvalue()
    assert cell("%queuectl worker list").state.tolist() == ["busy"]
    cell("%queuectl cancel job-1")
    until(lambda: cell("%queuectl worker list").empty)


def test_short_forms(cell: Cell, shell: Any) -> None:
    """Short names, short options, durations and beginnings of ids work as on the console."""
    shell.user_ns.update(name="it's")
    assert cell("%%queuectl add --id train-1 -t 10m\necho 1").record.timeout == 600
    assert cell("%queuectl add --var name -c 'echo {name}'").command == "echo 'it'\"'\"'s'"
    assert cell("%queuectl ls -n 1").index.tolist() == ["job-2"]
    assert cell("%queuectl show tra").id == "train-1"
    assert list(cell("%queuectl config").columns) == list(cell("%queuectl config list").columns)


def test_var_in_a_function(cell: Cell, shell: Any) -> None:
    """In a function --var uses local variables first, then those of the notebook."""
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
        ("%%queuectl add -cx\ny", "remove -cx"),
        ("%queuectl lsit", "did you mean list?"),
        ("%queuectl enqueue python x.py --lr 1", "put -- before the command: queuectl enqueue -- python x.py --lr 1"),
        ("%queuectl enqueue --python --command x", "%%queuectl"),
        ("%%queuectl enqueue --python\nx = 1\nx +", "line 2"),
        ("%%queuectl enqueue --input x\ny", "--python"),
        ("%%queuectl enqueue --python --input nope\ny", "--input nope: no such variable"),
        ("%%queuectl enqueue --python --shell bash\ny", "--shell is for commands"),
        ("%%bg", "empty"),
    ],
)
def test_errors_are_one_line(shell: Any, source: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An error fails the cell with an exception shown as one line with the remedy; nothing is enqueued."""
    ran = shell.run_cell(source)
    assert isinstance(ran.error_in_exec, BadInput)
    assert part in str(ran.error_in_exec)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(shown) == 1, shown
    assert shell.run_cell("x = %queuectl list\nlen(x)").result == 0


def test_messages_quote_magics(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands that a message names can be copied into a cell."""
    shell.run_cell("%queuectl worker scale 2")
    shell.run_cell("%queuectl log nope")
    shown = capsys.readouterr().out
    assert "start some with '%queuectl worker start'" in shown
    assert "see '%queuectl list'" in shown


def test_wait_after_a_fast_failure(cell: Cell, manual_worker: ManualWorker) -> None:
    """A job that failed before the cell with the wait started fails the wait, once."""
    cell("%queuectl enqueue --id a --max-retries 1 --command false")
    manual_worker.exhaust("a")
    with pytest.raises(JobFailed, match="a"):
        cell("%queuectl wait")
    cell("%queuectl wait")


class Unprintable:
    """A value that cannot be shown."""

    shape = ()

    def item(self) -> Any:
        """Fail, and so do ``repr`` and ``str``."""
        msg = "no\nway"
        raise RuntimeError(msg)

    __repr__ = __str__ = item


class Ambiguous:
    """A value that looks like a number and cannot be compared."""

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "1"

    def __str__(self) -> str:
        raise ValueError

    def __eq__(self, other: object) -> Any:
        return np.array([True, False])


@pytest.mark.parametrize(
    "value", [10**5000, [10**5000], Unprintable(), Ambiguous()], ids=lambda value: type(value).__name__
)
def test_values_whose_methods_fail(cell: Cell, shell: Any, value: object) -> None:
    """The error names the variable, on one line."""
    shell.user_ns["value"] = value
    if not isinstance(value, list):
        with pytest.raises(BadInput, match=f"{{value}} is {type(value).__name__}, which cannot be text: ") as caught:
            cell("%queuectl enqueue --var value --command 'echo {value}'")
        assert "\n" not in str(caught.value)


def test_error_class(cell: Cell) -> None:
    """The exception has the class that the Python API raises."""
    with pytest.raises(NotFound):
        cell("%queuectl show nope")


def test_python_cell(cell: Cell, pool: WorkerPool, shell: Any) -> None:
    """The cell runs in its own process with the kernel's interpreter and the variables that were named."""
    assert isinstance(pool, WorkerPool)
    shell.user_ns.update(lr=0.1, frame=pd.DataFrame({"a": [1, 2]}), unused=object())
    source = "import sys\nprint(sys.executable, lr)\nint(frame.a.sum()) * factor"
    cell("factor = 3")
    job = cell(f"%%queuectl enqueue --python --var lr --input frame --input=factor\n{source}")
    assert job.result(60) == 9
    assert job.log("stdout") == f"{sys.executable} 0.1\n9\n"
    assert (job.command, job.kind, job.timeout) == (source, "cell", 0)
    with pytest.raises(JobFailed, match="NameError: name 'lr' is not defined"):
        cell("%%queuectl run --python --max-retries 1\nlr")


def test_background_cell(cell: Cell, pool: WorkerPool, shell: Any) -> None:
    """``%%bg`` passes what the cell reads, functions and what they use included; nothing is bound in the notebook."""
    assert isinstance(pool, WorkerPool)
    cell("import math\nrate = 2\nlock = __import__('threading').Lock()\ndef scale(x):\n    return x * rate * math.tau")
    job = cell("%%bg --id b --tag t\nrate = 3\nlock = 1\nhidden = scale(1)\n_ = hidden\nhidden > 0")
    assert job.result(60) is True
    assert job["hidden"] == pytest.approx(3 * 2 * 3.14159265)  # the function sees the rate of the cell
    assert "hidden" not in shell.user_ns
    assert (job.id, job.tags, shell.user_ns["rate"]) == ("b", ("t",), 2)
    with pytest.raises(BadInput, match=r"^input lock cannot be pickled: .*lock"):
        cell("%%bg\nprint(lock)")
    with pytest.raises(BadInput, match=r"no such option --imput; did you mean --input\?"):
        cell("%%bg --imput rate\nprint(rate)")


def test_another_background_magic(shell: Any) -> None:
    """A ``%%bg`` that exists is left alone, also when the extension is unloaded."""
    shell.run_line_magic("unload_ext", "queuectl_nb")
    assert "bg" not in shell.magics_manager.magics["cell"]
    shell.register_magic_function(lambda line, cell: (line, cell), "cell", "bg")
    shell.run_line_magic("load_ext", "queuectl_nb")
    assert shell.run_cell_magic("bg", "a", "b") == ("a", "b")
    shell.run_line_magic("unload_ext", "queuectl_nb")
    assert shell.run_cell_magic("bg", "a", "b") == ("a", "b")


def test_log(cell: Cell, pool: WorkerPool, capsys: pytest.CaptureFixture[str]) -> None:
    """A log is shown with header and footer; --follow writes each stream as it comes."""
    job = cell("%queuectl enqueue --id a --command 'echo out; echo err >&2'")
    assert cell("%queuectl log a --follow") is None
    captured = capsys.readouterr()
    assert ("out\n" in captured.out, captured.err) == (True, "err\n")
    job.wait(60)
    cell("%queuectl log a")
    assert "--- STDOUT ---\nout" in capsys.readouterr().out


def test_log_equals_the_console(
    cell: Cell, shell: Any, manual_worker: ManualWorker, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text equals the console's, with reason and attempt; the card has both too."""
    manual_worker.add("a", max_retries=1)
    manual_worker.exhaust("a")
    shown: list[Any] = []
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, *_, **__: shown.append(data))
    for line in ("log a", "log a --attempt 1"):
        cell(f"%queuectl {line}")
        assert shown[-1]["text/plain"] + "\n" == run(*line.split()).stdout
        assert "exit code 1" in shown[-1]["text/html"]
    assert "attempt 1" in shown[-1]["text/html"]


def test_incomplete_cell(shell: Any) -> None:
    """In a terminal a lone ``%%queuectl`` line is incomplete; other magics are unaffected."""
    check = shell.input_transformer_manager.check_complete
    assert check("%%queuectl enqueue")[0] == "incomplete"
    assert check("%%queuectl enqueue\necho\n\n")[0] == "complete"
    transformed = shell.input_transformer_manager.transform_cell
    assert transformed("%%queuectlx y").endswith("'')\n")
    shell.run_line_magic("unload_ext", "queuectl_nb")
    assert transformed("%%queuectl enqueue").endswith("'')\n")
    shell.run_line_magic("load_ext", "queuectl_nb")


def test_unload_and_reload(shell: Any, cell: Cell, pool: WorkerPool) -> None:
    """The magic is removed and comes back; the workers keep working."""
    cell("%unload_ext queuectl_nb")
    assert shell.find_line_magic("queuectl") is None
    cell("%load_ext queuectl_nb")
    cell("%reload_ext queuectl_nb")
    assert pool.alive
    assert cell("%queuectl enqueue --command true").wait(60).state == "completed"
    assert len(cell("%queuectl worker list")) == 2


def test_configured_queue(cell: Cell, tmp_path: Path) -> None:
    """The configuration names the queue, --db another; each is opened once per shell."""
    cell(f"%config QueuectlMagics.db = '{tmp_path / 'other.db'}'")
    job = cell("%queuectl enqueue --command true")
    assert job._queue.path == tmp_path / "other.db"
    assert cell("%queuectl enqueue --command true")._queue is job._queue
    assert len(cell(f"%queuectl list --db {tmp_path / 'queue.db'}")) == 0


def test_configuration_file(shell: Any, cell: Cell, tmp_path: Path) -> None:
    """c.QueuectlMagics.db, set before loading, names the queue; --db takes precedence."""
    shell.run_line_magic("unload_ext", "queuectl_nb")
    shell.config.QueuectlMagics.db = str(tmp_path / "configured.db")
    shell.run_line_magic("load_ext", "queuectl_nb")
    assert cell("%queuectl enqueue --command true")._queue.path == tmp_path / "configured.db"
    assert cell(f"%queuectl enqueue --db {tmp_path / 'queue.db'} --command true")._queue.path == tmp_path / "queue.db"
    del shell.config.QueuectlMagics["db"]


def test_doctor(cell: Cell, queue: Queue) -> None:
    """A healthy queue returns the findings; with an invalid setting the cell fails after showing them."""
    findings = cell("%queuectl doctor")
    assert findings.ok.all()
    assert "mathjax_ignore" in str(frame_html(findings))
    with queue.store.db.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('lease', 'banana')")
    with pytest.raises(QueuectlError) as caught:
        cell("%queuectl doctor")
    assert caught.value.exit_code == 3


def test_displayed_frames_have_no_control_characters(shell: Any, queue: Queue) -> None:
    """The text of a DataFrame or Series shows escapes of a job as text, until the extension is unloaded."""
    queue.enqueue("echo \x1b]0;title\x07 \x9b2J", id="a")
    frame = queue.jobs()
    for value in (frame, frame["command"]):
        assert "\x1b" in repr(value)
        text = shell.display_formatter.format(value)[0]["text/plain"]
        assert text.replace("\n", "").isprintable()
        assert "echo \\x1b]0;title" in text
        assert text.count("\n") == repr(value).count("\n")
    shell.run_line_magic("unload_ext", "queuectl_nb")
    assert "\x1b" in shell.display_formatter.format(frame)[0]["text/plain"]
    shell.run_line_magic("load_ext", "queuectl_nb")
