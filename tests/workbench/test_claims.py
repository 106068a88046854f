"""The ledger: a claim that holds is recorded, one that fails stops the notebook, one that cannot fail is refused."""

import contextlib
import json
import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.workbench import claims, personal
from labkit.workbench.agreement import compare
from labkit.workbench.bounds import Bound, at_least, at_most, between
from labkit.workbench.claims import ClaimFailed, claim, ledger


@pytest.fixture(autouse=True)
def empty_ledger(monkeypatch):
    monkeypatch.setattr(claims, "_records", {})


def printed(capsys, *arguments, **keywords):
    claim(*arguments, **keywords)
    return capsys.readouterr().out.rstrip("\n")


def test_a_claim_worked_by_hand_prints_one_verdict_line(capsys):
    line = printed(capsys, "reference", "P(b | a) as in NLTK", 0.25, 1 / 4, 1e-9, "nltk.lm.MLE.score")
    assert line == "✓ [reference] P(b | a) as in NLTK · measured 0.25, expected 0.25 ± 1e-09 (nltk.lm.MLE.score)"


@pytest.mark.parametrize("kind", ["equation", "reference", "published"])
def test_each_kind_prints_its_name_and_both_sides(capsys, kind):
    assert printed(capsys, kind, "s", 2, 2, source="t") == f"✓ [{kind}] s · measured 2, expected 2 (t)"


def test_a_measured_figure_is_marked_as_differing_between_machines(capsys):
    line = printed(capsys, "measured", "faster", 12.3456789, at_least(3), source="one run")
    assert line == "✓ [measured] faster · measured ‹12.3457›, expected at least 3 (one run)"


@pytest.mark.parametrize(("kind", "raises"), [("measured", False), ("equation", True)])
def test_a_measurement_beyond_its_bound_does_not_stop_the_page_of_a_student_with_own_numbers(
    monkeypatch, capsys, kind, raises
):
    monkeypatch.setattr(personal, "_here", {"student": "4711", "course": "a course · a term"})
    with pytest.raises(ClaimFailed) if raises else contextlib.nullcontext():
        claim(kind, "two is three", 2, 3, source="nobody")
    said = capsys.readouterr().out
    assert "✗" in said and ("With your numbers it came out otherwise" in said) != raises
    assert "1 failed" in ledger().summary()


def test_a_failed_claim_raises_and_stays_in_the_ledger_as_failed(capsys):
    with pytest.raises(ClaimFailed) as failure:
        claim("published", "discount", np.array([[1.0, 2.5], [3.0, 4.0]]), [[1, 2], [3, 4]], 0.1, "table 2")
    message = str(failure.value)
    assert "largest deviation 0.5 at index (0, 1): measured 2.5, expected 2.0" in message
    assert "discount" in message and "± 0.1" in message and "table 2" in message
    assert capsys.readouterr().out.startswith("✗ [published] discount")
    assert [record.passed for record in ledger()] == [False]
    assert "1 failed" in repr(ledger())


def test_running_a_cell_again_replaces_its_line():
    for _ in range(2):
        claim("equation", "a", 1, 1, source="s")
    claim("equation", "b", 1, 1, source="s")
    assert len(ledger()) == 2
    assert repr(ledger()).splitlines()[0] == "2 claims, all hold: 2 equation"


def test_an_empty_ledger_says_so():
    assert repr(ledger()) == "no claims yet in this kernel"
    assert "no claims yet" in ledger()._repr_html_()


def test_the_ledger_table_escapes_html_and_names_verdicts_in_words():
    claim("equation", "<s> is never predicted", 0, 0, source="a & b")
    page = ledger()._repr_html_()
    assert "&lt;s&gt; is never predicted" in page and "a &amp; b" in page and "<s>" not in page


def test_a_record_is_valid_json_with_all_eight_fields_but_the_notebook():
    claim("equation", "infinite", math.inf, math.inf, source="s")
    claim("equation", "third", Fraction(1, 3), Fraction(1, 3), source="s")
    claim("measured", "bound", 2.0, between(1, 3), source="s")
    claim("published", "share", 0.101, 0.1, "2%", source="s")
    records = [record.as_json() for record in ledger()]
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert list(records[0]) == ["kind", "statement", "measured", "expected", "tolerance", "source", "passed"]
    assert [r["measured"] for r in records] == ["inf", "1/3", 2.0, 0.101]
    assert records[2]["expected"] == "between 1 and 3" and records[3]["tolerance"] == "2%"


