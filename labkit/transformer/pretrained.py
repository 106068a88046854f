"""Real weights in our own models: all-MiniLM-L6-v2 in the encoder, SmolLM2-135M-Instruct in the decoder.

    minilm = load_minilm()
    vectors = embed(minilm, ["A cat sat on the mat.", "A kitten rested on the rug."])

Two packages are needed beyond torch: tokenizers, and for MiniLM safetensors (both in the extra llm-labkit[models]).
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from labkit.corpora import CorpusUnavailable, model_file
from labkit.transformer.config import Config
from labkit.transformer.gguf_weights import read_gguf, unpack
from labkit.transformer.models import Decoder, Encoder
from labkit.transformer.state import load_state

MINILM_TOKENS = 256  # longer texts are cut: the model was used so when it was published
Ids = Int[Tensor, "batch tokens"]

# Our name of each layer of a block -> that of BERT in transformers, and that of Llama in GGUF.
BERT_LAYERS = {
    "attention.output": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "feedforward.up": "intermediate.dense",
    "feedforward.down": "output.dense",
    "norm2": "output.LayerNorm",
}
LLAMA_LAYERS = {
    "norm1": "attn_norm",
    "attention.output": "attn_output",
    "norm2": "ffn_norm",
    "feedforward.gate": "ffn_gate",
    "feedforward.up": "ffn_up",
    "feedforward.down": "ffn_down",
}


@dataclass(frozen=True)
class Pretrained:
    """A model with somebody's weights, its tokenizer (of the package tokenizers), its shape, and where it is from."""

    model: Encoder | Decoder = field(repr=False)
    tokenizer: Any = field(repr=False)
    config: Config
    source: str


def load_minilm(kernel: str | Callable[..., Any] = "plain") -> Pretrained:
    """all-MiniLM-L6-v2, a BERT of 22.7 million weights that was trained to give alike sentences alike vectors.

    Every weight of the file keeps its value: names change, and query, key and value become one matrix.
    Raises:
        CorpusUnavailable: when the files or a package are not to be had; the message says what to do.
    Source: Wang et al. (2020), "MiniLM"; Reimers & Gurevych (2019), "Sentence-BERT"; the model card on Hugging Face.
    """
    tokenizers, safetensors = package("tokenizers"), package("safetensors.torch")
    folder = minilm_folder()
    config = bert_config(json.loads((folder / "config.json").read_text(encoding="utf-8")), kernel)
    model = _filled(Encoder, config, rename_bert(safetensors.load_file(folder / "model.safetensors"), config.layers))
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MINILM_TOKENS)
    return Pretrained(model, tokenizer, config, "all-MiniLM-L6-v2 (Apache-2.0)")


def load_smollm2(kernel: str | Callable[..., Any] = "plain") -> Pretrained:
    """SmolLM2-135M-Instruct, a Llama of 134.5 million weights, unpacked from the 4 bits of its file to float32.

    GGUF stores the rows of Llama's query and key matrices in the order of the RoFormer paper, where dimensions 2i and
    2i + 1 are a pair; `rotary_layout="interleaved"` rotates them so, and the weights stay as they are in the file.
    transformers rotates i with i + d/2 and reorders the rows instead (`to_half_layout` does): the logits are the same.
    Raises:
        CorpusUnavailable: when the file or a package is not to be had; the message says what to do.
    Source: Ben Allal et al. (2025), "SmolLM2"; Touvron et al. (2023), "LLaMA".
    """
    package("tokenizers")
    file = read_gguf(smollm2_file())
    config = llama_config(file.metadata, kernel)
    weights = {name: unpack(packed) for name, packed in file.tensors.items()}
    model = _filled(Decoder, config, rename_llama(weights, config.layers))
    return Pretrained(model, gguf_tokenizer(file.metadata), config, "SmolLM2-135M-Instruct, Q4_1 (Apache-2.0)")


def minilm_folder() -> Path:
    """The folder of MiniLM's files, in the layout of transformers.

    Raises: CorpusUnavailable when they cannot be had.
    """
    return model_file("minilm").parent


def smollm2_file() -> Path:
    """The GGUF file of SmolLM2.

    Raises: CorpusUnavailable when it cannot be had.
    """
    return model_file("smollm2")


def bert_config(published: Mapping[str, Any], kernel: str | Callable[..., Any] = "plain") -> Config:
    """Our shape from BERT's `config.json`."""
    return Config(
        vocabulary=published["vocab_size"],
        context=published["max_position_embeddings"],
        layers=published["num_hidden_layers"],
        heads=published["num_attention_heads"],
        width=published["hidden_size"],
        hidden=published["intermediate_size"],
        norm_eps=published["layer_norm_eps"],
        norm_first=False,
        activation=published["hidden_act"],
        segments=published["type_vocab_size"],
        pooler=True,
        kernel=kernel,
    )


def llama_config(metadata: Mapping[str, Any], kernel: str | Callable[..., Any] = "plain") -> Config:
    """Our shape from the metadata of a GGUF file of the architecture llama."""
    return Config(
        vocabulary=metadata["llama.vocab_size"],
        context=metadata["llama.context_length"],
        layers=metadata["llama.block_count"],
        heads=metadata["llama.attention.head_count"],
        kv_heads=metadata["llama.attention.head_count_kv"],
        width=metadata["llama.embedding_length"],
        hidden=metadata["llama.feed_forward_length"],
        norm="rms",
        norm_eps=metadata["llama.attention.layer_norm_rms_epsilon"],
        activation="swiglu",
        positions="rotary",
        theta=metadata["llama.rope.freq_base"],
        rotary_layout="interleaved",
        bias=False,
        kernel=kernel,
    )


