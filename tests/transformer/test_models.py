"""The three models: what may influence what, the same numbers as other libraries, and what is refused."""

import copy
import io
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.attention import sinusoidal
from labkit.transformer import Config, Decoder, Encoder, EncoderDecoder, LayerNorm, from_gpt2, load_state

GPT = Config(vocabulary=23, context=16, layers=2, heads=4, width=16)
LLAMA = replace(GPT, norm="rms", activation="swiglu", positions="rotary", kv_heads=2, bias=False)
VARIANTS = {
    "gpt": GPT,
    "llama": LLAMA,
    "interleaved": replace(LLAMA, rotary_layout="interleaved", tied=False, head_dim=6),
    "post-norm": replace(GPT, norm_first=False, activation="relu", positions="sinusoidal"),
    "no positions": replace(GPT, positions="none", activation="gelu_tanh", kv_heads=1),
    "plain": replace(LLAMA, kernel="plain"),
    "tiled": replace(GPT, kernel="tiled"),
}
variants = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def words(*shape, seed=0, vocabulary=23):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def stirred(model, seed=5):
    """A model with weights far from their start, so that nothing is equal by accident."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
    return model.double()


# What may influence what


@variants
@given(place=st.integers(1, 11), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_future_cannot_leak_into_the_past(config, place, seed):
    model, ids = stirred(Decoder(config)), words(2, 12, seed=seed)
    changed = ids.clone()
    changed[:, place:] = words(2, 12 - place, seed=seed + 1)
    changed[:, place] = (ids[:, place] + 1) % 23
    before, after = model(ids), model(changed)
    assert torch.allclose(before[:, :place], after[:, :place], rtol=0, atol=1e-12)
    assert not torch.allclose(before[:, place], after[:, place], atol=1e-6)


@variants
def test_the_past_reaches_every_later_token(config):
    model, ids = stirred(Decoder(config)), words(1, 12)
    changed = ids.clone()
    changed[0, 0] = (ids[0, 0] + 1) % 23
    assert (model(ids) - model(changed)).abs().amax(dim=-1).min() > 1e-6


def test_an_encoder_sees_both_sides():
    model, ids = stirred(Encoder(GPT)), words(1, 12)
    changed = ids.clone()
    changed[0, 6] = (ids[0, 6] + 1) % 23
    assert (model(ids) - model(changed)).abs().amax(dim=-1).min() > 1e-6


def test_the_target_sees_all_of_the_source_and_none_of_its_own_future():
    model, source, target = stirred(EncoderDecoder(GPT)), words(1, 7), words(1, 9, seed=1)
    last, fifth = source.clone(), target.clone()
    last[0, -1] = (source[0, -1] + 1) % 23
    fifth[0, 5] = (target[0, 5] + 1) % 23
    before = model(source, target)
    assert (before - model(last, target)).abs().amax(dim=-1).min() > 1e-6
    assert torch.allclose(before[:, :5], model(source, fifth)[:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(before[:, 5:], model(source, fifth)[:, 5:], atol=1e-6)


@variants
def test_the_rows_of_a_batch_know_nothing_of_each_other(config):
    model, ids = stirred(Decoder(config)), words(3, 12)
    alone = torch.cat([model(row[None]) for row in ids])
    assert torch.allclose(model(ids), alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("config", [GPT, LLAMA, VARIANTS["post-norm"]], ids=["gpt", "llama", "post-norm"])
@pytest.mark.parametrize("make", [Encoder, Decoder])
def test_padding_does_not_matter(config, make):
    model, short = stirred(make(config)), words(1, 5)
    padded = torch.cat([short, words(1, 4, seed=8)], dim=1)
    mask = torch.tensor([[True] * 5 + [False] * 4])
    assert torch.allclose(model(padded, mask=mask)[:, :5], model(short), rtol=0, atol=1e-10)


def test_what_true_means_in_a_mask_can_be_chosen():
    model, ids = stirred(Encoder(GPT)), words(2, 9)
    mask = torch.arange(9) < torch.tensor([[4], [9]])
    assert torch.equal(model(ids, mask), model(ids, ~mask, true_means="ignore"))
    assert not torch.allclose(model(ids, mask)[0], model(ids)[0])


def test_padding_of_the_source_does_not_matter():
    model, source, target = stirred(EncoderDecoder(GPT)), words(1, 5), words(1, 6, seed=1)
    padded, mask = torch.cat([source, words(1, 3, seed=2)], dim=1), torch.tensor([[True] * 5 + [False] * 3])
    assert torch.allclose(model(padded, target, mask), model(source, target), rtol=0, atol=1e-10)


# One computation, several ways


@variants
@pytest.mark.parametrize("steps", [[12], [1] * 12, [5, 1, 1, 4, 1]], ids=str)
def test_logits_with_a_cache_are_those_without(config, steps):
    if config.kernel == "tiled" and len(set(steps)) > 2:
        steps = [5, *[1] * 7]
    model, ids = stirred(Decoder(config)), words(2, 12)
    cache = model.new_cache(2, capacity=12)
    pieces = [model(piece, cache=cache) for piece in ids.split(steps, dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), model(ids), rtol=0, atol=1e-10)
    assert [c.length for c in cache] == [12] * 2


def test_a_cache_has_room_for_the_context_of_its_grouped_heads_and_no_more():
    model = Decoder(LLAMA)
    cache = model.new_cache(3)
    assert sum(c.bytes for c in cache) == 2 * 2 * 3 * 2 * 16 * 4 * 4  # k and v, layers, batch, kv heads, tokens, dim
    model(words(3, 16), cache=cache)
    with pytest.raises(ValueError, match="1 tokens after 16 in the cache are more than the context of 16"):
        model(words(3, 1), cache=cache)


def test_a_cache_for_another_number_of_layers_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Decoder(GPT)(words(1, 3), cache=Decoder(GPT).new_cache(1)[:1])


@variants
def test_the_loss_is_cross_entropy_of_the_logits_with_its_gradients(config):
    model, ids, targets = stirred(Decoder(config)), words(2, 12), words(2, 12, seed=1)
    targets[0, 3:5] = -100
    gradients = []
    for loss in (model.loss(ids, targets), F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())):
        gradients.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@variants
def test_the_stream_unembedded_at_its_end_is_the_models_answer(config):
    model, ids = stirred(Decoder(config)), words(2, 7)
    stream = model.stream(ids)
    assert len(stream) == config.layers + 1
    assert torch.equal(model.unembed(stream[-1]), model(ids))
    assert torch.equal(model.norm(stream[-1]), model.hidden(ids))
    for block, before, after in zip(model.blocks, stream, stream[1:], strict=False):
        assert torch.equal(block(before, causal=True), after)


@pytest.mark.parametrize("make", [Encoder, Decoder])
def test_attention_maps_are_what_the_layers_attend_with(make):
    seen = []

    def kernel(query, key, value, mask, causal):
        allowed = torch.ones(9, 9).tril().bool() if causal else mask
        scores = query @ key.transpose(-1, -2) / 2
        seen.append((scores if allowed is None else scores.masked_fill(~allowed, -torch.inf)).softmax(dim=-1))
        return seen[-1] @ value

    model, ids = stirred(make(replace(GPT, kernel=kernel))), words(2, 9)
    mask = None if make is Decoder else torch.arange(9) < torch.tensor([[4], [9]])
    model(ids, mask=mask)
    maps = model.attention_maps(ids, mask)
    assert [m.shape for m in maps] == [(2, 4, 9, 9)] * 2
    for ours, theirs in zip(maps, seen, strict=False):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["plain", "tiled"])
@pytest.mark.parametrize("config", [GPT, LLAMA], ids=["gpt", "llama"])
def test_every_kernel_gives_the_same_logits(config, kernel):
    fused, other, ids = stirred(Decoder(config)), stirred(Decoder(replace(config, kernel=kernel))), words(2, 12)
    assert torch.allclose(fused(ids), other(ids), rtol=0, atol=1e-10)


def test_dropout_is_for_training_only():
    model, ids = Decoder(replace(GPT, dropout=0.3)), words(2, 7)
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))


@pytest.mark.parametrize("make", [Encoder, Decoder])
def test_half_precision_runs(make):
    assert make(LLAMA).bfloat16()(words(2, 9)).dtype == torch.bfloat16


# The head and the embedding


def moved(model):
    return model.double().float()


def pickled(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def assigned(model):
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return model


def emptied(model):
    state = model.state_dict()
    with torch.device("meta"):
        empty = Decoder(model.config).to_empty(device="cpu")
    load_state(empty, state)
    return empty


@pytest.mark.parametrize("change", [moved, copy.deepcopy, pickled, assigned, emptied])
def test_a_tied_head_stays_tied_and_an_untied_one_free(change):
    model, ids = Decoder(GPT), words(2, 9)
    changed = change(model)
    assert changed.head.weight is changed.tokens.weight
    assert torch.equal(changed(ids), model(ids))
    changed.loss(ids, ids).backward()
    torch.optim.SGD(changed.parameters(), lr=1.0).step()
    assert torch.equal(changed.head.weight, changed.tokens.weight)
    free = change(Decoder(replace(GPT, tied=False)))
    assert free.head.weight is not free.tokens.weight and not torch.equal(free.head.weight, free.tokens.weight)


# Positions and segments


def test_sinusoids_are_added_to_embeddings_of_their_own_size():
    # Vaswani et al., section 3.4: in the embedding layers the weights are multiplied by √d_model
    model, ids = Decoder(VARIANTS["post-norm"]), words(1, 3)
    assert torch.allclose(model.stream(ids)[0][0], model.tokens.weight[ids[0]] * 4 + sinusoidal(3, 16), atol=1e-6)


@pytest.mark.parametrize(("positions", "matters"), [("none", False), ("rotary", True), ("learned", True)])
def test_without_positions_a_set_of_words_is_read(positions, matters):
    model, ids = stirred(Encoder(replace(GPT, positions=positions))), words(1, 7)
    same = torch.allclose(model(ids.flip(1)).flip(1), model(ids), rtol=0, atol=1e-8)
    assert same != matters


def test_segments_are_added_and_the_first_is_taken_when_none_is_named():
    model, ids = stirred(Encoder(replace(GPT, segments=2))), words(2, 5)
    zero = torch.zeros_like(ids)
    assert torch.equal(model(ids), model(ids, segments=zero))
    difference = model.stream(ids, segments=zero + 1)[0] - model.stream(ids, segments=zero)[0]
    assert torch.allclose(difference, (model.segments.weight[1] - model.segments.weight[0]).expand(2, 5, 16))


# Other libraries


def renamed(weights, names):
    found = {}
    for name, weight in weights.items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        found[name] = weight
    return found


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


def random_weights(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model.double().eval()


@pytest.mark.parametrize("prefix", ["lm", "base"])
def test_gpt2_of_transformers_gives_the_same_logits_with_the_same_weights(transformers, prefix):
    sizes = {"vocab_size": 23, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 4}
    special = {"bos_token_id": None, "eos_token_id": None}
    theirs = random_weights(transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **special)))
    ours = Decoder(replace(GPT, activation="gelu_tanh")).double()
    load_state(ours, from_gpt2((theirs if prefix == "lm" else theirs.transformer).state_dict()))
    ids = words(2, 16)
    expected = theirs(ids).logits
    assert torch.allclose(ours(ids), expected, rtol=0, atol=1e-10)
    assert ours.loss(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(theirs(ids, labels=ids).loss.item(), rel=1e-6)


LLAMA_NAMES = {
    "model.embed_tokens": "tokens",
    "model.layers": "blocks",
    "model.norm": "norm",
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
    "self_attn.o_proj": "attention.output",
    "mlp.gate_proj": "feedforward.gate",
    "mlp.up_proj": "feedforward.up",
    "mlp.down_proj": "feedforward.down",
    "lm_head": "head",
}


@pytest.mark.parametrize("tied", [True, False])
def test_llama_of_transformers_gives_the_same_logits_with_the_same_weights(transformers, tied):
    shape = {"vocab_size": 23, "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16}
    rest = {
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
        "rope_parameters": {"rope_theta": 1e5, "rope_type": "default"},
    }
    theirs = random_weights(transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **heads, **rest)))
    state = renamed(theirs.state_dict(), LLAMA_NAMES)
    for n in range(2):
        parts = [state.pop(f"blocks.{n}.self_attn.{x}_proj.weight") for x in "qkv"]
        state[f"blocks.{n}.attention.qkv.weight"] = torch.cat(parts)
    ours = Decoder(replace(LLAMA, theta=1e5, hidden=64, tied=tied)).double()
    load_state(ours, state)
    ids = words(2, 16)
    assert torch.allclose(ours(ids), theirs(ids).logits, rtol=0, atol=1e-6)  # theirs turns in float32


BERT_NAMES = {
    "embeddings.word_embeddings": "tokens",
    "embeddings.position_embeddings.weight": "positions.weight",
    "embeddings.token_type_embeddings": "segments",
    "embeddings.LayerNorm": "embedding_norm",
    "encoder.layer.": "blocks.",
    "attention.output.LayerNorm": "norm1",
    "output.LayerNorm": "norm2",
    "attention.output.dense": "attention.output_",
    "intermediate.dense": "feedforward.up",
    ".output.dense": ".feedforward.down",
    "attention.output_": "attention.output",
    "pooler.dense": "pooler",
}


def test_bert_of_transformers_gives_the_same_vectors_with_the_same_weights(transformers):
    shape = {"vocab_size": 23, "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2}
    theirs = transformers.BertModel(
        transformers.BertConfig(**shape, num_attention_heads=4, max_position_embeddings=16, layer_norm_eps=1e-12)
    )
    theirs = random_weights(theirs)
    state = renamed(theirs.state_dict(), BERT_NAMES)
    for n in range(2):
        for kind in ("weight", "bias"):
            parts = [state.pop(f"blocks.{n}.attention.self.{x}.{kind}") for x in ("query", "key", "value")]
            state[f"blocks.{n}.attention.qkv.{kind}"] = torch.cat(parts)
    ours = Encoder(replace(GPT, norm_first=False, norm_eps=1e-12, segments=2, pooler=True)).double()
    load_state(ours, state)
    ids, mask = words(2, 9), torch.arange(9) < torch.tensor([[4], [9]])
    segments = (torch.arange(9) > 2).long().expand(2, 9)
    expected = theirs(ids, mask, segments)
    found = ours(ids, mask, segments=segments)
    assert torch.allclose(found, expected.last_hidden_state, rtol=0, atol=1e-10)
    assert torch.allclose(ours.pool(found), expected.pooler_output, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_the_encoder_decoder_is_torchs_transformer_with_the_same_weights():
    theirs = random_weights(nn.Transformer(16, 4, 2, 2, 64, 0.0, batch_first=True, norm_first=True, activation="gelu"))
    ours = stirred(EncoderDecoder(GPT))
    names = {
        "encoder.layers": "encoder_blocks",
        "decoder.layers": "blocks",
        "encoder.norm": "encoder_norm",
        "decoder.norm": "norm",
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj": "attention.output",
        "multihead_attn.in_proj_": "cross.qkv.",
        "multihead_attn.out_proj": "cross.output",
        "linear1": "feedforward.up",
        "linear2": "feedforward.down",
    }
    decoder = {f".{n}.norm2": f".{n}.norm_cross" for n in range(2)} | {".norm3": ".norm2"}
    state = {}
    for name, weight in renamed(theirs.state_dict(), names).items():
        state |= renamed({name: weight}, decoder if name.startswith("blocks") else {})
    own = {name: weight for name, weight in ours.state_dict().items() if name not in state}
    load_state(ours, state | own)
    source, target = words(2, 7), words(2, 5, seed=1)
    read, written = (ours.tokens(x) + ours.positions(torch.arange(x.shape[1])) for x in (source, target))
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = theirs(read, written, tgt_mask=causal) @ ours.tokens.weight.T
    assert torch.allclose(ours(source, target), expected, rtol=0, atol=1e-10)


def test_forward_is_encode_then_decode_and_the_loss_is_of_its_logits():
    model, source, target, targets = stirred(EncoderDecoder(GPT)), words(2, 7), words(2, 5, seed=1), words(2, 5, seed=2)
    mask = torch.arange(7) < torch.tensor([[4], [7]])
    logits = model(source, target, mask)
    assert torch.equal(model.decode(target, model.encode(source, mask), mask), logits)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert torch.allclose(model.loss(source, target, targets, mask), expected, rtol=0, atol=1e-12)


def test_only_pre_norm_models_have_a_final_norm_and_only_a_post_norm_encoder_norms_its_embeddings():
    assert isinstance(Decoder(GPT).norm, LayerNorm)
    assert isinstance(Decoder(VARIANTS["post-norm"]).norm, nn.Identity)
    assert isinstance(Encoder(GPT).embedding_norm, nn.Identity)
    assert isinstance(Encoder(VARIANTS["post-norm"]).embedding_norm, LayerNorm)


# What is refused


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(2, 5), "must be a tensor of int64, got torch.float32"),
        (torch.zeros(2, 5, dtype=torch.bool), "got torch.bool"),
        ([[1, 2]], "got list"),
        (torch.zeros(5, dtype=torch.long), r"must be \(batch, tokens\), .* got the shape \(5,\)"),
        (torch.zeros(2, 0, dtype=torch.long), r"at least one of each, got the shape \(2, 0\)"),
        (torch.full((2, 5), 23), "between 0 and 22, got 23: check tokenizer and vocabulary"),
        (torch.full((2, 5), -100), "between 0 and 22, got -100"),
        (torch.zeros(2, 17, dtype=torch.long), "17 tokens are more than the context of 16: shorten"),
    ],
)
@pytest.mark.parametrize("make", [Encoder, Decoder, EncoderDecoder])
def test_ids_that_cannot_be_are_refused_by_every_model(make, ids, message):
    model, good = make(GPT), words(2, 5)
    for arguments in [(ids,)] if make is not EncoderDecoder else [(ids, good), (good, ids)]:
        with pytest.raises(ValueError, match=message):
            model(*arguments)


@pytest.mark.parametrize("make", [Decoder, EncoderDecoder])
@pytest.mark.parametrize("extra", [{"segments": 2}, {"pooler": True}])
def test_what_only_an_encoder_has_is_refused_by_the_others(make, extra):
    with pytest.raises(ValueError, match="no segments and no pooler"):
        make(replace(GPT, **extra))


def test_segments_and_pooler_must_have_been_asked_for_and_must_fit():
    ids = words(2, 5)
    with pytest.raises(ValueError, match="no segments: build it from a Config with segments=2"):
        Encoder(GPT)(ids, segments=ids)
    with pytest.raises(ValueError, match="no pooler: build it from a Config with pooler=True"):
        Encoder(GPT).pool(torch.zeros(2, 5, 16))
    model = Encoder(replace(GPT, segments=2))
    with pytest.raises(ValueError, match="segments must lie between 0 and 1, got 2"):
        model(ids, segments=torch.full_like(ids, 2))
    with pytest.raises(ValueError, match=r"each id needs one segment: ids \(2, 5\), segments \(2, 4\)"):
        model(ids, segments=ids[:, :4])


def test_a_sentence_of_nothing_but_padding_is_refused():
    with pytest.raises(ValueError, match="may look at no key"):
        Encoder(GPT)(words(2, 5), torch.tensor([[True] * 5, [False] * 5]))


def test_a_weight_that_is_not_a_number_is_noticed_on_the_way():
    model = Decoder(GPT)
    with torch.no_grad():
        model.blocks[0].feedforward.down.bias[0] = torch.nan
    with pytest.raises(ValueError, match="x holds nan"):
        model(words(2, 5))
