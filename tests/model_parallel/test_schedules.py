"""Pipeline schedules as data: by hand, against the bubbles of papers and simulator, and those that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.model_parallel.schedules import (
    SCHEDULES,
    bubble_share,
    check_schedule,
    gpipe,
    in_flight,
    interleaved,
    one_f_one_b,
    owners,
    zero_bubble,
    zero_bubble_share,
)
from labkit.ranks.simulation import simulate_pipeline

WHOLE = {"F": 1, "B": 2}
HALVES = {"F": 1, "B": 1, "W": 1}
ANY = st.integers(1, 6)


def said(row):
    return " ".join(map(str, row))


def test_two_ranks_by_hand():
    assert [said(row) for row in gpipe(2, 2)] == ["F0.0 F0.1 B0.0 B0.1", "F1.0 F1.1 B1.0 B1.1"]
    assert [said(row) for row in one_f_one_b(2, 3)] == [
        "F0.0 F0.1 B0.0 F0.2 B0.1 B0.2",
        "F1.0 B1.0 F1.1 B1.1 F1.2 B1.2",
    ]
    assert said(interleaved(2, 2, 2)[1]) == "F1.0 F1.1 F3.0 B3.0 F3.1 B3.1 B1.0 B1.1"
    assert said(zero_bubble(2, 3)[1]) == "F1.0 B1.0 F1.1 B1.1 W1.0 F1.2 B1.2 W1.1 W1.2"


def test_the_first_rank_of_four_as_drawn_by_narayanan_et_al():
    assert said(one_f_one_b(4, 8)[0]).startswith("F0.0 F0.1 F0.2 F0.3 B0.0 F0.4 B0.1 F0.5")
    drawn = "F0.0 F0.1 F0.2 F0.3 F4.0 F4.1 F4.2 F4.3 F0.4 F0.5 F0.6 B4.0 F0.7 B4.1 F4.4 B4.2"
    assert said(interleaved(4, 8, 2)[0]).startswith(drawn)


@given(ranks=ANY, micro_batches=st.integers(1, 9), name=st.sampled_from(["GPipe", "1F1B", "zero bubble"]))
def test_every_schedule_can_be_performed(ranks, micro_batches, name):
    assert check_schedule(SCHEDULES[name](ranks, micro_batches)) == (ranks, micro_batches)


@given(ranks=ANY, rounds=st.integers(1, 3), chunks=st.integers(1, 4))
def test_interleaved_schedules_can_be_performed_and_have_a_shorter_bubble(ranks, rounds, chunks):
    schedule = interleaved(ranks, ranks * rounds, chunks)
    assert check_schedule(schedule) == (ranks * chunks, ranks * rounds)
    assert simulate_pipeline(schedule, WHOLE).bubble == pytest.approx(bubble_share(ranks, ranks * rounds, chunks))


@given(ranks=ANY, micro_batches=st.integers(1, 9))
def test_gpipe_and_1f1b_have_the_bubble_of_the_formula(ranks, micro_batches):
    for make in (gpipe, one_f_one_b):
        bubble = simulate_pipeline(make(ranks, micro_batches), WHOLE).bubble
        assert bubble == pytest.approx(bubble_share(ranks, micro_batches))


@given(ranks=ANY, more=st.integers(0, 6), weights=st.floats(0.1, 1), extra=st.floats(0, 1))
def test_zero_bubble_has_the_bubble_of_its_paper(ranks, more, weights, extra):
    seconds = {"F": weights + extra / 2, "B": weights + extra, "W": weights}  # W is the shortest, as in table 1
    bubble = simulate_pipeline(zero_bubble(ranks, ranks + more), seconds).bubble
    assert bubble <= zero_bubble_share(ranks, ranks + more, *seconds.values()) + 1e-9
    equal = simulate_pipeline(zero_bubble(ranks, ranks + more), HALVES).bubble
    assert equal == pytest.approx(zero_bubble_share(ranks, ranks + more))


@given(ranks=ANY, more=st.integers(0, 6))
def test_what_is_held(ranks, more):
    m = ranks + more
    assert in_flight(gpipe(ranks, m)) == [m] * ranks
    assert in_flight(one_f_one_b(ranks, m)) == [ranks - rank for rank in range(ranks)]
    assert in_flight(zero_bubble(ranks, m)) == [ranks] * ranks  # no more than 1F1B's first rank


def test_a_circle_is_named_by_who_waits_for_what():
    crossed = [[("B", 0, 0), ("F", 0, 0)], [("F", 1, 0), ("B", 1, 0)]]
    with pytest.raises(ValueError, match=r"never ends: rank 0 waits for F0\.0 before B0\.0; rank 1 waits for F0\.0"):
        check_schedule(crossed)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([[("F", 0, 0), ("B", 0, 0), ("B", 0, 0)]], "B0.0 occurs twice"),
        ([[("F", 0, 0), ("F", 0, 1), ("B", 0, 0)]], "B0.1 is missing"),
        ([[("F", 0, 0), ("B", 0, 0)], [("F", 0, 1), ("B", 0, 1)]], "stage 0 is on rank 0 and on rank 1"),
        ([[("F", 0, 0), ("G", 0, 0)]], "G0.0 is no operation"),
        ([[("F", 1, 0), ("B", 1, 0)]], "numbered 0, 1, … without a gap"),
        ([], "without a gap"),
        ([[("F", 0, 0), ("B", 0, 0), ("W", 0, 0), ("F", 0, 1), ("B", 0, 1)]], "W0.1 is missing"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        check_schedule(schedule)


def test_numbers_that_make_no_schedule_are_refused():
    with pytest.raises(ValueError, match="ranks is a whole number from 1 on, got 0"):
        gpipe(0, 4)
    with pytest.raises(ValueError, match="micro_batches is a whole number from 1 on, got True"):
        one_f_one_b(2, True)
    with pytest.raises(ValueError, match=r"6 micro-batches on 4 ranks: .* give 4 or 8"):
        interleaved(4, 6)
    with pytest.raises(ValueError, match="3 micro-batches on 4 ranks: the formula needs at least 4"):
        zero_bubble_share(4, 3)


def test_interleaved_with_one_chunk_is_1f1b_for_any_number_of_micro_batches():
    assert interleaved(4, 6, chunks=1) == one_f_one_b(4, 6)
    assert owners(interleaved(2, 4, chunks=3)) == [0, 1, 0, 1, 0, 1]
