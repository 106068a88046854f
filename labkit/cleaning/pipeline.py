"""One definition of a cleaning pipeline: steps for each document alone, then exact and near copies; and the plain run.

    result = run(standard(languages=("en", "zh")), from_crawl(crawl))

The same pipeline runs in processes that may be killed (labkit.cleaning.streaming) and on Ray (labkit.cleaning.on_ray).
"""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from types import MethodType
from typing import Any

import numpy as np

from labkit.cleaning.banding import Bands, choose
from labkit.cleaning.documents import LONGEST, Broken, Document, too_long
from labkit.cleaning.exact import duplicates
from labkit.cleaning.near import HASHES, near_duplicates
from labkit.cleaning.progress import counted
from labkit.cleaning.quarantine import Quarantined, Removed, reason_of, reasons
from labkit.cleaning.shingles import Shingling

__all__ = ["EXACT", "NEAR", "READ", "Drop", "Pipeline", "Result", "Step", "apply", "run", "step"]

READ, EXACT, NEAR = "read", "exact copies", "near copies"
Outcome = Document | Removed | Quarantined
Copies = dict[int, tuple[int, float]]  # number of a copy -> number of the one that stays, similarity


@dataclass(frozen=True, slots=True)
class Drop:
    """What a step returns for a document that is to go, with the reason."""

    reason: str


@dataclass(frozen=True)
class Step:
    """A function from document to document (or `Drop`) with its settings."""

    name: str
    function: Callable[..., Document | Drop]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, document: Document) -> Document | Drop:
        return self.function(document, **self.settings)


def step(function: Callable[..., Document | Drop], **settings: Any) -> Step:
    """A step that is named after its function: `decode_bytes` is "decode bytes".

    Raises:
        ValueError: for a lambda or a function inside another: other processes could not find it.
    """
    if "<" in getattr(function, "__qualname__", "<"):
        raise ValueError(f"a step is a function of a module, which every process can import; got {function!r}")
    return Step(function.__name__.replace("_", " ").strip(), function, settings)


@dataclass(frozen=True)
class Pipeline:
    """Steps in order, then exact copies and near copies; of copies the first in the order of the input stays.

    Args:
        near: the least Jaccard similarity of near copies, or None to leave all of them.
        bands: how MinHash values are grouped into band keys; None chooses them for the similarity asked for.
        how: what a shingle is.
        longest: bytes of a document, before and after every step; longer ones go to quarantine.

    Raises:
        ValueError: if two stages have one name, or a number is out of its range.
    """

    steps: tuple[Step, ...]
    exact: bool = True
    near: float | int | None = 0.8
    bands: Bands | None = None
    how: Shingling = field(default_factory=Shingling)
    seed: int = 0
    longest: int = LONGEST

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise ValueError(f"two stages are called {twice[0]!r}: every stage needs a name of its own")
        if self.near is not None and not 0 < self.near < 1:
            raise ValueError(f"near is a Jaccard similarity between 0 and 1, or None, got {self.near}")
        if self.longest < 1:
            raise ValueError(f"longest is a number of bytes of at least 1, got {self.longest}")

    @property
    def names(self) -> tuple[str, ...]:
        """Every stage by name, from "read" to the last."""
        stages = [READ, *(one.name for one in self.steps)]
        return (*stages, *([EXACT] if self.exact else []), *([NEAR] if self.near is not None else []))

    @property
    def fingerprint(self) -> str:
        """A code that is the same in every process, and another one when a step or a setting is another."""
        return hashlib.sha256(described(self).encode()).hexdigest()[:16]


def described(value: Any) -> str:
    """What a setting is, in words that do not depend on the process (an address in memory would)."""
    if is_dataclass(value) and not isinstance(value, type):
        inside = ", ".join(f"{one.name}={described(getattr(value, one.name))}" for one in fields(value))
        return f"{type(value).__qualname__}({inside})"
    if isinstance(value, np.ndarray):
        return f"array({value.dtype}, {value.shape}, {hashlib.sha256(np.ascontiguousarray(value)).hexdigest()})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{described(key)}: {described(value[key])}" for key in sorted(value, key=str)) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(described, value))) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(described, value)) + ")"
    if isinstance(value, partial):
        return f"partial({described(value.func)}, {described(value.args)}, {described(value.keywords)})"
    if isinstance(value, MethodType):
        return f"{described(value.__self__)}.{value.__name__}"
    if isinstance(value, re.Pattern):  # its repr leaves out what comes after 200 characters
        return f"pattern({value.pattern!r}, {value.flags})"
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__qualname__}({described(vars(value))})" if hasattr(value, "__dict__") else repr(value)


def apply(pipeline: Pipeline, document: Document | Broken | Any) -> Outcome:
    """One document through the steps: what became of it, or which step removed it and why, or what went wrong where."""
    outcome = admit(pipeline, document)
    line = document.line if isinstance(document, Broken) else document
    for one in pipeline.steps:
        if not isinstance(outcome, Document):
            break
        outcome = through(one, pipeline.longest, outcome, line)
    return outcome


