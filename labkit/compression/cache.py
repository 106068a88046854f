"""A key-value cache in few bits: keys per channel, values per token, the newest tokens as they are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.attention import KeyValueCache, holds
from labkit.compression.packing import pack_row, unpack_row
from labkit.transformer import Decoder
from labkit.transformer.generation import evaluating

BITS = (2, 4, 8)
LAYOUTS = ("channel", "token")


def fit(x: Float[Tensor, "..."], bits: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes 0 … 2^b − 1 between the least and the largest number along `dim`, that least number, and the step.

    0 need not be on this grid: a channel of keys between 5 and 7 gets all its codes between 5 and 7.

    Source: Liu et al. (2024), "KIVI", section 3.1.

    >>> [round(float(part), 3) for part in fit(torch.tensor([5.0, 7.0]), 2, -1)[1:]]
    [5.0, 0.667]
    """
    low, high = torch.aminmax(x, dim=dim, keepdim=True)
    step = ((high - low) / (2**bits - 1)).half()
    low, step = low.half(), torch.where(step > 0, step, torch.ones_like(step))
    codes = ((x - low.float()) / step.float()).round_().clamp_(0, 2**bits - 1)
    return codes.to(torch.uint8), low, step


class Store:
    """Room for groups of tokens of the keys, or of the values, in few bits; a step and a least number for each range.

    `along` says what shares a range: "channel" the tokens of a group in one channel, "token" the channels of one token.
    """

    def __init__(self, sizes: tuple[int, int, int, int], bits: int, group: int, along: str, device: Any):
        batch, heads, groups, dim = sizes
        self.bits, self.along, self.dim = bits, along, dim
        self.inside = group if dim % group == 0 else dim  # channels of one token that share a range
        whole = batch, heads, groups, group
        ranges = (*whole[:3], 1, dim) if along == "channel" else (*whole, dim // self.inside, 1)
        self.packed = torch.zeros(*whole, dim * bits // 8, dtype=torch.uint8, device=device)
        self.low = torch.zeros(*ranges, dtype=torch.float16, device=device)
        self.step = torch.zeros_like(self.low)

    @property
    def bytes(self) -> int:
        """Memory of codes, steps and least numbers."""
        return self.packed.nbytes + self.low.nbytes + self.step.nbytes

    def write(self, start: int, x: Float[Tensor, "batch heads groups group dim"]) -> None:
        """Keep whole groups of tokens from group `start` on."""
        end = start + x.shape[2]
        channels = self.along == "channel"
        x = x.float() if channels else x.float().unflatten(-1, (-1, self.inside))
        codes, self.low[:, :, start:end], self.step[:, :, start:end] = fit(x, self.bits, -2 if channels else -1)
        self.packed[:, :, start:end] = pack_row(codes if channels else codes.flatten(-2), self.bits)

    def read(self, end: int, dtype: torch.dtype) -> Float[Tensor, "batch heads tokens dim"]:
        """The tokens of the first `end` groups."""
        codes = unpack_row(self.packed[:, :, :end], self.bits)
        if self.along == "token":
            codes = codes.unflatten(-1, (-1, self.inside))
        x = codes * self.step[:, :, :end].float() + self.low[:, :, :end].float()
        return x.to(dtype).reshape(*x.shape[:2], -1, self.dim)


class QuantizedCache(KeyValueCache):
    """A key-value cache in 8, 4 or 2 bits; as soon as `group` new tokens have come, they are rounded together.

    Keys are large in the same few channels for every token, so tokens share a range within a channel ("channel");
    values are not, and share one within a token. Until a group is full its tokens stay as they came.

    Source: Liu et al. (2024), "KIVI: a tuning-free asymmetric 2-bit quantization for KV cache", section 3.

    Raises:
        ValueError: for other bits or layouts, or a size of a head that does not fill bytes.
    """

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: Any = None,
        *,
        bits: Any = 4,
        keys: Any = "channel",
        group: Any = 32,
    ):
        _refuse_settings(bits, keys, group)
        if head_dim * bits % 8:
            raise ValueError(f"a head must fill whole bytes: {head_dim} numbers of {bits} bits do not")
        group = min(group, capacity)
        self.room, self.group = capacity, group
        super().__init__(batch, kv_heads, group, head_dim, dtype, device)  # what is not yet rounded
        sizes = batch, kv_heads, capacity // group, head_dim
        self.stored_keys = Store(sizes, bits, group, keys, device)
        self.stored_values = Store(sizes, bits, group, "token", device)

    @property
    def capacity(self) -> int:
        """How many tokens there is room for."""
        return self.room

    @property
    def length(self) -> int:
        """How many tokens are kept. Setting it forgets those behind.

        Tokens of a group that had been rounded come back as they were rounded, and are waiting again.
        """
        return self.kept

    @length.setter
    def length(self, length: int) -> None:
        """Forget the tokens behind the first `length`."""
        kept = getattr(self, "kept", 0)
        if not 0 <= length <= kept:
            raise ValueError(f"{kept} tokens are kept, so that a length of {length} cannot be: append tokens instead")
        if length % self.group and length // self.group < kept // self.group:
            whole = length // self.group
            for recent, store in ((self.keys, self.stored_keys), (self.values, self.stored_values)):
                again = store.read(whole + 1, recent.dtype)[:, :, whole * self.group : length]
                recent[:, :, : again.shape[2]] = again
        self.kept = length

    @property
    def bytes(self) -> int:
        """Memory of all that is kept, used or not: codes, ranges, and the newest tokens."""
        return self.stored_keys.bytes + self.stored_values.bytes + self.keys.nbytes + self.values.nbytes

    def append(
        self,
        key: Float[Tensor, "batch kv_heads tokens head_dim"] | Any,
        value: Float[Tensor, "batch kv_heads tokens head_dim"] | Any,
    ) -> tuple[Float[Tensor, "batch kv_heads keys head_dim"], Float[Tensor, "batch kv_heads keys head_dim"]]:
        """Keep these tokens and give all keys and all values so far, as they can be read back.

        Raises:
            ValueError: beyond the capacity, for another shape or type of number, or for what float16 cannot hold.
        """
        end = self._end(key, value)
        for x in (key, value):  # both, before anything is kept
            _refuse_too_large(x)
        both = zip((key, value), (self.keys, self.values), (self.stored_keys, self.stored_values), strict=True)
        read = [self._keep(x.detach(), recent, store) for x, recent, store in both]
        self.kept = end
        return read[0], read[1]

    def _keep(self, x: Tensor, recent: Tensor, store: Store) -> Tensor:
        """Round whole groups, keep the rest, and read everything."""
        before, waiting = divmod(self.length, self.group)
        x = torch.cat([recent[:, :, :waiting], x], dim=2)
        whole, rest = divmod(x.shape[2], self.group)
        full = whole * self.group
        if whole:
            store.write(before, x[:, :, :full].unflatten(2, (whole, self.group)))
        recent[:, :, :rest] = x[:, :, full:]
        return torch.cat([store.read(before + whole, x.dtype), recent[:, :, :rest]], dim=2)


def _refuse_settings(bits: Any, keys: Any, group: Any) -> None:
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (bits, group))
    if not whole or bits not in BITS or keys not in LAYOUTS or group < 1:
        raise ValueError(
            f"bits must be 2, 4 or 8, keys 'channel' or 'token', and group a whole number from 1; "
            f"got bits={bits!r}, keys={keys!r}, group={group!r}"
        )


