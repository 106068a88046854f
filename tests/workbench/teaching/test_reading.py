import io
import json
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.workbench import notebooks
from labkit.workbench.grading.handing_in import reading
from labkit.workbench.grading.handing_in.extracting import extract
from labkit.workbench.grading.handing_in.handedout import page
from labkit.workbench.grading.handing_in.reading import MOST_BYTES, NotReadable, read_notebook
from tests.workbench.notebook_files import code, notebook, stream

REAL = (notebooks.folder() / "00_start_here.ipynb").read_bytes()
PAGE = page(REAL, "00_start_here")


def raw(*cells, **changes):
    return json.dumps({**notebook(*cells), **changes}).encode()


def refusal(content, called="ada/02.ipynb"):
    with pytest.raises(NotReadable) as refused:
        read_notebook(content, called)
    said = str(refused.value)
    assert called in said and "\n" not in said and len(said) < 400
    return said


def docx():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"%PDF-1.7 ...", "is a PDF"),
        (docx(), "a document of a word processor"),
        (b"\x1f\x8b\x08...", "gzip"),
        (b"<!DOCTYPE html><html><body>02</body></html>", "web page"),
        (b"\xef\xbb\xbf\n<html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "only a pointer"),
        (b"import numpy as np\n\ndef follower(text, word):\n    return None\n", "holds other text"),
        (REAL[: len(REAL) // 2], "cut off"),
        (REAL.rstrip()[:-1], "cut off"),
        (REAL.replace(b'"cells"', b"\n<<<<<<< HEAD\n\"cells\"", 1), "conflict markers"),
        (REAL.replace(b'"cells": [', b'"cells": [,', 1), "damaged"),
        (b'{"cells": [], "nbformat\x00": 4}', "NUL bytes"),
        (b"null", "not a notebook"),
        (b"{}", "no list of cells"),
        (b'{"nbformat": 3, "worksheets": []}', "format 3"),
        (raw(code(), nbformat=5), "format 5"),
        (raw(), "without any cell"),
        (raw(cells=7), "no list of cells"),
        (raw(cells=[1, None, []]), "without any cell"),
        (b'{"cells": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested deeper"),
        (raw(*[code()] * 10_001), "10,001 cells"),
    ],
)  # fmt: skip
def test_what_is_no_notebook_is_refused_with_what_it_is(content, words):
    assert words in refusal(content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_notebook_is_read_in_any_encoding_that_an_editor_writes(encoding):
    cells = read_notebook(json.dumps(notebook(code("x = 'Zoë 王'")), ensure_ascii=False).encode(encoding), "x").cells
    assert [cell.source for cell in cells] == ["x = 'Zoë 王'"]


def test_letters_of_windows_are_read_with_a_note():
    found = read_notebook(json.dumps(notebook(code("# Zoë")), ensure_ascii=False).encode("cp1252"), "x")
    assert found.cells[0].source == "# Zoë" and "not UTF-8" in found.notes[0]


@pytest.mark.parametrize("cell", [
    {"cell_type": 4, "source": ""}, {"cell_type": "code", "source": {"a": 1}}, "text", {"source": "x"}, None,
])  # fmt: skip
def test_a_broken_cell_is_left_out_and_the_others_are_read(cell):
    found = read_notebook(raw(cell, code("x = 1")), "x")
    assert [each.source for each in found.cells] == ["x = 1"] and "1 cells of the file are broken" in found.notes[0]


def test_wrong_types_everywhere_else_do_no_harm():
    cell = {"cell_type": "code", "source": ["a = 1\r\n", 7, "b = '\ud800'"], "metadata": [1], "id": 9, "outputs": "?"}
    found = read_notebook(raw(cell, metadata="none", nbformat="4"), "x")
    assert found.cells[0].source == "a = 1\nb = '\ufffd'" and found.cells[0].id == "" and found.metadata == {}


def test_numbers_of_thousands_of_digits_and_keys_that_stand_twice_are_read():
    cell = '{"cell_type": "code", "source": "a", "source": "b", "execution_count": ' + "9" * 5000 + ', "metadata": {}}'
    found = read_notebook(f'{{"nbformat": 4, "cells": [{cell}]}}'.encode(), "x")
    assert found.cells[0].source == "b" and "stands twice" in found.notes[0]


def test_outputs_of_fifty_megabytes_are_dropped_while_they_are_read():
    many = stream("1\n" * 15_000_000), stream(['"outputs": [\n', "]\\\n"] * 100_000)
    content = raw(code("x = 1", many), code("y = 2", [stream("é" * 500_000)] * 10), code("'outputs'", [[many[0]], "]"]))
    tracemalloc.start()
    found = read_notebook(content, "x")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [cell.source for cell in found.cells] == ["x = 1", "y = 2", "'outputs'"]
    assert kept < 100_000 and peak < 2 * len(content)


def test_more_values_than_fit_into_memory_are_refused_before_they_are_parsed(monkeypatch):
    monkeypatch.setattr(reading, "MOST_VALUES", 20_000)
    monkeypatch.setattr(reading.json, "loads", None)
    many = b'{"nbformat": 4, "cells": [%s1]}'
    assert "clear the outputs" in refusal(many % (b"[]," * 400_000))
    assert "clear the outputs" in refusal(many % (b"1," * 600_000))


def test_a_file_over_the_limit_is_refused_unparsed():
    class Huge(bytes):
        def __len__(self):
            return MOST_BYTES + 1

    assert "210 MB" in refusal(Huge(b"{}")) and "clear the outputs" in refusal(Huge(b"{}"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["code", "4", "raw"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("id"), inner, max_size=3),
    max_leaves=6,
)


def places(tree, path=()):
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


PLACES = [path for path in places(json.loads(REAL)) if path]


def mutated(changes):
    tree = json.loads(REAL)
    for path, value in changes:
        home = tree
        try:
            for key in path[:-1]:
                home = home[key]
            home[path[-1]] = value
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
    return tree


def is_read_or_refused(content):
    try:
        found = read_notebook(content, "x.ipynb")
    except NotReadable as refused:
        assert "x.ipynb" in str(refused) and "\n" not in str(refused)
        return
    answers = extract(found, PAGE)
    assert answers.answers.keys() | answers.missing == PAGE.exercises.keys()
    assert all("\n" not in note for note in answers.notes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=4))
def test_whatever_is_changed_in_a_notebook_it_is_read_or_refused(changes):
    is_read_or_refused(json.dumps(mutated(changes)).encode())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(REAL)), st.binary(max_size=8), st.integers(0, 300))
def test_whatever_bytes_are_changed_it_is_read_or_refused(place, inserted, dropped):
    is_read_or_refused(REAL[:place] + inserted + REAL[place + dropped :])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["next-word", "guess", "claim", "parameters"]))
def test_whatever_is_typed_into_a_cell_the_others_are_read(text, cell):
    tree = json.loads(REAL)
    next(each for each in tree["cells"] if each["id"] == cell)["source"] = text
    is_read_or_refused(json.dumps(tree).encode())
