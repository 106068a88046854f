"""The executor on real ranks: equal to one process, equal to torch's pipelining, bubbles as the formula says."""

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel.schedules import SCHEDULES, bubble_share, zero_bubble_share  # noqa: E402
from labkit.model_parallel.sleeping import quietest  # noqa: E402
from labkit.model_parallel.stages import blocks_of  # noqa: E402
from labkit.ranks import run_ranks, timeline  # noqa: E402
from labkit.ranks.simulation import simulate_pipeline  # noqa: E402
from labkit.transformer import Config, Decoder  # noqa: E402

EXACT = 1e-12  # everything runs in double precision
SHAPE = {"vocabulary": 40, "context": 16, "layers": 5, "heads": 4, "width": 32}
LLAMA = {"activation": "swiglu", "norm": "rms", "positions": "rotary", "bias": False, "tied": False, "kv_heads": 2}
KINDS = {"GPT": {}, "Llama": LLAMA, "untied": {"tied": False}}


def say(function, *given, **named):
    """What a function complains about."""
    try:
        function(*given, **named)
    except ValueError as error:
        return str(error)
    return "nothing"


def batch(generator):
    ids = torch.randint(0, 40, (8, 17), generator=generator)
    targets = ids[:, 1:].clone()
    targets[0, :5] = -100  # the first micro-batch counts for less
    return ids[:, :-1], targets


def trained(config, schedule):
    """The largest differences to one process: of losses, first gradients, and weights after three steps."""
    from labkit.model_parallel.stages import pipeline_decoder

    serial, pipe = Decoder(config, seed=3), pipeline_decoder(config, schedule, seed=3)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in (serial, pipe)]
    generator, losses, gradients = torch.Generator().manual_seed(1), 0.0, 0.0
    for step in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        x, y = batch(generator)
        whole = serial.loss(x, y)
        whole.backward()
        losses = max(losses, abs(whole.item() - pipe.step(x, y).item()))
        if step == 0:
            wanted = dict(serial.named_parameters())
            found = [(n, p) for stage in pipe.stages.values() for n, p in stage.named_parameters()]
            gradients = max(float((p.grad - wanted[n if n in wanted else "tokens.weight"].grad).abs().max())
                            for n, p in found)  # fmt: skip
        for optimizer in optimizers:
            optimizer.step()
    state, wanted = pipe.serial_state(), serial.state_dict()
    assert set(state) == set(wanted)
    weights = max(float((state[name] - wanted[name]).abs().max()) for name in wanted)
    return losses, gradients, weights


def accumulated(config):
    """Gradients of two steps without zero_grad, minus those of one process."""
    from labkit.model_parallel.stages import pipeline_decoder

    pipe, serial = pipeline_decoder(config, SCHEDULES["zero bubble"](2, 4)), Decoder(config)
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        x, y = batch(generator)
        serial.loss(x, y).backward()
        pipe.step(x, y)
    wanted = dict(serial.named_parameters())
    found = [(n, p) for stage in pipe.stages.values() for n, p in stage.named_parameters()]
    return max(float((p.grad - wanted[n if n in wanted else "tokens.weight"].grad).abs().max()) for n, p in found)


def of_torch(config, name):
    """Losses of four micro-batches under torch's schedule of that name, minus ours."""
    from labkit.model_parallel.stages import pipeline_decoder
    from labkit.model_parallel.torch_pipelining import torch_losses

    x, y = batch(torch.Generator().manual_seed(1))
    y[y == -100] = 7
    theirs = torch_losses(config, name, x, y, 4, seed=3)
    ours = pipeline_decoder(config, SCHEDULES[name](2, 4), seed=3)
    return abs(theirs.mean().item() - ours.step(x, y).item())


def refusals():
    from torch.distributed import get_rank

    from labkit.model_parallel.pipeline import Pipeline
    from labkit.model_parallel.sleeping import SleepingStage
    from labkit.model_parallel.stages import pipeline_decoder
    from labkit.model_parallel.torch_pipelining import torch_losses

    config, make = Config(**SHAPE), SCHEDULES["1F1B"]
    pipe = pipeline_decoder(config, make(2, 4))
    x, y = batch(torch.Generator().manual_seed(1))
    nothing_asked = y.clone()
    nothing_asked[2:4] = -100
    return {
        "stages": say(pipeline_decoder, config, SCHEDULES["interleaved"](2, 4, 3)),
        "world": say(pipeline_decoder, config, make(4, 4)),
        "rows": say(pipe.step, x[:6], y[:6]),
        "targets": say(pipe.step, x, y[:4]),
        "other batches": say(pipe.step, x + get_rank() * (x < 39), y),
        "other shapes": say(pipe.step, x[: 8 - 4 * get_rank()], y),
        "nothing asked": say(pipe.step, x, nothing_asked),
        "elsewhere": say(Pipeline, {5: SleepingStage({"F": 0, "B": 0})}, make(2, 2), (1,)),
        "circle": say(pipeline_decoder, config, [row[::-1] for row in make(2, 2)]),
        "not recorded": say(pipe.events),
        "no such name": say(torch_losses, config, "zero bubble", x, y, 4),
    }


