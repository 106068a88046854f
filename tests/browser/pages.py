"""What the tests do with every notebook of the course in a real JupyterLab. They are two files, for two workers."""

import os

from tests.browser.lab import THEMES
from tests.project import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SCREENSHOTS = ROOT / "_screenshots"
SCREENS = int(os.environ.get("LABKIT_SCREENS", 1))  # of each page in each theme; a person who looks at them wants all
CORNERS = """\
from labkit.workbench.explore import Explorer
drawn, failed = 0, []
for explorer in [shown for shown in Out.values() if isinstance(shown, Explorer)]:
    for corner in explorer.corners():
        explorer.set(**corner)
        drawn += 1
        failed += [f"{corner}: {explorer.error}"] if explorer.error else []
print(drawn, "corners drawn,", len(failed), "failed", *failed, sep=" ")"""


def runs_and_its_sliders_move_its_pictures(open_notebook, path):
    """The whole page without an error or a word on stderr, every slider moved, every corner drawn, in both themes."""
    page = open_notebook(path)
    page.run_all()
    assert list(unwanted(page.cells())) == []
    assert all(cell["execution_count"] for cell in page.cells() if cell["cell_type"] == "code")
    explorables = sum("labkit.explore(" in cell["source"] for cell in page.cells() if cell["cell_type"] == "code")
    assert len(page.sliders()) >= explorables
    move_every_slider(page)
    for theme in THEMES:
        assert page.screenshots(SCREENSHOTS, path.stem, theme, SCREENS)
    corners = said(page.run_cell(page.cells()[-1]["id"], CORNERS))
    assert "corners drawn, 0 failed" in corners, corners
    assert int(corners.split()[0]) >= 4 * explorables


def unwanted(cells):
    """Errors and whatever came on stderr, as sentences."""
    for place, cell in enumerate(cells, 1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield f"cell {place}: {output['ename']}: {output['evalue']}"
            elif output.get("name") == "stderr":
                yield f"cell {place} on stderr: {output['text']}"


def move_every_slider(page):
    for slider in page.sliders():
        before, after = page.move(slider)
        assert before, "a slider without a picture"
        assert after != before, f"moving a slider changed nothing: {before}"


def said(outputs):
    """What a cell says in plain text."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join("".join(text) for text in texts)
