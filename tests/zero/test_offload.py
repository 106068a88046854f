"""States in files: the same training, and memory that holds one piece at a time."""

import pytest
import torch
from torch import nn

from labkit import optimizers
from labkit.zero.checkpoints import load_shards, save_shards
from labkit.zero.offload import offloaded
from labkit.zero.stages import Zero


def train(zero, steps=3, start=0):
    for step in range(start, start + steps):
        zero.zero_grad()
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        zero.model(x).square().mean().backward()
        zero.step()
    return [p.detach().clone() for p in zero.model.parameters()]


def new(rule, stage=2, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2)).double()
    return Zero(model, rule, stage=stage, **settings)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("piece", [1, 7, 40, 1000])
@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (torch.optim.AdamW, {"lr": 0.01}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (torch.optim.SGD, {"lr": 0.1}),
        (optimizers.AdamW, {"lr": 0.01}),
    ],
)
def test_training_from_files_is_training_from_memory(rule, settings, piece, stage, tmp_path):
    expected = train(new(rule, stage, **settings))
    zero = new(offloaded(rule, tmp_path, piece), stage, **settings)
    assert all(torch.equal(a, b) for a, b in zip(train(zero), expected, strict=True))
    states = {torch.optim.AdamW: 2, optimizers.AdamW: 2}.get(rule, int("momentum" in settings))
    assert zero.report().mapped == 8 * states * 83  # 83 parameters, float64
    assert zero.report().optimizer <= 64  # numbers of steps


def test_without_a_folder_states_stay_in_memory():
    zero = new(offloaded(torch.optim.AdamW), lr=0.01)
    assert all(torch.equal(a, b) for a, b in zip(train(zero), train(new(torch.optim.AdamW, lr=0.01)), strict=True))
    assert zero.report().mapped == 0 and zero.report().optimizer >= 8 * 2 * 83


def test_no_file_is_left_behind(tmp_path):
    train(new(offloaded(torch.optim.AdamW, tmp_path), lr=0.01))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_moves_states_from_memory_to_files_and_back(tmp_path):
    first = new(torch.optim.AdamW, lr=0.01)
    train(first)
    save_shards(tmp_path / "a", first, step=3)
    expected = train(first, start=3)
    second = new(offloaded(torch.optim.AdamW, tmp_path, piece=11), lr=0.5)
    assert load_shards(tmp_path / "a", second)["step"] == 3
    save_shards(tmp_path / "b", second)
    assert all(torch.equal(a, b) for a, b in zip(train(second, start=3), expected, strict=True))
    third = new(torch.optim.AdamW, lr=0.5)
    load_shards(tmp_path / "b", third)
    assert all(torch.equal(a, b) for a, b in zip(train(third, start=3), expected, strict=True))


def test_a_learning_rate_can_be_changed_between_steps(tmp_path):
    zero = new(offloaded(torch.optim.SGD, tmp_path), lr=0.1)
    zero.optimizer.param_groups[0]["lr"] = 0.0
    before = [p.detach().clone() for p in zero.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(train(zero, 1), before, strict=True))


def test_optimizers_that_need_whole_parameters_are_refused_here_too(tmp_path):
    with pytest.raises(ValueError, match="Muon"):
        new(offloaded(torch.optim.Muon, tmp_path), lr=0.1)
    with pytest.raises(ValueError, match="at least 1 element"):
        offloaded(torch.optim.SGD, tmp_path, piece=0)
