"""The arithmetic of memory, against what was published and against tensors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from labkit.ranks import simulation
from labkit.zero.memory import (
    MIXED_ADAM,
    PLAIN_ADAM,
    PUBLISHED,
    Bytes,
    largest_model,
    layer_activations,
    model_states,
    volume,
)


@pytest.mark.parametrize(("parameters", "ranks"), PUBLISHED)
def test_all_54_figures_of_the_paper(parameters, ranks):
    ours = [sum(model_states(parameters, ranks, stage).values()) / 1e9 for stage in (1, 2, 3)]
    for figure, printed in zip(ours, PUBLISHED[parameters, ranks], strict=True):
        assert figure == pytest.approx(printed, rel=5e-3, abs=0.1)


def test_the_figure_on_the_first_page():
    ours = [sum(model_states(7.5e9, 64, stage).values()) / 1e9 for stage in range(4)]
    assert ours == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)


def test_sixteen_bytes_are_those_of_real_tensors():
    weights = torch.zeros(10, dtype=torch.bfloat16)
    precise = torch.nn.Parameter(weights.float())
    precise.grad = torch.ones(10)
    adam = torch.optim.AdamW([precise])
    adam.step()
    states = sum(v.nbytes for v in adam.state[precise].values() if v.dim())
    assert (weights.nbytes, weights.nbytes, precise.nbytes + states) == tuple(model_states(10, 1, 0).values())


@given(some.integers(1, 10**12), some.integers(1, 4096), some.sampled_from([MIXED_ADAM, PLAIN_ADAM, Bytes(1, 2, 3)]))
def test_every_stage_takes_less_and_the_third_shares_all(parameters, ranks, each):
    by_stage = [sum(model_states(parameters, ranks, stage, each).values()) for stage in range(4)]
    assert by_stage == sorted(by_stage, reverse=True)
    assert by_stage[3] * ranks == pytest.approx(by_stage[0])


@given(some.integers(1, 4096), some.integers(0, 3))
def test_the_largest_model_just_fits(ranks, stage):
    parameters = largest_model(32e9, ranks, stage)
    assert sum(model_states(parameters, ranks, stage).values()) == pytest.approx(32e9)


@given(some.integers(2, 10_000))
def test_stage_3_sends_half_as_much_again(ranks):
    sent = [sum(volume(1e9, ranks, stage).values()) for stage in range(4)]
    assert sent[0] == sent[1] == sent[2] and sent[3] == pytest.approx(1.5 * sent[0])


def test_activations_of_the_models_in_the_paper():
    """Korthikanti et al. (2022), section 5: 5as/h is 80 for GPT-3 and 64 for MT-NLG; that saves 70 % and 65 %."""
    for width, heads, scores, saved in ((12288, 96, 80, 0.70), (20480, 128, 64, 0.65)):
        whole = layer_activations(2048, 1, width, heads)
        assert whole / (2048 * width) == 34 + scores
        assert 1 - layer_activations(2048, 1, width, heads, "selective") / whole == pytest.approx(saved, abs=0.005)


def test_pages_16_to_18_and_the_planner_say_the_same_of_memory_and_traffic():
    """One formula each, in labkit.ranks.simulation; the serial one of labkit.transformer, which it extends, agrees."""
    from labkit.model_parallel.activations import layer_activation_bytes as parallel
    from labkit.transformer import layer_activation_bytes as serial

    model = simulation.Transformer(layers=1, width=1024, heads=16, context=512, vocabulary=1)
    ours = layer_activations(512, 3, 1024, 16)
    assert ours == simulation.layer_bytes(model, 3) == parallel(3, 512, 1024, 16) == serial(3, 512, 1024, 16)
    assert layer_activations(512, 3, 1024, 16, "full") == simulation.layer_bytes(model, 3, recompute=True)
    assert parallel(3, 512, 1024, 16, 8) == simulation.layer_bytes(model, 3, tensor=8)
    for stage in range(4):
        assert sum(model_states(1e9, 64, stage).values()) == simulation.state_bytes(1e9, 64, stage)
        assert 2 * sum(volume(1e9, 64, stage).values()) == simulation.zero_bytes_sent(1e9, 64, stage)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="stage must be 0 to 3"):
        model_states(1e9, 8, 4)
    with pytest.raises(ValueError, match="ranks at least 1"):
        volume(1e9, 0, 1)
    with pytest.raises(ValueError, match="none, selective and full"):
        layer_activations(8, 1, 8, 1, "some")
