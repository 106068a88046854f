"""A streamed run: equal to the run in memory, whatever dies on the way, and bounded in memory."""

import gzip
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.cleaning.documents import Document, read
from labkit.cleaning.interrupting import interrupted
from labkit.cleaning.pipeline import Pipeline, Step, run, step
from labkit.cleaning.quarantine import Quarantined
from labkit.cleaning.shards import ShardNotWritten, bytes_of, chunks_of, in_order
from labkit.cleaning.streaming import run_streamed
from tests.cleaning.toy_steps import crash, crash_once, hang, kill_the_parent, toy

ROOT = Path(__file__).resolve().parents[2]
MEMORY = "48KB"


def texts(count, seed=0):
    """Random texts, some too short, some copies, some near copies, some that make a step fail."""
    draw = random.Random(seed)
    words, found = [f"w{number}" for number in range(400)], []
    for number in range(count):
        if number % 7 == 3:
            found.append(draw.choice(found))
        elif number % 7 == 5:
            found.append(f"{draw.choice(found)} more")
        else:
            found.append(("boom " if number % 40 == 9 else "") + " ".join(draw.choices(words, k=draw.randint(1, 60))))
    return found


def write(path, found, broken=True):
    """Documents as a file; with a broken line, a long one and an empty one among them."""
    lines = [Document(str(number), text).to_json().encode() for number, text in enumerate(found)]
    if broken:
        lines[len(lines) // 2 :] = [b"{broken \xff", b"", b"y" * 90_000, *lines[len(lines) // 2 :]]
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def tree(folder):
    """Every file of a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    return write(tmp_path_factory.mktemp("crawl") / "crawl.jsonl", texts(200))


@pytest.fixture(scope="module")
def undisturbed(crawl, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return run_streamed(toy(), [crawl], out, workers=1, memory=MEMORY)


def test_the_streamed_run_keeps_removes_and_quarantines_what_the_plain_run_does(crawl, undisturbed):
    plain, streamed = run(toy(), read([crawl], 2000)), undisturbed.load()
    assert streamed == plain and len(plain.kept) > 40 and len(plain.quarantined) == 5
    assert {one.step for one in plain.removed} == {"drop short", "exact copies", "near copies"}
    assert undisturbed.report().startswith(plain.report())
    assert len(list((undisturbed.folder / "kept").iterdir())) > 2  # or nothing would be tested below


def test_the_manifest_names_every_shard_and_no_time(undisturbed):
    manifest = json.loads((undisturbed.folder / "manifest.json").read_text())
    there = {name for name in tree(undisturbed.folder) if "/" in name}
    assert set(manifest["shards"]) == there and "seconds" not in manifest
    assert (
        manifest["bytes_out"] == undisturbed.bytes_out == sum(len(d.to_json().encode()) + 1 for d in undisturbed.kept())
    )


def test_a_line_too_long_for_memory_is_kept_beside_byte_for_byte(undisturbed):
    raw = list((undisturbed.folder / "quarantine").glob("*.raw"))
    assert [path.read_bytes() for path in raw] == [b"y" * 90_000 + b"\n"]


def test_the_number_of_workers_and_the_packing_of_files_change_nothing(crawl, undisturbed, tmp_path):
    half = texts(200)
    files = [write(tmp_path / "a.jsonl", half[:90], False), write(tmp_path / "b.jsonl.gz", half[90:], False)]
    found = run_streamed(toy(), files, tmp_path / "out", workers=3, memory=MEMORY, progress="cleaning")
    assert [one.text for one in found.kept()] == [one.text for one in undisturbed.kept()]


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.cleaning.toy_steps import toy
from labkit.cleaning.streaming import run_streamed

left = int(sys.argv[3])
def deadly(call):
    def instead(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)
    return instead
os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
run_streamed(toy(), [sys.argv[1]], sys.argv[2], workers=1, memory={memory!r})
"""


def start(*arguments):
    script = SCRIPT.format(root=str(ROOT), memory=MEMORY)
    return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)


