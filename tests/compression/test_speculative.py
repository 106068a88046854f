"""Speculative decoding: what comes out is drawn from the large model, whatever the draft is."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.compression.speculative import (
    Bigram,
    acceptance,
    emitted,
    expected_speedup,
    expected_tokens,
    overlap,
    residual,
    speculative_generate,
    verify,
)
from labkit.compression.speculative_exact import chance_of_counts, draw_tokens, exact_distribution
from labkit.transformer import Config, Decoder, generate

SMALL = {"context": 24, "heads": 2, "width": 16, "positions": "rotary", "norm": "rms", "bias": False}
P, Q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.25, 0.6, 0.15]).double()
KEEP_LIKELY = {"accept": lambda p, q: q / q.amax(-1, keepdim=True)}  # what the draft is sure of is kept
FROM_TARGET = {"again": lambda p, q: p}  # a refused token is drawn from p itself


def wild(vocabulary, layers, seed):
    model, draw = Decoder(Config(vocabulary, layers=layers, **SMALL)), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.4)
    return model


def random_table(vocabulary, seed):
    """Probabilities of the next token for every text, and another distribution for each."""
    known = {}

    def after(prefix):
        if prefix not in known:
            draw = torch.Generator().manual_seed(seed + hash(prefix) % 10_000)
            known[prefix] = torch.softmax(2 * torch.randn(vocabulary, generator=draw).double(), dim=-1)
        return known[prefix]

    return after


def alone(p, tokens, vocabulary):
    """The probability of every text of one model that nobody drafts for."""
    result = {}
    for text in itertools.product(range(vocabulary), repeat=tokens):
        chance = 1.0
        for i, token in enumerate(text):
            chance *= float(p(text[:i])[token])
        result[text] = chance
    return result


def test_three_tokens_by_hand():
    assert acceptance(P, Q).tolist() == pytest.approx([1, 0.5, 1])
    assert residual(P, Q).tolist() == pytest.approx([0.25 / 0.3, 0, 0.05 / 0.3])
    assert float(overlap(P, Q)) == pytest.approx(0.25 + 0.3 + 0.15)
    assert emitted(P, Q).tolist() == pytest.approx(P.tolist())


def test_equal_distributions_keep_everything_and_foreign_ones_nothing():
    assert acceptance(P, P).tolist() == [1, 1, 1] and residual(P, P).tolist() == P.tolist()
    one, other = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    assert float(overlap(one, other)) == 0 and residual(one, other).tolist() == [0, 1]
    assert emitted(one, other).tolist() == [0, 1]


@given(st.integers(2, 40), st.floats(0.1, 8), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_token_that_comes_out_is_drawn_from_p_whatever_the_draft(vocabulary, sharpness, seed):
    draw = torch.Generator().manual_seed(seed)
    p, q = torch.softmax(sharpness * torch.randn(2, vocabulary, generator=draw).double(), dim=-1)
    assert torch.allclose(emitted(p, q), p, atol=1e-12)
    kept = 1 - (p - q).abs().sum() / 2  # 1 − total variation distance
    assert float(overlap(p, q)) == pytest.approx(float(kept))


@pytest.mark.parametrize("tokens, drafts", [(1, 1), (2, 1), (3, 2), (4, 3), (3, 7)])
def test_every_text_keeps_its_probability_exactly(tokens, drafts):
    p, q = random_table(3, 0), random_table(3, 1)
    found, wanted = exact_distribution(p, q, tokens, drafts), alone(p, tokens, 3)
    assert found.keys() == wanted.keys()
    assert max(abs(found[text] - wanted[text]) for text in wanted) < 1e-12


@pytest.mark.parametrize("wrong", [KEEP_LIKELY, FROM_TARGET])
def test_wrong_rules_change_the_distribution(wrong):
    p, q = random_table(3, 0), random_table(3, 1)
    found, wanted = exact_distribution(p, q, 3, 2, **wrong), alone(p, 3, 3)
    assert sum(found.values()) == pytest.approx(1)
    assert max(abs(found[text] - wanted[text]) for text in wanted) > 0.01
    assert (emitted(P, Q, **wrong) - P).abs().max() > 0.01


def test_counts_of_generated_texts_pass_the_chi_square_test_and_wrong_rules_fail_it():
    target, draft = wild(3, 1, 1), wild(3, 1, 2)
    prompt, chance = torch.tensor([[1, 0]]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        first = torch.softmax(target(prompt)[0, -1], dim=-1)
        second = torch.softmax(target(torch.tensor([[1, 0, i] for i in range(3)]))[:, -1], dim=-1)
        wrong = emitted(first, torch.softmax(draft(prompt)[0, -1], dim=-1), **FROM_TARGET)
    counts = torch.zeros(9, dtype=torch.int64)
    for _ in range(900):
        made = speculative_generate(target, draft, prompt, 2, drafts=2, temperature=1, generator=chance).ids[0, 2:]
        counts[made[0] * 3 + made[1]] += 1
    assert chance_of_counts(counts, (first[:, None] * second).flatten()) > 0.001
    assert chance_of_counts(counts, (wrong[:, None] * second).flatten()) < 1e-6


@pytest.mark.parametrize("rules, passes", [({}, True), (KEEP_LIKELY, False), (FROM_TARGET, False)])
def test_single_tokens_are_counted_right_only_with_the_right_rules(rules, passes):
    drawn = draw_tokens(P, Q, 20_000, generator=torch.Generator().manual_seed(3), **rules)
    assert (chance_of_counts(drawn.bincount(minlength=3), P) > 0.001) == passes


@pytest.mark.parametrize("drafts", [1, 3, 9])
@pytest.mark.parametrize("tokens", [0, 1, 2, 15])
def test_greedy_text_is_the_same_token_by_token(drafts, tokens):
    target, draft, prompt = wild(17, 2, 1), wild(17, 1, 2), torch.tensor([[3, 1, 4]])
    spoken = speculative_generate(target, draft, prompt, tokens, drafts=drafts)
    assert torch.equal(spoken.ids, generate(target, prompt, tokens))
    assert sum(kept + 1 for _, kept in spoken.rounds) == tokens


def test_a_model_that_drafts_for_itself_is_always_right():
    target = wild(17, 2, 1)
    for temperature in (0, 1):
        chance = torch.Generator().manual_seed(0)
        spoken = speculative_generate(
            target, target, torch.tensor([[3]]), 20, drafts=3, temperature=temperature, generator=chance
        )
        assert spoken.acceptance_rate > 0.99 and len(spoken.rounds) == 5 and spoken.tokens_per_round == 4


def test_the_caches_are_cut_back_so_that_nothing_refused_is_seen_again():
    """The probabilities that each round is judged by are those of a model without any cache."""
    target, draft, seen = wild(7, 2, 1), wild(7, 1, 2), []

    def watching(p, q):
        seen.append((p, q))
        return acceptance(p, q)

    chance = torch.Generator().manual_seed(1)
    prompt = torch.tensor([[2, 5]])
    spoken = speculative_generate(target, draft, prompt, 18, drafts=3, temperature=1, generator=chance, accept=watching)
    assert 0 < spoken.acceptance_rate < 1
    with torch.no_grad():
        p, q = (torch.softmax(model(spoken.ids)[0], dim=-1) for model in (target, draft))
    at = 1  # the last token of the prompt predicts the first new one
    for (large, small), (_, kept) in zip(seen, spoken.rounds, strict=False):
        right = min(kept + 1, len(large))
        assert torch.allclose(large[:right], p[at : at + right], atol=1e-5)
        assert torch.allclose(small[:right], q[at : at + right], atol=1e-5)
        at += kept + 1


def test_a_round_looks_at_drafts_up_to_the_first_refused_one():
    q = torch.eye(3)[[0, 1, 2]]
    p = torch.eye(3)[[0, 2, 2, 1]]
    assert verify(torch.tensor([0, 1, 2]), q, p) == (1, torch.tensor([2]))
    kept, last = verify(torch.tensor([0, 1, 2]), q, torch.eye(3)[[0, 1, 2, 1]])
    assert (kept, last.tolist()) == (3, [1])
    kept, last = verify(torch.zeros(0, dtype=torch.int64), q[:0], p[:1])
    assert (kept, last.tolist()) == (0, [0])


def test_bigrams_are_counted_by_hand():
    draft = Bigram(torch.tensor([0, 1, 0, 1, 0, 2]), 3, weight=0)
    assert draft(torch.tensor([[0, 1]]))[0].exp().tolist() == [pytest.approx([0, 2 / 3, 1 / 3]), [1, 0, 0]]
    assert Bigram(torch.tensor([0, 1]), 4)(torch.arange(4)[None]).exp().sum(-1).tolist() == [pytest.approx([1] * 4)]


def test_counted_drafts_write_the_same_greedy_text():
    target, prompt = wild(5, 2, 1), torch.tensor([[3, 1]])
    text = generate(target, prompt, 20)
    spoken = speculative_generate(target, Bigram(text[0], 5), prompt, 20, drafts=2)
    assert torch.equal(spoken.ids, text) and spoken.acceptance_rate > 0.3


@given(st.floats(0, 1), st.integers(1, 20))
def test_tokens_of_a_round_are_a_geometric_sum(alpha, drafts):
    assert expected_tokens(alpha, drafts) == pytest.approx(sum(alpha**i for i in range(drafts + 1)), rel=1e-6)
    assert expected_speedup(alpha, drafts, 0) == expected_tokens(alpha, drafts)


def test_a_round_without_agreement_still_brings_a_token():
    assert expected_tokens(0, 5) == 1 and expected_tokens(1, 5) == 6
    target, draft = wild(50, 1, 1), wild(50, 1, 9)
    spoken = speculative_generate(target, draft, torch.tensor([[1]]), 8, drafts=1)
    assert spoken.tokens_per_round >= 1


def test_counts_by_the_book():
    assert chance_of_counts(torch.tensor([60, 40]), torch.tensor([0.5, 0.5])) == pytest.approx(0.0455, abs=1e-4)
    rare = torch.tensor([0.5, 0.49, 0.005, 0.005])
    assert chance_of_counts(torch.tensor([50, 49, 1, 0]), rare) > 0.8  # three of four are one kind here
    assert chance_of_counts(torch.tensor([3]), torch.tensor([1.0])) == 1
    scipy = pytest.importorskip("scipy.stats")
    counts, p = torch.tensor([18, 33, 49]), torch.tensor([0.2, 0.3, 0.5])
    assert chance_of_counts(counts, p) == pytest.approx(scipy.chisquare(counts, 100 * p.double()).pvalue, abs=1e-5)


def prompt_of(*shape):
    return torch.zeros(shape, dtype=torch.int64)


REFUSED = {
    "another vocabulary": (lambda t, d: (t, wild(6, 1, 0), prompt_of(1, 2), 3, 2), "the target has 5 tokens and the"),
    "no drafts": (lambda t, d: (t, d, prompt_of(1, 2), 3, 0), "at least 1 token, a whole number, got 0"),
    "half a draft": (lambda t, d: (t, d, prompt_of(1, 2), 3, 1.5), "got 1.5"),
    "an empty prompt": (lambda t, d: (t, d, prompt_of(1, 0), 3, 2), r"at least one token is needed.*\(1, 0\)"),
    "two prompts": (lambda t, d: (t, d, prompt_of(2, 3), 3, 2), r"one prompt.*\(2, 3\)"),
    "a text beyond the context": (lambda t, d: (t, d, prompt_of(1, 2), 23, 2), "2 tokens of prompt and 23 more"),
    "tokens to take back": (lambda t, d: (t, d, prompt_of(1, 2), -1, 2), "-1 more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_spoken_is_refused(name):
    arguments, words = REFUSED[name]
    target, draft, ids, tokens, drafts = arguments(wild(5, 1, 1), wild(5, 1, 2))
    with pytest.raises(ValueError, match=words):
        speculative_generate(target, draft, ids, tokens, drafts=drafts)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.2"):
        expected_tokens(1.2, 3)
    with pytest.raises(ValueError, match="got 0"):
        expected_tokens(0.5, 0)
    with pytest.raises(ValueError, match="not negative"):
        expected_speedup(0.5, 2, -0.1)
    with pytest.raises(ValueError, match="below the vocabulary of 3"):
        Bigram(torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match="two tokens or more"):
        Bigram(torch.tensor([0]), 3)
    with pytest.raises(ValueError, match="must not be negative"):
        speculative_generate(wild(5, 1, 1), wild(5, 1, 2), prompt_of(1, 1), 2, temperature=-1)
    with pytest.raises(ValueError, match="0 counts of 3 kinds, and 3"):
        chance_of_counts(torch.zeros(3, dtype=torch.int64), P)
