"""Measuring variants: perplexity over documents, intervals, bytes on disk and in memory, time that is shared fairly."""

import math
import time

import pytest
import torch
from torch import nn

from labkit.compression.grid import quantize
from labkit.compression.layers import linears
from labkit.compression.measuring import (
    Losses,
    document_losses,
    held_bytes,
    interval,
    latency,
    measure,
    one_token,
    paired,
    peak_bytes,
    size_on_disk,
)
from labkit.compression.whole import compressed
from labkit.transformer import Config, Decoder

TINY = Config(vocabulary=30, context=8, layers=2, heads=2, width=16)


def documents(count=20, longest=30, seed=0):
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, longest, (count,), generator=draw).tolist()
    return [torch.randint(0, 30, (length,), generator=draw) for length in lengths]


def losses_of(nats, tokens):
    return Losses(torch.tensor(nats).double(), torch.tensor(tokens).double())


def test_perplexity_of_documents_by_hand():
    assert losses_of([math.log(2), 3 * math.log(8)], [1, 3]).perplexity == pytest.approx(2**2.5)


def test_each_token_of_each_document_is_predicted_once():
    model, texts = Decoder(TINY), documents()
    found = document_losses(model, texts, batch=3)
    assert found.tokens.tolist() == [len(ids) - 1 for ids in texts]
    for ids, nats in zip(texts, found.nats.tolist(), strict=True):
        if len(ids) <= TINY.context + 1:
            with torch.no_grad():
                logits = model(ids[None, :-1])[0]
            assert nats == pytest.approx(float(nn.functional.cross_entropy(logits, ids[1:], reduction="sum")), rel=1e-4)


def test_the_order_and_the_batches_of_documents_change_nothing():
    model, texts = Decoder(TINY), documents()
    one, other = document_losses(model, texts, batch=1), document_losses(model, texts[::-1], batch=64)
    assert torch.allclose(one.nats, other.nats.flip(0), atol=1e-3)


def test_documents_of_one_token_cost_nothing():
    found = document_losses(Decoder(TINY), [torch.tensor([1]), torch.tensor([1, 2])])
    assert found.tokens.tolist() == [0, 1] and float(found.nats[0]) == 0


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    draw, held = torch.Generator().manual_seed(0), 0
    for trial in range(100):
        nats = 50 * (2 + torch.randn(80, generator=draw).double() / 4)
        low, high = interval(Losses(nats, torch.full((80,), 50.0).double()), draws=400, seed=trial)[1:]
        held += low <= math.exp(2) <= high
    assert 86 <= held <= 100


def test_an_interval_is_the_normal_one_where_the_central_limit_holds():
    draw = torch.Generator().manual_seed(1)
    each = 2 + torch.randn(400, generator=draw).double() / 4
    score, low, high = interval(Losses(each, torch.ones(400).double()))
    around = 1.96 * float(each.std()) / 20
    assert (score, low, high) == pytest.approx(
        (math.exp(each.mean()), math.exp(each.mean() - around), math.exp(each.mean() + around)), rel=0.01
    )


def test_pairs_see_a_difference_that_single_intervals_hide():
    draw = torch.Generator().manual_seed(2)
    hard = 100 * (2 + torch.randn(200, generator=draw).double() / 2)
    tokens = torch.full((200,), 100.0).double()
    base, worse = Losses(hard, tokens), Losses(hard + 1 + torch.randn(200, generator=draw).double(), tokens)
    assert interval(worse)[1] < interval(base)[2]  # they overlap
    ratio, low, high = paired(worse, base)
    assert 1 < low < ratio < high and ratio == pytest.approx(math.exp(0.01), abs=0.003)
    assert paired(base, base) == (1, 1, 1)


def test_intervals_repeat_with_a_seed_and_shrink_with_less_trust():
    losses = losses_of(torch.arange(1.0, 51).tolist(), [10.0] * 50)
    assert interval(losses, seed=3) == interval(losses, seed=3)
    wide, narrow = interval(losses, share=0.95), interval(losses, share=0.5)
    assert wide[1] < narrow[1] < narrow[2] < wide[2]


def test_a_float_model_takes_four_bytes_a_weight_on_disk_and_in_memory():
    model = Decoder(TINY)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert held_bytes(model) == 4 * weights
    assert 4 * weights < size_on_disk(model) < 4 * weights + 4000


def test_compressed_models_are_looked_at_as_they_are_written(tmp_path):
    from labkit.compression.files import save_compressed

    model = Decoder(TINY)
    small = compressed(model, {name: quantize(layer.weight, 8) for name, layer in linears(model).items()})
    assert size_on_disk(small) == save_compressed(small, tmp_path / "x.safetensors").stat().st_size
    assert size_on_disk(small) < 0.75 * size_on_disk(model)


