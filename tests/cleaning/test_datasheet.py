"""The datasheet of a run."""

import hashlib
import re
import time

import pytest

from labkit.cleaning.datasheet import _MASK, OPEN, SECTIONS, datasheet, general, markdown, set_hash, write_datasheet
from labkit.cleaning.documents import Document
from labkit.cleaning.pipeline import Drop, Pipeline, run, step


def keep_long(document, least):
    return (
        document if len(document.text) >= least else Drop(f"{len(document.text)} characters, at least {least} wanted")
    )


PIPELINE = Pipeline((step(keep_long, least=12),))
DOCUMENTS = [
    Document("doc-1", "write to <email> or <phone> or <email>", language="en"),
    Document("doc-2", "short", language="en"),
    Document("doc-3", "天下大势，分久必合，合久必分。", language="zh"),
    Document("doc-4", "write to <email> or <phone> or <email>", language="en"),
]


@pytest.fixture
def result():
    return run(PIPELINE, DOCUMENTS)


def test_it_has_the_sections_of_the_paper_in_their_order(result):
    sheet = datasheet(result, name="Test")
    assert re.findall(r"^## (.*)$", sheet, re.M) == list(SECTIONS)
    assert sheet.startswith("# Datasheet: Test\n")
    assert f"## Motivation\n\n{OPEN}" in sheet, "a machine does not know why the set was made, and says so"


def test_counts_reasons_settings_masks_and_licences_are_filled_in(result):
    sheet = datasheet(result, name="T", pipeline=PIPELINE, sources=[("a|b", "CC BY-SA 3.0", "here")], limits=["Small."])
    for line in (
        "| keep long | 1 | 3 |",
        "| exact copies | 1 | 2 |",
        "- keep long: … characters, at least … wanted (1)",
        "- keep long: least = 12",
        "4 documents were read.",
        "Personal data replaced by masks: 2 email, 1 phone.",
        "| a\\|b | CC BY-SA 3.0 | here |",
        "| zh | 1 | 50.0% | 15 |",
        "- Small.",
    ):
        assert line in sheet.splitlines(), line
    assert PIPELINE.fingerprint in sheet


def test_the_hash_is_that_of_the_texts_and_does_not_depend_on_their_order(result):
    lines = sorted(f"{d.id} {hashlib.sha256(d.text.encode()).hexdigest()}\n" for d in result.kept)
    assert set_hash(result.kept) == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert set_hash(result.kept[::-1]) == set_hash(result.kept)
    assert set_hash([Document("doc-1", "other")]) != set_hash(result.kept[:1])
    assert set_hash(result.kept) in datasheet(result, name="T")


def test_answers_of_people_are_put_in_and_wrong_sections_refused(result):
    assert "## Motivation\n\nTo teach." in datasheet(result, name="T", answers={"Motivation": "To teach."})
    with pytest.raises(ValueError, match="Motive"):
        datasheet(result, name="T", answers={"Motive": "?"})


def test_a_run_that_kept_nothing_has_no_datasheet():
    with pytest.raises(ValueError, match="no documents to report on"):
        datasheet(run(PIPELINE, DOCUMENTS[1:2]), name="T")


def test_it_is_written_as_a_whole(tmp_path, result):
    path = write_datasheet(tmp_path / "DATASHEET.md", result, name="写")
    assert path.read_text(encoding="utf-8") == datasheet(result, name="写")
    assert [p.name for p in tmp_path.iterdir()] == ["DATASHEET.md"]


def test_reasons_lose_what_is_particular_and_keep_names_with_digits_in_them():
    assert general("the text of doc-00017") == "the text of …"
    assert general("top_2_gram: 0.25, at most 0.2 wanted") == "top_2_gram: … at most … wanted"


@pytest.mark.parametrize("piece", ["1,", "a-", "1.", "-1", "1a", "<email"])
def test_hostile_reasons_cost_no_more_than_their_length(piece):
    def seconds(times):
        text = piece * times + "x"
        start = time.process_time()
        for _ in range(3):
            general(text)
            _MASK.findall(text)
        return time.process_time() - start

    short, long = seconds(4_000), seconds(32_000)
    assert long <= 8 * 4 * max(short, 0.002)


def test_text_that_utf8_cannot_write_has_a_hash_and_a_line_end_does_not_break_a_table():
    assert set_hash([Document("1", "\ud800")]) != set_hash([Document("1", "\ud801")])
    assert markdown(("a",), [("x\r\ny | z",)])[-1] == "| x y \\| z |"
