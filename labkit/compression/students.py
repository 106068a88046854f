"""A pretrained reader of six layers and its student of two, on a real task: which library is a paragraph about?

    found = distilled_minilm()
    found.right("teacher"), found.right("student"), found.right("control")

The student begins as two of the teacher's layers and learns to answer as the teacher does. The control begins the same
way and learns from the labels of the same texts, in the same order, in as many steps.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from labkit import corpora
from labkit.compression.distillation import distillation_loss
from labkit.compression.library_task import Batch, Ids, batched, choose, fit_head
from labkit.corpora.cache import cache_folders, read_or_make, say, sha256_of
from labkit.corpora.text import Corpus
from labkit.transformer.models import Encoder
from labkit.transformer.pretrained import Pretrained, load_minilm, mean_direction, package

FORMAT = 2  # of a file in the cache: count on when its content means something else
READERS = ("teacher", "student", "control")
FOR_CALIBRATION = 20  # texts of each class
LONGEST = 512  # tokens that MiniLM has positions for


@dataclass(frozen=True)
class StudentRecipe:
    """All that decides what a student becomes, beside the text.

    Args:
        kept: the teacher's layers that the student begins with, from below, 0 to 5.
        learn, judge: paragraphs of each library that are learned from, and held out.
        tokens: longer paragraphs are cut.
        temperature, soft, hidden: of the soft loss, its part (the rest is labels), and the weight of the squared
            distance between the student's and the teacher's vector of a text.
        penalty: on the squared weights of the teacher's head, as 1/C of scikit-learn's LogisticRegression.
    """

    kept: tuple[int, ...] = (0, 5)
    learn: int = 100
    judge: int = 80
    tokens: int = 24
    epochs: int = 1
    batch: int = 24
    lr: float = 1e-3
    temperature: float | int = 2
    soft: float | int = 1.0
    hidden: float | int = 10
    penalty: float | int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("learn", "judge", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: there must be at least one")
        if not 3 <= self.tokens <= LONGEST:
            raise ValueError(f"tokens = {self.tokens}: a text begins and ends with a token, and {LONGEST} is the most")
        if not (self.lr > 0 and self.hidden >= 0 and self.penalty >= 0):
            raise ValueError(f"lr = {self.lr}, hidden = {self.hidden}, penalty = {self.penalty}: none may be negative")

    def key(self, corpus: Corpus) -> str:
        """The sha256 of this recipe and of the texts and their labels: another letter anywhere is another student."""
        task = {"format": FORMAT, "text": corpus.sha256, "titles": sha256_of("\n".join(corpus.titles))}
        return sha256_of(json.dumps(task | asdict(self), sort_keys=True))


_SCALES: dict[str, dict[str, Any]] = {
    "ci": {},
    "laptop": {"learn": 1000, "epochs": 3, "tokens": 64},
    "gpu": {"learn": 1800, "judge": 400, "epochs": 6, "tokens": 128},
}


class Reader(nn.Module):
    """An encoder and a head: the mean vector of a text, scaled to length 1, then a logit for each class."""

    def __init__(self, encoder: Encoder, head: nn.Linear):
        super().__init__()
        self.encoder, self.head = encoder, head

    def pooled(self, ids: Ids, mask: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch width"]:
        """The vector of each text."""
        return mean_direction(self.encoder(ids, mask), mask)

    def forward(self, ids: Ids, mask: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch classes"]:
        """The logits of the classes of each text."""
        return self.head(self.pooled(ids, mask))


@dataclass(frozen=True)
class Distilled:
    """A teacher, its student, the control, and held-out texts with what each reader made of them.

    `batches` are those texts as tensors; `calibration` are others, of the side that was learned from.
    """

    teacher: Reader = field(repr=False)
    student: Reader = field(repr=False)
    control: Reader = field(repr=False)
    names: list[str]
    texts: list[str] = field(repr=False)
    batches: list[Batch] = field(repr=False)
    calibration: list[Batch] = field(repr=False)
    logits: dict[str, Tensor] = field(repr=False)
    recipe: StudentRecipe

    @property
    def labels(self) -> Int[Tensor, " texts"]:
        """The right answers, in the order of `texts`."""
        return torch.cat([batch.labels for batch in self.batches])

    def right(self, who: str) -> Bool[Tensor, " texts"]:
        """Which held-out texts the "teacher", "student" or "control" answered rightly when they were made."""
        return self.logits[who].argmax(-1) == self.labels

    def score(self, who: str) -> float:
        """The share of right answers; every class has as many texts, so guessing gives 1 / classes."""
        return self.right(who).float().mean().item()

    def interval(self, who: str, base: str | None = None, draws: int = 2000, seed: int = 0) -> tuple[float, ...]:
        """The score and between which two it lies in 95 % of the exams of as many texts drawn again from these.

        With a `base`, the ratio of both scores, the same texts drawn for both.
        Source: Efron (1979), "Bootstrap methods: another look at the jackknife"; percentile interval.
        """
        chance = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(self.texts), (draws, len(self.texts)), generator=chance)
        scores = [self.right(each).double() for each in (who, base) if each]
        found = scores[0][drawn].mean(1) / (scores[1][drawn].mean(1) if base else 1)
        ends = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return (scores[0].mean() / (scores[1].mean() if base else 1)).item(), *ends


@torch.inference_mode(False)
@torch.enable_grad()
def distilled_minilm(scale: str = "ci", *, recipe: StudentRecipe | None = None) -> Distilled:
    """MiniLM with a head for a task, and a student of two of its layers: from the cache, or trained when missing.

    A file in the cache that is whole but holds something else, as of another program, is made again.

    Raises:
        ValueError: for an unknown scale, or layers that MiniLM does not have.
        CorpusUnavailable: when MiniLM or the docstrings of two libraries cannot be had.
    """
    if scale not in _SCALES:
        raise ValueError(f"scale must be one of {', '.join(_SCALES)}, got {scale!r}")
    recipe = recipe or StudentRecipe(**_SCALES[scale])
    corpus, minilm = corpora.load("docstrings", quiet=True), load_minilm("fused")
    minilm.tokenizer.enable_truncation(recipe.tokens)
    names = sorted(set(corpus.titles))
    judge = batched(minilm, choose(corpus, recipe.judge, held_out=True, seed=recipe.seed), recipe.batch)
    readers = _readers(minilm, len(names), recipe.kept)
    texts, held_out = [text for part, _ in judge for text in part], [batch for _, batch in judge]

    def make() -> bytes:
        learn = batched(minilm, choose(corpus, recipe.learn, held_out=False, seed=recipe.seed), recipe.batch)
        _teach_all(readers, [batch for _, batch in learn], recipe)
        logits = {f"logits.{who}": answers(reader, held_out) for who, reader in readers.items()}
        return package("safetensors.torch").save(_weights(readers) | logits)

    shapes = {name: weight.shape for name, weight in _weights(readers).items()}
    shapes |= {f"logits.{who}": (len(texts), len(names)) for who in READERS}
    state = _kept(f"student-{recipe.key(corpus)[:20]}.safetensors", make, shapes)
    _fill(readers, state)
    more = batched(minilm, choose(corpus, FOR_CALIBRATION, held_out=False, seed=recipe.seed), recipe.batch)
    return Distilled(
        **readers,
        names=names,
        texts=texts,
        batches=held_out,
        calibration=[batch for _, batch in more],
        logits={who: state[f"logits.{who}"] for who in READERS},
        recipe=recipe,
    )


def shallower(encoder: Encoder, kept: Sequence[int]) -> Encoder:
    """An encoder of some of the layers: these are copied, embeddings are shared with the one it came from.

    Raises:
        ValueError: for no layer, or one that there is not.
    """
    layers = len(encoder.blocks)
    if not kept or any(not 0 <= i < layers for i in kept):
        raise ValueError(f"kept = {tuple(kept)}: choose at least one of the layers 0 to {layers - 1}")
    with torch.device("meta"):
        small = Encoder(replace(encoder.config, layers=len(kept)), seed=None)
    state = {name: w for name, w in encoder.state_dict().items() if not name.startswith("blocks.")}
    for new, old in enumerate(kept):
        state |= {f"blocks.{new}.{name}": w.clone() for name, w in encoder.blocks[old].state_dict().items()}
    small.load_state_dict(state, assign=True)
    return small.train(encoder.training)


@torch.enable_grad()
def teach(reader: Reader, batches: Sequence[Batch], recipe: StudentRecipe, lessons: Sequence[tuple] | None) -> None:
    """Train the blocks and the head of a reader by the teacher's `lessons` (vectors, logits), or by labels alone."""
    parts = [*reader.encoder.blocks.parameters(), *reader.head.parameters()]
    reader.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    try:
        _descend(reader, parts, batches, recipe, lessons)
    finally:
        reader.requires_grad_(False)


