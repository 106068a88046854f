"""A key-value cache: what a decoder computed for earlier tokens, kept so that the next token costs one row."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class KeyValueCache:
    """Keys and values of one layer, with room for `capacity` tokens taken at once.

    Growing by concatenation copies everything for each token; here a token costs its own row. A cache is for inference:
    what is kept is detached, no gradient flows through it.

    Source: Shazeer, Fast Transformer Decoding (2019), section 2.4.
    """

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: Any = None,
    ):
        if min(batch, kv_heads, capacity, head_dim) < 1:
            sizes = f"batch={batch}, kv_heads={kv_heads}, capacity={capacity}, head_dim={head_dim}"
            raise ValueError(f"a cache needs at least 1 of each, got {sizes}")
        self.keys = torch.zeros(batch, kv_heads, capacity, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    @property
    def capacity(self) -> int:
        """How many tokens there is room for."""
        return self.keys.shape[2]

    @property
    def bytes(self) -> int:
        """Memory of keys and values together, used or not."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def append(
        self,
        key: Float[Tensor, "batch kv_heads tokens head_dim"] | Any,
        value: Float[Tensor, "batch kv_heads tokens head_dim"] | Any,
    ) -> tuple[Float[Tensor, "batch kv_heads keys head_dim"], Float[Tensor, "batch kv_heads keys head_dim"]]:
        """Keep these tokens and give all keys and all values so far, as views.

        Raises:
            ValueError: beyond the capacity, or when batch, heads, dimensions or type of number differ from the cache's.
        """
        end = self._end(key, value)
        self.keys[:, :, self.length : end] = key.detach()
        self.values[:, :, self.length : end] = value.detach()
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def clear(self) -> None:
        """Forget all tokens; the memory stays."""
        self.length = 0

    def _end(self, key: Tensor, value: Tensor) -> int:
        """How many tokens there are with these, if they fit."""
        self._check(key, "key")
        self._check(value, "value")
        if key.shape[2] != value.shape[2]:
            raise ValueError(f"each key needs one value: got {key.shape[2]} keys and {value.shape[2]} values")
        end = self.length + key.shape[2]
        if end > self.capacity:
            room = f"{self.length} of {self.capacity} places are taken"
            raise ValueError(f"no room for {key.shape[2]} more tokens, {room}: make the cache larger or clear() it")
        return end

    def _check(self, x: Tensor, name: str) -> None:
        batch, heads, _, dim = self.keys.shape
        if (x.shape[0], x.shape[1], x.shape[3], x.dtype) != (batch, heads, dim, self.keys.dtype):
            wanted = f"({batch}, {heads}, tokens, {dim}) of {self.keys.dtype}"
            raise ValueError(f"the cache was made for {wanted}, got a {name} {tuple(x.shape)} of {x.dtype}")
