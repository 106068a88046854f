"""Generation: a decoder that can only count, the cache that changes nothing but the time, and another library."""

from dataclasses import replace

import pytest
import torch

from labkit.transformer import Config, Decoder, EncoderDecoder, from_gpt2, generate, load_state, translate
from labkit.transformer.generation import choose

GPT = Config(vocabulary=19, context=32, layers=2, heads=4, width=16)
LLAMA = replace(GPT, norm="rms", activation="swiglu", positions="rotary", kv_heads=2, bias=False)


def words(*shape, seed=0):
    return torch.randint(19, shape, generator=torch.Generator().manual_seed(seed))


def wild(config, seed=5, make=Decoder):
    """A model whose likeliest tokens are clear, and differ from place to place."""
    model, draw = make(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.5)
    return model


def counter(context=16):
    """A decoder that after a digit n says n + 1, and after 9 says 0: its blocks add nothing, its head is a shift."""
    model = Decoder(Config(10, context, 1, 1, 10, tied=False, positions="none", norm="rms"))
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.zero_()
        model.tokens.weight.copy_(torch.eye(10))
        model.head.weight.copy_(torch.eye(10).roll(1, dims=0) * 3)
    return model


def test_a_decoder_that_counts_counts():
    assert generate(counter(), torch.tensor([[7], [1]]), 5).tolist() == [[7, 8, 9, 0, 1, 2], [1, 2, 3, 4, 5, 6]]


def test_what_follows_a_stop_is_the_stop_and_generation_ends_when_all_have_stopped():
    found = generate(counter(), torch.tensor([[0, 3], [0, 1]]), 9, stop=4)
    assert found.tolist() == [[0, 3, 4, 4, 4], [0, 1, 2, 3, 4]]


def test_a_stop_in_the_prompt_stops_nothing():
    assert generate(counter(), torch.tensor([[4]]), 3, stop=4).tolist() == [[4, 5, 6, 7]]


def test_no_token_more_is_the_prompt():
    assert torch.equal(generate(counter(), torch.tensor([[4, 2]]), 0), torch.tensor([[4, 2]]))


@pytest.mark.parametrize("config", [GPT, LLAMA, replace(LLAMA, kernel="plain")], ids=["gpt", "llama", "plain"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("prompt", [1, 9])
def test_with_a_cache_the_same_text_comes_out_as_without(config, temperature, prompt):
    model, ids = wild(config), words(3, prompt)
    texts = [
        generate(
            model,
            ids,
            32 - prompt,
            use_cache=use_cache,
            temperature=temperature,
            generator=torch.Generator().manual_seed(1),
        )
        for use_cache in (True, False)
    ]
    assert torch.equal(*texts)
    assert torch.equal(texts[0][:, :prompt], ids)
    assert len(texts[0].unique()) > 5


def test_each_token_is_the_likeliest_after_all_before_it():
    model = wild(GPT)
    text = generate(model, words(2, 4), 20)
    assert torch.equal(model(text[:, :-1]).argmax(dim=-1)[:, 3:], text[:, 4:])


def test_transformers_generates_the_same_text_with_the_same_weights():
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 19, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 4}
    special = {"bos_token_id": None, "eos_token_id": None}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **special)).eval()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.5)
    ours = Decoder(replace(GPT, activation="gelu_tanh"))
    load_state(ours, from_gpt2(theirs.state_dict()))
    ids = words(2, 4)
    everything = torch.ones_like(ids)
    expected = theirs.generate(ids, attention_mask=everything, max_new_tokens=28, do_sample=False, pad_token_id=0)
    assert torch.equal(generate(ours, ids, 28), expected)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    logits, draw = torch.tensor([0.0, 1.0, 2.0, -1.0]), torch.Generator().manual_seed(0)
    for temperature in (0.5, 1.0, 2.0):
        drawn = choose(logits.expand(20_000, 4), temperature=temperature, generator=draw)
        shares = drawn.bincount(minlength=4) / 20_000
        assert torch.allclose(shares, torch.softmax(logits / temperature, dim=-1), atol=0.015)  # 4 deviations


def test_only_the_k_likeliest_are_drawn_and_in_their_proportion():
    logits, draw = torch.tensor([0.0, 1.0, 2.0, -1.0]), torch.Generator().manual_seed(0)
    drawn = choose(logits.expand(20_000, 4), temperature=1.0, top_k=2, generator=draw)
    shares = drawn.bincount(minlength=4) / 20_000
    assert torch.allclose(shares, torch.tensor([0.0, 0.2689, 0.7311, 0.0]), atol=0.015)  # sigmoid(1) is 0.7311


def test_only_the_nucleus_is_drawn_and_in_its_proportion():
    logits, draw = torch.tensor([0.1, 0.5, 0.1, 0.3]).log(), torch.Generator().manual_seed(0)
    drawn = choose(logits.expand(20_000, 4), temperature=1.0, top_p=0.7, generator=draw)
    shares = drawn.bincount(minlength=4) / 20_000
    assert torch.allclose(shares, torch.tensor([0.0, 0.625, 0.0, 0.375]), atol=0.015)


