"""Looking inside: what must hold for any model, by hand, and what was found in the two pretrained ones."""

import math
from itertools import pairwise

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.transformer import Config, Decoder, Encoder
from labkit.transformer.interpret import (
    attribute_tokens,
    embeddings_replaced,
    head_entropy,
    integrated_gradients,
    logit_lens,
    top_tokens,
)
from labkit.transformer.pretrained import embed, encode, mean_direction, pieces

SMALL = {"vocabulary": 40, "context": 16, "layers": 3, "heads": 2, "width": 16}
IDS = torch.tensor([[7, 3, 39, 0, 3, 12]])
CENTRED = st.integers(0, 2**31).map(lambda seed: torch.randn(4, generator=torch.Generator().manual_seed(seed)).double())


@pytest.mark.parametrize("choices", [{}, {"norm": "rms", "tied": False}, {"norm_first": False}], ids=str)
def test_the_last_layer_of_the_lens_is_what_the_model_says(choices):
    model = Decoder(Config(**SMALL, **choices), seed=1)
    lens = logit_lens(model, IDS)
    assert lens.shape == (4, 6, 40)
    assert torch.allclose(lens[-1], model(IDS)[0].softmax(dim=-1), atol=1e-6)
    assert torch.allclose(lens.sum(dim=-1), torch.ones(4, 6), atol=1e-6)


def test_before_the_first_layer_the_lens_sees_the_embedding_of_each_token_alone():
    model = Decoder(Config(**SMALL, positions="rotary"), seed=1)
    assert torch.equal(logit_lens(model, IDS)[0, 1], logit_lens(model, IDS)[0, 4])  # token 3 both times
    assert torch.allclose(logit_lens(model, IDS)[0], model.unembed(model.tokens(IDS))[0].softmax(dim=-1), atol=1e-6)


def test_the_lens_on_the_last_tokens_is_the_end_of_the_whole_lens():
    model = Decoder(Config(**SMALL), seed=1)
    for last in (1, 2, 6, 99):
        assert torch.allclose(logit_lens(model, IDS, last=last), logit_lens(model, IDS)[:, -last:], atol=1e-6)


def test_the_lens_refuses_a_batch():
    with pytest.raises(ValueError, match=r"one sequence at a time, got a batch of 2: pass ids\[:1\]"):
        logit_lens(Decoder(Config(**SMALL)), IDS.repeat(2, 1))


def test_top_tokens_are_the_likeliest_and_the_likeliest_first():
    values, ids = top_tokens(torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), count=2)
    assert ids.tolist() == [[2, 1], [0, 1]]
    assert values.tolist() == [[pytest.approx(0.7), pytest.approx(0.2)], [pytest.approx(0.5), pytest.approx(0.3)]]


@given(CENTRED, CENTRED, CENTRED, st.integers(1, 5))
def test_a_linear_function_owes_each_number_its_own_term_however_few_the_steps(weight, start, end, steps):
    values, gap = integrated_gradients(lambda x: x @ weight + 3.0, start, end, steps)
    assert torch.allclose(values, weight * (end - start))
    assert abs(gap) < 1e-12


def test_a_product_is_owed_to_both_factors_alike():
    values, gap = integrated_gradients(lambda x: x[:, 0] * x[:, 1], torch.zeros(2), torch.tensor([2.0, 3.0]), steps=4)
    assert values.tolist() == [3.0, 3.0] and gap == 0.0


def test_the_contributions_add_up_and_what_is_missing_falls_with_the_square_of_the_steps():
    start, end = torch.zeros(3).double(), torch.tensor([1.0, -2.0, 0.5]).double()
    gaps = [
        integrated_gradients(lambda x: torch.exp(x[:, 0]) * torch.sin(x[:, 1] + x[:, 2]), start, end, steps).gap
        for steps in (8, 16, 32, 64)
    ]
    assert abs(gaps[-1]) < 1e-4
    for before, after in pairwise(gaps):
        assert before / after == pytest.approx(4, rel=0.02)


