import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.corpora import CHINESE, ENGLISH, Grammar

COIN = Grammar({"S": ((0.5, ("heads",)), (0.5, ("tails", "S")))})
# Number agreement, no recursion: 2 · (3 · 2 + 3 · 2 · 2) sentences.
SMALL = Grammar(
    {
        "S": ((0.7, ("THE", "N_SG", "V_SG")), (0.3, ("THE", "N_PL", "V_PL"))),
        "THE": ((0.9, ("the",)), (0.1, ("the", "old"))),
        "N_SG": ((0.5, ("dog",)), (0.3, ("cat",)), (0.2, ("fox",))),
        "N_PL": ((0.5, ("dogs",)), (0.3, ("cats",)), (0.2, ("foxes",))),
        "V_SG": ((0.6, ("runs",)), (0.4, ("sees", "him"))),
        "V_PL": ((0.6, ("run",)), (0.4, ("see", "him"))),
    }
)


def derivations(grammar, symbols):
    """Yield (sentence, probability) for every derivation of a grammar without recursion."""
    if not symbols:
        yield (), 1.0
    elif symbols[0] not in grammar.rules:
        yield from (((symbols[0], *rest), p) for rest, p in derivations(grammar, symbols[1:]))
    else:
        for p, expansion in grammar.rules[symbols[0]]:
            yield from ((s, p * q) for s, q in derivations(grammar, (*expansion, *symbols[1:])))


def witten_bell_perplexity(train, test, order):
    """An interpolated Witten-Bell model, written for this test alone."""
    counts = defaultdict(Counter)
    vocabulary = {word for s in train for word in s} | {"</s>"}

    def events(sentences):
        for sentence in sentences:
            padded = ["<s>"] * (order - 1) + sentence + ["</s>"]
            yield from (tuple(padded[i - order + 1 : i + 1]) for i in range(order - 1, len(padded)))

    for *context, word in events(train):
        for k in range(order):
            counts[tuple(context[k:])][word] += 1
    totals = {context: (sum(c.values()), len(c)) for context, c in counts.items()}
    bits = []
    for *context, word in events(test):
        p = 1 / len(vocabulary)
        for k in reversed(range(order)):
            if (history := tuple(context[k:])) in totals:
                n, types = totals[history]
                p = (counts[history][word] + types * p) / (n + types)
        bits.append(-math.log2(p))
    return 2 ** (sum(bits) / len(bits))


def test_a_coin_thrown_until_heads_has_two_bits_and_two_throws():
    # H = Σ k 2^-k = 2 and E[length] = 2; with the end of the sentence 2 bits go to 3 tokens.
    assert COIN.entropy() == pytest.approx(2)
    assert COIN.expected_length() == pytest.approx(2)
    assert COIN.entropy_per_token() == pytest.approx(2 / 3)
    assert COIN.perplexity_floor() == pytest.approx(2 ** (2 / 3))
    assert [COIN.logprob(["tails"] * k + ["heads"]) for k in range(3)] == [-1, -2, -3]


def test_entropy_and_length_equal_sums_over_all_sentences():
    listed = list(derivations(SMALL, ("S",)))
    sentences = Counter()
    for sentence, p in listed:
        sentences[sentence] += p
    assert len(sentences) == len(listed) == 24  # no sentence has two derivations
    assert sum(sentences.values()) == pytest.approx(1)
    assert SMALL.entropy() == pytest.approx(-sum(p * math.log2(p) for p in sentences.values()), abs=1e-12)
    assert SMALL.expected_length() == pytest.approx(sum(p * len(s) for s, p in sentences.items()), abs=1e-12)
    for sentence, p in sentences.items():
        assert SMALL.logprob(sentence) == pytest.approx(math.log2(p), abs=1e-12)


@pytest.mark.parametrize("grammar", [COIN, SMALL, ENGLISH, CHINESE, CHINESE.as_characters()])
def test_entropy_solves_the_linear_system_like_numpy(grammar):
    names = list(grammar.rules)
    uses = np.zeros((len(names), len(names)))
    choice = np.zeros(len(names))
    for i, name in enumerate(names):
        for p, symbols in grammar.rules[name]:
            choice[i] -= p * math.log2(p)
            for symbol in symbols:
                if symbol in grammar.rules:
                    uses[i, names.index(symbol)] += p
    expected = np.linalg.solve(np.eye(len(names)) - uses, choice)[names.index("S")]
    assert grammar.entropy() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("grammar", [ENGLISH, CHINESE, CHINESE.as_characters()])
def test_sampled_sentences_have_the_entropy_and_length_that_were_computed(grammar):
    # -log2 of the probability of the *sentence*: if some had two derivations, its mean would lie below the entropy.
    sentences = grammar.sample(1500, seed=7)
    bits = np.array([-grammar.logprob(sentence) for sentence in sentences])
    lengths = np.array([len(sentence) for sentence in sentences])
    assert abs(bits.mean() - grammar.entropy()) < 4 * bits.std() / math.sqrt(len(bits))
    assert abs(lengths.mean() - grammar.expected_length()) < 4 * lengths.std() / math.sqrt(len(bits))


@pytest.mark.parametrize("grammar", [ENGLISH, CHINESE, CHINESE.as_characters()])
def test_no_sentence_of_a_shipped_grammar_has_two_derivations(grammar):
    by_derivation = defaultdict(set)
    for tagged in grammar.sample_tagged(20_000, seed=3):
        by_derivation[tuple(word for word, _ in tagged)].add(tuple(tag for _, tag in tagged))
    assert max(map(len, by_derivation.values())) == 1


