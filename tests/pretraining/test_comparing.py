"""Models from given texts: only the first tokens count, a repeated text teaches less, too little text is refused."""

import pytest

from labkit.corpora import ENGLISH
from labkit.pretraining import ByteTokens, Recipe, pretrain_on

RECIPE = Recipe(tokens="byte", vocabulary=256, context=16, layers=1, heads=2, width=16, steps=60, batch=8, prompt="")
TEXTS = [" ".join(words) for words in ENGLISH.sample(400, seed=0)]
HELD_OUT = " ".join(" ".join(words) for words in ENGLISH.sample(100, seed=1))


def learned(texts, **more):
    return pretrain_on(texts, HELD_OUT, tokenizer=ByteTokens(), recipe=RECIPE, **more)


def test_what_lies_behind_the_tokens_asked_for_is_never_read():
    text = "\n\n".join(TEXTS)
    short = learned([text[:2000]])
    assert learned([text], tokens=2000).losses == short.losses
    assert learned([text], tokens=3000).losses != short.losses


def test_one_sentence_again_and_again_teaches_less_than_many_sentences():
    many, one = learned(TEXTS, tokens=4000), learned([TEXTS[0]] * 400, tokens=4000)
    assert many.stages[-1].loss < one.stages[-1].loss - 0.3
    assert one.losses[-1] < many.losses[-1]


@pytest.mark.parametrize("texts, tokens", [([], None), (["a few words"], None), (["much " * 100], 10_000)])
def test_too_little_text_is_refused_with_both_numbers(texts, tokens):
    with pytest.raises(ValueError, match=r"have [\d,]+ tokens and [\d,]+ are needed"):
        learned(texts, tokens=tokens)
