"""The plain training loop: what it learns, that it is AdamW, and what it says when numbers break."""

import math
from itertools import islice

import pytest
import torch
from torch import nn

from labkit.transformer import Config, Decoder, EncoderDecoder, fit, windows

TINY = Config(vocabulary=10, context=16, layers=1, heads=2, width=32)
COUNTING = torch.arange(500) % 10


def test_the_targets_are_the_ids_that_follow():
    for ids, targets in islice(windows(torch.arange(100), 4, 7), 5):
        assert ids.shape == targets.shape == (4, 7)
        assert torch.equal(targets, ids + 1)


def test_every_piece_of_the_text_is_drawn_the_last_one_too():
    starts = {int(ids[0, 0]) for ids, _ in islice(windows(torch.arange(8), 1, 5), 100)}
    assert starts == {0, 1, 2}


def test_the_generator_decides_what_is_drawn():
    def first(seed):
        return next(windows(torch.arange(1000), 4, 7, torch.Generator().manual_seed(seed)))[0]

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def test_a_text_shorter_than_a_piece_is_refused_at_once():
    with pytest.raises(ValueError, match="a piece of 8 tokens and its targets need 9 tokens, got 8"):
        windows(torch.arange(8), 1, 8)


def test_a_decoder_learns_to_count():
    model = Decoder(TINY)
    losses = fit(model, windows(COUNTING, 8, 16), steps=60, lr=1e-2)
    assert len(losses) == 60
    assert losses[0] == pytest.approx(math.log(10), abs=0.1)  # at the start all ten are equally likely
    assert losses[-1] < 0.05


def test_an_encoder_decoder_learns_to_repeat():
    draw = torch.Generator().manual_seed(0)

    def batches():
        while True:
            source = torch.randint(1, 6, (16, 4), generator=draw)
            yield source, torch.cat([torch.zeros(16, 1, dtype=torch.long), source[:, :-1]], dim=1), source

    losses = fit(EncoderDecoder(TINY), batches(), steps=180, lr=5e-3)
    assert losses[-1] < 0.2 < losses[0]


def test_a_step_is_a_step_of_adamw():
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor([1.0]))

        def loss(self, x, y):
            return (self.slope * x - y).square().mean()

    batches = [(torch.tensor([1.0]), torch.tensor([3.0]))] * 3
    ours, theirs = Line(), Line()
    losses = fit(ours, batches, lr=0.1, weight_decay=0.5)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.5, fused=False)
    for x, y in batches:
        optimizer.zero_grad()
        theirs.loss(x, y).backward()
        optimizer.step()
    assert torch.allclose(ours.slope, theirs.slope)
    assert losses[0] == 4.0 and losses == sorted(losses, reverse=True)


def test_training_begins_in_training_mode():
    model = Decoder(TINY).eval()
    fit(model, windows(COUNTING, 2, 4), steps=1)
    assert model.training


def test_no_batches_are_no_losses():
    assert fit(Decoder(TINY), []) == []


@pytest.mark.parametrize("lr", [1e18, 1e30, 1e38])
def test_too_large_a_learning_rate_ends_with_a_word_instead_of_nan(lr):
    with pytest.raises(ValueError, match=r"step [1-9]\d*: x holds|of step [1-9]|before step [1-9]"):
        fit(Decoder(TINY), windows(COUNTING, 2, 4), steps=50, lr=lr)


def test_a_loss_that_is_no_number_is_refused_with_its_step():
    class Broken(Decoder):
        def loss(self, ids, targets):
            return super().loss(ids, targets) * torch.nan

    with pytest.raises(ValueError, match="the loss of step 0 is nan"):
        fit(Broken(TINY), windows(COUNTING, 2, 4), steps=2)


def test_a_weight_that_is_no_number_is_named_before_anything_is_learned():
    model = Decoder(TINY)
    with torch.no_grad():
        model.blocks[0].feedforward.up.weight[0, 0] = torch.nan
    before = model.tokens.weight.clone()
    with pytest.raises(ValueError, match=r"blocks\.0\.feedforward\.up\.weight holds 1 of .* before step 0"):
        fit(model, windows(COUNTING, 2, 4), steps=2)
    assert torch.equal(model.tokens.weight, before)


def test_what_is_wrong_with_a_batch_is_said_as_the_model_says_it():
    with pytest.raises(ValueError, match="step 0: ids must be a tensor of int64"):
        fit(Decoder(TINY), [(torch.zeros(2, 4), torch.zeros(2, 4))])


def test_a_bar_is_shown_when_it_has_a_name_only(capsys):
    fit(Decoder(TINY), windows(COUNTING, 2, 4), steps=2)
    assert capsys.readouterr().err == ""
    fit(Decoder(TINY), windows(COUNTING, 2, 4), steps=2, progress="a tiny GPT")
    assert "a tiny GPT" in capsys.readouterr().err