def test_killed_at_any_write_and_started_again_it_ends_with_the_same_bytes(crawl, undisturbed, tmp_path):
    """Each file takes two calls, one when it is written and one for its name: killed between any two of them."""
    chunks = len(json.loads((undisturbed.folder / "plan.json").read_text())["chunks"])
    deaths = 0  # first in the plan, then in the tables, then after every single shard
    for allowed in [0, 1, 2, chunks + 1, chunks + 2, *[2, 4] * chunks, 1, 9]:
        ended = start(crawl, tmp_path / "out", allowed)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
        deaths += 1
    assert deaths >= 10
    assert tree(tmp_path / "out") == tree(undisturbed.folder)


def test_killed_while_workers_are_at_work_it_goes_on(tmp_path):
    found = [*texts(60), "parent killed at this document", *texts(20, seed=1)]
    crawl = write(tmp_path / "crawl.jsonl", found)
    deadly = step(kill_the_parent, flag=str(tmp_path / "flag"))
    arguments = repr(str(tmp_path / "flag")), repr([str(crawl)]), repr(str(tmp_path / "out"))
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.cleaning.toy_steps import *; "
    script += "from labkit.cleaning.streaming import run_streamed; "
    script += "run_streamed(toy(step(kill_the_parent, flag={})), {}, {}, memory='48KB')".format(*arguments)
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert not (tmp_path / "out" / "manifest.json").exists()
    again = run_streamed(toy(deadly), [crawl], tmp_path / "out", memory=MEMORY)
    whole = run_streamed(toy(deadly), [crawl], tmp_path / "other", memory=MEMORY)
    assert tree(again.folder) == tree(whole.folder)


def test_a_worker_that_is_killed_costs_nothing_and_a_document_that_kills_is_quarantined(tmp_path):
    found = [
        "first of all these words",
        "crash at once every time",
        "once only crash from outside",
        "last of all words",
    ]
    crawl = write(tmp_path / "crawl.jsonl", found, broken=False)
    pipeline = toy(step(crash), step(crash_once, flag=str(tmp_path / "flag")), near=None)
    result = run_streamed(pipeline, [crawl], tmp_path / "out", workers=1, memory=MEMORY).load()
    assert [one.id for one in result.kept] == ["0", "3"] and (tmp_path / "flag").exists() is False
    assert [one.id for one in result.quarantined] == ["1", "2"]
    assert result.quarantined[0] == Quarantined("1", "read", "its worker died (signal 9, SIGKILL), twice")
    assert Document.from_json(result.quarantined[0].line).text == found[1]


def test_a_worker_killed_from_outside_only_once_costs_no_document(tmp_path):
    crawl = write(tmp_path / "crawl.jsonl", ["first of all these words", "once only killed from outside"], broken=False)
    pipeline = toy(step(crash_once, flag=str(tmp_path / "flag")))
    result = run_streamed(pipeline, [crawl], tmp_path / "out", workers=1, memory=MEMORY)
    assert (tmp_path / "flag").exists() and len(list(result.kept())) == 2 and result.quarantined == {}
    undisturbed = run_streamed(pipeline, [crawl], tmp_path / "undisturbed", workers=1, memory=MEMORY)
    manifests = [(run.folder / "manifest.json").read_bytes() for run in (result, undisturbed)]
    assert manifests[0] == manifests[1]  # nothing in it of the file that the killed worker had begun


def test_a_document_that_hangs_a_step_is_quarantined(tmp_path):
    crawl = write(tmp_path / "crawl.jsonl", ["first of all these words", "hang on this one forever"], broken=False)
    found = run_streamed(toy(step(hang)), [crawl], tmp_path / "out", workers=1, memory=MEMORY, patience=1.5).load()
    assert [one.id for one in found.kept] == ["0"]
    assert found.quarantined == [Quarantined("1", "read", "no answer for 1.5 s, twice")]


