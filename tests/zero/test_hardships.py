"""What happens to people: errors in the middle, habits from torch, three ranks, full disks; ZeRO survives or tells."""

import dataclasses
import errno

import pytest
import torch
from torch import nn

from labkit.ranks import run_ranks
from labkit.transformer import Config, Decoder
from labkit.zero.checkpoints import load_shards, save_shards
from labkit.zero.offload import offloaded
from labkit.zero.stages import Zero

SHAPE = Config(vocabulary=50, context=16, layers=2, heads=2, width=16)
STAGES = pytest.mark.parametrize("stage", [1, 2, 3])


def distance(zero, model):
    with zero.whole():
        return max((a - b).abs().max().item() for a, b in zip(zero.model.parameters(), model.parameters(), strict=True))


class Fragile(torch.autograd.Function):
    """Nothing, and an error in the backward pass when `broken` is not empty."""

    @staticmethod
    def forward(ctx, x, broken):
        ctx.broken = broken
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        if ctx.broken:
            raise RuntimeError("a bad batch")
        return grad, None


class Chain(nn.Module):
    """Three blocks, and between the second and the third something that may fail, backward or forward."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.broken = []

    def forward(self, x):
        x = self.blocks[1](self.blocks[0](x))
        return self.blocks[2](Fragile.apply(x, self.broken))


def pair(make, stage, **settings):
    """A model in a Zero, and the same one with an optimizer of torch's."""
    ours, theirs = make(), make()
    zero = Zero(ours, torch.optim.SGD, stage=stage, lr=0.1, **settings)
    return zero, theirs, torch.optim.SGD([p for p in theirs.parameters() if p.requires_grad], lr=0.1)


def both_step(zero, theirs, optimizer, x):
    for model, rule in ((zero.model, zero), (theirs, optimizer)):
        rule.zero_grad()
        model(x).square().sum().backward()
        rule.step()


# errors in the middle -----------------------------------------------------------------------------------------------


@STAGES
def test_after_an_error_in_the_backward_pass_training_goes_on_as_if_there_had_been_none(stage):
    zero, theirs, optimizer = pair(Chain, stage, bucket_mb=1e-6, micro_batches=1)
    for _ in range(2):
        zero.zero_grad()
        zero.model.broken.append("now")
        with pytest.raises(RuntimeError, match="a bad batch"):
            zero.model(torch.ones(2, 4)).sum().backward()
        zero.model.broken.clear()
        both_step(zero, theirs, optimizer, torch.ones(2, 4))
    assert distance(zero, theirs) == 0


@pytest.mark.parametrize("stage", [2, 3])
def test_a_step_after_such_an_error_wants_zero_grad_first(stage):
    zero, *_ = pair(Chain, stage)
    zero.model.broken.append("now")
    with pytest.raises(RuntimeError, match="a bad batch"):
        zero.model(torch.ones(2, 4)).sum().backward()
    with pytest.raises(ValueError, match="ended in an error: call zero_grad"):
        zero.step()


def test_an_error_in_the_forward_pass_leaves_no_block_gathered():
    zero, theirs, optimizer = pair(Chain, 3)
    with pytest.raises(RuntimeError):
        zero.model(torch.ones(2, 5))
    assert not any(shard.present for shard in zero.shards)
    both_step(zero, theirs, optimizer, torch.ones(2, 4))
    assert distance(zero, theirs) == 0


# habits from torch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [2, 3])
def test_the_models_own_zero_grad_is_refused_where_it_would_do_nothing(stage):
    zero, *_ = pair(Chain, stage)
    zero.model(torch.ones(2, 4)).sum().backward()
    zero.step()
    zero.model.zero_grad()
    with pytest.raises(ValueError, match="call Zero's zero_grad"):
        zero.model(torch.ones(2, 4)).sum().backward()
    for none in (True, False):
        zero.zero_grad(set_to_none=none)
        zero.model(torch.ones(2, 4)).sum().backward()
        zero.step()


def test_stage_1_does_not_use_gradients_that_the_models_own_zero_grad_has_dropped():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    zero, x = Zero(model, torch.optim.SGD, stage=1, unused="zero", lr=1.0), torch.ones(1, 2)
    before = model["b"].weight.detach().clone()
    (model["a"](x) + model["b"](x)).sum().backward()
    model.zero_grad()  # a batch that was not worth a step
    model["a"](x).sum().backward()
    zero.step()
    assert torch.equal(model["b"].weight, before)


