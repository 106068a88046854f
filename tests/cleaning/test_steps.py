"""The steps of the standard pipeline, by hand, on a generated crawl whose truth is known, and on bad input."""

import random

import pytest

from labkit.cleaning.documents import Document, from_crawl
from labkit.cleaning.pipeline import Drop, Pipeline, run
from labkit.cleaning.scoring import score_sets
from labkit.cleaning.steps import (
    decode_bytes,
    extract_main_text,
    gopher_quality,
    identify_language,
    mask_personal_data,
    normalise_characters,
    repair_mojibake,
    standard,
)

pytest.importorskip("ftfy")
pytest.importorskip("selectolax")
pytest.importorskip("py3langid")

PROSE = (
    "The committee met on Monday to discuss the plan for the new library. Most of the members were in favour of it, "
    "but some asked for a cheaper building with fewer rooms. After two hours they agreed that the town would pay for "
    "half of the cost and that the rest should be collected. The work is to begin in the spring of next year."
)


def test_each_step_by_hand():
    raw = Document("a", raw="naïve".encode("cp1252"), declared="iso-8859-1")
    decoded = decode_bytes(raw)
    assert (decoded.text, decoded.raw, decoded.notes) == ("naïve", b"", (("encoding", "cp1252"),))
    assert repair_mojibake(Document("a", "itâ€™s")).text in ("it’s", "it's")
    assert normalise_characters(Document("a", "a\u200bb\r\ne\u0301")).text == "ab\né"
    page = f"<html><body><nav><a href='/'>Home</a></nav><p>{PROSE}</p><script>x()</script></body></html>"
    assert extract_main_text(Document("a", page)).text == PROSE
    assert identify_language(Document("a", PROSE), ("en",)).language == "en"
    assert identify_language(Document("a", PROSE), ("zh",)) == Drop("language en")
    assert gopher_quality(Document("a", "Too short.", language="en")).reason.startswith("word_count: 2, at least 50")
    masked = mask_personal_data(Document("a", "Write to bob@example.org"))
    assert (masked.text, masked.notes) == ("Write to <email>", (("masked", "1"),))


def test_text_that_is_no_html_and_no_bytes_passes_as_it_is():
    document = Document("a", "2 < 3 and 4 > 1")
    assert decode_bytes(document) == extract_main_text(document) == document


@pytest.fixture(scope="module")
def cleaned():
    from labkit.corpora.crawl import raw_crawl

    crawl = raw_crawl(120, seed=3)
    return crawl, run(standard(), from_crawl(crawl))


def test_of_a_crawl_the_good_documents_stay(cleaned):
    crawl, result = cleaned
    kinds = {page.id: page.truth for page in crawl}
    wanted = {name for name, truth in kinds.items() if truth.kind == "good"}
    wanted |= {name for name, truth in kinds.items() if truth.kind == "near_duplicate" and truth.jaccard < 0.8}
    score = score_sets({one.id for one in result.kept}, wanted)
    assert score.precision > 0.9 and score.recall > 0.95
    assert not result.quarantined
    repaired = {name for name in wanted if kinds[name].mojibake}
    assert repaired and repaired <= {one.id for one in result.kept}


def test_no_wrong_language_and_no_exact_copy_stays(cleaned):
    crawl, result = cleaned
    kinds = {page.id: page.truth.kind for page in crawl}
    assert {"wrong_language", "duplicate"}.isdisjoint(kinds[one.id] for one in result.kept)
    assert len({one.text for one in result.kept}) == len(result.kept)


def test_in_the_other_order_mojibake_cannot_be_repaired():
    """Cleaning takes a no-break space for white space, and drops control characters; in mojibake they were letters."""
    from labkit.corpora.crawl import mojibake

    text = "大家都加入这里。" * 12
    broken = Document("a", mojibake(text))
    assert normalise_characters(repair_mojibake(broken)).text == text
    assert repair_mojibake(normalise_characters(broken)).text != text
    names = standard().names
    assert names.index("repair mojibake") < names.index("normalise characters")


def test_copies_are_looked_for_among_main_texts_because_pages_hide_them():
    menus = [" ".join(f"{word}{number}" for number in range(60)) for word in ("Home", "Start")]
    pages = [f"<html><body><nav>{menu}</nav><p>{PROSE}</p></body></html>" for menu in menus]
    documents = [Document(str(number), page) for number, page in enumerate(pages)]
    assert len(run(Pipeline(()), documents).kept) == 2
    assert len(run(standard(), documents).kept) == 1


def bad_input():
    draw = random.Random(0)
    yield "picture", b"\x89PNG\r\n\x1a\n" + draw.randbytes(3000)
    yield "noise", draw.randbytes(5000)
    yield "zeros", b"\x00" * 5000
    yield "bomb", b"<html><body>" + b"<div>" * 300_000 + b"text"
    yield "large", b"x" * 5_000_000


def test_bad_input_ends_in_quarantine_or_is_removed_and_the_rest_is_kept():
    good = Document("good", raw=PROSE.encode())
    nul = Document("nul", raw=PROSE.replace(" ", " \x00", 1).encode())
    broken = Document("broken", raw=PROSE.encode().replace(b"Monday", b"Mond\xe4y"))
    documents = [good, *(Document(name, raw=raw) for name, raw in bad_input()), nul, broken]
    result = run(standard(near=None, exact=False), documents)
    assert {one.id for one in result.kept} == {"good", "nul", "broken"}
    assert {"picture", "noise", "zeros", "bomb", "large"} == {one.id for one in (*result.quarantined, *result.removed)}
    assert {"picture", "bomb", "large"} <= {one.id for one in result.quarantined}
    assert all("\x00" not in one.text for one in result.kept)
    again = {one.id: Document.from_json(one.line).raw for one in result.quarantined}
    assert again["picture"] == dict(bad_input())["picture"]


def test_every_threshold_is_part_of_what_the_pipeline_is_recognised_by():
    others = [
        standard(("en",)),
        standard(language_threshold=0.6),
        standard(form="NFKC"),
        standard(token="[{kind}]"),
        standard(kinds=("email",)),
        standard(near=0.75),
        standard(most_unreadable=0.1),
    ]
    assert len({one.fingerprint for one in [standard(), *others]}) == 8
    assert isinstance(standard(), Pipeline) and standard().names[-2:] == ("exact copies", "near copies")
