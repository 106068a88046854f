"""ZeRO on two real processes: one start, many experiments; what they return is looked at here, one by one."""

import pytest
import torch
from torch import nn

from labkit import optimizers
from labkit.ranks import run_ranks
from labkit.transformer import Config, Decoder
from labkit.zero.memory import Bytes, model_states, volume
from labkit.zero.stages import Zero

SHAPE = Config(vocabulary=50, context=16, layers=2, heads=2, width=16)
RULES = {
    "torch Adam": (torch.optim.Adam, {"lr": 1e-2}),
    "torch AdamW": (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "torch SGD": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "our AdamW": (optimizers.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "our SGD": (optimizers.SGD, {"lr": 0.1, "momentum": 0.9}),
    "our Lion": (optimizers.Lion, {"lr": 1e-3}),
}


def batch(step, rank=0, ranks=1):
    ids = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(step)).chunk(ranks)[rank]
    return ids[:, :-1], ids[:, 1:]


def serial(model, optimizer, steps=3, clip=None, parts=1):
    norms = []
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(parts):
            (model.loss(*batch(step, part, parts)) / parts).backward()
        if clip:
            norms.append(nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], clip).item())
        optimizer.step()
    return model, norms


def parallel(zero, steps=3, clip=None):
    norms = []
    for step in range(steps):
        zero.zero_grad()
        zero.model.loss(*batch(step, zero.exchange.rank, zero.exchange.ranks)).backward()
        if clip:
            norms.append(zero.clip(clip).item())
        zero.step()
    return zero, norms


def distance(zero, model):
    with zero.whole():
        return max((a - b).abs().max().item() for a, b in zip(zero.model.parameters(), model.parameters(), strict=True))


def equal_to_serial(dtype):
    found = {}
    for name, (rule, settings) in RULES.items():
        model = Decoder(SHAPE).to(dtype)
        expected, norms = serial(model, rule(model.parameters(), **settings), clip=0.5)
        for stage in (1, 2, 3):
            zero, ours = parallel(
                Zero(Decoder(SHAPE).to(dtype), rule, stage=stage, bucket_mb=0.02, micro_batches=1, **settings), clip=0.5
            )
            wrong = max(abs(a - b) for a, b in zip(norms, ours, strict=True))
            found[name, stage] = (distance(zero, expected), wrong)
    return found


def equal_to_the_last_bit():
    """In float32, against the mean of the same two halves of each batch: then nothing may differ but the sharding."""
    found = {}
    for name, (rule, settings) in RULES.items():
        model = Decoder(SHAPE)
        expected, _ = serial(model, rule(model.parameters(), **settings), parts=2)
        for stage in (1, 2, 3):
            zero, _ = parallel(Zero(Decoder(SHAPE), rule, stage=stage, bucket_mb=0.02, **settings))
            found[name, stage] = distance(zero, expected)
    return found


def same_on_all_ranks():
    """Start from different weights: those of rank 0 win; and every rank has the same weights in the end."""
    zero = Zero(Decoder(SHAPE, seed=torch.distributed.get_rank()).double(), torch.optim.AdamW, stage=2, lr=1e-2)
    parallel(zero)
    sums = zero.exchange.everybodys([p.sum().item() for p in zero.model.parameters()])
    start = Decoder(SHAPE, seed=0).double()
    expected, _ = serial(start, torch.optim.AdamW(start.parameters(), lr=1e-2))
    return sums[0] == sums[1], distance(zero, expected)


def bytes_measured():
    found = {}
    for stage in (1, 2, 3):
        zero, _ = parallel(Zero(Decoder(SHAPE), torch.optim.AdamW, stage=stage, bucket_mb=0.005, lr=1e-2), steps=1)
        found[stage] = (zero.report(), zero.traffic, len(zero.trained), sum(s.flat.padded for s in zero.trained))
    return found


def mixed_precision():
    found = {}
    for stage in (1, 2, 3):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)).bfloat16()
        zero = Zero(model, torch.optim.AdamW, stage=stage, master=torch.float32, lr=1e-3)
        start = torch.cat([s.weights.detach().clone() for s in zero.trained])
        for _ in range(3):
            zero.zero_grad()
            model(torch.ones(4, 16).bfloat16()).float().square().mean().backward()
            zero.step()
        moved = (torch.cat([s.weights.detach() for s in zero.trained]) - start).abs()
        found[stage] = (zero.report(), len(zero.trained), sum(s.flat.padded for s in zero.trained), moved.max().item())
    return found


