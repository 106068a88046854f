"""Vectors, shards and padding, without any process."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from labkit.zero.partitioning import Flat, Piece, buckets, owned, padded

shapes = some.lists(some.lists(some.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=6)


def flat_of(shapes, ranks):
    torch.manual_seed(0)
    return Flat([(f"p{i}", nn.Parameter(torch.randn(shape))) for i, shape in enumerate(shapes)], ranks)


def test_eight_numbers_on_three_ranks_by_hand():
    flat = flat_of([(2, 3), (2,)], ranks=3)
    assert (flat.size, flat.padded) == (8, 9)
    assert [flat.pieces(rank) for rank in range(3)] == [
        [Piece("p0", 0, 3, 0)],
        [Piece("p0", 3, 6, 0)],
        [Piece("p1", 0, 2, 0)],
    ]


@given(some.integers(0, 100), some.integers(1, 9))
def test_shards_are_equally_long_and_cover_everything_once(size, ranks):
    bounds = [owned(size, ranks, rank) for rank in range(ranks)]
    assert len({end - begin for begin, end in bounds}) == 1
    assert bounds[0][0] == 0 and bounds[-1][1] == padded(size, ranks) < size + ranks
    assert all(first[1] == second[0] for first, second in itertools.pairwise(bounds))


@given(shapes, some.integers(1, 7))
def test_parameters_come_back_as_they_went_in(shapes, ranks):
    flat = flat_of(shapes, ranks)
    back = flat.views(flat.join(flat.parameters))
    assert all(torch.equal(a, b) for a, b in zip(flat.parameters, back, strict=True))
    assert not flat.join(flat.parameters)[flat.size :].any()


@given(shapes, some.integers(1, 7))
def test_the_pieces_of_all_ranks_are_the_parameters(shapes, ranks):
    flat = flat_of(shapes, ranks)
    vector = flat.join(flat.parameters)
    rebuilt = {name: [] for name in flat.names}
    for rank in range(ranks):
        begin, end = flat.bounds(rank)
        for piece in flat.pieces(rank):
            assert piece.start == sum(map(len, rebuilt[piece.name]))
            rebuilt[piece.name].append(vector[begin:end][piece.place : piece.place + piece.stop - piece.start])
    for name, parameter in zip(flat.names, flat.parameters, strict=True):
        assert torch.equal(torch.cat([torch.zeros(0), *rebuilt[name]]), parameter.detach().reshape(-1))


@given(shapes, some.integers(1, 4), some.sampled_from([None, 1e-5, 1e-4, 1]))
def test_buckets_hold_every_parameter_once_the_last_ones_first(shapes, ranks, megabytes):
    named = [(f"p{i}", nn.Parameter(torch.zeros(shape))) for i, shape in enumerate(shapes)]
    flats = buckets(named, [[p for _, p in named]], ranks, megabytes)
    assert [name for flat in flats[::-1] for name in flat.names] == [name for name, _ in named]
    for flat in flats:
        assert len(flat.names) == 1 or megabytes is None or 4 * flat.size <= megabytes * 2**20


def test_the_vector_that_leaves_last_is_small_or_one_parameter():
    for sizes, expected in (((9, 9, 300, 9), [["p2", "p3"], ["p0", "p1"]]), ((400, 9), [["p1"], ["p0"]])):
        named = [(f"p{i}", nn.Parameter(torch.zeros(size, 1024))) for i, size in enumerate(sizes)]
        assert [flat.names for flat in buckets(named, [[p for _, p in named]], 2, 25)] == expected
        assert len(buckets(named, [[p for _, p in named]], 2, None)) == 1


def test_one_vector_has_one_kind_of_numbers():
    mixed = [("a", nn.Parameter(torch.zeros(1))), ("b", nn.Parameter(torch.zeros(1).half()))]
    with pytest.raises(ValueError, match="one dtype"):
        Flat(mixed, 2)
    assert [flat.names for flat in buckets(mixed, [[p for _, p in mixed]], 2, None)] == [["b"], ["a"]]
    with pytest.raises(ValueError, match="nothing"):
        Flat([], 2)