def _descend(reader: Reader, parts: list[nn.Parameter], batches: Any, recipe: StudentRecipe, lessons: Any) -> None:
    optimizer, steps = torch.optim.AdamW(parts, lr=recipe.lr), recipe.epochs * len(batches)
    chance = np.random.default_rng(recipe.seed)
    order = [i for _ in range(recipe.epochs) for i in chance.permutation(len(batches))]
    for step, i in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * min(1, (step + 1) / 10) * (1 - step / steps)
        optimizer.zero_grad()
        _loss(reader, batches[i], recipe, lessons[i] if lessons else None).backward()
        optimizer.step()


@torch.no_grad()
def answers(reader: Reader, batches: Sequence[Batch]) -> Float[Tensor, "texts classes"]:
    """The logits of a reader for all texts, in their order."""
    return torch.cat([reader(batch.ids, batch.mask) for batch in batches])


def _loss(reader: Reader, batch: Batch, recipe: StudentRecipe, lesson: tuple | None) -> Tensor:
    vectors = reader.pooled(batch.ids, batch.mask)
    logits = reader.head(vectors)
    if lesson is None:
        return functional.cross_entropy(logits, batch.labels)
    near = (vectors - lesson[0]).square().sum(-1).mean()
    soft = distillation_loss(logits, lesson[1], batch.labels, temperature=recipe.temperature, soft=recipe.soft)
    return soft + recipe.hidden * near


