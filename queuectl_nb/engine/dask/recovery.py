"""What an agent leaves when it is gone: processes, output files, and the ends of attempts that it did not deliver.

A runner writes the end of an attempt to the agent's folder before it reports it, and the agent removes the file once
the dispatcher has acknowledged the end. The folder is not inside that of the dask worker, which is removed when the
dask worker exits, for example because its scheduler died.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask.channel import decode, encode
from queuectl_nb.engine.dask.messages import Ended, OutputChunk, Recovery
from queuectl_nb.engine.process_tree import Session, holders, kill_until_gone
from queuectl_nb.engine.worker_record import RecordWriter, read_record
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.regular_file import OPEN_DIR, Descriptor, open_regular, remove_tree
from queuectl_nb.store.spool import STREAMS, Spool

if TYPE_CHECKING:
    from collections.abc import Collection

    import psutil

    from queuectl_nb.engine.dask.messages import OutputRead, RecoveryQuery

__all__ = [
    "KEEP_S",
    "create_folder",
    "find_ends",
    "kill_leftovers",
    "load_end",
    "may_inspect",
    "open_record",
    "read_chunk",
    "recover",
    "remove_attempt",
    "remove_old_folders",
    "remove_runner",
    "save_end",
]

PREFIX = "queuectl-"
RECORD_SUFFIX = ".record"
KEEP_S = 2 * 3600.0
"""How long the folder of a dead or abandoned agent is kept; longer than the longest lease."""


# ---------------------------------------------------------------------- folders of agents


def create_folder(parent: str, agent: str) -> tuple[str, int]:
    """Create the folder of an agent; return its path and a lock that is held while the agent lives."""
    path = os.path.join(parent, f"{PREFIX}{agent}")
    os.mkdir(path, 0o700)
    lock = os.open(path, OPEN_DIR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return path, lock


def _agent_folders(parent: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(parent), f"{PREFIX}*"))


def remove_old_folders(parent: str) -> None:
    """Remove the folders of agents that died long ago."""
    for path in _agent_folders(parent):
        # suppressed: it is in use, or somebody else's
        with contextlib.suppress(OSError), Descriptor(os.open(path, OPEN_DIR)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(lock)
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > KEEP_S:
                shutil.rmtree(path, ignore_errors=True)


# ---------------------------------------------------------------------- ends


def _end_path(folder: str, token: str) -> str:
    return f"{folder}/{token}.end"


def save_end(folder: str, end: Ended) -> None:
    """Write the end of an attempt to the agent's folder; without disk space it is only reported."""
    with contextlib.suppress(OSError):
        handle = open_regular(_end_path(folder, end.token), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(handle, "wb", buffering=0) as file:
            file.write(encode(end))


def load_end(folder: str, token: str) -> Ended | None:
    """Return the end of an attempt from the agent's folder; None if there is no complete one."""
    try:
        with os.fdopen(open_regular(_end_path(folder, token), os.O_RDONLY), "rb") as file:
            end = decode(file.read())
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return end if isinstance(end, Ended) and end.token == token else None


def remove_attempt(folder: str, token: str) -> None:
    """Remove the end and the output of an attempt."""
    Spool(Path(folder)).remove(token)
    with contextlib.suppress(OSError):
        os.unlink(_end_path(folder, token))


# ---------------------------------------------------------------------- recovery


def open_record(folder: str, runner: str) -> RecordWriter:
    """Create the record of a runner, which names the session of its command."""
    handle = open_regular(f"{folder}/{runner}{RECORD_SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    return RecordWriter(handle, "runner")


def remove_runner(folder: str, runner: str) -> None:
    """Remove the files of a runner that has ended."""
    Spool(Path(folder)).worker_files(runner).remove()
    remove_tree(artifact_dir(folder, runner))
    with contextlib.suppress(OSError):
        os.unlink(f"{folder}/{runner}{RECORD_SUFFIX}")


def kill_leftovers(folder: str, runners: Collection[str], tokens: Collection[str], timeout_s: float) -> bool:
    """Kill the processes of attempts of these runners; return whether none is left."""
    files = [f"{folder}/{name}.{stream}" for name in (*runners, *tokens) for stream in STREAMS]
    sessions = [session for runner in runners if (session := _session(folder, runner, tokens)) is not None]

    def find() -> list[psutil.Process]:
        return [*holders(tokens, files), *(process for session in sessions for process in holders((), (), session))]

    return kill_until_gone(find, timeout_s, lambda: None)


def _session(folder: str, runner: str, tokens: Collection[str]) -> Session | None:
    """Return the session of the command that a runner started last, if it is one of ``tokens``."""
    with contextlib.suppress(OSError):
        record = read_record(Path(folder, f"{runner}{RECORD_SUFFIX}"))
        if record.pid and record.token in tokens and record.origin is not None and record.origin.shares_pids:
            return Session(record.pid, record.spawn_began_ns, record.spawn_ended_ns)
    return None


def recover(query: RecoveryQuery, timeout_s: float) -> Recovery:
    """Kill the processes of an agent that is gone, and return what its folder has."""
    runners = [path.stem for path in Path(query.folder).glob(f"*{RECORD_SUFFIX}")]
    local = query.boot == heartbeat.boot_id() and may_inspect(query.folder)
    gone = local and kill_leftovers(query.folder, runners, query.tokens, timeout_s)
    return Recovery(gone, *_read_left(query.folder, query))


def may_inspect(folder: str) -> bool:
    """Return False if an agent belongs to another user, whose processes this one can neither see nor kill."""
    try:
        return os.geteuid() in (0, os.lstat(folder).st_uid)
    except FileNotFoundError:  # a command may have removed it
        return True
    except OSError:
        return False


def _read_left(folder: str, query: RecoveryQuery) -> tuple[list[Ended], list[OutputChunk]]:
    """Return the requested ends and output that exist in a folder."""
    ends = [end for token in query.tokens if (end := load_end(folder, token)) is not None]
    return ends, [chunk for read in query.reads if (chunk := read_chunk(folder, read)).data is not None]


def find_ends(parent: str, query: RecoveryQuery) -> Recovery:
    """Return what the folders of all agents have, dead or alive, for a dispatcher that does not know the agents."""
    found = Recovery(False, [], [])
    for folder in _agent_folders(parent):
        with contextlib.suppress(OSError):
            if os.lstat(folder).st_uid == os.geteuid():
                ends, chunks = _read_left(folder, query)
                found.ended.extend(ends)
                found.chunks.extend(chunks)
    return found


def read_chunk(folder: str, read: OutputRead) -> OutputChunk:
    """Read output of an attempt from the agent's folder; the chunk has no data if there is no readable file."""
    found = None
    with contextlib.suppress(OSError):
        found = Spool(Path(folder)).read(read.token, read.stream, read.offset, read.size)
    return OutputChunk(read.token, read.stream, *(found or (read.offset, None)))
