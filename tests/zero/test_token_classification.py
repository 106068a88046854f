"""Spans to tags and back, links of real articles, and the scorers that everybody uses."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from labkit import corpora
from labkit.cleaning.scoring import score_spans
from labkit.transformer import Config, Encoder
from labkit.zero import fine_tuning, link_spans
from labkit.zero.link_spans import Dictionary, Passage, Span, read_marked
from labkit.zero.token_classification import Batch, Tagger, first_tokens, frozen_part, spans_of, tags_of


@st.composite
def spans(draw):
    found, start = [], 0
    for gap, length, kind in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("AB")))):
        found.append(Span(start + gap, start + gap + length, kind))
        start = found[-1].end
    return found, start + draw(st.integers(0, 2))


@given(spans())
def test_tags_give_back_their_spans(case):
    found, words = case
    assert spans_of(tags_of(found, words)) == found


@pytest.mark.parametrize("wrong", [[Span(0, 0)], [Span(2, 4)], [Span(0, 2), Span(1, 3)]])
def test_spans_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="does not fit into 3 words, or overlaps"):
        tags_of(wrong, 3)


def test_the_published_example_of_seqeval_scores_one_half():
    gold = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert score_spans([*map(spans_of, found)], [*map(spans_of, gold)]).f1 == 0.5


@given(st.lists(st.tuples(spans(), spans()), min_size=1, max_size=4))
def test_f1_of_spans_is_that_of_scikit_learn_over_all_possible_spans(rows):
    gold, found = [[r[side][0] for r in rows] for side in (0, 1)]
    everything = [(i, span) for i, row in enumerate(rows) for span in {*row[0][0], *row[1][0]}]
    truth, guess = ([span in side[i] for i, span in everything] for side in (gold, found))
    if any(truth) or any(guess):
        assert score_spans(found, gold).f1 == pytest.approx(f1_score(truth, guess, zero_division=0))


def test_only_the_first_token_of_a_word_has_its_label():
    assert first_tokens([None, 0, 0, 1, 2, 2, None], [1, 2, 0]) == [-100, 1, -100, 2, 0, -100, -100]


def test_links_are_read_with_their_ending_and_cut_ones_left_out():
    marked = link_spans.mark_links("In [[Rome]] [[nerve cell]]s and [[Brain|the brain]] [[File:x.png]]")
    passage = read_marked(marked, most=7)
    assert passage.words == ("In", "Rome", "nerve", "cells", "and", "the", "brain")
    assert passage.links == (Span(1, 2), Span(2, 4), Span(5, 7))
    assert read_marked(marked, most=6).links == (Span(1, 2), Span(2, 4))
    assert str(read_marked(link_spans.mark_links("In [[Rome]]"))) == "In «Rome»"


def test_the_dictionary_knows_how_often_a_phrase_was_a_link():
    passages = [Passage(("Rome", "saw", "Rome"), (Span(0, 1),)), Passage(("the", "Rome"), (Span(1, 2),))]
    known = Dictionary(passages, threshold=0.6)
    assert known.keyphraseness == {"rome": pytest.approx(2 / 3)}
    assert known.find(Passage(("of", "rome"), ())) == [Span(1, 2)]
    assert Dictionary(passages, threshold=0.7).find(passages[0]) == []


def test_names_are_runs_of_capitals_that_begin_no_sentence():
    words = ("The", "Holy", "See", "of", "Rome", ".", "It", "is", "Roman")
    assert link_spans.capitalised(Passage(words, ())) == [Span(1, 3), Span(4, 5), Span(8, 9)]


def test_real_passages_have_links_and_no_article_is_on_both_sides():
    try:
        passages = link_spans.linked_passages(40)
    except corpora.CorpusUnavailable as reason:
        pytest.skip(str(reason))
    learn, judge = link_spans.split_articles(passages)
    assert not {p.title for p in learn} & {p.title for p in judge}
    assert len(passages) > 2000
    assert all(tags_of(p.links, len(p.words)) for p in passages)
    assert not any(link_spans.OPEN in word for p in passages for word in p.words)


def without(monkeypatch, tmp_path, *packages):
    """As on a machine without these packages and with nothing in the cache."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_without_wiki_markup_the_task_says_why_and_the_stored_scores_are_shown(monkeypatch, tmp_path):
    without(monkeypatch, tmp_path, "gensim")
    task = fine_tuning.find_task()
    assert task.learn == task.judge == []
    assert "gensim" in task.reason and task.reason.endswith(fine_tuning.STORED)
    assert fine_tuning.why_not(task) == task.reason
    assert list(fine_tuning.rivals(task)) == [fine_tuning.PHRASES, fine_tuning.CAPITALS]


def test_a_gensim_that_does_not_load_is_named_with_the_extra_that_brings_it(monkeypatch, tmp_path):
    without(monkeypatch, tmp_path, "gensim.corpora.wikicorpus")
    monkeypatch.setattr(link_spans, "read_wikipedia_markup", list)
    with pytest.raises(corpora.CorpusUnavailable, match=r"to read wiki markup.*llm-labkit\[text\]"):
        link_spans.linked_passages()


def test_without_minilm_the_reason_is_told(monkeypatch, tmp_path):
    without(monkeypatch, tmp_path, "tokenizers")
    task = fine_tuning.Task([Passage(("a",), ())], [])
    assert "tokenizers" in fine_tuning.why_not(task)


def test_stored_scores_are_those_of_this_course_s_passages():
    task = fine_tuning.find_task()
    if task.reason:
        pytest.skip(task.reason)
    stored = fine_tuning.rivals(fine_tuning.Task(reason="none"))
    assert fine_tuning.rivals(task) == stored
    assert (len(task.learn), len(task.judge)) == (448, 128)
    assert not {p.title for p in task.learn} & {p.title for p in task.judge}
    gold = sum(len(passage.links) for passage in task.judge)
    for lesson in fine_tuning.stored_lessons().values():
        assert lesson.score.true_positives + lesson.score.false_negatives == gold


def test_frozen_and_trained_blocks_together_are_the_encoder():
    encoder = Encoder(Config(vocabulary=9, context=8, layers=3, heads=2, width=16, norm_first=False))
    ids = torch.randint(0, 9, (2, 5))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    batch = Batch(ids, mask, torch.zeros_like(ids), torch.ones_like(ids))
    tagger = Tagger(encoder, labels=3, trained=2)
    with torch.no_grad():
        tagger.capital.weight.zero_()
    logits = tagger(frozen_part(encoder, batch, 2), mask, batch.capitals)
    expected = tagger.label(encoder(ids, mask))
    assert torch.allclose(logits[mask], expected[mask], atol=1e-6)
    assert len(encoder.blocks) == 3


def test_more_blocks_than_there_are_cannot_be_trained():
    with pytest.raises(ValueError, match="1 to 1"):
        Tagger(Encoder(Config(vocabulary=9, context=8, layers=1, heads=2, width=16)), labels=3, trained=2)
