"""The program that sets formulas: in the page that has some, and nowhere else."""

import nbformat
import pytest

from labkit.workbench import report, typesetting


def _page(folder, text):
    path = folder / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), path)
    return report.html(path).read_text(encoding="utf-8")


def test_a_page_with_a_formula_holds_the_program_that_sets_it(tmp_path):
    page = _page(tmp_path, "A mean: $\\frac{1}{2}$.")
    assert len(page) > typesetting.located().stat().st_size
    assert '<script src="' not in page
    assert 'inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]]' in page


def test_a_page_without_formulas_does_not(tmp_path):
    page = _page(tmp_path, "No formula at all.")
    assert len(page) < typesetting.located().stat().st_size
    assert "MathJax" not in page


def test_where_the_program_is_missing_its_address_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(typesetting, "in_package", lambda *_: None)
    page = _page(tmp_path, "A mean: $\\frac{1}{2}$.")
    assert len(page) < 1_000_000
    assert page.count('<script src="https://') == 1
    with pytest.raises(RuntimeError, match=r"MathJax is not on this machine.*llm-labkit\[site\]"):
        typesetting.located()
