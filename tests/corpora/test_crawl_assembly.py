"""The crawl as a whole: shares, order, exact truths, and what survives a file."""

import base64
import json
import sys
from collections import Counter, defaultdict

import pytest

from labkit.corpora.crawl import (
    LANGUAGES,
    article,
    foreign,
    mojibake,
    raw_crawl,
    read_crawl,
    true_jaccard,
    word_shingles,
    write_crawl,
)

pytest.importorskip("faker")


@pytest.fixture(scope="module")
def crawl():
    return raw_crawl(200, seed=5)


def test_kinds_come_in_the_shares_that_are_promised(crawl):
    kinds = Counter(document.truth.kind for document in crawl)
    assert kinds == {"good": 100, "low_quality": 30, "wrong_language": 20, "duplicate": 20, "near_duplicate": 30}
    assert sum(document.truth.mojibake for document in crawl) == 10
    languages = Counter(document.truth.language for document in crawl if document.truth.kind == "good")
    assert 1.6 < languages["en"] / languages["zh"] < 2.4
    personal = [bool(d.truth.personal) for d in crawl if d.truth.kind == "good"]
    assert 0.08 < sum(personal) / len(personal) < 0.35


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(crawl):
    assert raw_crawl(200, seed=5) == crawl
    assert raw_crawl(200, seed=6)[0].raw != crawl[0].raw


def test_bytes_hold_every_paragraph_of_the_main_text_in_the_encoding_told(crawl):
    parser = pytest.importorskip("selectolax.lexbor")
    for document in crawl:
        body = parser.LexborHTMLParser(document.raw.decode(document.truth.encoding)).body
        for node in body.css("script,style"):
            node.decompose()
        seen = "".join(body.text(separator="").split())
        for text in document.truth.paragraphs:
            written = mojibake(text) if document.truth.mojibake else text
            assert "".join(written.split()) in seen, document.id
        for text in document.truth.boilerplate:
            assert "".join(text.split()) in seen, document.id


def test_mojibake_is_in_the_bytes_and_not_in_the_text_wanted(crawl):
    for document in (d for d in crawl if d.truth.mojibake):
        page = document.raw.decode(document.truth.encoding)
        broken = [p for p in document.truth.paragraphs if not p.isascii()]
        assert broken
        assert not any(p in page for p in broken)


def test_copies_stand_after_their_original_and_their_jaccard_is_exact(crawl):
    place = {document.id: number for number, document in enumerate(crawl)}
    for document in crawl:
        truth = document.truth
        if truth.copy_of is None:
            assert truth.jaccard == 0
            continue
        original = crawl[place[truth.copy_of]]
        assert place[truth.copy_of] < place[document.id]
        assert original.truth.kind == "good"
        assert truth.jaccard == true_jaccard(truth.main, original.truth.main, language=truth.language)
        assert (truth.main == original.truth.main) == (truth.kind == "duplicate")
        assert original.raw != document.raw


def test_near_copies_span_the_similarities_from_one_half_to_nearly_one(crawl):
    found = sorted(d.truth.jaccard for d in crawl if d.truth.kind == "near_duplicate")
    assert found[0] > 0.4
    assert found[-1] < 1
    assert all(any(low <= s < low + 0.1 for s in found) for low in (0.5, 0.6, 0.7, 0.8, 0.88))


def test_nothing_is_alike_that_is_not_said_to_be(crawl):
    families = {d.id: d.truth.copy_of or d.id for d in crawl}
    where, sizes = defaultdict(list), {}
    for document in crawl:
        shingles = word_shingles(document.truth.main, language=document.truth.language)
        sizes[document.id] = len(shingles)
        for shingle in shingles:
            where[shingle].append(document.id)
    shared = Counter((a, b) for ids in where.values() for i, a in enumerate(ids) for b in ids[:i])
    for (a, b), both in shared.items():
        if families[a] != families[b]:
            assert both / (sizes[a] + sizes[b] - both) < 0.3


def test_personal_data_lie_where_the_truth_says(crawl):
    for document in crawl:
        truth = document.truth
        assert {truth.main[start:end] for start, end, _ in truth.spans} == set(truth.personal)


def test_declarations_are_right_wrong_and_missing(crawl):
    headers = Counter(d.declared is None for d in crawl)
    assert headers[True] > 20 < headers[False]
    wrong = [d for d in crawl if d.declared == "utf-8" and d.truth.encoding in ("cp1252", "gb18030")]
    right = [d for d in crawl if d.declared == "gb2312" and d.truth.encoding == "gb18030"]
    assert wrong
    assert right


def test_a_crawl_comes_back_from_its_file_as_it_was(tmp_path, crawl):
    size = write_crawl(tmp_path / "crawl.jsonl", crawl)
    assert size == (tmp_path / "crawl.jsonl").stat().st_size
    assert read_crawl(tmp_path / "crawl.jsonl") == crawl
    first = json.loads((tmp_path / "crawl.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert base64.b64decode(first["raw"]) == crawl[0].raw


def test_a_spoilt_file_is_refused_by_the_number_of_its_line(tmp_path, crawl):
    write_crawl(tmp_path / "crawl.jsonl", crawl[:2])
    with (tmp_path / "crawl.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "x"}\n')
    with pytest.raises(ValueError, match="line 3 is no document"):
        read_crawl(tmp_path / "crawl.jsonl")


def test_one_language_alone_and_one_without_prose():
    assert {d.truth.language for d in raw_crawl(20, languages=("zh",)) if d.truth.kind == "good"} == {"zh"}
    with pytest.raises(ValueError, match="there is prose for en and zh"):
        raw_crawl(20, languages=("en", "tlh"))
    with pytest.raises(ValueError, match="at least 20 documents"):
        raw_crawl(3)


def test_paragraphs_of_many_languages_carry_the_right_scripts():
    texts = foreign(2 * len(LANGUAGES), seed=1)
    assert Counter(language for _, language in texts) == dict.fromkeys(LANGUAGES, 2)
    letters = {"ru": "а-я", "el": "α-ω", "ar": "\u0600-\u06ff", "th": "\u0e00-\u0e7f", "bn": "\u0980-\u09ff"}
    for text, language in texts:
        if language in letters:
            low, high = letters[language].split("-")
            assert sum(low <= c <= high for c in text.lower()) > len(text) * 0.6


def test_without_faker_the_message_says_what_to_install(monkeypatch):
    from labkit.corpora.crawl import languages

    languages.word_list.cache_clear()
    monkeypatch.setitem(sys.modules, "faker.providers.lorem.ru_RU", None)
    with pytest.raises(ModuleNotFoundError, match=r"llm-labkit\[cleaning\]"):
        languages.word_list("ru")


def test_an_article_has_a_title_and_keeps_its_paragraphs_in_order():
    blocks = article(["One thing is said here. And more.", "Two.", "Three."], seed=3)
    assert blocks[0] == ("h1", "One thing is said here")
    assert [text for tag, text in blocks if tag == "p"] == ["One thing is said here. And more.", "Two.", "Three."]
    assert blocks == article(["One thing is said here. And more.", "Two.", "Three."], seed=3)
