"""Timelines: what is recorded, how ranks come onto one clock, and sums that do not count a second twice."""

import pickle
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.ranks import timeline
from labkit.ranks.timeline import Event, Recorder, merge


def row(*events):
    """Events of one rank from (kind, begin, end)."""
    return [Event(0, kind, "", begin, end) for kind, begin, end in events]


def test_a_recorder_notes_kind_name_and_times_of_a_block():
    recorder = Recorder(rank=3)
    before = recorder.now()
    with recorder("compute", "forward"):
        time.sleep(0.002)
    (event,) = recorder.events()
    assert event[:3] == (3, "compute", "forward")
    assert before <= event.begin and event.end - event.begin >= 0.002


def test_the_rank_is_the_one_that_torchrun_names(monkeypatch):
    monkeypatch.setenv("RANK", "5")
    assert Recorder().rank == 5
    monkeypatch.delenv("RANK")
    assert Recorder().rank == 0


def test_a_block_that_raises_is_noted_and_the_error_goes_on():
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError), recorder("compute", "bad"):
        1 / 0  # noqa: B018
    assert [event.name for event in recorder.events()] == ["bad"]


def test_a_mark_ends_now_or_when_it_is_told():
    recorder = Recorder()
    begin = recorder.now()
    recorder.mark("communication", "bucket 0", begin)
    recorder.mark("communication", "bucket 1", begin, begin + 0.5)
    ends = {event.name: event.end for event in recorder.events()}
    assert begin <= ends["bucket 0"] <= recorder.now() and ends["bucket 1"] == begin + 0.5
    recorder.clear()
    assert recorder.events() == []


def test_events_pickle_and_come_in_the_order_in_which_they_began():
    recorder = Recorder(rank=1)
    recorder.mark("compute", "late", 2, 3)
    recorder.mark("idle", "early", 1, 4)
    events = pickle.loads(pickle.dumps(recorder.events()))
    assert events == [(1, "idle", "early", 1.0, 4.0), (1, "compute", "late", 2.0, 3.0)]


def test_blocks_of_several_threads_are_all_noted():
    recorder = Recorder()

    def work():
        for _ in range(100):
            with recorder("communication", "hook"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.events()) == 400


def test_a_device_is_waited_for_at_both_ends_of_a_block():
    waited = []
    with Recorder(wait=lambda: waited.append(1))("compute"):
        assert len(waited) == 1
    assert len(waited) == 2


def test_an_offset_moves_the_clock():
    assert Recorder(offset=1000).now() - Recorder().now() == pytest.approx(1000, abs=1)


def test_the_offset_of_a_clock_is_found_from_the_quickest_answer():
    clock = {"now": 100.0}
    delays = iter([(0.02, 0.5), (0.001, 0.003), (0.03, 0.0)])  # there and back, in seconds

    def ask():
        there, back = next(delays)
        answer = clock["now"] + there + 37.5
        clock["now"] += there + back
        return answer

    offset = timeline.clock_offset(ask, rounds=3, now=lambda: clock["now"])
    assert offset == pytest.approx(37.5 - 0.001)  # wrong by half the difference of the two ways
    with pytest.raises(ValueError, match="rounds = 0"):
        timeline.clock_offset(ask, rounds=0)


def test_ranks_are_merged_onto_a_common_zero_in_their_order():
    merged = merge([[(9, "compute", "a", 11.0, 12.0)], [], [(9, "compute", "b", 10.0, 10.5)]])
    assert merged == [[(0, "compute", "a", 1.0, 2.0)], [], [(2, "compute", "b", 0.0, 0.5)]]
    assert merge([]) == [] and merge([[], []]) == [[], []]


def test_shares_by_hand():
    # Rank 0 computes 0-4 (in two marks that overlap), communicates 3-6, then nothing; rank 1 computes 2-10.
    line = [
        row(("compute", 0, 3), ("compute", 2, 4), ("communication", 3, 6), ("idle", 6, 10)),
        row(("compute", 2, 10)),
    ]
    first, second = timeline.shares(line)
    assert first == (4, 3, 1, 4, 10)
    assert second == (8, 0, 0, 2, 10)
    assert timeline.bubble(line) == pytest.approx(1 - 12 / 20)
    assert timeline.overlap(line) == pytest.approx(1 / 3)
    assert timeline.span(line) == (0, 10)


def test_an_empty_timeline_has_neither_bubble_nor_overlap():
    for line in ([], [[], []]):
        assert timeline.bubble(line) == timeline.overlap(line) == 0
        assert timeline.span(line) == (0, 0)


times = st.tuples(
    st.sampled_from(timeline.KINDS), st.floats(0, 100, allow_subnormal=False), st.floats(0, 10, allow_subnormal=False)
)


@given(st.lists(st.lists(times, max_size=8), min_size=1, max_size=4))
def test_shares_add_up_to_the_whole_and_none_is_negative(ranks):
    line = merge([[(0, kind, "", begin, begin + length) for kind, begin, length in events] for events in ranks])
    for share in timeline.shares(line):
        assert share.compute + share.communication - share.overlap + share.idle == pytest.approx(share.total, abs=1e-9)
        assert min(share) >= 0
        assert share.overlap <= min(share.compute, share.communication) + 1e-9
    assert -1e-12 <= timeline.bubble(line) <= 1
    assert -1e-9 <= timeline.overlap(line) <= 1 + 1e-9


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=12))
def test_the_covered_length_is_that_of_counting_by_hand(pairs):
    seconds = {second for begin, length in pairs for second in range(begin, begin + length)}
    assert timeline.covered((begin, begin + length) for begin, length in pairs) == len(seconds)


def test_works_are_timed_in_turn_after_a_round_that_does_not_count():
    done, clock = [], iter([0, 100, 0, 100, 0, 1, 10, 30, 0, 5, 10, 20, 0, 2, 10, 90]).__next__
    works = {"a": lambda: done.append("a"), "b": lambda: done.append("b")}
    took = timeline.in_turn(works, rounds=3, before=lambda: done.append("-"), now=clock)
    assert took == {"a": 2.0, "b": 20.0}
    assert "".join(done) == "-a-b" * 4


REFUSED = {
    "no round": (lambda: timeline.in_turn({}, rounds=0), "rounds = 0"),
    "an unknown kind in a block": (lambda: Recorder()("sleep").__enter__(), "kind = 'sleep'; a rank does one of"),
    "an unknown kind in a mark": (lambda: Recorder().mark("sleep", "", 0, 1), "kind = 'sleep'"),
    "a mark that ends before it begins": (
        lambda: Recorder().mark("compute", "a", 2, 1),
        "a ends at 1 before it begins",
    ),
    "an unknown kind from elsewhere": (lambda: merge([[(0, "gpu", "", 0, 1)]]), "kind = 'gpu'"),
    "clocks that disagree": (lambda: merge([[(0, "compute", "", 1, 0)]]), "were the clocks of the ranks aligned"),
    "a time that is no number": (lambda: merge([[(0, "compute", "", 0.0, float("nan"))]]), "ends before it begins"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_timeline_is_refused(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()
