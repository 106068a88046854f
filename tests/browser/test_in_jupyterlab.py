"""A page in a real JupyterLab: sliders move pictures, errors are seen, the exercises of the start page answer."""

import ast

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.lab import THEMES
from tests.browser.pages import SCREENSHOTS, move_every_slider, said, unwanted
from tests.project import ROOT

pytestmark = pytest.mark.browser
START = ROOT / "notebooks" / "00_start_here.ipynb"
EXPLORABLE = """\
import labkit
from labkit.figures import style
def draw(order=2, k=0.5):
    figure, axes = style.new()
    axes.bar([0, 1], [order, k])
    style.describe(figure, f"two bars, {order} and {k:.2f}")
    return figure
labkit.explore(draw, order=(1, 5), k=(0.0, 1.0))"""


def written(path, *sources):
    """A notebook of these code cells, written to a file."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources], metadata=kernel), path)
    return path


def test_a_slider_moves_its_picture_by_keyboard(open_notebook, tmp_path):
    page = open_notebook(written(tmp_path / "explorable.ipynb", EXPLORABLE))
    page.run_all()
    assert list(unwanted(page.cells())) == []
    assert len(page.sliders()) == 2
    move_every_slider(page)
    assert page.picture_beside(page.sliders()[0]).startswith("two bars, 3 and 0.51")
    for theme in THEMES:
        assert page.screenshots(SCREENSHOTS, "a-slider", theme)


def test_an_error_and_a_warning_on_a_page_are_seen(open_notebook, tmp_path):
    page = open_notebook(written(tmp_path / "broken.ipynb", "import sys\nprint('careful', file=sys.stderr)", "1 / 0"))
    page.run_all()
    assert list(unwanted(page.cells())) == [
        "cell 1 on stderr: careful\n",
        "cell 2: ZeroDivisionError: division by zero",
    ]


@pytest.mark.parametrize("path", [START] if START.is_file() else [], ids=lambda path: path.stem)
def test_the_exercises_of_the_start_page_answer_wrong_and_right(open_notebook, path):
    from labkit.workbench.checking import all_exercises

    page = open_notebook(path)
    page.run_all()
    exercises = [exercise for exercise in all_exercises() if exercise.notebook == path.stem]
    assert exercises
    for exercise in exercises:
        cell = next(
            cell for cell in page.cells() if cell["cell_type"] == "code" and f'"{exercise.id}"' in cell["source"]
        )
        assert "not started" in said(cell["outputs"])
        wrong = page.run_cell(cell["id"], filled(cell["source"], exercise, number=0))
        # A page shows the message as HTML or plain text; backquotes of the message are markup.
        assert exercise.wrong[0].message.replace("`", "") in said(wrong)
        assert f"{exercise.id}: correct" in said(page.run_cell(cell["id"], filled(cell["source"], exercise)))


def filled(source, exercise, *, number=None):
    """The source of a hole's cell, answered: with a wrong answer by its number, or else with the solution."""
    if exercise.kind == "value":
        answer = exercise.solution() if number is None else exercise.wrong[number].answer
        return ast.unparse(Fill(repr(answer() if callable(answer) else answer)).visit(ast.parse(source)))
    answer = "solution" if number is None else f"wrong[{number}].answer"
    found = f'labkit.workbench.checking.find("{exercise.id}")'
    return f'import labkit.workbench.checking\nlabkit.check("{exercise.id}")({found}.{answer});'


class Fill(ast.NodeTransformer):
    """Puts an answer in the place of `...`."""

    def __init__(self, answer):
        self.answer = ast.parse(answer, mode="eval").body

    def visit_Constant(self, node):
        return self.answer if node.value is ... else node
