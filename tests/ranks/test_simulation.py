"""Predictions: the simulation against closed forms, cases worked by hand, published figures, and large worlds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.ranks import simulation as sim
from labkit.ranks.simulation import Link, Setting, Task
from labkit.ranks.timeline import bubble, shares

LINK = Link(latency=0.25, bandwidth=100.0)


def gpipe(ranks, micro_batches):
    """All forward passes, then all backward passes."""
    return [[(kind, r, m) for kind in "FB" for m in range(micro_batches)] for r in range(ranks)]


def one_f_one_b(ranks, micro_batches):
    """As many forward passes as stages follow, then forward and backward in turn."""
    rows = []
    for rank in range(ranks):
        ahead = min(micro_batches, ranks - rank - 1)
        row = [("F", rank, m) for m in range(ahead)]
        row += [op for m in range(micro_batches - ahead) for op in (("F", rank, ahead + m), ("B", rank, m))]
        rows.append(row + [("B", rank, m) for m in range(micro_batches - ahead, micro_batches)])
    return rows


def interleaved(ranks, micro_batches, chunks):
    """Depth first, as Megatron-LM orders it: groups of `ranks` micro-batches through each chunk in turn."""
    total = chunks * micro_batches

    def at(kind, rank, step):
        group, inside = divmod(step, ranks * chunks)
        chunk = inside // ranks if kind == "F" else chunks - 1 - inside // ranks
        return kind, chunk * ranks + rank, group * ranks + inside % ranks

    rows = []
    for rank in range(ranks):
        warm = min(total, 2 * (ranks - rank - 1) + (chunks - 1) * ranks)
        row = [at("F", rank, step) for step in range(warm)]
        for step in range(total - warm):
            row += [at("F", rank, warm + step), at("B", rank, step)]
        rows.append(row + [at("B", rank, step) for step in range(total - warm, total)])
    return rows


def ring(ranks):
    """The moves (time, sender, receiver, chunk, adds) of a ring all-reduce."""
    return [
        (half * (ranks - 1) + k, r, (r + 1) % ranks, (r + half - k) % ranks, not half)
        for half in (0, 1)
        for k in range(ranks - 1)
        for r in range(ranks)
    ]


def test_each_all_reduce_costs_what_its_closed_form_says():
    size, n = 800.0, 8
    cost = {name: sim.all_reduce_seconds(size, n, LINK, name) for name in ("naive", "tree", "ring")}
    assert cost["naive"] == 2 * 7 * (0.25 + 8)
    assert cost["tree"] == 2 * 3 * (0.25 + 8)
    assert cost["ring"] == 2 * 7 * (0.25 + 1)


def test_two_levels_are_worked_by_hand():
    # Two nodes of four: reduce-scatter and all-gather inside, 2·3·(0 + 800/4/1000), a ring of two outside, 2·(¼ + 4).
    inner = Link(0, 1000)
    both = sim.all_reduce_seconds(800, 8, LINK, "two-level", inner=inner, per_node=4)
    assert both == pytest.approx(2 * 3 * 0.2 + 2 * 4.25)
    assert sim.all_reduce_seconds(800, 8, LINK, "two-level", inner=LINK, per_node=1) == sim.all_reduce_seconds(
        800, 8, LINK
    )


def test_one_rank_reduces_nothing():
    assert {sim.all_reduce_seconds(1e9, 1, LINK, name) for name in ("naive", "tree", "ring", "two-level")} == {0.0}


def test_small_messages_want_the_tree_and_large_ones_the_ring():
    cost = {
        size: {name: sim.all_reduce_seconds(size, 64, Link(1e-3, 1e9), name) for name in ("tree", "ring")}
        for size in (1e3, 1e9)
    }
    assert cost[1e3]["tree"] < cost[1e3]["ring"] and cost[1e9]["ring"] < cost[1e9]["tree"]


@pytest.mark.parametrize("ranks", [2, 3, 5, 8])
def test_the_messages_of_a_ring_take_the_time_of_its_closed_form(ranks):
    played = sim.simulate_moves(ring(ranks), ranks, 800 / ranks, LINK)
    assert played.seconds == pytest.approx(sim.all_reduce_seconds(800, ranks, LINK))
    assert all(share.idle == pytest.approx(0) for share in shares(played.timeline))


def test_a_rank_receives_one_message_at_a_time_and_passes_on_only_what_it_has():
    inward = [(k, rank, 0, 0, True) for k, rank in enumerate((1, 2, 3))]
    outward = [(3 + k, 0, rank, 0, False) for k, rank in enumerate((1, 2, 3))]
    assert sim.simulate_moves(inward + outward, 4, 800, LINK).seconds == sim.all_reduce_seconds(800, 4, LINK, "naive")
    chain = [(0, 0, 1, 0), (1, 1, 2, 0), (2, 2, 3, 0)]
    assert sim.simulate_moves(chain, 4, 100, LINK).seconds == 3 * 1.25
    at_once = [(0, rank, 0, 0) for rank in (1, 2, 3)]  # the schedule says at once, the cable says one by one
    assert sim.simulate_moves(at_once, 4, 100, LINK).seconds == 3 * 1.25


def test_a_ring_waits_for_its_slowest_rank():
    even = sim.simulate_ring(800, [0.0] * 8, LINK)
    assert even.seconds == pytest.approx(sim.all_reduce_seconds(800, 8, LINK))
    late = sim.simulate_ring(800, [0, 0, 0, 5, 0, 0, 0, 0], LINK)
    assert late.seconds == pytest.approx(5 + even.seconds)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 20), min_size=2, max_size=7))
def test_a_ring_of_unready_ranks_is_the_same_message_by_message(ready):
    """The vectorised ring against the engine: a task for each message, after compute of its rank."""
    ranks = len(ready)
    tasks = [Task((rank,), "compute", "before", float(at)) for rank, at in enumerate(ready)]
    last = list(range(ranks))
    for _ in range(2 * (ranks - 1)):
        now = len(tasks)
        waits = [(last[rank], last[rank - 1]) for rank in range(ranks)]
        tasks += [Task((rank,), "communication", "receive", 1.25, waits[rank]) for rank in range(ranks)]
        last = [now + rank for rank in range(ranks)]
    ends = [max(event.end for event in row) for row in sim.run(tasks)]
    ringed = sim.simulate_ring(100 * ranks, ready, LINK)
    assert ringed.seconds == pytest.approx(max(ends))
    assert [row[-1].end for row in ringed.timeline] == pytest.approx(ends)


def test_latency_and_bandwidth_are_found_again_from_measured_seconds():
    sizes = [1e3, 1e5, 1e6, 1e7]
    true = Link(3e-4, 8e8)
    noise = np.random.default_rng(0).normal(1, 0.02, size=4)
    found = sim.fit_link(sizes, [sim.all_reduce_seconds(s, 4, true) * e for s, e in zip(sizes, noise, strict=True)], 4)
    assert found.latency == pytest.approx(3e-4, rel=0.1) and found.bandwidth == pytest.approx(8e8, rel=0.1)
    assert sim.fit_link([10, 1000], [1e-3, 1.0], 2).latency == 0  # never negative


def test_lanes_work_in_order_and_wait_for_what_they_need():
    rows = sim.run([
        Task((0,), "compute", "a", 2.0),
        Task((0,), "compute", "b", 1.0),
        Task((1,), "compute", "c", 4.0),
        Task((0, 1), "communication", "both", 3.0, after=(0, 2)),
        Task((0,), "compute", "d", 1.0, after=(3,)),
    ])  # fmt: skip
    assert [(event.name, event.begin, event.end) for event in rows[0]] == [
        ("a", 0, 2), ("b", 2, 3), ("both", 4, 7), ("d", 7, 8)
    ]  # fmt: skip
    assert [event.name for event in rows[1]] == ["c", "both"]


def test_a_layer_at_a_time_by_hand():
    # Backward 1 + 1 + 1 after forward 2; two ranks, 100 bytes: a ring takes 2·(¼ + ½) = 1.5 for each layer.
    step = sim.simulate_data_parallel([1, 1, 1], [100] * 3, ranks=2, link=LINK, bucket=0, forward=2, optimizer=0.5)
    wire = [(event.begin, event.end) for event in step.timeline[1] if event.kind == "communication"]
    assert wire == [(3, 4.5), (4.5, 6), (6, 7.5)]
    assert step.seconds == 8 and step.overlap == pytest.approx(2 / 4.5)
    later = sim.simulate_data_parallel([1, 1, 1], [100] * 3, ranks=2, link=LINK, bucket=0, forward=2, overlap=False)
    assert later.seconds == 2 + 3 + 3 * 1.5 and later.overlap == 0


def test_of_three_micro_batches_only_the_last_one_sends_by_hand():
    # Forward 2 and backward 3, twice; then as above. The wire is busy for 4.5 s, and begins at 10 + 3.
    one = {"backward": [1, 1, 1], "nbytes": [100] * 3, "ranks": 2, "link": LINK, "bucket": 0, "forward": 2}
    step = sim.simulate_data_parallel(**one, optimizer=0.5, micro_batches=3)
    names = [event.name for event in step.timeline[1] if event.kind == "compute"]
    assert names[:5] == ["forward", "backward"] * 2 + ["forward"] and names[5:] == [
        "backward 0", "backward 1", "backward 2", "optimizer"
    ]  # fmt: skip
    wire = [(event.begin, event.end) for event in step.timeline[1] if event.kind == "communication"]
    assert wire == [(13, 14.5), (14.5, 16), (16, 17.5)] and step.seconds == 18
    slow = sim.simulate_data_parallel(**one, micro_batches=2, slowness=[1, 2])
    assert [event.end for event in slow.timeline[1] if event.name == "backward"] == [10]
    assert slow.seconds == 20 + 1.5


def test_compute_that_shares_its_core_with_the_wire_is_slower_by_hand():
    # As above, at half speed while a reduction runs: layers end at 3, 4.75 and 6.5, the last reduction 1.5 later.
    step = sim.simulate_data_parallel([1, 1, 1], [100] * 3, ranks=2, link=LINK, bucket=0, forward=2, contention=0.5)
    assert [event.end for event in step.timeline[0] if event.name.startswith("backward")] == [3, 4.75, 6.5]
    assert step.seconds == 8


def test_a_rank_ahead_of_the_others_computes_at_full_speed_until_the_reduction_runs():
    # Layers take 1 on rank 0 and 3 on rank 1; the first reduction runs from 3 to 4.5.
    layers = {"backward": [1, 1], "nbytes": [100, 100], "ranks": 2, "link": LINK, "bucket": 0}
    step = sim.simulate_data_parallel(**layers, slowness=[1, 3], contention=0.5)
    assert [event.end for event in step.timeline[0] if event.kind == "compute"] == [1, 2]
    assert [event.end for event in step.timeline[1] if event.kind == "compute"] == [3, 6.75]


@given(
    st.integers(1, 12), st.floats(0.1, 10, allow_subnormal=False), st.floats(1, 1e4), st.integers(2, 64)
)  # fmt: skip
def test_equal_buckets_follow_the_closed_form(buckets, backward, nbytes, ranks):
    each = sim.all_reduce_seconds(nbytes / buckets, ranks, LINK)
    step = sim.simulate_data_parallel(
        [backward / buckets] * buckets, [nbytes / buckets] * buckets, ranks=ranks, link=LINK, bucket=0
    )
    assert step.seconds == pytest.approx(sim.hidden_step_seconds(backward, each, buckets))


def test_buckets_are_full_when_they_hold_their_size():
    assert sim.fill_buckets([10, 1, 1, 1, 10, 1], 3) == [[0], [1, 2, 3], [4], [5]]
    assert sim.fill_buckets([1, 2, 3], math.inf) == [[0, 1, 2]]
    assert sim.fill_buckets([], 3) == []


def test_there_is_a_best_size_of_bucket_between_latency_and_waiting():
    layers, link = 48, Link(2e-4, 5e9)
    took = {
        size: sim.simulate_data_parallel([5e-3] * layers, [4e6] * layers, ranks=32, link=link, bucket=size).seconds
        for size in (0, 64e6, math.inf)
    }
    assert took[64e6] < took[0] and took[64e6] < took[math.inf]


def test_the_plan_takes_no_more_micro_batches_than_it_needs():
    # Ten layers of 0.1 s; a reduction takes 0.102, so k micro-batches take k + 0.12 in ten buckets.
    layers = {"backward": [0.1] * 10, "nbytes": [100] * 10, "ranks": 2, "link": Link(0.001, 1000)}
    easy = sim.plan_replicas([0, 500, math.inf], wanted=0.85, **layers)
    assert (easy.bucket, easy.micro_batches) == (0, 1) and easy.compute == pytest.approx(1 / easy.step.seconds)
    hard = sim.plan_replicas([0, 500, math.inf], wanted=0.96, **layers)
    assert (hard.bucket, hard.micro_batches) == (0, 4) and hard.compute >= 0.96
    never = sim.plan_replicas([0, 500], [2, 1], wanted=1, **layers)
    assert never.micro_batches == 2 and never.compute < 1
    for count in (1, 2):
        each = [sim.simulate_data_parallel(**layers, bucket=size, micro_batches=count) for size in (0, 500, math.inf)]
        assert 1 - min(each, key=lambda step: step.seconds).bubble < 0.96


@settings(max_examples=25)  # each simulates sixteen steps
@given(st.integers(2, 64), st.floats(1e-4, 0.05), st.floats(0.1, 1))
def test_the_best_number_of_buckets_is_the_closed_form_where_the_wire_never_rests(ranks, latency, backward):
    count, closed = 120, sim.best_bucket_count(backward, latency, ranks)
    nbytes = 1e6 * backward  # at 2.5e5 bytes a second the wire is busy for longer than the backward pass
    took = {
        k: sim.simulate_data_parallel(
            [backward / count] * count, [nbytes / count] * count, ranks=ranks, link=Link(latency, 2.5e5),
            bucket=nbytes / k * (1 - 1e-9),
        ).seconds
        for k in range(1, count + 1) if count % k == 0
    }  # fmt: skip
    best = min(took, key=took.__getitem__)
    below, above = (
        max((k for k in took if k <= closed), default=1),
        min((k for k in took if k >= closed), default=count),
    )
    assert took[best] == pytest.approx(min(took[below], took[above]), rel=1e-9)


def test_a_straggler_holds_up_everybody():
    layers = {"backward": [1, 1], "nbytes": [100, 100], "link": LINK, "bucket": 0}
    even = sim.simulate_data_parallel(**layers, ranks=4)
    slow = sim.simulate_data_parallel(**layers, ranks=4, slowness=[1, 1, 3, 1])
    ends = [max(event.end for event in row) for row in slow.timeline]
    assert len(set(ends)) == 1 and (even.seconds, slow.seconds) == (1 + 2 * 3, 6 + 3)
    assert shares(slow.timeline)[0].compute == 2 and shares(slow.timeline)[2].compute == 6


def test_ten_thousand_ranks_are_predicted_and_sixteen_kept():
    slowness = np.random.default_rng(0).uniform(1, 1.2, size=10_000)
    step = sim.simulate_data_parallel(
        [1e-2] * 100, [1e7] * 100, ranks=10_000, link=Link(1e-5, 1e11), slowness=slowness, algorithm="ring"
    )
    ringed = sim.simulate_ring(1e9, slowness, Link(1e-5, 1e11))
    assert step.ranks == ringed.ranks == 10_000 and len(step.timeline) == len(ringed.timeline) == 16
    assert ringed.seconds >= slowness.max() + 0.99 * sim.all_reduce_seconds(1e9, 10_000, Link(1e-5, 1e11))


@pytest.mark.parametrize(("ranks", "micro_batches"), [(1, 3), (2, 1), (2, 4), (4, 8), (8, 32)])
@pytest.mark.parametrize("schedule", [gpipe, one_f_one_b])
def test_the_bubble_of_a_schedule_is_that_of_the_paper(schedule, ranks, micro_batches):
    played = sim.simulate_pipeline(schedule(ranks, micro_batches), {"F": 1, "B": 2})
    assert played.bubble == pytest.approx(sim.gpipe_bubble(ranks, micro_batches))
    assert played.seconds == pytest.approx(3 * (micro_batches + ranks - 1))
    assert bubble(played.timeline) == played.bubble


@pytest.mark.parametrize(("ranks", "micro_batches", "chunks"), [(2, 2, 2), (2, 4, 2), (4, 8, 2), (4, 8, 3), (8, 16, 4)])
def test_interleaving_divides_the_bubble_by_the_stages_of_a_rank(ranks, micro_batches, chunks):
    played = sim.simulate_pipeline(interleaved(ranks, micro_batches, chunks), {"F": 1 / chunks, "B": 2 / chunks})
    assert played.bubble == pytest.approx(sim.gpipe_bubble(ranks, micro_batches, chunks))
    ideal = 3 * micro_batches
    assert (played.seconds - ideal) / ideal == pytest.approx((ranks - 1) / (chunks * micro_batches))


def test_gradients_of_weights_fill_the_bubble():
    plain = one_f_one_b(4, 8)
    apart = [[op for one in row for op in ([one] if one[0] == "F" else [one, ("W", *one[1:])])] for row in plain]
    whole = sim.simulate_pipeline(plain, {"F": 1, "B": 2})
    split = sim.simulate_pipeline(apart, {"F": 1, "B": 1, "W": 1})
    assert sum(share.compute for share in shares(whole.timeline)) == sum(s.compute for s in shares(split.timeline))
    assert split.bubble < whole.bubble


def test_gpipe_keeps_all_activations_and_one_f_one_b_as_many_as_stages_follow():
    assert sim.in_flight(gpipe(4, 8)) == [8] * 4
    assert sim.in_flight(one_f_one_b(4, 8)) == [4, 3, 2, 1]
    assert sim.in_flight([[("F", 0, 0), ("B", 0, 0), ("F", 0, 1), ("W", 0, 0), ("B", 0, 1), ("W", 0, 1)]]) == [2]


def test_activations_travel_between_ranks_only():
    slow = Link(1.0, 10.0)
    two = sim.simulate_pipeline(gpipe(2, 1), {"F": 1, "B": 2}, link=slow, nbytes=10)
    assert two.seconds == 6 + 2 * 2
    assert [event.name for event in two.timeline[0] if event.kind == "communication"] == ["send F0.0"]
    one = [[("F", 0, 0), ("F", 1, 0), ("B", 1, 0), ("B", 0, 0)]]
    assert sim.simulate_pipeline(one, {"F": 1, "B": 2}, link=slow, nbytes=10).seconds == 6


def test_a_slow_stage_sets_the_pace():
    even = sim.simulate_pipeline(gpipe(3, 6), {"F": [1, 1, 1], "B": 2})
    slow = sim.simulate_pipeline(gpipe(3, 6), {"F": [1, 3, 1], "B": 2})
    assert slow.seconds >= even.seconds + 6 * 2


def test_zero_sends_what_its_paper_says():
    # Section 7: 2Ψ in stages 1 and 2 as without ZeRO, 3Ψ in stage 3, of large rings.
    sent = [sim.zero_bytes_sent(1e6, 10_000, stage, bytes_each=1) / 1e6 for stage in range(4)]
    assert sent == pytest.approx([2, 2, 2, 3], rel=1e-3)
    assert sim.zero_bytes_sent(1e6, 1, 3) == 0
    assert sim.zero_passes(2, micro_batches=4) == 5 and sim.zero_passes(1, micro_batches=4) == 2


@pytest.mark.parametrize(
    ("billions", "ranks", "stage", "gigabytes"),
    [(7.5, 64, 1, 31.4), (7.5, 64, 2, 16.6), (7.5, 64, 3, 1.88), (128, 64, 1, 536), (1000, 1024, 3, 15.6)],
)  # fmt: skip
def test_state_is_that_of_the_published_table(billions, ranks, stage, gigabytes):
    """Rajbhandari et al., 2020, arXiv:1910.02054, table 1."""
    assert sim.state_bytes(billions * 1e9, ranks, stage) / 1e9 == pytest.approx(gigabytes, rel=4e-3)


# Narayanan et al., 2021, arXiv:2104.04473, table 1: heads, width, layers, billions of parameters.
TABLE = [(24, 2304, 24, 1.7), (32, 3072, 30, 3.6), (32, 4096, 36, 7.5), (48, 6144, 40, 18.4), (64, 8192, 48, 39.1),
         (80, 10240, 60, 76.1), (96, 12288, 80, 145.6), (128, 16384, 96, 310.1), (128, 20480, 105, 529.6),
         (160, 25600, 128, 1008.0)]  # fmt: skip


@pytest.mark.parametrize(("heads", "width", "layers", "billions"), TABLE)
def test_parameters_are_those_of_the_published_table(heads, width, layers, billions):
    model = sim.Transformer(layers, width, heads, 2048, 51200)
    assert model.parameters / 1e9 == pytest.approx(billions, abs=0.06)


def test_parts_of_the_state_are_shared_out_one_stage_after_the_other():
    assert [sim.state_parts(100, 4, stage) for stage in range(4)] == [
        (200, 200, 1200), (200, 200, 300), (200, 50, 300), (50, 50, 300)
    ]  # fmt: skip
    assert sim.state_parts(10, 2, 3, each=(4, 4, 8)) == (20, 20, 40)
    assert [sim.state_bytes(100, 4, stage) for stage in range(4)] == [1600, 700, 550, 400]


def test_activations_of_a_layer_by_hand():
    # s·b·h = 2·8·4 = 64 numbers, 5·a·s/h = 20: all, over two ranks, with sequence parallel, without scores.
    assert sim.activation_bytes(2, 8, 4, 2) == 64 * 54
    assert sim.activation_bytes(2, 8, 4, 2, ranks=2) == 64 * (10 + 22)
    assert sim.activation_bytes(2, 8, 4, 2, ranks=2, sequence=True) == 64 * 27
    assert sim.activation_bytes(2, 8, 4, 2, ranks=2, sequence=True, recompute="selective") == 64 * 17


def test_parameters_are_counted_by_hand():
    # 2 layers of 12·4² + 13·4 and embeddings of (5 + 3)·4
    assert sim.Transformer(2, 4, 1, 3, 5).parameters == pytest.approx(2 * (12 * 16 + 13 * 4) + 8 * 4)


TRILLION = sim.Transformer(128, 25600, 160, 2048, 51200)
SELENE = sim.Cluster(384, 8, flops=0.6 * 312e12, memory=80e9, inner=Link(5e-6, 300e9), outer=Link(1e-5, 25e9))


def test_the_published_split_of_a_trillion_parameters_is_among_our_best():
    """Table 1 there: 3,072 GPUs, batch 3,072, tensor 8, pipeline 64, 163 teraFLOP/s each; 84 s by that rate."""
    found = sim.plans(TRILLION, SELENE, 3072, Setting(recompute=True, zero=0))
    theirs = next(plan for plan in found if (plan.data, plan.tensor, plan.pipeline) == (6, 8, 64))
    assert theirs.fits and theirs.seconds < 1.01 * found[0].seconds
    assert found[0].tensor == 8
    pace = 4 / 3 * TRILLION.flops(3072) / theirs.seconds / 3072
    assert 140e12 < pace < 180e12


def test_the_best_plan_is_the_best_of_all_that_fit():
    found = sim.plans(TRILLION, SELENE, 3072, Setting(recompute=True))
    fitting = [plan for plan in found if plan.fits]
    assert sim.best_plan(TRILLION, SELENE, 3072, Setting(recompute=True)) == fitting[0]
    assert fitting[0].seconds == min(plan.seconds for plan in fitting)
    assert all(plan.data * plan.tensor * plan.pipeline == 3072 for plan in found)
    assert [plan.fits for plan in found] == sorted([plan.fits for plan in found], reverse=True)


def test_a_model_that_fits_one_device_is_only_replicated_and_a_large_one_is_cut():
    cluster = sim.Cluster(4, 8, 150e12, 80e9, Link(5e-6, 300e9), Link(1e-5, 25e9))
    small = sim.best_plan(sim.Transformer(12, 768, 12, 1024, 50257), cluster, 512, Setting(micro_batch=16))
    assert (small.data, small.tensor, small.pipeline) == (32, 1, 1)
    assert small.name == "32 data × 1 tensor × 1 pipeline"
    large = sim.best_plan(sim.Transformer(48, 8192, 64, 2048, 51200), cluster, 64, Setting(recompute=True))
    assert large.tensor * large.pipeline > 1


def test_parts_of_a_plan_follow_their_closed_forms():
    model = sim.Transformer(8, 512, 8, 128, 1000)
    cluster = sim.Cluster(2, 2, 1e12, 1e12, Link(0, 1e9), Link(0, 1e8))
    plan = next(p for p in sim.plans(model, cluster, 16) if (p.data, p.tensor, p.pipeline) == (1, 2, 2))
    message = 128 * 512 * 2
    assert plan.parts["compute"] == pytest.approx(model.flops(16) / 4e12)
    assert plan.parts["tensor"] == pytest.approx(4 * 4 * 16 * 2 * (message / 2 / 1e9))
    assert plan.parts["bubble"] == pytest.approx((plan.parts["compute"] + plan.parts["tensor"]) / 16)
    assert plan.parts["pipeline"] == pytest.approx(2 * 17 * message / 2 / 1e8)
    assert plan.parts["data"] == 0 and plan.seconds == pytest.approx(sum(plan.parts.values()))


def test_gradients_hide_behind_the_last_micro_batch_and_with_zero_2_behind_all():
    model = sim.Transformer(8, 512, 8, 128, 1000)
    cluster = sim.Cluster(4, 1, 1e12, 1e12, Link(0, 1e9), Link(0, 1e9))
    data, compute = {}, model.flops(16) / 4e12
    for zero, overlap in ((1, False), (1, True), (2, True)):
        plan = next(p for p in sim.plans(model, cluster, 16, Setting(zero=zero, overlap=overlap)) if p.data == 4)
        data[zero, overlap] = plan.parts["data"]
    wire = 2 * 0.75 * model.parameters * 2 / 1e9
    assert data[1, False] == pytest.approx(wire)
    assert data[1, True] == pytest.approx(wire - 2 / 3 * compute / 4)
    assert data[2, True] == pytest.approx(max(0, wire * 5 / 2 - compute))


def test_recomputation_trades_time_for_memory():
    plain, again = (
        {(p.data, p.tensor, p.pipeline): p for p in sim.plans(TRILLION, SELENE, 3072, Setting(recompute=on))}
        for on in (False, True)
    )
    split = (6, 8, 64)
    assert again[split].memory < plain[split].memory
    assert again[split].parts["tensor"] == pytest.approx(6 / 4 * plain[split].parts["tensor"])
    assert again[split].parts["compute"] == pytest.approx(4 / 3 * plain[split].parts["compute"])


SMALL = sim.Transformer(7, 64, 8, 16, 100)
REFUSED = {
    "a negative latency": (lambda: Link(-1, 1), "latency cannot be negative"),
    "no bandwidth": (lambda: Link(0, 0), "bandwidth must be positive"),
    "no ranks": (lambda: sim.all_reduce_seconds(1, 0, LINK), "ranks = 0"),
    "an unknown algorithm": (lambda: sim.all_reduce_seconds(1, 2, LINK, "star"), "algorithm = 'star'; there are naive"),
    "nodes that are not full": (lambda: sim.all_reduce_seconds(1, 6, LINK, "two-level", LINK, 4), "a divisor of 6"),
    "no inner link": (lambda: sim.all_reduce_seconds(1, 6, LINK, "two-level"), "needs inner"),
    "a move to nobody": (lambda: sim.simulate_moves([(0, 0, 2, 0)], 2, 1, LINK), "from rank 0 to rank 2"),
    "a fit of one size": (lambda: sim.fit_link([1, 1], [1, 2], 2), "two different sizes"),
    "a fit of one rank": (lambda: sim.fit_link([1, 2], [1, 2], 1), "at least two ranks"),
    "a size too few": (
        lambda: sim.simulate_data_parallel([1, 2], [1], ranks=2, link=LINK),
        "2 times and 1 sizes of layers",
    ),
    "no layer": (lambda: sim.simulate_data_parallel([], [], ranks=2, link=LINK), "0 times"),
    "a slowness too few": (
        lambda: sim.simulate_data_parallel([1], [1], ranks=3, link=LINK, slowness=[1, 1]),
        "2 slowness factors for 3 ranks",
    ),
    "compute that stops": (
        lambda: sim.simulate_data_parallel([1], [1], ranks=2, link=LINK, contention=1),
        "contention = 1",
    ),
    "no micro-batch": (
        lambda: sim.simulate_data_parallel([1], [1], ranks=2, link=LINK, micro_batches=0),
        "micro_batches = 0; a step has one at least",
    ),
    "no size of bucket": (
        lambda: sim.plan_replicas([], backward=[1], nbytes=[1], ranks=2, link=LINK),
        "0 sizes of buckets and 7 micro-batches",
    ),
    "buckets of one rank": (lambda: sim.best_bucket_count(1, 1, 1), "at least two ranks"),
    "another way to recompute": (
        lambda: sim.activation_bytes(1, 8, 4, 2, recompute="all"),
        "recompute = 'all'; there are none, selective and full",
    ),
    "an operation twice": (
        lambda: sim.simulate_pipeline([[("F", 0, 0)], [("F", 0, 0)]], {"F": 1}),
        "F0.0 is on rank 0 and again on rank 1",
    ),
    "an operation missing": (
        lambda: sim.simulate_pipeline([[("F", 1, 0)]], {"F": 1}),
        "F1.0 on rank 0 waits for F0.0, which no rank performs",
    ),
    "a circle": (
        lambda: sim.simulate_pipeline([[("B", 0, 0), ("F", 0, 0)], [("F", 1, 0), ("B", 1, 0)]], {"F": 1, "B": 1}),
        "wait in a circle: rank 0 waits in B0.0 for F0.0, B1.0; rank 1 waits in F1.0 for F0.0",
    ),
    "no seconds": (lambda: sim.simulate_pipeline([[("F", 0, 0)]], {"B": 1}), "no seconds for 'F'"),
    "a stage of ZeRO that is none": (lambda: sim.zero_passes(4), "stage = 4 of ZeRO"),
    "nothing that divides": (
        lambda: sim.plans(SMALL, sim.Cluster(1, 3, 1, 1, LINK, LINK), 7),
        "no split of 3 devices divides 7 layers, 8 heads and 7 sequences",
    ),
    "nothing that fits": (
        lambda: sim.best_plan(SMALL, sim.Cluster(1, 1, 1, 10, LINK, LINK), 7),
        "no split fits: 1 data × 1 tensor × 1 pipeline needs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_simulated_is_refused(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()