class Odd(nn.Module):
    """Blocks with frozen, tied and differently trained parts: what breaks a wrapper that was written for one model."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.enter = nn.Linear(5, 7)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(7), nn.Linear(7, 7), nn.Tanh()) for _ in range(3))
        self.blocks[2][1].weight = self.blocks[0][1].weight  # tied across blocks
        self.blocks[1][0].weight.requires_grad_(False)  # frozen, and used at the very end of its block's backward pass
        self.leave = nn.Linear(7, 3)
        self.recompute = False

    def forward(self, x):
        x = self.enter(x)
        for block in self.blocks:
            again = self.recompute and torch.is_grad_enabled()
            x = x + (torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False) if again else block(x))
        return self.leave(x)


def odd_groups(model):
    flat = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in flat if p.dim() > 1], "weight_decay": 0.3},
        {"params": [p for p in flat if p.dim() < 2], "weight_decay": 0.0, "lr": 0.05},
    ]


def odd_models():
    """Two micro-batches, two groups, then two backward passes to a step, with and without recomputation."""
    rank, found = torch.distributed.get_rank(), {}
    x = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = Odd().double()
    rule = torch.optim.AdamW(odd_groups(expected), lr=0.01)
    for _ in range(3):
        rule.zero_grad()
        expected(x).square().mean().backward()
        rule.step()
    for stage in (1, 2, 3):
        for recompute in (False, True):
            model = Odd().double()
            model.recompute = recompute
            passes = 2 if recompute else None  # in stage 1: overlapped, or all in the step
            more = {"groups": odd_groups(model), "bucket_mb": 0.0005, "micro_batches": passes}
            zero = Zero(model, torch.optim.AdamW, stage=stage, lr=0.01, **more)
            for _ in range(3):
                zero.zero_grad()
                for micro in x.chunk(2)[rank].chunk(2):
                    (model(micro).square().mean() / 2).backward()
                zero.step()
            with torch.no_grad():
                out = model(x).sum().item()
            between = sum(p.numel() for p in model.parameters())
            found[stage, recompute] = (distance(zero, expected), out - expected(x).sum().item(), between)
    return found


def refusals():
    said = {}

    def note(name, act):
        try:
            act()
            said[name] = "nothing"
        except (ValueError, RuntimeError) as error:
            said[name] = str(error)

    rank = torch.distributed.get_rank()
    note("other shapes", lambda: Zero(nn.Linear(3, 2 + rank), torch.optim.SGD, lr=0.1))
    note("more parameters", lambda: Zero(nn.Linear(3, 2, bias=rank == 0), torch.optim.SGD, lr=0.1))
    frozen = nn.Linear(3, 2)
    frozen.weight.requires_grad_(rank == 0)
    note("frozen on one", lambda: Zero(frozen, torch.optim.SGD, lr=0.1))
    model = Decoder(SHAPE)
    Zero(model, torch.optim.AdamW, stage=3, lr=1e-2)
    note("outside of an entry", lambda: model.hidden(batch(0)[0]))
    return said


def unused_as_zero():
    """A parameter that only rank 1 uses: nobody waits, and the mean counts rank 0 with zero."""
    found = {}
    for stage in (1, 2, 3):
        torch.manual_seed(0)
        model = nn.ModuleDict({"both": nn.Linear(2, 2), "one": nn.Linear(2, 2)})
        model.loss = lambda x, both=model["both"], one=model["one"]: (
            both(x) + one(x) if torch.distributed.get_rank() else both(x)
        ).sum()
        zero = Zero(model, torch.optim.SGD, stage=stage, unused="zero", bucket_mb=1e-5, blocks=[], lr=1.0)
        with zero.whole():
            before = model["one"].bias.detach().clone()
        model.loss(torch.ones(1, 2)).backward()
        zero.step()
        with zero.whole():
            found[stage] = (before - model["one"].bias.detach()).tolist()
    return found


EXPERIMENTS = (
    equal_to_the_last_bit,
    same_on_all_ranks,
    bytes_measured,
    mixed_precision,
    odd_models,
    refusals,
    unused_as_zero,
)


def everything():
    found = {each.__name__: each() for each in (*EXPERIMENTS, unused_as_zero)}
    return {**found, "float64": equal_to_serial(torch.float64)}


@pytest.fixture(scope="module")
def found():
    return run_ranks(everything, 2, timeout=240.0, quiet=True)


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("rule", RULES)
def test_training_in_shards_is_training_without(found, rule, stage):
    for mine in found:
        weights, norms = mine["float64"][rule, stage]
        assert weights < 1e-12 and norms < 1e-12
        assert mine["equal_to_the_last_bit"][rule, stage] <= 1e-7


def test_all_ranks_begin_with_the_weights_of_rank_0_and_end_alike(found):
    for same, distance_ in (mine["same_on_all_ranks"] for mine in found):
        assert same and distance_ < 1e-12


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bytes_on_each_rank_are_those_of_the_formula_and_equal(found, stage):
    for rank, mine in enumerate(found):
        report, _, vectors, elements = mine["bytes_measured"][stage]
        expected = model_states(elements, 2, stage, Bytes(4, 4, 8))
        assert (report.stage, report.rank, report.ranks) == (stage, rank, 2)
        assert report.parameters == expected["parameters"]
        assert report.gradients == expected["gradients"]
        assert report.optimizer == expected["optimizer"] + 4 * vectors  # a number of steps for each vector
        assert report.total == report.parameters + report.gradients + report.optimizer


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_mixed_precision_takes_two_and_two_and_twelve_bytes(found, stage):
    for mine in found:
        report, vectors, elements, moved = mine["mixed_precision"][stage]
        expected = model_states(elements, 2, stage)
        measured = (report.parameters, report.gradients, report.optimizer - 4 * vectors)
        assert measured == tuple(expected.values())
        assert 0.5e-3 < moved < 4e-3  # three steps of about lr: bfloat16 alone would have rounded many away


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bytes_sent_are_those_of_section_7(found, stage):
    for mine in found:
        _, sent, _, elements = mine["bytes_measured"][stage]
        assert sent == {name: 4 * number for name, number in volume(elements, 2, stage).items()}


def test_stage_2_frees_gradients_and_stage_3_parameters_as_they_go(found):
    for mine in found:
        one, two, three = (mine["bytes_measured"][stage][0] for stage in (1, 2, 3))
        assert two.peak_gradients < one.peak_gradients
        assert three.peak_parameters < one.parameters


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_tied_frozen_grouped_accumulated_and_recomputed_parameters(found, stage, recompute):
    for mine in found:
        weights, output, between = mine["odd_models"][stage, recompute]
        assert weights < 1e-12 and abs(output) < 1e-12
        assert (between == 0) == (stage == 3)  # between uses a rank keeps its shard only


def test_ranks_with_other_models_are_refused_by_name(found):
    for mine in found:
        said = mine["refusals"]
        assert "rank 0 has weight (2, 3)" in said["other shapes"] and "rank 1 has weight (3, 3)" in said["other shapes"]
        assert "rank 0 has bias (2,)" in said["more parameters"] and "no such parameter" in said["more parameters"]
        assert "rank 1 has weight (2, 3) torch.float32 frozen" in said["frozen on one"]


def test_a_use_of_released_parameters_is_refused_and_not_garbage(found):
    assert all(mine["refusals"]["outside of an entry"] != "nothing" for mine in found)


def test_a_parameter_that_one_rank_uses_may_count_as_zero_on_the_other(found):
    for mine in found:
        assert mine["unused_as_zero"] == {stage: [0.5, 0.5] for stage in (1, 2, 3)}


# a world of 1, in this process --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_world_of_one_works_and_its_report_says_so(stage):
    model = Decoder(SHAPE).double()
    expected, norms = serial(model, torch.optim.AdamW(model.parameters(), lr=1e-2), clip=0.5)
    zero, ours = parallel(Zero(Decoder(SHAPE).double(), torch.optim.AdamW, stage=stage, lr=1e-2), clip=0.5)
    assert distance(zero, expected) < 1e-12 and ours == pytest.approx(norms, abs=1e-12)
    assert "so nothing is split" in str(zero.report())
    assert zero.traffic == {"reduce_scatter": 0, "all_gather": 0}


@pytest.mark.parametrize(
    ("rule", "settings", "words"),
    [
        (torch.optim.Muon, {"lr": 0.1}, "Muon"),
        (optimizers.Muon, {"lr": 0.1}, "Muon"),
        (torch.optim.Adafactor, {"lr": 0.1}, "Adafactor needs whole parameters"),
        (torch.optim.LBFGS, {"lr": 0.1}, "LBFGS"),
        (torch.optim.SparseAdam, {"lr": 0.1}, "SparseAdam"),
    ],
)
def test_optimizers_that_need_whole_parameters_are_refused(rule, settings, words):
    with pytest.raises(ValueError, match=words) as refused:
        Zero(nn.Linear(2, 2), rule, **settings)
    assert "every element by itself" in str(refused.value)


def test_a_wrong_setting_is_refused_by_the_optimizer_itself():
    with pytest.raises(ValueError, match="learning rate"):
        Zero(nn.Linear(2, 2), torch.optim.SGD, lr=-1)
    with pytest.raises(TypeError, match="lr_typo"):
        Zero(nn.Linear(2, 2), torch.optim.SGD, lr_typo=1)


@pytest.mark.parametrize(("settings", "words"), [({"stage": 4}, "got 4"), ({"unused": "?"}, "'refuse' or 'zero'")])
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Zero(nn.Linear(2, 2), torch.optim.SGD, lr=0.1, **settings)


def _stepped(model, stage=2, **settings):
    zero = Zero(model, torch.optim.SGD, stage=stage, lr=0.1, **settings)
    model(torch.ones(1, 2)).sum().backward()
    return zero


def test_changed_models_are_refused_by_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    zero = _stepped(model)
    model[1].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"1\.weight was frozen after"):
        zero.step()
    model[1].weight.requires_grad_(True)
    model.append(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="had 4 parameters"):
        zero.step()
    model[2] = nn.Identity()
    zero.step()
    model[0].weight = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"0\.weight is not the parameter"):
        zero.step()


def test_a_model_that_was_moved_after_the_split_is_refused():
    zero = _stepped(nn.Linear(2, 2))
    zero.model.double()
    with pytest.raises(ValueError, match="moved or replaced"):
        zero.step()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_parameter_without_gradient_is_refused_unless_it_may_be_zero(stage):
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    model.loss = lambda x: model["used"](x).sum()
    zero = Zero(model, torch.optim.SGD, stage=stage, blocks=[], lr=0.1)
    model.loss(torch.ones(1, 2)).backward()
    with pytest.raises(ValueError, match=r"idle\.\w+ got no gradient"):
        zero.step()


def test_stage_1_reduces_in_the_last_backward_pass_or_in_the_step():
    for passes, expected in ((None, False), (1, True), (2, False)):
        zero = _stepped(nn.Linear(2, 2), stage=1, micro_batches=passes)
        assert (zero.trained[0]._finish is not None) == expected
        zero.step()
    zero = _stepped(nn.Linear(2, 2), stage=1, micro_batches=1)
    with pytest.raises(ValueError, match="micro_batches"):
        zero.model(torch.ones(1, 2)).sum().backward()
    zero.zero_grad()
    zero.model(torch.ones(1, 2)).sum().backward()
    zero.step()


@pytest.mark.parametrize("stage", [2, 3])
def test_a_step_without_a_backward_pass_is_refused(stage):
    with pytest.raises(ValueError, match="got no gradient"):
        Zero(nn.Linear(2, 2), torch.optim.SGD, stage=stage, lr=0.1).step()
    with pytest.raises(ValueError, match="call backward"):
        Zero(nn.Linear(2, 2), torch.optim.SGD, stage=stage, unused="zero", lr=0.1).clip(1.0)


def test_a_backward_pass_after_the_step_wants_zero_grad_first():
    zero = _stepped(nn.Linear(2, 2), stage=1)
    zero.step()
    with pytest.raises(ValueError, match="call zero_grad"):
        zero.model(torch.ones(1, 2)).sum().backward()
    zero.model.zero_grad()  # torch's habit is enough
    zero.model(torch.ones(1, 2)).sum().backward()
    zero.step()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (lambda m: [{"params": [m.weight]}], "bias is trainable and in no group"),
        (lambda m: [{"params": [m.weight, m.bias]}, {"params": [m.bias]}], "bias is in two groups"),
        (lambda m: [{"params": [m.weight, m.bias, nn.Parameter(torch.ones(1))]}], "not in the model"),
    ],
)
def test_groups_must_hold_every_trainable_parameter_once(groups, words):
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=words):
        Zero(model, torch.optim.SGD, groups=groups(model), lr=0.1)


def test_a_model_of_frozen_parameters_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        Zero(nn.Linear(2, 2).requires_grad_(False), torch.optim.SGD, lr=0.1)


def test_blocks_must_be_modules_of_the_model_and_not_nested():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="is not one of its modules"):
        Zero(model, torch.optim.SGD, stage=3, blocks=[nn.Linear(2, 2)], lr=0.1)
    with pytest.raises(ValueError, match=r"0\.0 lies within"):
        Zero(model, torch.optim.SGD, stage=3, blocks=[model[0], model[0][0]], lr=0.1)


def test_what_is_written_into_whole_parameters_is_kept():
    zero = _stepped(nn.Linear(2, 2), stage=3)
    with zero.whole() as model:
        model.load_state_dict({"weight": torch.full((2, 2), 3.0), "bias": torch.full((2,), 4.0)})
    assert zero.model.weight.numel() == 0  # given back
    assert zero.model(torch.ones(1, 2)).tolist() == [[10.0, 10.0]]
