"""Ranks that call other collectives, in another order, with other shapes, or not at all: named, not a hang."""

import pytest
import torch
from torch import nn

from labkit.data_parallel.agreement import describe
from labkit.ranks import run_ranks


def out_of_step():
    """Four ways to disagree, the last of which is not to come at all."""
    import torch
    from torch import distributed

    from labkit.data_parallel.agreement import OutOfStep, checked
    from labkit.data_parallel.replicas import DataParallel

    rank, said, original = distributed.get_rank(), {}, distributed.all_reduce
    x = torch.ones(3 + rank)
    attempts = {
        "order": lambda: distributed.all_reduce(x) if rank else distributed.broadcast(x, 0),
        "shapes": lambda: distributed.all_reduce(x),
        "dtypes": lambda: distributed.all_reduce(torch.ones(2, dtype=torch.float64 if rank else torch.float32)),
        "fine": lambda: distributed.all_reduce(torch.ones(2)),
        "absent": lambda: rank or distributed.barrier(),
    }
    with checked(timeout=2):
        model = DataParallel(torch.nn.Linear(2, 1))
        model(torch.full((1, 2), float(rank))).sum().backward()
        said["gradient"] = model.module.weight.grad.tolist()
        for name, attempt in attempts.items():
            try:
                attempt()
            except OutOfStep as error:
                said[name] = str(error)
    said["restored"] = distributed.all_reduce is original
    return said


@pytest.fixture(scope="module")
def said():
    return run_ranks(out_of_step, 2, quiet=True)


def test_another_order_is_named_on_every_rank(said):
    for of_rank in said:
        assert "rank 0 calls broadcast (3,) float32; rank 1 calls all_reduce (4,) float32" in of_rank["order"]


def test_other_shapes_and_dtypes_are_named(said):
    for of_rank in said:
        assert "rank 0 calls all_reduce (3,) float32; rank 1 calls all_reduce (4,) float32" in of_rank["shapes"]
        assert "rank 1 calls all_reduce (2,) float64" in of_rank["dtypes"]


def test_a_rank_that_does_not_come_is_an_error_after_the_timeout(said):
    assert "rank 0 is at barrier, and not all others came there within 2 s" in said[0]["absent"]
    assert "1" in said[0]["absent"].split("within 2 s:")[1] and "absent" not in said[1]


def test_what_agrees_passes_and_afterwards_nothing_is_checked(said):
    for of_rank in said:
        assert "fine" not in of_rank and of_rank["restored"]
        assert of_rank["gradient"] == [[0.5, 0.5]]


def test_a_module_is_described_line_by_line():
    net = nn.Sequential(nn.Linear(2, 3, bias=False).requires_grad_(False), nn.BatchNorm1d(3, dtype=torch.float64))
    assert describe(net) == [
        *("0.weight: (3, 2) float32 frozen", "1.weight: (3,) float64 trained", "1.bias: (3,) float64 trained"),
        *("1.running_mean: (3,) float64 buffer", "1.running_var: (3,) float64 buffer"),
        "1.num_batches_tracked: () int64 buffer",
    ]
