"""Plans played operation by operation, and the table of Narayanan et al. beside what is predicted for it."""

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel import megatron  # noqa: E402
from labkit.model_parallel.predictions import plan_timeline  # noqa: E402
from labkit.ranks.simulation import Cluster, Link, Setting, Transformer, plans  # noqa: E402

SMALL = Transformer(8, 512, 8, 128, 1000)


def small(latency=0.0):
    return Cluster(2, 4, 1e12, 1e12, Link(latency, 1e9), Link(latency, 1e8))


@pytest.mark.parametrize("recompute", [False, True])
def test_a_plan_takes_as_long_played_as_added_up(recompute):
    every = plans(megatron.GPT3, megatron.a100s(1024), 1536, Setting(recompute=recompute, zero=0))
    for plan in every[:4]:
        played = plan_timeline(megatron.GPT3, megatron.a100s(1024), plan, recompute=recompute)
        assert played.seconds == pytest.approx(plan.seconds - plan.parts["data"], rel=2e-3)


def test_every_stage_computes_and_talks_as_long_as_the_sum_says():
    plan = next(p for p in plans(SMALL, small(), 16) if (p.tensor, p.pipeline) == (2, 4))
    for row in plan_timeline(SMALL, small(), plan).timeline:
        spent = {kind: sum(e.end - e.begin for e in row if e.kind == kind and e.name == name)
                 for kind, name in (("communication", ""),)}  # fmt: skip
        work = sum(e.end - e.begin for e in row if e.kind == "compute")
        assert work == pytest.approx(plan.parts["compute"])
        assert spent["communication"] == pytest.approx(plan.parts["tensor"])


def test_forward_is_a_third_and_a_quarter_where_it_is_done_twice():
    for recompute, share in ((False, 1 / 3), (True, 1 / 4)):
        plan = next(p for p in plans(SMALL, small(), 16, Setting(recompute=recompute)) if p.pipeline == 2)
        row = plan_timeline(SMALL, small(), plan, recompute=recompute).timeline[0]
        forward = sum(e.end - e.begin for e in row if e.kind == "compute" and e.name.startswith("F"))
        assert forward == pytest.approx(share * plan.parts["compute"])


def test_one_stage_has_no_bubble_and_no_messages():
    plan = next(p for p in plans(SMALL, small(1.0), 16) if (p.tensor, p.pipeline) == (1, 1))
    played = plan_timeline(SMALL, small(1.0), plan)
    assert played.bubble == pytest.approx(0) and played.seconds == pytest.approx(plan.parts["compute"])


def test_too_many_operations_are_refused():
    plan = next(p for p in plans(SMALL, small(), 400_000) if p.pipeline == 4)
    with pytest.raises(ValueError, match="are too many to follow"):
        plan_timeline(SMALL, small(), plan)


@pytest.mark.parametrize("row", megatron.TABLE, ids=lambda row: f"{row.gpus} GPUs")
def test_the_published_splits_fit_and_are_as_fast_as_published(row):
    theirs, best = megatron.their_plan(row)
    assert theirs.fits and best.seconds <= theirs.seconds < 1.02 * best.seconds
    assert megatron.teraflops(theirs, row) == pytest.approx(row.teraflops, rel=0.06)
    assert theirs.data * row.tensor * row.pipeline == row.gpus


def test_their_models_have_the_published_size():
    assert [round(row.model.parameters / 1e9, 1) for row in megatron.TABLE] == [145.6, 310.1, 529.6, 1008.0]
    assert megatron.GPT3.parameters == pytest.approx(175e9, rel=0.01)


@pytest.mark.parametrize("gpus", [0, 4, 12, -8])
def test_machines_that_are_not_full_are_refused(gpus):
    with pytest.raises(ValueError, match="give a multiple of 8"):
        megatron.a100s(gpus)