def test_the_nucleus_is_that_of_the_k_likeliest_at_the_temperature():
    # At temperature 1/2 the chances are as 25 : 9 : 4 : 1. Of three, two have 34/38, above 0.88; of all four, 34/39.
    logits, draw = torch.tensor([0.1, 0.5, 0.2, 0.3]).log(), torch.Generator().manual_seed(0)
    found = {}
    for top_k in (3, 4):
        drawn = choose(logits.expand(5_000, 4), temperature=0.5, top_k=top_k, top_p=0.88, generator=draw)
        found[top_k] = set(drawn.tolist())
    assert found == {3: {1, 3}, 4: {1, 3, 2}}


@pytest.mark.parametrize("top_k", [None, 7])
def test_a_nucleus_of_everything_changes_nothing(top_k):
    model, ids = wild(GPT), words(2, 3)
    texts = [
        generate(model, ids, 9, temperature=1, top_k=top_k, generator=torch.Generator().manual_seed(1), **more)
        for more in ({}, {"top_p": None}, {"top_p": 1.0})
    ]
    assert torch.equal(texts[0], texts[1]) and torch.equal(texts[0], texts[2])


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}], ids=str)
def test_of_one_likeliest_token_there_is_no_choice(narrow):
    model, ids = wild(GPT), words(2, 3)
    assert torch.equal(generate(model, ids, 9, temperature=2.0, **narrow), generate(model, ids, 9))


def test_the_generator_decides_what_is_drawn():
    model, ids = Decoder(GPT), words(2, 3)
    texts = [
        generate(model, ids, 20, temperature=1.0, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(texts[0], texts[1]) and not torch.equal(texts[0], texts[2])


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_while_generating_and_as_before_afterwards(training):
    model, ids = wild(replace(GPT, dropout=0.5)).train(training), words(2, 3)
    assert torch.equal(generate(model, ids, 9), generate(model, ids, 9))
    assert model.training == training == model.blocks[0].training


def test_a_failed_generation_leaves_the_model_as_it_was():
    def interrupted(*_):
        raise KeyboardInterrupt

    model = Decoder(replace(GPT, kernel=interrupted))
    with pytest.raises(KeyboardInterrupt):
        generate(model, words(1, 3), 2)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": 30}, "3 tokens of prompt and 30 more must fit the context of 32 tokens"),
        ({"tokens": -1}, "-1 more"),
        ({"temperature": -0.1}, "temperature must not be negative, got -0.1"),
        ({"top_k": 0, "temperature": 1.0}, "top_k must lie between 1 and the vocabulary of 19, got 0"),
        ({"top_k": 20, "temperature": 1.0}, "got 20"),
        ({"top_p": 0, "temperature": 1.0}, "top_p must be above 0 and at most 1, got 0"),
        ({"top_p": 1.5}, "got 1.5"),
        ({"ids": torch.zeros(1, 3)}, "must be a tensor of int64, got torch.float32"),
        ({"ids": torch.zeros(3, dtype=torch.long)}, r"got the shape \(3,\)"),
        ({"ids": torch.zeros(1, 0, dtype=torch.long)}, "at least one of each"),
        ({"ids": torch.full((1, 3), 19)}, "between 0 and 18, got 19"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(Decoder(GPT), **{"ids": words(1, 3), "tokens": 2, **arguments})


@pytest.mark.parametrize("name", ["tokens", "blocks.1.norm2", "norm", "blocks.0.attention.output"])
def test_a_weight_that_is_not_a_number_is_named_instead_of_text(name):
    model = Decoder(GPT)
    with torch.no_grad():
        model.get_submodule(name).weight.view(-1)[1] = torch.nan
    with pytest.raises(ValueError, match=f"{name}.weight holds 1 of .* that are NaN"):
        generate(model, words(1, 3), 4)


def test_logits_that_overflow_are_refused():
    with pytest.raises(ValueError, match="logits are NaN or infinite"):
        choose(torch.tensor([[0.0, torch.inf]]))


def test_a_translation_is_the_likeliest_target_token_by_token():
    model, source = wild(GPT, make=EncoderDecoder), words(2, 7)
    mask = torch.arange(7) < torch.tensor([[4], [7]])
    found = translate(model, source, start=0, tokens=9, source_mask=mask)
    written = torch.cat([torch.zeros(2, 1, dtype=torch.long), found], dim=1)
    assert torch.equal(model(source, written, mask).argmax(dim=-1)[:, :-1], found)


def test_a_translation_ends_with_its_stop():
    model, source = wild(GPT, make=EncoderDecoder), words(1, 7)
    free = translate(model, source, start=0, tokens=9)
    stop = int(free[0, 4])
    first = free[0].tolist().index(stop)
    assert torch.equal(translate(model, source, start=0, tokens=9, stop=stop), free[:, : first + 1])


def test_a_translation_beyond_the_context_is_refused():
    with pytest.raises(ValueError, match="start and 32 tokens more must fit the context of 32"):
        translate(EncoderDecoder(GPT), words(1, 7), start=0, tokens=32)


def test_a_part_that_is_frozen_in_evaluation_is_so_after_writing():
    model = Decoder(Config(vocabulary=16, context=8, layers=1, heads=1, width=4, dropout=0.5)).train()
    model.blocks[0].eval()
    before = [module.training for module in model.modules()]
    generate(model, torch.zeros(1, 2, dtype=torch.long), 2)
    assert [module.training for module in model.modules()] == before
