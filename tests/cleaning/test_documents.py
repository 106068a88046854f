"""Documents as lines: what is written is read again, what is broken is set apart, what is long stays on the disk."""

import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import settings as few
from hypothesis import strategies as st

from labkit.cleaning.documents import Broken, Document, from_crawl, lines, read, too_long

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_a_line_holds_the_fields_that_are_not_empty():
    assert json.loads(Document("a", raw=b"\xff\x00", declared="gbk").to_json()) == {
        "id": "a",
        "raw": base64.b64encode(b"\xff\x00").decode(),
        "declared": "gbk",
    }


@few(max_examples=50)
@given(TEXT.filter(bool), TEXT, st.binary(max_size=9), st.none() | TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=2))
def test_what_is_written_is_read_again_and_takes_one_line(name, text, raw, declared, notes):
    document = Document(name, text, raw, declared or None, notes=tuple(notes))
    line = document.to_json().encode()
    assert Document.from_json(line) == document
    assert b"\n" not in line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{broken", "not JSON"),
        (b'{"id": "cut', "not JSON: Unterminated string starting at character 7"),
        (b'["id"]', "JSON object"),
        (b'{"text": "a"}', "needs an id"),
        (b'{"id": 7}', "id should be a string, got int"),
        (b'{"id": "a", "raw": "?"}', "not base64"),
        (b'{"id": "a", "notes": [1]}', "list of pairs"),
        (b'{"id": "\xff"}', "not UTF-8: byte 0xff"),
        (b'{"id": "\\ud83d"}', "surrogate"),
        (b'{"id": "a\x00"}', "control character"),
        (b'{"id": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_document_is_refused_with_the_reason(line, why):
    with pytest.raises(ValueError, match=why):
        Document.from_json(line)


def test_fields_that_a_document_does_not_have_are_passed_over():
    assert Document.from_json('{"id": "a", "truth": {"kind": "good"}, "text": null}') == Document("a")


def test_a_crawled_page_becomes_a_document_without_its_truth():
    class Page:
        id, url, raw, declared, truth = "a", "http://a", b"x", None, "secret"

    assert from_crawl([Page()]) == [Document("a", raw=b"x", url="http://a")]


@pytest.mark.parametrize("name", ["crawl.jsonl", "crawl.jsonl.gz"])
def test_a_file_gives_its_documents_in_order_and_broken_lines_in_their_place(tmp_path, name):
    content = b'{"id":"a"}\r\n\n   \n{no\n' + b"x" * 90_000 + b'\n{"id":"b"}'
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = list(read([tmp_path / name], longest=100))
    assert [one.id for one in found] == ["a", f"{name}:17", f"{name}:21", "b"]
    assert isinstance(found[1], Broken) and "not JSON" in found[1].reason
    assert found[2].reason == "longer than 100 bytes" and found[2].length == 90_001 and len(found[2].line) < 1000


def test_a_damaged_archive_gives_what_it_has_and_says_so(tmp_path):
    content = b"".join(b'{"id":"%d"}\n' % number for number in range(5000))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(content)[:-3000])
    found = list(read([tmp_path / "cut.gz"]))
    assert found[0] == Document("0") and found[-1].reason == "the compressed file is damaged from here on"
    assert all(isinstance(one, Document) for one in found[:-1])


@few(max_examples=30)
@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 60))
def test_ranges_that_meet_give_every_line_once(tmp_path_factory, sizes, cut):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(b"".join(b"x" * size + b"\n" for size in sizes))
    starts = [offset for offset, _, _ in lines(path, 1000)]
    middle = next((start for start in starts if start >= cut), path.stat().st_size)
    halves = [*lines(path, 1000, 0, middle), *lines(path, 1000, middle)]
    assert halves == list(lines(path, 1000))


def test_the_length_of_a_document_is_in_bytes_of_both_forms():
    assert too_long(Document("a", "你好", b"abc"), 9) == ""
    assert too_long(Document("a", "你好", b"abc"), 8) == "longer than 8 bytes"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_the_first_document(name, tmp_path):
    data = '{"id":"1"}\r\n{"id":"2"}'.encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [document.id for document in read([tmp_path / name])] == ["1", "2"]