def test_arrays_are_summarised_by_their_largest_difference(capsys):
    line = printed(capsys, "equation", "sums", np.array([1.0, 1.0]), 1.0, 1e-9, "eq. 1")
    assert line == "✓ [equation] sums · measured largest difference 0.0, expected 0.0 ± 1e-09 (eq. 1)"


def test_rounding_differences_of_float32_are_marked_as_differing_between_machines(capsys):
    line = printed(capsys, "reference", "logits", np.array([1.0 + 4.2e-7, 2.0]), np.array([1.0, 2.0]), 1e-5, "torch")
    assert "measured largest difference ‹4.2e-07›, expected 0.0 ± 1e-05" in line


@pytest.mark.parametrize(
    ("measured", "expected", "tolerance"),
    [
        (3, 3, None),
        (np.int64(3), 3, None),
        (np.float32(0.5), 0.5, 0.0),
        (True, True, None),
        (np.True_, True, None),
        ("the", "the", None),
        (["DET", "NOUN"], ("DET", "NOUN"), None),
        (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]], None),
        (np.array([True, False]), [True, False], None),
        (pd.Series([0.5, 0.25]), [0.5, 0.25], 1e-12),
        (np.array(2.0), 2.0, 1e-12),
        (99.0, 100, "1%"),
        (101, 100, "1 %"),
        (np.array([99.0, 202.0]), np.array([100.0, 200.0]), "1%"),
        (math.inf, math.inf, None),
        (np.array([1.0, math.inf]), np.array([1.0, math.inf]), 1e-9),
        (2**70, 2**70, None),
        (Fraction(2, 6), Fraction(1, 3), None),
        (5, at_least(5), None),
        (5, at_most(5), None),
        (np.array([1.0, 3.0]), between(1, 3), None),
    ],
)
def test_what_agrees_passes(measured, expected, tolerance):
    assert compare(measured, expected, tolerance).failure == ""


@pytest.mark.parametrize(
    ("measured", "expected", "tolerance", "words"),
    [
        (3, 4, None, "deviation 1"),
        (2**53, 2**53 + 1, None, ""),
        (True, False, None, "differ"),
        ("the", "The", None, "differ"),
        (["DET", "VERB"], ["DET", "NOUN"], None, "at index 1: measured 'VERB', expected 'NOUN'"),
        (np.array([1, 2, 4]), np.array([1, 2, 3]), None, "at index 2: measured 4, expected 3"),
        (math.nan, 1.0, 1e9, "inf"),
        (np.array([1.0, math.nan]), 1.0, 1e9, "at index 1: measured nan"),
        (math.nan, at_least(0), None, "nan"),
        (math.nan, at_most(0), None, "nan"),
        (math.inf, 1.0, "99%", "inf"),
        (1.0, math.inf, "1%", "inf"),
        (np.array([1.0, 5.0]), np.array([1.0, math.inf]), "1%", "at index 1"),
        (np.array([1.0, 0.1]), np.array([1.0, 0.0]), "1%", "at index 1"),
        (0.1, 0.0, "50%", "0.1"),
        (98.9, 100.0, "1%", "1.1"),
        (4.999, at_least(5), None, "4.999"),
        (np.array([0.0, 5.0, 9.0]), between(1, 6), None, "2 of 3 outside; largest deviation at index 2: 9.0"),
        (np.ones(3), np.ones(4), 1.0, "the shapes differ: (3,) came, (4,) was expected"),
        (1.0, np.ones(4), 1.0, "the shapes differ"),
    ],
)
def test_what_differs_fails_and_says_where(measured, expected, tolerance, words):
    failure = compare(measured, expected, tolerance).failure
    assert failure and words in failure


SHARED = np.arange(3.0)


