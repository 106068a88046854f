"""A cache folder whose files prove themselves: every file is checked against its sha256 before it is used.

A file either has a sha256 that is known beforehand (a download) or carries one beside it in `<file>.sha256` (text
that was prepared here). A damaged file is made again. Several processes may ask for the same file at once: one makes
it, the others wait for it, and nobody ever sees half a file.
"""

import getpass
import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

PATIENCE = 900.0  # seconds to wait for another process before doing the work again
SHARED_FOLDER = "LABKIT_SHARED_TEMPORARY"
LEFT_OVER = 3600.0  # seconds after which half-made files of a process that died are thrown away


class CorpusUnavailable(RuntimeError):
    """The text cannot be had here and now; the message says what was tried and how to get it."""


def say(message: str) -> None:
    """Print a remark about this machine's cache on stderr, so that stdout stays the same on every machine."""
    print(f"labkit.corpora: {message}", file=sys.stderr, flush=True)


def sha256_of(content: bytes | str) -> str:
    """Return the sha256 in hexadecimal of bytes, or of a string written as UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def cache_folder() -> Path:
    """Return the folder for prepared text: LABKIT_CACHE if it is set, else the platform's own place for caches."""
    if asked := os.environ.get("LABKIT_CACHE"):
        return Path(asked).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "llm-labkit" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llm-labkit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-labkit"


def cache_folders() -> tuple[Path, ...]:
    """Return the folders that may hold prepared text: the cache, and the temporary one where the cache is read-only."""
    spare = _spare_folder()
    return (cache_folder(), spare) if spare.is_dir() and _is_ours(spare) else (cache_folder(),)


def read_or_make(filename: str, make: Callable[[], bytes], *, sha256: str | None = None) -> bytes:
    """Return the checked content of a cached file, calling `make` when it is missing, damaged or cut short.

    The bytes that were checked are the bytes returned. With `sha256` what `make` returns must match it; without, the
    sha256 of what was made is kept beside the file.

    Raises: CorpusUnavailable when `make` does, or when what it returns is not what `sha256` says.
    """
    for folder in cache_folders():
        content = _checked(folder / filename, sha256)
        if isinstance(content, bytes):
            return content
    path = _writable_folder() / filename
    with _one_process_at_a_time(path):
        content = _checked(path, sha256)
        if isinstance(content, bytes):
            return content  # another process made it while we waited
        if content == "damaged":
            say(f"{filename} in the cache is damaged (its sha256 does not match); making it again")
        content = make()
        if sha256 is not None and sha256_of(content) != sha256:
            raise CorpusUnavailable(
                f"{filename} arrived damaged or altered: sha256 {sha256_of(content)[:16]}… in {len(content):,} bytes, "
                f"expected {sha256[:16]}…; nothing of it was kept."
            )
        _keep(path, content, with_sha256=sha256 is None)
    return content


