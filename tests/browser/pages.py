"""What the tests do with every notebook of the course in a real JupyterLab, in one visit. They are two files."""

import os

from tests.browser import answering, axe, keyboard, layout
from tests.browser.lab import THEMES
from tests.project import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SCREENSHOTS = ROOT / "_screenshots"
SCREENS = int(os.environ.get("LABKIT_SCREENS", 1))  # of each page in each theme; a person who looks at them wants all
# The page whose first explorable is held against a golden picture of its own: all are made of the same parts.
WITH_EXPLORABLE = "00_start_here"
# The pages on which `make test` tries everything; on the others it runs all cells, draws all corners and moves every
# slider. `make visits` tries everything on every page, which takes minutes for each.
THOROUGH = ("00_start_here", "02_ngram_models")
EVERYWHERE = os.environ.get("LABKIT_VISITS") == "all"
CORNERS = """
def _labkit_corners():
    from labkit.workbench.explore import Explorer
    drawn, failed = 0, []
    for explorer in {id(shown): shown for shown in Out.values() if isinstance(shown, Explorer)}.values():
        at = explorer.values
        for corner in explorer.corners():
            explorer.set(**corner)
            drawn += 1
            failed += [f"{corner}: {explorer.error}"] if explorer.error else []
        explorer.set(**at)
    return [drawn, failed]
"""
# What a page of ours is: its text and its outputs. The bars, prompts and editors around them are JupyterLab's.
OUTPUTS = "#jp-main-dock-panel .jp-OutputArea-output"
OURS = ("#jp-main-dock-panel .jp-MarkdownOutput", OUTPUTS)  # the colours of the former are JupyterLab's
# And inside: the handle of a slider, which ipywidgets draws without a name and gives no way to name (the number box
# beside it does the same and has the name); the pilcrow beside a heading; the empty corner of a table of pandas.
NOT_OURS = (".noUi-handle", ".jp-InternalAnchorLink", ".dataframe thead th:empty", "th.blank")


def runs_and_everything_in_it_answers(open_notebook, path):
    """The whole page without an error, its looks, its explorables by keyboard, its exercises: every fault in a list."""
    page = open_notebook(path)
    page.run_all()
    if layout.writing():  # the golden pictures are wanted, and nothing else
        looked = [problem for theme in THEMES for problem in unlike_golden(page, path.stem, theme)]
        assert [*unwanted(page.cells()), *never_run(page.cells()), *looked] == []
        return
    problems = [*unwanted(page.cells()), *never_run(page.cells()), *failed_corners(page)]
    problems += thorough(page, path) if EVERYWHERE or path.stem in THOROUGH else brief(page, path.stem)
    assert problems == [], "\n".join(problems)


def thorough(page, path):
    """What is wrong with the looks in both themes, with any control at any end, with an exercise answered both ways."""
    yield from looks_wrong(page, path.stem)
    yield from dead_controls(page)
    for name, cell in exercises(page, path):
        yield from answering.answer(page, name, cell)


def unlike_golden(page, name, theme):
    """What is not where the golden pictures have it, in this theme, which stays; screenshots are taken here, too."""
    assert page.screenshots(SCREENSHOTS, name, theme, SCREENS)
    yield from layout.unlike(f"{name}-{theme}", layout.shot(page.page))
    if name == WITH_EXPLORABLE:
        (explorable, *_) = page.page.locator(keyboard.EXPLORABLES).all()
        yield from layout.unlike(f"{name}-explorable-{theme}", layout.shot(page.page, explorable))


def brief(page, name):
    """What is unlike the golden picture in either theme, and every slider that a key does not move, and its picture."""
    for theme in THEMES:
        yield from unlike_golden(page, name, theme)
    for output in keyboard.explorables(page):
        for handle in output.locator(".noUi-handle").all():
            if stuck := keyboard.stuck(output, handle):
                yield f"{name}: {stuck}"


def unwanted(cells):
    """Errors and whatever came on stderr, as sentences."""
    for place, cell in enumerate(cells, 1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield f"cell {place}: {output['ename']}: {output['evalue']}"
            elif output.get("name") == "stderr":
                yield f"cell {place} on stderr: {output['text']}"


def never_run(cells):
    """The code cells that did not run to the end of the page."""
    for place, cell in enumerate(cells, 1):
        if cell["cell_type"] == "code" and not cell["execution_count"]:
            yield f"cell {place} has not run"


def looks_wrong(page, name):
    """What is out of its place, unlike the golden pictures or unreadable for someone, in both themes."""
    for theme in THEMES:
        yield from unlike_golden(page, name, theme)
        yield from layout.broken(page.page)
        if theme == "light":  # all but the colours is the same in both
            yield from axe.faults(page.page, *OURS, leave_out=NOT_OURS, asked=axe.ALL_BUT_COLOURS)
        yield from axe.faults(page.page, OUTPUTS, leave_out=NOT_OURS, asked=axe.COLOURS)


def dead_controls(page):
    """Drives each control of each explorable by keyboard; names those at whose places the words are always the same."""
    for number, output in enumerate(keyboard.explorables(page), 1):
        words = {}
        try:
            for move in keyboard.drive(page, number - 1, output):
                words.setdefault(move.control, set()).add(move.words)
        except AssertionError as stuck:
            yield f"explorable {number}: {stuck}"
        for control in (name for name, said in words.items() if len(said) == 1):
            yield f"{control} of explorable {number} can be moved, and the words below the picture stay"


def failed_corners(page):
    """The corners of the page's explorables that cannot be drawn."""
    drawn, failed = page.asked("_labkit_corners()", CORNERS)
    explorables = sum("labkit.explore(" in cell["source"] for cell in page.cells() if cell["cell_type"] == "code")
    return failed if drawn >= 4 * explorables else [f"{explorables} explorables and only {drawn} corners", *failed]


def exercises(page, path):
    """On the start page every exercise, on the others the first one that has a hole of its own."""
    found = list(answering.holes(page).items())
    assert found, "a page without an exercise"
    return found if path.stem.startswith("00") else found[:1]
