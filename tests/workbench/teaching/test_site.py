"""The site of one small course, built once: Sphinx in a process of its own is most of the time."""

import re
from html import unescape

import pytest

from labkit.workbench import notebooks, storing
from labkit.workbench.publishing import assets, pages, site
from tests.project import ROOT, repository
from tests.workbench.notebook_files import CLAIM_TYPE, notebook, shown

IMAGE = '<img alt="a line" width="770" height="385" src="data:image/png;base64,iVBORw0KGgo=">'
FIGURE = f'<figure class="labkit">{IMAGE}<figcaption>'
ALIVE = f"{FIGURE}t = 1 (run the notebook to change this)</figcaption></figure>"
ASKED = "○ tiny.sum: not started (difficulty 2 of 3, about 4 minutes)\nReturn a|b, *not* $x$.\nReplace the ... here"
RECORD = {
    "kind": "equation",
    "statement": "(1) a|b = *c* costs $5",
    "measured": 1.5,
    "expected": 1.5,
    "tolerance": 1e-9,
    "source": "eq. (1)",
    "passed": True,
}
README = """# tiny: a course

**Two pages take you from nothing to a slider, and all is checked:** more words.

| | question | module | seconds | |
|---|---|---|---|---|
| [01](notebooks/01_tiny.ipynb) | What is a *tiny* page? | `labkit` | 7 | badge |
"""
ALIGNED = r"\begin{aligned} a &= b \\ c &= d \end{aligned} \tag{1}"
FORMULA = f"## One formula\n\n$${ALIGNED}$$\n\nand $x^2$, see [two](02_more.ipynb)"


def text(source, name):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(source, name, *outputs):
    about = {"cell_type": "code", "metadata": {}, "outputs": list(outputs), "execution_count": 1}
    return {**about, "id": name, "source": source}


def tiny():
    record = shown(text_plain="✓ claim", text_html="<div>✓ a claim</div>")
    record["data"][CLAIM_TYPE] = RECORD
    return notebook(
        text("# 01 · A tiny page", "title"),
        code(notebooks.bootstrap(), "bootstrap"),
        text(f"{FORMULA} and [the texts](../data/README.md#licences).", "formula"),
        code("claim(1)", "claim", record),
        code("labkit.explore(draw, t=(1, 2))", "slider", shown(text_html=ALIVE, text_plain="Figure: a line")),
        code("labkit.check('tiny.sum', ...)", "ask", shown(text_html="<div>asked</div>", text_plain=ASKED)),
    )


def course(root):
    """A checkout with a README, two notebooks and a page of documentation."""
    (root / "notebooks").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "docs" / "teaching.md").write_text(
        "# Teach\n\n[a page](../notebooks/01_tiny.ipynb), [rules](../CONTRIBUTING.md)\n"
    )
    more = notebook(text("# 02 · More $ and |", "title"), code("1 + 1", "add", shown(text_plain="2")))
    for name, page in (("01_tiny", tiny()), ("02_more", more)):
        (root / "notebooks" / f"{name}.ipynb").write_text(storing.written(storing.normalise(page)), encoding="utf-8")
    return root


def built(root, **options):
    return site.build([root / "notebooks"], **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("sphinx_book_theme", reason="the extra site is not installed")
    root = course(tmp_path_factory.mktemp("course"))
    mathjax = root / "tex-svg.js"
    mathjax.write_text("// MathJax")
    return root, built(root, mathjax=mathjax), mathjax


def page(made, name):
    return (made[1].path / f"{name}.html").read_text(encoding="utf-8")


def test_every_page_is_there_and_the_sentence_says_what_to_open(made):
    root, result, _ = made
    assert result.path == root / "_site"
    names = {path.relative_to(result.path).as_posix() for path in result.path.rglob("*.html")}
    assert {"index.html", "notebooks/01_tiny.html", "claims.html", "exercises.html", "docs/teaching.html"} <= names
    assert re.match(rf"{result.pages} pages, \d+ MB, \d+ s: open .*index\.html in a browser", site.sentence(result))
    assert {path.name for path in root.iterdir()} == {"notebooks", "docs", "README.md", "tex-svg.js", "_runs", "_site"}


def test_nothing_is_fetched_from_elsewhere_and_every_address_is_relative(made):
    for path in made[1].path.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)=\"([^\"]+)\"", path.read_text(encoding="utf-8"))
        assert [tag for tag in tags if re.match(r"(?:https?:)?/", tag)] == [], path.name
    assert "mathjax/tex-svg-full.js" in page(made, "notebooks/01_tiny")
    assert (made[1].path / "_static/mathjax/tex-svg-full.js").read_text() == "// MathJax"