def test_the_peak_counts_what_is_alive_at_one_time():
    nothing, x = nn.Identity(), torch.zeros(1000)

    def one_after_the_other():
        for _ in range(5):
            x + 1

    assert peak_bytes(nothing, one_after_the_other) in (4000, 8000)  # the second is born before the first goes
    assert peak_bytes(nothing, lambda: [x + 1 for _ in range(5)]) == 20_000
    assert peak_bytes(nothing, lambda: x.view(10, 100).T.reshape(-1)[0]) == 4000
    assert peak_bytes(nothing, lambda: x.add_(1)) == 0


def test_the_peak_of_a_model_is_its_weights_and_a_little():
    model = Decoder(TINY)
    found = peak_bytes(model, one_token(model))
    assert held_bytes(model) < found < held_bytes(model) + 50_000
    assert found == peak_bytes(model, one_token(model))


def test_all_runs_take_turns():
    order = []
    times = latency({name: lambda name=name: order.append(name) for name in "abc"}, rounds=3)
    rounds = ["".join(order[i : i + 3]) for i in range(0, 12, 3)]
    assert all(sorted(each) == list("abc") for each in rounds) and len(set(rounds)) > 1
    assert list(times) == list("abc")


def test_a_slow_run_is_seen_and_one_busy_moment_is_not():
    calls = []

    def now_and_then():
        calls.append(0)
        time.sleep(0.05 if len(calls) == 3 else 0)

    times = latency({"slow": lambda: time.sleep(0.004), "busy once": now_and_then}, rounds=7)
    assert times["slow"] >= 4 > times["busy once"]


def test_one_more_token_is_the_same_every_time():
    model = Decoder(TINY)
    step = one_token(model)
    with torch.no_grad():
        whole = model(torch.arange(5)[None])[:, -1:]
    for _ in range(3):
        assert torch.allclose(step(), whole, atol=1e-5)


def test_variants_are_measured_on_the_same_documents():
    model, texts = Decoder(TINY), documents()
    coarse = compressed(model, {name: quantize(layer.weight, 2) for name, layer in linears(model).items()})
    whole, small = measure({"float32": model, "int2": coarse}, texts, sizes={"int2": 123}, rounds=1)
    assert whole.low < whole.score < whole.high and whole.score == document_losses(model, texts).perplexity
    assert (small.name, small.file_bytes, whole.file_bytes) == ("int2", 123, size_on_disk(model))
    assert small.score != whole.score and torch.equal(small.losses.tokens, whole.losses.tokens)
    assert min(whole.latency_ms, whole.tokens_per_s, whole.peak_bytes) > 0


REFUSED = {
    "no documents": (lambda: document_losses(Decoder(TINY), []), "0 documents predict nothing"),
    "documents of a token": (lambda: measure({"a": Decoder(TINY)}, [torch.tensor([3])]), "1 documents predict"),
    "no models": (lambda: measure({}, documents()), "no model at all"),
    "the size of a stranger": (lambda: measure({"a": Decoder(TINY)}, documents(), sizes={"b": 1}), "came for 'b'"),
    "nothing to run": (lambda: latency({}), "got 0 and 9"),
    "no rounds": (lambda: latency({"a": list}, rounds=0), "got 1 and 0"),
    "no trust": (lambda: interval(losses_of([1.0], [1.0]), share=1), "share 1"),
    "no draws": (lambda: interval(losses_of([1.0], [1.0]), draws=0), "0 draws"),
    "other documents": (lambda: paired(losses_of([1.0], [1.0]), losses_of([1.0], [2.0])), "not measured on the same"),
    "fewer documents": (lambda: paired(losses_of([1.0] * 2, [1.0] * 2), losses_of([1.0], [1.0])), "the same documents"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused(name):
    run, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        run()


def test_models_that_were_learning_go_on_learning_afterwards():
    model = Decoder(TINY).train()
    measure({"a": model}, documents(3), rounds=1)
    assert model.training


def test_a_document_that_predicts_nothing_spoils_no_interval():
    texts = [torch.arange(5), torch.tensor([1])]
    losses = document_losses(Decoder(TINY), texts)
    assert all(found == pytest.approx(losses.perplexity) for found in interval(losses))
    assert paired(losses, losses) == (1, 1, 1)


def test_a_model_that_is_hopeless_has_an_infinite_perplexity():
    assert losses_of([1e5], [1.0]).perplexity == math.inf and interval(losses_of([1e5], [1.0])) == (math.inf,) * 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_models_are_added_up_in_single(dtype):
    model = Decoder(Config(vocabulary=30, context=128, layers=1, heads=2, width=16)).to(dtype)
    ids = torch.randint(0, 30, (129,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = nn.functional.cross_entropy(model(ids[None, :-1])[0].double(), ids[1:], reduction="sum")
    assert float(document_losses(model, [ids]).nats[0]) == pytest.approx(float(wanted), rel=1e-5)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="at least 1 window, got -1"):
        document_losses(Decoder(TINY), documents(), batch=-1)


def test_a_run_is_measured_as_often_as_there_are_rounds_and_warmed_up_once():
    calls = []
    latency({"a": lambda: calls.append(0)}, rounds=3)
    assert len(calls) == 4
