"""Every other notebook in a real JupyterLab, from the first one on: it runs, answers, and is fit for everyone."""

import pytest

from tests.browser.pages import NOTEBOOKS, runs_and_everything_in_it_answers

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("path", NOTEBOOKS[::2], ids=lambda path: path.stem)
def test_a_notebook_runs_and_everything_in_it_answers(open_notebook, path):
    runs_and_everything_in_it_answers(open_notebook, path)
