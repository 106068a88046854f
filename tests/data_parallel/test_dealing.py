"""Which examples a rank draws: all together what one process draws, also resumed with other ranks."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from labkit.data_parallel.practice import DigitsNet, accuracy, deal, digits, learn
from labkit.data_parallel.sampling import RankSampler, seed_of
from labkit.training import ResumableSampler


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_the_ranks_together_draw_what_one_process_draws(n, batch, world, shuffle):
    whole = islice(iter(ResumableSampler(n, batch, seed=2, shuffle=shuffle)), 6)
    ranks = [islice(iter(RankSampler(n, batch, rank, world, seed=2, shuffle=shuffle)), 6) for rank in range(world)]
    for expected, *parts in zip(whole, *ranks, strict=True):
        assert sorted(torch.cat(parts).tolist()) == sorted(expected.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_run_of_two_ranks_goes_on_with_three():
    two = [RankSampler(17, 6, rank, 2, seed=1) for rank in range(2)]
    for source in map(iter, two):
        list(islice(source, 4))
    assert two[0].state_dict() == two[1].state_dict()
    three = [RankSampler(17, 6, rank, 3, seed=1) for rank in range(3)]
    for sampler in three:
        sampler.load_state_dict(two[0].state_dict())
    expected = list(islice(iter(ResumableSampler(17, 6, seed=1)), 7))[4:]
    for batch, *parts in zip(expected, *(islice(iter(sampler), 3) for sampler in three), strict=True):
        assert sorted(torch.cat(parts).tolist()) == sorted(batch.tolist())


def test_torch_repeats_examples_where_the_ranks_do_not_divide_them_and_we_do_not():
    theirs = [i for rank in range(4) for i in DistributedSampler(range(10), 4, rank, shuffle=False)]
    ours = [i for rank in range(4) for i in next(iter(RankSampler(10, 10, rank, 4, shuffle=False))).tolist()]
    assert len(theirs) == 12 and sorted(ours) == list(range(10))
    evenly = [list(DistributedSampler(range(12), 4, rank, shuffle=False)) for rank in range(4)]
    assert evenly == [next(iter(RankSampler(12, 12, rank, 4, shuffle=False))).tolist() for rank in range(4)]


def test_ranks_that_do_not_exist_and_other_states_are_refused():
    with pytest.raises(ValueError, match="got rank 2 of world 2"):
        RankSampler(5, 2, 2, 2)
    with pytest.raises(ValueError, match=r"got rank 0\.5 of world 2"):
        RankSampler(5, 2, 0.5, 2)
    with pytest.raises(ValueError, match="resume with the data, batch and seed"):
        RankSampler(5, 2, 0, 2).load_state_dict(RankSampler(5, 3, 0, 2).state_dict())


def test_no_two_ranks_of_no_two_runs_have_one_seed():
    seeds = [seed_of(seed, rank) for seed in range(20) for rank in range(50)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)


def test_the_digits_are_all_there_and_a_new_net_guesses():
    pictures = digits(seed=3)
    assert len(pictures.images) == len(pictures.labels) == 1437 and len(pictures.test_images) == 360
    assert pictures.images.min() == 0 and pictures.images.max() == 1
    net = DigitsNet(seed=1)
    assert sum(p.numel() for p in net.parameters()) == 6090
    assert 0.0 <= accuracy(net, pictures.test_images, pictures.test_labels) < 0.4
    assert torch.equal(net.layers[0].weight, DigitsNet(seed=1).layers[0].weight)


def test_a_small_net_learns_digits_from_dealt_batches():
    pictures, net = digits(), DigitsNet(8)
    losses = learn(net, deal(pictures[:2], 64, 0, 1, steps=40), lr=1e-2)
    assert len(losses) == 40 and losses[-1] < 0.7 < losses[0]
    assert accuracy(net, pictures.test_images, pictures.test_labels) > 0.8
    parts = [deal(pictures[:2], 64, rank, 2, steps=1)[0] for rank in range(2)]
    assert [len(images) for images, _ in parts] == [32, 32] and not torch.equal(parts[0][0], parts[1][0])
