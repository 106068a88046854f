import re

import pytest

from labkit.workbench import notebooks, storing
from labkit.workbench.publishing import assets, decks, slides
from tests.project import ROOT
from tests.workbench.notebook_files import course, notebook, shown, stream

PAGES = ROOT / "notebooks"
IMAGE = '<img alt="a line" width="770" height="385" src="data:image/png;base64,iVBORw0KGgo=">'
FIGURE = f'<figure class="labkit">{IMAGE}</figure>'


def text(source, **metadata):
    return {"cell_type": "markdown", "id": "words", "metadata": metadata, "source": source}


def code(source="x = 1", outputs=(), **metadata):
    return {
        "cell_type": "code",
        "id": "cell",
        "metadata": metadata,
        "source": source,
        "outputs": list(outputs),
        "execution_count": 1,
    }


def kinds(*cells):
    """Source and kind of slide of every cell that is left."""
    deck = decks.arranged(notebook(*cells))
    return [(cell["source"], cell["metadata"]["slideshow"]["slide_type"]) for cell in deck["cells"]]


def drawn(lines=3):
    return code("\n".join(["draw()"] * lines), [shown(text_html=FIGURE, text_plain="Figure: a line")])


@pytest.fixture
def js(tmp_path):
    """A folder like that of reveal.js and a file like MathJax's: the rules of the page need no more."""
    for name in ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE"):
        (tmp_path / "reveal" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reveal" / name).write_text(f"/* {name} */")
    (tmp_path / "reveal/dist/theme").mkdir()
    sheet = "@import url(https://fonts.example/x);\n@import url(./fonts/own.css);\nbody { color: black }"
    for theme in ("white", "night"):
        (tmp_path / f"reveal/dist/theme/{theme}.css").write_text(sheet)
    (tmp_path / "tex-svg.js").write_text("/* MathJax */ '</script>'")
    return {"reveal": tmp_path / "reveal", "mathjax": tmp_path / "tex-svg.js"}


def test_headings_begin_slides_and_text_stays_with_the_code_that_it_introduces():
    found = kinds(text("# T"), text("## A"), text("why"), code(), text("### B"), code("y"))
    expected = [("# T", "slide"), ("## A", "slide"), ("why", "-"), ("x = 1", "-"), ("### B", "subslide"), ("y", "-")]
    assert found == expected


def test_a_heading_inside_a_cell_begins_a_slide_too_but_none_with_a_title_alone():
    fenced = "```\n## no heading\n```"
    found = kinds(text("# T"), text(f"so far\n{fenced}\n\n### Next\n\nmore"), text("## A\n\n### B\n\nwords"))
    assert found == [
        ("# T", "slide"),
        (f"so far\n{fenced}", "-"),
        ("### Next\n\nmore", "subslide"),
        ("## A\n\n### B\n\nwords", "slide"),
    ]


def test_a_slide_has_one_picture_and_text_goes_along_with_the_next_one():
    found = kinds(text("## A"), drawn(), text("and now"), drawn())
    assert [kind for _, kind in found] == ["slide", "-", "subslide", "-"]


def test_a_third_code_cell_and_what_is_too_high_begin_a_slide():
    assert [kind for _, kind in kinds(text("## A"), code("a"), code("b"), code("c"))][-1] == "subslide"
    long = "\n".join(f"line {i}" for i in range(30))
    assert [kind for _, kind in kinds(text("## A"), code("a", [stream(long)]), text("w " * 200))][-1] == "subslide"


def test_an_exercise_has_a_slide_of_its_own_with_the_words_above_it():
    hole = '@labkit.check("a.b")\ndef f():\n    ...'
    found = kinds(text("## Turn"), code("a"), text("**1.**"), code(hole), text("**2.**"), code(hole), text("on"))
    assert [kind for _, kind in found] == ["slide", "-", "subslide", "-", "subslide", "-", "subslide"]


def test_cells_that_only_get_things_ready_are_left_out():
    ready = [
        code(notebooks.bootstrap()),
        code("scale = 'ci'", tags=["parameters"]),
        code("import labkit\n\nlab = labkit.start(scale, seed)"),
        code("import numpy as np\nfrom labkit import claim"),
    ]
    assert kinds(text("# T"), *ready, code("import re\nprint(re)")) == [("# T", "slide"), ("import re\nprint(re)", "-")]


@pytest.mark.parametrize("metadata", [lambda kind: {"tags": [kind]}, lambda kind: {"slideshow": {"slide_type": kind}}])
def test_what_a_cell_asks_for_itself_wins(metadata):
    asked = [code(kind, **metadata(kind)) for kind in ("slide", "subslide", "fragment", "notes", "skip")]
    setup = code("import numpy", **metadata("subslide"))
    found = kinds(text("# T"), *asked, setup)
    assert found[1:] == [(kind, kind) for kind in ("slide", "subslide", "fragment", "notes")] + [
        ("import numpy", "subslide")
    ]


def test_a_kind_of_slide_that_does_not_exist_and_a_deck_without_slides_are_refused():
    with pytest.raises(ValueError, match="'words' asks for the slide type 'slid'; there are slide, subslide"):
        kinds(text("# T", slideshow={"slide_type": "slid"}))
    with pytest.raises(ValueError, match="every cell of this notebook is skipped"):
        kinds(text("# T", tags=["skip"]), text("say this", tags=["notes"]))


def test_the_notebook_itself_is_not_changed():
    page = notebook(text("# T"), drawn(5))
    before = storing.written(page)
    decks.arranged(page)
    assert storing.written(page) == before


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_slide_of_the_course_is_crowded_and_none_is_lost(path):
    page = notebooks.read(path)
    deck = decks.arranged(page)["cells"]
    wanted = [cell["source"] for cell in page["cells"] if not decks.is_setup(cell)]
    assert "".join("".join(cell["source"] for cell in deck).split()) == "".join("".join(wanted).split())
    assert len({cell["id"] for cell in deck}) == len(deck)
    high = 0
    for cell in deck:
        begins = cell["metadata"]["slideshow"]["slide_type"] != "-"
        high = decks.height(cell) if begins else high + decks.height(cell)
        assert begins or high <= decks.ROOM


def test_a_page_asks_nobody_for_anything_and_has_what_it_needs_beside_it(tmp_path, js, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(notebooks.FOLDER_VARIABLE, raising=False)
    (deck,) = slides.make([course(tmp_path, n01_tiny=["1 + 1", "2"]) / "01_tiny.ipynb"], **js)
    page = deck.path.read_text(encoding="utf-8")
    assert deck.path == tmp_path / "_slides" / "01_tiny.slides.html"
    assert deck.slides == 1 and "1 slides" not in slides.sentence(deck)
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == [
        "assets/reveal/dist/reset.css",
        "assets/reveal/dist/reveal.css",
        "assets/reveal/dist/theme/white.css",
        "assets/reveal/dist/reveal.js",
        "assets/reveal/plugin/notes/notes.js",
        "assets/mathjax/tex-svg-full.js",
    ]
    assert all((deck.path.parent / name).is_file() for name in re.findall(r'(?:src|href)="([^"]+)"', page))
    sheet = (deck.path.parent / "assets/reveal/dist/theme/white.css").read_text()
    assert "https" not in sheet and "./fonts/own.css" in sheet


def test_an_embedded_page_is_one_file(tmp_path, js):
    folder = course(tmp_path, n01_tiny=["1 + 1"])
    (deck,) = slides.make([folder / "01_tiny.ipynb"], tmp_path / "out", theme="night", embed=True, **js)
    page = deck.path.read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["01_tiny.slides.html"]
    assert not re.findall(r'(?:src|href)="[^"]+"', page) and "@import" not in page
    assert "/* MathJax */ '<\\/script>'" in page and 'data-jp-theme-light="false"' in page
    assert "everything inside" in slides.sentence(deck)


def test_slides_of_the_same_notebook_are_the_same_file(tmp_path, js):
    folder = course(tmp_path, n01_tiny=["1 + 1"])
    made = [slides.make([folder / "01_tiny.ipynb"], tmp_path / name, **js)[0].path.read_bytes() for name in ("a", "b")]
    assert made[0] == made[1]


def test_mistakes_are_answered_in_a_sentence(tmp_path, js, monkeypatch):
    folder = course(tmp_path, n01_tiny=["1"])
    path = folder / "01_tiny.ipynb"
    with pytest.raises(ValueError, match="no theme 'wite'; did you mean 'white'"):
        slides.make([path], theme="wite", **js)
    with pytest.raises(ValueError, match=r"no folder of reveal\.js: it holds no dist/reveal\.js"):
        slides.make([path], reveal=tmp_path)
    with pytest.raises(ValueError, match=r"must be the file tex-svg\.js"):
        slides.make([path], reveal=js["reveal"], mathjax=folder / "01_tiny.ipynb")
    with pytest.raises(ValueError, match="the folder of the notebooks themselves"):
        slides.make([path], folder, **js)
    with pytest.raises(ValueError, match="which is a file; name a folder"):
        slides.make([path], path, **js)
    monkeypatch.setattr(assets.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"nbconvert, nbformat is missing.*llm-labkit\[site\]"):
        slides.make([path])
    monkeypatch.setattr(assets, "needed", lambda *names: None)
    with pytest.raises(RuntimeError, match=r"reveal\.js is not on this machine.*--reveal"):
        slides.make([path])
    with pytest.raises(RuntimeError, match=r"MathJax is not on this machine.*--mathjax"):
        slides.make([path], reveal=js["reveal"])
