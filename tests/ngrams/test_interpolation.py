"""Weights fitted by expectation maximisation."""

import numpy as np
import pytest

from labkit.ngrams import LinearInterpolation, NGramModel, fit_weights

WORDS = ["a", "b", "c", "d", "e", "f"]


def text(seed, sentences=60):
    draw = np.random.default_rng(seed)
    return [[WORDS[min(5, int(draw.zipf(1.6)) - 1)] for _ in range(8)] for _ in range(sentences)]


def test_no_step_makes_the_held_out_text_less_probable():
    fitted = fit_weights(NGramModel(3).fit(text(0)), text(1))
    assert (np.diff(fitted.entropy) <= 1e-12).all()


def test_the_entropy_it_reports_is_that_of_the_smoothed_model():
    train, held_out = text(0), text(1)
    fitted = fit_weights(NGramModel(3).fit(train), held_out, steps=200, tolerance=1e-13)
    model = NGramModel(3, smoothing=LinearInterpolation(fitted.weights)).fit(train)
    assert np.isclose(model.entropy(held_out), fitted.entropy[-1], rtol=1e-6)


def test_fitted_weights_beat_every_neighbour():
    train, held_out = text(0), text(1)
    model = NGramModel(2).fit(train)
    best = fit_weights(model, held_out, steps=500, tolerance=1e-14).weights

    def entropy(weights):
        return NGramModel(2, smoothing=LinearInterpolation(tuple(weights))).fit(train).entropy(held_out)

    for change in ([0.02, 0], [-0.02, 0], [0, 0.02], [0, -0.02]):
        assert entropy(np.clip(np.array(best) + change, 0, 1)) >= entropy(best) - 1e-9


def test_on_its_own_training_text_the_highest_order_takes_all():
    train = text(0)
    assert fit_weights(NGramModel(3).fit(train), train, steps=300).weights[-1] > 0.9


def test_without_held_out_text_there_is_nothing_to_fit():
    with pytest.raises(ValueError, match="no held-out token"):
        fit_weights(NGramModel(2).fit(text(0)), [])