def test_a_folder_goes_on_only_with_its_own_run(crawl, undisturbed, tmp_path):
    out = undisturbed.folder
    before = tree(out)
    assert run_streamed(toy(), [crawl], out, memory=MEMORY).counts == undisturbed.counts  # finished: read, not run
    with pytest.raises(ValueError, match="another pipeline"):
        run_streamed(toy(near=0.7), [crawl], out, memory=MEMORY)
    with pytest.raises(ValueError, match="other input"):
        run_streamed(toy(), [write(tmp_path / "crawl.jsonl", texts(200, seed=9))], out, memory=MEMORY)
    with pytest.raises(ValueError, match="another memory limit"):
        run_streamed(toy(), [crawl], out, memory="1MB")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="something else"):
        run_streamed(toy(), [crawl], tmp_path / "notes", memory=MEMORY)
    assert tree(out) == before and (tmp_path / "notes" / "mine.txt").read_text() == "keep"


def test_two_runs_in_one_folder_at_a_time_are_refused(crawl, undisturbed):
    fcntl = pytest.importorskip("fcntl")
    with (undisturbed.folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="another process is at work"):
            run_streamed(toy(), [crawl], undisturbed.folder, memory=MEMORY)


def test_a_full_disk_is_a_sentence_and_the_next_start_goes_on(crawl, undisturbed, tmp_path):
    """The largest file that may be written is smaller than a shard, as if the disk were full; then it is not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with pytest.raises(ShardNotWritten, match=r"could not be written .*Nothing that was finished is lost"):
            run_streamed(toy(), [crawl], tmp_path / "out", workers=1, memory=MEMORY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out" / "manifest.json").exists()
    run_streamed(toy(), [crawl], tmp_path / "out", workers=1, memory=MEMORY)
    assert tree(tmp_path / "out") == tree(undisturbed.folder)


def test_a_folder_that_cannot_be_made_is_a_sentence(crawl, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ShardNotWritten, match="could not be written"):
        run_streamed(toy(), [crawl], tmp_path / "file" / "out", memory=MEMORY)


PEAK = """
import resource, sys
sys.path.insert(0, {root!r})
from tests.cleaning.toy_steps import toy
from labkit.cleaning.streaming import run_streamed
run_streamed(toy(longest=20_000), sys.argv[1:2], sys.argv[2], workers=1, memory="2MB")
own = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_ten_times_the_input_takes_no_more_memory(tmp_path):
    peaks = []
    for size in (1, 10):
        words = [f"v{number}" for number in range(5000)]
        draw = random.Random(1)
        with (tmp_path / "in.jsonl").open("w") as handle:
            for number in range(150 * size):
                handle.write(Document(str(number), " ".join(draw.choices(words, k=700))).to_json() + "\n")
            handle.write("z" * 1_000_000 * size + "\n")
        script = PEAK.format(root=str(ROOT))
        ended = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "in.jsonl", tmp_path / f"out{size}"],
            capture_output=True,
            text=True,
        )
        peaks.append([int(kilobytes) for kilobytes in ended.stdout.split()])
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "in.jsonl").stat().st_size > 14_000_000  # many times the memory given
    for small, large in zip(*peaks, strict=True):
        assert large < small * 1.05


def test_sizes_and_settings_that_make_no_sense_are_refused(crawl, tmp_path):
    assert bytes_of("1.5 kB") == 1500
    for wrong in ("", "many", "-1MB", "0", "5 apples"):
        with pytest.raises(ValueError, match="256MB"):
            bytes_of(wrong)
    with pytest.raises(ValueError, match="workers"):
        run_streamed(toy(), [crawl], tmp_path, workers=0)
    with pytest.raises(ValueError, match=r"there is no .*missing\.jsonl"):
        run_streamed(toy(), ["missing.jsonl"], tmp_path)
    with pytest.raises(ValueError, match="no file given"):
        run_streamed(toy(), [], tmp_path)
    with pytest.raises(ValueError, match="at least 32,000 bytes"):
        run_streamed(toy(), [crawl], tmp_path, memory="20KB")


