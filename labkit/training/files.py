"""Files that are whole or not there, and packages that only some of this needs."""

import errno
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkit.corpora.extras import need

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
HOUR = 3600.0


def write_beside(path: Path, content: bytes) -> Path:
    """Write a file under another name, make sure that it is on the disk, and only then give it its name.

    Whoever reads `path`, at any moment, after any crash, finds the old content or the new one, never a part.

    Raises:
        OSError: if the disk is full or cannot be written; what was there before is as it was.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")  # nobody else's
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before the content does
        os.replace(scratch, path)
    except OSError as error:
        raise _explained(error, path, len(content)) from error
    finally:
        _forget(scratch)  # it is there after an error only, or Ctrl-C
    _sync_folder(path.parent)
    return path


def make_writable(folder: Path) -> None:
    """Make the folder, and find out now, not after hours, whether files can be written in it.

    Raises:
        OSError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
    except OSError as error:
        raise _explained(error, folder / "a checkpoint", 1) from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others out of a folder meanwhile, where the system can; the lock ends with the process, however it ends.

    Raises:
        OSError: if somebody else is in it.
    """
    try:
        import fcntl
    except ImportError:  # Windows; names of scratch files differ, so two runs are confusing there, but lose nothing
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"another run is writing its checkpoints in {folder}: let it end, or take another folder"
            ) from error
        except OSError:
            pass  # a folder in a network that knows no locks
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Delete what killed processes left half-written; what a living one is writing stays."""
    for path in folder.glob(pattern):
        if not _is_being_written(path):
            _forget(path)


def extra(name: str) -> Any:
    """A package that training from files needs and reading about it does not.

    Raises:
        ModuleNotFoundError: naming the command that installs it.
    """
    return need(name, extra="training")


def _explained(error: OSError, path: Path, size: int) -> OSError:
    """The same error in words that say what to do."""
    if error.errno in FULL:
        before = "the one from before is untouched" if path.exists() else "nothing was overwritten"
        said = f"no room on the disk for {path.name} ({size:,} bytes): it was not written, {before}; free some space"
    else:
        why = "it is a file" if path.parent.is_file() else error.strerror or str(error)
        said = f"{path.name} cannot be written in the folder {path.parent} ({why}): take another folder"
    return OSError(error.errno, said)


def _is_being_written(path: Path) -> bool:
    writer = path.suffixes[-2].removeprefix(".").partition("-")[0] if len(path.suffixes) > 1 else ""
    try:
        if not writer.isdigit() or time.time() - path.stat().st_mtime > HOUR:
            return False
        if os.name == "posix":  # elsewhere, to ask with a signal would end the process
            os.kill(int(writer), 0)
    except (ProcessLookupError, FileNotFoundError, OverflowError):
        return False
    except PermissionError:  # it lives, and is somebody else's
        return True
    return True


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a disk that cannot be written: that is said elsewhere
        return


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system lets folders be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)