def _refuse_too_large(x: Tensor) -> None:
    if not holds(x, lambda x: x.abs().amax() < torch.finfo(torch.float16).max if x.numel() else x.sum() == 0):
        raise ValueError("a key or a value is NaN or beyond 65,504, which the cache cannot hold: look at the weights")


def new_quantized_cache(
    model: Decoder, batch: int, capacity: int | None = None, *, bits: Any = 4, keys: Any = "channel", group: Any = 32
) -> list[KeyValueCache]:
    """Room for the keys and values of `capacity` tokens (the context if left out), one cache per layer, in few bits."""
    config, weight = model.config, model.tokens.weight
    size = (batch, config.kv_heads, capacity or config.context, config.head_dim, weight.dtype, weight.device)
    return [QuantizedCache(*size, bits=bits, keys=keys, group=group) for _ in model.blocks]


@contextmanager
def quantized_cache(model: Decoder, bits: Any = 4, *, keys: Any = "channel", group: Any = 32) -> Iterator[Decoder]:
    """The model with a cache in few bits wherever it would make a new one: in `generate`, for a while.

    with quantized_cache(model, bits=4): generate(model, ids, 20)

    Raises:
        ValueError: for other bits or layouts.
    """
    _refuse_settings(bits, keys, group)
    before = vars(model).get("new_cache")  # of another `with` around this one

    def new_cache(batch: int, capacity: int | None = None) -> list[KeyValueCache]:
        return new_quantized_cache(model, batch, capacity, bits=bits, keys=keys, group=group)

    model.new_cache = new_cache
    try:
        yield model
    finally:
        del model.new_cache
        if before is not None:
            model.new_cache = before


@torch.no_grad()
def cached_perplexity(
    model: Decoder,
    inputs: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, "batch tokens"],
    caches: Sequence[KeyValueCache] | None = None,
) -> float:
    """exp of the mean cross entropy, when every token attends to keys and values as they are read from the caches."""
    with evaluating(model):
        logits = model(inputs, cache=caches)
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).exp())


def rounding_error(kept: Sequence[KeyValueCache], *, bits: Any = 4, keys: Any = "channel", group: Any = 32) -> float:
    """Squared error of the keys of float caches when they are rounded, over the sum of their squares."""
    lost = whole = 0.0
    for cache in kept:
        key, value = cache.keys[:, :, : cache.length], cache.values[:, :, : cache.length]
        batch, heads, length, dim = key.shape
        rounded = QuantizedCache(
            batch, heads, length, dim, key.dtype, key.device, bits=bits, keys=keys, group=min(group, length)
        )
        lost += float((rounded.append(key, value)[0] - key).float().square().sum())
        whole += float(key.float().square().sum())
    return lost / whole if whole else 0.0
