import os
import subprocess
import sys
import time

import pytest

from labkit.corpora import cache
from labkit.corpora.cache import CorpusUnavailable, cache_folder, read_or_make, sha256_of, state_of

TEXT = "汉字 and words\n".encode() * 1000
MAKER = """
import sys, time
from pathlib import Path
from labkit.corpora.cache import read_or_make, sha256_of
log, seconds = Path(sys.argv[1]), float(sys.argv[2])
def make():
    with log.open("a", encoding="utf-8") as file:
        file.write("made\\n")
    time.sleep(seconds)
    return b"slow text " * 100_000
print(sha256_of(read_or_make("slow.txt", make)))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "a cache with spaces"))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    return tmp_path / "a cache with spaces"


def made_once(content=TEXT):
    calls = []

    def make():
        calls.append(1)
        return content

    return make, calls


def start(log, seconds):
    command = [sys.executable, "-c", MAKER, str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def test_a_text_is_made_once_and_then_read(folder):
    make, calls = made_once()
    assert read_or_make("text.txt", make) == TEXT == read_or_make("text.txt", make)
    assert len(calls) == 1
    assert (folder / "text.txt").read_bytes() == TEXT


def test_the_sha256_beside_a_file_is_in_the_format_of_sha256sum(folder):
    read_or_make("text.txt", lambda: b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert (folder / "text.txt.sha256").read_text(encoding="utf-8") == f"{known}  text.txt\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(TEXT[:-7]),
        lambda file: file.write_bytes(b"X" + TEXT[1:]),
        lambda file: file.write_bytes(b""),
        lambda file: file.with_name("text.txt.sha256").unlink(),
        lambda file: file.with_name("text.txt.sha256").write_bytes(b"\xff\xfe"),
        lambda file: file.with_name("text.txt.sha256").write_bytes(b""),
    ],
    ids=["truncated", "altered", "emptied", "sha256 lost", "sha256 not text", "sha256 empty"],
)
def test_a_damaged_file_is_noticed_and_made_again(folder, capsys, damage):
    make, calls = made_once()
    read_or_make("text.txt", make)
    damage(folder / "text.txt")
    assert state_of(folder / "text.txt") == "damaged"
    assert read_or_make("text.txt", make) == TEXT
    assert len(calls) == 2
    assert state_of(folder / "text.txt") == "good"
    out, err = capsys.readouterr()
    assert out == "" and "text.txt in the cache is damaged" in err and str(folder) not in err


def test_a_download_that_is_not_what_it_should_be_is_refused_and_not_kept(folder):
    with pytest.raises(CorpusUnavailable, match=r"damaged or altered.*1,000 bytes.*nothing of it was kept"):
        read_or_make("wheel.whl", lambda: b"x" * 1000, sha256=sha256_of("something else"))
    assert state_of(folder / "wheel.whl", "0" * 64) == "missing"


def test_an_error_while_making_leaves_nothing_behind(folder):
    def broken():
        raise CorpusUnavailable("no network")

    with pytest.raises(CorpusUnavailable, match="no network"):
        read_or_make("text.txt", broken)
    assert [p.name for p in folder.iterdir()] == [".text.txt.lock"]
    assert read_or_make("text.txt", lambda: TEXT) == TEXT


def test_four_processes_at_once_make_a_text_once_and_all_read_it_whole(folder, tmp_path):
    processes = [start(tmp_path / "log", 1.0) for _ in range(4)]
    printed = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert printed == {sha256_of(b"slow text " * 100_000)}
    assert (tmp_path / "log").read_text(encoding="utf-8") == "made\n"
    assert not list(folder.glob("*.part")) and not list(folder.glob(".*.part"))


def test_a_process_that_is_killed_frees_its_lock_and_spoils_nothing(folder, tmp_path):
    victim = start(tmp_path / "log", 60)
    deadline = time.monotonic() + 30
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.kill()
    victim.communicate()
    assert state_of(folder / "slow.txt") == "missing"
    out, _ = start(tmp_path / "log", 0).communicate(timeout=30)
    assert out.strip() == sha256_of(b"slow text " * 100_000)


def test_a_process_that_waits_too_long_does_the_work_itself(monkeypatch):
    monkeypatch.setattr(cache, "PATIENCE", 0.1)
    with cache._one_process_at_a_time(cache._writable_folder() / "text.txt"):
        assert read_or_make("text.txt", lambda: TEXT) == TEXT


def test_a_cache_that_cannot_be_written_gives_way_to_the_temporary_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file" / "cache"))
    make, calls = made_once()
    assert read_or_make("text.txt", make) == TEXT == read_or_make("text.txt", make)
    assert len(calls) == 1
    assert capsys.readouterr().err.count("kept in the temporary folder") == 1


def test_a_full_disk_still_gives_the_text(monkeypatch, capsys):
    def full(target, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_replace", full)
    assert read_or_make("text.txt", lambda: TEXT) == TEXT
    assert "could not be kept for the next time (No space left on device)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("platform", "variable", "ending"),
    [
        ("linux", "XDG_CACHE_HOME", ("llm-labkit",)),
        ("win32", "LOCALAPPDATA", ("llm-labkit", "Cache")),
    ],
)
def test_without_a_setting_the_platform_says_where_caches_live(monkeypatch, tmp_path, platform, variable, ending):
    monkeypatch.delenv("LABKIT_CACHE")
    monkeypatch.setattr(cache.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() == tmp_path.joinpath(*ending)
