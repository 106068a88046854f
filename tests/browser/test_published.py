"""Slides, site and reports in a browser without a network: formulas are set, nothing is cut off, all is local."""

import shutil

import pytest

from labkit.workbench import report
from labkit.workbench.publishing import site, slides
from tests.browser import axe
from tests.project import ROOT

pytestmark = pytest.mark.browser
WIDTH, HEIGHT = 1280, 720
THEMES = {False: ("white", "rgb(255, 255, 255)"), True: ("moon", "rgb(0, 43, 54)")}  # and the colour of the ground
READ_TO_ALL = (1, 6, 12)  # the slides that axe looks at: a title, text, outputs
SLIDE = """() => {
  const slide = Reveal.getCurrentSlide(), box = slide.querySelector('.labkit-fit').getBoundingClientRect();
  const scrolls = slide.classList.contains('scrolls');
  slide.scrollTop = 1e6;
  const last = slide.querySelector('.labkit-fit').getBoundingClientRect().bottom;
  return {
    covered: scrolls && last > document.querySelector('.controls').getBoundingClientRect().top,
    ground: getComputedStyle(document.body).backgroundColor,
    cut: !scrolls && (box.bottom > innerHeight || box.right > innerWidth + 1),
    formulas: slide.querySelectorAll('mjx-container').length,
    wrong: slide.querySelectorAll('mjx-merror, [data-mjx-error]').length,
    left: /\\$[^$]+\\$/.test([...slide.querySelectorAll('.jp-MarkdownOutput')].map(each => each.innerText).join(' ')),
    pictures: [...slide.querySelectorAll('img')].every(image => image.naturalWidth > 0),
    last: Reveal.isLastSlide(),
  };
}"""


@pytest.mark.parametrize("embed", [False, True], ids=["beside", "embedded"])
def test_slides_advance_with_formulas_and_pictures_and_nothing_is_cut_off(browser, tmp_path, embed):
    (deck,) = slides.make([ROOT / "notebooks" / "02_ngram_models.ipynb"], tmp_path, embed=embed, theme=THEMES[embed][0])
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, offline=True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(deck.path.as_uri())
    page.wait_for_selector("body[data-ready]")
    formulas = seen = 0
    for seen in range(1, 13 if embed else deck.slides + 1):  # the pages are alike: the second one is only looked into
        page.wait_for_function("Reveal.getCurrentSlide().dataset.fitted")
        slide = page.evaluate(SLIDE)
        assert not slide["cut"] and not slide["wrong"] and not slide["left"] and slide["pictures"], (seen, slide)
        assert not slide["covered"] and slide["ground"] == THEMES[embed][1], (seen, slide)
        formulas += slide["formulas"]
        if seen in READ_TO_ALL:
            assert axe.faults(page, ".slides section.present:not(.stack)", leave_out=["mjx-container"]) == []
        if not slide["last"]:
            page.keyboard.press("Space")
    assert slide["last"] is (not embed) and formulas > 10
    assert errors == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_the_report_on_a_notebook_sets_its_formulas_and_asks_nobody_for_anything(browser, tmp_path):
    executed = shutil.copy(ROOT / "notebooks" / "02_ngram_models.ipynb", tmp_path / "02_ngram_models.ipynb")
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, offline=True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(report.html(executed).as_uri())
    page.evaluate("() => MathJax.startup.promise")
    assert page.locator("mjx-container").count() > 10
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert page.evaluate(r"() => /\$\$/.test(document.body.innerText)") is False
    assert errors == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_a_page_of_the_site_can_be_read_by_all_in_light_and_dark(browser, tmp_path):
    built = site.build([ROOT / "notebooks" / "00_start_here.ipynb"], tmp_path / "site", work=tmp_path / "work")
    for theme in ("light", "dark"):
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, offline=True, color_scheme=theme)
        page = context.new_page()
        for name in ("notebooks/00_start_here.html", "claims.html", "exercises.html", "index.html"):
            page.goto((built.path / name).as_uri())
            page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
            assert axe.faults(page, "article.bd-article", leave_out=[".headerlink", "mjx-container"]) == [], (
                name,
                theme,
            )
        context.close()
