"""Linear layers whose weight stays in 8 bits: a quarter of the bytes to read, and reading is most of a token's time."""

from functools import cache

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from labkit.compression.grid import dequantize
from labkit.compression.layers import CompressedLinear

FEW = 16  # rows up to which reading the weight takes the time, and the kernel for few rows is the fastest
LANES = 16  # the kernel reads so many inputs at once, and past the end of the weight when there are others left


def product8(
    x: Float[Tensor, "*batch inputs"],
    codes: Int8[Tensor, "out inputs"],
    scale: Float[Tensor, " out"],
    bias: Float[Tensor, " out"] | None = None,
) -> Float[Tensor, "*batch out"]:
    """x · (scale · codes)ᵀ + bias, without a float copy of the weight when there are few rows.

    Few rows on a CPU: the kernel reads one byte for each weight, and takes x in bfloat16 (8 bits of mantissa: an error
    of about 0.2 %). Many rows, other widths and devices, or a wanted gradient: the codes become floats for this one
    product, of 32 bits where x has float16, in which sums of codes pass 65,504.

    >>> halves = torch.tensor([0.5])
    >>> product8(torch.tensor([[1.0, 2.0]]), torch.tensor([[3, -4]], dtype=torch.int8), halves)
    tensor([[-2.5000]])
    """
    rows, inputs = x.shape[:-1].numel(), x.shape[-1]
    fits = x.device.type == "cpu" and 0 < rows <= FEW and inputs % LANES == 0
    if fits and not (torch.is_grad_enabled() and x.requires_grad):
        few = x.reshape(rows, inputs).bfloat16().contiguous()
        product = torch._weight_int8pack_mm(few, codes, _ones(len(codes)))
        product = product.view(*x.shape[:-1], -1)
    else:
        wide = torch.float32 if x.dtype == torch.float16 else x.dtype
        product = nn.functional.linear(x.to(wide), codes.to(wide))
    return (product * scale if bias is None else torch.addcmul(bias, product, scale)).to(x.dtype)


@cache
def _ones(count: int) -> Tensor:
    """The kernel wants its scales in bfloat16; ours are more exact, and come afterwards."""
    return torch.ones(count, dtype=torch.bfloat16)


class Linear8(CompressedLinear):
    """A linear layer of up to 8 bits, one byte for each weight in memory, as fast as the machine can read them.

    torch's integer kernels (`torch.ops.quantized`) are faster for long inputs, but round those as well, and rest on
    tensors that torch is about to remove.

    Raises:
        ValueError: for a weight with zero points or with steps for groups: `CompressedLinear` takes those.
    """

    def _prepare(self) -> None:
        if self.zero is not None or self.scale.shape[1] != 1:
            raise ValueError(
                f"Linear8 takes a symmetric weight with one step for each row, got steps {tuple(self.scale.shape)}"
                f"{'' if self.zero is None else ' and zero points'}: take CompressedLinear"
            )
        self.register_buffer("row_scale", self.scale.expand(self.out_features, 1)[:, 0], persistent=False)

    @property
    def weight(self) -> Tensor:
        """The weight as floats, made anew for whoever asks."""
        return dequantize(self.quantized).to(self.dtype)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch out"]:
        """What `nn.Linear` gives with the dequantized weight, within 1 %."""
        return product8(x, self.codes, self.row_scale, self.bias)
