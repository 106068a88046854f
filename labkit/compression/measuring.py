"""What a model is worth and what it costs, measured for all variants alike: quality with an interval, bytes, time."""

import random
import statistics
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from labkit.compression.files import save_compressed
from labkit.pretraining.measuring import sliding_windows
from labkit.transformer import Decoder
from labkit.transformer.generation import evaluating
from labkit.transformer.loss import IGNORED

Documents = Sequence[Int[Tensor, "..."]]  # each of its own length


@dataclass(frozen=True)
class Losses:
    """Of each document the nats that its tokens cost together, and how many were predicted."""

    nats: Float[Tensor, " documents"] = field(repr=False)
    tokens: Float[Tensor, " documents"] = field(repr=False)

    @property
    def perplexity(self) -> float:
        """e to the nats of an average token of all documents."""
        return float(torch.exp(self.nats.sum() / self.tokens.sum()))  # infinite where math.exp gives up


@dataclass(frozen=True)
class Measured:
    """One variant: its score with an interval, its file, and its memory and time for one token more."""

    name: str
    score: float
    low: float
    high: float
    file_bytes: int
    peak_bytes: int
    latency_ms: float
    tokens_per_s: float
    losses: Losses | None = field(default=None, repr=False, compare=False)


@torch.no_grad()
def document_losses(model: nn.Module, documents: Documents, batch: int = 64) -> Losses:
    """What each document costs the model; a long one is cut into windows of the context, each token predicted once.

    Raises:
        ValueError: for no documents, none with two tokens, or no batch.
    """
    _refuse_none(documents)
    if batch < 1:
        raise ValueError(f"a batch has at least 1 window, got {batch}")
    context, device = model.config.context, _tensors(model)[0].device
    pieces = []
    for which, ids in enumerate(documents):
        if len(ids) > 1:
            windows = sliding_windows(ids, context, context, 1)
            pieces += [(which, inputs[0], targets[0]) for inputs, targets in windows]
    pieces.sort(key=lambda piece: len(piece[1]))  # windows of about one length go together, with little padding
    nats, tokens = torch.zeros(len(documents)).double(), torch.zeros(len(documents)).double()
    with evaluating(model):
        for start in range(0, len(pieces), batch):
            owners, inputs, targets = zip(*pieces[start : start + batch], strict=True)
            padded = [nn.utils.rnn.pad_sequence(list(x), True, fill) for x, fill in ((inputs, 0), (targets, IGNORED))]
            logits = model(padded[0].to(device)).flatten(0, 1)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # sums of many need the digits
            wanted = padded[1].to(device)
            cost = nn.functional.cross_entropy(logits, wanted.flatten(), ignore_index=IGNORED, reduction="none")
            each = cost.view(wanted.shape).sum(dim=1)
            nats.index_add_(0, torch.tensor(owners), each.cpu().double())
            tokens.index_add_(0, torch.tensor(owners), (padded[1] != IGNORED).sum(1).double())
    return Losses(nats, tokens)


