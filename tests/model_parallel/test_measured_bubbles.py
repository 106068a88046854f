"""On four ranks: a mesh of data × pipeline equal to one process, and bubbles of real schedules in quiet rounds."""

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel import schedules  # noqa: E402
from labkit.model_parallel.bubbles import idle_share, sleep_quietly  # noqa: E402
from labkit.model_parallel.predictions import predict, thin_seconds  # noqa: E402
from labkit.ranks import run_ranks  # noqa: E402
from labkit.ranks.simulation import Link  # noqa: E402
from labkit.ranks.timeline import Event, merge  # noqa: E402
from labkit.transformer import Config  # noqa: E402

CONFIG = Config(vocabulary=40, context=16, layers=2, heads=4, width=32)
PLANS = {name: schedules.SCHEDULES[name](4, 8) for name in ("1F1B", "interleaved", "zero bubble")}
NAPS = {"F": 0.02, "B": 0.02, "W": 0.02}


def on_a_mesh(averaged):
    """Distance to one process after three steps: two rows of two stages, each with half of the batch."""
    from labkit.model_parallel.mesh import average_gradients, new_mesh, own_rows
    from labkit.model_parallel.stages import pipeline_decoder
    from labkit.transformer import Decoder

    mesh = new_mesh(data=2, pipeline=2)
    row, column = mesh.get_group("pipeline"), mesh.get_group("data")
    serial = Decoder(CONFIG, seed=1)
    pipe = pipeline_decoder(CONFIG, schedules.one_f_one_b(2, 2), group=row, state=serial.state_dict())
    optimizers = [torch.optim.AdamW(each.parameters(), lr=1e-2) for each in (serial, pipe)]
    for step in range(3):
        ids = torch.randint(0, 40, (8, 17), generator=torch.Generator().manual_seed(step))
        for optimizer in optimizers:
            optimizer.zero_grad()
        serial.loss(ids[:, :-1], ids[:, 1:]).backward()
        half = own_rows(ids, column)
        pipe.step(half[:, :-1].contiguous(), half[:, 1:].contiguous())
        if averaged:
            average_gradients(pipe.parameters(), column)
        for optimizer in optimizers:
            optimizer.step()
    own, expected = pipe.serial_state(), serial.state_dict()
    return max(float((own[name] - expected[name]).abs().max()) for name in expected)


def everything():
    torch.set_default_dtype(torch.float64)
    return {
        "mesh": [on_a_mesh(averaged) for averaged in (True, False)],
        "slept": sleep_quietly(PLANS, NAPS, most=8),
    }


@pytest.fixture(scope="module")
def on_ranks():
    return run_ranks(everything, 4, quiet=True, timeout=300)


def test_a_mesh_of_data_and_pipeline_learns_what_one_process_learns(on_ranks):
    assert max(results["mesh"][0] for results in on_ranks) < 1e-8
    assert min(results["mesh"][1] for results in on_ranks) > 1e-4  # and would not without the averages


@pytest.mark.parametrize("name", PLANS)
def test_the_measured_bubble_is_the_predicted_one(on_ranks, name):
    timeline = merge(results["slept"][name] for results in on_ranks)
    performed = [[event.name for event in row if event.kind == "compute"] for row in timeline]
    assert performed == [[str(operation) for operation in row] for row in PLANS[name]]
    predicted = predict(PLANS[name], NAPS).bubble
    assert predicted - 0.005 < idle_share(timeline, work=8 * 0.06) < predicted + 0.18


def test_the_bubble_without_messages_is_that_of_the_papers():
    # (p − 1) / (v·m + p − 1), and a third of the idle time of 1F1B
    assert [predict(PLANS[name], NAPS).bubble for name in PLANS] == pytest.approx([3 / 11, 3 / 19, 3 / 27])


def test_stages_of_an_interleaved_schedule_are_half_as_thick():
    assert thin_seconds(PLANS["interleaved"], {"F": 1.0, "W": 3.0}) == {"F": 0.5, "W": 1.5}


def test_messages_lengthen_a_schedule_by_hand():
    # F 0 → 1, B 1 → 0 one after the other: 1 + 1 + (1 + 1) + (1 + 1) of work, and two messages of a second
    assert predict(schedules.gpipe(2, 1), dict.fromkeys("FBW", 1.0), Link(0.5, 100), 50).seconds == 8


def test_an_operation_that_was_held_up_is_not_more_work():
    held_up = [[Event(0, "compute", "F0.0", 0.0, 3.0)]]
    assert idle_share(held_up, work=1.0) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="the timeline is empty"):
        idle_share([[]], work=1.0)


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="one is needed at least"):
        sleep_quietly(PLANS, NAPS, most=0)
