"""Rates, plans and expected pairs."""

import numpy as np
import pytest

from labkit.cleaning.banding import Bands
from labkit.cleaning.documents import Document
from labkit.cleaning.forecast import Rate, amount, count, expected_candidates, measured_rate, measured_rates, plan
from labkit.cleaning.pipeline import Drop

RATES = {
    "decode": Rate(2e6, 1000, 1000),
    "text": Rate(1e6, 1000, 100, kept=0.5),
    "rules": Rate(5e6, 100, 100, kept=0.2),
}


def test_a_plan_by_hand():
    made = plan(RATES, stored_bytes=3.6e9, page_bytes=1000, cores=10, bands=Bands(14, 8))
    assert [(row.documents, row.bytes) for row in made.rows] == [
        (3.6e6, 3.6e9),
        (3.6e6, 3.6e9),
        (1.8e6, pytest.approx(1.8e8)),
    ]
    assert [row.cpu_hours for row in made.rows] == pytest.approx([0.5, 1.0, 0.01])
    assert made.hours == pytest.approx(made.cpu_hours / 10)
    assert made.documents_kept == pytest.approx(3.6e5)
    assert made.bytes_kept == pytest.approx(3.6e7)
    assert made.key_bytes == 1.8e6 * 14 * 16, "a key and a number of 8 bytes each for every band"
    assert "3.6 million" in str(made)


def test_hours_grow_with_the_bytes_and_fall_with_the_cores():
    small, large = plan(RATES, stored_bytes=1e12, cores=100), plan(RATES, stored_bytes=1e15, cores=1000)
    assert large.cpu_hours == pytest.approx(1000 * small.cpu_hours)
    assert large.hours == pytest.approx(100 * small.hours)


def test_no_step_is_faster_than_the_disk_and_markup_can_be_told():
    fast = {"a": Rate(1e12, 10, 10)}
    assert plan(fast, stored_bytes=3600e6, cores=1, disk=1e6).hours == pytest.approx(1)
    lean = plan(RATES, stored_bytes=1e9, page_bytes=1000, shrinks={"text": 0.01})
    assert lean.rows[2].bytes == pytest.approx(1e9 * 0.5 * 0.01)


def test_rates_are_measured_on_what_each_step_leaves():
    def shorten(document):
        return Document(document.id, document.text[:5])

    def choose(document):
        if document.id == "2":
            raise ValueError("to quarantine")
        return Drop("odd") if document.id == "1" else document

    documents = [Document(str(i), "ten bytes!") for i in range(4)]
    rates = measured_rates([shorten, choose], documents)
    assert list(rates) == ["shorten", "choose"]
    assert (rates["shorten"].bytes_in, rates["shorten"].bytes_out, rates["shorten"].kept) == (10, 5, 1)
    assert (rates["choose"].bytes_in, rates["choose"].shrinks, rates["choose"].kept) == (5, 1, 0.5)
    assert measured_rate(len, ["ab", "cd"]).bytes_in == 2
    with pytest.raises(ValueError, match="no document is left"):
        measured_rates([lambda d: None, shorten], documents)


def test_keys_that_are_equal_by_accident_are_as_many_as_expected():
    rng = np.random.default_rng(0)
    documents, bands, bits = 3000, 8, 16
    keys = rng.integers(0, 2**bits, size=(bands, documents))
    equal = sum((c * (c - 1) // 2).sum() for c in (np.unique(row, return_counts=True)[1] for row in keys))
    expected = expected_candidates(documents, Bands(bands, 5), key_bits=bits).accidental
    assert equal == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_copies_grow_with_the_documents_and_the_unrelated_with_their_square():
    def pairs(n):
        return expected_candidates(n, Bands(14, 8), copies={0.9: 0.2, 0.5: 0.1}, unrelated=[(0.1, 0.01)])

    small, large = pairs(1e6), pairs(1e8)
    assert large.copies == pytest.approx(100 * small.copies)
    assert large.unrelated == pytest.approx(10_000 * small.unrelated, rel=1e-4)
    assert small.copies == pytest.approx(
        1e6 * (0.2 * Bands(14, 8).probability(0.9) + 0.1 * Bands(14, 8).probability(0.5))
    )
    assert small.total == small.copies + small.unrelated + small.accidental


def test_numbers_are_said_as_people_say_them():
    assert [amount(x) for x in (5, 44e12, 1e15)] == ["5 B", "44 TB", "1 PB"]
    assert [amount(x) for x in (999.4e12, 999.6e12, 999.6e18)] == ["999 TB", "1 PB", "1e+03 EB"]
    assert [count(x) for x in (999.4e6, 999.6e6)] == ["999 million", "1 billion"]
    assert [count(x) for x in (12, 2.08e9, 15e12)] == ["12", "2.08 billion", "15 trillion"]


def test_plans_without_sense_are_refused():
    with pytest.raises(ValueError, match="0 rates"):
        plan({})
    with pytest.raises(ValueError, match="cores=0"):
        plan(RATES, cores=0)
    with pytest.raises(ValueError, match="shrinks names"):
        plan(RATES, shrinks={"other": 0.5})
    with pytest.raises(ValueError, match="must be positive"):
        Rate(0, 1, 1)
    with pytest.raises(ValueError, match="key_bits=0"):
        expected_candidates(10, Bands(2, 2), key_bits=0)


def test_text_that_utf8_cannot_write_has_a_size():
    assert measured_rate(len, ["x\ud800"]).bytes_in == 4
