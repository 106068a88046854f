"""Speculative decoding at its ends: of the context, of a text, of precision; and caches that can be cut back."""

import math

import pytest
import torch

from labkit.compression.cache import quantized_cache
from labkit.compression.speculative import Bigram, Spoken, acceptance, speculative_generate
from labkit.compression.speculative_exact import chance_of_counts, exact_distribution
from labkit.transformer import Config, Decoder, generate

SMALL = {"context": 24, "heads": 2, "width": 16, "positions": "rotary", "norm": "rms", "bias": False}
PROMPT = torch.tensor([[3, 1, 4]])


def pair(dtype=torch.float32, apart=0.05, **more):
    """A target, and a draft that is nearly it."""
    draw = torch.Generator().manual_seed(1)
    target, draft = (Decoder(Config(17, layers=2, **SMALL, **more), seed=0) for _ in range(2))
    with torch.no_grad():
        for one, other in zip(target.parameters(), draft.parameters(), strict=True):
            one.add_(0.4 * torch.randn(one.shape, generator=draw))
            other.copy_(one + apart * torch.randn(one.shape, generator=draw))
    return target.to(dtype), draft.to(dtype)


@pytest.mark.parametrize("drafts", [1, 4, 99])
def test_the_last_token_of_the_context_is_reached_and_more_drafts_than_room_do_no_harm(drafts):
    target, draft = pair()
    spoken = speculative_generate(target, draft, PROMPT, 21, drafts=drafts)
    assert torch.equal(spoken.ids, generate(target, PROMPT, 21)) and spoken.ids.shape == (1, 24)
    assert all(count <= drafts for count, _ in spoken.rounds)


@pytest.mark.parametrize("drafts", [1, 3, 8])
def test_a_stop_token_ends_the_text_where_generate_ends_it(drafts):
    target, draft = pair()
    text = generate(target, PROMPT, 21)[0]
    for stop in {*text[3:].tolist(), 16}:
        spoken = speculative_generate(target, draft, PROMPT, 21, drafts=drafts, stop=stop)
        assert torch.equal(spoken.ids, generate(target, PROMPT, 21, stop=stop))


def test_the_probability_of_a_text_with_a_stop_token_is_the_target_s():
    target, draft = pair(apart=1.0)
    chance, counts = torch.Generator().manual_seed(0), torch.zeros(3, dtype=torch.int64)
    with torch.no_grad():
        first = torch.softmax(target(PROMPT)[0, -1], dim=-1)
        stop = int(first.argmax())
        second = torch.softmax(target(torch.tensor([[3, 1, 4, i] for i in range(17)]))[:, -1], dim=-1)[:, stop]
    for _ in range(120):
        ids = speculative_generate(target, draft, PROMPT, 2, drafts=1, temperature=1, stop=stop, generator=chance).ids
        counts[0 if ids.shape[1] == 4 else 1 + int(ids[0, -1] == stop)] += 1
    late = float((first * second).sum() - first[stop] * second[stop])
    wanted = torch.tensor([float(first[stop]), 1 - float(first[stop]) - late, late])
    assert chance_of_counts(counts, wanted) > 0.001


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_chances_are_computed_in_single_precision_or_better(dtype):
    """bfloat16 has 256 numbers between 0 and 1: too few to decide by."""
    target, draft = pair(dtype)
    assert torch.equal(speculative_generate(target, draft, PROMPT, 12).ids, generate(target, PROMPT, 12))
    seen = set()

    def watching(p, q):
        seen.update((p.dtype, q.dtype))
        return acceptance(p, q)

    speculative_generate(target, draft, PROMPT, 12, temperature=1, accept=watching)
    assert seen == {torch.promote_types(dtype, torch.float32)}


