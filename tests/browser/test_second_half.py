"""Every other notebook in a real JupyterLab, from the second one on: it runs, and its sliders move its pictures."""

import pytest

from tests.browser.pages import NOTEBOOKS, runs_and_its_sliders_move_its_pictures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("path", NOTEBOOKS[1::2], ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_sliders_move_its_pictures(open_notebook, path):
    runs_and_its_sliders_move_its_pictures(open_notebook, path)
