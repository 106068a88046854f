"""Attention that is learned: what the games ask, that attention wins them, and that the right place is looked at."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.attention import attention_weights
from labkit.attention.learned import (
    NOT_ASKED,
    AttentionOnly,
    accuracy,
    copy_task,
    diagonal_score,
    induction_score,
    induction_task,
    learn,
    previous_score,
    reverse_score,
    reverse_task,
)

SEEDS = st.integers(0, 2**31)


def drawn(task, batch=5, seed=0, **sizes):
    return task(batch, torch.Generator().manual_seed(seed), **sizes)


@given(length=st.integers(1, 9), vocabulary=st.integers(2, 20), seed=SEEDS)
def test_copy_and_reverse_ask_for_the_words_before_the_zero(length, vocabulary, seed):
    for task, answer in ((copy_task, lambda words: words), (reverse_task, lambda words: words.flip(1))):
        ids, targets = drawn(task, seed=seed, length=length, vocabulary=vocabulary)
        words = ids[:, :length]
        assert ids.shape == targets.shape == (5, 2 * length)
        assert words.min() >= 1 and words.max() < vocabulary
        assert (ids[:, length] == 0).all()
        assert (targets[:, :length] == NOT_ASKED).all()
        assert torch.equal(targets[:, length:], answer(words))
        assert torch.equal(ids[:, length + 1 :], targets[:, length:-1])  # what was said is what is read next


@given(half=st.integers(2, 9), more=st.integers(0, 9), seed=SEEDS)
def test_induction_asks_for_what_followed_the_same_word_before(half, more, seed):
    ids, targets = drawn(induction_task, seed=seed, length=2 * half, vocabulary=half + more)
    for text, asked in zip(ids.tolist(), targets.tolist(), strict=True):
        first = text[:half]
        assert len(set(first)) == half
        assert sorted(text[half:]) == sorted(first)
        assert asked[:half] == [NOT_ASKED] * half
        for place in range(half, 2 * half):
            before = first.index(text[place])
            assert asked[place] == (first[before + 1] if before + 1 < half else NOT_ASKED)
            if place + 1 < 2 * half and asked[place] != NOT_ASKED:
                assert asked[place] == text[place + 1]


def test_the_second_round_of_an_induction_text_may_begin_at_every_word():
    ids, _ = drawn(induction_task, batch=500, length=12)
    assert set((ids[:, :6] == ids[:, 6:7]).nonzero()[:, 1].tolist()) == set(range(6))


def test_the_same_seed_gives_the_same_examples_and_another_one_others():
    for task in (copy_task, reverse_task, induction_task):
        one, two, other = (drawn(task, seed=seed)[0] for seed in (3, 3, 4))
        assert torch.equal(one, two)
        assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("task", "sizes"),
    [
        (copy_task, {"length": 0}),
        (reverse_task, {"vocabulary": 1}),
        (induction_task, {"length": 7}),
        (induction_task, {"length": 2}),
        (induction_task, {"length": 24, "vocabulary": 11}),
    ],
)
def test_sizes_that_make_no_game_are_refused(task, sizes):
    with pytest.raises(ValueError, match=r"length .* and .*; got|got \d+ and \d+"):
        drawn(task, **sizes)


def test_one_layer_learns_to_reverse_and_looks_where_the_word_is():
    model = AttentionOnly(layers=1)
    ids, _ = drawn(reverse_task, batch=100)
    before = reverse_score(model.weights(ids)[0])
    losses = learn(model, reverse_task, steps=100)
    assert losses[0] > 2.5 > 0.1 > losses[-1]
    assert accuracy(model, reverse_task) > 0.95
    assert before < 0.1
    assert reverse_score(model.weights(ids)[0]) > 0.9


def test_one_layer_learns_to_copy_and_looks_ten_words_back():
    model = AttentionOnly(layers=1, positions="rotary")
    learn(model, copy_task, steps=100)
    assert accuracy(model, copy_task) > 0.95
    assert diagonal_score(model.weights(drawn(copy_task)[0])[0], distance=10)[0] > 0.9


def test_nobody_reverses_without_positions():
    model = AttentionOnly(layers=1, positions="none")
    learn(model, reverse_task, steps=100)
    assert accuracy(model, reverse_task) < 0.3


def test_two_layers_learn_induction_and_one_does_not():
    found = {}
    for layers in (1, 2):
        model = AttentionOnly(layers=layers, positions="rotary")
        learn(model, induction_task, steps=200)
        found[layers] = accuracy(model, induction_task)
    assert found[1] < 0.3
    assert found[2] > 0.95
    ids, _ = drawn(induction_task, batch=100)
    first, second = model.weights(ids)
    assert previous_score(first)[0] > 0.4  # "what stood before me?"
    assert induction_score(second, ids)[0] > 0.8  # "where did the word before me stand?"
    assert induction_score(first, ids)[0] < 0.3


def test_what_is_learned_depends_on_the_seeds_alone():
    def losses(model_seed, seed):
        torch.rand(1)  # what torch's own generator would say next makes no difference
        return learn(AttentionOnly(seed=model_seed, width=16), copy_task, steps=2, batch=4, seed=seed)

    assert losses(0, 0) == losses(0, 0)
    assert losses(0, 0) != losses(1, 0)
    assert losses(0, 0) != losses(0, 1)


def test_no_steps_change_nothing():
    model = AttentionOnly(width=16)
    assert learn(model, copy_task, steps=0) == []


def test_a_task_of_another_size_is_a_partial():
    task = partial(reverse_task, length=3, vocabulary=5)
    model = AttentionOnly(5, 6, layers=1, width=16)
    assert len(learn(model, task, steps=2, batch=4)) == 2
    assert 0 <= accuracy(model, task, examples=10) <= 1


def test_accuracy_counts_the_asked_words_only():
    def task(batch, generator):
        return torch.tensor([[1, 2, 3, 3]]), torch.tensor([[NOT_ASKED, 2, 1, 3]])

    class Echo(torch.nn.Linear):
        def forward(self, ids):
            return torch.nn.functional.one_hot(ids, 4).double()

    assert accuracy(Echo(1, 1), task) == pytest.approx(2 / 3)


@pytest.mark.parametrize("positions", ["learned", "rotary", "none"])
def test_the_weights_are_those_that_the_layers_use(positions):
    model = AttentionOnly(heads=2, width=16, positions=positions)
    ids = drawn(copy_task, batch=3)[0]
    weights = model.weights(ids)
    assert [w.shape for w in weights] == [(3, 2, 20, 20)] * 2
    x = model.words(ids) + (0 if model.positions is None else model.positions(20))
    for layer, used in zip(model.layers, weights, strict=True):
        torch.testing.assert_close(used, layer.weights(x, causal=True))
        x = x + layer(x, causal=True)
    torch.testing.assert_close(model(ids), model.head(x))


def test_the_future_cannot_leak_into_the_past_unless_it_may():
    for causal in (True, False):
        model = AttentionOnly(width=16, causal=causal)
        ids = drawn(copy_task)[0]
        other = ids.clone()
        other[:, -1] = ids[:, -1] % 15 + 1
        assert torch.equal(model(ids)[:, :-1], model(other)[:, :-1]) == causal
        assert bool((model.weights(ids)[0].triu(1) > 0).any()) != causal


def test_scores_by_hand():
    half = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0.1, 0, 0.65, 0.25]])
    two_heads = torch.stack([half, torch.eye(4)])[None]
    assert previous_score(two_heads).tolist() == pytest.approx([(0.5 + 0.5 + 0.65) / 3, 0])
    assert diagonal_score(two_heads, distance=0).tolist() == pytest.approx([2.25 / 4, 1])
    assert diagonal_score(two_heads, distance=3).tolist() == pytest.approx([0.1, 0])
    assert reverse_score(half) == pytest.approx((0.5 + 0.1) / 2)  # query 2 at key 1, query 3 at key 0
    # a b a b: query 2 should look at key 1, query 3 at key 2
    assert induction_score(two_heads, torch.tensor([[5, 6, 5, 6]])).tolist() == pytest.approx([(0.5 + 0.65) / 2, 0])


def test_induction_scores_add_all_places_behind_an_earlier_one():
    weights = attention_weights(torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2), causal=True)
    # a a a b: query 1 has key 1, query 2 keys 1 and 2
    assert induction_score(weights, torch.tensor([[5, 5, 5, 6]])).tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2])


def test_scores_of_what_is_not_there_are_refused():
    weights = torch.eye(4)[None, None]
    with pytest.raises(ValueError, match="no word comes twice"):
        induction_score(weights, torch.tensor([[1, 2, 3, 4]]))
    for distance in (-1, 4):
        with pytest.raises(ValueError, match=f"distance must be from 0 to 3, got {distance}"):
            diagonal_score(weights, distance)


def test_bad_models_and_bad_ids_are_refused():
    with pytest.raises(ValueError, match="one of learned, rotary, none, got 'alibi'"):
        AttentionOnly(positions="alibi")
    for positions in ("learned", "rotary", "none"):
        model = AttentionOnly(16, 8, width=16, positions=positions)
        with pytest.raises(ValueError, match="9 words are more than the context of 8"):
            model(torch.zeros(1, 9, dtype=torch.long))
        for bad in (-1, 16):
            with pytest.raises(ValueError, match=f"between 0 and 15, got .*{bad}"):
                model(torch.tensor([[0, bad]]))
