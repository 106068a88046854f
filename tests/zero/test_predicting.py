"""Predicted steps of ZeRO: worked by hand, against the closed form, and what the choice of a stage does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.ranks.simulation import Link, zero_passes
from labkit.ranks.timeline import shares
from labkit.zero.predicting import Work, fastest, simulate_step, stage_plans

# Two blocks of 500 numbers of 2 bytes; a message to the other rank takes 1 s + 500 bytes / (1000 bytes a second).
TWO = Work(blocks=2, forward=4.0, backward=8.0, optimizer=2.0, parameters=1000)
SLOW = Link(latency=1.0, bandwidth=1000.0)
works = st.builds(
    Work,
    blocks=st.integers(1, 5),
    forward=st.floats(0, 3),
    backward=st.floats(0, 3),
    optimizer=st.floats(0, 1),
    parameters=st.integers(1, 10**6),
)


def events(work, stage, ranks=2, link=SLOW, prefetch=True):
    return {
        event.name: (event.begin, event.end) for event in simulate_step(work, stage, ranks, link, prefetch).timeline[0]
    }


def test_stage_2_reduces_behind_the_backward_pass_and_gathers_after_the_optimizer():
    found = events(TWO, 2)
    assert found["backward 1"] == (4.0, 8.0) and found["reduce 1"] == (8.0, 9.5)
    assert found["backward 0"] == (8.0, 12.0) and found["reduce 0"] == (12.0, 13.5)
    assert found["optimizer"] == (13.5, 14.5)  # half of it: the other half is the other rank's
    assert found["gather 1"] == (16.0, 17.5)


def test_plain_data_parallelism_sends_sums_back_at_once_and_steps_whole():
    found = events(TWO, 0)
    assert found["reduce 0"] == (12.0, 15.0) and found["optimizer"] == (15.0, 17.0)
    assert not [name for name in found if "gather" in name]


def test_stage_3_waits_for_each_gather_unless_it_is_sent_for_early():
    waits = [e for e in simulate_step(TWO, 3, 2, SLOW, prefetch=False).timeline[0] if e.kind == "compute"]
    assert [(e.name, e.begin) for e in waits] == [
        ("forward 0", 1.5),
        ("forward 1", 5.0),
        ("backward 1", 8.5),
        ("backward 0", 14.0),
        ("optimizer", 19.5),
    ]
    early = {e.name: e.begin for e in simulate_step(TWO, 3, 2, SLOW).timeline[0] if e.kind == "compute"}
    assert early == {"forward 0": 1.5, "forward 1": 3.5, "backward 1": 7.0, "backward 0": 11.0, "optimizer": 16.5}
    assert simulate_step(TWO, 3, 2, SLOW).seconds < simulate_step(TWO, 3, 2, SLOW, prefetch=False).seconds


@given(works, st.integers(0, 3), st.integers(1, 10_000), st.booleans())
def test_no_step_is_shorter_than_its_compute_or_its_wire(work, stage, ranks, prefetch):
    link = Link(1e-6, 1e9)
    step = simulate_step(work, stage, ranks, link, prefetch)
    share = shares(step.timeline)[0]
    wire = zero_passes(stage) * (ranks - 1) * (work.blocks * 1e-6 + 2 * work.parameters / (ranks * 1e9))
    own = work.forward + work.backward + work.optimizer / (ranks if stage else 1)
    assert share.communication == pytest.approx(wire, abs=1e-12)
    assert share.compute == pytest.approx(own, abs=1e-12)
    assert step.seconds >= max(wire, own) - 1e-9
    assert step.seconds <= wire + own + 1e-9


def test_a_world_of_one_only_computes():
    assert [simulate_step(TWO, stage, 1, SLOW).seconds for stage in range(4)] == [14.0] * 4


def test_the_cheapest_stage_is_the_fastest_that_fits_and_the_lowest_of_equals():
    gpu = Work(blocks=4, forward=1.0, backward=2.0, optimizer=0.1, parameters=7.5e9)
    plans = stage_plans(gpu, 64, Link(5e-6, 25e9), memory=32e9)
    assert [plan.fits for plan in plans] == [False, True, True, True]
    assert sum(plans[1].parts.values()) == pytest.approx(31.4e9, rel=0.01)
    assert "stage 0: 120 GB, does not fit; " in str(plans[0])
    slow = stage_plans(gpu, 64, Link(1.0, 25e9), memory=32e9)
    assert fastest(slow).name == "stage 1"  # stages 1 and 2 take equally long, stage 3 more messages
    assert fastest(stage_plans(gpu, 64, Link(5e-6, 25e9), memory=1e9)) is None


@pytest.mark.parametrize("wrong", [{"blocks": 0}, {"forward": -1.0}, {"parameters": 0}])
def test_work_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="give one block at least"):
        Work(**{"blocks": 1, "forward": 1.0, "backward": 1.0, "optimizer": 0.0, "parameters": 1} | wrong)


@pytest.mark.parametrize(("stage", "ranks"), [(4, 2), (1, 0)])
def test_another_stage_or_no_rank_is_refused(stage, ranks):
    with pytest.raises(ValueError, match=r"stage = 4|ranks = 0"):
        simulate_step(TWO, stage, ranks, SLOW)