def folder_or_make(name: str, sha256: Mapping[str, str], make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache with checked files, calling `make(scratch)` when one is missing or damaged.

    This is for files that are too large for `read_or_make` or that other libraries open by path. `sha256` names the
    files and what each must be; `make` writes them into an empty folder, and only what is checked leaves it, file by
    file, so that no reader ever sees half of one.

    Raises: CorpusUnavailable when `make` does, or when a file that it wrote is not what `sha256` says.
    """
    for folder in cache_folders():
        if not _not_good(folder / name, sha256):
            return folder / name
    target = _writable_folder() / name
    with _one_process_at_a_time(target):
        wanted = _not_good(target, sha256)
        if "damaged" in wanted.values():
            say(f"{name} in the cache is damaged (a sha256 does not match); making it again")
        if wanted:
            with _scratch_folder(target) as scratch:
                make(scratch)
                _move(scratch, target, {file: sha256[file] for file in wanted})
    return target


def state_of(path: Path, sha256: str | None = None) -> str:
    """Return "good", "damaged" or "missing" for a file of the cache by reading and hashing it."""
    if sha256 is None:
        content = _checked(path, None)
        return "good" if isinstance(content, bytes) else content
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # in small pieces: a model is large
    except OSError:
        return "damaged" if path.exists() else "missing"
    return "good" if found == sha256 else "damaged"


def _not_good(folder: Path, sha256: Mapping[str, str]) -> dict[str, str]:
    """Return the state of each file of a folder that is missing or damaged."""
    states = {file: state_of(folder / file, digest) for file, digest in sha256.items()}
    return {file: state for file, state in states.items() if state != "good"}


def _move(scratch: Path, target: Path, sha256: Mapping[str, str]) -> None:
    for file, state in _not_good(scratch, sha256).items():
        raise CorpusUnavailable(f"{file} arrived {state}: its sha256 is not the one that is known; nothing was kept.")
    target.mkdir(parents=True, exist_ok=True)
    for file in sha256:
        _rename(scratch / file, target / file)


@contextmanager
def _scratch_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside the target, so that moving out of it is one step, and remove it afterwards."""
    for old in target.parent.glob(f".{target.name}.*.part"):  # of a process that was killed
        if time.time() - old.stat().st_mtime > LEFT_OVER:
            shutil.rmtree(old, ignore_errors=True)
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _checked(path: Path, sha256: str | None) -> bytes | str:
    """Return the content if it is what it should be, else the word "missing" or "damaged"."""
    try:
        content = path.read_bytes()
    except OSError:
        return "damaged" if path.exists() else "missing"
    if sha256 is None:
        try:
            sha256 = path.with_name(path.name + ".sha256").read_text(encoding="utf-8").split(maxsplit=1)[0]
        except (OSError, UnicodeDecodeError, IndexError):
            return "damaged"
    return content if sha256_of(content) == sha256 else "damaged"


def _keep(path: Path, content: bytes, *, with_sha256: bool) -> None:
    """Write a file, and its sha256 in the format of `sha256sum`, so that no reader ever sees half of either."""
    parts = {path: content}
    if with_sha256:
        parts[path.with_name(path.name + ".sha256")] = f"{sha256_of(content)}  {path.name}\n".encode()
    try:
        for target, data in parts.items():
            _replace(target, data)
    except OSError as error:
        say(f"{path.name} could not be kept for the next time ({error.strerror or error})")


def _replace(target: Path, data: bytes) -> None:
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")  # not mkstemp: a shared cache is readable
    try:
        scratch.write_bytes(data)
        _rename(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def _rename(scratch: Path, target: Path) -> None:
    for attempt in range(50):
        try:
            os.replace(scratch, target)
            return
        except PermissionError:  # Windows refuses while a reader has the target open
            if attempt == 49:
                raise
            time.sleep(0.1)


def shared_temporary_folder() -> Path:
    """Return the folder for temporary files of all processes: a kernel of `labkit run` has another one of its own."""
    return Path(os.environ.get(SHARED_FOLDER) or tempfile.gettempdir())


def _spare_folder() -> Path:
    """Return a folder below the temporary one for people whose home cannot be written."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    return shared_temporary_folder() / f"llm-labkit-{user}"


def _writable_folder() -> Path:
    folder = cache_folder()
    if _can_write(folder):
        return folder
    spare = _spare_folder()
    if not (_can_write(spare, mode=0o700) and _is_ours(spare)):
        spare = Path(tempfile.mkdtemp(prefix="llm-labkit-"))
    say("the cache folder cannot be written, so this text is kept in the temporary folder (set LABKIT_CACHE to change)")
    return spare


def _can_write(folder: Path, mode: int = 0o777) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """Return False for a folder in the shared temporary folder that somebody else put there."""
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()


@contextmanager
def _one_process_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock of a file; the system frees it when a process dies, so none is ever left over."""
    with open(path.with_name(f".{path.name}.lock"), "a+b") as handle:
        started, told = time.monotonic(), False
        while not (ours := _try_lock(handle)) and time.monotonic() - started < PATIENCE:
            if not told and time.monotonic() - started > 2:
                say(f"another process is preparing {path.name}; waiting for it")
                told = True
            time.sleep(0.05)
        try:
            yield
        finally:
            if ours:
                _unlock(handle)


def _try_lock(handle: BinaryIO) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        return True
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks: the work may be done twice, but no file is ever spoiled


def _unlock(handle: BinaryIO) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)
        else:
            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)
    except OSError:
        return  # closing the file frees it as well
