"""Exercises of a page answered wrong, then right, by the answers that the exercise engine has of them."""

import ast
import re

# In the page's kernel, so that the tests need not import the whole course.
ASKED = """
def _labkit_exercise(name):
    from labkit.workbench.checking import find
    found = find(name)
    def spelled(answer):
        return repr(answer() if callable(answer) else answer) if found.kind == "value" else ""
    wrong = found.wrong[0]
    return {"kind": found.kind, "message": wrong.message, "wrong": spelled(wrong.answer),
            "right": spelled(found.solution)}
"""
CALLED = re.compile(r'labkit\.check\("([a-z_0-9.]+)"')


def holes(page):
    """The cells that ask an exercise, by its id."""
    cells = [cell for cell in page.cells() if cell["cell_type"] == "code" and "..." in cell["source"]]
    return {found[1]: cell for cell in cells if (found := CALLED.search(cell["source"]))}


def answer(page, name, cell):
    """Answers one exercise wrong, then right; gives what is wrong with what the page says to that."""
    exercise, problems = page.asked(f"_labkit_exercise({name!r})", ASKED), []
    said = page.shown(cell["id"])
    if "not started" not in said:
        problems.append(f"{name}: its hole says {said!r}")
    # A page shows backquotes of a message as markup.
    for which, wanted in (("wrong", exercise["message"].replace("`", "")), ("right", f"{name}: correct")):
        page.run_cell(cell["id"], filled(cell["source"], name, exercise, which))
        said = page.shown(cell["id"])
        if " ".join(wanted.split()) not in said:
            problems.append(f"{name}: the {which} answer is met by {said!r}, not by {wanted!r}")
    return problems


def filled(source, name, exercise, which):
    """The source of a hole's cell with an answer in it: a value, or the engine's own function."""
    if exercise["kind"] == "value":
        return ast.unparse(Fill(exercise[which]).visit(ast.parse(source)))
    answer = "solution" if which == "right" else "wrong[0].answer"
    return f'import labkit.workbench.checking as engine\nlabkit.check("{name}")(engine.find("{name}").{answer});'


class Fill(ast.NodeTransformer):
    """Puts an answer in the place of `...`."""

    def __init__(self, answer):
        self.answer = ast.parse(answer, mode="eval").body

    def visit_Constant(self, node):
        return self.answer if node.value is ... else node
