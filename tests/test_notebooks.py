"""Every notebook keeps the rules of `notebook_rules.py`, and every rule fires on a notebook that breaks it."""

import copy
import re

import nbformat
import pytest

from tests import notebook_rules as rules
from tests.project import ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
BOOTSTRAP = "import labkit"


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_rules(path):
    from labkit.workbench.notebooks import bootstrap

    assert rules.problems(read(path), bootstrap=bootstrap(), folder=FOLDER) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_in_its_normal_form(path):
    from labkit.workbench.storing import is_stored

    assert is_stored(path) == []


def test_no_definition_stands_in_two_notebooks():
    assert rules.repeated({path.stem: read(path) for path in NOTEBOOKS}) == []


def notebook():
    """A notebook that keeps every rule, small enough to be broken in one place at a time."""
    cells = [
        markdown("title", "# Words\n\nWhat you will count, and [the next page](next.ipynb)."),
        code("bootstrap", BOOTSTRAP),
        code("parameters", 'scale = "ci"\nseed = 0', tags=["parameters"]),
        markdown("start", "## By hand"),
        code("count", "def count(text):\n    return len(text.split())\n\n\nlab = labkit.start(scale, seed)"),
        code("use-it", "print(count('a b'), lab)", stream="2 lab\n"),
        markdown("your-turn", "### Your turn\n\n![three bars](next.ipynb)"),
        code("exercise", "@labkit.check('ngrams.mle')\ndef answer(counts): ..."),
        code("picture", "lab", html='<img alt="three bars" src="data:image/png;base64,AAAA">'),
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def markdown(name, source):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(name, source, *, tags=(), stream="", html=""):
    outputs = [{"output_type": "stream", "name": "stdout", "text": stream}] if stream else []
    outputs += [{"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}] if html else []
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "id": name, "metadata": metadata, "source": source, "outputs": outputs}


def put(place, key, value):
    """A change that sets one entry of one cell."""
    return lambda page: page["cells"][place].update({key: value})


def shown(**data):
    """A change that gives the last cell one output of these mime types, `_` standing for `/`."""
    output = {"output_type": "display_data", "data": {key.replace("_", "/"): value for key, value in data.items()}}
    return put(-1, "outputs", [output])


BREACHES = {
    "16 lines of code": put(5, "source", "print(lab, count)\n" * 16),
    "more than one in five": lambda page: [put(place, "source", "print(lab, count)\n" * 11)(page) for place in (5, 8)],
    "81 words": put(3, "source", "word " * 81),
    "code cell number 3 in a row": lambda page: page["cells"].insert(5, code("more", "lab")),
    "not the bootstrap cell": put(1, "source", "import labkit as lk"),
    "there must be one cell tagged `parameters`": put(2, "metadata", {}),
    'with scale = "ci" and seed = 0': put(2, "source", 'scale = "gpu"\nseed = 0'),
    "`count` is defined and never used": put(5, "source", "print(lab)"),
    "`total` is defined and never used": put(8, "source", "total = count('a')"),
    "`again` is defined and never used": put(8, "source", "def again(n):\n    return again(n - 1)"),
    "not plain Python": put(8, "source", "!ls"),
    "the id '3f2a9c01' says nothing": put(8, "id", "3f2a9c01"),
    "the id 'cell-9' says nothing": put(8, "id", "cell-9"),
    "metadata.widgets": lambda page: page["metadata"].update(widgets={}),
    "raw": lambda page: page["cells"].append({**markdown("bare", "x"), "cell_type": "raw"}),
    "use a tag": put(8, "source", "# NBVAL_IGNORE_OUTPUT\nlab"),
    "one title": put(3, "source", "# Second title"),
    "level 4 follows one of level 2": put(6, "source", "#### Deep"),
    "stores error": put(8, "outputs", [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]),
    "stores stderr": put(8, "outputs", [{"output_type": "stream", "name": "stderr", "text": "warning"}]),
    "stores image/png": shown(image_png="AAAA"),
    "stores application/vnd.jupyter.widget-view+json": shown(**{"application/vnd.jupyter.widget-view+json": {}}),
    "drawn and not shown; draw it in the last": put(8, "source", "lab, pictures.draw_a(1)\npictures.draw_a(lab);"),
    "drawn and not shown": put(8, "source", "draw_a(lab)\nlab"),
    "<img src=": shown(text_html='<img src="data:image/png;base64,AAAA">'),
    '<img alt=" "': shown(text_html='<img alt=" " src="x">'),
    "![](next.ipynb) has no alt text": put(6, "source", "![](next.ipynb)"),
    "<svg> without a name": shown(text_html="<svg width=3></svg>"),
    "the absolute path /home/a": put(8, "source", "open('/home/a/b.txt'), lab"),
    "the absolute path C:": put(8, "source", r"open('C:\\data'), lab"),
    "the absolute path /usr/l": shown(text_plain="at /usr/lib/python3"),
    "leads nowhere": put(0, "source", "# Words\n\n[there](gone.ipynb#part)"),
}


def breaches(page, folder):
    (folder / "next.ipynb").touch()
    return rules.problems(page, bootstrap=BOOTSTRAP, folder=folder)


def test_a_notebook_that_keeps_the_rules_has_no_problems(tmp_path):
    assert breaches(notebook(), tmp_path) == []


@pytest.mark.parametrize("problem", BREACHES)
def test_a_broken_rule_is_named(tmp_path, problem):
    page = copy.deepcopy(notebook())
    BREACHES[problem](page)
    found = breaches(page, tmp_path)
    assert any(problem in sentence for sentence in found), found


def test_every_rule_has_been_seen_to_fire(tmp_path):
    fired = set()
    for change in BREACHES.values():
        page = notebook()
        change(page)
        every = (rules.budget, rules.pauses, rules.parameters, rules.definitions, rules.structure)
        every += (rules.headings, rules.outputs, rules.pictures, rules.alt_texts, rules.paths)
        fired |= {rule.__name__ for rule in every if rule(page)}
    assert len(fired) == 10


def test_a_definition_in_two_notebooks_is_named():
    other = notebook()
    other["cells"][4]["source"] = other["cells"][4]["source"].replace("def count", "def number")
    assert any("len(text.split())" in sentence for sentence in rules.repeated({"a": notebook(), "b": other}))
    assert rules.repeated({"a": notebook()}) == []


def test_words_are_counted_as_a_reader_counts_them():
    assert rules.words("Zipf's law: $f(r) = 1/r$ in **two** [links](https://example.org/a/b)") == 6
    assert rules.words("$$\na + b = c\n$$\n三国演义 is a novel") == 2 + 3
    assert re.search(rules.ABSOLUTE, "<b>a</b> and/or 1/2 https://example.org/home/a") is None