def test_a_learning_rates_schedule_of_torch_drives_the_shards():
    zero, theirs, optimizer = pair(Chain, 2)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda t: 0.5**t) for each in (zero.optimizer, optimizer)]
    for _ in range(3):
        both_step(zero, theirs, optimizer, torch.ones(2, 4))
        for each in schedules:
            each.step()
    assert distance(zero, theirs) == 0


def test_weights_that_are_elsewhere_are_neither_saved_nor_loaded_as_nothing():
    zero, theirs, _ = pair(Chain, 3)
    for act in (zero.model.state_dict, lambda: zero.model.load_state_dict(theirs.state_dict())):
        with pytest.raises(ValueError, match=r"blocks\.2\.weight is split .* zero\.whole"):
            act()
    with zero.whole():
        zero.model.load_state_dict({name: w + 1 for name, w in theirs.state_dict().items()})
        with zero.whole():
            assert torch.equal(zero.model.state_dict()["blocks.0.bias"], theirs.blocks[0].bias + 1)
        assert zero.model.blocks[0].bias.numel() == 4  # the inner `whole` gave nothing back
    assert not any(shard.present for shard in zero.shards)


@pytest.mark.parametrize("stage", [1, 2])
def test_weights_that_are_loaded_reach_the_precise_copy(stage):
    model = nn.Linear(2, 2).bfloat16()
    zero = Zero(model, torch.optim.SGD, stage=stage, master=torch.float32, lr=0.0)
    model.load_state_dict({"weight": torch.full((2, 2), 3.0), "bias": torch.full((2,), 4.0)})
    model(torch.ones(1, 2).bfloat16()).sum().backward()
    zero.step()
    assert model.weight.tolist() == [[3.0, 3.0], [3.0, 3.0]]


@STAGES
def test_a_model_that_is_in_a_zero_is_not_taken_into_another(stage):
    model = nn.Linear(2, 2)
    Zero(model, torch.optim.SGD, stage=stage, lr=0.1)
    with pytest.raises(ValueError, match="weight is in another Zero already"):
        Zero(model, torch.optim.SGD, stage=stage, lr=0.1)


# unusual blocks -----------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """A block of two inputs and one output, partly frozen: the gradient of one input comes long before the other's."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, y):
        return self.first(self.frozen(x)).sin() + self.second(self.frozen(y)).sin()


@dataclasses.dataclass
class Answer:
    hidden: torch.Tensor


class Wrapped(nn.Linear):
    """A block that answers with an object."""

    def forward(self, x):
        return Answer(super().forward(x))