def test_a_notebook_has_its_formulas_pictures_and_ways_to_colab(made):
    shown_page = unescape(page(made, "notebooks/01_tiny"))
    assert rf"\[{ALIGNED}\]" in shown_page, "no \\tag inside split"
    assert FIGURE in shown_page
    colab = f"https://colab.research.google.com/github/{repository().removeprefix('https://github.com/')}"
    assert shown_page.count(f"{colab}/blob/main/notebooks/01_tiny.ipynb") >= 3, "button, title, explorable"
    assert "This picture has sliders where the page runs" in shown_page
    assert "find_spec" not in shown_page
    assert 'href="02_more.html"' in shown_page
    assert f'href="{repository()}/blob/main/data/README.md#licences"' in shown_page


def test_the_start_page_is_made_from_the_readme(made):
    index = page(made, "index")
    assert "Two pages take you from nothing to a slider, and all is checked." in index
    assert "What is a <em>tiny</em> page?" in index and ">7<" in index
    assert 'href="notebooks/02_more.html"' in index
    assert f'href="{repository()}/blob/main/CONTRIBUTING.md"' in page(made, "docs/teaching")


def test_exercises_and_claims_are_listed_with_whatever_signs_stand_in_them(made):
    exercises, claims = page(made, "exercises"), page(made, "claims")
    assert "1 exercises" not in exercises
    assert all(words in exercises for words in ("tiny.sum", "★★", "Return a|b, *not* $x$."))
    assert "(1) a|b = *c* costs $5" in claims and "1.5 ± 1e-09" in claims
    assert "1 of 1 claims passed" in claims


def test_a_second_build_makes_only_what_changed_and_leaves_the_rest_as_it_is(made):
    root, result, mathjax = made
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in result.path.rglob("*.html")}
    path = root / "notebooks" / "02_more.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace('"1 + 1"', '"1 + 2"'), encoding="utf-8")
    built(root, mathjax=mathjax)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before}
    assert {path.name for path in before if after[path][1] != before[path][1]} == {"02_more.html"}
    assert after[result.path / "notebooks/01_tiny.html"] == before[result.path / "notebooks/01_tiny.html"]


def test_a_warning_stops_the_build_and_names_the_place(made):
    root, _, mathjax = made
    path = root / "docs" / "teaching.md"
    good = path.read_text(encoding="utf-8")
    path.write_text(good + "\n[nowhere](#not-a-heading)\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"not built without a warning: docs[/\\]teaching\.md.*not-a-heading"):
        built(root, mathjax=mathjax)
    path.write_text(good, encoding="utf-8")


def test_a_page_that_is_no_longer_there_goes_from_the_sources(tmp_path):
    pages.written({"a.md": "a", "notebooks/b.ipynb": "b", "conf.py": "x = 1"}, tmp_path)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "kept.js").write_text("")
    pages.written({"a.md": "new"}, tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a.md", "conf.py", "static/kept.js"}
    assert (tmp_path / "a.md").read_text() == "new"


def test_links_lead_to_a_page_of_the_site_or_to_the_repository():
    about = pages.Course(ROOT, (ROOT / "notebooks/02_ngram_models.ipynb",), "https://github.com/a/b")
    turned = "[x](06_attention_math.ipynb) [y](02_ngram_models.ipynb) [z](../README.md) [w](https://c.d) [v](#part)"
    assert pages.linked(turned, about, "notebooks") == (
        "[x](https://github.com/a/b/blob/main/notebooks/06_attention_math.ipynb) [y](02_ngram_models.ipynb) "
        "[z](https://github.com/a/b/blob/main/README.md) [w](https://c.d) [v](#part)"
    )
    assert pages.linked("[out](../../elsewhere.md)", about, "notebooks") == "[out](../../elsewhere.md)"


def test_the_exercises_and_claims_of_the_course_are_all_found():
    read = {path: notebooks.read(path) for path in notebooks.find([ROOT / "notebooks"])}
    cells = [cell for nb in read.values() for cell in notebooks.code_cells(nb)]
    asked = [name for cell in cells for name in re.findall(r'labkit\.check\("([\w.]+)"', cell["source"])]
    assert [each["id"] for cell in cells for each in pages.exercises_in(cell)] == asked != []
    assert pages.claims_page(read).count("\n| ✓ |") == sum(len(notebooks.claims_in(nb)) for nb in read.values())


def test_mistakes_are_answered_in_a_sentence(tmp_path, monkeypatch):
    root = course(tmp_path)
    with pytest.raises(ValueError, match="the folder of the notebooks themselves"):
        built(root, out=root / "notebooks", mathjax=_file(tmp_path / "tex-svg.js"))
    with pytest.raises(ValueError, match=r"must be the file tex-svg\.js"):
        built(root, mathjax=tmp_path / "nothing.js")
    monkeypatch.setattr(assets.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"sphinx, myst_nb, sphinx_book_theme is missing.*llm-labkit\[site\]"):
        built(root)


def _file(path):
    path.write_text("")
    return path
