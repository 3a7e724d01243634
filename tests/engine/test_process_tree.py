"""Finding and killing the processes of an attempt."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from queuectl_nb.engine import heartbeat, proc_files, process_tree
from queuectl_nb.engine.process_tree import Session
from tests.engine.harness import alive, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLEEP = "61.25"


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """Return a shell whose child shell has a ``sleep`` in a session of its own."""
    process = subprocess.Popen(["sh", "-c", f"sh -c 'setsid sleep {SLEEP} & wait' & wait"])
    yield process
    process_tree.kill_tree(lambda: process_tree.descendants(process.pid, scan=True))
    process.kill()
    process.wait()


def command_lines(found: list[psutil.Process]) -> list[list[str]]:
    """Return the command lines of processes."""
    lines = []
    for process in found:
        try:
            lines.append(process.cmdline())
        except psutil.Error:  # it has just exited
            continue
    return lines


def test_ancestors_of_processes_that_are_reaped_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is being reaped has no parent any more, and the children of one have another."""
    texts = {11: [b"11 (sh) X 0 -1 -1"], 12: [b"12 (sh) Z 0 -1 -1"], 13: [b"13 (sh) S 11 9 9", b"13 (sh) S 1 9 9"]}
    texts[1] = [b"1 (init) S 0 1 1"]

    def read(path: str, _mode: str) -> io.BytesIO:
        lines = texts[int(path.split("/")[2])]
        return io.BytesIO(lines.pop(0) if len(lines) > 1 else lines[0])

    monkeypatch.setattr(proc_files, "open", read, raising=False)
    assert proc_files.ancestors(11) == proc_files.ancestors(12) == []
    assert proc_files.ancestors(13) == [13, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ancestors_of_a_dead_process() -> None:
    """It has some until it is reaped."""
    process = subprocess.Popen(["true"])
    until(lambda: process_tree.is_zombie(psutil.Process(process.pid)))
    assert proc_files.ancestors(process.pid)[:2] == [process.pid, os.getpid()]
    process.wait()
    assert proc_files.ancestors(process.pid) == []


@pytest.mark.parametrize("scan", [False, True])
def test_descendants_in_other_sessions_are_found(shell: subprocess.Popen[bytes], *, scan: bool) -> None:
    """Descendants in any session are found, except this process and excluded subtrees."""
    until(lambda: ["sleep", SLEEP] in command_lines(process_tree.descendants(os.getpid(), scan=scan)))
    found = {process.pid for process in process_tree.descendants(os.getpid(), scan=scan)}
    assert shell.pid in found
    assert os.getpid() not in found
    others = process_tree.descendants(os.getpid(), exclude=[shell.pid], scan=scan)
    assert shell.pid not in {process.pid for process in others}
    assert ["sleep", SLEEP] not in command_lines(others)


@pytest.mark.parametrize("scan", [False, True])
def test_zombies_are_not_descendants(*, scan: bool) -> None:
    """A zombie is not found."""
    process = subprocess.Popen(["true"])
    try:
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert process.pid not in {each.pid for each in process_tree.descendants(os.getpid(), scan=scan)}
    finally:
        process.wait()


@pytest.fixture
def start() -> Iterator[Callable[[str], tuple[int, Session]]]:
    """Return a function that runs a shell command as session leader without any mark of an attempt."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: str) -> tuple[int, Session]:
        began = heartbeat.boot_clock_ns()
        process = subprocess.Popen(
            ["sh", "-c", command], env={}, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        started.append(process)
        return process.pid, Session(process.pid, began, heartbeat.boot_clock_ns())

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def found_pids(session: Session | None = None, tokens: tuple[str, ...] = ()) -> set[int]:
    """Return the pids of the processes found."""
    return {process.pid for process in process_tree.holders(tokens, [], session)}


def test_processes_of_the_recorded_session_are_found(start: Callable[[str], tuple[int, Session]]) -> None:
    """Processes without token and output files are found by their session, and their descendants in other sessions."""
    pid, session = start(f"setsid sleep {SLEEP} & wait")
    until(lambda: len(found_pids(session)) == 2)
    assert pid in found_pids(session)
    assert process_tree.kill_until_gone(lambda: process_tree.holders([], [], session), 60.0, lambda: None)
    assert found_pids(session) == set()


def test_session_is_found_after_the_death_of_its_leader(
    start: Callable[[str], tuple[int, Session]], tmp_path: Path
) -> None:
    """The other processes of a session are found by the time of their start."""
    pid, session = start(f"sleep {SLEEP} & echo $! > {tmp_path}/pid")
    os.waitpid(pid, 0)
    left = int((tmp_path / "pid").read_text())
    assert found_pids(session._replace(ended_ns=heartbeat.boot_clock_ns())) == {left}


def test_session_with_a_reused_pid_is_not_touched(start: Callable[[str], tuple[int, Session]]) -> None:
    """Nothing is found if no process of the session is from the recorded time."""
    second = 1_000_000_000
    pid, session = start(f"sleep {SLEEP}")
    earlier = Session(pid, session.began_ns - 9 * second, session.began_ns - second)
    later = Session(pid, session.began_ns + second, session.began_ns + 9 * second)
    assert found_pids(earlier) == found_pids(later) == set()
    assert pid in found_pids(session)


def test_descendants_of_a_marked_process_are_found(tmp_path: Path) -> None:
    """A process that cleared its environment is found by its parent, which has the token."""
    command = f"setsid env -i sleep {SLEEP} & echo $! > {tmp_path}/pid; wait"
    token = os.urandom(16).hex()
    marked = subprocess.Popen(
        ["sh", "-c", command], env={**os.environ, proc_files.TOKEN_VARIABLE: token}, start_new_session=True
    )
    try:
        path = tmp_path / "pid"
        child = int(until(lambda: path.exists() and path.read_text().strip()))
        until(lambda: "env" not in psutil.Process(child).name() and not psutil.Process(child).environ())
        assert found_pids(tokens=(token,)) == {marked.pid, child}
        assert process_tree.kill_until_gone(lambda: process_tree.holders((token,), []), 60.0, marked.poll)
        assert not alive(child)
    finally:
        marked.kill()
        marked.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_that_calls_exec_is_found(shell: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a process is empty for a moment while it calls exec."""
    contents = [b"A=b\0QUEUECTL_ATTEMPT_TOKEN=" + b"a" * 32 + b"\0C=d\0", b"", b""]

    def read(path: str, mode: str, buffering: int = -1) -> Any:
        if path == f"/proc/{shell.pid}/environ":
            return io.FileIO(memfd(contents.pop()))
        return open(path, mode, buffering)

    monkeypatch.setattr(proc_files, "open", read, raising=False)
    assert shell.pid in [process.pid for process in process_tree.holders(["a" * 32], [])]
    assert contents == []


def memfd(content: bytes) -> int:
    """Return a descriptor from which to read ``content``."""
    handle = os.memfd_create("content")
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def test_process_with_a_reused_pid_is_found(shell: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is found if psutil has listed another one with its pid before."""
    began = heartbeat.boot_clock_ns() - int(1e9 * (time.time() - psutil.Process(shell.pid).create_time()))
    session = Session(os.getsid(shell.pid), began - 10**9, heartbeat.boot_clock_ns())
    (listed,) = (each for each in psutil.process_iter() if each.pid == shell.pid)
    monkeypatch.setattr(listed, "_ident", (shell.pid, 0.0))
    assert shell.pid in {each.pid for each in process_tree.descendants(os.getpid(), scan=True)}
    assert shell.pid in found_pids(session)


def test_found_process_is_waited_for(shell: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that survives and is not found again, since its parent is dead, still counts as left."""
    child = until(lambda: process_tree.descendants(shell.pid))[0]
    answers = [[child]]
    monkeypatch.setattr(process_tree, "send_signal", lambda *_: None)
    assert not process_tree.kill_until_gone(lambda: answers.pop() if answers else [], 0.2, lambda: None)
    monkeypatch.undo()
    answers.append([child])
    assert process_tree.kill_until_gone(lambda: answers.pop() if answers else [], 60.0, lambda: None)
    assert not alive(child.pid)


def test_a_slow_search_does_not_use_up_the_time_to_kill() -> None:
    """On a loaded machine the first search may take longer than the limit; what it finds is killed all the same."""
    with subprocess.Popen(["sleep", SLEEP]) as child:
        found = [psutil.Process(child.pid)]
        assert process_tree.kill_until_gone(lambda: found, 0.0, child.wait)


WITHOUT_FIRST_THREAD = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(61.25,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # exit, of this thread only
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_process_without_its_first_thread_is_alive() -> None:
    """A process whose first thread has ended looks like a zombie, but is found and killed."""
    process = subprocess.Popen([sys.executable, "-c", WITHOUT_FIRST_THREAD])
    try:
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)

        def find() -> list[psutil.Process]:
            return [each for each in process_tree.descendants(os.getpid()) if each.pid == process.pid]

        assert find()
        assert process_tree.kill_until_gone(find, 60.0, process.poll)
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
