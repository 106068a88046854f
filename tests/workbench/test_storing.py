import copy
import json
import os
import re
import stat
import sys

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.workbench import notebooks, storing
from tests.workbench.notebook_files import CLAIM, code, notebook, shown, stream, write

sys.modules.setdefault("rfc3987_syntax", None)  # two seconds of nbformat's that nothing here needs


def test_metadata_of_tools_and_kernels_is_not_stored_and_tags_and_ids_are():
    tool = {"papermill": {"duration": 1}, "execution": {"x": "y"}, "scrolled": True, "tags": ["parameters"]}
    nb = notebook(
        code(metadata=tool, id="by-hand"),
        code(metadata={"tags": [], "slideshow": {"slide_type": "skip"}}, id="next"),
        widgets={"state": {"1": "x"}},
        papermill={"version": "2"},
        language_info={"name": "python", "version": "3.11.7"},
        kernelspec={"name": "my-env", "display_name": "mine"},
        accelerator="GPU",
    )
    stored = storing.normalise(nb)
    assert set(stored["metadata"]) == {"accelerator", "kernelspec", "language_info"}
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    assert "version" not in stored["metadata"]["language_info"]
    assert [cell["metadata"] for cell in stored["cells"]] == [
        {"tags": ["parameters"]},
        {"slideshow": {"slide_type": "skip"}},
    ]
    assert [cell["id"] for cell in stored["cells"]] == ["by-hand", "next"]


def test_the_notebook_that_is_given_is_not_touched():
    nb = notebook(code(outputs=[stream("a"), stream("b")], metadata={"papermill": {}}))
    before = copy.deepcopy(nb)
    storing.normalise(nb)
    assert nb == before


def test_injected_cells_and_error_marks_of_papermill_are_not_stored():
    marks = [code(id=str(n), metadata={"tags": [tag]}) for n, tag in enumerate(sorted(storing.NOT_OURS))]
    assert [cell["id"] for cell in storing.normalise(notebook(*marks, code()))["cells"]] == ["a-cell"]


def test_execution_counts_become_one_to_n_but_a_cell_that_never_ran_gets_none():
    result = shown("execute_result", text_plain="1")
    cells = [code(count=4, outputs=[result], id="a"), code(count=None, id="b"), code(count=9, id="c")]
    stored = storing.normalise(notebook(*cells))["cells"]
    assert [cell["execution_count"] for cell in stored] == [1, None, 2]
    assert stored[0]["outputs"][0]["execution_count"] == 1


def test_missing_and_doubled_ids_are_made_from_the_source_and_stay():
    nb = notebook(code("x = 1", id=None), code("x = 1", id=None), code("y", id="twice"), code("z", id="twice"))
    names = [cell["id"] for cell in storing.normalise(nb)["cells"]]
    assert len(set(names)) == 4
    assert names[2] == "twice"
    assert names == [cell["id"] for cell in storing.normalise(nb)["cells"]]


texts = st.text(alphabet="ab \n\r\b01<>[]:T_x‹›", max_size=40) | st.sampled_from(
    [
        "<x at 0x7f3a2c11d0>",
        "/tmp/ipykernel_4/5.py:1",
        "[00:01<00:02, 3it/s]",
        '<a id="T_1a2b3"><b id="T_1a2b3_x"><i id="T_00000">',
    ]
)
any_output = st.one_of(
    st.builds(stream, texts, st.sampled_from(["stdout", "stderr"])),
    st.builds(shown, st.sampled_from(["display_data", "execute_result"]), text_html=texts, text_plain=texts),
)


@given(st.lists(st.lists(any_output, max_size=5), max_size=4), st.data())
def test_what_is_stored_is_stored_and_nbformat_writes_it_the_same(cells, data):
    counts = [data.draw(st.none() | st.integers(1, 99)) for _ in cells]
    nb = notebook(*(code("a\nb\n", outputs, count, id=None) for outputs, count in zip(cells, counts, strict=True)))
    once = storing.normalise(nb)
    assert storing.normalise(once) == once
    assert storing.normalise(json.loads(storing.written(once))) == once
    theirs = nbformat.reads(storing.written(once), as_version=4)
    nbformat.validate(theirs)
    assert nbformat.writes(theirs) + "\n" == storing.written(once)
    assert storing.normalise(theirs) == once


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "a.ipynb"
    nb = notebook(
        {"cell_type": "markdown", "source": "# Hi", "metadata": {}, "id": "hi"}, code("print(1)", [stream("1\n")])
    )
    path.write_text(storing.written(storing.normalise(nb)), encoding="utf-8")
    return path


def change(path, **cell):
    nb = json.loads(path.read_text(encoding="utf-8"))
    nb["cells"][1].update(cell)
    path.write_text(storing.written(notebooks.checked(nb)), encoding="utf-8")


def test_a_stored_notebook_has_no_problems(stored):
    assert storing.is_stored(stored) == []