def everything():
    torch.set_default_dtype(torch.float64)
    equal = {
        (kind, name): trained(Config(**{**SHAPE, **KINDS[kind]}), make(2, 4))
        for kind in KINDS
        for name, make in SCHEDULES.items()
    }
    config = Config(**SHAPE, tied=False)
    theirs = {name: of_torch(config, name) for name in ("GPipe", "1F1B", "interleaved")}
    return equal, accumulated(Config(**SHAPE)), theirs, refusals()


@pytest.fixture(scope="module")
def two():
    return run_ranks(everything, 2)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_trains_as_one_process_does(two, kind, name):
    for equal, *_ in two:
        losses, gradients, weights = equal[kind, name]
        assert losses < EXACT and gradients < EXACT and weights < 1e-11  # Adam's first step divides by tiny gradients


def test_gradients_of_tied_copies_add_up_over_steps_too(two):
    assert max(difference for _, difference, *_ in two) < EXACT


@pytest.mark.parametrize("name", ["GPipe", "1F1B", "interleaved"])
def test_losses_are_those_of_torchs_pipelining(two, name):
    assert max(theirs[name] for *_, theirs, _ in two) < EXACT


@pytest.mark.parametrize(
    ("what", "message"),
    {
        "stages": "6 stages for 5 layers: every stage needs a block",
        "world": "the schedule is for 4 ranks and there are 2",
        "rows": "6 rows do not divide into 4 micro-batches",
        "targets": "8 rows of inputs and 4 of targets",
        "other batches": "have other tokens than its rank 0",
        "other shapes": "disagree on the shape of ids",
        "nothing asked": "every target of micro-batch 1 is -100",
        "elsewhere": r"on this rank, which has \[5\]",
        "circle": "never ends: rank 0 waits for F0.1 before B0.1",
        "not recorded": "record=True",
        "no such name": "name is one of GPipe, 1F1B, interleaved, got 'zero bubble'",
    }.items(),
)
def test_what_cannot_run_is_refused_on_every_rank(two, what, message):
    for *_, refused in two:
        assert message.replace("\\", "") in refused[what]


def on_four(plans):
    """What four ranks do when their kernels sleep; and gradients on a mesh of data × pipeline minus those of one."""
    from labkit.model_parallel.mesh import average_gradients, new_mesh, own_rows
    from labkit.model_parallel.sleeping import asleep
    from labkit.model_parallel.stages import pipeline_decoder

    noted = asleep(plans, {"F": 0.01, "B": 0.01, "W": 0.01}, rounds=3)
    torch.set_default_dtype(torch.float64)
    mesh, config = new_mesh(data=2, pipeline=2), Config(**SHAPE)
    serial, pipe = Decoder(config), pipeline_decoder(config, SCHEDULES["1F1B"](2, 2), group=mesh.get_group("pipeline"))
    ids = torch.randint(0, 40, (8, 9), generator=torch.Generator().manual_seed(1))
    serial.loss(ids[:, :-1], ids[:, 1:]).backward()
    own = own_rows(ids, mesh.get_group("data"))
    pipe.step(own[:, :-1], own[:, 1:])
    average_gradients(pipe.parameters(), mesh.get_group("data"))
    wanted = dict(serial.named_parameters())
    found = [(n, p) for stage in pipe.stages.values() for n, p in stage.named_parameters()]
    return noted, max(float((p.grad - wanted.get(n, serial.head.weight).grad).abs().max()) for n, p in found)


@pytest.fixture(scope="module")
def four():
    return run_ranks(on_four, 4, {name: make(4, 8) for name, make in SCHEDULES.items()})


def test_the_measured_bubble_is_that_of_the_formula_and_of_the_simulation(four):
    expected = {
        "GPipe": bubble_share(4, 8),
        "1F1B": bubble_share(4, 8),
        "interleaved": bubble_share(4, 8, 2),
        "zero bubble": zero_bubble_share(4, 8),
    }
    for name, share in expected.items():
        lanes = quietest([noted for noted, _ in four], name)
        order = [[event.name for event in lane if event.kind == "compute"] for lane in lanes]
        assert order == [[str(operation) for operation in row] for row in SCHEDULES[name](4, 8)]
        seconds = {"F": 1, "B": 1, "W": 1} if name == "zero bubble" else {"F": 1, "B": 2}
        assert simulate_pipeline(SCHEDULES[name](4, 8), seconds).bubble == pytest.approx(share)
        assert share - 0.03 < timeline.bubble(lanes) < share + 0.3  # a busy machine only adds to it


def test_a_mesh_of_data_and_pipeline_has_the_gradients_of_one_process(four):
    assert max(difference for _, difference in four) < EXACT


def test_blocks_are_divided_as_equally_as_can_be():
    assert [len(blocks) for blocks in blocks_of(7, 3)] == [3, 2, 2]
    with pytest.raises(ValueError, match="0 stages for 4 layers"):
        blocks_of(4, 0)