def _readers(minilm: Pretrained, classes: int, kept: Sequence[int]) -> dict[str, Reader]:
    """The teacher with a head still to be fitted, and twice the beginning of a student."""
    encoders = (minilm.model, shallower(minilm.model, kept), shallower(minilm.model, kept))
    heads = [nn.utils.skip_init(nn.Linear, minilm.config.width, classes) for _ in READERS]  # to be fitted or filled
    return {who: Reader(*parts).eval() for who, *parts in zip(READERS, encoders, heads, strict=True)}


def _teach_all(readers: dict[str, Reader], batches: Sequence[Batch], recipe: StudentRecipe) -> None:
    teacher = readers["teacher"].requires_grad_(False)
    with torch.no_grad():
        vectors = [teacher.pooled(batch.ids, batch.mask) for batch in batches]
    labels = torch.cat([batch.labels for batch in batches])
    head = fit_head(torch.cat(vectors), labels, teacher.head.out_features, recipe.penalty)
    for reader in readers.values():
        reader.head.load_state_dict(head.state_dict())  # student and control begin with the teacher's head
    with torch.no_grad():
        lessons = [(each, teacher.head(each)) for each in vectors]
    teach(readers["student"], batches, recipe, lessons)
    teach(readers["control"], batches, recipe, None)


def _kept(file: str, make: Callable[[], bytes], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The tensors of a file in the cache, made again when it does not hold tensors of these names and shapes."""
    safetensors = package("safetensors")
    for _ in range(2):
        content = read_or_make(file, make)
        with suppress(safetensors.SafetensorError):
            state = package("safetensors.torch").load(content)
            if {name: tuple(w.shape) for name, w in state.items()} == {n: tuple(size) for n, size in shapes.items()}:
                return state
        say(f"{file} in the cache is whole, but of something else; making it again")
        for folder in cache_folders():
            with suppress(OSError):
                (folder / file).unlink(missing_ok=True)
    raise corpora.CorpusUnavailable(f"{file} in the cache is of something else and cannot be replaced: delete it")


def _weights(readers: dict[str, Reader]) -> dict[str, Tensor]:
    """What was learned: the heads, and the blocks of student and control; the rest is MiniLM's own file."""
    return {
        f"{who}.{name}": weight.detach().contiguous()
        for who, reader in readers.items()
        for name, weight in reader.named_parameters()
        if name.startswith("head.") or (who != "teacher" and name.startswith("encoder.blocks."))
    }


def _fill(readers: dict[str, Reader], state: dict[str, Tensor]) -> None:
    for who, reader in readers.items():
        own = {name.removeprefix(f"{who}."): w for name, w in state.items() if name.startswith(f"{who}.")}
        reader.load_state_dict(own, strict=False)  # the rest is MiniLM's
        reader.requires_grad_(False)