def test_an_ambiguous_sentence_gets_the_probability_of_both_derivations():
    twice = Grammar({"S": ((0.25, ("A",)), (0.75, ("B",))), "A": ((1.0, ("same",)),), "B": ((1.0, ("same",)),)})
    assert twice.logprob(["same"]) == 0
    assert twice.entropy() > 0  # of derivations, not of sentences


def test_equal_seeds_give_equal_sentences_and_other_seeds_others():
    assert ENGLISH.sample(50, seed=1) == ENGLISH.sample(50, seed=1) != ENGLISH.sample(50, seed=2)
    assert ENGLISH.sample(10, seed=5) == ENGLISH.sample(50, seed=5)[:10]
    assert ENGLISH.sample(0, seed=0) == []


def test_tags_are_the_nonterminals_that_wrote_the_words():
    sentence = Grammar({"S": ((1.0, ("DET", "NOUN", "barks")),), "DET": ((1.0, ("a",)),), "NOUN": ((1.0, ("dog",)),)})
    assert sentence.sample_tagged(1, seed=0) == [[("a", "DET"), ("dog", "NOUN"), ("barks", "S")]]
    tagged = ENGLISH.sample_tagged(200, seed=4)
    assert [[word for word, _ in s] for s in tagged] == ENGLISH.sample(200, seed=4)
    assert all((1.0, (word,)) in ENGLISH.rules[tag] or tag in ENGLISH.rules for s in tagged for word, tag in s)


def test_subject_and_verb_agree_in_number():
    plural = {word for _, (word,) in ENGLISH.rules["VERB_T_PL"] + ENGLISH.rules["VERB_I_PL"]}
    for tagged in ENGLISH.sample_tagged(500, seed=9):
        subject = next(tag for _, tag in tagged if tag.startswith("NOUN_"))
        verbs = [word in plural for word, tag in tagged if tag.startswith("VERB_")]
        assert set(verbs) == {subject == "NOUN_PL"}


def test_what_the_grammar_cannot_say_has_probability_zero():
    assert ENGLISH.logprob(["the", "dog", "sleeps"]) > -math.inf
    for wrong in ("the dog sleep", "the dogs sleeps", "dog the sleeps", "the dog", "the dog sleeps sleeps", ""):
        assert ENGLISH.logprob(wrong.split()) == -math.inf


def test_longer_memory_wins_and_five_words_come_near_the_floor():
    train, test = ENGLISH.sample(60_000, seed=1), ENGLISH.sample(2000, seed=2)
    perplexity = {order: witten_bell_perplexity(train, test, order) for order in (1, 2, 3, 4, 5)}
    floor = ENGLISH.perplexity_floor()
    assert all(perplexity[n] > perplexity[n + 1] for n in (1, 2, 3, 4))
    assert floor < perplexity[5] < 1.08 * floor
    assert perplexity[2] > 1.35 * floor


def test_characters_keep_the_entropy_of_the_words_and_spread_it_over_more_tokens():
    characters = CHINESE.as_characters()
    assert characters.entropy() == pytest.approx(CHINESE.entropy(), rel=1e-12)
    assert characters.expected_length() > CHINESE.expected_length()
    assert characters.sample(5, seed=0) == [list("".join(words)) for words in CHINESE.sample(5, seed=0)]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.floats(0, 0.45), st.integers(0, 2**32))
def test_any_choice_of_weights_gives_probabilities_that_sum_to_one(weights, again, seed):
    total = sum(weights)
    words = tuple((w / total, (f"w{i}",)) for i, w in enumerate(weights))
    rules = {"S": ((1 - again, ("W",)), (again, ("W", "S"))) if again else ((1.0, ("W",)),), "W": words}
    grammar = Grammar(rules)
    entropy_of_word = -sum(p * math.log2(p) for p, _ in words)
    length = 1 / (1 - again)
    choice = -sum(p * math.log2(p) for p in (again, 1 - again) if p)
    assert grammar.expected_length() == pytest.approx(length)
    assert grammar.entropy() == pytest.approx(length * (entropy_of_word + choice), abs=1e-9)
    short = sum(2 ** grammar.logprob(s) for n in (1, 2) for s in itertools.product([w for _, (w,) in words], repeat=n))
    assert short == pytest.approx(1 - again**2)
    assert grammar.logprob(grammar.sample(1, seed=seed)[0]) <= 1e-9


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"S": ((0.5, ("a",)), (0.4, ("b",)))}, "probabilities of S sum to 0.9, expected 1"),
        ({"S": ()}, "probabilities of S sum to 0"),
        ({"S": ((1.5, ("a",)), (-0.5, ("b",)))}, "probability -0.5"),
        ({"S": ((1.0, ("NOUN",)),)}, "S uses NOUN, which has no rules"),
        ({"S": ((1.0, ()),)}, "writes nothing"),
        ({"S": ((1.0, ("",)),)}, "writes nothing"),
        ({"T": ((1.0, ("a",)),)}, "start symbol S has no rules"),
        ({"S": ((1.0, ("a",)),), "X": ((1.0, ("b",)),)}, "X cannot be reached from S"),
        ({"S": ((1.0, ("a", "S")),)}, "no finite expected length"),
        ({"S": ((0.5, ("a",)), (0.5, ("S", "S")))}, "no finite expected length"),
        ({"S": ((0.4, ("a",)), (0.6, ("S", "S")))}, "no finite expected length"),
        ({"S": ((float("nan"), ("a",)),)}, "sum to nan"),
    ],
)
def test_a_grammar_that_is_none_is_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        Grammar(rules)


def test_left_recursion_samples_but_refuses_to_score():
    left = Grammar({"S": ((0.5, ("a",)), (0.5, ("S", "b")))})
    assert left.expected_length() == pytest.approx(2)
    assert left.sample(3, seed=0)[0][0] == "a"
    with pytest.raises(ValueError, match="S can begin with itself"):
        left.logprob(["a", "b"])
