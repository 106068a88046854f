"""The pipeline on Ray: equal to the plain run, quiet, and gone afterwards. One cluster of this machine serves all."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.cleaning import on_ray
from labkit.cleaning.documents import Document, read
from labkit.cleaning.on_ray import run_on_ray
from labkit.cleaning.pipeline import Pipeline, run
from tests.cleaning.toy_steps import toy

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.cleaning.toy_steps import toy
from labkit.cleaning.documents import read
from labkit.cleaning.on_ray import run_on_ray
from labkit.cleaning.pipeline import Pipeline, run

before = dict(os.environ)
found = run_on_ray(toy(), sys.argv[1:2], cpus=1, object_store="80MB", chunk="2KB")
import ray
print(found == run(toy(), read(sys.argv[1:2], 2000)), len(found.kept), len(found.removed), len(found.quarantined))
print(ray.is_initialized(), os.environ == before)
"""


@pytest.mark.slow
def test_on_ray_the_result_is_that_of_the_plain_run_and_nothing_else_is_seen_or_left(tmp_path):
    pytest.importorskip("ray.data")
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(words[start : start + 30]) for start in range(0, 30, 3)]
    texts += [texts[0], f"{texts[1]} more", "boom at this document", "short"]
    crawl = tmp_path / "crawl.jsonl"
    lines = [Document(str(number), text).to_json() for number, text in enumerate(texts)]
    crawl.write_text("\n".join([*lines, "{broken", "z" * 90_000]) + "\n")
    plain = run(toy(), read([crawl], 2000))
    ended = subprocess.run([sys.executable, "-c", SCRIPT, crawl], capture_output=True, text=True)
    expected = f"True {len(plain.kept)} {len(plain.removed)} {len(plain.quarantined)}\nFalse True\n"
    assert (ended.stdout, ended.stderr) == (expected, "")
    assert len(plain.removed) == 3 and len(plain.quarantined) == 3
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(crawl) not in running


def test_without_ray_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "crawl.jsonl").write_text(Document("a", "text").to_json())
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"ray is needed to run a pipeline on many machines .*llm-labkit\[scale\]"
    ):
        run_on_ray(toy(), [tmp_path / "crawl.jsonl"])


def test_a_missing_file_is_refused_before_anything_is_started():
    with pytest.raises(ValueError, match=r"there is no .*missing\.jsonl"):
        run_on_ray(toy(), ["missing.jsonl"])


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path):
    (tmp_path / "crawl.jsonl").write_text(Document("a", "text").to_json())
    with socket.socket() as taken:  # bound, and never listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=r"no Ray cluster answers at 127.0.0.1:[0-9]+ .*ray start --head"):
            run_on_ray(toy(), [tmp_path / "crawl.jsonl"], address)


def test_a_machine_too_busy_to_start_a_cluster_in_time_is_asked_again():
    class Ray:
        asked, ended = 0, 0

        def init(self, address, **options):
            self.asked += 1
            if self.asked < 3:
                raise RuntimeError("The current node timed out during startup.")

        def shutdown(self):
            self.ended += 1

    busy = Ray()
    on_ray._connect(busy, None, 2, 10**8, "folder")
    assert (busy.asked, busy.ended) == (3, 2)
    busy.asked = 0
    with pytest.raises(RuntimeError, match="timed out"):  # another cluster's trouble is not ours to repeat
        on_ray._connect(busy, "ray://head:1", 2, 10**8, "folder")


def test_the_copies_found_by_band_keys_are_those_of_the_plain_run():
    words = [f"w{number}" for number in range(60)]
    texts = ["", "", " ", " ".join(words), " ".join(words), " ".join([*words, "more"]), " ".join(words[30:])]
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    pipeline = Pipeline(())
    signed = on_ray._sign(pipeline, {"chunk": 0, "place": 0, "outcome": documents})["keys"]
    outcomes = list(documents)
    on_ray._remove_copies(pipeline, [{"keys": keys} for keys in signed], outcomes)
    assert outcomes == [*documents[:4], *run(pipeline, documents).removed, documents[6]]
    assert [one.step for one in outcomes[4:6]] == ["exact copies", "near copies"]


def test_a_single_file_in_place_of_a_list_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="put it in brackets"):
        run_on_ray(Pipeline(()), str(tmp_path / "crawl.jsonl"))


GRAMMAR = """
import sys
from labkit.cleaning import on_ray

with on_ray._environment({}), on_ray._grammar_later():
    import rfc3987_syntax
    import subprocess
    child = "import jsonschema, sys; print('rfc3987_syntax' in sys.modules, 'lark' in sys.modules)"
    print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.split())
print("lark" in sys.modules, [rfc3987_syntax.is_valid_syntax("iri", iri) for iri in ("http://a.org/é", "not one")])
from rfc3987_syntax import syntax_helpers
print("lark" in sys.modules, hasattr(rfc3987_syntax, "no_such_name"), hasattr(rfc3987_syntax, "__wrapped__"))
with on_ray._environment({}), on_ray._grammar_later():
    pass
"""


def test_a_grammar_that_ray_never_uses_is_built_when_somebody_asks_for_it(tmp_path):
    pytest.importorskip("rfc3987_syntax")
    pytest.importorskip("jsonschema")
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\nbefore = dict(os.environ), [*sys.path]\n{GRAMMAR}"
    )
    with script.open("a") as file:
        file.write("print((dict(os.environ), sys.path) == before)\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("['True', 'False']\nFalse [True, False]\nTrue False False\nTrue\n", "")


def test_without_that_grammar_there_is_nothing_to_put_before_it(monkeypatch):
    monkeypatch.setattr(on_ray.PathFinder, "find_spec", lambda name: None)
    before = [*sys.path]
    with on_ray._grammar_later():
        assert sys.path == before
