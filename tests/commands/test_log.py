"""``log``: header and footer, bare streams, and following."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from queuectl_nb.client.logs import Chunk, Logs
from queuectl_nb.model.errors import BadInput, JobFailed
from queuectl_nb.model.outcome import Exited, TimedOut
from queuectl_nb.store.output import punch_middle
from queuectl_nb.store.spool import Spool
from tests.engine.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.client import Queue
    from tests.commands.manual_worker import ManualWorker
    from tests.conftest import Ran

RULE = "---------------------------------"


def finished_attempt(out: str | bytes, err: str | bytes = "") -> dict[str, Any]:
    """Return the record of an attempt with this output."""
    return {"stdout": out, "stdout_size": len(out), "stderr": err, "stderr_size": len(err)}


def test_seed_frame(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """The output is exactly this."""
    manual_worker.add("job-4")
    manual_worker.run("job-4", **finished_attempt("'I am important'\n"))
    assert run("log", "job-4").stdout == (
        f"{RULE}\nLogs for Job: job-4\nState: completed\n{RULE}\n\n"
        f"--- STDOUT ---\n'I am important'\n\n--- STDERR ---\n(empty)\n\n{RULE}\n"
    )


def test_no_output(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """A job that never ran, or wrote to stderr only, has both headings."""
    manual_worker.add("a", "b")
    frame = "--- STDOUT ---\n(empty)\n\n--- STDERR ---\n(empty)\n"
    assert f"State: pending\n{RULE}\n\n{frame}\n{RULE}\n" in run("log", "b").stdout
    manual_worker.run("a", **finished_attempt("", "oh no"))
    assert "--- STDOUT ---\n(empty)\n\n--- STDERR ---\noh no\n\n" in run("log", "a").stdout


def test_error_line(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """The reason of a failure, such as a timeout, is below the state."""
    queue.set("max_retries", 1)
    manual_worker.add("slow", "bad")
    manual_worker.run("slow", TimedOut(30))
    manual_worker.run("bad", Exited(3), **finished_attempt("", "oh no\n"))
    limit = "timed out after 30 seconds (raise it with --timeout, or 'queuectl config set timeout')"
    assert f"State: dead\nError: {limit}\n{RULE}\n\n--- STDOUT ---\n(empty)\n" in run("log", "slow").stdout
    assert f"State: dead\nError: exit code 3: oh no\n{RULE}\n" in run("log", "bad").stdout
    assert run("log", "bad", "--stderr").out == b"oh no\n"
    assert run("retry", "bad").exit_code == 0
    assert f"State: pending\n{RULE}\n" in run("log", "bad").stdout
    assert (
        f"State: pending\nAttempt: 1\nError: exit code 3: oh no\n{RULE}\n" in run("log", "bad", "--attempt", "1").stdout
    )


def test_progress_bar_is_one_line(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """``--tail`` counts lines as a terminal does: text after a CR is part of the line."""
    manual_worker.add("a")
    bar = b"".join(b"\r%d%%" % done for done in range(100))
    manual_worker.run("a", **finished_attempt(b"begin\n" + bar + b"\nend"))
    assert run("log", "a", "--stdout", "--tail", "1").out == b"end"
    assert run("log", "a", "--stdout", "--tail", "2").out == bar + b"\nend"
    assert run("log", "a", "--stdout", "--tail", "9").out == b"begin\n" + bar + b"\nend"


def test_output_that_is_too_long(
    queue: Queue, manual_worker: ManualWorker, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output that would fill the memory is refused; the error names ``tail``, and a failed job its last lines."""
    monkeypatch.setattr("queuectl_nb.client.logs.MAX_TEXT_BYTES", 1000)
    manual_worker.add("a", "b")
    lease = manual_worker.claim("a")
    queue.store.spool.path(lease.token, "stdout").write_bytes(b"x" * 600)
    queue.store.spool.path(lease.token, "stderr").write_bytes(b"y" * 600 + b"\n" + b"z" * 2000 + b"\nend\n")
    job = queue.job("a")
    assert len(job.log("stdout")) == 600
    for arguments in ({}, {"stream": "stderr"}, {"stream": "stderr", "tail": 2}):
        with pytest.raises(BadInput, match=r"job a takes more than .*'queuectl log a > FILE'.* tail=N"):
            job.log(**arguments)
    assert job.log("stderr", tail=1) == "end\n"
    refused = run("log", "a", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--tail N" in refused.stderr
    assert json.loads(run("log", "a", "--json", "--tail", "0").stdout)["stdout"] == ""
    assert len(run("log", "a", "--stderr").stdout) == 2606
    queue.store.spool.path(lease.token, "stdout").write_text("é" * 900)  # a byte each in memory
    assert job.log("stdout") == "é" * 900
    queue.store.spool.path(lease.token, "stdout").write_text("x" * 300 + "😀")  # four bytes each
    with pytest.raises(BadInput, match="tail=N"):
        job.log("stdout")
    queue.set("max_retries", 1)
    manual_worker.run("b", Exited(1), stderr="y\n" * 2000, stderr_size=4000)
    with pytest.raises(JobFailed, match=r"\ny\ny$"):
        queue.job("b").check()


class CountedText(str):
    """Counts how often it is encoded."""

    __slots__ = ()
    encoded: ClassVar[list[int]] = []

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        """Encode and count."""
        self.encoded.append(len(self))
        return super().encode(*args, **kwargs)


def test_long_output_is_encoded_once(
    queue: Queue, manual_worker: ManualWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored text is not encoded again for each chunk, which would take quadratic time."""
    text = CountedText("é" * 200_000 + "\n")
    manual_worker.add("a")
    manual_worker.run("a", **finished_attempt(b"x"))
    monkeypatch.setattr(CountedText, "encoded", [])
    found = queue.store.reader.attempt("a", 1)
    assert found is not None
    monkeypatch.setattr(type(queue.store.reader), "attempt", lambda *_: found._replace(stdout=text, stderr=text))
    assert queue.job("a").log() == text + text
    assert queue.job("a").log("stdout", tail=1) == text
    assert len(CountedText.encoded) == 4  # two streams, read twice


@pytest.mark.parametrize("live", [True, False])
def test_tail_of_a_long_stream(
    live: bool,
    run: Callable[..., Ran],
    manual_worker: ManualWorker,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--tail`` reads only the end of a long stream, and is exact."""
    manual_worker.add("a")
    lease = manual_worker.claim("a")
    lines = b"".join(b"line %d\n" % number for number in range(400_000)) + b"x" * 600_000 + b"\nend\n"
    queue.store.spool.path(lease.token, "stdout").write_bytes(lines)
    if not live:
        settle(manual_worker, lease)
    taken: list[int] = []
    piece = Spool.read

    def counted(spool: Spool, token: str, stream: str, offset: int, count: int) -> tuple[int, bytes] | None:
        found = piece(spool, token, stream, offset, count)
        taken.append(0 if found is None else len(found[1]))
        return found

    monkeypatch.setattr(Spool, "read", counted)
    for count, most in ((0, 300_000), (1, 300_000), (2, 1_500_000), (5, 1_500_000), (399_999, 10**8), (10**9, 10**8)):
        taken.clear()
        kept = lines.split(b"\n")[-count - 1 :] if count else [b""]
        assert run("log", "a", "--stdout", "--tail", str(count)).out == b"\n".join(kept)
        assert sum(taken) < most


@pytest.mark.parametrize("live", [True, False])
def test_log_with_a_hole(live: bool, run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """The freed middle of a stream is a line that says so, never NULs, and ``--tail`` counts what is there."""
    manual_worker.add("a")
    lease = manual_worker.claim("a")
    path = queue.store.spool.path(lease.token, "stdout")
    path.write_bytes(b"".join(b"line %06d\n" % number for number in range(100_000)))
    punch_middle([str(path)], 16_384)
    if path.stat().st_blocks * 512 > 100_000:
        pytest.skip("this file system gives nothing back")
    if not live:
        settle(manual_worker, lease)
    for tail in ((), ("--tail", "3"), ("--tail", "90000")):
        out = run("log", "a", "--stdout", *tail).out
        assert b"\0" not in out
        assert out.endswith(b"line 099997\nline 099998\nline 099999\n")
        assert (b"bytes not kept" in out) is (tail != ("--tail", "3"))
    assert out.startswith(b"line 000")
    attempt = queue.job("a").history[0]
    assert Logs(queue.store).read_last_bytes(attempt, 100_000).endswith(b"line 099999\n")


def test_memory_for_a_long_line(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """The last line is written in chunks, however long it is."""
    manual_worker.add("a")
    lease = manual_worker.claim("a")
    queue.store.spool.path(lease.token, "stdout").write_bytes(b"first\n" + b"x" * 40_000_000)
    logs = Logs(queue.store)
    attempt = queue.job("a").history[0]
    tracemalloc.start()
    try:
        assert logs.start_offset(attempt, "stdout", 1) == 6
        assert sum(map(len, logs.iter_chunks(attempt, "stdout", 6))) == 40_000_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert len(run("log", "a", "--stdout", "--tail", "1").out) == 40_000_000


def test_bare_stream(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """In a pipe ``--stdout`` prints the exact bytes."""
    manual_worker.add("a")
    raw = b"\x1b[31mred\x00\xff\r\n no end"
    manual_worker.run("a", **finished_attempt(raw, "err\n"))
    assert run("log", "a", "--stdout").out == raw
    assert run("log", "a", "--stderr").out == b"err\n"
    assert run("log", "a", "--stdout", "--stderr").out == raw + b"err\n"


def test_attempt_and_tail(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """``--attempt`` selects an attempt, by default the latest; ``--tail`` applies to each stream."""
    queue.set("backoff_max", 0)
    manual_worker.add("a")
    manual_worker.run("a", Exited(1), **finished_attempt("1\n2\n3\n", "x\ny\n"))
    manual_worker.run("a", **finished_attempt("second\n"))
    assert run("log", "a", "--stdout").out == b"second\n"
    assert run("log", "a", "--stdout", "--attempt", "1").out == b"1\n2\n3\n"
    assert run("log", "a", "--stdout", "--stderr", "--attempt", "1", "--tail", "1").out == b"3\ny\n"
    assert run("log", "a", "--stdout", "--tail", "0").out == b""
    assert "--- STDOUT ---\nsecond\n\n--- STDERR ---\n(empty)\n" in run("log", "a", "--tail", "1").stdout
    assert "\nAttempt: 1\n" in run("log", "a", "--attempt", "1").stdout


def test_log_as_json(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """JSON is the attempt with its streams as text; null for a job that never ran."""
    manual_worker.add("a", "b")
    manual_worker.run("a", **finished_attempt(b"1\n\xff\n"))
    attempt = json.loads(run("log", "a", "--json", "--tail", "1").stdout)
    assert (attempt["number"], attempt["outcome"], attempt["stdout"]) == (1, "succeeded", "\ufffd\n")
    assert run("log", "b", "--json").stdout == "null\n"


def test_escapes_on_a_terminal(run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """Only colours reach a terminal, and they are reset."""
    manual_worker.add("a")
    evil = "\x1b[31mred \x1b]0;title\x07\x1b]52;c;eA==\x1b\\\x1b[2J\x9b1A\u202e1\r2\n"
    manual_worker.run("a", **finished_attempt(evil))
    shown = run("log", "a", terminal=True).stdout
    assert "--- STDOUT ---\n\x1b[31mred 1\n2\n" in shown
    assert shown.count("\x1b") == 2
    assert "\x1b[0m" in shown


@pytest.mark.parametrize("left_open", ["0", "m", "[0", "\x1b[31mred"])
def test_unterminated_line(left_open: str, run: Callable[..., Ran], manual_worker: ManualWorker) -> None:
    """On a terminal the next heading starts on a line of its own."""
    manual_worker.add("a")
    manual_worker.run("a", **finished_attempt(left_open))
    shown = run("log", "a", terminal=True).stdout.replace("\x1b[0m", "")
    assert f"{left_open}\n\n--- STDERR ---\n" in shown


def test_no_color(run: Callable[..., Ran], manual_worker: ManualWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets plain text."""
    monkeypatch.setenv("NO_COLOR", "1")
    manual_worker.add("a")
    manual_worker.run("a", **finished_attempt("\x1b[31mred\x1b[0m\n"))
    assert "\x1b" not in run("log", "a", terminal=True).stdout


@pytest.mark.parametrize("framed", [True, False])
def test_follow(
    framed: bool,
    run: Callable[..., Ran],
    manual_worker: ManualWorker,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--follow`` prints output as it is written and ends with the job."""
    manual_worker.add("a")
    given = threading.Event()
    early: list[bool] = []
    real = Logs.read_chunk

    def piece(logs: Logs, *place: Any) -> Chunk:
        found = real(logs, *place)
        if found.data:
            given.set()
        return found

    def job() -> None:
        """Run as a worker would: open the spool, write, and again when that was read, end."""
        worker_here = type(manual_worker)(queue)
        lease = worker_here.claim("a")
        path = queue.store.spool.path(lease.token, "stdout")
        path.write_bytes(b"one\n")
        early.append(given.wait(60))
        with path.open("ab") as file:
            file.write(b"two\n")
        settle(worker_here, lease)

    monkeypatch.setattr(Logs, "read_chunk", piece)
    thread = threading.Thread(target=job)
    thread.start()
    ran = run("log", "a", "--follow", *([] if framed else ["--stdout"]))
    thread.join()
    assert early == [True]
    if framed:
        head = f"{RULE}\nLogs for Job: a\n"
        assert ran.stdout.startswith(head)
        tail = f"--- STDOUT ---\none\ntwo\n\n--- STDERR ---\n(empty)\n\nState: completed\n{RULE}\n"
        assert ran.stdout.endswith(tail)
    else:
        assert ran.out == b"one\ntwo\n"


def test_follow_all_attempts(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """Without ``--attempt`` no attempt is missed until the job has finished."""
    queue.set("backoff_max", 0)
    manual_worker.add("a", max_retries=9)

    def job() -> None:
        for number in range(1, 9):
            manual_worker.run("a", Exited(1), **finished_attempt(f"try {number}\n"))
        manual_worker.run("a", **finished_attempt("done\n"))

    thread = threading.Thread(target=job)
    thread.start()
    ran = run("log", "a", "--follow", "--stdout")
    thread.join()
    lines = ran.stdout.splitlines()
    assert lines[-1] == "done"
    assert lines[:-1] == [f"try {number}" for number in range(10 - len(lines), 9)]


def test_follow_headings(run: Callable[..., Ran], manual_worker: ManualWorker, queue: Queue) -> None:
    """Each further attempt with output has its own heading."""
    queue.set("backoff_max", 0)
    manual_worker.add("a")
    first = manual_worker.claim("a")

    def job() -> None:
        """Let the first attempt be seen, then fail it, and succeed in the second."""
        queue.store.spool.path(first.token, "stdout").write_bytes(b"one\ntwo\n")
        until(lambda: seen)
        settle(manual_worker, first, Exited(1))
        manual_worker.run("a", **finished_attempt("three\n"))

    seen: list[int] = []
    follow = Logs.follow

    def note_start(self: Logs, *args: Any, **options: Any) -> Any:
        """Record that the first attempt is being followed."""
        for piece in follow(self, *args, **options):
            seen.append(1)
            yield piece

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Logs, "follow", note_start)
        thread = threading.Thread(target=job)
        thread.start()
        ran = run("log", "a", "--follow")
        thread.join()
    assert "--- STDOUT ---\none\ntwo\n\n--- ATTEMPT 2 ---\n\n--- STDOUT ---\nthree\n" in ran.stdout
    assert ran.stdout.count("ATTEMPT") == 1


def settle(manual_worker: ManualWorker, lease: object, outcome: Exited | None = None) -> None:
    """Settle the attempt, with its output in the spool."""
    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.store.claims import Claims, EndedAttempt

    claims = Claims(manual_worker.queue.store.db, "worker-1", "here")
    ending = Ending(finished_at=time.time(), started_at=time.time(), pid=42, stdout="one\ntwo\n", stdout_size=8)
    claims.settle_and_claim(
        ended=[EndedAttempt(lease, outcome or Exited(0), ending)],  # type: ignore[arg-type]
        settings=manual_worker.queue.settings,
        now=time.time(),
        rand=0.0,
    )
