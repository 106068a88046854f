"""Queries and keys for a sentence that somebody types, made by rules that can be said in words: attention unlearned."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.attention.positions import sinusoidal

HEADS = ("same word", "previous word", "untrained")


def word_vectors(words: Sequence[str], dim: int, salt: str = "") -> Float[Tensor, "words {dim}"]:
    """Give every word its own random vector of variance one: the same word always gets the same vector.

    >>> the, cat, again = word_vectors(["the", "cat", "The"], dim=8)
    >>> bool((the == again).all()), bool((the == cat).all())
    (True, False)
    """
    seeds = [crc32(f"{salt}{word.lower()}".encode()) for word in words]
    drawn = [torch.randn(dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn) if drawn else torch.empty(0, dim)


def head_vectors(
    words: Sequence[str], dim: int, head: str | Any = "same word"
) -> tuple[Float[Tensor, "words {dim}"], Float[Tensor, "words {dim}"]]:
    """Give queries and keys of one head, all of variance about one.

    - "same word": a word asks for its own vector, so it finds itself and its repetitions.
    - "previous word": position t asks for the sinusoidal code of t − 1.
    - "untrained": queries and keys are random and know nothing of each other.

    Raises:
        ValueError: if there is no such head.
    """
    if head == "same word":
        return word_vectors(words, dim), word_vectors(words, dim)
    if head == "previous word":
        codes = 2**0.5 * sinusoidal(torch.arange(-1, len(words)), dim)
        return codes[:-1], codes[1:]
    if head == "untrained":
        return word_vectors(words, dim, salt="query "), word_vectors(words, dim, salt="key ")
    raise ValueError(f"the head is {head!r}; it must be one of {', '.join(map(repr, HEADS))}")
