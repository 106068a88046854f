"""The fake GPU catches what a real one would, and nothing else."""

import pytest
import torch
from torch import nn

from labkit.optimizers import SGD
from labkit.transformer import Config, FeedForward, LayerNorm, RMSNorm
from tests.fake_gpu import on_fake_gpu, run_on_fake_gpu, wrong_device
from tests.fake_gpu_seen import seen

PLANTED = ["mask", "positions", "input", "target"]


class Model(nn.Module):
    """A small language model with tied weights that can make its mask or its positions on the CPU."""

    def __init__(self, planted=None):
        super().__init__()
        self.planted = planted
        self.tokens, self.places = nn.Embedding(11, 16), nn.Embedding(8, 16)
        self.mix, self.head = nn.Linear(16, 48), nn.Linear(16, 11, bias=False)
        self.head.weight = self.tokens.weight
        self.register_buffer("temperature", torch.ones(1))

    def forward(self, ids):
        n = ids.shape[1]
        place = {part: "cpu" if self.planted == part else ids.device for part in PLANTED}
        x = self.tokens(ids) + self.places(torch.arange(n, device=place["positions"]))
        query, key, value = self.mix(x).chunk(3, -1)
        mask = torch.ones(n, n, dtype=torch.bool, device=place["mask"]).tril()
        scores = (query @ key.mT / self.temperature).masked_fill(~mask, float("-inf"))
        return self.head(x + scores.softmax(-1) @ value)