@given(CENTRED, CENTRED)
def test_what_does_not_matter_is_owed_nothing_and_what_is_alike_the_same(start, end):
    start[1], end[1] = start[0], end[0]
    values, _ = integrated_gradients(lambda x: torch.tanh(x[:, 0] * x[:, 1]) + x[:, 2] ** 3, start, end)
    assert values[3] == 0.0 and values[0] == values[1]


def test_functions_and_baselines_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\), 32 steps"):
        integrated_gradients(lambda x: x.sum(1), torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="0 steps"):
        integrated_gradients(lambda x: x.sum(1), torch.zeros(2), torch.zeros(2), steps=0)
    with pytest.raises(ValueError, match=r"one number for each of 4 inputs, got \(4, 2\)"):
        integrated_gradients(lambda x: x, torch.zeros(2), torch.ones(2), steps=4)


def test_a_model_given_its_own_embeddings_says_what_it_says():
    model = Encoder(Config(**SMALL, norm_first=False), seed=2)
    with embeddings_replaced(model, model.tokens(IDS)):
        again = model(torch.zeros_like(IDS))
    assert torch.equal(again, model(IDS))
    assert not torch.equal(again, model(torch.zeros_like(IDS)))  # and the replacement has ended


def test_tokens_that_are_in_the_baseline_too_are_owed_nothing_and_the_rest_adds_up():
    model = Encoder(Config(**SMALL, norm_first=False), seed=2).double()
    baseline = torch.where(torch.arange(6) < 4, IDS, 1)

    def read(ids):
        return model(ids)[:, 0].sum(dim=-1).tanh() + model(ids)[:, 2, 3]

    values, gap = attribute_tokens(model, read, baseline, IDS, steps=64)
    assert values.shape == (6,) and (values[:4] == 0).all() and (values[4:] != 0).all()
    assert abs(gap) < 1e-3 * values.abs().sum()
    assert values.sum().item() - gap == pytest.approx((read(IDS) - read(baseline)).item())


def test_entropy_is_that_of_scipy_and_in_bits():
    weights = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)).double().softmax(dim=-1)
    expected = scipy.stats.entropy(weights.numpy(), base=2, axis=-1).mean(axis=-1)
    assert torch.allclose(head_entropy(weights), torch.from_numpy(expected))


def test_entropy_by_hand():
    assert head_entropy(torch.eye(4)).item() == 0.0
    assert head_entropy(torch.full((4, 8), 1 / 8)).item() == pytest.approx(3)


def test_smollm2_finds_shakespeare_in_its_last_layers(smollm2):
    ids = encode(smollm2, "Romeo and Juliet was written by William")
    best = [pieces(smollm2, each)[0] for each in top_tokens(logit_lens(smollm2.model, ids, last=1))[1][:, 0]]
    assert best[-4:] == [" Shakespeare"] * 4 and " Shakespeare" not in best[:20]


def test_a_head_of_minilm_looks_at_the_token_before_and_another_at_the_beginning(minilm):
    maps = minilm.model.attention_maps(encode(minilm, "She gave the book to her brother before he left for Paris."))
    before, beginning = maps[0][0, 2], maps[4][0, 5]
    assert before.diagonal(-1).min() > 0.95 and head_entropy(before) < 0.1
    assert beginning[1:-1, 0].mean() > 0.8


def test_what_two_sentences_share_is_owed_to_the_words_that_say_it(minilm):
    ids = encode(minilm, "A cat is sleeping on the sofa.")
    baseline = torch.where((ids == ids[0, 0]) | (ids == ids[0, -1]), ids, 0)  # [PAD] between [CLS] and [SEP]
    other = embed(minilm, ["A kitten naps on the couch."])[0]

    def read(ids):
        return mean_direction(minilm.model(ids)) @ other

    values, gap = attribute_tokens(minilm.model, read, baseline, ids, steps=32)
    names = pieces(minilm, ids)
    assert {names[i] for i in values.topk(3).indices} == {"cat", "sleeping", "sofa"}
    assert abs(gap) < 0.01 and math.isclose(values.sum().item(), 0.77, abs_tol=0.02)
