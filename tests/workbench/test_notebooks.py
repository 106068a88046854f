import ast
import json
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.workbench import notebooks, report
from tests.project import ROOT
from tests.workbench.notebook_files import CLAIM_TYPE, course, write

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(notebooks.FOLDER_VARIABLE, raising=False)
    return course(
        tmp_path, n00_start_here=["1"], n02_ngram_models=["1"], n06_attention_math=["1"], n16_data_parallel=["1"]
    )


@pytest.mark.parametrize(
    "name",
    ["02", "2", "02_ngram_models", "02_ngram_models.ipynb", "ngram", "ngram_models", "ngram-models", "NGRAM", "gram"],
)
def test_a_notebook_is_found_by_number_name_topic_or_part_of_it(folder, name):
    assert notebooks.find([name]) == [folder / "02_ngram_models.ipynb"]


def test_no_name_means_every_notebook_in_teaching_order(folder):
    assert [path.stem[:2] for path in notebooks.find()] == ["00", "02", "06", "16"]


def test_names_keep_their_order_and_count_once(folder):
    assert [path.stem[:2] for path in notebooks.find(["06", "02", "ngram"])] == ["06", "02"]


def test_a_number_that_two_pages_share_means_both(folder):
    second = write(folder / "06_attention_again.ipynb", "1")
    assert notebooks.find(["6"]) == [second, folder / "06_attention_math.ipynb"]


def test_a_path_outside_the_course_is_taken_as_it_is(folder, tmp_path):
    mine = write(tmp_path / "elsewhere" / "mine.ipynb", "1")
    assert notebooks.find([mine]) == [mine]
    assert notebooks.find([str(mine.parent)]) == [mine]


def test_notebooks_are_found_from_a_folder_below_the_checkout_and_from_their_own(folder, monkeypatch):
    (folder.parent / "labkit" / "deep").mkdir(parents=True)
    for place in (folder.parent / "labkit" / "deep", folder):
        monkeypatch.chdir(place)
        assert notebooks.folder() == folder


def test_the_environment_names_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv(notebooks.FOLDER_VARIABLE, str(folder))
    assert notebooks.folder() == folder
    monkeypatch.setenv(notebooks.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"nowhere.*is no folder"):
        notebooks.folder()


def test_from_any_folder_a_checkout_finds_its_own_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(notebooks.FOLDER_VARIABLE, raising=False)
    assert notebooks.folder() == ROOT / "notebooks"


def test_without_a_checkout_the_message_says_where_it_looked_and_what_to_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebooks, "CHECKOUT", tmp_path / "lib")
    monkeypatch.delenv(notebooks.FOLDER_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=rf"{tmp_path}.*{notebooks.FOLDER_VARIABLE}"):
        notebooks.find(["02"])


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("ngrams_model", "02_ngram_models"), ("02_ngrm_models", "02_ngram_models"), ("atention", "06_attention_math")],
)
def test_a_mistyped_name_gets_the_nearest_right_one(folder, wrong, right):
    with pytest.raises(ValueError, match=f"did you mean '{right}'"):
        notebooks.find([wrong])


@pytest.mark.parametrize("wrong", ["", "99", "zzzz"])
def test_a_name_near_nothing_gets_the_list(folder, wrong):
    with pytest.raises(ValueError, match="known: 00_start_here, 02_ngram_models"):
        notebooks.find([wrong])


def test_a_mistyped_path_gets_the_nearest_file_beside_it(folder):
    with pytest.raises(ValueError, match=r"02_ngram_models.ipynb"):
        notebooks.find([folder / "02_ngram_model.ipynb"])


def test_a_name_that_fits_several_is_refused_with_all_of_them(folder):
    with pytest.raises(ValueError, match="00_start_here, 16_data_parallel"):
        notebooks.find(["ta"])


def test_the_bootstrap_is_five_lines_of_python_with_the_address_from_pyproject():
    address = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    ast.parse(notebooks.BOOTSTRAP)
    assert len(notebooks.BOOTSTRAP.splitlines()) <= 5
    assert f'"git+{address}"' in notebooks.BOOTSTRAP
    assert address == notebooks.REPOSITORY
    assert address not in notebooks.BOOTSTRAP_TEMPLATE


