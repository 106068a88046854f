"""Compressed gradients: the mean of what was sent, the same bits everywhere, bytes as counted, nothing lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.data_parallel.compression import (
    Half,
    Plain,
    PowerSGD,
    Reducer,
    TopK,
    bytes_of,
    dense,
    half_mean,
    low_rank_mean,
    orthogonalise,
    top_k,
)
from labkit.data_parallel.links import simulate
from labkit.data_parallel.practice import DigitsNet, digits
from labkit.ranks import run_ranks

COMPRESSORS = (Plain, Half, lambda: TopK(0.3), lambda: PowerSGD(2))
SHAPES = [(12, 8), (8,), (6, 2, 2, 2)]


def call(x, rank, world, link, compressor):
    return compressor()(x, link)


def gradients(rank, shapes=SHAPES):
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def means(inputs):
    return [torch.stack(same).mean(dim=0) for same in zip(*inputs, strict=True)]


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_all_ranks_have_the_same_bits_and_the_shapes_they_came_with(compressor, world):
    inputs = [gradients(rank) for rank in range(world)]
    before = [[g.clone() for g in one] for one in inputs]
    results = simulate(call, inputs, compressor).results
    for result in results:
        assert all(torch.equal(x, first) for x, first in zip(result, results[0], strict=True))
        assert [x.shape for x in result] == [torch.Size(shape) for shape in SHAPES]
    assert all(torch.equal(x, old) for a, b in zip(inputs, before, strict=True) for x, old in zip(a, b, strict=True))


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("world", [2, 4, 8])
def test_the_bytes_that_each_rank_sends_are_those_of_the_formula(compressor, world):
    shapes = [(32, 16), (8,), (8, 8)]
    sent = simulate(call, [gradients(rank, shapes) for rank in range(world)], compressor).sent
    assert sent == [bytes_of(compressor(), shapes, world)] * world


def test_half_precision_sends_half_and_differs_by_its_rounding():
    inputs = [gradients(rank) for rank in range(3)]
    (plain, *_), (half, *_) = (simulate(call, inputs, one).results for one in (Plain, Half))
    for x, y, wanted in zip(plain, half, means(inputs), strict=True):
        torch.testing.assert_close(x, wanted)
        torch.testing.assert_close(y, wanted, rtol=0, atol=2**-7)
    assert not torch.equal(half[0], plain[0])


def test_sums_are_made_in_32_bits_while_16_travel():
    def run(x, rank, world, link):
        return half_mean(x, link, torch.float16)

    ones_beside_2048 = [torch.tensor([2048.0]), *[torch.ones(1)] * 4]
    assert simulate(run, ones_beside_2048).results[0].item() == 410.5  # float16's nearest to 410.4; alone 409.6
    assert simulate(run, [torch.full((3,), 40000.0)] * 2).results[1].tolist() == [40000.0] * 3  # 80000 would be inf


def test_top_k_by_hand():
    found = top_k(torch.tensor([0.5, -3.0, 1.0, 2.0]), 2)
    assert found.values.tolist() == [-3, 2] and found.places.tolist() == [1, 3] and found.bytes == 16
    assert dense(found, 4).tolist() == [0, -3, 0, 2]


@settings(max_examples=20, deadline=None)
@given(world=st.integers(1, 4), size=st.integers(1, 40), steps=st.integers(1, 6), share=st.floats(0.01, 1))
def test_with_feedback_nothing_is_lost_only_late(world, size, steps, share):
    def run(x, rank, world, link):
        compressor = TopK(share)
        total = sum(compressor([one], link)[0] for one in x)
        return total, compressor.residual

    inputs = [torch.randn(steps, size, dtype=torch.float64).unbind() for _ in range(world)]
    results = simulate(run, inputs).results
    given_out = means([[sum(one)] for one in inputs])[0]
    waiting = torch.stack([residual for _, residual in results]).mean(dim=0)
    torch.testing.assert_close(results[0][0] + waiting, given_out)


@pytest.mark.parametrize("feedback", [True, False])
def test_where_ranks_disagree_plain_top_1_never_sees_what_they_agree_on(feedback):
    def run(x, rank, world, link):
        compressor = TopK(0.5, feedback=feedback)
        return sum(compressor([x], link)[0] for _ in range(40))

    moved = simulate(run, [torch.tensor([10.0, 1.0]), torch.tensor([-10.0, 1.0])]).results[0]
    assert moved[0] == 0 and (moved[1] > 20 if feedback else moved[1] == 0)


def test_columns_become_orthonormal_and_span_the_same_space():
    matrix = torch.randn(20, 5, dtype=torch.float64) * torch.tensor([1e-12, 1, 1e9, 3, 1])
    made, q = orthogonalise(matrix), torch.linalg.qr(matrix).Q
    torch.testing.assert_close(made.T @ made, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(made @ made.T, q @ q.T)


def test_a_column_that_says_nothing_new_becomes_zero_and_not_noise():
    column = torch.randn(6, 1)
    made = orthogonalise(torch.cat([column, -2 * column, torch.zeros(6, 1)], dim=1))
    assert torch.equal(made[:, 1:], torch.zeros(6, 2)) and made[:, 0].norm().isclose(torch.tensor(1.0))


def test_power_iteration_projects_the_mean_and_finds_the_best_product():
    def run(matrix, rank, world, link):
        q = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        first = p, q = low_rank_mean(matrix, q, link)
        for _ in range(60):
            p, q = low_rank_mean(matrix, q, link)
        return first, p @ q.T

    # Between the third and the fourth singular value lies a gap, whatever is drawn: each step shrinks the error by 1/2.
    left, right = (torch.linalg.qr(torch.randn(n, 8, dtype=torch.float64)).Q for n in (12, 8))
    mean = left * torch.tensor([9.0, 5, 4, 2, 1, 0.5, 0.2, 0.1]) @ right.T
    apart = torch.randn(3, 12, 8, dtype=torch.float64)  # the ranks disagree, but not on average
    inputs = list((mean + apart - apart.mean(dim=0)).unbind())
    (p, q), last = simulate(run, inputs).results[1]
    torch.testing.assert_close(p @ q.T, p @ p.T @ mean)
    u, s, v = torch.linalg.svd(mean)
    torch.testing.assert_close(last, u[:, :3] * s[:3] @ v[:3])


def test_the_gradient_of_few_examples_is_met_exactly_and_zeros_stay_zeros():
    thin = torch.randn(16, 2) @ torch.randn(2, 16)
    found = simulate(call, [[thin, torch.zeros(16, 16)]] * 2, lambda: PowerSGD(2)).results[0]
    torch.testing.assert_close(found[0], thin, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[1], torch.zeros(16, 16))


def test_warm_starts_come_nearer_to_the_best_product_than_cold_ones():
    matrix = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))

    def run(x, rank, world, link):
        errors = []
        for warm in (True, False):
            compressor = PowerSGD(2, feedback=False, warm=warm)
            errors.append((([compressor([matrix], link)[0] for _ in range(20)])[-1] - matrix).norm())
        return errors

    warm, cold = simulate(run, [None]).results[0]
    assert warm < cold


RESNET18 = [(64, 3, 3, 3), *[(64, 64, 3, 3)] * 4, (128, 64, 3, 3), *[(128, 128, 3, 3)] * 3, (128, 64, 1, 1)]
RESNET18 += [(256, 128, 3, 3), *[(256, 256, 3, 3)] * 3, (256, 128, 1, 1)]
RESNET18 += [(512, 256, 3, 3), *[(512, 512, 3, 3)] * 3, (512, 256, 1, 1), (10, 512), (10,)]
RESNET18 += [(width,) for width, norms in ((64, 10), (128, 10), (256, 10), (512, 10)) for _ in range(norms)]


def test_the_ratios_of_resnet_18_are_the_published_ones():
    """Vogels et al. (2019), table 3: 243, 136 and 72 times less for ranks 1, 2 and 4."""
    whole = bytes_of(Plain(), RESNET18, 2)
    assert [round(whole / bytes_of(PowerSGD(rank), RESNET18, 2)) for rank in (1, 2, 4)] == [243, 136, 72]


def on_digits(given, rank, world, link, compressor):
    data, model = given  # made before: threads that draw weights at once share one generator
    reducer = Reducer(model.parameters(), compressor(), link)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    images, labels = data
    for step in range(100):
        mine = slice(64 * step % 1280 + 32 * rank, 64 * step % 1280 + 32 * rank + 32)
        optimizer.zero_grad()
        model.loss(images[mine], labels[mine]).backward()
        reducer.reduce()
        optimizer.step()
    return model.loss(images, labels).item()


def test_top_k_with_feedback_learns_digits_where_without_it_stalls():
    data = digits()[:2]
    with_feedback, without = (
        simulate(on_digits, [(data, DigitsNet(8)) for _ in range(2)], lambda on=on: TopK(0.01, feedback=on)).results[0]
        for on in (True, False)
    )
    assert with_feedback < 1.0 and without > 2.0


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="part of the numbers"):
        TopK(share)


@pytest.mark.parametrize("rank", [0, 1.5, True, None])
def test_a_product_without_whole_columns_is_refused(rank):
    with pytest.raises(ValueError, match="columns of the thin matrices"):
        PowerSGD(rank)


@pytest.mark.parametrize("compressor", [Plain, Half, lambda: TopK(0.3), lambda: PowerSGD(2)])
def test_nothing_one_number_and_numbers_of_two_kinds_come_back_as_they_were(compressor):
    nothing = [[torch.zeros(0, 5)] for _ in range(2)]
    assert [[g.shape for g in one] for one in simulate(call, nothing, compressor).results] == [[(0, 5)]] * 2
    assert simulate(call, [[], []], compressor).results == [[], []]
    single = [[torch.tensor(float(rank))] for rank in range(2)]
    assert simulate(call, single, compressor).results == [[torch.tensor(0.5)]] * 2
    kinds = [[torch.ones(3, dtype=torch.bfloat16), torch.ones(2) * 2, torch.ones(1, dtype=torch.float64)]] * 2
    for one in simulate(call, kinds, compressor).results:
        assert [g.dtype for g in one] == [torch.bfloat16, torch.float32, torch.float64]
    parameters = [nn.Parameter(torch.zeros(3, dtype=g.dtype)) for g in kinds[0]]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    simulate(lambda _, rank, world, link: Reducer(parameters, compressor(), link).reduce(), [None])
    assert all(parameter.grad.dtype == parameter.dtype for parameter in parameters)


def on_ranks():
    """On real ranks: beside torch's PowerSGD hook, attached to a backward pass, and with DataParallel."""
    from torch import distributed
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as torchs

    from labkit.data_parallel.links import Wires
    from labkit.data_parallel.replicas import DataParallel

    rank, found = distributed.get_rank(), {}
    torch.manual_seed(0)
    net = nn.Linear(20, 30, bias=False)
    twin = nn.Linear(20, 30, bias=False)
    theirs = nn.parallel.DistributedDataParallel(net)
    state = torchs.PowerSGDState(None, matrix_approximation_rank=2, start_powerSGD_iter=2, min_compression_rate=1)
    theirs.register_comm_hook(state, torchs.powerSGD_hook)
    ours = PowerSGD(2)
    for step in range(6):
        x = torch.randn(9, 20, generator=torch.Generator().manual_seed(10 * step + rank))
        twin.load_state_dict(net.state_dict())
        if step == 3:  # ours begins where torch's stands
            ours.residuals[0] = state.error_dict[0].view(30, 20).clone()
            ours.q[0] = state.q_memory_dict[0].view(20, 2).clone()
        net.zero_grad()
        twin.zero_grad()
        theirs(x).square().mean().backward()
        twin(x).square().mean().backward()
        if step >= 3:
            mine = ours([twin.weight.grad], Wires())[0]
            found[f"torch {step}"] = (mine - net.weight.grad).abs().max().item() / mine.abs().max().item()

    for name, make in (("half", Half), ("top", lambda: TopK(0.1)), ("power", lambda: PowerSGD(1))):
        link = Wires()
        wires = make()(gradients(rank), link)
        found[name] = (wires, link.sent)

    one, two = DigitsNet(4), DigitsNet(4)
    parallel = DataParallel(two)
    reducer = Reducer(two.parameters(), TopK(0.1))
    Reducer(one.parameters(), TopK(0.1)).attach()
    images, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(rank)), torch.arange(8)
    for _ in range(3):  # the second and third with feedback
        one.zero_grad()
        one.loss(images, labels).backward()
        two.zero_grad()
        with parallel.no_sync():
            parallel.loss(images, labels).backward()
        reducer.reduce()
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    found["attached"] = max((a.grad - b.grad).abs().max().item() for a, b in pairs)
    return found


def test_on_real_ranks_it_is_torchs_power_sgd_and_the_simulated_bits():
    found = run_ranks(on_ranks, 2, quiet=True)
    for result in found:
        assert all(result[f"torch {step}"] < 1e-4 for step in (3, 4, 5)), result
        assert result["attached"] == 0
    for name, make in (("half", Half), ("top", lambda: TopK(0.1)), ("power", lambda: PowerSGD(1))):
        wanted = simulate(call, [gradients(rank) for rank in range(2)], make)
        for rank in range(2):
            wires, sent = found[rank][name]
            assert sent == wanted.sent[rank]
            assert all(torch.equal(x, y) for x, y in zip(wires, wanted.results[rank], strict=True))
