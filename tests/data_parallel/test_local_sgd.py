"""Local SGD: one step between averages is synchronous training; more steps drift apart, and the drift is measured."""

import pytest
import torch
from torch import nn

from labkit.data_parallel.compression import Plain, Reducer
from labkit.data_parallel.links import simulate
from labkit.data_parallel.local_sgd import LocalSGD, local_updates
from labkit.data_parallel.practice import DigitsNet, digits


class Point(nn.Module):
    """A number that is pulled towards a target."""

    def __init__(self, start):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([float(start)]))

    def loss(self, target):
        return 0.5 * (self.x - target).square().sum()


def pulled(target, rank, world, link, period, steps, start=0.0):
    model = Point(start + rank)  # only rank 0's counts
    optimizer, local = torch.optim.SGD(model.parameters(), lr=0.5), LocalSGD(model, period, link)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(target).backward()
        optimizer.step()
        local.step()
        seen.append(model.x.item())
    return seen, local


def test_two_ranks_pulled_apart_by_hand():
    (left, local), (right, _) = simulate(pulled, [-1.0, 3.0], 2, 4).results
    assert left == [-0.5, 0.75, -0.125, 0.9375]  # 0 → -0.5 → -0.75; 0 → 1.5 → 2.25; mean 0.75
    assert right == [1.5, 0.75, 1.875, 0.9375]
    assert local.drifts == [1.5, 1.5] and local.averages == 2


def given(world):
    """Data and model of each rank; made here, for threads that draw weights at once share one generator."""
    return [(digits(), DigitsNet(4)) for _ in range(world)]


def trained(given, rank, world, link, period, steps=24, momentum=0.0, lr=0.5):
    data, model = given
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    reducer = None if period else Reducer(model.parameters(), Plain(), link)
    local = LocalSGD(model, period, link) if period else None
    norms = []
    for step in range(steps):
        mine = slice((world * step + rank) * 16, (world * step + rank + 1) * 16)
        optimizer.zero_grad()
        model.loss(data.images[mine], data.labels[mine]).backward()
        norms.append(sum(p.grad.square().sum() for p in model.parameters()).sqrt().item())
        if reducer:
            reducer.reduce()
        optimizer.step()
        if local:
            local.step()
    weights = torch.cat([p.detach().view(-1) for p in model.parameters()])
    return weights, local and local.drifts, norms, link.sent


@pytest.mark.parametrize("world", [2, 3])
def test_an_average_after_each_step_is_synchronous_training(world):
    synchronous = simulate(trained, given(world), None).results[0][0]
    averaged = simulate(trained, given(world), 1).results[0][0]
    torch.testing.assert_close(averaged, synchronous, rtol=0, atol=1e-5)


def test_the_drift_grows_with_the_period_and_stays_under_stichs_bound():
    """Stich (2019), lemma 3.3: the mean square of the distance is at most 4 (period · lr · G)²."""
    last = 0.0
    for period in (1, 4, 12):
        results = simulate(trained, given(2), period, lr=0.1).results
        drift, largest = max(results[0][1]), max(norm for result in results for norm in result[2])
        assert last < drift <= 2 * period * 0.1 * largest
        last = drift


def test_so_many_times_fewer_bytes_travel_as_steps_lie_between_averages():
    once, seldom = (simulate(trained, given(2), period).results[0][3] for period in (1, 8))
    start = 4 * sum(p.numel() for p in DigitsNet(4).parameters())  # rank 0 sends its weights to rank 1 first
    assert (once - start) == 8 * (seldom - start)


def test_all_begin_with_the_weights_of_rank_0_and_end_with_the_same():
    (left, _), (right, _) = simulate(pulled, [2.0, 2.0], 3, 3, start=5.0).results
    assert left == right and left[0] == 3.5


def test_running_averages_are_averaged_and_counts_are_left():
    def run(x, rank, world, link):
        norm = nn.BatchNorm1d(1)
        local = LocalSGD(norm, 1, link)
        norm(torch.tensor([[float(rank)], [float(rank)]]))
        local.step()
        return norm.running_mean.item(), norm.num_batches_tracked.item()

    results = simulate(run, [None] * 2).results
    assert results[0] == results[1] and results[0][0] == pytest.approx(0.05)


def test_the_steps_between_averages_of_fedavg_are_those_of_its_table():
    """McMahan et al. (2017), table 2: u for 600 examples a client, (E, B) = (1, ∞), (5, ∞), (1, 50), (20, 50), …"""
    settings = [(1, None), (5, None), (1, 50), (20, None), (1, 10), (5, 50), (20, 50), (5, 10), (20, 10)]
    found = [local_updates(60_000, 100, epochs, batch) for epochs, batch in settings]
    assert found == [1, 5, 12, 20, 60, 60, 240, 300, 1200]


@pytest.mark.parametrize("period", [0, 1.5, True, None])
def test_a_period_that_is_no_whole_number_from_1_is_refused(period):
    with pytest.raises(ValueError, match="number of steps between two averages"):
        LocalSGD(Point(0), period, None)
