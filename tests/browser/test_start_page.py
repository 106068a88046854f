"""`labkit lab`: it opens on the start page, whose links lead to other pages and back; and the same in Chinese."""

import re

import pytest

from tests.browser.conftest import end_kernels, write_settings
from tests.browser.lab import PATIENCE, USUAL, Page
from tests.browser.pages import NOTEBOOKS, dead_controls, unwanted
from tests.project import ROOT

pytestmark = pytest.mark.browser
START = "notebooks/00_start_here.ipynb"
MENUS = ".lm-MenuBar-itemLabel"
TAB = "#jp-main-dock-panel .lm-TabBar-tab:has-text('{}')"
FILE_IN_CHINESE = "\u6587\u4ef6"  # "file", the first menu


@pytest.fixture
def opened(course, browser):
    """A function that opens the course in a browser that was never there; by default where `labkit lab` leads."""
    address, token, _ = course
    contexts = []

    def open_at(place="/"):
        contexts.append(browser.new_context(viewport=USUAL))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}{place}?token={token}&reset")
        return Page(page)

    yield open_at
    for context in contexts:
        context.close()
    end_kernels(address, token)


def links(name):
    """The pages that a notebook's text links to."""
    text = (ROOT / "notebooks" / name).read_text(encoding="utf-8")
    return sorted(set(re.findall(r"\]\(([0-9a-z_]+[.]ipynb)\)", text)))


def test_the_course_opens_on_the_start_page_and_links_lead_on_and_back(opened):
    front = opened()
    front.come_to(START)
    assert front.page.locator(MENUS).first.inner_text() == "File"
    assert front.page.locator(".jp-Dialog, .jp-toast-button").count() == 0, "a question before the first page was read"
    assert links("00_start_here.ipynb")
    here = "00_start_here.ipynb"
    for name in links(here):
        follow(front, name)
        front.page.locator(TAB.format(here)).click()
        front.come_to(START)


def test_pages_that_name_each_other_lead_to_each_other(opened):
    pairs = [(path.name, name) for path in NOTEBOOKS for name in links(path.name) if path.name in links(name)]
    assert pairs
    for here, there in pairs[:1]:
        front = opened(f"/lab/workspaces/pairs/tree/notebooks/{here}")
        front.come_to(f"notebooks/{here}")
        follow(front, there)
        follow(front, here)


def follow(front, name):
    """Clicks the first link to another page and waits until it is there."""
    front.page.locator(f".jp-NotebookPanel:not(.lm-mod-hidden) .jp-MarkdownOutput a[href*='{name}']").first.click()
    front.come_to(f"notebooks/{name}")


def test_in_chinese_the_menus_are_chinese_and_a_page_runs(course, opened):
    write_settings(course[2], "translation-extension/plugin", {"locale": "zh_CN"})
    front = opened(f"/lab/workspaces/chinese/tree/{START}")
    front.come_to(START)
    assert front.page.locator(MENUS).first.inner_text().startswith(FILE_IN_CHINESE)
    front.run_all()
    assert list(unwanted(front.cells())) == []
    assert list(dead_controls(front)) == []