def admit(pipeline: Pipeline, document: Document | Broken | Any) -> Outcome:
    """A document that may enter the first step, or its place in quarantine."""
    if isinstance(document, Broken):
        return Quarantined(document.id, READ, document.reason, document.line)
    if not isinstance(document, Document):
        raise ValueError(f"a pipeline takes Document, got {type(document).__name__}: pages of a crawl by from_crawl")
    reason = too_long(document, pipeline.longest)
    return Quarantined(document.id, READ, reason, _line(document)) if reason else document


def through(one: Step, longest: int, document: Document, came_as: Any) -> Outcome:
    """What becomes of a document in one step; `came_as` is what quarantine keeps, whatever earlier steps have done."""
    try:
        then = one(document)
        if isinstance(then, Drop):
            return Removed(document.id, one.name, then.reason)
        reason = too_long(then, longest)
        then.to_json().encode("utf-8")  # what cannot be written has no place among what is kept
    except Exception as error:  # whatever a step does wrong concerns one document
        reason = reason_of(error)
    return Quarantined(document.id, one.name, reason, _line(came_as)) if reason else then


def _line(came_as: Document | bytes) -> bytes:
    return came_as if isinstance(came_as, bytes) else came_as.to_json().encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Result:
    """What is kept, in the order of the input, what left and why, and how many documents each stage left over."""

    kept: list[Document]
    removed: list[Removed]
    quarantined: list[Quarantined]
    counts: dict[str, int]
    seconds: float = field(default=0.0, compare=False)

    def report(self) -> str:
        """The funnel: documents left after each stage, how many it took out, and the reasons of quarantine."""
        return report(self.counts, Counter(one.step for one in self.removed), reasons(self.quarantined))


def report(counts: Mapping[str, int], removed: Mapping[str, int], quarantined: Mapping[str, int]) -> str:
    """The funnel of a run as a table, and under it each reason of quarantine with its count."""
    lines = [f"{'stage':<20}{'removed':>9}{'left':>9}"]
    lines += [f"{name:<20}{removed.get(name, 0):>9,}{left:>9,}" for name, left in counts.items()]
    total = sum(quarantined.values())
    lines += [f"in quarantine: {total:,}", *(f"{count:>6,}  {reason}" for reason, count in quarantined.items())]
    return "\n".join(lines)


def run(pipeline: Pipeline, documents: Iterable[Document | Broken] | Any, progress: str | None = None) -> Result:
    """The documents through the pipeline, in this process and in its memory.

    Args:
        progress: the label of a progress bar, or None for no bar.
    """
    began = time.perf_counter()
    outcomes = [apply(pipeline, document) for document in counted(documents, progress)]
    if pipeline.exact:
        remove(outcomes, EXACT, exact_copies)
    if pipeline.near is not None:
        remove(outcomes, NEAR, lambda texts: near_copies(pipeline, texts))
    return result_of(pipeline, outcomes, time.perf_counter() - began)


def exact_copies(texts: list[str]) -> Copies:
    """For each exact copy among the texts, by number, the first one of its group."""
    return {copy: (first, 1.0) for copy, first in duplicates(texts).of.items()}


def near_copies(pipeline: Pipeline, texts: list[str]) -> Copies:
    """For each near copy among the texts, by number, the first one of its group and how similar that is."""
    bands = chosen_bands(pipeline)
    found = near_duplicates(texts, pipeline.near, how=pipeline.how, bands=bands, seed=pipeline.seed)
    return {copy: (first, found.similarity[copy]) for copy, first in found.of.items()}


def chosen_bands(pipeline: Pipeline) -> Bands:
    """The bands of the pipeline, or those that find pairs of its similarity."""
    return pipeline.bands or choose(pipeline.near, HASHES)


def remove(outcomes: list[Outcome], stage: str, copies: Callable[[list[str]], Copies]) -> None:
    """Put `Removed` in the place of each copy of a document that stays."""
    places = [place for place, one in enumerate(outcomes) if isinstance(one, Document)]
    kept = [outcomes[place] for place in places]
    for copy, (first, similarity) in copies([document.text for document in kept]).items():
        outcomes[places[copy]] = copy_of(kept[copy].id, kept[first].id, stage, similarity)


def copy_of(copy: str, first: str, stage: str, similarity: float) -> Removed:
    """Why a copy goes, in the same words in every way to run a pipeline."""
    return Removed(copy, stage, f"the text of {first}" if stage == EXACT else f"Jaccard {similarity:.2f} with {first}")


def result_of(pipeline: Pipeline, outcomes: list[Outcome], seconds: float) -> Result:
    """What became of each document, sorted by kind and counted."""
    removed = [one for one in outcomes if isinstance(one, Removed)]
    quarantined = [one for one in outcomes if isinstance(one, Quarantined)]
    kept = [one for one in outcomes if isinstance(one, Document)]
    counts = funnel(pipeline.names, len(outcomes), Counter(one.step for one in [*removed, *quarantined]))
    return Result(kept, removed, quarantined, counts, seconds)


def funnel(names: Iterable[str], documents: int, gone: Mapping[str, int]) -> dict[str, int]:
    """Documents left after each stage, given how many left at each."""
    counts = {}
    for name in names:
        documents -= gone.get(name, 0)
        counts[name] = documents
    return counts
