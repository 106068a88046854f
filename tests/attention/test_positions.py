"""Positions: by hand, against the formulas and transformers' Llama, and rotation knowing distances only."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.attention import (
    LearnedPositions,
    alibi_bias,
    alibi_slopes,
    attention_weights,
    rotary_angles,
    rotate,
    sinusoidal,
    to_half_layout,
    to_interleaved_layout,
)

SEEDS = st.integers(0, 2**31)
EVEN = st.integers(1, 8).map(lambda half: 2 * half)
LAYOUTS = pytest.mark.parametrize("layout", ["half", "interleaved"])


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def places(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_sinusoidal_positions_are_the_papers_formula():
    found = sinusoidal(7, 10)
    for place in range(7):
        for i in range(5):
            angle = place / 10_000 ** (2 * i / 10)
            assert found[place, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[place, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoidal_positions_can_be_asked_for_one_by_one():
    assert torch.equal(sinusoidal(torch.tensor([5, 2]), 8), sinusoidal(6, 8)[[5, 2]])


@given(dim=EVEN, start=st.integers(0, 1000), step=st.integers(-50, 50), seed=SEEDS)
def test_the_likeness_of_two_sinusoidal_positions_depends_on_their_distance_only(dim, start, step, seed):
    here, there = sinusoidal(places(start, start + step), dim)
    first, second = sinusoidal(places(0, step), dim)
    assert float(here @ there) == pytest.approx(float(first @ second), abs=1e-9)
    assert float(here @ here) == pytest.approx(dim / 2)


def test_angles_slow_down_from_pair_to_pair():
    angles = rotary_angles(torch.tensor([1, 2]), dim=6, theta=1000.0)
    assert torch.allclose(angles, torch.tensor([[1.0, 0.1, 0.01], [2.0, 0.2, 0.02]]))


def test_angles_are_as_exact_as_the_positions():
    assert rotary_angles(torch.arange(3), 4).dtype == torch.float32
    assert rotary_angles(torch.arange(3, dtype=torch.float64), 4).dtype == torch.float64


@LAYOUTS
def test_a_quarter_turn_by_hand(layout):
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    angles = torch.tensor([[math.pi / 2, 0.0]])  # the first pair turns, the second stays
    expected = {"half": [-3.0, 2.0, 1.0, 4.0], "interleaved": [-2.0, 1.0, 3.0, 4.0]}
    assert torch.allclose(rotate(x, angles, layout), torch.tensor([expected[layout]]), atol=1e-6)


@LAYOUTS
@given(dim=EVEN, start=st.integers(0, 5000), distance=st.integers(-50, 50), theta=st.floats(10, 1e6), seed=SEEDS)
def test_rotated_scores_depend_on_the_distance_only(layout, dim, start, distance, theta, seed):
    query, key = numbers(1, dim, seed=seed), numbers(1, dim, seed=seed + 1)

    def score(m, n):
        turned = [rotate(x, rotary_angles(places(p), dim, theta), layout) for x, p in ((query, m), (key, n))]
        return float(turned[0] @ turned[1].T)

    assert score(start, start + distance) == pytest.approx(score(0, distance), abs=1e-8)


@LAYOUTS
@given(dim=EVEN, seed=SEEDS)
def test_a_rotation_keeps_lengths_and_position_zero_stays(layout, dim, seed):
    x = numbers(3, 4, dim, seed=seed)
    turned = rotate(x, rotary_angles(places(0, 1, 7, 900), dim), layout)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-12)
    assert torch.equal(turned[:, 0], x[:, 0])


@LAYOUTS
def test_rotation_back_undoes_rotation(layout):
    x, angles = numbers(2, 5, 8), numbers(5, 4)
    assert torch.allclose(rotate(rotate(x, angles, layout), -angles, layout), x, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: rotate(x, angles, layout), x.requires_grad_(), fast_mode=True)


def test_interleaved_rotation_is_multiplication_of_complex_numbers():
    x, angles = numbers(2, 5, 8), rotary_angles(torch.arange(5, dtype=torch.float64), 8)
    turned = torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.polar(torch.ones_like(angles), angles)
    assert torch.allclose(rotate(x, angles, "interleaved"), torch.view_as_real(turned).flatten(-2), atol=1e-12)


def test_half_rotation_is_that_of_transformers_llama():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    from transformers import LlamaConfig

    config = LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=64)
    query, key = numbers(2, 4, 9, 8).float(), numbers(2, 4, 9, 8, seed=1).float()
    positions = torch.arange(20, 29)
    cos, sin = llama.LlamaRotaryEmbedding(config)(query, positions[None])
    expected = llama.apply_rotary_pos_emb(query, key, cos, sin)
    angles = rotary_angles(positions, 8, theta=10_000.0)
    assert all(torch.allclose(rotate(x, angles), y, atol=1e-6) for x, y in zip((query, key), expected, strict=True))


@given(heads=st.integers(1, 4), dim=EVEN, seed=SEEDS)
def test_both_layouts_give_the_same_attention_once_weights_are_permuted(heads, dim, seed):
    x, angles = numbers(5, 6, seed=seed), rotary_angles(torch.arange(5, dtype=torch.float64), dim)
    interleaved = [numbers(heads * dim, 6, seed=seed + i) for i in (1, 2)]
    half = [to_half_layout(weight, heads) for weight in interleaved]

    def weights(projections, layout):
        split = ((x @ w.T).unflatten(-1, (heads, dim)).transpose(0, 1) for w in projections)
        return attention_weights(*(rotate(y, angles, layout) for y in split))

    assert torch.allclose(weights(half, "half"), weights(interleaved, "interleaved"), atol=1e-10)


@given(heads=st.integers(1, 4), dim=EVEN, columns=st.lists(st.integers(1, 3), max_size=2), seed=SEEDS)
def test_one_layout_and_back_is_where_we_started(heads, dim, columns, seed):
    weight = numbers(heads * dim, *columns, seed=seed)
    assert torch.equal(to_interleaved_layout(to_half_layout(weight, heads), heads), weight)
    assert torch.equal(to_half_layout(to_interleaved_layout(weight, heads), heads), weight)


def test_each_head_is_permuted_within_itself():
    assert to_half_layout(torch.arange(8), heads=2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@LAYOUTS
def test_each_text_of_a_batch_can_have_its_own_positions(layout):
    x, positions = numbers(2, 3, 5, 8), torch.tensor([[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]])
    angles = rotary_angles(positions.double(), 8)
    turned = rotate(x, angles[:, None], layout)
    for i in range(2):
        assert torch.equal(turned[i], rotate(x[i], angles[i], layout))


@pytest.mark.parametrize("dim", [7, 1, 0])
def test_an_odd_number_of_dimensions_is_refused(dim):
    message = f"turn in pairs: their number must be even, got {dim}"
    with pytest.raises(ValueError, match=message):
        rotary_angles(torch.arange(3), dim)
    with pytest.raises(ValueError, match=message):
        sinusoidal(3, dim)
    with pytest.raises(ValueError, match=message):
        rotate(torch.zeros(3, dim), torch.zeros(3, dim // 2))


def test_angles_and_layouts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="8 dimensions need 4 angles each, got 8"):
        rotate(torch.zeros(3, 8), torch.zeros(3, 8))
    with pytest.raises(ValueError, match="'half' or 'interleaved', got 'neox'"):
        rotate(torch.zeros(3, 8), torch.zeros(3, 4), "neox")
    with pytest.raises(ValueError, match="12 rows cannot be 4 heads of an even number"):
        to_half_layout(torch.zeros(12, 5), heads=4)


def test_slopes_are_those_of_the_paper():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(16)[:2].tolist() == pytest.approx([2**-0.5, 2**-1])


def test_slopes_of_other_numbers_of_heads_come_from_the_powers_below_and_above():
    assert torch.equal(alibi_slopes(12)[:8], alibi_slopes(8))
    assert torch.equal(alibi_slopes(12)[8:], alibi_slopes(16)[0:8:2])
    assert [len(alibi_slopes(heads)) for heads in range(1, 40)] == list(range(1, 40))


@pytest.mark.parametrize("heads", [1, 4, 6, 12, 40])
def test_slopes_and_biases_are_those_of_transformers_bloom(heads):
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    theirs = bloom.build_alibi_tensor(torch.ones(1, 6), heads, torch.float32)  # (heads, 1, keys): slope · place of key
    ours = alibi_bias(heads, 1, 6)
    shift = theirs - ours  # one number for each head: softmax does not see it
    assert torch.allclose(shift, shift[..., :1].expand_as(shift), atol=1e-5)


def test_the_bias_by_hand_and_aligned_at_the_ends():
    assert (alibi_bias(2, 2, 4)[0] * -16).tolist() == [[2, 1, 0, 1], [3, 2, 1, 0]]
    assert torch.equal(alibi_bias(2, 2, 4), alibi_bias(2, 4)[:, -2:])


def test_no_heads_are_refused():
    with pytest.raises(ValueError, match="heads must be at least 1, got 0"):
        alibi_slopes(0)


def test_learned_positions_are_rows_of_a_table():
    learned = LearnedPositions(5, 3)
    assert learned.context == 5
    assert torch.equal(learned(4), learned.weight[:4])
    assert torch.equal(learned(torch.tensor([[3, 0]])), learned.weight[None, [3, 0]])
    learned(torch.tensor([2, 2])).sum().backward()
    assert learned.weight.grad[:, 0].tolist() == [0, 0, 2, 0, 0]


def test_positions_beyond_the_context_are_refused():
    learned = LearnedPositions(5, 3)
    with pytest.raises(ValueError, match="6 tokens are more than the context of 5"):
        learned(6)
    with pytest.raises(ValueError, match="within the context of 5, got from 2 to 5"):
        learned(torch.tensor([2, 5]))
    with pytest.raises(ValueError, match="within the context of 5, got from -1 to 0"):
        learned(torch.tensor([-1, 0]))


def test_everything_is_made_where_the_positions_are():
    positions = torch.arange(3, device="meta")
    assert rotary_angles(positions, 4).device.type == "meta"
    assert sinusoidal(positions, 4).device.type == "meta"
    assert sinusoidal(3, 4, device="meta").device.type == "meta"
    assert alibi_bias(2, 3, device="meta").device.type == "meta"
    assert LearnedPositions(5, 3).to("meta")(positions).device.type == "meta"
