"""Completeness, consistency and balance."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.balance import (
    class_weights,
    compare,
    contradicts,
    report,
    resample,
    script,
    table,
    temperature_shares,
)
from labkit.cleaning.documents import Document

RECORDS = [
    {"id": "a", "text": "one two three", "language": "en", "source": "web"},
    {"id": "b", "text": "", "language": "en", "source": "web"},
    {"id": "b", "text": "四个汉字", "language": "zh", "source": "book"},
    {"id": "c", "text": "ещё один текст", "language": "en", "source": ""},
]


def test_a_report_by_hand():
    found = report(RECORDS, ("language", "source", "length"))
    assert (found.documents, found.words) == (4, 3 + 0 + 4 + 3)
    assert found.missing == {"id": 0, "text": 1, "language": 0, "source": 1}
    assert (found.empty, found.repeated_ids) == (1, 1)
    assert found.inconsistent == ("c",), "Russian letters under the label English"
    assert found.rows("language") == [("en", 3, 0.75, 6), ("zh", 1, 0.25, 4)]
    assert found.rows("source")[0] == ("web", 2, 0.5, 3)
    assert ("(missing)", 1, 0.25, 3) in found.rows("source")
    assert "missing: text 1, source 1; without text: 1; same id: 1" in str(found)


def test_attributes_and_notes_are_labels_too():
    documents = [Document("1", "a b", notes=(("encoding", "utf-8"),)), Document("2", "c", language="en")]
    found = report(documents, ("encoding", "language"))
    assert [row[0] for row in found.rows("encoding")] == ["(missing)", "utf-8"]
    assert found.missing["language"] == 1


def test_evenness_is_one_for_equal_counts_and_falls_with_one_sided_ones():
    def of(*counts):
        return report([{"id": (i, j), "text": "x", "k": i} for i, n in enumerate(counts) for j in range(n)], ("k",))

    assert of(5, 5, 5).evenness("k") == pytest.approx(1)
    assert of(3, 1).evenness("k") == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert of(4).evenness("k") == 0


def test_a_comparison_holds_what_came_and_what_went():
    after = [RECORDS[0], {"id": "d", "text": "neu", "language": "de"}]
    assert compare(RECORDS, after).rows == [
        ("en", 3, 0.75, 1, 0.5, 1 / 3),
        ("zh", 1, 0.25, 0, 0.0, 0.0),
        ("de", 0, 0.0, 1, 0.5, math.inf),
    ]
    assert str(compare(RECORDS, RECORDS)).splitlines()[1].split() == ["en", "3", "75.0%", "3", "75.0%", "100%"]


def test_scripts_and_what_contradicts_them():
    assert [script(t) for t in ("Ωμέγα", "ひらがなと漢字", "สวัสดี", "12:30", "Łódź")] == [
        "Greek",
        "Kana",
        "Thai",
        "",
        "Latin",
    ]
    assert contradicts("Привет", "en")
    assert not contradicts("Привет", "uk")
    assert not contradicts("Привет", "xx"), "an unknown language is not judged"
    assert not contradicts("汉字", "ja")


@given(st.lists(st.sampled_from("abc"), min_size=1))
@settings(max_examples=30)
def test_class_weights_are_scikit_learns_balanced_ones(labels):
    weights = pytest.importorskip("sklearn.utils.class_weight")
    classes = sorted(set(labels))
    expected = weights.compute_class_weight("balanced", classes=np.array(classes), y=np.array(labels))
    assert [class_weights(labels)[c] for c in classes] == pytest.approx(list(expected))
    assert sum(class_weights(labels)[label] for label in labels) == pytest.approx(len(labels))


def test_temperature_goes_from_equal_shares_to_those_that_are():
    counts = {"en": 81, "sw": 16, "is": 1}
    assert list(temperature_shares(counts, 0).values()) == pytest.approx([1 / 3] * 3)
    assert list(temperature_shares(counts, 1).values()) == pytest.approx([81 / 98, 16 / 98, 1 / 98])
    assert list(temperature_shares(counts, 0.5).values()) == pytest.approx([9 / 14, 4 / 14, 1 / 14])


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), st.integers(0, 9))
@settings(max_examples=30)
def test_resampling_makes_classes_even_and_repeats_as_little_as_it_can(labels, seed):
    counts = Counter(labels)
    for how, level in (("over", max(counts.values())), ("under", min(counts.values()))):
        drawn = resample(labels, how=how, seed=seed)
        assert Counter(labels[i] for i in drawn) == dict.fromkeys(counts, level)
        for label in counts:
            times = Counter(i for i in drawn if labels[i] == label)
            assert max(times.values()) - min(times.values()) <= 1 or len(times) < counts[label]
            assert max(times.values()) <= math.ceil(level / counts[label])
    assert len(resample(labels, how="temperature", alpha=0.3, size=37, seed=seed)) == 37


def test_wide_characters_count_two_in_tables():
    assert table(("语言", "n"), [("en", "10"), ("中文", "7")]) == ["语言   n", "en    10", "中文   7"]


def test_what_cannot_be_reported_or_drawn_is_refused():
    with pytest.raises(ValueError, match="no documents to report on"):
        report([])
    with pytest.raises(ValueError, match="no label 'colour'"):
        report(RECORDS).rows("colour")
    with pytest.raises(ValueError, match="how='both'"):
        resample(["a"], how="both")
    with pytest.raises(ValueError, match="positive counts"):
        temperature_shares({"a": 0})
    with pytest.raises(ValueError, match="no labels to weigh"):
        class_weights([])


def test_documents_without_an_id_do_not_count_as_the_same_id():
    assert report([{"text": "a"}, {"text": "b"}, {"id": "1", "text": "c"}, {"id": "1", "text": "d"}]).repeated_ids == 1


def test_full_width_letters_and_serbian_in_latin_letters_contradict_nothing():
    labelled = [("Ｈｅｌｌｏ ｗｏｒｌｄ", "en"), ("ﾊﾛｰ", "ja"), ("Dobar dan", "sr")]
    assert not any(contradicts(text, language) for text, language in labelled)


def test_bytes_and_a_negative_size_are_refused():
    with pytest.raises(ValueError, match="a text is a string, got bytes: decode"):
        report([{"id": "1", "text": b"abc"}])
    with pytest.raises(ValueError, match="size=-5"):
        resample(["a", "b"], how="temperature", size=-5)