def train(model, ids, targets, steps=2):
    """Forward, backward and AdamW steps; returns the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss


def batch(device):
    return torch.zeros(2, 6, dtype=torch.long, device=device)


@on_fake_gpu
def test_a_sound_model_trains(device):
    model = Model().to(device)
    loss = train(model, batch(device), batch(device))
    assert loss.device == device
    assert {p.device for p in model.parameters()} == {p.grad.device for p in model.parameters()} == {device}


@pytest.mark.parametrize("planted", PLANTED)
@on_fake_gpu
def test_each_tensor_planted_on_the_cpu_is_caught(planted, device):
    model = Model(planted).to(device)
    ids = batch("cpu" if planted == "input" else device)
    targets = batch("cpu" if planted == "target" else device)
    with wrong_device():
        train(model, ids, targets)


@on_fake_gpu
def test_moving_a_model_keeps_ties_and_types(device):
    model = Model()
    assert model.to(device) is model
    assert model.head.weight is model.tokens.weight and isinstance(model.head.weight, nn.Parameter)
    assert model.temperature.device == device
    assert len(list(model.parameters())) == 4 and model.half().head.weight is model.tokens.weight


@on_fake_gpu
def test_a_plain_attribute_stays_behind_where_a_buffer_moves(device):
    model = Model()
    del model.temperature
    model.temperature = torch.ones(1)
    with wrong_device():
        model.to(device)(batch(device))


@on_fake_gpu
def test_tensors_on_the_cpu_are_real(device):
    x = torch.arange(4.0)
    assert x.sum().item() == 6 and x.numpy()[3] == 3 and torch.equal(x, x.clone())
    moved = x.to(device)
    assert moved.device == device and moved.cpu().device.type == "cpu" and moved.cpu().shape == (4,)


@on_fake_gpu
def test_what_a_gpu_allows_is_allowed(device):
    x = torch.zeros(4, 3, device=device)
    assert (x + torch.tensor(2.0)).device == device  # a number of no dimension
    assert x[torch.tensor([0, 2])].shape == (2, 3)  # indices may be on the CPU
    x[0] = torch.ones(3)  # a copy crosses devices
    assert torch.tensor([1.0], device=device).device == torch.as_tensor([1], device=device).device == device
    assert torch.full((2,), 3, device=x.device).new_zeros(2).device == device


@on_fake_gpu
def test_reading_a_value_is_refused(device):
    x = torch.ones(3, device=device)
    for read in (lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: x.tolist(), lambda: float(x.cpu()[0])):
        with pytest.raises(RuntimeError, match="_local_scalar_dense"):
            read()


@on_fake_gpu(reads=True)
def test_a_loop_that_logs_its_loss_may_read(device):
    model = Model().to(device)
    assert [train(model, batch(device), batch(device), steps=1).item() for _ in range(2)] == [1.0, 1.0]


@on_fake_gpu
def test_a_generator_belongs_to_its_device(device):
    shares = torch.ones(2, 5, device=device)
    own = torch.Generator(device=device).manual_seed(0)
    assert torch.multinomial(shares, 1, generator=own).device == device
    assert torch.randn(3, generator=own, device=device).shape == (3,)
    with wrong_device():
        torch.multinomial(shares, 1, generator=torch.Generator().manual_seed(0))
    with wrong_device():
        torch.randn(3, generator=own)


@pytest.mark.parametrize("name", ["register_hook", "register_post_accumulate_grad_hook"])
@on_fake_gpu
def test_an_error_in_a_hook_comes_out_of_the_backward_pass(name, device):
    def hook(tensor):
        called.append(tensor.device)
        raise ValueError("planted")

    called, layers = [], nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).to(device)
    for parameter in layers.parameters():
        getattr(parameter, name)(hook)
    for passes in (1, 2):
        with pytest.raises(ValueError, match="planted"):
            layers(torch.ones(2, 4, device=device)).sum().backward()
        assert called == [device] * passes  # what comes after an error is not called


@on_fake_gpu
def test_activation_checkpointing_and_autocast_run(device):
    layer = nn.Linear(4, 4).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        y = torch.utils.checkpoint.checkpoint(layer, torch.ones(2, 4, device=device), use_reentrant=False)
    y.sum().backward()
    assert layer.weight.grad.device == device


@on_fake_gpu
def test_a_large_model_costs_nothing(device):
    layer = nn.Linear(100_000, 100_000, bias=False, device=device)
    layer(torch.ones(64, 100_000, device=device)).sum().backward()
    assert layer.weight.grad.shape == (100_000, 100_000)


def test_text_runs_in_a_process_of_its_own():
    good = run_on_fake_gpu("""
        x = nn.Linear(3, 2).to(device)(torch.ones(5, 3, device=device))
        print(x.device, tuple(x.shape))
    """)
    assert (good.returncode, good.stdout) == (0, "fakegpu:0 (5, 2)\n"), good.stderr
    bad = run_on_fake_gpu("torch.ones(3, device=device) + torch.ones(3)")
    assert bad.returncode == 1 and "two devices" in bad.stderr


def test_a_failing_test_fails_here_with_its_trace(monkeypatch):
    def fails(path, name, arguments):
        return "Traceback: the line", []

    monkeypatch.setattr("tests.fake_gpu._Worker.run", lambda self, *args: fails(*args))
    with pytest.raises(pytest.fail.Exception, match="the line"):
        on_fake_gpu(test_a_sound_model_trains)()


def test_a_class_that_is_promised_must_have_worked_on_the_device(monkeypatch):
    monkeypatch.setattr("tests.fake_gpu._Worker.run", lambda self, *args: ("", ["Decoder"]))
    on_fake_gpu(covers=("Decoder",))(test_a_sound_model_trains)()
    with pytest.raises(pytest.fail.Exception, match="AdamW, SGD did no work on the device"):
        on_fake_gpu(covers=("SGD", "Decoder", "AdamW"))(test_a_sound_model_trains)()


@on_fake_gpu
def test_classes_are_seen_at_their_work_and_where(device):
    on_cpu, norm = RMSNorm(4), LayerNorm(4).to(device)
    FeedForward(Config(5, 4, 1, 1, 4)).to(device)
    optimizer = SGD(norm.parameters(), lr=0.1)
    on_cpu(torch.ones(2, 4))
    loss = norm(torch.ones(2, 4, device=device)).sum()
    assert seen == {"LayerNorm"}
    loss.backward()
    optimizer.step()
    assert seen == {"LayerNorm", "SGD"}