def rename_bert(theirs: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """BERT's weights under our names; queries, keys and values become one matrix: one product instead of three."""
    ours = {
        "tokens.weight": theirs["embeddings.word_embeddings.weight"],
        "positions.weight": theirs["embeddings.position_embeddings.weight"],
        "segments.weight": theirs["embeddings.token_type_embeddings.weight"],
    }
    for part in ("weight", "bias"):
        ours[f"embedding_norm.{part}"] = theirs[f"embeddings.LayerNorm.{part}"]
        ours[f"pooler.{part}"] = theirs[f"pooler.dense.{part}"]
        for i in range(layers):
            block, layer = f"blocks.{i}", f"encoder.layer.{i}"
            separate = [theirs[f"{layer}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            ours[f"{block}.attention.qkv.{part}"] = torch.cat(separate)
            ours |= {f"{block}.{our}.{part}": theirs[f"{layer}.{name}.{part}"] for our, name in BERT_LAYERS.items()}
    return ours


def rename_llama(theirs: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights of a GGUF Llama under our names; the head is the embedding again, so the file has it once."""
    ours = {"tokens.weight": theirs["token_embd.weight"], "norm.weight": theirs["output_norm.weight"]}
    for i in range(layers):
        block, layer = f"blocks.{i}", f"blk.{i}"
        ours[f"{block}.attention.qkv.weight"] = torch.cat([theirs[f"{layer}.attn_{name}.weight"] for name in "qkv"])
        ours |= {f"{block}.{our}.weight": theirs[f"{layer}.{name}.weight"] for our, name in LLAMA_LAYERS.items()}
    return ours


def gguf_tokenizer(metadata: Mapping[str, Any]) -> Any:
    """The byte-level BPE tokenizer in a GGUF file: its vocabulary, its merges, and each digit a token of its own.

    Raises:
        ValueError: for a way of splitting text other than SmolLM's.
    """
    if (found := metadata.get("tokenizer.ggml.pre")) != "smollm":
        raise ValueError(f"the text is to be split in the way {found!r}; only 'smollm' is known here")
    tokenizers = package("tokenizers")
    pieces = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    bpe = tokenizers.models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges)
    tokenizer = tokenizers.Tokenizer(bpe)
    split = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = split.Sequence([split.Digits(individual_digits=True), split.ByteLevel(False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    kinds = metadata["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens([piece for piece, kind in zip(pieces, kinds, strict=True) if kind == 3])
    return tokenizer


def encode(pretrained: Pretrained, text: str) -> Int[Tensor, "1 tokens"]:
    """The ids of a text, as a batch of one; MiniLM's begin with [CLS] and end with [SEP]."""
    return torch.tensor([pretrained.tokenizer.encode(text).ids], dtype=torch.long)  # said, for a text without any


def decode(pretrained: Pretrained, ids: Int[Tensor, "..."]) -> str:
    """The text of the ids of one sequence, without special tokens."""
    return pretrained.tokenizer.decode(ids.flatten().tolist())


def pieces(pretrained: Pretrained, ids: Int[Tensor, "..."]) -> list[str]:
    """Each token by itself as one would write it: ' Paris', '##ing', '[SEP]'; � where a token is half a character."""
    names = [pretrained.tokenizer.id_to_token(i) for i in ids.flatten().tolist()]
    if isinstance(pretrained.model, Encoder):
        return names
    return [pretrained.tokenizer.decode([i], skip_special_tokens=False) for i in ids.flatten().tolist()]


def padded(pretrained: Pretrained, texts: Sequence[str]) -> tuple[Ids, Bool[Tensor, "batch tokens"]]:
    """The ids of several texts, filled up to the longest, and which of them are real.

    Raises:
        ValueError: for a single text, or none.
    """
    if isinstance(texts, str) or not texts:
        raise ValueError(f"texts must be a list of at least one text, got {texts!r}")
    rows = [torch.tensor(row.ids, dtype=torch.long) for row in pretrained.tokenizer.encode_batch(list(texts))]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


@torch.no_grad()
def embed(pretrained: Pretrained, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
    """One vector of length 1 for each text: the mean over its tokens, so that a dot product is a cosine.

    Source: Reimers & Gurevych (2019), "Sentence-BERT", section 3 (mean pooling).
    """
    ids, mask = padded(pretrained, texts)
    hidden = pretrained.model(ids, mask)
    return mean_direction(hidden, mask)


def mean_direction(
    hidden: Float[Tensor, "batch tokens width"], mask: Bool[Tensor, "batch tokens"] | None = None
) -> Float[Tensor, "batch width"]:
    """The mean vector over the real tokens of each text (all, without a mask), scaled to length 1."""
    if mask is None:
        mask = torch.ones_like(hidden[:, :, 0], dtype=torch.bool)
    mean = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return mean / mean.norm(dim=-1, keepdim=True)


def _filled(kind: type[Encoder] | type[Decoder], config: Config, state: dict[str, Tensor]) -> Encoder | Decoder:
    """A model that takes the tensors of `state` themselves: nothing is drawn at random first and nothing copied."""
    with torch.device("meta"):
        model = kind(config, seed=None)
    load_state(model, state)  # refuses what does not fit; nothing can be copied to the meta device
    model.load_state_dict(state, strict=False, assign=True)  # not strict: a tied head has a second name
    return model.eval()


def package(name: str) -> Any:
    """A package that only pretrained models need.

    Raises: CorpusUnavailable when it cannot be imported; the message names the command that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise CorpusUnavailable(
            f"pretrained weights need the package {package}, which does not load here ({error}): pip install {package}"
        ) from error