ERROR = {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ({"execution_count": None, "outputs": []}, r"code cell \[1\] \(id 'a-cell'\) was never run"),
        ({"execution_count": 3}, "has the execution count 3, expected 1"),
        ({"source": " ", "outputs": []}, "is empty"),
        ({"outputs": [ERROR]}, "holds an error: ZeroDivisionError: division by zero"),
        ({"id": "hi"}, "the cell id 'hi' is used 2 times"),
        ({"id": "no blanks"}, "letters, digits"),
        ({"metadata": {"papermill": {"x": 1}}}, "not in its stored form, first at line"),
        ({"outputs": [stream("<x at 0x7f3a2c11d0>")]}, "not in its stored form"),
        ({"outputs": [stream("x" * storing.LARGEST)]}, "and the most is 1,000,000"),
    ],
)
def test_each_thing_that_is_wrong_with_a_file_is_a_sentence_with_its_name(stored, cell, problem):
    change(stored, **cell)
    found = storing.is_stored(stored)
    assert any(re.search(problem, sentence) for sentence in found), found
    assert all(sentence.startswith("a.ipynb: ") for sentence in found)


@pytest.mark.parametrize(
    "change_text", [lambda text: text.rstrip("\n"), lambda text: text.replace("\n", "\r\n"), lambda text: text + " "]
)
def test_another_layout_of_the_same_notebook_is_not_its_stored_form(stored, change_text):
    stored.write_bytes(change_text(stored.read_text(encoding="utf-8")).encode())
    assert "not in its stored form" in "".join(storing.is_stored(stored))


def test_a_file_that_is_no_notebook_and_one_that_is_not_there_are_sentences(tmp_path):
    (tmp_path / "a.ipynb").write_text("not json")
    assert "not JSON" in storing.is_stored(tmp_path / "a.ipynb")[0]
    assert "No such file" in storing.is_stored(tmp_path / "b.ipynb")[0]


MACHINE = f"""\
{CLAIM}
import time
print(f"took ‹{{time.time()}} s›")
claim("at least twice as fast", kind="measured")
object()"""


def test_saving_twice_changes_nothing_even_where_the_machine_speaks(tmp_path):
    path = write(tmp_path / "notebooks" / "01_a.ipynb", MACHINE, "print(scale)")
    path.chmod(0o640)
    (first,) = storing.save([path])
    assert (first.problems, first.changed) == ((), 2)
    assert storing.is_stored(path) == []
    before = path.read_bytes()
    (again,) = storing.save([path])
    assert (again.problems, again.changed) == ((), 0)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["01_a.ipynb"]


def test_saving_a_changed_cell_refreshes_it_and_keeps_everything_the_author_wrote(tmp_path):
    path = write(tmp_path / "01_a.ipynb", "x = 1", "print('old')")
    nb = json.loads(path.read_text())
    nb["cells"][0]["attachments"] = {"a.png": {"image/png": "QUJD"}}
    nb["cells"][3]["metadata"] = {"tags": ["keep-me"]}
    nb["cells"][3]["outputs"] = [stream("old\n")]
    nb["cells"][3]["source"] = "print('new', x)"
    path.write_text(json.dumps(nb))
    (saved,) = storing.save([path], out=tmp_path / "out")
    assert saved.problems == ()
    cells = notebooks.read(path)["cells"]
    assert [cell["id"] for cell in cells] == ["title", "parameters", "cell-1", "cell-2"]
    assert cells[0]["attachments"] == {"a.png": {"image/png": "QUJD"}}
    assert cells[3]["metadata"] == {"tags": ["keep-me"]}
    assert cells[3]["outputs"][0]["text"] == "new 1\n"


def test_nothing_is_written_when_a_cell_fails_or_the_page_would_show_another_scale(tmp_path):
    good = write(tmp_path / "01_good.ipynb", "1 + 1")
    bad = write(tmp_path / "02_bad.ipynb", "print('new')", "1 / 0")
    large = write(tmp_path / "03_large.ipynb", f"print('x' * {storing.LARGEST})")
    other = write(tmp_path / "04_other.ipynb", "1", parameters='scale = "laptop"')
    before = [path.read_bytes() for path in (bad, large, other)]
    results = storing.save([good, bad, large, other], out=tmp_path / "out")
    assert [path.read_bytes() for path in (bad, large, other)] == before
    assert storing.is_stored(good) == []
    sentences = [" ".join(each.problems) for each in results]
    assert sentences[0] == ""
    assert "ZeroDivisionError" in sentences[1]
    assert "the most is" in sentences[2]
    assert "scale = 'laptop'" in sentences[3]
    assert sorted(os.listdir(tmp_path)) == ["01_good.ipynb", "02_bad.ipynb", "03_large.ipynb", "04_other.ipynb", "out"]


def test_a_file_that_was_edited_while_its_notebook_ran_is_not_overwritten(tmp_path):
    edit = "from pathlib import Path\nfile = Path('01_a.ipynb')\nfile.write_text(file.read_text() + '\\n')"
    path = write(tmp_path / "01_a.ipynb", edit)
    before = path.read_text()
    (saved,) = storing.save([path], out=tmp_path / "out")
    assert "changed while its notebook ran" in saved.problems[0]
    assert path.read_text() == before + "\n"


def test_a_write_that_breaks_off_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = write(tmp_path / "01_a.ipynb", "1 + 1")
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(storing.os, "replace", fail)
    (saved,) = storing.save([path], out=tmp_path / "out")
    assert "could not be written: disk full" in saved.problems[0]
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["01_a.ipynb", "out"]