class Unusual(nn.Module):
    """Blocks used twice, out of order, with two inputs, and with answers that are objects."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.enter, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.blocks = nn.ModuleList([Wrapped(4, 4), Two(), nn.Linear(4, 4)])

    def forward(self, x):
        y = self.blocks[2](self.enter(x))
        z = self.blocks[1](self.other(y), y)
        return self.blocks[2](self.blocks[0](z).hidden).tanh()  # the third block for the second time


@STAGES
def test_blocks_used_twice_out_of_order_with_many_inputs_and_objects_as_answers(stage):
    zero, theirs, optimizer = pair(Unusual, stage)
    for step in range(3):
        both_step(zero, theirs, optimizer, torch.randn(5, 4, generator=torch.Generator().manual_seed(step)))
    assert distance(zero, theirs) < 1e-6


# three ranks --------------------------------------------------------------------------------------------------------


def batch(step, rank=0, ranks=1):
    ids = torch.randint(0, 50, (6, 9), generator=torch.Generator().manual_seed(step)).chunk(ranks)[rank]
    return ids[:, :-1], ids[:, 1:]


def train(zero, steps, start=0, clip=0.5):
    for step in range(start, start + steps):
        zero.zero_grad(set_to_none=True)
        zero.model.loss(*batch(step, zero.exchange.rank, zero.exchange.ranks)).backward()
        zero.clip(clip)
        zero.step()
    return zero


def decoder(seed=0):
    model = Decoder(SHAPE, seed=seed).double()
    model.blocks[0].requires_grad_(False)
    model.register_buffer("seen", torch.full((3,), float(seed), dtype=torch.float64))
    return model


def serial(steps):
    model = decoder()
    trained = [p for p in model.parameters() if p.requires_grad]
    rule = torch.optim.AdamW(trained, lr=1e-2)
    for step in range(steps):
        rule.zero_grad()
        model.loss(*batch(step)).backward()
        nn.utils.clip_grad_norm_(trained, 0.5)
        rule.step()
    return model


def said_by(act):
    try:
        act()
        return "nothing"
    except (ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def alike():
    """Every rank begins with other weights, frozen ones and buffers: those of rank 0 win in every stage."""
    found, expected = {}, serial(2)
    for stage in (1, 2, 3):
        model = decoder(seed=torch.distributed.get_rank())
        zero = train(Zero(model, torch.optim.AdamW, stage=stage, bucket_mb=0.01, lr=1e-2), 2)
        found[stage] = distance(zero, expected), model.seen.tolist()
    return found


def disagreements():
    rank = torch.distributed.get_rank()
    other = nn.Linear(2, 2)
    if rank:
        other.register_buffer("more", torch.ones(1))
    return {
        "rate": said_by(lambda: Zero(nn.Linear(2, 2), torch.optim.SGD, lr=0.1 * (1 + rank))),
        "stage": said_by(lambda: Zero(nn.Linear(2, 2), torch.optim.SGD, stage=1 + rank, lr=0.1)),
        "buffer": said_by(lambda: Zero(other, torch.optim.SGD, lr=0.1)),
    }


def failing_saves(folder):
    """One rank cannot write, another time rank 0 cannot even begin: what every rank says, and what is left."""
    import labkit.zero.checkpoints as module

    rank, zero = torch.distributed.get_rank(), Zero(nn.Linear(3, 3), torch.optim.SGD, lr=0.1)
    said, write = [], module.write_beside

    def full(path, content):
        raise OSError(errno.ENOSPC, "no room on the disk")

    module.write_beside = full if rank == 1 else write
    said.append(said_by(lambda: save_shards(folder / "full", zero)))
    module.write_beside = full if rank == 0 else write
    said.append(said_by(lambda: save_shards(folder / "full", zero)))
    module.write_beside = write
    said.append(said_by(lambda: save_shards(folder / "file" / "step", zero)))
    said.append(said_by(lambda: save_shards(folder / "full", zero, note=object())))
    zero.exchange.wait_for_all()
    return said, sorted(path.name for path in folder.iterdir())


def on_three(folder):
    (folder / "file").touch()
    found = {"alike": alike(), "disagreements": disagreements(), "failing": failing_saves(folder)}
    zero = train(Zero(decoder(), torch.optim.AdamW, stage=2, bucket_mb=0.01, lr=1e-2), 2)
    save_shards(folder / "three", zero, step=2)
    found["further"] = distance(train(zero, 2, start=2), serial(4))
    found["two"] = on_two(folder)
    return found


def on_two(folder):
    """Two of the three ranks, as a group of their own, resume; the third has nothing to do."""
    found, group = {}, torch.distributed.new_group([1, 2])
    for stage in (1, 2, 3) if torch.distributed.get_rank() else ():
        zero = Zero(decoder(seed=9), torch.optim.AdamW, stage=stage, bucket_mb=0.02, group=group, lr=0.3)
        load_shards(folder / "three", zero)
        found[stage] = distance(train(zero, 2, start=2), serial(4))
        save_shards(folder / f"two-{stage}", zero)
    torch.distributed.barrier()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hardships")


@pytest.fixture(scope="module")
def three(folder):
    return run_ranks(on_three, 3, folder, timeout=120.0, quiet=True)


def test_frozen_weights_and_buffers_are_those_of_rank_0_too(three):
    for mine in three:
        for weights, buffer in mine["alike"].values():
            assert weights < 1e-11 and buffer == [0.0, 0.0, 0.0]


def test_ranks_that_build_zero_otherwise_are_refused_by_name(three):
    for mine in three:
        said = mine["disagreements"]
        assert "lr is 0.1 on rank 0, 0.2 on rank 1" in said["rate"]
        assert "stage is 1 on rank 0, 2 on rank 1" in said["stage"]
        assert "rank 1 has more (1,) torch.float32 a buffer" in said["buffer"]


def test_a_rank_that_cannot_write_is_named_on_all_and_nothing_is_left(three):
    for rank, mine in enumerate(three):
        (one, first, file, about), left = mine["failing"]
        assert one == "OSError: " + ("" if rank == 1 else "rank 1: ") + "no room on the disk"
        assert first == "OSError: " + ("" if rank == 0 else "rank 0: ") + "no room on the disk"
        assert "cannot be written" in file and file.startswith("OSError")
        assert "only numbers, texts" in about and about.startswith("ValueError")
        assert left == ["file"]


def test_three_ranks_save_and_two_go_on_as_one_process_would(folder, three):
    assert max(mine["further"] for mine in three) < 1e-11
    for rank, mine in enumerate(three):
        assert len(mine["two"]) == (3 if rank else 0) and all(each < 1e-11 for each in mine["two"].values())
    assert len(list((folder / "two-3").glob("rank-*-of-00002.safetensors"))) == 2


# files --------------------------------------------------------------------------------------------------------------


def linear(**settings):
    zero = Zero(nn.Linear(2, 2), torch.optim.AdamW, **{"lr": 0.1, **settings})
    zero.model(torch.ones(1, 2)).sum().backward()
    zero.step()
    return zero


def test_any_changed_letter_of_the_index_is_found(tmp_path):
    save_shards(tmp_path / "a", linear(), step=3)
    path = tmp_path / "a" / "index.json"
    path.write_text(path.read_text().replace('"step": 3', '"step": 8'))
    with pytest.raises(ValueError, match=r"index\.json of a is damaged"):
        load_shards(tmp_path / "a", linear())


def test_what_is_noted_comes_back_as_json_has_it(tmp_path):
    save_shards(tmp_path / "a", linear(), step=3, sizes={10: 1, 9: 2}, nothing=None)
    assert load_shards(tmp_path / "a", linear()) == {"step": 3, "sizes": {"10": 1, "9": 2}, "nothing": None}


def test_groups_in_another_order_and_another_packages_optimizer_are_refused(tmp_path):
    from labkit import optimizers

    def grouped(first, second):
        model = nn.Linear(2, 2)
        groups = [{"params": [getattr(model, first)]}, {"params": [getattr(model, second)], "weight_decay": 0.0}]
        return Zero(model, torch.optim.AdamW, groups=groups)

    save_shards(tmp_path / "a", grouped("weight", "bias"))
    with pytest.raises(ValueError, match=r"is in group \d here and in \d there"):
        load_shards(tmp_path / "a", grouped("bias", "weight"))
    save_shards(tmp_path / "b", linear())
    with pytest.raises(ValueError, match="of torch's AdamW, not of labkit's AdamW"):
        load_shards(tmp_path / "b", Zero(nn.Linear(2, 2), optimizers.AdamW, lr=0.1))


def test_a_learning_rate_in_a_tensor_and_parameters_without_elements_come_back(tmp_path):
    def new(rate):
        model = nn.Linear(2, 2)
        model.register_buffer("nothing", torch.zeros(0))
        model.none = nn.Parameter(torch.zeros(0), requires_grad=False)
        return Zero(model, torch.optim.AdamW, stage=2, lr=torch.tensor(rate))

    first, second = new(0.25), new(0.5)
    save_shards(tmp_path / "a", first)
    load_shards(tmp_path / "a", second)
    assert second.optimizer.param_groups[0]["lr"].item() == 0.25


def test_states_take_on_the_precision_of_the_model_that_loads_them(tmp_path):
    def new(dtype):
        zero = Zero(nn.Linear(2, 2).to(dtype), torch.optim.AdamW, lr=0.1)
        zero.model(torch.ones(1, 2, dtype=dtype)).sum().backward()
        zero.step()
        return zero

    save_shards(tmp_path / "a", new(torch.float64))
    zero = new(torch.float32)
    load_shards(tmp_path / "a", zero)
    assert {value.dtype for state in zero.optimizer.state.values() for value in state.values()} == {torch.float32}


def test_two_runs_that_save_under_one_name_do_not_spoil_each_other(tmp_path, monkeypatch):
    """The second begins and ends while the first is writing: the second's checkpoint stands, and the first is told."""
    import labkit.zero.checkpoints as module

    inner, zero, other = module.write_beside, linear(), linear()

    def meanwhile(path, content):
        monkeypatch.setattr(module, "write_beside", inner)
        save_shards(tmp_path / "a", other, step=2)
        return inner(path, content)

    monkeypatch.setattr(module, "write_beside", meanwhile)
    with pytest.raises(ValueError, match="was written by another run meanwhile"):
        save_shards(tmp_path / "a", zero, step=1)
    assert load_shards(tmp_path / "a", linear())["step"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_offloading_says_at_once_that_a_folder_is_a_file(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match="cannot be written"):
        Zero(nn.Linear(2, 2), offloaded(torch.optim.AdamW, tmp_path / "taken"), lr=0.1)


def test_a_disk_without_room_for_states_is_an_error_and_not_the_end_of_the_process(tmp_path):
    resource = pytest.importorskip("resource")
    zero = Zero(nn.Linear(512, 512), offloaded(torch.optim.AdamW, tmp_path), lr=0.1)
    zero.model(torch.ones(1, 512)).sum().backward()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, before[1]))  # half of what one state needs
    try:
        with pytest.raises(OSError, match="no room on the disk"):
            zero.step()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
