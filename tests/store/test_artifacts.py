"""The folder of artifacts: what is kept, whatever a job has put there, and that nothing outside is touched."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.attempt import KeptArtifacts
from queuectl_nb.store.artifact_folder import ArtifactFolder, is_empty_folder, keep_artifacts
from queuectl_nb.store.artifacts import (
    artifact_attempts,
    artifact_dir,
    count_artifacts,
    find_stray_folders,
    is_valid_name,
    list_artifacts,
    open_artifact,
    remove_stray_folders,
)
from queuectl_nb.store.regular_file import remove_tree

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

LIMIT = 1 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder of an attempt."""
    path = tmp_path / "spool" / "token.artifacts"
    path.mkdir(mode=0o700, parents=True)
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Make a file elsewhere, in a folder, that no job may reach through artifacts."""
    path = tmp_path / "outside" / "precious"
    path.parent.mkdir()
    path.write_text("precious")
    path.chmod(0o640)
    return path


def names(folder: Path) -> list[str]:
    """Return the names of the artifacts."""
    return [each.name for each in list_artifacts(str(folder))]


def deep_folder(folder: Path, depth: int) -> None:
    """Make nested folders."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        deeper = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def test_folders_in_folders(folder: Path, outside: Path) -> None:
    """Each of them is searched, on all levels and beside each other."""
    for path in ("a", "a/a", "a/b", "a/b/a", "b", "b/a"):
        (folder / path).mkdir()
        (folder / path / "link").symlink_to(outside)
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept is not None
    assert kept.note == "6 artifacts were not kept: links (6)"


def test_partial_file(folder: Path) -> None:
    """A file that was being written when the job was killed is no artifact, and nothing is said about it."""
    (folder / "a.ipynb").write_text("1")
    (folder / "a.ipynb.7.queuectl-partial").write_text("2")
    assert names(folder) == ["a.ipynb"]
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept is not None
    assert (kept.files, kept.size, kept.note) == (1, 1, None)
    assert os.listdir(folder) == ["a.ipynb"]


def test_files_are_kept(folder: Path) -> None:
    """Files, also in subfolders, are kept and listed by their relative path."""
    (folder / "b.txt").write_text("12345")
    (folder / "a").mkdir()
    (folder / "a" / "ü m.txt").write_text("123")
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept == (2, 8, None)
    assert sorted(names(folder)) == ["a/ü m.txt", "b.txt"]
    with os.fdopen(open_artifact(str(folder), "a/ü m.txt")) as file:
        assert file.read() == "123"


def test_nothing(folder: Path) -> None:
    """An empty folder is used again; without a folder there is nothing either."""
    assert keep_artifacts(str(folder), LIMIT) is None
    assert is_empty_folder(str(folder))
    folder.rmdir()
    assert keep_artifacts(str(folder), LIMIT) is None


@pytest.mark.parametrize("mode", [0o755, 0o000, 0o1700])
def test_a_folder_with_another_mode_is_not_used_again(folder: Path, mode: int) -> None:
    """A folder that the job has opened to others, or closed, goes."""
    folder.chmod(mode)
    assert keep_artifacts(str(folder), LIMIT) is None
    assert not folder.exists()


def test_links_and_special_files(folder: Path, outside: Path) -> None:
    """Links of both kinds and special files are removed, and said; what they lead to stays as it is."""
    (folder / "kept").write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "folder").symlink_to(outside.parent)
    (folder / "hard").hardlink_to(outside)
    os.mkfifo(folder / "fifo")
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept is not None
    assert (kept.files, kept.note) == (1, "4 artifacts were not kept: links (3), special files (1)")
    assert os.listdir(folder) == ["kept"]
    assert outside.read_text() == "precious"
    assert outside.stat().st_mode & 0o777 == 0o640
    assert outside.stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["link", "file", "fifo", "dangling"])
def test_the_folder_is_replaced(folder: Path, outside: Path, kind: str) -> None:
    """Something else in place of the folder is removed, not followed."""
    folder.rmdir()
    if kind == "link":
        folder.symlink_to(outside.parent)
    elif kind == "dangling":
        folder.symlink_to("nowhere")
    elif kind == "file":
        folder.write_text("x")
    else:
        os.mkfifo(folder)
    assert list(list_artifacts(str(folder))) == []
    with pytest.raises(FileNotFoundError):
        open_artifact(str(folder), "precious")
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept is not None
    assert kept.files == 0
    assert not os.path.lexists(folder)
    assert outside.read_text() == "precious"


def test_a_limit(folder: Path) -> None:
    """What is over the limit is removed and said; what still fits is kept."""
    (folder / "large").write_bytes(b"x" * 50_000)
    (folder / "small").write_bytes(b"x")
    kept = keep_artifacts(str(folder), 20_000)
    assert kept == (1, 1, "1 artifact was not kept: over artifact_limit of 20000 bytes (1)")
    assert names(folder) == ["small"]


