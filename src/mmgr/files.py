"""Files that appear under their final name only when complete, and their fingerprints."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgr.errors import ArtefactError, BusyError, ConfigError, InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

WHOLE_FILE_BYTES = 64 * 2**20
"""Files up to this size are hashed whole; larger ones by size, date, head and tail."""

ANOTHER = "choose another `output`"
"""What to do where a folder cannot be written."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM_WORDS = ("no space left", "disk quota exceeded", "file too large")


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends well.

    The block may write a file or make a folder there. If the block raises, what it wrote is
    removed and ``path`` is as it was.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be made or written, or a file is to take the place of a folder.
    """
    make_folder(path.parent)
    with _explained_place(path.parent):
        handle = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        # the name keeps its suffix: some writers choose the format by it
        aside = handle / path.name
        with explained_writes(path):
            yield aside
            _move_into_place(aside, path)
    finally:
        shutil.rmtree(handle, ignore_errors=True)


def _move_into_place(aside: Path, path: Path) -> None:
    if aside.is_file():
        with aside.open("rb") as stream:
            os.fsync(stream.fileno())
    if path.is_dir():
        if aside.is_file():
            raise StorageError(f"{path} is a folder, and a file is to be written there; move it, or name another file.")
        # a folder cannot be replaced in one step: the old one steps aside first
        shutil.move(path, aside.parent / "replaced")
    aside.replace(path)


def check_replaceable(folder: Path, marks: Collection[str], *, what: str, instead: str) -> None:
    """Check that replacing a folder loses nothing that somebody else has put there.

    Parameters
    ----------
    folder
        What is to be replaced, or removed; it need not be there.
    marks
        Names of files or folders of which one lies in each folder of ours.
    what
        What such a folder of ours is.
    instead
        What can be done instead of moving the folder.

    Raises
    ------
    ConfigError
        If it holds something and none of the marks, or is a file.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file, and {what} is to be written there. Move it, or {instead}.")
    held = sorted(path.name for path in folder.iterdir())
    # a kill may have left no more than a mark that was being written aside
    if held and not any(name in marks or name.startswith(tuple(f".{mark}." for mark in marks)) for name in held):
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise ConfigError(
            f"{folder} is not {what}: it holds {held[0]}{more}, and would be replaced. Nothing was changed. "
            f"Move it, or {instead}."
        )


def clear_asides(path: Path) -> None:
    """Remove what a killed :func:`write_aside` left half-written of ``path``; nobody else may be writing it."""
    for aside in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(aside, ignore_errors=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder, if it is there, so that a kill never leaves half of it under its name."""
    if folder.is_dir():
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        folder.rename(aside / folder.name)
    clear_asides(folder)


@contextmanager
def explained_writes(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into one clear error that names ``path``."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if is_no_room(error):
            raise StorageError(
                f"no room to write {path}: {error}. Free some space or set `output` to another disk; "
                "nothing was left half-written under a final name."
            ) from error
        if isinstance(error, PermissionError):
            raise StorageError(f"no permission to write {path}; {ANOTHER} folder.") from error
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            raise StorageError(f"{path} lies on a read-only file system; {ANOTHER} folder.") from error
        raise


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is not there yet.

    Raises
    ------
    StorageError
        If it cannot be made: names what is in the way, or what the system says.
    """
    with _explained_place(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _explained_place(folder: Path) -> Iterator[None]:
    """Turn any refusal of the operating system into an error that says why nothing can be written there."""
    try:
        with explained_writes(folder):
            yield
    except OSError as error:
        check_place(folder)
        why = error.strerror or error
        raise StorageError(f"{folder} cannot be made or written ({why}); {ANOTHER} folder.") from error


def check_place(folder: Path, *, instead: str = f"{ANOTHER} folder") -> None:
    """Check that a folder could be written, or made and written; nothing is written to learn that.

    Parameters
    ----------
    folder
        That is to be written.
    instead
        What can be done where it cannot.

    Raises
    ------
    StorageError
        If something that is no folder is in the way, or what is there may not be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    wanted = "" if there == folder else f", and {folder} would lie in it"
    if not there.is_dir():
        raise StorageError(f"{there} is no folder{wanted}; {instead}.")
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        why = "lies on a read-only file system" if read_only else "may not be written by you"
        raise StorageError(f"{there} {why}{wanted}; {instead}.")


def is_no_room(error: BaseException) -> bool:
    """Say whether an error, of the system or of a library, means that the disk is full."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    return any(words in str(error).lower() for words in _NO_ROOM_WORDS)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON artefact of ours.

    Raises
    ------
    ArtefactError
        If it is missing or torn.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing; run the stage that writes it.") from None
    except ValueError as error:
        raise ArtefactError(f"{path} is not valid JSON ({error}); remove it and run its stage again.") from None


def check_schema(found: object, known: int, *, path: Path, stage: str) -> None:
    """Refuse an artefact of another version.

    Raises
    ------
    ArtefactError
        Names both versions, and the stage to run again.
    """
    if found != known:
        raise ArtefactError(f"{path} has schema version {found}, this MMGR reads {known}; run `mmgr {stage}` again.")


def read_versioned(path: Path, known: int, *, stage: str) -> dict[str, Any]:
    """Read a JSON artefact that says its schema version.

    Raises
    ------
    ArtefactError
        If it is missing or torn, no object, or of another version; names the stage to run again.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ArtefactError(f"{path} is of an older MMGR, or of something else; run `mmgr {stage}` again.")
    check_schema(value.get("schema_version"), known, path=path, stage=stage)
    return value


def existing_file(path: Path, *, what: str) -> Path:
    """Return ``path`` if it is a file with content.

    Raises
    ------
    InputError
        If it is missing, a folder, or empty.
    """
    if not path.exists():
        raise InputError(f"{what}: {path} does not exist. {nearest_files(path)}".strip())
    if path.is_dir():
        raise InputError(f"{what}: {path} is a folder; a file is needed.")
    if path.stat().st_size == 0:
        raise InputError(f"{what}: {path} is empty (0 bytes).")
    return path


def nearest_files(path: Path) -> str:
    """Propose the names in ``path``'s folder that resemble it."""
    from difflib import get_close_matches  # noqa: PLC0415 - only on the way to an error

    if not path.parent.is_dir():
        return f"Its folder {path.parent} does not exist either."
    near = get_close_matches(path.name, sorted(p.name for p in path.parent.iterdir()), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else ""


def fingerprint(path: Path) -> str:
    """Hash a file, or a folder's files by name and content.

    Files above :data:`WHOLE_FILE_BYTES` are known by their size, date of change, first and last
    mebibyte: a mosaic of 100 GB is not read to learn that nothing changed.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        digest.update(str(file.relative_to(path)).encode())
        digest.update(_file_digest(file))
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    status = path.stat()
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        if status.st_size <= WHOLE_FILE_BYTES:
            digest.update(stream.read())
        else:
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
            digest.update(stream.read(2**20))
            stream.seek(-(2**20), os.SEEK_END)
            digest.update(stream.read())
    return digest.digest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def settings_hash(settings: Any) -> str:
    """Hash a JSON-like value, whatever the order of its keys."""
    text = json.dumps(settings, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone; the system lets go of it even after a kill.

    Raises
    ------
    BusyError
        If another process holds it.
    StorageError
        If it cannot be made or written.
    """
    make_folder(folder)
    with _explained_place(folder):
        stream = (folder / ".lock").open("a+", encoding="utf-8")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise BusyError(
                f"{folder} is being written by another run ({holder}); wait for it, or set another `output`."
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)
