"""Write the files of a release: all of them or none, never over what somebody else put there."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.workbench.releasing.records import RECORD

PENDING = ".release-pending.json"  # there only while files change their places
EPOCH = (1980, 1, 1, 0, 0, 0)


def archive(files: Mapping[str, bytes], top: str) -> bytes:
    """Give a zip of files in a folder `top`: the same bytes for the same files, on every machine, at any time.

    Nothing is compressed, since libraries of compression differ in their bytes.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{top}/{name}", EPOCH)
            entry.create_system = 3  # as on Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            target.writestr(entry, files[name])
    return made.getvalue()


def digest(content: bytes) -> str:
    """Give the sha256 of a file's bytes."""
    return hashlib.sha256(content).hexdigest()


def write(folder: Path, files: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
    """Write files and the record of them into a folder; when that fails the folder is as it was.

    Raises:
        ValueError: if the folder is none, or a file lies in the way that no release wrote, or that was changed since.
        OSError: if it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --out wants a folder")
    _refuse_what_is_not_ours(folder, files)
    files = {**files, RECORD: (json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()}
    first = _first_missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _staging(folder) as staging:
            for name, content in files.items():
                _write_one(staging / "new" / name, content)
            _exchange(folder, staging, list(files), record)
    except OSError as error:
        if first is not None:
            shutil.rmtree(first, ignore_errors=True)
        reason = error.strerror or str(error)
        raise OSError(f"nothing was released, {folder} is as it was: it could not be written ({reason})") from error


def _first_missing(folder: Path) -> Path | None:
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    return missing[-1] if missing else None


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    staging = Path(tempfile.mkdtemp(dir=folder, prefix=".release-"))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_one(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _exchange(folder: Path, staging: Path, names: list[str], record: Mapping[str, Any]) -> None:
    """Put the new files in their places, the record last; whatever stops it, the old ones come back."""
    undo: list[tuple[Path, Path | None]] = []
    pending = folder / PENDING
    _write_one(pending, json.dumps({"files": record["files"]}).encode())
    try:
        for number, name in enumerate(names):
            target, kept = folder / name, staging / "old" / str(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            kept.parent.mkdir(exist_ok=True)
            if target.exists():
                os.replace(target, kept)
                undo.append((target, kept))
            else:
                undo.append((target, None))
            os.replace(staging / "new" / name, target)
    except BaseException:
        for target, kept in reversed(undo):
            if kept is None:
                target.unlink(missing_ok=True)
            else:
                os.replace(kept, target)
        pending.unlink(missing_ok=True)
        raise
    pending.unlink()


def _refuse_what_is_not_ours(folder: Path, files: Mapping[str, bytes]) -> None:
    known = _known(folder)
    for name, content in files.items():
        target = folder / name
        if not (target.exists() or target.is_symlink()):
            continue
        is_file = target.is_file() and not target.is_symlink()
        found = digest(target.read_bytes()) if is_file else ""
        if found in (digest(content), *known.get(name, ())):
            continue
        why = "was changed since it was released" if name in known else "is not from a release"
        raise ValueError(f"{target} {why}, so it is not overwritten; move it away, or release into another folder")


def _known(folder: Path) -> dict[str, set[str]]:
    """Give the digests that files of earlier releases have, those of one that was cut off in the middle included."""
    known: dict[str, set[str]] = {}
    for name in (RECORD, PENDING):
        try:
            files = json.loads((folder / name).read_text(encoding="utf-8"))["files"]
            for each, found in files.items():
                known.setdefault(each, set()).add(found)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
    return known