@pytest.mark.parametrize(("limit", "files"), [(8191, 0), (8192, 1)])
def test_a_limit_counts_blocks(folder: Path, limit: int, files: int) -> None:
    """A file counts with the blocks of 4 KiB that it begins."""
    (folder / "file").write_bytes(b"x" * 4097)
    kept = keep_artifacts(str(folder), limit)
    assert kept is not None
    assert kept.files == files


def test_a_folder_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as one artifact that was not kept; the others are kept."""
    (folder / "broken").mkdir()
    (folder / "kept").write_text("x")
    scandir = os.scandir

    def fail(path: str) -> object:
        if path.endswith("/broken/"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    expected = "1 artifact was not kept: folders that cannot be read: Input/output error (1)"
    assert keep_artifacts(str(folder), LIMIT) == (1, 1, expected)


def test_a_limit_of_nothing(folder: Path) -> None:
    """With a limit of 0 nothing is kept, and the attempt says so."""
    (folder / "file").write_bytes(b"x")
    kept = keep_artifacts(str(folder), 0)
    assert kept is not None
    assert kept.files == 0
    assert not folder.exists()


def test_a_sparse_file_counts_whole(folder: Path) -> None:
    """A file counts with its length: that is what a reader gets."""
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert keep_artifacts(str(folder), LIMIT) is not None
    assert not folder.exists()


def test_many_empty_files(folder: Path) -> None:
    """The limit also bounds the number of files and folders."""
    for number in range(300):
        (folder / f"{number}").touch()
    for number in range(100):
        (folder / f"d{number}").mkdir()
    kept = keep_artifacts(str(folder), 200 * 4096)
    assert kept is not None
    assert kept.files <= 200
    assert len(os.listdir(folder)) == 200


def test_invalid_names(folder: Path) -> None:
    """Names that cannot be shown or typed are not kept."""
    for name in (b"new\nline", b"\xff", b"esc\x1b[31m", b"x" * 200):
        with open(os.path.join(os.fsencode(folder), name), "w"):
            pass
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept is not None
    assert names(folder) == ["x" * 200]
    assert kept.note == "3 artifacts were not kept: invalid names (3)"


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        *[
            ("a b", True),
            ("é" * 512, True),
            ("é" * 512 + "a", False),
            ("a/" * 32 + "b", True),
            ("a/" * 33 + "b", False),
        ],
        *[("\x1f", False), ("a\x7f", False), ("\x80", False), ("a\x9f", False), ("\xa0", True), ("\udcff", False)],
    ],
    ids=ascii,
)
def test_valid_names(name: str, valid: object) -> None:
    """A name has no control characters, at most 1024 bytes, and at most 32 folders."""
    assert is_valid_name(name) == valid


def test_stray_folders(harness: StoreHarness, outside: Path) -> None:
    """Old folders of no attempt are found and removed; links are not followed."""
    store = harness.store
    harness.add("a", "b")
    for name, kept in (("a", KeptArtifacts(2, 30, "why")), ("b", None)):
        lease = harness.claim_job(name)
        harness.settle(lease, artifacts=kept)
        Path(artifact_dir(store.db.output_dir, lease.token)).mkdir()
        assert artifact_attempts(store.db, name) == ([(1, lease.token, "why")] if kept else [])
    assert count_artifacts(store.db) == (1, 2, 30)
    stray, link, new = (Path(artifact_dir(store.db.output_dir, each * 32)) for each in "fed")
    (stray / "folder").mkdir(parents=True)
    link.symlink_to(outside.parent)
    new.mkdir()
    (store.db.output_dir / f"{'f' * 32}.result").mkdir()
    for path in store.db.output_dir.iterdir():
        os.utime(path, (harness.now - 100, harness.now - 100), follow_symlinks=False)
    os.utime(new, (harness.now - 99, harness.now - 99))
    found = find_stray_folders(store.db, harness.now, 99.5)
    assert set(found) == {str(stray), str(link), artifact_dir(store.db.output_dir, lease.token)}
    assert remove_stray_folders(store.db, harness.now, 99.5) == 3
    assert find_stray_folders(store.db, harness.now, 99.5) == []
    assert find_stray_folders(store.db, harness.now, 98.5) == [str(new)]
    assert outside.exists()


def test_deep_folders(folder: Path) -> None:
    """Folders nested without end are removed without recursion."""
    deep_folder(folder, 1200)
    (folder / "kept").touch()
    kept = keep_artifacts(str(folder), LIMIT)
    assert kept is not None
    assert names(folder) == ["kept"]


def test_closed_folders(folder: Path) -> None:
    """Files and folders that the job has closed are readable afterwards."""
    (folder / "a").mkdir()
    (folder / "a" / "file").write_text("x")
    (folder / "a" / "file").chmod(0)
    (folder / "a").chmod(0)
    assert keep_artifacts(str(folder), LIMIT) == (1, 1, None)
    assert (folder / "a").stat().st_mode & 0o777 == 0o700
    assert (folder / "a" / "file").stat().st_mode & 0o400


@pytest.mark.parametrize(
    "name",
    ["..", "../outside/precious", "/etc/passwd", "", ".", "a//b", "a/../b", "link/precious", "b/", "\0", "x\n"],
)
def test_names_that_lead_outside(folder: Path, outside: Path, name: str) -> None:
    """No name leads out of the folder, whatever a running job has put there."""
    (folder / "a").mkdir()
    (folder / "b").touch()
    (folder / "link").symlink_to(outside.parent)
    with pytest.raises(FileNotFoundError) as caught:
        open_artifact(str(folder), name)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, name)


def test_links_of_a_running_job(folder: Path, outside: Path) -> None:
    """Before the attempt has ended, links and special files are neither listed nor opened."""
    (folder / "file").touch()
    (folder / "link").symlink_to(outside)
    (folder / "hard").hardlink_to(outside)
    (folder / "folder").symlink_to(outside.parent)
    os.mkfifo(folder / "fifo")
    assert names(folder) == ["file"]
    for name in ("link", "hard", "folder/precious", "fifo", "folder"):
        with pytest.raises(FileNotFoundError):
            open_artifact(str(folder), name)


def test_remove_tree(folder: Path, outside: Path) -> None:
    """A tree is removed without following links."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "link").symlink_to(outside.parent)
    (folder / "a" / "b" / "file").hardlink_to(outside)
    (folder / "a").chmod(0o500)
    remove_tree(str(folder))
    assert not folder.exists()
    assert outside.read_text() == "precious"
    remove_tree(str(folder))


