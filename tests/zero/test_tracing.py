"""Traces of real steps of ZeRO on two ranks: what is noted, in which order, and that tracing changes nothing."""

import copy

import pytest
import torch

from labkit import ranks
from labkit.ranks import run_ranks
from labkit.ranks.timeline import KINDS, Event, shares, span
from labkit.transformer import Config, Decoder
from labkit.zero import tracing
from labkit.zero.stages import Zero

SHAPE = Config(vocabulary=50, context=16, layers=2, heads=2, width=16)


def steps_of(model, stage, mine, trace):
    zero = Zero(copy.deepcopy(model), torch.optim.AdamW, stage=stage, bucket_mb=0.01, lr=1e-2)
    loss = lambda: zero.model.loss(mine[:, :-1], mine[:, 1:])  # noqa: E731
    found = tracing.traced_steps(zero, loss, steps=2) if trace else None
    for _ in range(0 if trace else 3):
        zero.zero_grad()
        loss().backward()
        zero.step()
    with zero.whole():
        return found, torch.cat([p.detach().flatten().clone() for p in zero.model.parameters()]), zero.traffic


def experiments():
    torch.manual_seed(0)
    model = Decoder(SHAPE)
    mine = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(1)).chunk(2)[ranks.rank()]
    found = {(stage, trace): steps_of(model, stage, mine, trace) for stage in (1, 2, 3) for trace in (True, False)}
    zero = Zero(copy.deepcopy(model), torch.optim.AdamW, stage=1)
    found["link"] = tracing.measured_link(zero.exchange, [100, 1000, 100_000], rounds=3)
    return found


@pytest.fixture(scope="module")
def by_rank():
    return run_ranks(experiments, 2, quiet=True, timeout=120)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_traced_step_does_what_the_step_does(by_rank, stage):
    for rank in by_rank:
        assert torch.equal(rank[stage, True][1], rank[stage, False][1])
        assert rank[stage, True][2] == rank[stage, False][2]


def test_stage_3_gathers_root_and_blocks_before_forward_and_again_before_backward(by_rank):
    for rank in by_rank:
        for step in rank[3, True][0]:
            gathers = [event.name for event in step if event.name.startswith("gather")]
            blocks = ["gather blocks.0", "gather blocks.1"]
            assert gathers == ["gather root", *blocks, "gather root", *blocks[::-1]]
            assert sorted(e.name for e in step if e.name.startswith("reduce")) == [
                "reduce blocks.0",
                "reduce blocks.1",
                "reduce root",
            ]


def test_stage_1_sends_in_the_step_and_stage_2_in_the_backward_pass(by_rank):
    def first(stage, kind):
        return [min(e.begin for e in step if e.name.startswith(kind)) for step in by_rank[0][stage, True][0]]

    for stage, during in ((1, "step"), (2, "backward")):
        assert all(a > b for a, b in zip(first(stage, "reduce"), first(stage, during), strict=True))
    assert all(a < b for a, b in zip(first(2, "reduce"), first(2, "step"), strict=True))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_rank_that_waits_for_a_message_does_not_compute(by_rank, stage):
    timeline = tracing.quickest_step([rank[stage, True][0] for rank in by_rank])
    for events in timeline:
        gathers = [e for e in events if e.name.startswith("gather")]
        computes = [e for e in events if e.kind == "compute"]
        assert gathers and computes and {e.kind for e in events} <= set(KINDS)
        assert not any(g.begin < c.end - 1e-9 and c.begin < g.end - 1e-9 for g in gathers for c in computes)
        assert {"forward", "backward", "step"} == {c.name for c in computes}
    assert all(share.idle < share.total for share in shares(timeline))


def test_a_link_is_measured(by_rank):
    link = by_rank[0]["link"]
    assert link.latency >= 0 and link.bandwidth > 0


def test_the_quickest_step_is_that_of_all_ranks_together():
    def step(begin, end):
        return [Event(0, "compute", "step", begin, end)]

    slow_on_one = [[step(0, 9), step(20, 22)], [step(0, 1), step(20, 23)]]
    assert span(tracing.quickest_step(slow_on_one)) == (0.0, 3.0)


def test_work_is_measured_and_leaves_no_gradients():
    model, ids = Decoder(SHAPE), torch.randint(0, 50, (2, 9))
    work = tracing.measured_work(model, torch.optim.AdamW, lambda: model.loss(ids[:, :-1], ids[:, 1:]), 2, rounds=2)
    assert work.parameters == sum(p.numel() for p in model.parameters()) and work.bytes_each == 4
    assert min(work.forward, work.backward, work.optimizer) > 0 and work.blocks == 2
    assert all(p.grad is None for p in model.parameters())


def test_no_step_and_no_round_are_refused():
    with pytest.raises(ValueError, match="steps = 0"):
        tracing.traced_steps(Zero(Decoder(SHAPE), torch.optim.AdamW), lambda: torch.zeros(()), steps=0)
    with pytest.raises(ValueError, match="rounds = 0"):
        tracing.measured_work(Decoder(SHAPE), torch.optim.AdamW, lambda: torch.zeros(()), 1, rounds=0)
