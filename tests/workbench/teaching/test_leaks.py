"""The gate of a release: no false alarm on the course's own pages, and no solution gets past it, however planted."""

import ast
import base64
import html
import json
import textwrap
import urllib.parse

import pytest

from labkit.workbench import notebooks, showing
from labkit.workbench.checking import all_exercises
from labkit.workbench.releasing import traces
from labkit.workbench.releasing.leaks import leaks
from tests.project import ROOT

EXERCISES = all_exercises()
FUNCTIONS = [exercise for exercise in EXERCISES if exercise.kind == "function"]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def code(source, **more):
    return {"cell_type": "code", "id": "planted", "source": source, "metadata": {}, "outputs": [], **more}


def text(source, **more):
    return {"cell_type": "markdown", "id": "planted", "source": source, "metadata": {}, **more}


def source_of(exercise):
    return showing.source_of(exercise.solution)


class Renamed(ast.NodeTransformer):
    """Every argument and every name that a function gives itself gets another name."""

    def __init__(self, function):
        inside = list(ast.walk(function))
        given = [node.arg for node in inside if isinstance(node, ast.arg)]
        given += [node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        self.names = {name: f"zz_{number}" for number, name in enumerate(dict.fromkeys(given))}

    def visit_Name(self, node):
        return ast.Name(self.names.get(node.id, node.id), node.ctx)

    def visit_arg(self, node):
        return ast.arg(self.names[node.arg])


def renamed(source):
    function = ast.parse(source).body[0]
    function.name = "mine"
    return ast.unparse(ast.fix_missing_locations(Renamed(function).visit(function)))


def moved(source):
    function = ast.parse(source).body[0]
    arguments = ast.unparse(function.args)
    body = textwrap.indent("\n".join(map(ast.unparse, function.body)), "        ")
    return f"class Aid:\n    def other({arguments}):\n        print('begin')\n{body}"


def with_other_blanks(source):
    """A docstring and a comment more, tabs for blanks, an empty line after each line."""
    function = ast.parse(source).body[0]
    lines = [f"{line}  # {number}" for number, line in enumerate(ast.unparse(function).splitlines())]
    at = 1
    lines.insert(at, '    """Quite another docstring."""')
    return "\n\n".join(line.replace("    ", "\t") for line in lines)


def output(**data):
    return [{"output_type": "display_data", "metadata": {}, "data": {k.replace("_", "/"): v for k, v in data.items()}}]


def attached(source):
    return {"note.txt": {"text/plain": base64.b64encode(source.encode()).decode()}}


PLANTED = {
    "as it is": lambda s: notebook(code(s)),
    "with other names": lambda s: notebook(code(renamed(s))),
    "with other blanks and words": lambda s: notebook(code(with_other_blanks(s))),
    "in a method of a class": lambda s: notebook(code(moved(s))),
    "behind a magic": lambda s: notebook(code(f"%%time\n{s}")),
    "in a comment": lambda s: notebook(code("x = 1\n" + textwrap.indent(s, "# ", lambda line: True))),
    "in a string": lambda s: notebook(code(f"answer = {s!r}")),
    "in bytes": lambda s: notebook(code(f"answer = {s.encode()!r}")),
    "in base64": lambda s: notebook(code(f"answer = '{base64.b64encode(s.encode()).decode()}'")),
    "in a text": lambda s: notebook(text(f"Look:\n\n```python\n{s}\n```\n")),
    "quoted in a text": lambda s: notebook(text(textwrap.indent(s, "> ", lambda line: True))),
    "renamed in a text": lambda s: notebook(text(f"So:\n\n{renamed(s)}\n\nThat is all.")),
    "in a raw cell": lambda s: notebook({**text(s), "cell_type": "raw"}),
    "printed": lambda s: notebook(code("1", outputs=[{"output_type": "stream", "name": "stdout", "text": s}])),
    "in HTML": lambda s: notebook(code("1", outputs=output(text_html=f"<pre>{html.escape(s)}</pre>"))),
    "highlighted": lambda s: notebook(code("1", outputs=output(text_html=showing.source_html(s, "f", "")))),
    "in JSON": lambda s: notebook(code("1", outputs=output(application_json={"answer": [s]}))),
    "in a traceback": lambda s: notebook(
        code("1", outputs=[{"output_type": "error", "ename": "E", "evalue": "", "traceback": s.splitlines()}])
    ),
    "attached": lambda s: notebook(text("![](attachment:note.txt)", attachments=attached(s))),
    "in a cell's metadata": lambda s: notebook({**code("1"), "metadata": {"note": {"deep": [s]}}}),
    "in widgets": lambda s: notebook(code("1"), widgets={"state": {"a": {"value": json.dumps({"v": s})}}}),
}

THOROUGH = {"as it is", "with other names", "in a text"}  # every exercise; of the other ways every eighth, in turn


@pytest.mark.parametrize("way", PLANTED)
def test_every_solution_is_found_however_it_is_planted(way):
    some = FUNCTIONS if way in THOROUGH else FUNCTIONS[list(PLANTED).index(way) % 8 :: 8]
    found = {exercise.id: leaks(PLANTED[way](source_of(exercise)), EXERCISES) for exercise in some}
    missed = [name for name, sentences in found.items() if not any(repr(name) in each for each in sentences)]
    assert not missed


def test_the_sentence_names_the_cell_and_the_exercise():
    exercise = next(each for each in FUNCTIONS if each.id == "ngrams.bigrams")
    assert leaks(notebook(code(source_of(exercise))), EXERCISES) == [
        "the solution of 'ngrams.bigrams' stands in cell 'planted'"
    ]


WITH_OUTPUTS = ("06", "07", "09")  # there an output of `show` has the statements of a solution


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_of_the_course_gives_a_false_alarm(path):
    page = notebooks.read(path)
    if path.stem[:2] not in WITH_OUTPUTS:
        page["cells"] = [{**cell, "outputs": []} for cell in page["cells"]]
    assert leaks(page, EXERCISES) == []


def test_every_expression_that_is_taught_would_give_one(monkeypatch):
    pages = [notebooks.read(path) for path in PAGES if path.stem[:2] in ("02", "07", "20")]
    for page in pages:
        page["cells"] = [{**cell, "outputs": []} for cell in page["cells"] if cell["cell_type"] == "code"]
    monkeypatch.setattr(traces, "TAUGHT", {})
    taught = [exercise for exercise in EXERCISES if exercise.id in TAUGHT]
    found = "\n".join(sentence for page in pages for sentence in leaks(page, tuple(taught)))
    assert [name for name in TAUGHT if name not in found] == []


TAUGHT = dict(traces.TAUGHT)


@pytest.mark.parametrize(
    "line",
    [
        "y = loss * tokens / math.log(2) / size",
        "y = a * b / np.log(2) / c",
        "bits = lambda a, b, c: a * b / log(2) / c",
        "from math import log as ln\nprint(a * b / ln(2) / c)",
        "def f(a, b, c):\n    result = (a * b) / math.log(2) / c\n    return result",
    ],
)
def test_the_expression_of_a_one_line_solution_is_known_alone(line):
    assert any("'pretraining.bits_per_byte'" in each for each in leaks(notebook(code(line)), EXERCISES))


@pytest.mark.parametrize("line", ["y = a * b / np.log(3) / c", "y = a * a / np.log(2) / c", "y = a / b ** c", "..."])
def test_a_formula_that_is_only_like_an_answer_is_none(line):
    assert leaks(notebook(code(line)), EXERCISES) == []


def test_a_short_solution_is_known_by_its_return():
    planted = "def f(a, b, c):\n    return a / b ** c"
    assert any("'pretraining.length_score'" in each for each in leaks(notebook(code(planted)), EXERCISES))


@pytest.mark.parametrize(
    "source",
    [
        '@labkit.check("ngrams.bigrams")\ndef pairs(sentence):\n    return 1',
        '@labkit.check("ngrams.bigrams")\ndef pairs(sentence):\n    ...  # zip them',
        '@labkit.check("ngrams.bigrams")\ndef pairs(sentence):\n    "zip them"\n    ...',
        'help_me = 3\n@labkit.check("ngrams.bigrams")\ndef pairs(sentence):\n    ...',
        '@labkit.check("ngrams.bigrams")\ndef pairs(sentence, aid=lambda s: s):\n    ...',
        '@labkit.check("ngrams.bigrams")\ndef pairs(sentence):\n    return labkit.ngrams.pad(sentence)',
        'labkit.check("workbench.sequences", 10**12)',
        'answer = 10**12\nlabkit.check("workbench.sequences", answer)',
        'labkit.check("attention.score_variance", 1024)',
        'x = labkit.given("attention.score_variance")[0] * 16\nlabkit.check("attention.score_variance", ...)',
    ],
)
def test_whatever_stands_in_a_hole_is_a_leak(source):
    assert len(leaks(notebook(code(source)), EXERCISES)) >= 1


@pytest.mark.parametrize(
    "source",
    [
        '@labkit.check("ngrams.bigrams")\ndef pairs(sentence):\n    ...',
        "@labkit.check('ngrams.bigrams')\ndef pairs( sentence ):\n\n    ...\n",
        'answer = ...\nlabkit.check("workbench.sequences", answer)',
        'labkit.check("workbench.sequences", ...)',
        'x, y = labkit.given("attention.score_variance")\nlabkit.check("attention.score_variance", ...)',
        'print("{}".format(*labkit.given("attention.score_variance")))\nlabkit.check("attention.score_variance", ...)',
    ],
)
def test_a_hole_is_none(source):
    assert leaks(notebook(code(source)), EXERCISES) == []


@pytest.mark.parametrize("number", ["1_000_000_000_000", "1000000000000", "1,000,000,000,000", "1 000 000 000 000"])
def test_the_number_that_answers_a_question_is_a_leak_in_a_text(number):
    found = leaks(notebook(text(f"There are {number} of them.")), EXERCISES)
    assert found == ["the solution of 'workbench.sequences' stands in cell 'planted' (text)"]


def test_a_solution_in_an_output_is_found_although_the_package_is_shown_beside_it():
    from labkit.ngrams import pad

    exercise = next(each for each in FUNCTIONS if each.id == "ngrams.bigrams")
    shown = showing.source_of(pad) + "\n\n" + source_of(exercise)
    page = notebook(code("labkit.show(pad)", outputs=[{"output_type": "stream", "name": "stdout", "text": shown}]))
    assert any("'ngrams.bigrams'" in each for each in leaks(page, EXERCISES))


@pytest.mark.parametrize("exercise", ["ngrams.mixture", "ngrams.viterbi_step"])
@pytest.mark.parametrize("attribute", ["alt", "title", "aria-label", "srcdoc"])
def test_a_solution_in_the_words_of_a_picture_is_found(exercise, attribute):
    source = html.escape(source_of(next(each for each in FUNCTIONS if each.id == exercise)))
    shown = [{"output_type": "display_data", "data": {"text/html": f'<img {attribute}="{source}">'}, "metadata": {}}]
    assert any(repr(exercise) in each for each in leaks(notebook(code("x = 1", outputs=shown)), EXERCISES))


@pytest.mark.parametrize("coded", [lambda s: s.encode().hex(), urllib.parse.quote])
def test_a_solution_in_hexadecimals_or_in_an_address_is_found(coded):
    source = source_of(next(each for each in FUNCTIONS if each.id == "ngrams.perplexity"))
    assert any("'ngrams.perplexity'" in each for each in leaks(notebook(code(f"kept = {coded(source)!r}")), EXERCISES))


def test_a_sentence_before_the_solution_hides_nothing():
    source = source_of(next(each for each in FUNCTIONS if each.id == "ngrams.mixture"))
    said = source.replace("Linear interpolation from the uniform distribution up", "So it is done")
    assert any("'ngrams.mixture'" in each for each in leaks(notebook(text(f"Look: {said})")), EXERCISES))