@pytest.mark.parametrize(
    ("found", "environment", "installed"),
    [
        (True, {}, []),
        (False, {}, ["git+https://example.org/course"]),
        (False, {"PIP_NO_INDEX": "1"}, ["llm-labkit"]),
    ],
)
def test_the_bootstrap_installs_only_a_missing_package_and_nothing_beside_it(
    monkeypatch, found, environment, installed
):
    class Shell:
        def run_line_magic(self, name, line):
            self.lines.append((name, line))

    shell = Shell()
    shell.lines = []
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if found else None)
    source = notebooks.BOOTSTRAP_TEMPLATE.format(repository="https://example.org/course")
    exec(compile(source, "bootstrap", "exec"), {"get_ipython": lambda: shell})
    assert shell.lines == [("pip", f"install --quiet --no-deps {course}") for course in installed]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("not json", "garbage.ipynb is not a notebook: it is not JSON"),
        ('{"cells": []', "garbage.ipynb is not a notebook: it is not JSON"),
        ("[1, 2]", "no list of cells"),
        ('{"nbformat": 3, "worksheets": []}', "no list of cells"),
        ('{"nbformat": 3, "cells": []}', "nbformat 3, expected 4"),
        ('{"nbformat": 4, "cells": [1]}', "cell 1 of garbage.ipynb has no cell_type"),
        ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": "", "outputs": 3}]}', "broken outputs"),
        (b"\xff\xfe\x00", "it is not JSON"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "garbage.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=sentence):
        notebooks.read(path)


@pytest.mark.parametrize(
    "source",
    ['scale = "ci"\nseed = 0', 'scale: str = "laptop"  # a comment\nseed = 3', "rate = 0.5\nseed=-1\nnames = ['a']"],
)
def test_parameters_are_those_papermill_finds(tmp_path, monkeypatch, source):
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    path = write(tmp_path / "a.ipynb", parameters=source)
    monkeypatch.setattr("papermill.inspection.nb_kernel_name", lambda nb, name: "python3")
    monkeypatch.setattr("papermill.inspection.nb_language", lambda nb, language: "python")
    theirs = {name: ast.literal_eval(each["default"]) for name, each in papermill.inspect_notebook(str(path)).items()}
    assert notebooks.parameters(notebooks.read(path)) == theirs


@pytest.mark.parametrize("source", ["", "def broken(:"])
def test_a_cell_without_readable_parameters_has_none(tmp_path, source):
    assert notebooks.parameters(notebooks.read(write(tmp_path / "a.ipynb", parameters=source))) == {}


@given(st.lists(st.dictionaries(st.sampled_from(["statement", "passed"]), st.text() | st.booleans(), min_size=1)))
def test_claims_come_back_in_order_from_any_outputs(records):
    shown = [{"output_type": "display_data", "metadata": {}, "data": {CLAIM_TYPE: record}} for record in records]
    other = [{"output_type": "stream", "name": "stdout", "text": "x"}, {"output_type": "display_data", "data": {}}]
    cells = [{"cell_type": "code", "source": "", "outputs": [*other, each]} for each in shown]
    found = notebooks.claims_in(json.loads(json.dumps({"cells": cells})))
    assert found == [{**notebooks.NO_CLAIM, **record} for record in records]


def test_a_record_that_lacks_a_part_is_a_claim_that_does_not_hold():
    shown = [{"output_type": "display_data", "data": {CLAIM_TYPE: {"statement": "x", "measured": 1}}}]
    (record,) = notebooks.claims_in({"cells": [{"cell_type": "code", "source": "", "outputs": shown}]})
    assert record == {"kind": "unknown", "statement": "x", "measured": 1, "expected": None, "passed": False}
    assert "0 of 1 unknown" in report.claims_table([{"notebook": "a", **record}])


def test_scales_are_those_of_the_session():
    from labkit.workbench import session

    assert notebooks.SCALES == session.SCALES
