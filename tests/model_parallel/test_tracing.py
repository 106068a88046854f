"""What a rank notes of a real step: collectives where they are, compute between them. One rank is enough to see it."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel.tracing import trace_step  # noqa: E402
from labkit.ranks import run_ranks  # noqa: E402


def traced():
    import torch.distributed as dist

    from labkit.model_parallel.tracing import talk_noted
    from labkit.ranks.timeline import Recorder

    before, x = dist.all_reduce, torch.ones(4)

    def step():
        x.fill_(dist.get_rank() + 1.0)
        dist.all_reduce(x)
        parts = [torch.empty(4) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)

    events = trace_step(step, rounds=2)
    try:
        with talk_noted(Recorder()):
            raise KeyError
    except KeyError:
        pass
    return events, x.tolist(), dist.all_reduce is before


@pytest.fixture(scope="module")
def on_ranks():
    return run_ranks(traced, 2, quiet=True, timeout=300)


def test_a_step_is_collectives_and_compute_between_them_without_a_gap(on_ranks):
    for rank, (events, *_) in enumerate(on_ranks):
        assert [event.name for event in events if event.kind == "communication"] == ["all_reduce", "all_gather"]
        assert {event.rank for event in events} == {rank}
        assert all(a.end == b.begin for a, b in pairwise(events))


def test_noting_changes_no_result_and_leaves_no_trace(on_ranks):
    assert [(x, same) for _, x, same in on_ranks] == [([3.0] * 4, True)] * 2


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="one is needed at least"):
        trace_step(list, rounds=0)