@pytest.mark.parametrize("temperature", [1e-6, math.inf])
def test_temperatures_at_the_ends(temperature):
    target, draft = pair()
    chance = torch.Generator().manual_seed(0)
    spoken = speculative_generate(target, draft, PROMPT, 20, temperature=temperature, generator=chance)
    if temperature < 1:
        assert torch.equal(spoken.ids, generate(target, PROMPT, 20))
    else:
        assert spoken.acceptance_rate == 1  # both draw evenly from all tokens


def test_models_in_training_are_without_dropout_for_a_while_even_after_an_error():
    target, draft = pair(dropout=0.5)
    target.train()
    draft.eval()
    assert torch.equal(speculative_generate(target, draft, PROMPT, 20).ids, generate(target, PROMPT, 20))
    with pytest.raises(ZeroDivisionError):
        speculative_generate(target, draft, PROMPT, 20, accept=lambda p, q: 1 / 0)
    assert target.training and not draft.training


@pytest.mark.parametrize("apart", [0.05, 0.4])
def test_caches_in_few_bits_are_cut_back_too(apart):
    target, draft = pair(apart=apart)
    with quantized_cache(target, 8, group=4), quantized_cache(draft, 8, group=4):
        spoken = speculative_generate(target, draft, PROMPT, 21, drafts=6)
    same = (spoken.ids == generate(target, PROMPT, 21)).float().mean()
    assert float(same) > 0.9 and spoken.ids.shape == (1, 24)


def test_no_tokens_need_no_round():
    spoken = speculative_generate(*pair(), PROMPT, 0)
    assert (spoken.rounds, spoken.tokens_per_round, spoken.acceptance_rate) == ((), 0, 0)
    some = Spoken(PROMPT, ((4, 4), (4, 0)), 0.0)
    assert (some.tokens_per_round, some.acceptance_rate) == (3, 0.8)  # the last three were not looked at


def test_a_token_that_was_never_followed_is_followed_as_often_as_each_is_there():
    draft = Bigram(torch.tensor([0, 1]), 3, weight=0)
    assert draft(torch.tensor([[1]]))[0, 0].exp().tolist() == pytest.approx([0.4, 0.4, 0.2])
    for weight in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="give 0 or more"):
            Bigram(torch.tensor([0, 1]), 3, weight=weight)


def test_broken_models_and_wrong_settings_are_refused():
    target, draft = pair()
    with pytest.raises(ValueError, match="fit the context of 8 tokens"):
        speculative_generate(target, Decoder(Config(17, layers=1, **{**SMALL, "context": 8})), PROMPT, 6)
    with pytest.raises(ValueError, match="must not be negative, got nan"):
        speculative_generate(target, draft, PROMPT, 5, temperature=math.nan)
    with pytest.raises(ValueError, match="as a tensor"):
        speculative_generate(target, draft, [[1, 2]], 5)
    with pytest.raises(ValueError, match=r"1\.5 more must fit"):
        speculative_generate(target, draft, PROMPT, 1.5)
    target.norm.weight.data[0] = math.nan
    for models in ((target, draft), (draft, target)):
        with pytest.raises(ValueError, match="NaN or infinite"):
            speculative_generate(*models, PROMPT, 5)


def test_texts_without_tokens_have_one_way_to_be():
    even = lambda prefix: torch.ones(2) / 2  # noqa: E731
    assert exact_distribution(even, even, 0, 2, prefix=(1,)) == {(1,): 1.0}
    with pytest.raises(ValueError, match="0 tokens or more, got -1"):
        exact_distribution(even, even, -1, 2)


def test_what_cannot_come_and_came_is_no_accident():
    counts = torch.tensor([50, 49, 1])
    assert chance_of_counts(counts, torch.tensor([0.5, 0.5, 0.0])) == 0
    assert chance_of_counts(torch.tensor([50, 50, 0]), torch.tensor([0.5, 0.5, 0.0])) == 1
    for wrong in ([0.5, 0.7, -0.2], [0.5, 0.5, math.nan], [0.0, 0.0, 0.0]):
        with pytest.raises(ValueError, match="finite, not negative and not all 0"):
            chance_of_counts(counts, torch.tensor(wrong))
