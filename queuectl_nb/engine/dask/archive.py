"""Artifacts on their way from a dask worker to the queue: a tar file, read in pieces like output."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from queuectl_nb.store.artifacts import artifact_dir, list_artifacts, open_artifact
from queuectl_nb.store.regular_file import remove_tree

if TYPE_CHECKING:
    import tarfile

    from queuectl_nb.model.attempt import KeptArtifacts

__all__ = ["ARCHIVE", "pack", "unpack"]

ARCHIVE = "archive"
"""The name of the stream."""


def pack(folder: str, token: str, kept: KeptArtifacts | None) -> KeptArtifacts | None:
    """Replace the artifact folder of an attempt by an archive; if the disk is full, the artifacts are lost."""
    source = artifact_dir(folder, token)
    if kept is None or not kept.files:
        return kept
    import tarfile  # most jobs leave no artifacts

    path = f"{folder}/{token}.{ARCHIVE}"
    try:
        with open(path, "xb", opener=_private) as file, tarfile.open(fileobj=file, mode="w") as archive:
            for each in list_artifacts(source):
                with os.fdopen(open_artifact(source, each.name), "rb") as content:
                    member = tarfile.TarInfo(each.name)
                    member.size, member.mtime = os.fstat(content.fileno()).st_size, int(each.modified_at)
                    archive.addfile(member, content)
    except OSError as error:
        remove_tree(path)
        kept = kept._replace(files=0, size=0, note=f"its artifacts were not kept: {error.strerror}")
    remove_tree(source)
    return kept


def unpack(folder: str, token: str) -> str | None:
    """Replace an archive by the artifact folder; return why that was impossible, None if it worked."""
    path, target = f"{folder}/{token}.{ARCHIVE}", artifact_dir(folder, token)
    import tarfile

    try:
        remove_tree(target)
        os.mkdir(target, 0o700)
        with tarfile.open(path) as archive:
            for member in archive:
                _extract(archive, member, target)
    except (OSError, tarfile.TarError, ValueError) as error:
        return f"its artifacts are incomplete: {getattr(error, 'strerror', None) or error}"
    finally:
        remove_tree(path)
    return None


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    parts = member.name.split("/")
    content = archive.extractfile(member) if member.isfile() else None
    if content is None or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"invalid member {member.name!r:.100}")
    path = f"{target}/{member.name}"
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "xb", opener=_private) as file:
        shutil.copyfileobj(content, file)
    os.utime(path, (member.mtime, member.mtime))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