def test_a_step_of_the_notebook_itself_is_refused_with_what_to_do(crawl, tmp_path):
    def mine(document):
        return document

    mine.__module__ = "__main__"
    with pytest.raises(ValueError, match="put it into a module"):
        run_streamed(toy(Step("mine", mine)), [crawl], tmp_path)


def test_an_empty_input_is_a_run_with_nothing(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"")
    found = run_streamed(toy(), [tmp_path / "empty.jsonl"], tmp_path / "out", memory=MEMORY)
    assert found.counts["near copies"] == 0 and found.bytes_in == 0 and list(found.kept()) == []


def test_chunks_begin_at_lines_and_cover_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 30 + b"\n" + b"b" * 300 + b"\n" + b"c\n" * 50)
    chunks = chunks_of([path], 40)
    assert [chunk.start for chunk in chunks] == [0, 332, 360, 400]
    assert [chunk.stop for chunk in chunks[:-1]] == [chunk.start for chunk in chunks[1:]]
    assert chunks[-1].stop == os.path.getsize(path) == 432


def test_a_run_killed_on_purpose_leaves_some_chunks_and_the_next_start_does_the_others(crawl, undisturbed, tmp_path):
    found = interrupted(toy(), [crawl], tmp_path / "out", after=1, workers=1, memory=MEMORY)
    assert 1 <= found.finished <= found.chunks
    run_streamed(toy(), [crawl], tmp_path / "out", workers=2, memory=MEMORY)
    assert tree(tmp_path / "out") == tree(undisturbed.folder)
    with pytest.raises(RuntimeError, match="before it could be killed"):
        interrupted(toy(), [crawl], tmp_path / "out", after=1, memory=MEMORY)


def test_a_single_file_and_a_folder_with_a_plan_of_something_else_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"1","text":"one"}\n')
    with pytest.raises(ValueError, match="give a list of files, got one"):
        run_streamed(Pipeline(()), str(path), tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "plan.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="holds a run of another pipeline"):
        run_streamed(Pipeline(()), [path], tmp_path / "other")


def test_shards_are_in_order_beyond_a_hundred_thousand(tmp_path):
    for name in ("99999", "100000", "00002"):
        (tmp_path / f"{name}.jsonl").touch()
    assert [path.stem for path in in_order(tmp_path)] == ["00002", "99999", "100000"]


def test_a_finished_run_that_lost_a_shard_is_not_taken_for_whole(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"1","text":"one"}\n')
    toys = Pipeline((), longest=1000)
    run_streamed(toys, [path], tmp_path / "out", workers=1, memory="1MB")
    (tmp_path / "out" / "kept" / "00000.jsonl").unlink()
    with pytest.raises(ValueError, match="is gone, or not what the finished run wrote"):
        run_streamed(toys, [path], tmp_path / "out", workers=1, memory="1MB")


@pytest.mark.parametrize("workers", [None, 1.5, 0])
def test_workers_are_a_whole_number(workers, tmp_path):
    path = tmp_path / "a.jsonl"
    path.touch()
    with pytest.raises(ValueError, match="workers must be"):
        run_streamed(Pipeline(()), [path], tmp_path / "out", workers=workers)


def test_texts_of_nothing_but_space_are_no_copies_of_one_another(tmp_path):
    blank = Pipeline((), longest=1000)
    path = write(tmp_path / "crawl.jsonl", ["", "", " ", " ", "a word", "a word"], False)
    plain = run(blank, read([path]))
    streamed = run_streamed(blank, [path], tmp_path / "out", workers=1, memory="100KB").load()
    assert streamed == plain and (len(plain.kept), len(plain.removed)) == (5, 1)


def test_a_worker_starts_and_ends_without_a_word():
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "labkit.cleaning.worker"], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
