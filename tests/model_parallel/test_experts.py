"""A mixture of experts: routing by hand, the balance loss of Switch Transformers, and two ranks equal to one."""

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel.experts import (  # noqa: E402
    Experts,
    balance_loss,
    capacity,
    combine,
    dispatch,
    route,
)
from labkit.ranks import run_ranks  # noqa: E402

EXACT = 1e-12


def trained(k, factor):
    """Differences to one process after three steps: outputs, weights of router and own experts, loaded again."""
    from torch.distributed import get_rank

    from labkit.model_parallel.experts import ParallelExperts, one_step

    serial = Experts(16, 32, 4, k=k, factor=factor, groups=2, seed=4)
    ours = ParallelExperts(16, 32, 4, k=k, factor=factor, seed=4)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in (serial, ours)]
    draw, rank, worst = torch.Generator().manual_seed(2), get_rank(), 0.0
    for _ in range(3):
        x, target = torch.randn(2, 24, 16, generator=draw)
        for optimizer in optimizers:
            optimizer.zero_grad()
        y, balance = serial(x)
        ((y - target).square().sum() + 2 * balance).backward()  # two groups, and balance is their mean
        mine, own = ours(x.chunk(2)[rank])
        ((mine - target.chunk(2)[rank]).square().sum() + own).backward()
        ours.finish_gradients()
        worst = max(worst, float((mine - y.chunk(2)[rank]).abs().max()))
        for optimizer in optimizers:
            optimizer.step()
    state = serial.state_dict()
    expected = {name: w if name == "router" else w.chunk(2)[rank] for name, w in state.items()}
    weights = max(float((w - expected[name]).abs().max()) for name, w in ours.state_dict().items())
    ours.load_serial(state)
    found, wanted = one_step(ours, x.chunk(2)[rank], target.chunk(2)[rank]), one_step(serial, x, target)
    parts = wanted[0].chunk(2)[rank], wanted[1], wanted[2].chunk(2)[rank]
    again = max(float((a - b).abs().max()) for a, b in zip(found, parts, strict=True))
    return worst, weights, again


def complaints():
    from torch.distributed import get_rank

    from labkit.model_parallel.experts import ParallelExperts

    said = {}
    for what, ask in {
        "experts": lambda: ParallelExperts(8, 8, 3),
        "uneven": lambda: ParallelExperts(8, 8, 4)(torch.zeros(4 + get_rank(), 8)),
    }.items():
        try:
            ask()
        except ValueError as error:
            said[what] = str(error)
    return said


def exchanged():
    from torch.distributed import get_rank

    from labkit.model_parallel.experts import all_to_all

    x = torch.tensor([[1.0], [2.0]]) + 10 * get_rank()
    x.requires_grad_()
    y = all_to_all(x)
    (y * torch.tensor([[1.0], [2.0]])).sum().backward()
    return y.flatten().tolist(), x.grad.flatten().tolist()


def everything():
    torch.set_default_dtype(torch.float64)
    return {(k, f): trained(k, f) for k, f in ((1, 1.0), (2, 1.25), (1, 4.0))}, exchanged(), complaints()


@pytest.fixture(scope="module")
def two():
    return run_ranks(everything, 2)


@pytest.mark.parametrize("how", [(1, 1.0), (2, 1.25), (1, 4.0)])
def test_experts_on_two_ranks_learn_what_one_process_learns_dropped_tokens_included(two, how):
    for equal, *_ in two:
        outputs, weights, again = equal[how]
        assert outputs < EXACT and weights < 1e-11 and again < EXACT


def test_all_to_all_transposes_and_its_gradient_transposes_back(two):
    assert two[0][1] == ([1.0, 11.0], [1.0, 1.0])
    assert two[1][1] == ([2.0, 12.0], [2.0, 2.0])


def test_what_ranks_cannot_share_is_refused_on_all_of_them(two):
    for *_, said in two:
        assert "experts" in said["experts"]
        assert "ranks came with [4, 5] tokens" in said["uneven"]


def test_routing_by_hand():
    logits = torch.tensor([[3.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    routing = route(logits, k=1, capacity=2)
    assert routing.expert.flatten().tolist() == [0, 0, 1, 0]
    assert routing.slot.flatten().tolist() == [0, 1, 0, 2]
    assert routing.kept.flatten().tolist() == [True, True, True, False]
    assert routing.counts.tolist() == [3, 1]
    x = torch.arange(1.0, 5)[:, None]
    assert dispatch(x, routing, 2).flatten().tolist() == [1, 2, 3, 0]
    y = combine(dispatch(x, routing, 2), routing)
    assert torch.allclose(y[:, 0], x[:, 0] * logits.softmax(-1).amax(-1) * torch.tensor([1, 1, 1, 0]))


def test_first_choices_come_before_second_ones():
    routing = route(torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0]]), k=2, capacity=1)
    assert routing.expert.tolist() == [[0, 1], [1, 0]]
    assert routing.kept.tolist() == [[True, False], [True, False]]
    assert torch.allclose(routing.weight.sum(dim=1), torch.ones(2))
    with pytest.raises(ValueError, match="k = 4 choices among 3 experts"):
        route(torch.zeros(2, 3), k=4, capacity=1)


def test_places_are_those_of_the_papers_figure():
    assert [capacity(6, 3, factor=factor) for factor in (1.0, 1.5)] == [2, 3]  # Fedus et al. (2021), figure 3
    assert capacity(7, 4, k=2, factor=1.0) == 4


def test_balance_is_1_when_even_and_the_number_of_experts_when_all_want_one():
    assert balance_loss(torch.eye(4).repeat(3, 1) * 50).item() == pytest.approx(1)
    assert balance_loss(torch.tensor([[50.0, 0, 0, 0]]).repeat(8, 1)).item() == pytest.approx(4)
    logits = torch.randn(32, 4, dtype=torch.float64, requires_grad=True)
    before = balance_loss(logits + torch.tensor([1.0, 0, 0, 0]))
    before.backward()
    assert logits.grad[:, 0].sum() > 0  # a step down makes the crowded expert less likely


def test_with_room_for_all_groups_change_nothing():
    x = torch.randn(12, 8)
    one, many = (Experts(8, 16, 4, k=2, factor=4, groups=groups)(x)[0] for groups in (1, 3))
    assert torch.allclose(one, many, atol=1e-6)
    with pytest.raises(ValueError, match="tokens"):
        Experts(8, 16, 4, groups=5)(x)