@pytest.mark.parametrize(
    ("measured", "expected", "tolerance", "words"),
    [
        (SHARED, SHARED, 1e-9, "same object"),
        (SHARED, SHARED[:], 1e-9, "same object"),
        (1.0, 1.0, None, "no tolerance"),
        (1, 1.0, None, "no tolerance"),
        (np.ones(2), np.ones(2), None, "no tolerance"),
        (1.0, 1.0, math.inf, "finite"),
        (1.0, 1.0, math.nan, "finite"),
        (1.0, 1.0, -1e-9, "0 or more"),
        (1.0, 1.0, True, "finite"),
        (1.0, 1.0, "100%", "below 100"),
        (1.0, 1.0, "0%", "above 0"),
        (1.0, 1.0, "a bit", "percentage"),
        (1.0, math.nan, 1.0, "NaN"),
        (np.ones(2), np.array([1.0, math.nan]), 1.0, "NaN"),
        (np.array([]), np.array([]), 1e-9, "empty"),
        ([], 1.0, 1e-9, "empty"),
        (np.array([]), at_least(0), None, "empty"),
        (1, True, None, "compare like with like"),
        ("1", 1, None, "compare like with like"),
        ("a", "a", 1e-9, "compared exactly"),
        ("a", at_least(1), None, "for numbers"),
        (1.0, at_least(0), 1e-9, "takes none"),
        (["a", 1], ["a", "1"], None, "nothing but strings"),
        ([[1, 2], [3]], [[1, 2], [3, 4]], None, "differ in length"),
        (None, 1, None, "must hold numbers"),
        ({"a": 1}, {"a": 1}, None, "must hold numbers"),
        (1 + 2j, 1 + 2j, 1e-9, "must hold numbers"),
    ],
)
def test_what_cannot_fail_or_be_compared_is_refused(measured, expected, tolerance, words):
    with pytest.raises(ValueError, match=words):
        compare(measured, expected, tolerance)


def test_overlapping_but_different_views_may_be_compared():
    flat = np.ones(4)
    assert compare(flat[1:], flat[:-1], 1e-9).failure == ""


@pytest.mark.parametrize("make", [at_least, at_most, lambda x: between(0, x), lambda x: between(x, 0)])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_bound_that_is_not_finite_is_refused(make, value):
    with pytest.raises(ValueError, match="finite"):
        make(value)


def test_bounds_say_what_they_ask_for():
    assert [str(b) for b in (at_least(3), at_most(0.5), between(1, 2))] == [
        "at least 3",
        "at most 0.5",
        "between 1 and 2",
    ]
    with pytest.raises(ValueError, match="lower bound first"):
        between(2, 1)


@pytest.mark.parametrize(
    ("kind", "statement", "source", "words"),
    [("refrence", "s", "t", "reference"), ("equation", " ", "t", "no statement"), ("equation", "s", " ", "no source")],
)
def test_a_claim_without_kind_statement_or_source_is_refused(kind, statement, source, words):
    with pytest.raises(ValueError, match=words):
        claim(kind, statement, 1, 1, source=source)
    assert len(ledger()) == 0


class Tensor:
    """Stands for a torch tensor: the same three methods, without importing torch for a test of claims."""

    def __init__(self, values, dtype="torch.float32"):
        self.values, self.dtype = np.array(values, dtype=np.float32), dtype

    def detach(self):
        return self

    cpu = detach

    def float(self):
        return Tensor(self.values)

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


@pytest.mark.parametrize("dtype", ["torch.float32", "torch.bfloat16"])
def test_tensors_are_compared_as_arrays(dtype):
    assert compare(Tensor([1.0, 2.0], dtype), [1.0, 2.0], 1e-6).failure == ""
    assert compare(Tensor([1.0, 2.5], dtype), Tensor([1.0, 2.0]), 1e-6).failure
    assert compare(Tensor(1.5, dtype), 1.5, 1e-6).measured == 1.5


def test_real_tensors_are_compared_as_arrays():
    torch = pytest.importorskip("torch")
    weights = torch.ones(2, 3, requires_grad=True)
    assert compare(weights.sum(1), 3.0, 1e-6).failure == ""
    assert compare(weights.bfloat16(), np.ones((2, 3)), 1e-6).failure == ""


FINITE = st.floats(-1e6, 1e6)


@given(FINITE, FINITE, st.floats(0, 1e3))
def test_a_number_passes_exactly_when_its_distance_is_within_the_tolerance(measured, expected, tolerance):
    assert (compare(measured, expected, tolerance).failure == "") == (abs(measured - expected) <= tolerance)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=6), st.floats(1e-6, 10))
def test_an_array_passes_exactly_when_numpy_finds_it_close(pairs, tolerance):
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    close = bool((np.abs(left - right) <= tolerance).all())
    assert (compare(left, right, tolerance).failure == "") == close


@given(st.lists(FINITE, min_size=1), st.tuples(FINITE, FINITE).map(sorted))
def test_a_bound_holds_exactly_when_every_number_lies_inside(values, ends):
    inside = all(ends[0] <= value <= ends[1] for value in values)
    assert (compare(values, Bound(*ends), None).failure == "") == inside
