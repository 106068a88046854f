"""From a page to its text: by hand, on generated pages with truth, and pages made to break a parser."""

import time
from dataclasses import replace

import pytest

from labkit.cleaning.html import RULES, blocks, main_text
from labkit.cleaning.nesting import TAG, nesting
from labkit.cleaning.scoring import Score, score_text
from labkit.corpora.crawl import page

pytest.importorskip("selectolax")
LONG = "The harbour was rebuilt after the storm, and the town grew around it for a hundred years."
ZH = "话说天下大势，分久必合，合久必分，周末七国分争，并入于秦，及秦灭之后，楚汉分争。"


def kept(html, **rules):
    return main_text(html, replace(RULES, **rules)).split("\n\n") if html else []


def test_menus_go_and_paragraphs_stay_in_order():
    html = f"<ul><li><a href=/>Home</a><li><a href=/n>News</a></ul><h1>Tea</h1><p>{LONG}<p>Yes.<p>{LONG}"
    assert kept(html) == ["Tea", LONG, "Yes.", LONG]
    assert [b.reason for b in blocks(html)] == [
        *("links", "links", "heading of text", "text", "short, among text", "text"),
    ]


def test_link_density_is_the_share_of_characters_inside_links():
    block = blocks("<p>ab <a href=x>cd ef</a> <b>gh</b>")[0]
    assert (block.text, block.link_density, block.kept) == ("ab cd ef gh", 0.5, False)


@pytest.mark.parametrize(
    "box",
    [
        *("<nav>{}</nav>", "<footer>{}</footer>", "<aside>{}</aside>", "<script>{}</script>", "<div hidden>{}</div>"),
        *('<div style="display: none">{}</div>', '<div role="dialog">{}</div>', '<div class="cookie-banner">{}</div>'),
        *('<div id="comments"><div>{}</div></div>', "<!-- <p>{}</p> -->", "<template>{}</template>"),
    ],
)
def test_what_says_that_it_is_no_text_is_left_out(box):
    assert kept(f"<article><p>{LONG}</p></article>" + box.format("Please accept this. " * 9)) == [LONG]


def test_names_can_be_ignored():
    html = f'<div class="comment"><p>{LONG}</p></div>'
    assert main_text(html) == "" and main_text(html, replace(RULES, names=False)) == LONG


def test_lists_tables_code_and_breaks_keep_their_form():
    html = f"<p>{LONG}<ul><li>one<li>two</ul><pre>if a:\n    b()</pre><table><tr><td>1<td>2</table><p>{LONG}<br>End."
    assert kept(html) == [LONG, "one", "two", "if a:\n    b()", "1", "2", f"{LONG}\nEnd."]
    assert kept(f"<td>{LONG}<br> <br>{LONG}</td>") == [LONG, LONG]


def test_entities_and_inline_markup_become_plain_text():
    assert main_text(f"<p>{LONG} a&lt;b &amp;amp; <b>c</b>d&nbsp;e") == f"{LONG} a<b &amp; cd e"


def test_chinese_needs_fewer_characters():
    assert main_text(f"<div><a href=/>首页</a></div><p>{ZH}</p><div>版权所有</div>") == ZH


def test_only_the_box_with_most_of_the_text_counts():
    other = "<div><p>Somebody else wrote this short remark, and it stands in another box of the page.</p></div>"
    assert (
        kept(f"<div>{'<p>' + LONG + '</p>'}{'<p>' + LONG + '</p>' * 1}" + f"<p>{LONG}" * 9 + f"</div>{other}")
        == [LONG] * 11
    )


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("names", [True, False])
def test_the_text_of_generated_pages_is_found(language, names):
    paragraphs = [LONG, LONG.replace("harbour", "market"), LONG.upper()] if language == "en" else [ZH, ZH[3:], ZH[5:]]
    total = Score(0, 0, 0)
    for template in range(9):
        made = page(paragraphs, seed=template, language=language, template=template)
        total += score_text(main_text(made.html, replace(RULES, names=names)), made.main, language=language)
    assert total.f1 >= (0.99 if names else 0.8) and total.recall >= 0.99


@pytest.mark.parametrize("html", ["", " ", "<", "<>", "\0", "<frameset><frame></frameset>", "<p>Hi", b"\xff<p>\xfe"])
def test_a_page_without_text_has_none(html):
    assert main_text(html) == ""


BOMBS = {
    **{"divs": "<div>", "tables": "<table><tr><td>", "lists": "<ul><li>", "formats": "<b><p>", "math": "<math><mi>"},
    **{"spoofed": "<div></x>", "in a comment": "<div><!--</div>-->", "in an attribute": "<div a='</div>'>"},
    **{"in a script": "<div><script><!--<script></script></div>--></script>", "bogus": "<div><!x </div>"},
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_the_parser_sees_it(bomb):
    with pytest.raises(ValueError, match="may be open at once, more than 2,000: quarantine"):
        main_text(bomb * 5_000)


@pytest.mark.parametrize("head", ["<div '>", '<div =">', "<div/a='>'>"])
def test_a_stray_quote_hides_no_tags(head):
    assert nesting(head + "<div>" * 100)[0] == 101


def test_formats_that_every_paragraph_opens_again_are_refused():
    with pytest.raises(ValueError, match=r"would take .* steps to parse"):
        main_text("".join(f"<b id={i}>" for i in range(500)) + "<p>x" * 20_000)


def test_a_tag_with_thousands_of_attributes_is_refused():
    with pytest.raises(ValueError, match=r"<div> has 30,000 attributes, more than 2,000"):
        main_text("<div " + " ".join(f"a{i}" for i in range(30_000)) + ">")


def test_a_deep_page_within_the_bound_is_read():
    assert main_text("<div>" * 1_900 + LONG) == LONG


def test_a_line_of_many_megabytes_is_refused_with_its_size():
    with pytest.raises(ValueError, match="2,000 characters, more than the limit of 1,000: put it into quarantine"):
        main_text("x" * 2_000, limit=1_000)
    with pytest.raises(ValueError, match="a page is str or bytes, got int"):
        main_text(5)


@pytest.mark.parametrize("piece", ["<", "<!--", "<a '", '<a b="', "<a b", "</", "<!", "<a b=", "a=b ", "<a  ", "&"])
def test_hostile_markup_costs_in_proportion_to_its_length(piece):
    def seconds(times):
        begin = time.process_time()
        for _ in range(3):
            sum(1 for _ in TAG.finditer(piece * times))
        return time.process_time() - begin

    seconds(1_000)
    assert seconds(64_000) <= 8 * 4 * seconds(8_000) + 0.05


def test_what_a_script_hides_ends_where_the_parser_ends_it():
    twice = "<!-- <SCRIPT ></script> <script> </script>"
    for inside in ("", "<!-- <script></script>", "<!-- <script>-->", "<!-->", twice):
        page = f"<div><script>{inside}</script><p>after</p>"
        assert nesting(page + "<div>" * 5)[0] == 6
        assert "after" in [block.text for block in blocks(page)]
    assert nesting("<div><script><!--<script></script></div></script>" * 50)[0] == 50
    assert nesting("<div><script><!--<script></script></div>" + "<i>" * 9)[0] == 1  # never closed


def test_scripts_that_never_end_take_no_more_work_for_each():
    def seconds(count):
        begin = time.process_time()
        nesting("<script><!--<script>" * count)
        nesting("<script><!--<script></script></script>" * count)
        return time.process_time() - begin

    assert seconds(16_000) < 32 * max(seconds(2_000), 1e-3)
