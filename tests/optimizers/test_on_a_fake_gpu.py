"""Every optimizer steps on the device that its parameters are on, and never waits for it."""

import pytest
import torch

import labkit.optimizers as lab
from tests.fake_gpu import on_fake_gpu, wrong_device

CASES = [
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {"weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {}),
    ("Lion", {}),
    ("Muon", {}),
]


@on_fake_gpu(covers=("SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Lion", "Muon"))
def test_an_optimizer_steps(device):
    for name, settings in CASES:
        weight = torch.ones(300, 300, device=device, requires_grad=True)  # more than one block on a CPU
        optimizer = getattr(lab, name)([weight], lr=0.1, **settings)
        for _ in range(2):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
        state = [x.device for key, x in optimizer.state[weight].items() if key != "step"]
        assert weight.device == device and set(state) <= {device}, name


@on_fake_gpu(reads=True)
def test_what_is_computed_on_paper_stays_on_the_device(device):
    x = torch.ones(4, device=device, requires_grad=True)
    rows = torch.ones(6, 4, device=device)
    assert lab.descend(lambda w: 2 * w, x.detach(), 0.1, 3, momentum=0.5).device == device
    assert isinstance(lab.hessian_top(lambda: x.pow(3).sum(), [x], 2), float)
    assert lab.ridge(rows, rows[:, 0], 1.0).device == lab.lasso(rows, rows[:, 0], 1.0, 2).device == device
    assert lab.exponential_average(rows, 0.9).device == device
    assert isinstance(lab.noise_scale(rows), float)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lion"])
@on_fake_gpu
def test_an_average_left_on_the_cpu_is_caught(name, device):
    weight = torch.ones(3, 3, device=device, requires_grad=True)
    optimizer = getattr(lab, name)([weight], lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
    weight.square().sum().backward()
    optimizer.step()
    state = optimizer.state[weight]
    state.update({key: torch.zeros(3, 3) for key, x in state.items() if isinstance(x, torch.Tensor) and x.ndim})
    with wrong_device():
        optimizer.step()
