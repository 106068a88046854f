"""Pages around known text: every template keeps the text, and none lets it go without furniture."""

import pytest

from labkit.corpora.crawl import page
from labkit.corpora.crawl.templates import TEMPLATES

BLOCKS = [
    ("h1", "Salt & pepper < sugar"),
    ("p", "The first paragraph has “quotes” and an ampersand & a sign <b>."),
    ("h2", "How it began"),
    ("p", "A second paragraph with enough words in it that links and emphasis may be set around some of them, as on "
          "pages that people write, where every sentence leads somewhere else and back again."),
    ("li", "One item of a list."),
    ("li", "Another item."),
    ("pre", "x = 1 < 2\ny = 3"),
]  # fmt: skip


@pytest.mark.parametrize("template", range(len(TEMPLATES)))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_template_holds_all_the_text_and_furniture(template, language):
    parser = pytest.importorskip("selectolax.lexbor")
    made = page(BLOCKS, seed=7, language=language, template=template)
    assert made.main == "\n\n".join(text for _, text in BLOCKS)
    assert len(made.boilerplate) > 8
    body = parser.LexborHTMLParser(made.html).body
    for node in body.css("script,style"):
        node.decompose()
    seen = "".join(body.text(separator="").split())
    places = [seen.rfind("".join(text.split())) for _, text in BLOCKS]
    assert min(places) >= 0
    assert places == sorted(places), "a reader meets the blocks in their order"
    for text in made.boilerplate:
        assert "".join(text.split()) in seen


def test_the_main_text_does_not_depend_on_template_or_seed():
    made = [page(BLOCKS, seed=seed) for seed in range(12)]
    assert len({one.main for one in made}) == 1
    assert len({one.html for one in made}) == 12
    assert page(BLOCKS, seed=1) == made[1]


def test_the_encoding_is_declared_when_asked_for():
    assert "gb2312" in page(BLOCKS, seed=1, charset="gb2312").html
    assert "charset" not in page(BLOCKS, seed=1, charset=None).html.lower()


def test_plain_strings_are_paragraphs():
    assert page(["One.", "Two."], seed=0).paragraphs == ("One.", "Two.")


def test_unknown_tags_and_templates_are_refused():
    with pytest.raises(ValueError, match="marquee"):
        page([("marquee", "No.")], seed=0)
    with pytest.raises(ValueError, match="got 0 blocks"):
        page([], seed=0)
    with pytest.raises(ValueError, match="template=99"):
        page(["One."], seed=0, template=99)


def test_a_single_text_is_no_list_of_paragraphs():
    with pytest.raises(ValueError, match="got a single text"):
        page("Hello", seed=0)