@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_remove_a_tree_that_is_closed(folder: Path, mode: int) -> None:
    """An ordinary user can remove a folder whose subfolders, on several levels, the job has closed."""
    folder.chmod(0o777)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.chdir(folder)
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            deepest = Path("tree/a/b/c")
            deepest.mkdir(parents=True)
            for each in (deepest, *deepest.parents[:-1]):
                (each / "file").touch()
                (each / "empty").mkdir()
                each.chmod(mode)
            remove_tree("tree")
            code = len(os.listdir())
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.listdir(folder) == []


def test_a_folder_for_one_attempt_after_the_other(tmp_path: Path) -> None:
    """What an attempt has left gets a folder of its own, however short it was; an untouched folder stays."""
    shared = ArtifactFolder(tmp_path, "worker-1")
    for number in range(20):
        shared.prepare()
        started = time.monotonic()
        if number % 2:
            Path(shared.path, "x").write_text(f"{number}")
        kept = shared.take(f"{number:032}", started, LIMIT)
        assert (kept is not None) == bool(number % 2)
    assert len(list(tmp_path.glob(f"{'0' * 30}*.artifacts/x"))) == 10
    shared.prepare()
    assert Path(shared.path) == tmp_path / "worker-1.artifacts"
    for _ in range(2):
        shared.close()
        assert not os.path.exists(shared.path)


def test_a_write_long_after_the_start_is_noticed(tmp_path: Path) -> None:
    """Nothing in a folder that was made long before the attempt is overlooked, nor taken for that of the next one."""
    shared = ArtifactFolder(tmp_path, "worker-1")
    shared.prepare()
    until_later = time.monotonic() + 1
    assert shared.take("a" * 32, until_later, LIMIT) is None
    Path(shared.path, "x").touch()
    os.utime(shared.path, (0, 0))
    kept = shared.take("b" * 32, until_later, LIMIT)
    assert kept is not None
    assert kept.files == 1
    assert [shared.take("c" * 32, until_later, LIMIT) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("how", ["removed", "link", "file", "closed"])
def test_a_folder_that_a_job_has_damaged(tmp_path: Path, outside: Path, how: str) -> None:
    """The next attempt gets a private, empty folder."""
    shared = ArtifactFolder(tmp_path, "worker-1")
    shared.prepare()
    path = Path(shared.path)
    if how == "closed":
        path.chmod(0)
    else:
        path.rmdir()
    if how == "link":
        path.symlink_to(outside.parent)
    elif how == "file":
        path.write_text("x")
    shared.take("a" * 32, time.monotonic(), LIMIT)
    shared.prepare()
    assert is_empty_folder(shared.path)
    assert outside.read_text() == "precious"
