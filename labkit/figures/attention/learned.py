"""Attention that is learned: the loss on the way, and the matrix before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.figures.attention.labels import Array, Number, Words, largest, legend, number, plural, quoted, title_of
from labkit.figures.attention.matrices import check_matrix, paint
from labkit.figures.style import ACCENT, axes, describe, new, series

FEW = 12  # a curve with so few points shows each of them
SMOOTHED = 40  # a curve with fewer points is drawn as it is


def draw_learning(
    losses: Mapping[str, Array],
    floor: Number | None = None,
    ylabel: str = "loss (nats)",
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The loss of some small runs against the step; `floor` is the least that can be reached."""
    ax = axes(ax)
    sentences = plot_losses(ax, losses, varies=varies)
    if floor is not None:
        ax.axhline(floor, color=ACCENT, linestyle="--", linewidth=1.5, label=f"floor {floor:.3g}")
        sentences.append(f"the floor is {number(floor)}")
    ax.set(xlabel="step", ylabel=ylabel, title=title or "Learning where to look")
    legend(ax)
    describe(ax, f"{ylabel} while learning. " + "; ".join(sentences))
    return ax


def plot_losses(
    ax: Axes, losses: Mapping[str, Array], *, varies: bool, looks: Mapping[str, dict[str, Any]] | None = None
) -> list[str]:
    """Draw curves of losses, long ones smoothed over their faint raw values; give a sentence for each.

    A loss that is no finite number leaves a gap, and the sentence says so. `looks` gives a curve other colours.
    """
    sentences = []
    for i, (name, given) in enumerate(losses.items()):
        raw = np.asarray(given, dtype=float).ravel()
        raw = np.where(np.isfinite(raw), raw, np.nan)
        look = series(i) | {"marker": ""} | dict((looks or {}).get(name, {}))
        steps = np.arange(1, len(raw) + 1)
        curve = smoothed(raw)
        if len(raw) > SMOOTHED:
            ax.plot(steps, raw, color=look["color"], linestyle="-", linewidth=0.6, alpha=0.3)
        few = {"marker": "o"} if len(raw) <= FEW else {}
        ax.plot(steps, curve, label=name, **{**look, **few})
        sentences.append(f"{name}: {_course(raw, curve, varies)}")
    return sentences


def smoothed(raw: np.ndarray) -> np.ndarray:
    """Give the mean over a window of a fifteenth of the curve around each step.

    At the start, where losses fall fast, the window shrinks to the step itself; at the end it keeps its earlier half.
    """
    if len(raw) <= SMOOTHED:
        return raw
    half = max(1, len(raw) // 30)
    known = np.isfinite(raw)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, raw, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    place = np.arange(len(raw))
    low = np.maximum(place - half, 0)
    high = np.minimum(place + np.minimum(half, place) + 1, len(raw))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, (sums[high] - sums[low]) / (counts[high] - counts[low]), np.nan)


def _course(raw: np.ndarray, curve: np.ndarray, varies: bool) -> str:
    if not np.isfinite(raw).any():
        return f"{len(raw)} steps without a finite loss"
    lost = "" if np.isfinite(raw).all() else f", {np.isnan(raw).sum()} steps without a finite loss"
    seen = curve[np.isfinite(curve)]
    return f"starts at {number(raw[np.isfinite(raw)][0], varies)}, ends at {number(seen[-1], varies)}{lost}"


def draw_before_after(
    before: Array,
    after: Array,
    tokens: Words,
    queries: Words | None = None,
    names: Sequence[str] = ("before learning", "after learning"),
    varies: bool = True,
) -> Figure:
    """Two attention matrices beside each other on one scale: what learning did to a head."""
    figure, places = new(9, 4.2, ncols=2)
    sentences, image = [], None
    for ax, name, given in zip(places, names, (before, after), strict=True):
        matrix, hidden, rows = check_matrix(given, tokens, queries, None)
        image = paint(ax, matrix, hidden, tokens, rows, top=1.0)
        ax.set(xlabel="looks at (key)", title=title_of(name))
        sentences.append(f"{name}: {_link(matrix, tokens, rows, varies)}")
    places[0].set_ylabel("looks from (query)")
    figure.colorbar(image, ax=list(places), shrink=0.8, label="weight").outline.set_visible(False)
    describe(
        figure,
        f"attention of {plural(len(rows), 'query', 'queries')} to {plural(len(tokens), 'key')}. "
        + "; ".join(sentences),
    )
    return figure


def _link(matrix: np.ndarray, keys: Words, queries: Words, varies: bool) -> str:
    """The mean of the largest weight of each row, which says how sharp the head looks, and the first row's choice."""
    tops = [(i, largest(row)) for i, row in enumerate(matrix)]
    sharp = [matrix[i, j] for i, j in tops if j >= 0]
    if not sharp:
        return "no query looks anywhere"
    last, place = next((i, j) for i, j in reversed(tops) if j >= 0)
    choice = f"{quoted(queries[last])} looks most at {quoted(keys[place])}"
    choice = f"‹{choice}›" if varies else choice
    return f"the strongest weight of a query is {number(float(np.mean(sharp)), varies)} on average, {choice}"