def interval(
    losses: Losses, *, draws: int = 2000, share: float | int = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The perplexity, and between which two it lies in `share` of the collections of as many documents drawn again.

    Raises:
        ValueError: for no documents, no draws, or a share that is not between 0 and 1.
    Source: Efron (1979), "Bootstrap methods: another look at the jackknife"; percentile interval.
    """
    counts = _drawn_again(losses, draws, share, seed)
    found = (counts @ losses.nats) / (counts @ losses.tokens)
    return losses.perplexity, *_middle(found, share)


def paired(
    losses: Losses, base: Losses, *, draws: int = 2000, share: float | int = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The perplexity divided by another model's on the same documents, with the interval of this ratio.

    Both get the same documents in every draw. What makes a document hard is hard for both and falls out, so this
    interval is much narrower than the two models' own: it, not whether those overlap, says whether they differ.

    Raises:
        ValueError: as `interval`, and if the two were measured on different documents.
    """
    if losses.tokens.shape != base.tokens.shape or not torch.equal(losses.tokens, base.tokens):
        raise ValueError("the two were not measured on the same documents: measure both on one list")
    counts = _drawn_again(losses, draws, share, seed)
    found = (counts @ (losses.nats - base.nats)) / (counts @ losses.tokens)
    return losses.perplexity / base.perplexity, *_middle(found, share)


def size_on_disk(model: nn.Module) -> int:
    """Bytes of the file that `save_compressed` writes, header and all: written, looked at, and thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return save_compressed(model, Path(folder) / "model.safetensors").stat().st_size


def held_bytes(model: nn.Module) -> int:
    """Bytes of all weights and buffers in memory; what two names share counts once."""
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in _tensors(model)}
    return sum(storages.values())


def peak_bytes(model: nn.Module, run: Callable[[], Any]) -> int:
    """The most bytes at one time while `run()` computes: the model's own, and what torch makes on the way.

    Counted at torch's dispatcher, storage by storage, so it is the same on every machine; what a kernel takes for
    itself inside one operation is not seen.
    """
    alive = _Alive()
    with torch.no_grad(), alive:
        run()
    return held_bytes(model) + alive.most


def latency(runs: Mapping[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """The median milliseconds of each run; all take turns, so that a busy moment falls on every one of them.

    Every round has another order: else a disturbance that comes in the time of a round would always hit the same one.

    Raises:
        ValueError: for nothing to run, or no rounds.
    """
    if not runs or rounds < 1:
        raise ValueError(f"latency needs something to run and at least 1 round, got {len(runs)} and {rounds}")
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for round_number in range(rounds + 1):  # the first one warms up
        for name in order.sample([*runs], len(runs)):
            began = time.perf_counter()
            runs[name]()
            if round_number:
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


@torch.no_grad()
def measure(
    models: Mapping[str, Decoder | nn.Module],
    documents: Documents,
    *,
    sizes: Mapping[str, int] | None = None,
    rounds: int = 9,
    seed: int = 0,
) -> list[Measured]:
    """Every variant on the same documents: perplexity, bytes of its file and in memory, time for one token.

    Latency is that of one more token behind half a context, with the cache; tokens per second are those of reading.

    Args:
        sizes: bytes of a file where they are known from elsewhere, by name; else the file is written and looked at.

    Raises:
        ValueError: for no models or no documents, or a size of a model that is not there.
    """
    unknown = set(sizes or {}) - set(models)
    if unknown or not models:
        raise ValueError(f"a size came for {min(unknown, default='no model at all')!r}, the models are {list(models)}")
    _refuse_none(documents)
    result = []
    with ExitStack() as training:
        for model in models.values():
            training.enter_context(evaluating(model))
        steps = {name: one_token(model) for name, model in models.items()}
        times = latency(steps, rounds)
        for name, model in models.items():
            began = time.perf_counter()
            losses = document_losses(model, documents)
            speed = float(losses.tokens.sum()) / (time.perf_counter() - began)
            size = (sizes or {}).get(name) or size_on_disk(model)
            around = interval(losses, seed=seed)
            result.append(Measured(name, *around, size, peak_bytes(model, steps[name]), times[name], speed, losses))
    return result


@torch.no_grad()
def one_token(model: Decoder | nn.Module) -> Callable[[], Tensor]:
    """What a model does for one token more, with half of its context in the cache; every call does the same.

    The model is put into evaluation mode, and stays in it: to change modes takes time that would be measured.
    """
    past = model.config.context // 2
    device = _tensors(model)[0].device
    ids = torch.arange(past + 1, device=device)[None] % model.config.vocabulary
    cache = model.eval().new_cache(1, past + 1)
    if past:
        model(ids[:, :-1], cache=cache)

    @torch.no_grad()
    def step() -> Tensor:
        for layer in cache:
            layer.length = past
        return model(ids[:, -1:], cache=cache)

    return step


class _Alive(TorchDispatchMode):
    """Counts the bytes of storages that operations have made and nobody has let go yet."""

    def __init__(self):
        super().__init__()
        self.now, self.most, self.known = 0, 0, set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        before = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        result = operation(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, Tensor) and made.untyped_storage().data_ptr() not in before | self.known:
                self._born(made.untyped_storage())
        return result

    def _born(self, storage: torch.UntypedStorage) -> None:
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        self.known.add(storage.data_ptr())
        weakref.finalize(storage, self._gone, storage.data_ptr(), storage.nbytes())

    def _gone(self, place: int, size: int) -> None:
        self.now -= size
        self.known.discard(place)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _drawn_again(losses: Losses, draws: int, share: float | int, seed: int) -> Float[Tensor, "draws documents"]:
    """How often each document comes in each draw."""
    if not 0 < share < 1 or draws < 1 or not losses.tokens.any():
        raise ValueError(f"{len(losses.nats)} documents, {draws} draws, share {share}: all above 0, the share below 1")
    told = (losses.tokens > 0).nonzero()[:, 0]  # a collection of documents without predictions has no perplexity
    many, chance = len(told), torch.Generator().manual_seed(seed)
    drawn = told[torch.randint(many, (draws, many), generator=chance)]
    return torch.zeros(draws, len(losses.tokens)).scatter_add_(1, drawn, torch.ones(draws, many)).double()


def _middle(logarithms: Tensor, share: float | int) -> list[float]:
    ends = torch.tensor([0.5 - share / 2, 0.5 + share / 2]).double()
    return torch.quantile(logarithms, ends).exp().tolist()


def _refuse_none(documents: Any) -> None:
    if not len(documents) or all(len(ids) < 2 for ids in documents):
        raise ValueError(f"{len(documents)} documents predict nothing: give one at least of two tokens or more")
