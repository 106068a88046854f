import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import pytest
from click.testing import CliRunner

from labkit.workbench import checking, cli, reporting, runner
from labkit.workbench.failures import Failure
from tests.workbench.notebook_files import CLAIM, write

TOOLS = "import os\nimport sys\nlimit = 3"
RECORD = {
    "kind": "published",
    "statement": "困惑度 < 12 & more",
    "measured": 12.25,
    "expected": 12.2,
    "tolerance": "1%",
    "source": "Table 2",
    "passed": True,
}
EMPTY_TAGS = {"meta", "br", "img", "link"}


class Outline(HTMLParser):
    """What matters to somebody who does not see a page: headings, tables, links; and that every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.headings, self.links, self.ids, self.tables, self.regions = [], [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in EMPTY_TAGS:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag == "table":
            self.tables.append([])
        if self.tables and tag in ("caption", "th"):
            self.tables[-1].append((tag, attrs.get("scope")))
        if tag == "a":
            self.links.append(attrs["href"])
        if attrs.get("role") == "region":
            self.regions.append(attrs.get("aria-label"))
        self.ids += [attrs["id"]] if "id" in attrs else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def run_of(path, **changes):
    """A run of a notebook as the runner gives it."""
    made = {
        "name": path.stem,
        "path": path,
        "seconds": 10.0,
        "peak_bytes": 250_000_000,
        "claims": (RECORD,),
        "claims_expected": 1,
        "executed": path,
        "report": path.with_suffix(".html"),
        "failure": None,
        "passed": 1,
        "startup": 2.0,
        "cells": (("parameters", 0.5), ("cell-1", 1.5), ("cell-2", 4.0), ("cell-3", 1.0)),
    }
    return SimpleNamespace(**(made | changes))


@pytest.fixture
def pages(tmp_path):
    """Two notebooks of the course by name: one whole, one that failed."""
    good = write(tmp_path / "02_ngram_models.ipynb", TOOLS, "x = sum(range(9))", "import math")
    bad = write(tmp_path / "00_start_here.ipynb", "1 / 0")
    failure = Failure("code cell [2] (id cell-1), `1 / 0 < x`, failed", cell=2)
    return [run_of(good), run_of(bad, claims=(), passed=0, claims_expected=2, failure=failure, cells=(), report=None)]


def written(runs, place):
    """The page as text."""
    return reporting.overview(runs, place).read_text(encoding="utf-8")


def test_seconds_are_parted_into_start_imports_cells_and_the_rest(pages):
    found = reporting.spent(pages[0])
    # cell-3 imports too, but behind a cell that computes: it is work of the page
    assert (found.startup, found.imports, found.cells, found.rest) == (2.0, 2.0, 5.0, 1.0)
    assert found.startup + found.imports + found.cells + found.rest == pages[0].seconds
    assert found.slowest == (("cell-2", 4.0), ("cell-1", 1.5), ("cell-3", 1.0))


def test_a_run_whose_cells_were_not_timed_has_no_parts(pages):
    assert reporting.spent(pages[1]) is None
    assert reporting.spent(SimpleNamespace(name="old")) is None


def test_the_cell_that_papermill_puts_in_is_no_work_of_the_page(pages):
    timed = (("injected-parameters", 1.0), ("cell-2", 3.0))
    assert reporting.spent(run_of(pages[0].path, cells=timed)).imports == 1.0


def test_the_page_says_what_ran_and_what_did_not(pages, tmp_path):
    page = written(pages, tmp_path)
    assert "1 of 2</b> notebooks ran to the end" in page
    assert "1 of 3</b> claims hold" in page
    assert "did not run to its end: code cell [2] (id cell-1), `1 / 0 &lt; x`, failed" in page
    assert '<a href="02_ngram_models.html">A tiny notebook</a>' in page
    assert "困惑度 &lt; 12 &amp; more" in page
    assert "12.2 ± 1%" in page
    assert "Table 2" in page
    assert "<code>cell-2</code> 4.0 s" in page


def test_exercises_are_counted_from_the_course_and_from_the_table_of_the_tests(pages, tmp_path):
    here = [each for each in checking.all_exercises() if each.notebook == "02_ngram_models"]
    mistakes = sum(len(each.wrong) for each in here)
    found, why_not = reporting.exercises_of(["02_ngram_models", "nothing"])
    assert why_not == ""
    assert found == {
        "02_ngram_models": {"count": len(here), "proven": len(here), "mistakes": mistakes, "refused": mistakes}
    }


def test_an_exercise_is_proven_only_if_its_whole_row_is_good(tmp_path):
    table = tmp_path / "honesty.md"
    rows = [
        "a.good` | correct | not started | all 3 refused, each",
        "a.solution` | wrong | not started | all 3 refused",
    ]
    rows += ["a.empty` | correct | correct | all 3 refused", "a.lax` | correct | not started | 2 of 3 refused"]
    table.write_text("".join(f"| `{row} | x | y |\n" for row in rows), encoding="utf-8")
    assert reporting.proven_exercises(table) == {"a.good"}
    assert reporting.proven_exercises(tmp_path / "none.md") == set()


def test_exercises_that_cannot_be_loaded_are_a_sentence_on_the_page(pages, tmp_path, monkeypatch):
    def fail():
        raise ModuleNotFoundError("labkit.attention needs torch")

    monkeypatch.setattr(checking, "all_exercises", fail)
    assert "The exercises could not be loaded: labkit.attention needs torch." in written(pages, tmp_path)


def test_without_the_table_of_the_tests_the_page_says_so(pages, tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "HONESTY", tmp_path / "none.md")
    assert "<code>tests/exercises/honesty.md</code>, is not here" in written(pages, tmp_path)


def test_the_page_can_be_read_without_seeing_it(pages, tmp_path):
    outline = Outline(written(pages, tmp_path))
    assert outline.open == []
    assert outline.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(outline.tables) == 6
    for table in outline.tables:
        assert table[0] == ("caption", None)
        assert {scope for tag, scope in table if tag == "th"} >= {"col", "row"}
    assert len(outline.regions) == len(set(outline.regions)) == 6
    assert all(outline.regions)
    inside = [link[1:] for link in outline.links if link.startswith("#")]
    assert set(inside) <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_the_page_needs_no_other_file(pages, tmp_path):
    page = written(pages, tmp_path)
    assert re.findall(r"<(script|link|img|iframe)\b", page) == []
    assert re.findall(r"https?:", page) == []
    assert "default-src 'none'" in page
    assert str(tmp_path) not in page


def test_light_and_dark_are_both_there(pages, tmp_path):
    assert "prefers-color-scheme: dark" in written(pages, tmp_path)


def test_no_notebook_gives_a_page_all_the_same(tmp_path):
    page = written([], tmp_path)
    assert "No claim was made." in page
    assert "These notebooks have no exercises." in page


def test_what_cannot_be_written_is_replaced_not_an_error(pages, tmp_path):
    pages[0].claims = ({**RECORD, "statement": "half a sign \ud800"},)
    assert "half a sign \\ud800" in written(pages, tmp_path)


def test_a_link_leads_to_a_page_whatever_its_name(pages, tmp_path):
    odd = "a#1 50%?_\udcff困.html"
    pages[0].report = tmp_path / odd
    (link,) = (one for one in Outline(written(pages, tmp_path)).links if not one.startswith("#"))
    assert os.fsdecode(unquote_to_bytes(link)) == odd


def test_a_notebook_that_is_called_report_keeps_its_own_page(tmp_path):
    path = write(tmp_path / "report.ipynb", "1")
    assert reporting.overview([run_of(path)], tmp_path).name == "report-of-the-run.html"


def test_labkit_run_html_writes_the_page_beside_those_of_the_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "notebooks" / "01_good.ipynb", "import os", CLAIM, "claim('a = b')")
    done = CliRunner().invoke(cli.cli, ["run", str(path), "--html", "--out", "out"])
    assert done.exit_code == 0, done.output
    assert f"report on all: {tmp_path / 'out' / 'report.html'}" in done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert '<a href="01_good.html">A tiny notebook</a>' in page
    assert "a = b" in page
    record = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))[0]
    assert [name for name, _ in record["cells"]] == ["parameters", "cell-1", "cell-2", "cell-3"]
    assert "Where the time goes" in page


def test_a_run_of_the_runner_has_what_the_page_reads():
    fields = runner.NotebookRun("a", Path("a.ipynb")).__dict__.keys() | {"passed"}
    assert {"name", "path", "seconds", "peak_bytes", "claims", "claims_expected", "executed", "report"} <= fields
    assert {"failure", "passed", "startup", "cells"} <= fields
