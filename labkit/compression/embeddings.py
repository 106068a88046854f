"""Embeddings in few bits, and the head that is one: in a small model they are a large part of the file."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.compression.grid import Quantized, dequantize
from labkit.compression.layers import CompressedLinear
from labkit.compression.linear8 import product8


class CompressedEmbedding(CompressedLinear):
    """An embedding that keeps its rows as whole numbers and makes floats of those that are looked up."""

    def _prepare(self) -> None:
        self.register_buffer("row_scale", None, persistent=False)
        if self.zero is None and self.scale.shape[1] == 1:
            self.row_scale = self.scale.expand(self.out_features, 1)[:, 0]

    @property
    def num_embeddings(self) -> int:
        """How many rows there are, as `nn.Embedding` says it."""
        return self.out_features

    @property
    def embedding_dim(self) -> int:
        """How long a row is, as `nn.Embedding` says it."""
        return self.in_features

    @property
    def weight(self) -> Float[Tensor, "rows width"]:
        """All rows as floats, made anew for whoever asks."""
        return dequantize(self.quantized).to(self.dtype)

    def forward(self, ids: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch width"]:
        """The rows of these ids as floats."""
        flat = ids.reshape(-1)
        scale = self.scale if len(self.scale) == 1 else self.scale[flat]
        zero = self.zero if self.zero is None or len(self.zero) == 1 else self.zero[flat]
        rows = dequantize(Quantized(self.codes[flat], scale, zero, self.bits, self.group))
        return rows.view(*ids.shape, self.in_features).to(self.dtype)

    def product(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch rows"]:
        """The product of x with every row: the logits, when the head is this embedding."""
        if self.row_scale is None:
            return nn.functional.linear(x, self.weight.to(x.dtype))
        return product8(x, self.codes, self.row_scale)


class TiedHead(nn.Module):
    """The head of a model whose embedding it shares: the same codes, once in memory and once in the file."""

    def __init__(self, embedding: CompressedEmbedding):
        super().__init__()
        self.embedding = embedding

    @property
    def weight(self) -> Float[Tensor, "vocabulary width"]:
        """The embedding's rows as floats."""
        return self.embedding.weight

    @weight.setter
    def weight(self, weight: Tensor) -> None:
        """Nothing: a model ties its head anew after every move, and this one cannot come loose."""

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """The logits."""
        return self.embedding.product(x)


def embeddings(model: nn.Module) -> dict[str, nn.Embedding]:
    """The embeddings of a model by name.

    >>> list(embeddings(nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 3))))
    ['0']
    """
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Embedding)}


def heads_of(model: nn.Module, embedding: nn.Embedding) -> list[nn.Linear]:
    """The linear layers whose weight is that embedding's."""
    return [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight is embedding.weight]
